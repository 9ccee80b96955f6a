"""What is one for all images: a tile (``universal``) or a patch. Which of the two, by the kind of its artefact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from robustseg.catalog import patch, universal
from robustseg.catalog.artefact import Artefact
from robustseg.catalog.entry import Entry
from robustseg.catalog.spec import Params
from robustseg.types import DataSet, Model

if TYPE_CHECKING:
    from robustseg.catalog.attack import Attack

__all__ = ["check", "check_artefact", "fit", "load", "start"]


def check(entry: Entry, params: Params) -> None:
    """Raises UserError for options that cannot be used."""
    if entry.fits == patch.KIND:
        from robustseg.catalog.entries import ENTRIES

        known = [e.name for e in ENTRIES.values() if not {"query", "region"}.isdisjoint(e.output) and not e.members]
        patch.check(params, [n for n in known if n not in ("noise", "patch")])
    else:
        universal.tile_size(params)


def load(entry: Entry, params: Params) -> Artefact:
    """What ``file=`` holds."""
    return patch.load(params) if entry.fits == patch.KIND else universal.load_tile(params["file"], params["eps"])


def fit(attack: Attack, model: Model, dataset: DataSet, seed: int) -> Artefact:
    """What does best on the first images of the data."""
    if attack.entry.fits == patch.KIND:
        from robustseg.catalog.patch_fit import fit_patch

        return fit_patch(attack, model, dataset, seed)
    return universal.fit_tile(attack, model, dataset, seed)


def check_artefact(entry: Entry, artefact: Artefact, params: Params) -> None:
    """Raises UserError unless the artefact is what these options need."""
    if entry.fits == patch.KIND:
        patch.check_artefact(artefact, params)
    else:
        universal.check_tile(artefact, params["eps"])


def start(attack: Attack, images: Tensor, ids: Sequence[str], seed: int) -> Tensor:
    """What it changes in ``images (B,C,H,W)``."""
    if attack.entry.fits == patch.KIND:
        return patch.start(attack.artefact, attack.params, images, ids, seed)
    assert attack.artefact is not None
    return universal.start(attack.artefact, images)
