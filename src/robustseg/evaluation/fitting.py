"""Artefacts: what an attack must learn from other images before it is scored; made once, kept in ``DIR/artefacts``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustseg.catalog import Artefact
from robustseg.catalog.attack import FITTED
from robustseg.data import fit_ref, load_data
from robustseg.defenses import zmask, zmask_fit
from robustseg.errors import UserError
from robustseg.evaluation.files import slug
from robustseg.evaluation.matching import Item, Mapped, index
from robustseg.ops import digest
from robustseg.types import DataSet, Model

__all__ = ["Calibration", "about", "fit", "fit_data", "fit_name"]


@dataclass(frozen=True)
class Calibration:
    """What zmask learns of a model, in the place of an attack that is fitted. It has a seed of its own, always 0: a
    defence stands before the attacker draws."""

    name: str = zmask.KIND
    spec: str = zmask.KIND
    version: int = zmask_fit.VERSION

    def fit(self, model: Model, dataset: DataSet, seed: int = 0) -> Artefact:
        """See :func:`robustseg.defenses.zmask_fit.calibrate`."""
        return zmask_fit.calibrate(model, dataset, seed)


def fit_name(attack: Any) -> str:
    """Attacks of one such name share an artefact; an attack that does not say otherwise has its own."""
    return getattr(attack, "fit_name", attack.spec)


def fit_data(
    given: str | DataSet | None, data: DataSet, resize: tuple[int, int] | None, attack: str, artefact: str
) -> DataSet:
    """The images to fit on: those given, else the training split. Raises UserError where there are none."""
    if given is None:
        given = fit_ref(data.ref) if _is_ref(data) else None
        if given is None:
            known = {**FITTED, zmask.KIND: ("on clean images and patches", "demask")}
            matches = (words for kind, words in known.items() if artefact.startswith(kind))
            what, other = next(matches, ("what it learns", "another attack"))
            raise UserError(
                f"{attack} must be fitted ({what}) on images that are not scored; {data.ref} names none: "
                f"give --fit-data REF, or use {other}, which needs none"
            )
    return load_data(given, resize=resize) if isinstance(given, str) else given


def _is_ref(data: DataSet) -> bool:
    try:
        return fit_ref(data.ref) is not None
    except UserError:
        return False  # an object's own name, no reference


def fit(
    attack: Any,
    model: Model,
    data: Mapped,
    scored: Sequence[Item],
    seed: int,
    folder: Path,
    tick: Callable[[int, int], None] | None = None,
    adaptive: str | None = None,
) -> Artefact:
    """The artefact of an attack: read from ``folder`` if it was made for the same model, data and seed, else fitted.

    ``adaptive``: how the attack meets a defence of the model, where there is one.
    Raises UserError where an image to fit on is also scored (compared by content).
    """
    number = len(data)
    items = index(data, number, tick)
    scores = {item.content: item.id for item in scored}
    both = [item.id for item in items if item.content in scores]
    if both:
        raise UserError(
            f"{attack.name} may not be fitted on images that are scored: {len(both)} of {data.ref} are, "
            f"e.g. {both[0]}; name other data with --fit-data"
        )
    name = fit_name(attack)
    request = [
        name,
        attack.version,
        model.spec.digest,
        list(data.classes),
        data.digest(),
        data.table.tolist(),
        seed,
        *([] if adaptive is None else [adaptive]),
    ]
    path = folder / f"{slug(name)}-{digest.of_json(request)}.safetensors"
    if path.is_file():
        return Artefact.load(path)
    made = attack.fit(model, data, seed)
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    made.save(draft)
    draft.replace(path)  # a kill leaves no half-written artefact
    return made


def about(artefact: Artefact) -> dict[str, Any]:
    """What the record of a run says of an artefact."""
    return {
        "kind": artefact.kind,
        "fitted_on": artefact.fitted_on,
        "digest": artefact.digest,
        "forwards": artefact.forwards,
        "backwards": artefact.backwards,
    }
