"""Minimal-norm attacks by name: no ball; the norm that an image needs is the result."""

from __future__ import annotations

from robustseg.attacks import settings
from robustseg.attacks.loop import Search
from robustseg.attacks.minimal import BOUND, HINGE, SQUARE, Score, descend
from robustseg.attacks.proximal import proximal
from robustseg.attacks.shorten import shortened, unless_fooled
from robustseg.catalog.entry import Entry
from robustseg.catalog.spec import Params, number
from robustseg.objectives.almaprox import almaprox
from robustseg.objectives.base import Objective
from robustseg.objectives.carlini import carlini, confident

__all__ = ["MINIMAL_ENTRIES", "budget", "judge", "objective", "search"]

SOURCE = "Carlini, Wagner, S&P 2017, arXiv 1608.04644"
REFUSED = ("eps", "norm", "step_size", "restarts", "update", "objective", "eot", "eot_samples")
OPTIONS = {
    "descents": "descents of `steps` steps each, every one in the setting that the last one calls for",
    "rate": "learning rate of Adam, in the variable that tanh maps into [0,1]; of almaprox the first step length λ",
    "settle": "share of the rate that is left at the end of a descent, 0 to 1",
    "c": "weight of the margins against the norm, at first",
    "confidence": "κ: by how many logits a fooled pixel must be wrong",
    "slack": "logits beyond κ that the loss asks for and success does not",
    "apsr": "share of the counted pixels that must be fooled, 0 to 1",
    "warm": "where a descent starts: never (at the image), solved (at the last success), always (where the last ended)",
}
SHORTEN = {"shorten": "forwards at the end that look for a shorter way on the line to the image"}
COSTS = {"": SQUARE, "hinge": HINGE, "exact": BOUND}  # by how a bound is kept, where there is one
LIMIT = {"limit": "c at which doubling it after failures ends"}


def _entry(name: str, summary: str, source: str, norm: str, **more: object) -> Entry:
    options = {**OPTIONS, **more.pop("options", {})}  # type: ignore[dict-item]
    return Entry(name, summary, source, minimal=norm, refused=REFUSED, options=options, **more)  # type: ignore[arg-type]


SHARED = {"confidence": "0", "slack": "0.1", "apsr": "0.99", "warm": "always"}
LATER = (
    "The authors' loop stops a whole batch where its summed loss stalls; here every image stops by itself. Margins are "
    "summed over the pixels."
)

MINIMAL_ENTRIES: tuple[Entry, ...] = (
    _entry(
        "cw-l2",
        "Carlini & Wagner: the smallest L2 norm that fools 99 % of the pixels; search on c.",
        f"{SOURCE}, section VI-A",
        "l2",
        defaults={"descents": "5", "steps": "40", "rate": "0.01", "settle": "0.05", "c": "0.01", **SHARED,
                  "shorten": "8"},
        paper={"descents": "9", "steps": "10000", "settle": "1", "c": "0.001", "slack": "0", "warm": "never",
               "shorten": "0"},
        options=SHORTEN,
        errata=f"{LATER} The paper compares objectives with 20 searches, its code's default is 9.",
    ),
    _entry(
        "cw-linf",
        "Carlini & Wagner: the smallest L∞ norm; a bound τ on every value, tightened after each success.",
        f"{SOURCE}, section VI-C",
        "linf",
        defaults={"descents": "12", "steps": "20", "rate": "0.2", "settle": "0.2", "c": "1", **SHARED,
                  "bound": "exact", "first": "8/255", "shrink": "0.8", "least": "1/2550", "limit": "20",
                  "shorten": "8"},
        paper={"descents": "75", "steps": "1000", "rate": "0.005", "settle": "1", "c": "0.00001", "slack": "0",
               "warm": "solved", "bound": "hinge", "first": "1", "shrink": "0.9", "least": "0.00390625",
               "shorten": "0"},
        options={"bound": "hinge: what exceeds τ is a cost, as the authors have it; exact: nothing exceeds it",
                 "first": "bound τ at first",
                 "shrink": "factor of the bound τ after a success, 0 to 1",
                 "least": "bound τ at which the search ends", **LIMIT, **SHORTEN},
        errata="Under the plain name τ is kept exactly, by a tanh box drawn around the image, and closes in between "
        "success and failure (bound=exact, where c has no effect); bound=hinge is the authors'. A perturbation smaller "
        "than the last success counts, where the code asks for all values within τ. The code's loop has no number of "
        "descents; 75 is what it takes from τ = 1 to 1/256 and from c = 0.00001 to 20.",
    ),
    _entry(
        "cw-l0",
        "Carlini & Wagner: the fewest changed pixels; those that matter least are frozen after each success.",
        f"{SOURCE}, section VI-B",
        "l0",
        defaults={"descents": "30", "steps": "14", "rate": "0.03", "settle": "0.3", "c": "10", **SHARED,
                  "freeze": "0.5", "limit": "2000000"},
        paper={"descents": "1000", "steps": "1000", "rate": "0.01", "settle": "1", "c": "0.001", "slack": "0.01",
               "warm": "solved", "freeze": "coded"},
        options={"freeze": "share of the free pixels frozen after a success, or coded: the rule of the authors' code",
                 **LIMIT},
        errata="After the code, several pixels go at once and the gradient is that of the whole loss; the paper drops "
        "one by the gradient of the margins. The code's loop has no number of descents; 1000 is a cap of ours.",
    ),
    Entry(
        "almaprox",
        "ALMAprox: the smallest L∞ norm by proximal splitting; a constraint with a multiplier for every pixel.",
        "Rony, Pesquet, Ben Ayed, CVPR 2023, arXiv 2206.07179",
        minimal="linf",
        refused=REFUSED,
        defaults={"steps": "250", "rate": "0.002", "apsr": "0.99", "slope": "exact", "shorten": "8"},
        paper={"steps": "500", "rate": "0.001", "slope": "published", "shorten": "0"},
        options={"rate": OPTIONS["rate"], "apsr": OPTIONS["apsr"], **SHORTEN,
                 "slope": "of the penalty: exact, its derivative; published: the one in the authors' code"},
        errata="The authors' code takes μd for the first term of the penalty's slope, whose derivative is μ: pixels "
        "just short of being fooled are hardly pushed. It is so since the first commit, so their figures were "
        "presumably made with it; slope=exact is the derivative. Of two classes the ratio is constant: there the "
        "difference of logits.",
    ),
)  # fmt: skip


