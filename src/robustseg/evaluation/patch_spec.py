"""The patch that a command asks for, with the size and steps that follow from its board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robustseg import catalog
from robustseg.catalog import patch
from robustseg.errors import UserError
from robustseg.types import DataSet

__all__ = ["asked_patch", "nothing_to_fit_on"]


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


def nothing_to_fit_on(attack: catalog.Attack, where: str) -> DataSet:
    """Data for losses that must learn from other images first, of which a board has none: refuses when asked."""

    class Nothing:
        def __getattr__(self, name: str) -> Any:
            raise UserError(f"{attack.spec}: this loss must learn from other images first; use another for {where}")

    return Nothing()  # type: ignore[return-value]
