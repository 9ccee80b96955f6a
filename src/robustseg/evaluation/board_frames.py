"""Frames with a billboard as pictures to attack: image, truth in model classes, and the board under its light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from robustseg.data.classes import match, remap
from robustseg.data.objects import SMALLEST, visible
from robustseg.errors import UserError
from robustseg.evaluation.device import choose
from robustseg.physical.cast import cast
from robustseg.physical.light import Lit
from robustseg.physical.placement import plane
from robustseg.scenes import CLASSES, Frame
from robustseg.tasks import truth
from robustseg.types import Model, Sample, SemanticTarget

__all__ = ["KINDS", "Shoot", "Tick", "View", "loaded", "photograph", "shoot", "street_classes", "usable", "view"]

Shoot = Callable[..., list[Frame]]
Tick = Callable[[int, int, str], None]

KINDS = {"billboard": "roadside", "roadside": "roadside", "wall": "wall", "truck": "truck", "shirt": "shirt"}


@dataclass(frozen=True)
class View:
    """One pose: ``image (1,3,H,W)`` as rendered, its truth, the board in it; ``mask (H,W)``, the pixels whose middle it
    is, which are not scored; ``away (H,W)``: pixels from its edge, 0 beside it; metres to the board, degrees off its
    normal, pixels of it that are to be seen."""

    name: str
    image: Tensor
    target: SemanticTarget
    lit: Lit
    mask: Tensor
    away: Tensor
    distance: float
    angle: float
    pixels: int


def photograph(frame: Frame) -> Tensor:
    """The bytes of a frame as an image ``(1,3,H,W)`` in [0,1]."""
    return torch.from_numpy(np.ascontiguousarray(frame.rgb.transpose(2, 0, 1)))[None].float() / 255


def view(frame: Frame, texture: tuple[int, int], model: Model, name: str) -> View:
    """A frame as the attack sees it. Raises UserError for a frame without board or light, and for unknown classes."""
    board = frame.board
    if board is None or frame.dark is None or frame.gain is None:
        raise UserError(f"frame {name} has no billboard with calibrated light; render it with one")
    device = next((p.device for p in model.module.parameters()), torch.device("cpu"))
    table = street_classes(model)
    labels = remap(torch.from_numpy(frame.label.astype(np.int64)), table)[None].to(device)

    def light(value: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(value.transpose(2, 0, 1)))[None].float().to(device)

    mask, gain = torch.from_numpy(frame.board_mask).to(device), light(frame.gain)
    labels = torch.where(mask, 255, labels)
    # pixels that the board's edge runs through show some of it too
    around = F.max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0
    visible = mask | (around & (gain[0].amax(0) > 0))
    H = plane(torch.from_numpy(frame.K), torch.from_numpy(frame.T_cw), torch.from_numpy(board.corners), texture)
    at = cast(H, texture, (int(mask.shape[0]), int(mask.shape[1])), device=device)
    image = photograph(frame).to(device)
    lit = Lit(image, light(frame.dark), gain, visible, at)
    eye = -frame.T_cw[:3, :3].T @ frame.T_cw[:3, 3]
    distance, angle = board.seen_from(eye)
    target = _segments(frame, name, image, labels, model) if "panoptic" in model.spec.tasks else SemanticTarget(labels)
    there = frame.board_mask.any()  # the distance to nothing is not defined
    steps = ndimage.distance_transform_edt(~frame.board_mask) if there else np.full(frame.label.shape, np.inf)
    away = torch.from_numpy(np.asarray(steps, np.float64) - 1).clamp_min(0)
    return View(name, image, target, lit, mask, away, distance, angle, int(mask.sum()))


def street_classes(model: Model) -> Tensor:
    """Model index of every class of the rendered street. Raises UserError for a model of something else."""
    try:
        return match(CLASSES, model.spec.classes)
    except UserError:
        raise UserError(
            f"{model.spec.ref} does not know the classes of a street (road, sky …), and a street is rendered; "
            "use a model that does, e.g. zoo:street-unet, or photographs: --data folder:PATH --place auto"
        ) from None


def _segments(frame: Frame, name: str, image: Tensor, labels: Tensor, model: Model) -> SemanticTarget:
    """The truth with its segments; specks are no objects, as in the street data."""
    objects = torch.from_numpy(visible(frame.instance.astype(np.int32), SMALLEST))
    sample = Sample(name, image[0].cpu(), labels[0].cpu(), objects)
    return truth.target([sample], truth.things_of(model), 255).to(labels.device)


def shoot(scene: str, seed: int, *, poses: int, size: tuple[int, int], path: int, texture: Any = None) -> list[Frame]:
    """Frames of a drive towards the billboard, from far to near. Raises UserError for an unknown scene."""
    if scene not in KINDS:
        raise UserError(f"unknown scene {scene!r}; choose one of {', '.join(KINDS)}")
    from robustseg.scenes.trajectory import trajectory

    return trajectory(KINDS[scene], seed, poses=poses, size=size, path=path, texture=texture, light=texture is None)


def usable(views: Sequence[View]) -> list[View]:
    """The poses in which some of the board is to be seen. Raises UserError where there is none."""
    found = [v for v in views if v.pixels]
    if not found:
        raise UserError("the billboard is to be seen from no pose; choose another scene or seed, or larger frames")
    return found


def loaded(model: str | Model, device: str) -> Model:
    """A model of a reference; any other stays as it is."""
    if not isinstance(model, str):
        return model
    from robustseg.models import load_model

    return load_model(model, device=str(choose(device)))
