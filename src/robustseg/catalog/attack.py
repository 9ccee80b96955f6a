"""A named attack, ready to run: ``attack(model, images, targets) -> AttackResult``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robustseg.attacks.loop import Found, Problem
from robustseg.catalog import build
from robustseg.catalog.artefact import Artefact, class_pixels
from robustseg.catalog.entries import ENTRIES, Entry
from robustseg.catalog.goals import goal_labels
from robustseg.catalog.spec import Params
from robustseg.errors import UserError
from robustseg.objectives.base import Objective
from robustseg.ops import seeds
from robustseg.ops.state import frozen
from robustseg.tasks.semantic import dense
from robustseg.types import AttackResult, DataSet, DenseOutput, Model, SemanticTarget, State, View

__all__ = ["Attack"]


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
        default = self.entry.params({"norm": self.params["norm"]}, self.paper)
        other = sorted(k for k, v in self.params.items() if k != "eps" and (v != default.get(k) or k == "norm" != v))
        shown = [k for k in other if not (k == "norm" and self.params[k] == "linf")]
        return f"{self.name}:" + ",".join(f"{k}={self.params[k]}" for k in ("eps", *shown))

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
    def eps(self) -> str:
        """Radius as text, e.g. ``8/255``."""
        return self.params["eps"]

    @property
    def norm(self) -> str:
        """``linf`` or ``l2``."""
        return self.params["norm"]

    @property
    def reference(self) -> str:
        """``gt`` or ``pred``: what counts as right for the attacker."""
        return self.params["reference"]

    @property
    def region(self) -> str | None:
        """Where the attacker may write, as text, or None for everywhere."""
        return self.params.get("region")

    @property
    def targeted(self) -> bool:
        """It drives the prediction to a goal map."""
        return "target" in self.params

    @property
    def version(self) -> int:
        """Version of the code of this attack."""
        return self.entry.version

    @property
    def needs_fit(self) -> bool:
        """It needs an artefact fitted on other images."""
        if self.entry.members:
            return any(m.needs_fit for m in self.members)
        return self.entry.loss == "balanced-masked-ce" and self.function is None

    @property
    def members(self) -> tuple[Attack, ...]:
        """The attacks of an ensemble, with its options handed down; empty for a single attack."""
        passed = {k: v for k, v in self.params.items() if k in ("eps", "norm", "steps", "restarts", "reference")}
        passed |= {k: self.params[k] for k in ("region",) if k in self.params}
        made = []
        for name in self.entry.members:
            entry = ENTRIES[name]
            params = entry.params(passed, self.paper)
            kept = self.artefact if entry.loss == "balanced-masked-ce" else None
            made.append(Attack(entry, params, passed, self.paper, artefact=kept))
        return tuple(made)

    @property
    def budget(self) -> tuple[int, int]:
        """Planned forwards and backwards an image."""
        if self.entry.members:
            plans = [m.budget for m in self.members]
            return sum(f for f, _ in plans), sum(b for _, b in plans)
        return build.budget(self.entry, self.params, self._needs_clean)

    @property
    def _needs_clean(self) -> bool:
        return self.reference == "pred" or self.targeted or self.entry.loss == "metzen"

    # ---------------------------------------------------------------- artefacts

    def fit(self, model: Model, dataset: DataSet, seed: int = 0) -> Artefact:
        """What the attack must know beforehand, from images that are never scored.

        ``dataset`` yields samples whose labels are in the model's class indices.
        """
        if not self.needs_fit:
            raise UserError(f"{self.name} needs no fit")
        samples = (dataset[i] for i in range(len(dataset)))
        return class_pixels(samples, len(model.spec.classes), dataset.ignore, dataset.ref)

    def with_artefact(self, artefact: Artefact) -> Attack:
        """The same attack, knowing ``artefact``."""
        return replace(self, artefact=artefact)

    # ---------------------------------------------------------------- running

    def __call__(
        self,
        model: Model,
        images: Tensor,
        targets: SemanticTarget | Tensor | None = None,
        *,
        ids: Sequence[str] | None = None,
        seed: int = 0,
        region: Tensor | None = None,
        early_stop: bool = True,
    ) -> AttackResult:
        """Attack a batch.

        Shapes: ``images (B,3,H,W)`` float32 in [0,1]; ``targets (B,H,W)`` int64 in the model's class indices, 255 =
        ignored (or a ``SemanticTarget`` with another ignore value; None where the clean prediction is the reference);
        ``region (B,H,W)`` bool, where the attacker may write. ``ids`` seed the draws (default: a content hash).
        Raises: UserError for input that cannot be attacked. The model is left exactly as it was.
        """
        _check(model, images, targets, ids, region)
        if self.entry.members:
            return self._ensemble(model, images, targets, ids, seed, region, early_stop)
        if self.needs_fit and self.artefact is None:
            raise UserError(
                f"{self.name} needs class counts of other images: a = attack.fit(model, data); attack.with_artefact(a)"
            )
        with frozen(model.module):
            return self._run(model, images, targets, ids or seeds.content_ids(images), seed, region, early_stop)

    def _run(
        self,
        model: Model,
        images: Tensor,
        targets: SemanticTarget | Tensor | None,
        ids: Sequence[str],
        seed: int,
        region: Tensor | None,
        early_stop: bool,
    ) -> AttackResult:
        device = next((p.device for p in model.module.parameters()), images.device)
        images = images.to(device)
        size = (images.shape[-2], images.shape[-1])

        def forward(x: Tensor) -> DenseOutput:
            return dense(model(x), size)

        truth = targets if isinstance(targets, SemanticTarget) or targets is None else SemanticTarget(targets)
        truth = None if truth is None else SemanticTarget(truth.labels.to(device), truth.ignore)
        clean: DenseOutput | None = None
        if self._needs_clean:
            with torch.no_grad():
                clean = forward(images)
        elif truth is None:
            raise UserError(f"{self.name}: no labels were given; pass targets, or use reference=pred")
        target, applicable = self._target(model, truth, clean)

        goal: Objective = build.objective(self.entry, self.params, self.function)
        search = build.search(self.entry, self.params, goal, self.function is not None)
        constants = self.artefact.tensors if self.artefact else {}
        zero = torch.zeros_like(images)
        state: State = goal.init(View(images, images, zero, clean or DenseOutput(zero)), target, constants)
        problem = Problem(
            forward=forward,
            images=images,
            target=target,
            state=state,
            generators=lambda restart: [seeds.generator(seed, i, restart) for i in ids],
            writable=None if region is None else region.to(device),
            early_stop=early_stop,
        )
        found = _where_applicable(search, problem, build.ball(self.params), applicable)
        return AttackResult(
            images=images + found.theta,
            score=found.score,
            forwards=found.forwards + int(clean is not None),
            backwards=found.backwards,
            trace=found.trace,
            goal=target.labels if self.targeted else None,
            applicable=applicable,
        )

    def _target(
        self, model: Model, truth: SemanticTarget | None, clean: DenseOutput | None
    ) -> tuple[SemanticTarget, Tensor | None]:
        """The labels to leave, or the goal to reach, and which images have anything to aim at."""
        if not self.targeted:
            if self.reference == "gt" or clean is None:
                assert truth is not None
                return truth, None
            ignore = 255 if truth is None else truth.ignore
            labels = clean.scores.argmax(1)
            return SemanticTarget(labels if truth is None else torch.where(truth.valid, labels, ignore), ignore), None
        assert clean is not None
        return goal_labels(self.params, model, clean, truth)

    def _ensemble(
        self,
        model: Model,
        images: Tensor,
        targets: SemanticTarget | Tensor | None,
        ids: Sequence[str] | None,
        seed: int,
        region: Tensor | None,
        early_stop: bool,
    ) -> AttackResult:
        """Per image the member with the highest score; costs add."""
        results = [
            m(model, images, targets, ids=ids, seed=seed, region=region, early_stop=early_stop) for m in self.members
        ]
        best = torch.stack([r.score for r in results]).argmax(0)
        at = torch.arange(len(images), device=best.device)
        return AttackResult(
            images=torch.stack([r.images for r in results])[best, at],
            score=torch.stack([r.score for r in results]).amax(0),
            forwards=torch.stack([r.forwards for r in results]).sum(0),
            backwards=torch.stack([r.backwards for r in results]).sum(0),
            trace=torch.cat([r.trace for r in results], 1).nan_to_num(-torch.inf).cummax(1).values,
        )


def _check(model: Any, images: Tensor, targets: Any, ids: Sequence[str] | None, region: Tensor | None) -> None:
    if not hasattr(model, "spec") or not hasattr(model, "module"):
        raise UserError(
            f"the model is a bare {type(model).__name__}; wrap it first: robustseg.wrap(module, classes=[...])"
        )
    if images.dim() != 4 or images.dtype != torch.float32:
        raise UserError(f"images must be float32 (B,C,H,W), got {images.dtype} {tuple(images.shape)}")
    low, high = images.aminmax()
    if not (bool(low >= -1e-6) and bool(high <= 1 + 1e-6)):
        hint = "divide by 255" if high > 2 else "undo the normalisation; it belongs into robustseg.wrap(mean=, std=)"
        raise UserError(f"images must lie in [0,1], found [{float(low):.3g}, {float(high):.3g}]; {hint}")
    labels = targets.labels if isinstance(targets, SemanticTarget) else targets
    if labels is not None and (labels.shape != images.shape[:1] + images.shape[2:] or labels.dtype != torch.int64):
        want = f"int64 {(len(images), *images.shape[2:])}"
        raise UserError(f"targets must be {want}, got {labels.dtype} {tuple(labels.shape)}")
    if labels is not None:
        ignore = targets.ignore if isinstance(targets, SemanticTarget) else 255
        bad = labels[(labels != ignore) & ((labels < 0) | (labels >= len(model.spec.classes)))]
        if len(bad):
            raise UserError(
                f"label {int(bad[0])} is neither one of the model's {len(model.spec.classes)} classes nor {ignore} "
                "(ignored); map the labels to the model's class indices"
            )
    if ids is not None and len(ids) != len(images):
        raise UserError(f"{len(ids)} ids for {len(images)} images; give one id an image")
    if region is not None and (region.dtype != torch.bool or region.shape != images.shape[:1] + images.shape[2:]):
        raise UserError(f"region must be bool (B,H,W), got {region.dtype} {tuple(region.shape)}")


def _where_applicable(search: Any, problem: Problem, ball: Any, applicable: Tensor | None) -> Found:
    """Search on the images that have something to aim at; the others come back untouched, at no cost."""
    if applicable is None or bool(applicable.all()):
        return search(problem, ball, None, 0)
    n, theta = len(problem.images), torch.zeros_like(problem.images)
    zeros = torch.zeros(n, dtype=torch.int64, device=theta.device)
    found = Found(theta, theta.new_ones(n), zeros, zeros.clone(), theta.new_ones(n, 1))
    keep = applicable.nonzero().flatten()
    if not len(keep):
        return found
    part = search(
        replace(
            problem,
            images=problem.images[keep],
            target=problem.target.select(keep),
            state={k: v[keep] for k, v in problem.state.items()},
            generators=lambda restart: [problem.generators(restart)[i] for i in keep.tolist()],
            writable=None if problem.writable is None else problem.writable[keep],
        ),
        ball,
        None,
        0,
    )
    trace = theta.new_ones(n, part.trace.shape[1])
    for whole, piece in zip(
        (found.theta, found.score, found.forwards, found.backwards, trace),
        (part.theta, part.score, part.forwards, part.backwards, part.trace),
    ):
        whole[keep] = piece
    return replace(found, trace=trace)
