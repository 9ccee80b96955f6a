"""What the table itself gives cause to doubt, in words. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robustseg.evaluation.composed import ball

__all__ = ["no_better_than_noise"]

SCORES = ("mIoU", "PQ", "AP", "IoU_prompted", "accuracy")


def no_better_than_noise(attacks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence naming the untargeted attacks that do no more than noise of their own norm, eps and region.

    ``attacks``: those of a summary. "No more": in no score below the lower end of the noise's interval, where it has
    one: an attack on segments may leave the semantic map alone.

    >>> noise = {"name": "noise", "eps": "8/255", "norm": "linf", "mIoU": 0.6}
    >>> pgd = {"name": "pgd", "eps": "8/255", "norm": "linf", "mIoU": 0.61}
    >>> no_better_than_noise({"noise:eps=8/255": noise, "pgd:eps=8/255": pgd})[0].partition(":")[0]
    'pgd'
    """
    quiet = {_ball(spec, e): e for spec, e in attacks.items() if _quiet(spec, e)}
    idle = []
    for spec, entry in attacks.items():
        noise = quiet.get(_ball(spec, entry))
        if noise is None or entry.get("extra") or entry.get("target") or _quiet(spec, entry) or "fill=grey" in spec:
            continue
        both = [name for name in SCORES if entry.get(name) is not None and noise.get(name) is not None]
        if both and all(entry[name] >= _low(noise, name) for name in both):
            idle.append(spec)
    if not idle:
        return []
    names = ", ".join(idle)
    weighed = any("weights=" in spec for spec in idle)
    why = (
        "The weights given may leave this model out; weights=auto balances the gradients."
        if weighed
        else "Check that gradients reach the input (`robustseg doctor`)."
    )
    return [f"{names}: no worse than random noise of the same size. {why}"]


def _low(noise: Mapping[str, Any], name: str) -> float:
    interval: Sequence[float] | None = (noise.get("ci95") or {}).get(name)
    return interval[0] if interval else noise[name]


def _quiet(spec: str, entry: Mapping[str, Any]) -> bool:
    """Noise of the same ball, or a random patch of the same place."""
    return _name(spec, entry) == "noise" or (_name(spec, entry) == "patch" and "fill=random" in spec)


def _name(spec: str, entry: Mapping[str, Any]) -> str:
    return entry.get("name") or spec.partition(":")[0]


def _ball(spec: str, entry: Mapping[str, Any]) -> str:
    options = dict(o.split("=", 1) for o in spec.partition(":")[2].split(",") if "=" in o)
    return ball(entry.get("eps") or options.get("eps"), entry.get("norm") or options.get("norm") or "linf",
                entry.get("region") or options.get("region"))  # fmt: skip
