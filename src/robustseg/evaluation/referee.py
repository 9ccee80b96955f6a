"""An independent look at every adversarial image: nobody's word is taken for it.

Checked per image: shape, finite values, the [0,1] box, the ball of its norm, and that nothing outside the writable
region has changed by a single bit. Tolerance: 1e-6 absolute plus 1e-6 of eps, for the rounding of float32 sums; norms
are taken in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robustseg.catalog import outputs
from robustseg.evaluation.device import fp32
from robustseg.ops import seeds
from robustseg.ops.size import label_size
from robustseg.tasks.predict import Prediction
from robustseg.tasks.predict import predict as decode
from robustseg.types import DenseOutput, Model, Output, QueryOutput

__all__ = ["TOLERANCE", "draws", "eight_bits", "inspect", "norms", "predict"]

TOLERANCE = 1e-6
REFEREE = -1  # the restart whose draws no attack ever has


def norms(clean: Tensor, attacked: Tensor) -> list[dict[str, float]]:
    """Per image: ``linf``, ``l2`` of the difference in [0,1] units, ``l0`` changed pixels (any channel)."""
    delta = (attacked.double() - clean.double()).flatten(2)
    linf, l2 = delta.abs().flatten(1).amax(1), delta.flatten(1).norm(dim=1)
    l0 = (delta != 0).any(1).sum(1)
    return [
        {"linf": float(a), "l2": float(b), "l0": int(c)}
        for a, b, c in zip(linf.tolist(), l2.tolist(), l0.tolist(), strict=True)
    ]


def inspect(
    clean: Tensor, attacked: Tensor, *, eps: float | None, norm: str | None, region: Tensor | None = None
) -> list[str | None]:
    """Per image what is wrong with it, or None. Shapes: images ``(B,3,H,W)``, ``region (B,H,W)`` bool.

    >>> x = torch.full((1, 3, 1, 1), 0.5)
    >>> inspect(x, x + 0.1, eps=0.05, norm="linf")
    ['outside the linf ball: 0.1 > 0.05']
    """
    if not isinstance(attacked, Tensor) or attacked.shape != clean.shape:
        found = tuple(attacked.shape) if isinstance(attacked, Tensor) else type(attacked).__name__
        return [f"wrong shape: {found} instead of {tuple(clean.shape)}"] * len(clean)
    if not attacked.is_floating_point():
        return [f"wrong type: {attacked.dtype} instead of float32"] * len(clean)
    return [_one(clean[i], attacked[i], eps, norm, None if region is None else region[i]) for i in range(len(clean))]


def _one(clean: Tensor, attacked: Tensor, eps: float | None, norm: str | None, region: Tensor | None) -> str | None:
    if not bool(torch.isfinite(attacked).all()):
        return "not finite: the image holds NaN or infinity"
    low, high = (float(v) for v in attacked.aminmax())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        return f"outside the box: values in [{low:.6g}, {high:.6g}] instead of [0, 1]"
    if region is not None:
        touched = ((attacked != clean).any(0) & ~region).sum()
        if int(touched):
            return f"outside the region: {int(touched)} pixels changed that may not be written"
    if eps is not None and norm is not None:
        size = _size(attacked.double() - clean.double(), norm)
        if size > eps + TOLERANCE * (1 + eps):
            return f"outside the {norm} ball: {size:.6g} > {eps:.6g}"
    return None


def _size(delta: Tensor, norm: str) -> float:
    if norm == "linf":
        return float(delta.abs().max())
    if norm in ("l2", "l1"):
        return float(delta.flatten().norm(p=int(norm[1])))
    if norm == "l0":
        return float((delta != 0).any(0).sum())
    raise ValueError(f"unknown norm {norm}")


def eight_bits(clean: Tensor, attacked: Tensor, *, eps: float | None, norm: str | None) -> Tensor:
    """The image that survives an 8-bit file, still inside the ball.

    Rule: every value goes to the nearest multiple of 1/255. Where this leaves the L-infinity ball, the value is clamped
    to the multiples inside; in an image that leaves the L2 ball, the values that rounding moved away from the clean
    image go back by one level, those that it moved furthest first, until the image is inside. Holds for
    8-bit clean images; a clean value off the grid (after a resize) with no multiple inside its
    ball takes the nearest one.
    """
    grid = (attacked.double() * 255).round()
    start = clean.double() * 255
    if eps is not None and norm == "linf":
        slack = 255 * TOLERANCE
        low, high = (start - 255 * eps - slack).ceil(), (start + 255 * eps + slack).floor()
        grid = torch.where(low <= high, grid.clamp(min=low, max=high), start.round())
    elif eps is not None and norm is not None:
        for i in range(len(grid)):
            if _size(grid[i] / 255 - clean[i].double(), norm) > eps + TOLERANCE * (1 + eps):
                grid[i] = _back(start[i], attacked[i].double() * 255, grid[i], 255 * eps, norm)
    return (grid.clamp(0, 255) / 255).to(attacked.dtype)


def _back(start: Tensor, exact: Tensor, grid: Tensor, radius: float, norm: str) -> Tensor:
    """In levels: values rounded away from ``start`` go one back, largest excess first, until all are in the ball."""
    toward = torch.where(exact > start, (exact + 255e-6).floor(), (exact - 255e-6).ceil())
    if norm != "l2":
        return toward
    excess = ((grid - start).abs() - (exact - start).abs()).flatten()
    order = excess.argsort(descending=True, stable=True)
    squares, fewer = ((grid - start) ** 2).flatten(), ((toward - start) ** 2).flatten()
    gain = (squares - fewer).clamp_min(0)[order]
    over = squares.sum() - (radius * (1 + TOLERANCE / 2)) ** 2
    number = min(len(order), int((gain.cumsum(0) < over).sum()) + 1)
    moved = order[:number][gain[:number] > 0]
    made = grid.flatten().clone()
    made[moved] = toward.flatten()[moved]
    return made.view_as(grid)


def draws(model: Model, ids: Sequence[str], seed: int) -> Tensor | None:
    """What a randomised model draws for these images: one draw an image and seed, the same clean and attacked."""
    number = outputs.randoms(model)
    return seeds.fractions(number, [seeds.generator(seed, i, REFEREE) for i in ids]) if number else None


def predict(
    model: Model,
    images: Tensor,
    *,
    tasks: Sequence[str] = ("semantic",),
    things: Sequence[bool] = (),
    prompts: Tensor | None = None,
    draws: Tensor | None = None,
    most: int = 100,
) -> tuple[Prediction, Tensor]:
    """What the model says of every image, and whether its scores are finite ``(B,)``.

    The one path for clean and attacked images. ``prompts`` only for models that are asked for one mask a box,
    ``draws`` (`draws`) only for those that draw at random; ``most`` detections are taken from queries.
    """
    size = label_size(model.spec.task, (images.shape[-2], images.shape[-1]))
    with torch.no_grad(), fp32():
        asked: dict[str, Any] = {k: v for k, v in (("prompts", prompts), ("draws", draws)) if v is not None}
        output = model(images.float(), **asked)
        return decode(output, size, things, tasks, most=most), _finite(output)


def _finite(output: Output) -> Tensor:
    """``(B,)`` bool: no NaN, no infinity in what the scores are made from."""
    if isinstance(output, DenseOutput):
        parts = [output.scores]
    elif isinstance(output, QueryOutput):
        parts = [output.class_logits, output.mask_logits]
    else:  # masks of all proposals are there only where somebody asked for them
        there = output.present
        parts = [torch.where(there.view(*there.shape, *[1] * (p.dim() - 2)), p, 0)
                 for p in (output.class_logits, output.boxes, output.mask_logits) if p.shape[1]]  # fmt: skip
    flat = [p.flatten(1) for p in parts if p.numel()]
    finite = torch.ones(len(parts[0]), dtype=torch.bool, device=parts[0].device)
    for p in flat:  # NaN wins in both
        finite = finite & torch.isfinite(p.amin(1)) & torch.isfinite(p.amax(1))
    return finite
