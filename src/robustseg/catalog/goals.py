"""The ``target=`` option: from its text to the label map an attack aims at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from robustseg.catalog import stealthy
from robustseg.catalog.spec import Params, near
from robustseg.errors import UserError
from robustseg.objectives.goals import hide_nearest, least_likely, permuted
from robustseg.ops import place
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import DenseOutput, Model, SemanticTarget

__all__ = ["aims", "class_index", "goal_labels"]

BACKGROUND = "background"  # in Pascal VOC: where no object is annotated


def aims(params: Params) -> bool:
    """The options name a goal: a target, or what shall become of a class.

    >>> aims({"eps": "8/255"}), aims({"kind": "vanish"})
    (False, True)
    """
    return "target" in params or "kind" in params


def class_index(model: Model, name: str) -> int:
    """Index of a class of the model by name; raises UserError that lists the near ones."""
    names = [c.lower() for c in model.spec.classes]
    if name.lower() not in names:
        raise UserError(f"the model has no class {name!r}; {near(name, names)}")
    return names.index(name.lower())


def goal_labels(
    params: Params,
    model: Model,
    reference: SemanticTarget,
    clean: DenseOutput | None,
    draws: Sequence[torch.Generator] = (),
) -> SemanticTarget:
    """Goal map ``(B,H,W)`` in model classes; ``reference``, what counts as right now, lends its labels and its ignored
    pixels. ``clean`` is the clean output at label size, which only ``least-likely`` looks at; ``draws``, one generator
    an image, are for goals with something random in them.
    """
    labels, ignore = reference.labels, reference.ignore
    if "kind" in params:
        goal = stealthy.goal(params, class_index(model, params["class"]), reference, draws)
        return SemanticTarget(torch.where(reference.valid, goal, ignore), ignore)
    target = params["target"]
    of_images = target in ("least-likely", "permuted") or target.startswith("class:")
    if model.spec.task == WHOLE_IMAGE and not of_images:
        raise UserError(
            f"target={target} changes part of a label map, and {model.spec.ref} gives one label an image; "
            "use target=class:NAME or target=least-likely"
        )
    if target == "nearest":
        goal = hide_nearest(labels, class_index(model, params["class"]), reference.valid)[0]
    elif target == "least-likely":
        assert clean is not None
        goal = least_likely(clean.scores)
    elif target == "permuted":
        goal = permuted(reference, [c.lower() == BACKGROUND for c in model.spec.classes], draws)
    elif target.startswith("class:"):
        goal = torch.full_like(labels, class_index(model, target[len("class:") :]))
    else:
        goal = _label_map(Path(target), tuple(labels.shape[1:]), len(model.spec.classes), ignore)
        goal = goal.to(labels).expand_as(labels)
    if "aim" in params:  # here alone; everything else shall stay
        there = place.read(params["aim"]).mask((int(labels.shape[-2]), int(labels.shape[-1])))
        goal = torch.where(there.to(labels.device), goal, labels)
    return SemanticTarget(torch.where(reference.valid, goal, ignore), ignore)


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
