"""Attention rollout of a whole network, brought to the pixels of the image: SAGA's φ."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.ops.attention import Attention, spread, step_back
from robustseg.ops.size import at_label_size

__all__ = ["rollout"]

TINY = 1e-30


def rollout(attention: Attention, weight: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """How much every pixel was looked at for the answer at the weighted pixels: ``φ (B,1,H,W)`` in [0,1], detached.

    ``weight (B,h,w)`` float, non-negative: the weight of a label in the loss; ``size``: that of the image, where it is
    not that of the labels (a classifier has one label an image). Every layer passes half of its mass on by
    attention (mean of the heads) and half along the residual path; layers multiply from the output to the image. The
    largest token is 1, then bilinear to the pixels, as in SAGA's code; an image without weight has φ = 1.

    Where the mass starts: at the first token of a classifier (the published form, ``R[0, 1:]``); at the tokens of the
    weighted pixels, in equal parts after every layer that the head reads (SegFormer reads all its stages); at the
    object queries that answer for the weighted pixels, whose cross-attention lays it on the maps of the backbone.

    Sources: Abnar & Zuidema, ACL 2020, arXiv 2005.00928; Mahmood et al. (SAGA), ICCV 2021, arXiv 2104.02610, in the
    form of its code. For dense models: reconstructed.

    >>> a = torch.tensor([[[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]])  # class token, two pixels
    >>> from dataclasses import replace
    >>> once = replace(Attention.of([a], (1, 2), prefix=1), by_class=True)         # the class token looks at pixel 2
    >>> rollout(once, torch.ones(1, 1, 2)).tolist()
    [[[[0.0, 1.0]]]]
    """
    with torch.no_grad():
        size = size or (int(weight.shape[-2]), int(weight.shape[-1]))
        seen = _at_network(attention, weight)
        tokens = _tokens(attention, seen)
        tokens = tokens / tokens.flatten(1).amax(1).clamp_min(TINY).view(-1, 1, 1)
        pixels = at_label_size(tokens.unsqueeze(1), attention.size or size)
        if attention.used is not None:
            pixels = pixels[..., : attention.used[0], : attention.used[1]]
        blank = (weight.flatten(1).sum(1) == 0).view(-1, 1, 1, 1)
        return torch.where(blank, 1.0, at_label_size(pixels, size))


def _at_network(attention: Attention, weight: Tensor) -> Tensor:
    """The weights on the pixels that the network saw, adding up to 1 an image; padding weighs nothing."""
    share = weight / weight.flatten(1).sum(1).clamp_min(TINY).view(-1, 1, 1)
    if attention.size is None:
        return share
    used = attention.used or attention.size
    h, w = attention.size
    return F.pad(spread(share, used), (0, w - used[1], 0, h - used[0]))


def _tokens(attention: Attention, seen: Tensor) -> Tensor:
    """The mass ``(B,h,w)`` that arrives at the tokens nearest to the image."""
    layers = attention.layers
    entering: dict[int, list[Tensor]] = {}  # after which layer mass comes in
    first = seen.new_zeros(len(seen), layers[-1].prefix if layers else 0)
    if attention.cover is not None:
        queries = _queries(attention.cover, seen)
        if attention.decoder:
            laid = _decoder_back(attention, queries)
            if not layers:
                finest = max((m.shape[-2:] for m in laid), key=lambda s: s[0] * s[1])
                return torch.stack([spread(m, (int(finest[0]), int(finest[1]))) for m in laid]).sum(0)
            for mass in laid:
                entering.setdefault(_nearest(attention, mass), []).append(mass)
        else:  # the queries are tokens of the last layers, in front of all others
            first[:, : queries.shape[1]] = queries
    elif attention.by_class and first.shape[1]:
        first[:, 0] = 1
    else:
        read = [i for i, layer in enumerate(layers) if layer.read] or [len(layers) - 1]
        for i in read:
            entering.setdefault(i, []).append(seen / len(read))
    mass = seen.new_zeros(len(seen), *layers[-1].grid)
    for i in range(len(layers) - 1, -1, -1):
        layer = layers[i]
        mass = spread(mass, layer.grid)
        first = first[:, first.shape[1] - layer.prefix :]  # tokens that joined later come from no pixel
        for more in entering.get(i, ()):
            mass = mass + spread(more, layer.grid)
        first, mass = step_back(layer, first, mass)
    return mass


def _queries(cover: Tensor, seen: Tensor) -> Tensor:
    """``(B,Q)``: each query's part of the weighted pixels, adding up to 1."""
    h, w = int(cover.shape[-2]), int(cover.shape[-1])
    found = torch.einsum("bqhw,bhw->bq", cover, spread(seen, (h, w)))
    return found / found.sum(1, keepdim=True).clamp_min(TINY)


def _decoder_back(attention: Attention, queries: Tensor) -> list[Tensor]:
    """What the decoder's layers, last first, lay on their maps; the rest ends in the learned queries."""
    laid = []
    for layer in reversed(attention.decoder):
        queries = (queries + torch.einsum("bq,bqk->bk", queries, layer.own)) / 2
        laid.append(torch.einsum("bq,bqk->bk", queries, layer.cross).unflatten(1, layer.grid) / 2)
        queries = queries / 2
    return laid


def _nearest(attention: Attention, mass: Tensor) -> int:
    """The last layer of the backbone whose grid is nearest in size to that of a map the decoder looks at."""
    cells = mass.shape[-2] * mass.shape[-1]

    def distance(i: int) -> tuple[float, int]:
        h, w = attention.layers[i].grid
        return max(h * w / cells, cells / (h * w)), -i

    return min(range(len(attention.layers)), key=distance)
