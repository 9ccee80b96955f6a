"""The patch that a command asks for, with the size and steps that follow from its board."""

from __future__ import annotations

from collections.abc import Mapping

from robustseg import catalog
from robustseg.catalog import patch
from robustseg.data import load_data
from robustseg.errors import UserError
from robustseg.evaluation.matching import Mapped
from robustseg.types import DataSet, Model

__all__ = ["asked_patch", "to_learn_from"]


def asked_patch(
    spec: str, size: tuple[int, int], steps: int, batch: int, defaults: Mapping[str, str], where: str
) -> catalog.Attack:
    """The attack of ``spec`` for a texture of ``size = (h,w)``; ``defaults`` fill what it leaves open.

    ``where``: what has a place of its own, for the message. Raises UserError for anything but a patch to fit.
    """
    given = catalog.attack(spec)
    if given.entry.fits != patch.KIND or patch.filled(given.params) or "file" in given.params:
        raise UserError(f"{spec} is no patch to fit; write patch, or patch:gamma=dynamic,smooth=0.2")
    for key in ("size", "at", "images"):
        if key in given.given:
            raise UserError(f"{spec}: {key}= is for patches in images; {where} hangs where it hangs")
    every = {**defaults, "steps": str(steps), "batch": str(batch)}
    extra = {k: v for k, v in every.items() if k not in given.given}
    return catalog.attack(given, size=f"{size[0]}x{size[1]}", **extra)


def to_learn_from(ref: str | None, model: Model, size: tuple[int, int] | None, attack: catalog.Attack) -> DataSet:
    """Data for losses that must learn from other images first (class prices), in the classes of the model.

    Raises UserError where there is none (``ref`` None).
    """
    if ref is None:
        raise UserError(
            f"patch: loss={attack.params['loss']} must learn from other images first, and photographs name none; use "
            "one that need not, e.g. loss=mask-break"
        )
    return Mapped.of(load_data(ref, resize=size), model.spec)
