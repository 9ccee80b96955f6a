"""Tiles for mask classification: many objects in a large image, found a few at a time by the same queries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from robustseg.errors import UserError
from robustseg.models.base import Adapter, uncropped
from robustseg.models.prepare import extent
from robustseg.types import ModelSpec, QueryOutput

__all__ = ["Tiled", "cores", "once", "tile_starts"]

OUTSIDE = -20.0  # mask logit where a query sees nothing
DISOWNED = 50.0  # added to "no object" of a query that answers for a neighbour's object, or for one found already
UNSURE = 0.1  # class score under which a query says "no object" anyway
SAME = 0.6  # IoU above which two masks show one object; chosen on training images that were held out


def tile_starts(length: int, side: int, stride: int, cell: int) -> list[int]:
    """Where tiles begin on an axis so that they cover it, all on the grid of the masks' cells.

    The last one may reach over the end by less than a cell.

    >>> tile_starts(161, 64, 48, 4), tile_starts(40, 64, 48, 4)
    ([0, 48, 96, 100], [0])
    """
    last = -(-max(length - side, 0) // cell) * cell
    return [*range(0, last, stride), last]


def cores(starts: list[int], side: int) -> list[tuple[float, float]]:
    """The part of the axis that belongs to each tile: neighbours meet in the middle of what both see.

    >>> cores([0, 48, 96], 64)
    [(0.0, 56.0), (56.0, 104.0), (104.0, 160.0)]
    """
    middles = [(a + side + b) / 2 for a, b in pairwise(starts)]
    edges = [0.0, *middles, float(starts[-1] + side)]
    return [*pairwise(edges)]


@dataclass(frozen=True)
class Tiled:
    """A mask classifier that sees an image in overlapping square tiles and answers with the queries of all of them.

    Call: ``images (B,3,H,W)`` to a `QueryOutput` with at most ``kept`` queries, masks over the whole image. A tile
    answers for the things whose middle lies in its own part of the image (neighbours' parts meet in the middle of their
    overlap) and for the stuff inside that part; its other queries say "no object". The ``kept`` queries with the
    highest class scores stay, and of those that show one object the surest: small networks do not learn to say it once.
    These choices carry no gradient, as the suppression of a detector; scores and masks do.
    ``cell``: pixels an edge of the masks' cells (4 for Mask2Former).
    """

    inner: Adapter
    side: int
    stride: int
    kept: int
    cell: int
    spec: ModelSpec  # the inner model's, with the tiles in the digest
    module: nn.Module
    device: torch.device

    @classmethod
    def of(cls, inner: Adapter, side: int, stride: int | None = None, kept: int = 400, cell: int = 4) -> Tiled:
        """``side`` and ``stride`` in pixels (default stride: three quarters of the side, on the grid of cells).

        Raises: UserError for a model without queries or without known things, and for sizes off the grid.
        """
        stride = side * 3 // 4 // cell * cell if stride is None else stride
        if inner.spec.task != "universal" or not inner.spec.things:
            raise UserError(f"{inner.spec.ref}: tiles need a mask classifier that says which classes are countable; "
                            "name them with things=NAME,NAME or things=FILE")  # fmt: skip
        if side % cell or stride % cell or not 0 < stride <= side - 2 * cell or kept < 1:
            wanted = f"multiples of {cell} that overlap by at least {2 * cell}"
            raise UserError(f"tiles of {side} every {stride} pixels, {kept} queries: wanted are {wanted}")
        spec = replace(inner.spec, digest=f"{inner.spec.digest}-t{side}s{stride}k{kept}u{SAME:g}")
        return cls(inner, side, stride, kept, cell, spec, inner.module, inner.device)

    def to(self, device: str | torch.device) -> Tiled:
        """The same model on another device."""
        return Tiled.of(self.inner.to(device), self.side, self.stride, self.kept, self.cell)

    def __call__(
        self, images: Tensor, *, prompts: Any = None, proposals: Any = None, want: frozenset[str] = frozenset()
    ) -> QueryOutput:
        if "features" in want:
            raise UserError(f"{self.spec.ref} sees tiles; no feature map spans several of them")
        (H, W), B, side = extent(images), len(images), self.side
        rows, columns = (tile_starts(n, side, self.stride, self.cell) for n in (H, W))
        full = (rows[-1] + side, columns[-1] + side)
        x = F.pad(images, (0, full[1] - W, 0, full[0] - H), mode="replicate") if full != (H, W) else images
        tiles = torch.cat([x[..., r : r + side, c : c + side] for r in rows for c in columns])
        output = self.inner(tiles, prompts=prompts, proposals=proposals, want=want)
        assert isinstance(output, QueryOutput)
        if tuple(output.mask_logits.shape[-2:]) != (side // self.cell, side // self.cell):
            raise UserError(f"{self.spec.ref}: masks are not cells of {self.cell} pixels; give the right cell=")
        parts = [(r, c) for r in cores(rows, side) for c in cores(columns, side)]
        own = torch.tensor([(*r, *c) for r, c in parts], device=x.device) / self.cell  # (T,4) in cells of the image
        begin = torch.tensor([(r, c) for r in rows for c in columns], device=x.device) // self.cell
        owned = _owned(output, own.repeat_interleave(B, 0), begin.repeat_interleave(B, 0), self._things())
        cells = (full[0] // self.cell, full[1] // self.cell)
        joined = once(_joined(owned, begin, B, self.kept, cells), self._things())
        return cast(QueryOutput, uncropped(joined, (H, W), full))

    def _things(self) -> Tensor:
        return torch.tensor([name in self.spec.things for name in self.spec.classes], device=self.device)


def _owned(output: QueryOutput, own: Tensor, begin: Tensor, things: Tensor) -> QueryOutput:
    """Queries of single tiles ``(N,Q,...)``, silenced where they answer for what belongs to another tile.

    own ``(N,4)``: top, bottom, left, right of each tile's part, in cells of the image; begin ``(N,2)``: its first cell.
    """
    h, w = output.mask_logits.shape[-2:]
    y = (begin[:, :1] + torch.arange(h, device=own.device) + 0.5)[:, None]  # (N,1,h)
    x = (begin[:, 1:] + torch.arange(w, device=own.device) + 0.5)[:, None]
    with torch.no_grad():
        weight = output.mask_logits.sigmoid()
        weight = torch.where((weight > 0.5).flatten(2).any(2)[..., None, None], weight * (weight > 0.5), weight)
        mass = weight.sum((2, 3)).clamp(min=1e-6)
        at_y, at_x = (weight.sum(3) * y).sum(2) / mass, (weight.sum(2) * x).sum(2) / mass
        top, bottom, left, right = (edge[:, None] for edge in own.unbind(1))
        here = (top <= at_y) & (at_y < bottom) & (left <= at_x) & (at_x < right)
        thing = things[output.class_logits[..., :-1].argmax(-1)]
        silent = torch.zeros_like(output.class_logits)
        silent[..., -1] = DISOWNED * (thing & ~here)
        near = [
            [
                (low - reach <= at[:, 0]) & (at[:, 0] < high + reach)
                for at, low, high in ((y, top, bottom), (x, left, right))
            ]
            for reach in (0, 1)
        ]
        inside, around = (rows[:, None, :, None] & columns[:, None, None] for rows, columns in near)
    z = output.mask_logits
    # beyond the seam the sign turns, so that upsampled masks of two neighbours meet at 1/2 and sum to one (where four
    # meet, a hole of a few pixels stays)
    stuff = torch.where(inside, z, torch.where(around, -z.abs(), OUTSIDE))
    return QueryOutput(output.class_logits + silent, torch.where(thing[..., None, None], z, stuff))


def once(output: QueryOutput, things: Tensor) -> QueryOutput:
    """Of queries whose masks show one thing (IoU above `SAME`) all but the surest say "no object".

    Surest: class score times mean probability in the mask, as in the ranking of detections.

    >>> masks = torch.tensor([[[[9.0, 9, -9]], [[9, 9, -9]], [[-9, -9, 9]]]])  # (1,3,1,3): the first two are one object
    >>> classes = torch.tensor([[[2.0, 0], [3, 0], [1, 0]]])  # one class, and "no object"
    >>> once(QueryOutput(classes, masks), torch.tensor([True])).class_logits[0, :, 1].tolist()
    [50.0, 0.0, 0.0]
    """
    silent = torch.zeros_like(output.class_logits)
    with torch.no_grad():
        scores, names = output.class_logits.softmax(-1)[..., :-1].max(-1)
        for i, masks in enumerate(output.mask_logits):
            seen = (things[names[i]] & (scores[i] > UNSURE)).nonzero()[:, 0]
            inside = (masks[seen] > 0).flatten(1)
            area = inside.sum(1)
            mean = (masks[seen].sigmoid().flatten(1) * inside).sum(1) / area.clamp(min=1)
            order = (scores[i, seen] * mean).argsort(descending=True, stable=True)
            seen, area, shape = seen[order], area[order].float(), inside[order].float()
            both = shape @ shape.T
            same = both > SAME * (area[:, None] + area[None] - both)
            same &= names[i, seen][:, None] == names[i, seen][None]
            lost = _suppressed(same.cpu().numpy())
            silent[i, seen[lost], -1] = DISOWNED
    return QueryOutput(output.class_logits + silent, output.mask_logits)


def _suppressed(same: NDArray[np.bool_]) -> list[int]:
    """Places, best first, that equal a better one which stays itself.

    >>> _suppressed(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=bool))
    [1]
    """
    lost = np.zeros(len(same), dtype=bool)
    for k in range(len(same)):
        lost[k] = (same[k, :k] & ~lost[:k]).any()
    return np.flatnonzero(lost).tolist()


def _joined(output: QueryOutput, begin: Tensor, B: int, kept: int, cells: tuple[int, int]) -> QueryOutput:
    """Queries of all tiles, tile by tile ``(T*B,Q,...)``, as the ``kept`` surest of each image, on its whole grid."""
    (h, w), Q = output.mask_logits.shape[-2:], output.class_logits.shape[1]

    def by_image(value: Tensor) -> Tensor:  # (T*B,Q,...) -> (B,T*Q,...)
        return value.unflatten(0, (-1, B)).transpose(0, 1).flatten(1, 2)

    classes, masks = by_image(output.class_logits), by_image(output.mask_logits)
    sure = classes.detach().softmax(-1)[..., :-1].amax(-1)
    chosen = sure.topk(min(kept, sure.shape[1]), dim=1).indices
    first = begin[chosen // Q]  # (B,kept,2)
    spot = torch.arange(h, device=begin.device)[:, None] * cells[1] + torch.arange(w, device=begin.device)
    spot = (first[..., 0] * cells[1] + first[..., 1])[..., None] + spot.flatten()
    picked = masks.gather(1, chosen[..., None, None].expand(-1, -1, h, w)).flatten(2)
    canvas = picked.new_full((B, chosen.shape[1], cells[0] * cells[1]), OUTSIDE).scatter(2, spot, picked)
    classes = classes.gather(1, chosen[..., None].expand(-1, -1, classes.shape[-1]))
    return QueryOutput(classes, canvas.unflatten(2, cells))
