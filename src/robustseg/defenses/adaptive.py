"""What an attacker knows of a defence, and what a figure is worth that does not let him know all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.defenses.defended import SAMPLES, Defended, defended
from robustseg.defenses.inputs import FILTERS, applied
from robustseg.defenses.words import Part
from robustseg.errors import UserError
from robustseg.models.findings import Finding
from robustseg.types import AttackResult, Model

__all__ = ["MODES", "Expecting", "caution", "check", "expecting", "findings", "flat", "guarded"]

RAMP = torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16)  # a picture on which no rounding can follow
MODES = {
    "auto": "everything that the defence calls for: BPDA through rounding, EOT over its draws",
    "bpda": "gradients pass through rounding; one draw, always the same",
    "eot": "the mean over draws; gradients as they are, zero behind rounding",
    "off": "attacks are made on the model without the defence and scored behind it",
}


def check(defense: str | None, adaptive: str) -> None:
    """Raises UserError for a mode that is unknown, or adapts to nothing."""
    if adaptive not in MODES:
        known = "; ".join(f"{name}: {what}" for name, what in MODES.items())
        raise UserError(f"--adaptive {adaptive} is unknown; {known}")
    if defense is None and adaptive != "auto":
        raise UserError(f"--adaptive {adaptive} says how attacks meet a defence; name one, e.g. --defense jpeg=50")


def guarded(
    model: Model, defense: str, adaptive: str = "auto", samples: int | None = None, learned: Artefact | None = None
) -> Defended:
    """The model behind a defence as attacks in this mode see it; what it predicts is the same in all of them."""
    many = (SAMPLES if samples is None else samples) if adaptive in ("auto", "eot") else 0
    return defended(model, defense, bpda=adaptive != "eot", samples=many, learned=learned)


def caution(model: Defended, adaptive: str, source: str | None = None) -> list[str]:
    """Why the figures say less than they seem to, in one sentence, where they do.

    Source: Athalye et al., ICML 2018; Tramèr et al., NeurIPS 2020, arXiv 2002.08347: a defence is worth what is left of
    it when the attacker knows it.
    """
    how = ""
    if source is not None:
        how = f"made on {source}: they are no measure of robustness"
    elif adaptive == "off":
        how = "made without knowing the defence (--adaptive off): they are no measure of robustness"
    elif adaptive == "eot" and any(flat(p, RAMP) for p in model.parts):
        how = "whose gradient is zero behind rounding (--adaptive eot): they are no measure of robustness"
    elif adaptive == "eot" and model.suspects:
        how = "whose gradient does not see what zmask hides (--adaptive eot): they are no measure of robustness"
    elif adaptive == "bpda" and model.randoms:
        how = "on one draw that never changes (--adaptive bpda): they overstate what a random defence is worth"
    return [f"the figures behind {model.text} are of attacks {how}; leave --adaptive at auto"] if how else []


def flat(part: Part, image: Tensor) -> bool:
    """Whether the exact gradient of this defence is zero on every pixel of ``image (1,C,H,W)``."""
    if part.name not in FILTERS:
        return part.name == "demask"  # votes are counts; what moves or hides pixels passes the others on
    with torch.enable_grad():
        x = image.detach().clone().requires_grad_()
        y = applied(part.name, x, torch.full((len(x),), part.low), bpda=False)
        (gradient,) = torch.autograd.grad(y.sum(), x)
    return not bool(gradient.any())


def findings(model: Defended, image: Tensor) -> Iterator[Finding]:
    """What the doctor says of the defences in front of a model: whose gradient is masked, and which draw at random.

    Measured on ``image (1,C,H,W)``, part by part.
    """
    masked = [p.text for p in model.parts if flat(p, image)]
    if model.zmask is not None:
        yield _hiding(model, image)
    random = [p.text for p in model.parts if p.randoms]
    if masked:
        yield Finding(
            "defense-gradient",
            "warning",
            f"{', '.join(masked)}: not differentiable, the gradient is exactly zero on every pixel, so that a plain "
            "attack does nothing; attacks with --adaptive auto go through it (BPDA)",
        )
    if random:
        yield Finding(
            "defense-random",
            "warning",
            f"{', '.join(random)}: drawn at random; attacks with --adaptive auto follow the mean over draws (EOT)",
        )


def _hiding(model: Defended, image: Tensor) -> Finding:
    """What zmask does to the gradient of this image."""
    part = next(p for p in model.parts if p.name == "zmask")
    with torch.no_grad():
        before = replace(model, parts=model.parts[: model.parts.index(part)])
        shown = before.pixels(image)[0] if before.parts else image
        hidden = (replace(model, parts=(*before.parts, part)).pixels(image)[0] != shown).any(1).float().mean().item()
    return Finding(
        "defense-gradient",
        "warning",
        f"{part.text}: hides {hidden:.1%} of the first image; no gradient comes from what is hidden, and a patch is "
        "hidden before its attack has begun; attacks with --adaptive auto go past the mask and keep it silent",
    )


@dataclass(frozen=True)
class Expecting:
    """An attack on a randomised defence, with the budget that its draws cost; everything else is the attack's."""

    attack: Any
    samples: int

    @property
    def budget(self) -> tuple[int, int]:
        """Planned forwards and backwards an image: a step has its draws to follow and as many to judge."""
        forwards, backwards = self.attack.budget
        clean = int(getattr(self.attack, "needs_clean", False))
        if "eot" in self.attack.params:
            return forwards, backwards  # its draws have one of the defence each
        return self.samples * (forwards - clean + backwards) + clean, self.samples * backwards

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.attack, name)

    def with_artefact(self, artefact: Any) -> Expecting:
        """The same, knowing ``artefact``."""
        return replace(self, attack=self.attack.with_artefact(artefact))

    def __call__(self, *args: Any, **options: Any) -> AttackResult:
        """Attack as the attack does."""
        return self.attack(*args, **options)


def expecting(attack: Any, model: Model) -> Any:
    """The attack with the budget that it has on this model; a user's own attack object knows its own."""
    many = getattr(model, "samples", 0) if getattr(model, "randoms", 0) else 0
    return Expecting(attack, many) if many and hasattr(attack, "params") else attack
