"""``--defense`` and ``--adaptive``: the model behind its defences, who attacks what, and what of it is in a run key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from robustseg.catalog import Artefact
from robustseg.defenses import adaptive as modes
from robustseg.defenses.defended import Defended
from robustseg.defenses.words import Part, parse, text_of_parts
from robustseg.types import Model

__all__ = ["Guard", "cautions", "recorded"]


@dataclass(frozen=True)
class Guard:
    """What was asked for: ``defense`` in its one spelling or None, the attacker's ``adaptive``, draws a step or None;
    ``learned``: what a defence was calibrated to.

    >>> Guard.of("bits=03", "auto").defense
    'bits=3'
    """

    defense: str | None = None
    adaptive: str = "auto"
    samples: int | None = None
    learned: Artefact | None = None

    @classmethod
    def of(cls, defense: str | None, adaptive: str, eot: str | None = None, samples: int | None = None) -> Guard:
        """Raises UserError for what cannot be read. ``samples`` belong to ``eot`` where there is one."""
        modes.check(defense, adaptive)
        if defense is None:
            return cls()
        parts = parse(defense)
        mine = samples if eot is None and any(p.randoms for p in parts) else None
        return cls(text_of_parts(parts), adaptive, mine)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its defences, in order."""
        return () if self.defense is None else parse(self.defense)

    @property
    def calibrates(self) -> bool:
        """A defence of it must be calibrated first, and names no file that holds what was found."""
        return self.learned is None and any(p.name == "zmask" and not p.more for p in self.parts)

    def knowing(self, learned: Artefact) -> Guard:
        """The same, calibrated."""
        return replace(self, learned=learned)

    def around(self, model: Model) -> Model:
        """The model that is predicted with, and attacked unless ``unaware``."""
        if self.defense is None:
            return model
        return modes.guarded(model, self.defense, self.adaptive, self.samples, self.learned)

    @property
    def unaware(self) -> bool:
        """Attacks are made on the bare model."""
        return self.defense is not None and self.adaptive == "off"

    def attacked(self, bare: Model) -> Model:
        """The model that attacks see."""
        return bare if self.unaware else self.around(bare)

    def mode(self, model: Model) -> str | None:
        """What decides the images of an attack besides the model, for the run key."""
        if not isinstance(model, Defended):
            return None
        past = ",past" * (model.bpda and model.suspects)  # a patch is fitted on what is not yet hidden
        return "off" if self.unaware else f"bpda={model.bpda},samples={model.samples if model.randoms else 0}{past}"

    @property
    def info(self) -> dict[str, Any]:
        """For the record; nothing without a defence."""
        if self.defense is None:
            return {}
        return {"defense": self.defense, "adaptive": self.adaptive, "draws": self.samples}


def recorded(info: Mapping[str, Any]) -> dict[str, Any]:
    """The options that make the guard of a run again, from its record."""
    if not info.get("defense"):
        return {}
    return {"defense": info["defense"], "adaptive": info["adaptive"], "eot_samples": info.get("draws")}


def cautions(model: Model, info: Mapping[str, Any]) -> list[str]:
    """Why the figures of a run with this record, behind a defence, say less than they seem to."""
    if not isinstance(model, Defended):
        return []
    return modes.caution(model, info.get("adaptive", "auto"), info.get("source"))
