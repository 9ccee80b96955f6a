"""The ``target=`` option: from its text to the label map an attack aims at."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from robustseg.catalog.spec import Params, near
from robustseg.errors import UserError
from robustseg.objectives.goals import hide_nearest, least_likely
from robustseg.types import DenseOutput, Model, SemanticTarget

__all__ = ["class_index", "goal_labels"]


def class_index(model: Model, name: str) -> int:
    """Index of a class of the model by name; raises UserError that lists the near ones."""
    names = [c.lower() for c in model.spec.classes]
    if name.lower() not in names:
        raise UserError(f"the model has no class {name!r}; {near(name, names)}")
    return names.index(name.lower())


def goal_labels(
    params: Params, model: Model, clean: DenseOutput, truth: SemanticTarget | None
) -> tuple[SemanticTarget, Tensor | None]:
    """Goal map ``(B,H,W)`` in model classes and, where an image may have nothing to aim at, ``applicable (B,)``.

    ``clean`` is the clean output at label size. Ignored pixels of the truth stay ignored.
    """
    target, ignore = params["target"], 255 if truth is None else truth.ignore
    prediction = clean.scores.argmax(1)
    applicable = None
    if target == "nearest":
        hidden = class_index(model, params["class"])
        goal, applicable = hide_nearest(prediction, hidden, None if truth is None else truth.valid)
        if truth is not None:
            applicable &= ((prediction == hidden) & truth.valid).flatten(1).any(1)
    elif target == "least-likely":
        goal = least_likely(clean.scores)
    elif target.startswith("class:"):
        goal = torch.full_like(prediction, class_index(model, target[len("class:") :]))
    else:
        goal = _label_map(Path(target), tuple(prediction.shape[1:]), len(model.spec.classes), ignore)
        goal = goal.to(prediction).expand_as(prediction)
    return SemanticTarget(goal if truth is None else torch.where(truth.valid, goal, ignore), ignore), applicable


def _label_map(path: Path, size: tuple[int, ...], classes: int, ignore: int) -> Tensor:
    """An 8-bit PNG of model class indices, of the size of the images."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise UserError(f"target {path} is {image.mode}; a label map is an 8-bit PNG of class indices")
            labels = torch.from_numpy(np.array(image)).long()
    except (UnidentifiedImageError, OSError, SyntaxError) as e:
        raise UserError(f"target {path} cannot be read ({e}); give an 8-bit PNG of class indices") from None
    if tuple(labels.shape) != tuple(size):
        raise UserError(f"target {path} is {tuple(labels.shape)}, the images are {tuple(size)}; make them equal")
    if bool(((labels >= classes) & (labels != ignore)).any()):
        raise UserError(f"target {path} has label {int(labels.max())}; the model has {classes} classes")
    return labels
