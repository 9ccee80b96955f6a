"""Versions of an image that each hide a part of it, such that a patch, wherever it lies, shows in few of them.

A patch is a rectangle of ``h x w`` pixels or less at any place, also one that sticks out of the image. A version that
shows none of its pixels cannot know it. ``touched`` counts, place by place, what a layout promises; nothing is taken
from its geometry on trust. Source: Yatsura, Sakmann, Hua, Hein & Metzen, Certified Defences Against Adversarial Patch
Attacks on Semantic Segmentation, ICLR 2023, arXiv 2209.05980; no code was published, so the layouts are reconstructed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.catalog.numbers import fraction
from robustseg.errors import UserError

__all__ = ["DETECTION", "MODES", "RECOVERY", "VERSION", "Layout", "Patch", "layout", "read_patch", "touched"]

DETECTION = ("columns", "rows", "windows")
RECOVERY = ("columns", "rows", "three", "four")
MODES = {"detection": DETECTION, "recovery": RECOVERY}
NUMBERS = {"columns": 5, "rows": 5, "three": 7, "four": 9}  # versions of recovery: 2 T + 1
VERSION = 1  # rises when a layout of the same name becomes another one
MASKS = 8  # of detection, a direction
LARGEST_AREA = 0.25
FORM = re.compile(r"(?:(\d*\.?\d+)%|([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?)")


@dataclass(frozen=True)
class Patch:
    """What may be anywhere: a square of at most a share of the image, or a rectangle in pixels; ``text`` as written."""

    text: str
    share: float | None = None
    sides: tuple[int, int] | None = None

    def size(self, image: tuple[int, int]) -> tuple[int, int]:
        """Height and width in an image of ``(H,W)``: the largest whole square that is not more than the share.

        >>> read_patch("1%").size((256, 512)), read_patch("0.5%").size((256, 512)), read_patch("8x12").size((64, 64))
        ((36, 36), (25, 25), (8, 12))
        """
        if self.sides is not None:
            return self.sides
        assert self.share is not None
        side = max(math.isqrt(int(self.share * image[0] * image[1] + 1e-9)), 1)
        return side, side


def read_patch(text: str) -> Patch:
    """``1%`` of the image, ``36`` or ``24x48`` pixels. Raises UserError for any other text.

    >>> read_patch("0.50%").text, read_patch("24").sides
    ('0.5%', (24, 24))
    """
    found = FORM.fullmatch(text.strip())
    if found is None:
        raise UserError(f"patch {text!r} cannot be read; write a share of the image, 1%, or pixels: 36 or 24x48")
    if found[1] is None:
        sides = int(found[2]), int(found[3] or found[2])
        return Patch(f"{sides[0]}x{sides[1]}", sides=sides)
    share = fraction(found[1]) / 100
    if not 0 < share <= LARGEST_AREA:
        raise UserError(f"patch {text}: choose a share above 0% and up to {LARGEST_AREA:.0%}")
    return Patch(f"{float(share) * 100:g}%", share=float(share))


@dataclass(frozen=True)
class Layout:
    """``visible (K,H,W)`` bool: what each version shows; at most ``most`` of them show any of a patch of ``patch``."""

    kind: str
    visible: Tensor
    patch: tuple[int, int]
    most: int


def touched(visible: Tensor, patch: tuple[int, int]) -> Tensor:
    """``(K, H+h-1, W+w-1)`` bool: for every place that reaches into the image, who shows a pixel of the patch there.

    >>> touched(torch.tensor([[[True, False, False]]]), (1, 2)).long().tolist()
    [[[1, 1, 0, 0]]]
    """
    h, w = patch
    padded = F.pad(visible.float()[:, None], (w - 1, w - 1, h - 1, h - 1))
    down = F.max_pool2d(padded, (h, 1), 1)
    return F.max_pool2d(down, (1, w), 1)[:, 0] > 0


@lru_cache(maxsize=16)
def layout(kind: str, mode: str, patch: tuple[int, int], size: tuple[int, int], number: int | None = None) -> Layout:
    """The versions of an image of ``size = (H,W)`` against a patch of ``(h,w)``; ``number`` of masks, a direction.

    Recovery shows one in K parts: bands, of which a patch meets at most (K-1)/2, so that more masks have narrower bands
    and less to fill in between; or blocks of ``(h, 2w)`` in courses that are shifted by
    half like bricks (``three``), or of ``(h, w)`` in a grid (``four``). Detection hides one band or window at a time,
    each overlapping the next by the patch less a pixel. Raises UserError where the promise cannot be kept.

    >>> layout("columns", "recovery", (4, 4), (32, 64)).most, layout("three", "recovery", (4, 4), (32, 64)).most
    (2, 3)
    >>> layout("columns", "detection", (4, 4), (32, 64), 5).visible.logical_not().any(1).sum(1).tolist()
    [16, 16, 16, 16, 12]
    """
    if mode not in MODES:
        raise UserError(f"mode {mode!r} is unknown; choose {' or '.join(MODES)}")
    if kind not in MODES[mode]:
        raise UserError(f"layout {kind!r} is none for {mode}; choose one of {', '.join(MODES[mode])}")
    if patch[0] > size[0] or patch[1] > size[1]:
        raise UserError(f"a patch of {patch[0]}x{patch[1]} does not fit into an image of {size[0]}x{size[1]}")
    K = number or (MASKS if mode == "detection" else NUMBERS[kind])
    if not 1 <= K <= 99:
        raise UserError(f"{K} masks; choose 1 to 99, or leave the number out")
    with torch.inference_mode(False):  # kept for later calls, which may want a gradient
        visible = _hiding(kind, patch, size, K) if mode == "detection" else _showing(kind, patch, size, K)
        visible = visible[visible.flatten(1).any(1)] if mode == "detection" else visible
        most = int(touched(visible, patch).sum(0).max()) if len(visible) else 0
    enough = most < len(visible) if mode == "detection" else 2 * most < K
    if not enough:
        raise UserError(
            f"{K} masks in {kind} cannot certify {mode} of a patch of {patch[0]}x{patch[1]} in {size[0]}x{size[1]}: it "
            f"may show in {most} of them; use more masks, another layout or a smaller patch"
        )
    return Layout(kind, visible, patch, most)


def _showing(kind: str, patch: tuple[int, int], size: tuple[int, int], K: int) -> Tensor:
    """Every pixel is shown by exactly one version, that of its colour."""
    (H, W), (h, w) = size, patch
    y, x = torch.arange(H)[:, None], torch.arange(W)[None]
    if kind == "columns":
        colour = (x // _band(w, K)).expand(H, W)
    elif kind == "rows":
        colour = (y // _band(h, K)).expand(H, W)
    elif kind == "three":
        course = y // h
        colour = (x + w * (course % 2)) // (2 * w) + 3 * course
    else:
        side = max(math.isqrt(K), 1)
        colour = (x // w) % side + side * ((y // h) % max(K // side, 1))
    return torch.arange(K)[:, None, None] == colour % K


def _band(part: int, K: int) -> int:
    """A width of bands of which an interval of ``part`` meets at most ``(K-1)/2``: all but one lie within it.

    >>> _band(18, 5), _band(18, 9), _band(1, 5)
    (18, 6, 1)
    """
    return -(-part // max((K - 1) // 2 - 1, 1))


def _hiding(kind: str, patch: tuple[int, int], size: tuple[int, int], n: int) -> Tensor:
    """Masks that together cover every place of the patch, each by one of them."""
    (H, W), (h, w) = size, patch
    columns = _spans(W, w, n) if kind != "rows" else torch.ones(1, W, dtype=torch.bool)
    rows = _spans(H, h, n) if kind != "columns" else torch.ones(1, H, dtype=torch.bool)
    return ~(rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


def _spans(length: int, part: int, n: int) -> Tensor:
    """``(n, length)`` bool: n intervals, as short as can be, one of which holds any interval of ``part``.

    >>> _spans(5, 2, 2).long().tolist()
    [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]
    """
    step = -(-(length - part + 1) // n)
    at, start = torch.arange(length), step * torch.arange(n)[:, None]
    return (at >= start) & (at < start + step + part - 1)
