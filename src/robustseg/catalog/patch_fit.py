"""The fit of a patch: θ is its texture in [0,1], the looks of a step are pictures of a batch with the patch in them.

Every step follows ``batch`` pictures, drawn without repetition until all have had their turn, each with a draw of its
own of what varies. Ten times, and at the end, the patch is judged on all of them at its stated place; the best of these
is kept. Source: Nesti et al., WACV 2022, arXiv 2108.06179, in the loop of this library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustseg.attacks.constraints import Ball
from robustseg.attacks.looks import Draws, Look
from robustseg.attacks.loop import BROKEN, ZERO, Problem
from robustseg.attacks.normed import Weights, unit_terms
from robustseg.attacks.rules import Rule
from robustseg.catalog import build, outputs
from robustseg.catalog.artefact import Artefact
from robustseg.catalog.entries import ENTRIES
from robustseg.catalog.numbers import fraction
from robustseg.catalog.patch import KIND, laid, where
from robustseg.catalog.spec import Params
from robustseg.catalog.vary import variation
from robustseg.errors import UserError
from robustseg.objectives.base import Objective
from robustseg.objectives.semantic import LOSSES
from robustseg.objectives.split import share_right, split
from robustseg.ops import seeds
from robustseg.ops.place import Place
from robustseg.physical.hanging import Variation, hang
from robustseg.physical.printable import non_printability, read_colours, roughness
from robustseg.tasks import truth
from robustseg.types import DataSet, Model, Output, SegmentTarget, SemanticTarget, State, View

if TYPE_CHECKING:
    from robustseg.catalog.attack import Attack
    from robustseg.catalog.running import Side

__all__ = ["BESIDE", "Picture", "Shown", "Spent", "beside", "fit_patch", "hidden", "mix", "pictures", "search_patch"]

JUDGEMENTS = 10
BESIDE = ("smooth", "nps", "avoid")
SUSPICION = "suspicion"  # of an output: the score (B,) by which a defence finds the image suspect

# a look of one picture: (pixels of it, the pixels that the patch hides), given the texture
Shown = Callable[[Tensor], tuple[Tensor, Tensor]]
Spent = tuple[int, int]  # forwards and backwards


@dataclass
class Picture:
    """A picture to fit on: what is asked of the model there, its name, and how the patch appears in it.

    ``varied`` makes a draw, ``still`` is how it is judged; ``state`` is the objective's, which it keeps between steps.
    """

    side: Side
    name: str
    varied: Callable[[torch.Generator], Shown]
    still: Shown
    state: State


def fit_patch(attack: Attack, model: Model, dataset: DataSet, seed: int = 0) -> Artefact:
    """Fit the patch on the first ``images`` of the data on which there is something to do; gradients are counted.

    ``dataset`` yields samples in the model's class indices. Raises UserError where there is no such image, and where
    the gradient leads nowhere.
    """
    params, at = attack.params, where(attack.params)
    if getattr(model, "suspects", False) and fraction(params["avoid"]) > 0:
        model = getattr(model, "past", lambda: model)()
    inner, learned = inside(attack, model, lambda: dataset, seed)
    looks = 0
    shown: list[Picture] = []
    device = next((p.device for p in model.module.parameters()), torch.device("cpu"))
    varies = variation(params["vary"])
    for one, name, cost in pictures(inner, model, dataset, device):
        looks += cost
        if one is None:
            continue
        shown.append(_picture(one, name, at, varies))
        if len(shown) == int(params["images"]):
            break
    if not shown:
        raise UserError(
            f"{attack.name}: no image of {dataset.ref} has anything to do for {attack.spec}; name other data with "
            "--fit-data, or another class or target"
        )
    return search_patch(attack, model, shown, at.size, seed, dataset.ref, (learned[0] + looks, learned[1]))


def _picture(one: Side, name: str, at: Place, varies: Variation) -> Picture:
    """An image with the patch flat upon it."""
    image, size = one.images, (int(one.images.shape[-2]), int(one.images.shape[-1]))
    stated = at.mask(size).to(image.device)

    def varied(g: torch.Generator) -> Shown:
        hung = hang(at, size, varies, g, image.new_empty(1, image.shape[1], *at.size))
        covered = hung.at.mask()
        return lambda patch: (hung.show(image, patch), covered)

    return Picture(one, name, varied, lambda patch: (laid(image, patch, at), stated), one.state)


def inside(attack: Attack, model: Model, others: Callable[[], DataSet], seed: int) -> tuple[Attack, Spent]:
    """The attack whose objective the patch follows, and what it took to make it ready.

    ``others`` gives the images that a loss learns from beforehand (class prices); it is asked where one does.
    """
    params, name = attack.params, attack.params["loss"]
    if name == "split" or name in LOSSES:
        loss = "ce" if name == "split" else name
        if name in LOSSES and LOSSES[name][1] is None and "target" in params:
            raise UserError(f"patch: loss={name} has no form with a goal; use loss=ce or leave loss out")
        goal_loss = "metzen" if name == "split" else ""
        entry = replace(attack.entry, loss=loss, goal_loss=goal_loss, output=("dense",), fits="", shared=False)
        return replace(attack, entry=entry, artefact=None), (0, 0)
    entry = ENTRIES[name]
    given = {k: params[k] for k in ("reference", "target", "class", "omega", "tau", "aim") if k in params}
    inner = replace(attack, entry=entry, params={**entry.params({}, False), **given}, artefact=None)
    if not inner.needs_fit:
        return inner, (0, 0)
    artefact = inner.fit(model, others(), seed)
    return inner.with_artefact(artefact), (artefact.forwards, artefact.backwards)


def pictures(
    inner: Attack, model: Model, dataset: DataSet, device: torch.device
) -> Iterable[tuple[Side | None, str, int]]:
    """What is asked of the model on every image, None where that is nothing; its name; the forwards that this took."""
    from robustseg.catalog.running import side

    segments = outputs.view(inner.entry, model) != "dense"
    for i in range(len(dataset)):
        sample = dataset[i]
        target: SemanticTarget | None = None
        if sample.labels is not None and segments:
            target = truth.target([sample], getattr(dataset, "countable", truth.things_of(model)), dataset.ignore,
                                  model.spec.prompt)  # fmt: skip
        elif sample.labels is not None:
            target = SemanticTarget(sample.labels[None], dataset.ignore)
        one = side(inner, model, sample.image[None].to(device), None if target is None else target.to(device))
        yield (
            (one if bool(one.applicable[0]) else None),
            seeds.content_ids(sample.image[None])[0],
            int(inner.needs_clean),
        )


def search_patch(
    attack: Attack, model: Model, shown: list[Picture], size: tuple[int, int], seed: int, ref: str, spent: Spent
) -> Artefact:
    """The patch of ``size`` that does best on these pictures, found by the one loop; ``spent`` before counts too."""
    params, first = attack.params, shown[0].side
    steps, batch = int(params["steps"]), min(int(params["batch"]), len(shown))
    now: list[Picture] = []  # the picture of the look that is being taken
    judging: list[bool] = []

    def apply(picture: Picture, sight: Shown, judged: bool) -> Callable[..., tuple[Tensor, SemanticTarget, State]]:
        def applied(
            images: Tensor, theta: Tensor, target: SemanticTarget, state: State
        ) -> tuple[Tensor, SemanticTarget, State]:
            now[:], judging[:] = [picture], [judged]
            x, covered = sight(theta)
            mine = picture.side.target
            return x, mine if params["counts"] == "all" else hidden(mine, covered), picture.state

        return applied

    def looks(draws: Draws, restart: int, step: int, last: bool) -> Iterable[Look]:
        judged = last or step % max(-(-steps // JUDGEMENTS), 1) == 0
        for place, picture in enumerate(() if last else _turn(shown, batch, seed, step)):
            mine = lambda *draw, name=picture.name: [seeds.generator(seed, name, *draw)]  # noqa: E731
            sight = picture.varied(seeds.generator(seed, f"{picture.name}/{KIND}", restart, step))
            # some look must score; under an expectation that is a forward of its own, so one of the batch does
            yield Look(apply(picture, sight, False), True, not judged and place == 0, mine)
        for picture in shown if judged else ():
            mine = lambda *draw, name=picture.name: [seeds.generator(seed, name, *draw)]  # noqa: E731
            yield Look(apply(picture, picture.still, True), False, True, mine)

    def forward(x: Tensor, target: SemanticTarget, state: State) -> Output:
        return now[0].side.forward(x, target, state)

    def score(view: View, target: SemanticTarget, state: State) -> Tensor:
        # of patches that are not judged the latest is the best, and any that is judged is better
        return now[0].side.score(view, target, state) if judging[0] else view.x.new_full((1,), -1.0)

    extra = beside(params)
    goal = _objective(attack, first.objective, extra, now)
    rule, costs = mix(params)
    costs += int(getattr(model, "suspects", False) and fraction(params["avoid"]) > 0)
    own = outputs.draws(model, True)
    search = build.search(attack.entry, params, goal, score, None, rule, fit=looks, own=own)
    canvas = torch.zeros(1, first.images.shape[1], *size, device=first.images.device)
    nothing = SemanticTarget(torch.zeros(1, *size, dtype=torch.int64, device=canvas.device))
    problem = Problem(
        forward, canvas, nothing, {}, lambda *draw: [seeds.generator(seed, KIND, *draw)], early_stop=False
    )
    start = torch.rand(canvas.shape, generator=seeds.generator(seed, KIND)).to(canvas)
    found = search(problem, Ball("linf", 1.0), start, 0)
    fault = int(found.fault[0])
    if fault in (BROKEN, ZERO) and steps:
        what = "not finite" if fault == BROKEN else "exactly zero at every step"
        raise UserError(f"{attack.name}: the gradient on {ref} is {what}; look with: robustseg doctor")
    forwards, backwards = spent[0] + int(found.forwards[0]), spent[1] + int(found.backwards[0]) * costs
    return Artefact(KIND, {"patch": found.theta[0].detach().cpu().clamp(0, 1)}, ref, forwards, backwards)


def _turn(shown: list[Picture], batch: int, seed: int, step: int) -> list[Picture]:
    """The pictures of a step: a shuffled round after the other, so that none is left out."""
    found = []
    for place in range(step * batch, (step + 1) * batch):
        lap, at = divmod(place, len(shown))
        order = torch.randperm(len(shown), generator=seeds.generator(seed, f"{KIND}/order", 0, lap))
        found.append(shown[int(order[at])])
    return found


def hidden(target: SemanticTarget, covered: Tensor) -> SemanticTarget:
    """The target with the pixels under the patch, ``covered (H,W)`` bool, ignored; they are in no segment."""
    labels = torch.where(covered, target.ignore, target.labels)
    if isinstance(target, SegmentTarget):
        return replace(target, labels=labels, masks=target.masks & ~covered)
    return SemanticTarget(labels, target.ignore)


def beside(params: Params) -> dict[str, Callable[[Tensor], Tensor]]:
    """The terms of the patch alone, to be maximised: minus its roughness, minus its non-printability."""
    terms: dict[str, Callable[[Tensor], Tensor]] = {}
    if fraction(params["smooth"]) > 0:
        terms["smooth"] = lambda patch: -roughness(patch)
    if fraction(params["nps"]) > 0:
        colours = read_colours(params["colours"])
        terms["nps"] = lambda patch: -non_printability(patch, colours)
    return terms


def mix(params: Params) -> tuple[Rule, int]:
    """How the gradients of the terms combine, and the backwards through the model that a look costs."""
    gamma = params["gamma"]
    weights: Weights = lambda view, target: {}  # noqa: E731
    costs = 1
    if params["loss"] == "split" and "target" not in params:
        if gamma == "dynamic":
            weights, costs = _by_share, 2
        else:
            fixed: Mapping[str, float] = {"right": float(fraction(gamma)), "wrong": 1 - float(fraction(gamma))}
            weights, costs = (lambda view, target: fixed), sum(v != 0 for v in fixed.values())
    return unit_terms(weights, {k: float(fraction(params[k])) for k in BESIDE}), costs


def _by_share(view: View, target: SemanticTarget) -> Mapping[str, Tensor]:
    right = share_right(view, target)
    return {"right": right, "wrong": 1 - right}


def _objective(
    attack: Attack, one: Objective, extra: Mapping[str, Callable[[Tensor], Tensor]], now: list[Picture]
) -> Objective:
    """The objective of the model's pictures with the terms of the patch alone."""
    splits = attack.params["loss"] == "split" and "target" not in attack.params
    base = split() if splits else one

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        terms, after = base.value(view, target, state, progress)
        now[0].state = after
        total = {"attack": sum(terms.values())} if not splits else terms
        seen = getattr(view.output, "extras", {}).get(SUSPICION)
        unseen = {} if seen is None else {"avoid": -seen}
        return {**total, **unseen, **{name: term(view.theta) for name, term in extra.items()}}, after  # type: ignore[return-value]

    return Objective(base.name, value)
