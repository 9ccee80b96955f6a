"""What a named attack is: parts, practical defaults, the paper's numbers, source and errata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from robustseg.catalog.spec import COMMON, Params

__all__ = ["INSTANCE", "SEA_RADII", "Entry"]

SEA_RADII = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
BASE = {"norm": "linf", "eps": "8/255", "reference": "gt"}
L2_EPS = "128/255"
INSTANCE = "of mask classification: number of the one object to hide or move, counted from 1 as in the reference"


@dataclass(frozen=True)
class Entry:
    """One named attack. ``defaults`` are practical; ``paper`` overrides them under ``NAME@paper``.

    ``loss``: a key of ``objectives.semantic.LOSSES`` or ``metzen``; attacks on segments have their objective under
    their own name; ``output``: what it looks at (``dense``, ``query``, ``region``, ``prompted``; universal models give
    dense scores too); ``needs_clean``: its objective starts from the clean output, one forward more;
    ``rule``: how the gradients of several models combine, ``summed`` (their mean) or ``blended`` (SAGA);
    ``fits``: the artefact it cannot do without; ``goal_loss``: the loss towards a goal, where it is another one;
    ``shared``: the artefact is the perturbation itself, one for all images, and ``steps`` are those of its fit;
    ``equal_noise``: beside its goal scores stand those of noise of the same L2 length;
    ``natural``: it writes into ``region`` only, has a natural texture to keep and takes all its steps;
    ``radii``: (factor, share of steps) stages;
    ``track_ce``: APGD watches the mean cross-entropy; ``spatial``: says nothing where an image has one label only;
    ``free``: it has no ball unless ``eps`` is given; its own step length is that without a ball;
    ``members``: names of an ensemble; ``refused``: options that would have no meaning here;
    ``only``: options that not every output has a use for, with those that have;
    ``minimal``: the norm that it minimises, having no ball;
    ``version`` rises when the code changes what the attack computes.
    """

    name: str
    summary: str
    source: str
    loss: str = "ce"
    update: str = "sign"
    steps: int = 20
    random_start: bool = True
    radii: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    track_ce: bool = False
    targeted: bool = True
    members: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    paper: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    errata: str = ""
    output: tuple[str, ...] = ("dense",)
    needs_clean: bool = False
    rule: str = "summed"
    spatial: bool = False
    fits: str = ""
    goal_loss: str = ""
    shared: bool = False
    equal_noise: bool = False
    free: bool = False
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    minimal: str = ""
    natural: bool = False
    version: int = 1

    def loss_of(self, params: Params) -> str:
        """The loss that these options mean."""
        return self.goal_loss if self.goal_loss and "target" in params else self.loss

    def known(self) -> tuple[str, ...]:
        """Names of the options it takes."""
        common = (k for k in COMMON if self.targeted or k not in ("target", "class"))
        return (*(k for k in common if k not in self.refused), *self.options)

    def params(self, given: Params, paper: bool) -> Params:
        """Defaults, the paper's numbers if asked for, then what was given; an ensemble leaves its members their own."""
        numbers = dict(self.paper) if paper else {}
        if self.minimal:
            return {"reference": BASE["reference"], **self.defaults, **numbers, **given}
        base = {**BASE, **self.defaults}
        if given.get("norm") == "l2":
            base["eps"] = L2_EPS
            numbers = {k: v for k, v in numbers.items() if k not in ("eps", "step_size")}  # lengths in linf
        if self.free:
            # in a ball a step is a part of its radius, as elsewhere
            base.pop("step_size" if "eps" in given else "eps")
        if not self.members:
            update = given.get("update", self.update)
            step = base.pop("step_size", "eps/4")
            step = "eps*2" if update == "apgd" else step  # APGD begins long and halves
            base = {"step_size": step, "steps": str(self.steps), "restarts": "1", "update": update, **base}
        merged = {**base, **numbers, **given}
        if merged.get("target") != "nearest" and "kind" not in merged and "class" not in given:
            merged.pop("class", None)
        if merged.get("eot_samples") == "1" and "eot" in merged:
            merged.pop("eot_samples")  # one spelling of the default
        return merged
