"""The doctor's visit: a model and its data brought together as a run would, then examined."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from robustseg.data import classes, load_data
from robustseg.defenses.adaptive import findings
from robustseg.defenses.defended import Defended
from robustseg.errors import UserError
from robustseg.evaluation import asked
from robustseg.evaluation.device import choose
from robustseg.evaluation.guard import Guard
from robustseg.models import check, load_model

__all__ = ["examine"]


def examine(
    model: str,
    data: str,
    *,
    limit: int = 4,
    device: str = "auto",
    resize: tuple[int, int] | None = None,
    class_map: str | Path | None = None,
    defense: str | None = None,
) -> list[Any]:
    """The findings of ``models.check.diagnose`` on references; an empty list is a healthy model.

    Classes are matched as ``evaluate`` matches them, synonyms and class map included; where that fails the doctor
    names the classes itself. ``defense``: the model is examined behind it, as attacks would meet it, and what of it has
    no gradient, or draws at random, is named. Raises UserError for references that lead nowhere.
    """
    guard = Guard.of(defense, "auto")
    network, dataset = load_model(model, device=str(choose(device))), load_data(data, resize=resize)
    asked.one_kind(network.spec, dataset)
    table = None
    with suppress(UserError):
        table = classes.match(
            dataset.classes, network.spec.classes, class_map=class_map, data_ignore=dataset.ignore, ignore=-1
        )
    network = guard.around(network)
    found = check.diagnose(network, dataset, limit=limit, table=table)
    if isinstance(network, Defended):
        found += findings(network, dataset[0].image[None].to(network.device))
    return found
