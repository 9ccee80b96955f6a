"""Pictures of nuclei composed from those of the training images, which are too alike: other sizes, shapes, densities.

Every picture has its own typical size, elongation, density, texture and spread of brightness; nuclei touch, hide parts
of each other, and lie over blurred ones that are out of focus and belong to the background. What they are printed in
is decided later, with all other images (`recipes.augment.stained`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from recipes.augment import smooth
from robustseg.defenses.training.augment import uniform

LARGEST = 60.0  # pixels; no typical diameter is larger
HIDDEN = 0.12  # a nucleus hides no more of what is there already


def cut_out(images: Sequence[Tensor], codes: Sequence[Tensor], smallest: int = 40) -> list[Tensor]:
    """Every nucleus that touches no border, `(2,h,w)`: its brightness in [0,1], its soft mask."""
    found = []
    for image, code in zip(images, codes):
        grey, objects = image.float().mean(0), code >> 8
        for number in objects.unique().tolist():
            at = (objects == number).nonzero()
            (top, left), (bottom, right) = at.amin(0).tolist(), (at.amax(0) + 1).tolist()
            inner = top > 0 and left > 0 and bottom < code.shape[0] and right < code.shape[1]
            if number and inner and len(at) >= smallest:
                mask = (objects[top:bottom, left:right] == number).float()
                light = grey[top:bottom, left:right] * mask
                patch = F.pad(torch.stack([light / light.max().clamp(min=1), mask]), (2, 2, 2, 2))
                patch[1] = F.avg_pool2d(patch[1][None], 3, 1, 1)[0]  # the steps of its pixels would show when enlarged
                found.append(patch)
    return found


def shaped(nucleus: Tensor, diameter: float, longer: float, angle: float, turn: float) -> Tensor:
    """A nucleus turned by `turn`, brought to a diameter, then stretched along `angle` at equal area; `(2,s,s)`."""
    area, (h, w) = float(nucleus[1].sum()), nucleus.shape[-2:]
    scale = diameter / (2 * math.sqrt(area / math.pi))
    side = math.ceil(scale * math.hypot(h, w) * longer) + 2
    cos, sin = math.cos(angle), math.sin(angle)
    along = torch.tensor([[cos, sin], [-sin, cos]])
    stretch = along.T @ torch.diag(torch.tensor([1 / longer, longer])) @ along
    turned = torch.tensor([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    inverse = torch.diag(torch.tensor([1 / w, 1 / h])) @ turned @ stretch * (side / scale)
    grid = F.affine_grid(torch.cat([inverse, torch.zeros(2, 1)], 1)[None], [1, 2, side, side], align_corners=False)
    return F.grid_sample(nucleus[None], grid, align_corners=False)[0]


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `(H,W)`."""
    radius = max(1, math.ceil(2.5 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    line = line / line.sum()
    picture = F.conv2d(F.pad(picture[None, None], (radius,) * 4, mode="reflect"), line.view(1, 1, -1, 1))
    return F.conv2d(picture, line.view(1, 1, 1, -1))[0, 0]


def picture(nuclei: Sequence[Tensor], generator: Generator, size: int = 256) -> tuple[Tensor, Tensor]:
    """One square picture, dark ground and bright nuclei: uint8 `(3,size,size)` and its codes, int32 `(size,size)`."""

    def draw(low: float, high: float) -> float:
        return uniform(generator, low, high)

    typical = math.exp(draw(math.log(9), math.log(LARGEST)))
    wanted, spread = draw(0.05, 0.5) * size * size, draw(0.1, 0.8)
    longest, angle = (draw(0, 0.5), draw(0, math.pi)) if draw(0, 1) < 0.5 else (0.12, None)
    rim, rough = draw(0, 0.6) * (draw(0, 1) < 0.5), draw(0, 0.7)
    texture = 1 - rough * smooth(1, (size, size), (round(size / max(3.0, typical / draw(2, 6))),), generator)[0, 0]
    far, light = torch.zeros(size, size), torch.zeros(size, size)
    code = torch.zeros(size, size, dtype=torch.int32)
    number, covered, failed = 0, 0.0, 0

    def nucleus() -> tuple[Tensor, int, int]:
        longer = math.exp(abs(draw(-1, 1)) * longest)
        way = draw(0, math.pi) if angle is None else angle + draw(-0.4, 0.4)
        diameter = typical * math.exp(draw(-0.35, 0.35))
        patch = shaped(nuclei[int(draw(0, len(nuclei)))], diameter, longer, way, draw(0, 2 * math.pi))
        top, left = (int(draw(-patch.shape[-1] / 2, size - patch.shape[-1] / 2)) for _ in range(2))
        y, x = max(0, -top), max(0, -left)
        patch = patch[:, y : size - top, x : size - left]
        return patch, top + y, left + x

    for _ in range(int(draw(0, 0.5) * wanted / (0.8 * typical**2))):
        patch, top, left = nucleus()
        place = far[top : top + patch.shape[1], left : left + patch.shape[2]]
        torch.maximum(place, patch[1] * draw(0.1, 0.7), out=place)
    if far.any():
        light = blurred(far, draw(0.1, 0.25) * typical + 0.5)
    while covered < wanted and failed < 60:
        patch, top, left = nucleus()
        here = slice(top, top + patch.shape[1]), slice(left, left + patch.shape[2])
        mask = patch[1] > 0.5
        area = int(mask.sum())
        if area < 8 or int((mask & (code[here] > 0)).sum()) > HIDDEN * area:
            failed += 1
            continue
        number, covered = number + 1, covered + area
        soft = F.avg_pool2d(patch[1][None], 3, 1, 1)[0]
        own = (
            math.exp(-abs(draw(-1, 1)) * 2 * spread)
            * (0.5 + 0.5 * patch[0])
            * (1 + rim * (4 * soft * (1 - soft) - 0.5))
        )
        light[here] = torch.lerp(light[here], own * texture[here], patch[1])
        code[here] = torch.where(mask, 1 + 256 * number, code[here])
    light = blurred(light, draw(0.4, 1.2)) + draw(0, 0.15) * smooth(1, (size, size), (5,), generator)[0, 0]
    return (light.clamp(0, 1) * 255).round().to(torch.uint8).expand(3, -1, -1), code


def pictures(images: Sequence[Tensor], codes: Sequence[Tensor], count: int, seed: int) -> tuple[Tensor, Tensor]:
    """`count` pictures, uint8 `(count,3,256,256)`, and their codes (label + 256 * number), int32 `(count,256,256)`."""
    nuclei = cut_out(images, codes)
    made = [picture(nuclei, Generator().manual_seed(seed * 1_000_003 + k)) for k in range(count)]
    return torch.stack([p for p, _ in made]), torch.stack([c for _, c in made])