def objective(params: Params) -> Objective:
    """The margins, or what is left of the constraints; towards a goal where there is one."""
    if "slope" in params:
        return almaprox(number(params["apsr"], "apsr"), targeted="target" in params,
                        published=params["slope"] == "published")  # fmt: skip
    kappa, slack = (number(params[k], k) for k in ("confidence", "slack"))
    return carlini(kappa, slack, targeted="target" in params)


def judge(params: Params) -> Score:
    """The share of pixels that are fooled with confidence."""
    return confident(number(params.get("confidence", "0"), "confidence"), targeted="target" in params)


def search(entry: Entry, params: Params, goal: Objective, score: Score) -> Search:
    """Descents in the order of the norm's plan, or one proximal search, for images that are not fooled as they are."""
    steps, enough, rate = int(params["steps"]), number(params["apsr"], "apsr"), number(params["rate"], "rate")
    if "slope" in params:
        tried = proximal(goal, score, steps, rate, enough=enough)
        return unless_fooled(shortened(tried, score, enough, int(params["shorten"])), score, enough)
    count = int(params["descents"])
    inner = descend(
        goal, score, COSTS[params.get("bound", "")], steps, rate,
        settle=number(params["settle"], "settle"), enough=enough, at_first=entry.minimal != "l2",
    )  # fmt: skip
    plan = _plan(entry.minimal, params, count)
    tried = settings.descents(inner, plan, count, steps, number(params["c"], "c"), params["warm"])  # type: ignore[arg-type]
    return unless_fooled(shortened(tried, score, enough, int(params.get("shorten", "0"))), score, enough)


def _plan(norm: str, params: Params, count: int) -> settings.Plan:
    if norm == "l2":
        return settings.bisection(count)
    limit = number(params["limit"], "limit")
    if norm == "linf":
        shrink, first, least = (number(params[k], k) for k in ("shrink", "first", "least"))
        if params["bound"] == "exact":
            return settings.closing_bound(shrink, first, least)
        return settings.tighter_bound(shrink, first, least, limit)
    if params["freeze"] == "coded":
        return settings.fewer_as_coded(limit)
    return settings.fewer_pixels(number(params["freeze"], "freeze"), limit)


def budget(params: Params) -> tuple[int, int]:
    """Planned forwards and backwards an image: a look before all, one after every descent, and those that shorten."""
    count, steps = int(params.get("descents", "1")), int(params["steps"])
    return 1 + count * (steps + 1) + int(params.get("shorten", "0")), count * steps
