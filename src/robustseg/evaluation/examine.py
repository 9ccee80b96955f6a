"""The doctor's visit: a model and its data brought together as a run would, then examined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from robustseg.data import classes, load_data
from robustseg.defenses.adaptive import findings
from robustseg.defenses.defended import Defended
from robustseg.errors import UserError
from robustseg.evaluation import asked, fitting, referee
from robustseg.evaluation.device import choose
from robustseg.evaluation.guard import Guard
from robustseg.evaluation.matching import Mapped
from robustseg.models import check, load_model
from robustseg.models.findings import Finding
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import Model

__all__ = ["cost", "examine"]

DEAR = 0.05  # of the pixels that are right: what a defence may cost without being named


def examine(
    model: str,
    data: str,
    *,
    limit: int = 4,
    device: str = "auto",
    resize: tuple[int, int] | None = None,
    class_map: str | Path | None = None,
    defense: str | None = None,
    fit_data: str | None = None,
) -> list[Any]:
    """The findings of ``models.check.diagnose`` on references; an empty list is a healthy model.

    Classes are matched as ``evaluate`` matches them, synonyms and class map included; where that fails the doctor
    names the classes itself. ``defense``: the model is examined behind it, as attacks would meet it; what of it has no
    gradient, draws at random or costs much before any attack is named. One that must be calibrated is, on ``fit_data``
    or the training split, as in a run. Raises UserError for references that lead nowhere.
    """
    guard = Guard.of(defense, "auto")
    network, dataset = load_model(model, device=str(choose(device))), load_data(data, resize=resize)
    asked.one_kind(network.spec, dataset)
    table = None
    with suppress(UserError):
        table = classes.match(
            dataset.classes, network.spec.classes, class_map=class_map, data_ignore=dataset.ignore, ignore=-1
        )
    if guard.calibrates:
        other = fitting.fit_data(fit_data, dataset, resize, f"--defense {defense}", fitting.Calibration.name)
        guard = guard.knowing(fitting.Calibration().fit(network, Mapped.of(other, network.spec, class_map)))
    behind = guard.around(network)
    found = check.diagnose(behind, dataset, limit=limit, table=table)
    if isinstance(behind, Defended):
        found += findings(behind, dataset[0].image[None].to(behind.device))
        with suppress(UserError):  # without labels, or classes that match, there is nothing to count
            found += cost(network, behind, Mapped.of(dataset, network.spec, class_map), limit)
    return found


def cost(bare: Model, behind: Defended, data: Mapped, limit: int) -> Iterator[Finding]:
    """The finding that a defence costs more than `DEAR` of the clean pixels (or images) on the first ``limit``."""
    if bare.spec.task not in ("semantic", "universal", WHOLE_IMAGE):
        return
    right, counted = {True: 0, False: 0}, 0
    for sample in (data[i] for i in range(min(limit, len(data)))):
        assert sample.labels is not None
        counts = sample.labels != data.ignore
        counted += int(counts.sum())
        for guarded, model in ((False, bare), (True, behind)):
            said = referee.predict(model, sample.image[None].to(behind.device))[0].labels
            assert said is not None
            right[guarded] += int(((said[0].cpu() == sample.labels) & counts).sum())
    if counted and right[False] - right[True] > DEAR * counted:
        unit = "images" if bare.spec.task == WHOLE_IMAGE else "pixels"
        yield Finding(
            "defense-cost",
            "warning",
            f"{behind.text}: {right[True] / counted:.1%} of the {unit} are right behind it, "
            f"{right[False] / counted:.1%} without: what it costs before any attack",
        )
