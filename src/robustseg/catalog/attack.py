"""A named attack, ready to run: ``attack(model, images, targets) -> AttackResult``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustseg.attacks.combinators import join_traces
from robustseg.catalog import build, ensemble, patch, running, shared, universal
from robustseg.catalog.artefact import Artefact, class_pixels
from robustseg.catalog.door import as_map, check_input
from robustseg.catalog.entries import ENTRIES, Entry
from robustseg.catalog.goals import aims
from robustseg.catalog.spec import Params, number, step_length, text_of
from robustseg.errors import UserError
from robustseg.ops import digest, seeds
from robustseg.ops.state import frozen
from robustseg.types import AttackResult, DataSet, Model, SemanticTarget

__all__ = ["FITTED", "Attack"]

LONG = 0.25  # a step of this length without a ball was meant in grey levels

FITTED = {  # kind of artefact -> what it holds, and what to use instead
    "class-pixels": ("class counts", "strong"),
    "panoptic-prices": ("class prices", "mask-break"),
    universal.KIND: ("its perturbation", "pgd"),
    patch.KIND: ("its patch", "patch:fill=random"),
}


@dataclass(frozen=True)
class Attack:
    """Parts with all their numbers. Frozen: ``with_artefact`` and ``catalog.attack`` make new ones.

    Example::

        attack = rs.attack("segpgd:eps=4/255,steps=20")
        adversarial, wrong, forwards, backwards = attack(model, images, labels)
    """

    entry: Entry
    params: Params
    given: Params
    paper: bool = False
    function: Callable[..., Any] | None = None
    code: str = ""  # hash of a custom objective's source
    artefact: Artefact | None = None

    # ---------------------------------------------------------------- what it is

    @property
    def name(self) -> str:
        """Catalog name, with ``@paper`` where the paper's numbers are used."""
        return self.entry.name + ("@paper" if self.paper else "")

    @property
    def spec(self) -> str:
        """Canonical text: the radius first, then the options that differ from the defaults, sorted."""
        shaping = {
            k: self.params[k] for k in ("norm", "update", *(["eps"] if self.entry.free else [])) if k in self.params
        }  # other defaults follow from these
        plain, shaped = self.entry.params({}, self.paper), self.entry.params(shaping, self.paper)
        default = {**shaped, **{k: plain.get(k, "") for k in shaping}}
        shown = sorted(k for k, v in self.params.items() if k != "eps" and v != default.get(k))
        said = ",".join(f"{k}={self.params[k]}" for k in ("eps", *shown) if k in self.params)
        return f"{self.name}:{said}" if said else self.name

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the result, for the run key: all options, code version, custom code, artefact."""
        return {
            "name": self.entry.name,
            "params": dict(sorted(self.params.items())),
            "version": self.entry.version,
            "code": self.code,
            "artefact": self.artefact.digest if self.artefact else None,
        }

    @property
    def eps(self) -> str | None:
        """Radius as text, e.g. ``8/255``; None where there is no ball."""
        return self.params.get("eps")

    @property
    def norm(self) -> str:
        """``linf`` or ``l2``: of the ball; or the norm that is minimised, ``l0`` too."""
        return self.entry.minimal or self.params["norm"]

    @property
    def minimises(self) -> bool:
        """It has no ball and looks for the smallest perturbation of its norm."""
        return bool(self.entry.minimal)

    @property
    def unbounded(self) -> bool:
        """Where no ``eps`` is given, pixels may become anything."""
        return self.entry.params({}, self.paper).get("eps", "1") == "1" and not self.minimises

    @property
    def enough(self) -> float:
        """Share of the counted pixels that must be fooled for an image to be done: all, or ``apsr`` without a ball."""
        return number(self.params["apsr"], "apsr") if self.entry.minimal else 1.0

    @property
    def reference(self) -> str:
        """``gt`` or ``pred``: what counts as right for the attacker."""
        return self.params["reference"]

    @property
    def region(self) -> str | None:
        """Where the attacker may write, as text, or None for everywhere."""
        return patch.region(self.params) if self.entry.fits == patch.KIND else self.params.get("region")

    @property
    def outside(self) -> str | None:
        """The pixels that its scores are taken from, as text, where they are not all."""
        return patch.outside(self.params) if self.entry.fits == patch.KIND else None

    @property
    def baselines(self) -> tuple[Attack, ...] | None:
        """What must stand beside it; None where that is noise of the same radius."""
        if self.entry.fits != patch.KIND:
            return None
        return tuple(Attack(self.entry, self.entry.params(p, False), p) for p in patch.baselines(self.params))

    @property
    def targeted(self) -> bool:
        """It drives the prediction to a goal map."""
        return aims(self.params)

    @property
    def version(self) -> int:
        """Version of the code of this attack."""
        return self.entry.version

    @property
    def needs_fit(self) -> bool:
        """It needs an artefact fitted on other images."""
        if self.entry.members:
            return any(m.needs_fit for m in self.members)
        return bool(self.entry.fits) and self.function is None and not patch.filled(self.params)

    @property
    def fitted(self) -> tuple[str, str]:
        """What it must know of other images, and the attack that comes nearest and needs none. Only where needs_fit."""
        return FITTED[self.entry.fits or next(m.entry.fits for m in self.members if m.needs_fit)]

    @property
    def fit_name(self) -> str:
        """What kind of artefact it needs; attacks of one name share it, whatever their radius.

        A universal perturbation is shared by attacks of the same options only.
        """
        if not self.entry.shared:
            return self.entry.fits
        fitted = {k: v for k, v in self.params.items() if k not in ("region", "file")}
        scene = Path(fitted.get("target", ""))
        read = digest.of_bytes(scene.read_bytes()) if scene.is_file() else None
        return f"{self.entry.fits}-{digest.of_json([sorted(fitted.items()), read])}"

    @property
    def members(self) -> tuple[Attack, ...]:
        """The attacks of an ensemble, with its options handed down; empty for a single attack."""
        made = (
            Attack(entry, entry.params(self.given, self.paper), self.given, self.paper)
            for entry in (ENTRIES[name] for name in self.entry.members)
        )
        return tuple(m.with_artefact(self.artefact) if m.needs_fit and self.artefact else m for m in made)

    @property
    def budget(self) -> tuple[int, int]:
        """Planned forwards and backwards an image."""
        if self.entry.members:
            plans = [m.budget for m in self.members]
            return sum(f for f, _ in plans), sum(b for _, b in plans)
        return build.budget(self.entry, self.params, self.needs_clean)

    @property
    def warnings(self) -> list[str]:
        """What is worth knowing before a run: steps that cannot reach the edge of the ball.

        >>> from robustseg.catalog import attack; attack("bim:steps=3").warnings
        ['bim: 3 steps of eps/4 reach only 6/255 of 8/255; take more steps, or step_size=eps/steps']
        """
        if self.entry.members:
            return list(dict.fromkeys(w for m in self.members for w in m.warnings))
        if self.entry.free and step_length(self.params) >= LONG:
            levels = text_of(Fraction(step_length(self.params)), pixels=True)
            return [f"{self.name}: step_size={self.params['step_size']} is {levels}; pixels are in [0,1] here, and the "
                    "paper's 0.5 grey levels are step_size=1/510"]  # fmt: skip
        if (
            self.entry.minimal
            or self.entry.random_start
            or self.params["update"] not in ("sign", "momentum")
            or "file" in self.params
            or build.no_steps(self.entry, self.params)
        ):
            return []
        if "eps" not in self.params:
            return []
        eps, steps = number(self.params["eps"], "eps"), int(self.params["steps"])
        reach = steps * step_length(self.params)
        if reach >= eps * (1 - 1e-9):
            return []
        far = text_of(Fraction(reach), pixels=True)
        step = (
            f"step of {self.params['step_size']} reaches"
            if steps == 1
            else f"steps of {self.params['step_size']} reach"
        )
        return [f"{self.name}: {steps} {step} only {far} of {self.eps}; take more steps, or step_size=eps/steps"]

    @property
    def needs_clean(self) -> bool:
        """It looks at the clean output first, which costs one forward."""
        asked = {("reference", "pred"), ("target", "least-likely"), ("proposals", "fixed")}
        return self.entry.needs_clean or not asked.isdisjoint(self.params.items())

    # ---------------------------------------------------------------- artefacts

    def fit(self, model: Model, dataset: DataSet, seed: int = 0) -> Artefact:
        """What the attack must know beforehand, from images that are never scored.

        ``dataset`` yields samples whose labels are in the model's class indices.
        """
        if not self.needs_fit:
            raise UserError(f"{self.name} needs no fit")
        if self.entry.fits == "panoptic-prices":
            from robustseg.catalog.prices import fit_prices

            return fit_prices(self, model, dataset, seed)
        if self.entry.shared:
            with torch.inference_mode(False), frozen(model.module):
                return shared.fit(self, model, dataset, seed)
        samples = (dataset[i] for i in range(len(dataset)))
        return class_pixels(samples, len(model.spec.classes), dataset.ignore, dataset.ref)

    def with_artefact(self, artefact: Artefact) -> Attack:
        """The same attack, knowing ``artefact``."""
        return replace(self, artefact=artefact)

    def _check_artefact(self, model: Model) -> None:
        if not self.needs_fit:
            return
        if self.artefact is None:
            what, other = self.fitted
            raise UserError(
                f"{self.name} needs {what} of other images: a = attack.fit(model, data); "
                f"attack.with_artefact(a); or use {other}, which needs none"
            )
        if self.entry.shared:
            shared.check_artefact(self.entry, self.artefact, self.params)
            return
        known, classes = len(next(iter(self.artefact.tensors.values()))), len(model.spec.classes)
        if known != classes:
            raise UserError(f"{self.name} was fitted for {known} classes, the model has {classes}; fit it again")

    # ---------------------------------------------------------------- running

    def __call__(
        self,
        model: Model | Sequence[Model],
        images: Tensor,
        targets: SemanticTarget | Tensor | Sequence[SemanticTarget] | None = None,
        *,
        ids: Sequence[str] | None = None,
        seed: int = 0,
        region: Tensor | None = None,
        early_stop: bool = True,
    ) -> AttackResult:
        """Attack a batch.

        ``model``: one, or several that one perturbation shall fool, whose objectives are averaged (SAGA: whose
        gradients are balanced); ``targets`` are then in the first one's class indices, or a list with one for each.

        Shapes: ``images (B,3,H,W)`` float32 in [0,1]; ``targets (B,H,W)`` int64 in the model's class indices, 255 =
        ignored (or a ``SemanticTarget`` with another ignore value; None where the clean prediction is the reference);
        of a classifier ``(B,)``, one label an image;
        ``region (B,H,W)`` bool, where the attacker may write. ``ids`` seed the draws (default: a content hash).
        Raises: UserError for input that cannot be attacked. The model is left exactly as it was.
        """
        models: list[Any] = [model] if hasattr(model, "spec") or not isinstance(model, Sequence) else list(model)
        truths = self._targets(models, images, targets, ids, region)
        if "region" in self.params and region is None:
            raise UserError(f"region={self.region} is a word for pixels; pass the pixels as region=, bool (B,H,W)")
        ensemble.check(self, models)
        self._check_artefact(models[0])
        if self.entry.members:
            return self._worst(models, images, truths, ids, seed, region, early_stop)
        with torch.inference_mode(False), ExitStack() as stack:
            for m in models:
                stack.enter_context(frozen(m.module))
            ids = seeds.content_ids(images) if ids is None else ids
            return running.run(self, models, images, truths, ids, seed, region, early_stop)

    def _targets(
        self, models: Sequence[Model], images: Tensor, targets: Any, ids: Sequence[str] | None, region: Tensor | None
    ) -> list[SemanticTarget | None]:
        """One target a model. Raises UserError for models, images, targets, ids or a region that cannot be used."""
        if not models:
            raise UserError("no model was given; pass one, or a list of several")
        several = isinstance(targets, list | tuple)
        if several and len(targets) != len(models):
            raise UserError(f"{len(targets)} targets for {len(models)} models; give one a model, or one for all")
        targets = [as_map(m, t) for m, t in zip(models, targets)] if several else as_map(models[0], targets)
        for m, target in zip(models, targets if several else [targets] + [None] * (len(models) - 1), strict=True):
            check_input(m, images, target, ids, region)
        made = [t if isinstance(t, SemanticTarget) or t is None else SemanticTarget(t)
                for t in (targets if several else [targets])]  # fmt: skip
        return made if several else ensemble.targets(models, made[0])

    def _worst(
        self,
        models: Sequence[Model],
        images: Tensor,
        targets: Sequence[SemanticTarget | None],
        ids: Sequence[str] | None,
        seed: int,
        region: Tensor | None,
        early_stop: bool,
    ) -> AttackResult:
        """Per image the member with the highest score; costs add; a fault is one that all members have."""
        given: Any = None if targets[0] is None else list(targets)
        results = [
            m(models, images, given, ids=ids, seed=seed, region=region, early_stop=early_stop) for m in self.members
        ]
        best = torch.stack([r.score for r in results]).argmax(0)
        at = torch.arange(len(images), device=best.device)
        return AttackResult(
            images=torch.stack([r.images for r in results])[best, at],
            score=torch.stack([r.score for r in results])[best, at],
            forwards=torch.stack([r.forwards for r in results]).sum(0),
            backwards=torch.stack([r.backwards for r in results]).sum(0),
            trace=reduce(join_traces, [r.trace for r in results]),
            applicable=results[0].applicable,
            fault=torch.stack([r.fault for r in results if r.fault is not None]).amin(0),
        )
