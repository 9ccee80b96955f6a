"""What the text of an attack says: name, size of the ball, norm, and the family it belongs to over several ε."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from robustseg.evaluation.composed import ball

__all__ = ["Spec", "ball_order", "eps_value", "labels", "parse"]


@dataclass(frozen=True)
class Spec:
    """One canonical attack text, taken apart. ``family``: the text without ε; ``eps``: None where there is no ball."""

    text: str
    name: str
    family: str
    eps_text: str | None
    eps: float | None
    norm: str
    region: str | None = None

    @property
    def noise(self) -> bool:
        """True for the baseline that moves pixels at random: no attack, the measure of what ε alone costs."""
        return "noise" in self.name

    @property
    def ball(self) -> str:
        """The threat model as ``worst_case_by_eps`` names it: ``8/255``, ``l2 0.5``, ``8/255 in skin``."""
        return ball(self.eps_text, self.norm, self.region)


def eps_value(text: str | None) -> float | None:
    """The number that an ε text stands for; None where it cannot be read.

    >>> eps_value("8/255") == 8 / 255, eps_value("0.5"), eps_value(None), eps_value("1/0")
    (True, 0.5, None, None)
    """
    try:
        return None if text is None else float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        return None


def ball_order(name: str) -> tuple[bool, str, str, float]:
    """Sorts names of threat models: everywhere before in a region, L∞ first, growing ε.

    >>> sorted(["8/255 in skin", "l2 0.5", "8/255", "16/255", "unbounded"], key=ball_order)
    ['unbounded', '8/255', '16/255', 'l2 0.5', '8/255 in skin']
    """
    size, _, region = name.partition(" in ")
    norm, _, eps = size.rpartition(" ")
    return bool(region), region, norm, eps_value(eps) or 0.0


def parse(text: str) -> Spec:
    """Takes a canonical spec apart; what has no ``eps=`` has no ball. Never raises: the text may be anything.

    >>> s = parse("segpgd:eps=8/255,steps=20")
    >>> s.name, s.family, s.eps_text, s.norm
    ('segpgd', 'segpgd:steps=20', '8/255', 'linf')
    """
    name, _, tail = text.partition(":")
    options = [o for o in tail.split(",") if o]
    values = dict(o.split("=", 1) for o in options if "=" in o)
    others = ",".join(o for o in options if not o.startswith("eps="))
    eps_text = values.get("eps")
    norm = values.get("norm") or ("l2" if "l2" in name.replace("_", "-").split("-") else "linf")
    family = f"{name}:{others}" if others else name
    return Spec(text, name, family, eps_text, eps_value(eps_text), norm.lower(), values.get("region"))


def labels(families: list[str]) -> dict[str, str]:
    """A short label for each family: the bare name where it is unique, else name and options.

    >>> labels(["pgd:steps=20", "pgd:steps=5", "fgsm", "segpgd:steps=20"])
    {'pgd:steps=20': 'pgd steps=20', 'pgd:steps=5': 'pgd steps=5', 'fgsm': 'fgsm', 'segpgd:steps=20': 'segpgd'}
    """
    names = [f.partition(":")[0] for f in families]
    return {
        f: n if names.count(n) == 1 else f.replace(":", " ").replace(",", ", ")
        for f, n in zip(families, names, strict=True)
    }
