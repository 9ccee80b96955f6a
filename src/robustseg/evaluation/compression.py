"""Images as they come back from a JPEG file, and how alike a garment still looks: for rows of natural attacks."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustseg.evaluation.natural_scores import PLAIN, seen
from robustseg.evaluation.store import Row
from robustseg.ops.similarity import ssim

__all__ = ["QUALITIES", "compressed", "likeness", "note"]

QUALITIES = (10, 20, 40, 60, 80, 100)


def compressed(images: Tensor, quality: int) -> Tensor:
    """RGB images ``(B,3,H,W)`` in [0,1] as they come back from a JPEG file of Pillow's."""
    from PIL import Image

    found = []
    for pixels in (images.detach().cpu() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
    return torch.stack(found).to(images) / 255


def likeness(clean: Tensor, attacked: Tensor, region: Tensor) -> float:
    """SSIM of two images ``(3,H,W)`` in the rectangle around ``region (H,W)``."""
    rows, columns = region.any(1).nonzero().flatten(), region.any(0).nonzero().flatten()
    at = (
        slice(None),
        slice(None),
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )
    return float(ssim(attacked[None][at].cpu(), clean[None][at].cpu())[0])


def note(
    rows: list[Row],
    at: Sequence[int],
    clean: Tensor,
    attacked: Tensor,
    region: Tensor,
    before: Sequence[Mapping[str, Any]],
    look: Callable[[Tensor], Sequence[Mapping[str, Any]]],
    who: int,
) -> None:
    """Adds to the rows ``at`` these places ``ssim`` and ``jpeg`` (see ``natural_scores``), where they have numbers.

    ``clean, attacked (B,3,H,W)``, ``region (B,H,W)``; ``before``: statistics of the clean images; ``look`` gives those
    of any images; ``who``: the class to hide.
    """
    views = {"clean": clean, "attacked": attacked}
    through = {q: {which: look(compressed(x, q)) for which, x in views.items()} for q in QUALITIES}
    for n, i in enumerate(at):
        stats = rows[i].stats
        if stats is None:
            continue
        jpeg = {PLAIN: {"clean": seen(before[n], who), "attacked": seen(stats, who)}}
        jpeg |= {str(q): {which: seen(found[n], who) for which, found in both.items()} for q, both in through.items()}
        alike = likeness(clean[n], attacked[n], region[n])
        rows[i] = replace(rows[i], extra={**(rows[i].extra or {}), "ssim": alike, "jpeg": jpeg})
