"""What the text of an attack says: name, size of the ball, norm, and the family it belongs to over several ε."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Spec", "eps_value", "labels", "parse"]


@dataclass(frozen=True)
class Spec:
    """One canonical attack text, taken apart. ``family``: the text without ε; ``eps``: None where there is no ball."""

    text: str
    name: str
    family: str
    eps_text: str | None
    eps: float | None
    norm: str

    @property
    def noise(self) -> bool:
        """True for the baseline that moves pixels at random: no attack, the measure of what ε alone costs."""
        return "noise" in self.name

    @property
    def ball(self) -> str:
        """The ball as people write it and as ``worst_case_by_eps`` names it: ``8/255``, ``l2 0.5``, ``unbounded``."""
        if self.eps_text is None:
            return "unbounded"
        return self.eps_text if self.norm == "linf" else f"{self.norm} {self.eps_text}"


def eps_value(text: str | None) -> float | None:
    """The number that an ε text stands for; None where it cannot be read.

    >>> eps_value("8/255") == 8 / 255, eps_value("0.5"), eps_value(None), eps_value("1/0")
    (True, 0.5, None, None)
    """
    try:
        return None if text is None else float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        return None


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
    return Spec(text, name, f"{name}:{others}" if others else name, eps_text, eps_value(eps_text), norm.lower())


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
