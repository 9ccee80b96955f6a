"""What a transformer looked at: its attention layers on grids of tokens, and how mass flows back through one of them.

Mass on the outputs of a layer is a row vector; a step back multiplies it with the layer's matrix from the right. So a
rollout costs one vector a layer and never holds the product of two attention matrices, which no dense model could
afford (32768² at the first stage of a SegFormer on 512×1024 pixels).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Attention", "DecoderLayer", "Layer", "from_projections", "from_weights", "spread", "step_back"]

CHUNK = 1 << 24  # entries of an attention matrix that are in memory at once

Size = tuple[int, int]
Rows = Callable[[int, int], Tensor]  # start, stop -> these rows of the matrix, (B', heads, n, K), each summing to 1


@dataclass(frozen=True)
class Layer:
    """One self-attention layer over ``prefix`` tokens that are no pixels and, behind them, a grid of pixel tokens.

    ``rows``: its matrix, a part of it at a time; ``grid``: of the queries; ``keys``: of the keys, smaller where they
    were reduced; ``window``: side of the windows it stays in (then ``B' = B · windows``, row by row, after a cyclic
    ``shift``); ``read``: the head of the network reads what this layer gives.
    """

    rows: Rows
    grid: Size
    keys: Size
    prefix: int = 0
    window: int = 0
    shift: int = 0
    read: bool = False


@dataclass(frozen=True)
class DecoderLayer:
    """Queries look at the pixels of a map (``grid``), ``cross (B,Q,h·w)``, then at each other: ``own (B,Q,Q)``."""

    cross: Tensor
    own: Tensor
    grid: Size


@dataclass(frozen=True)
class Attention:
    """All attention of one forward, from the image to the output; ``output.extras["attention"]``.

    ``size``: pixels that the network saw, ``used`` of which, top left, are the image (the rest is padding); ``cover
    (B,Q,h,w)``: what every object query answers for, where the output is made of queries; ``by_class``: the answer is
    read from the first token (a classifier's). Without ``size`` the last step to pixels knows of no padding.
    """

    layers: tuple[Layer, ...]
    decoder: tuple[DecoderLayer, ...] = ()
    size: Size | None = None
    used: Size | None = None
    cover: Tensor | None = None
    by_class: bool = False

    @staticmethod
    def of(weights: Sequence[Tensor], grid: Size, *, prefix: int = 0) -> Attention:
        """Of a plain ViT: every layer's probabilities ``(B,heads,N,N)``, ``N = prefix + h·w``, rows summing to 1."""
        return Attention(tuple(from_weights(w, grid, prefix=prefix) for w in weights))


def from_weights(weights: Tensor, grid: Size, **options: int) -> Layer:
    """A layer whose probabilities ``(B',heads,N,K)`` are there."""
    fixed = weights.detach()
    return Layer(lambda start, stop: fixed[..., start:stop, :], grid, grid, **options)  # type: ignore[arg-type]


def from_projections(query: Tensor, key: Tensor, scale: float, bias: Tensor | None) -> Rows:
    """``softmax(scale · q kᵀ + bias)``, made when it is asked for: until then nothing is held but what the network
    holds itself. ``query, key (B',heads,n,d)``; ``bias`` broadcasts to ``(B',heads,N,K)``."""
    q, k, b = query.detach(), key.detach(), None if bias is None else bias.detach()

    def rows(start: int, stop: int) -> Tensor:
        scores = q[..., start:stop, :] @ k.transpose(-1, -2) * scale
        if b is not None:
            scores = scores + (b if b.shape[-2] == 1 else b[..., start:stop, :])
        return scores.softmax(-1)

    return rows


def spread(mass: Tensor, size: Size) -> Tensor:
    """``mass (B,h,w)`` on cells of another grid over the same image: each gives by the area that is shared.

    >>> spread(torch.tensor([[[4.0, 8.0]]]), (2, 2)).tolist()
    [[[2.0, 4.0], [2.0, 4.0]]]
    >>> spread(torch.tensor([[[1.0, 2.0, 3.0]]]), (1, 2)).tolist()
    [[[2.0, 4.0]]]
    """
    if tuple(mass.shape[-2:]) == tuple(size):
        return mass
    across, down = (_overlap(n, m, mass) for n, m in zip(mass.shape[-2:], size, strict=True))
    return across.mT @ mass @ down


def _overlap(cells: int, others: int, like: Tensor) -> Tensor:
    """``(cells, others)``: the share of a cell's length that lies in each of the others."""
    a = torch.arange(cells, device=like.device, dtype=like.dtype)[:, None] / cells
    b = torch.arange(others, device=like.device, dtype=like.dtype)[None] / others
    shared = torch.minimum(a + 1 / cells, b + 1 / others) - torch.maximum(a, b)
    return shared.clamp_min(0) * cells


def step_back(layer: Layer, first: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Mass on a layer's outputs, ``first (B,prefix)`` and ``mass (B,h,w)``, brought to its inputs: half by attention
    (mean of the heads), half by the residual path, ``½A + ½I = rownorm(A + I)``."""
    if layer.window:
        return first, (mass + _windows_back(layer, mass)) / 2
    flat = torch.cat([first, mass.flatten(1)], 1)
    got = _all_back(layer.rows, flat)
    pixels = spread(got[:, layer.prefix :].unflatten(1, layer.keys), layer.grid)
    return (first + got[:, : layer.prefix]) / 2, (mass + pixels) / 2


def _all_back(rows: Rows, flat: Tensor) -> Tensor:
    """``(B,N) -> (B,K)``, a few rows of the matrix at a time."""
    n, total = flat.shape[1], None
    each = max(1, CHUNK // max(rows(0, 1).numel(), 1))
    for start in range(0, n, each):
        part = rows(start, min(start + each, n))
        moved = torch.einsum("bn,bhnk->bk", flat[:, start : start + each], part) / part.shape[1]
        total = moved if total is None else total + moved
    assert total is not None
    return total


def _windows_back(layer: Layer, mass: Tensor) -> Tensor:
    """Windows of a shifted, padded grid. What looks at padding looks at nothing: rows are normalised without it."""
    (h, w), m = layer.grid, layer.window
    down, across = -h % m, -w % m
    shift = (-layer.shift, -layer.shift)

    def cut(grid: Tensor) -> Tensor:
        whole = torch.roll(F.pad(grid, (0, across, 0, down)), shift, (1, 2))
        parts = whole.unflatten(2, (-1, m)).unflatten(1, (-1, m))  # (B,rows,m,columns,m)
        return parts.transpose(2, 3).flatten(0, 2).flatten(1)

    weights = layer.rows(0, m * m).mean(1)
    real = cut(torch.ones_like(mass))
    weights = weights * real[:, None]
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-12)
    moved = torch.einsum("bn,bnk->bk", cut(mass), weights)
    blocks = moved.view(len(mass), (h + down) // m, (w + across) // m, m, m).transpose(2, 3)
    return torch.roll(blocks.reshape(len(mass), h + down, w + across), (layer.shift, layer.shift), (1, 2))[:, :h, :w]
