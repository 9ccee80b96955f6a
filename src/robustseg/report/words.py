"""The sentences of the page: the headline, what to distrust, and what each number means."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from robustseg.evaluation.cautions import no_better_than_noise
from robustseg.evaluation.composed import ball
from robustseg.report import distances
from robustseg.report.load import Entry, Run, interval, number
from robustseg.report.metrics import leading, plain_label
from robustseg.report.text import count, percent, span

__all__ = ["DEFINITIONS", "TERMS", "baseline", "cautions", "headline", "strongest", "worst_ci"]


def strongest(entries: Sequence[Entry], score: str = "mIoU") -> Entry | None:
    """The attack that leaves the lowest score (noise is no attack; a minimal norm stops where it has fooled enough)."""
    scored = [e for e in entries if e.get(score) is not None and not e.spec.noise and not e.raw.get("distance")]
    return min(scored, key=lambda e: e.get(score) or 0.0, default=None)


def baseline(entries: Sequence[Entry], where: str, score: str = "mIoU") -> Entry | None:
    """The noise of the same ball."""
    return next((e for e in entries if e.spec.noise and e.spec.ball == where and e.get(score) is not None), None)


def worst_ci(run: Run, metric: str) -> tuple[float, float] | None:
    """The interval of the worst case, where the evaluation gives one."""
    worst = run.summary.get("worst_case")
    return interval(worst, metric) if isinstance(worst, dict) else None


def headline(run: Run) -> str:
    """One sentence that says what happened, with its interval and what it is worth; of a classifier see `fooled`."""
    s = run.summary
    score = leading(s)
    if score == "accuracy":
        return fooled(run)
    clean, worst = number(s["clean"].get(score)), s.get("worst_case") or {}
    attack = strongest(run.entries, score)
    if attack is not None and all(goal(e) is not None for e in run.entries if not e.spec.noise):
        return reached(run)
    images = count(int(s.get("images") or 0), "image")
    start = f"Left alone, the model reaches {percent(clean)} % {plain_label(score)} on {images}"
    far = [f"{e.spec.name} fools {percent(d['fooled'])} % of the images, at a median norm of {distances.needed(e)}"
           for e in run.entries if (d := distances.of(e)) and d.get("fooled")]  # fmt: skip
    if attack is None:
        return tidy(start + "; " + ("; ".join(far) if far else "no attack has a score") + ".")
    size = f" at ε = {attack.spec.ball}" if attack.spec.eps_text else ""
    pair = attack.ci(score)
    sure = f" (95 % interval {span(pair)} %)" if pair else ""
    text = f"{start}; the strongest attack, {attack.spec.name}{size}, leaves {percent(attack.get(score))} %{sure}"
    low = number(worst.get(score))
    if low is not None:
        pair = worst_ci(run, score)
        sure = f" ({span(pair)} %)" if pair else ""
        name = ball(worst.get("eps"), worst.get("norm") or "linf", worst.get("region"))
        where = f" at ε = {name}" if worst.get("eps") and name != attack.spec.ball else ""
        text += f", and the worst of all attacks for each image{where} {percent(low)} %{sure}"
    noise = baseline(run.entries, attack.spec.ball, score)
    if noise is not None:
        text += f". Random noise of that size leaves {percent(noise.get(score))} %"
    return tidy(text + "." + "".join(f" Without a ball, {line}." for line in far))


def goal(e: Entry) -> float | None:
    """Share of what a targeted attack aims at that it reached; None for the others."""
    return e.table("extra").get("goal_reached")


def reached(run: Run) -> str:
    """The headline of a run whose attacks all have a goal: how much of it the best of them reached, at what cost.

    Such attacks leave the rest alone; how little they lower a score says nothing.
    """
    images = count(int(run.summary.get("images") or 0), "image")
    best = max((e for e in run.entries if not e.spec.noise), key=lambda e: goal(e) or 0.0)
    told = best.table("extra")
    size = f" at ε = {best.spec.ball}" if best.spec.eps_text else ""
    text = f"On {images}, {best.spec.family}{size} turns {percent(goal(best))} % of the pixels it aims at "
    text += f"into what it wants; {percent(told.get('background_kept'))} % of all others keep their label"
    if told.get("noise_goal_reached") is not None:
        text += f". Random noise of the same length turns {percent(told.get('noise_goal_reached'))} % and keeps "
        text += f"{percent(told.get('noise_background_kept'))} %"
    return tidy(text + ".")


def fooled(run: Run) -> str:
    """The headline of a classifier: its attack success rate."""
    s = run.summary
    attack, worst = strongest(run.entries, "accuracy"), s.get("worst_case") or {}
    images = count(int(s.get("images") or 0), "image")
    start = f"Left alone, the classifier is right on {percent(number(s['clean'].get('accuracy')))} % of {images}"
    if attack is None:
        return tidy(start + "; no attack has a score.")
    size = f" at ε = {attack.spec.ball}" if attack.spec.eps_text else ""
    pair = attack.ci("ASR")
    sure = f" (95 % interval {span(pair)} %)" if pair else ""
    text = (
        f"{start}; the strongest attack, {attack.spec.name}{size}, fools it on {percent(attack.get('ASR'))} % of those"
    )
    text += f"{sure}, which leaves an accuracy of {percent(attack.get('accuracy'))} %"
    low = number(worst.get("ASR"))
    if low is not None:
        name = ball(worst.get("eps"), worst.get("norm") or "linf", worst.get("region"))
        where = f" at ε = {name}" if worst.get("eps") and name != attack.spec.ball else ""
        text += f"; the worst of all attacks for each image{where} fools it on {percent(low)} %"
    noise = baseline(run.entries, attack.spec.ball, "ASR")
    if noise is not None:
        text += f". Random noise of that size fools it on {percent(noise.get('ASR'))} %"
    return tidy(text + ".")


def tidy(text: str) -> str:
    """Keeps intervals and units on one line."""
    return text.replace("–", "\u2060–\u2060").replace(" %", "\u00a0%").replace("ε = ", "ε\u00a0=\u00a0")


def cautions(run: Run) -> list[str]:
    """What a careful reader should know before quoting a number; each line follows from this run's own data."""
    s, entries, found = run.summary, run.entries, []
    images = int(s.get("images") or 0)
    if images < 100:
        found.append(
            f"Only {count(images, 'image')}: intervals are wide, and differences smaller than them mean nothing."
        )
    bad = sum(e.count("failed") + e.count("violations") for e in entries)
    if bad:
        found.append(
            f"{count(bad, 'result')} failed or broke the rules of an attack and entered no score: see the list below."
        )
    attacks = [e for e in entries if not e.spec.noise]
    found += no_better_than_noise({e.spec.text: e.raw for e in entries}) + rising(attacks, leading(s))
    if attacks and all((e.get("backwards") or 2) <= 1 for e in attacks):
        found.append("Only single-step attacks were run; they miss what a few more steps find.")
    configs = [c for c in run.configs.values() if c.get("kind") == "attack"]
    if configs and not any(c.get("eight_bit") for c in configs):
        found.append(
            "Adversarial images are floating point; as ordinary 8-bit pictures they may lose part of their effect."
        )
    models = run.info.get("models")
    if isinstance(models, list) and len(models) > 1:
        found.append(
            f"Every attack was made on {len(models)} models at once ({', '.join(map(str, models))}); an attack on this "
            "model alone may go lower."
        )
    if any(c.get("reference") == "pred" for c in configs):
        found.append("Some attacks aim at the clean prediction, not at the ground truth; scores are against the truth.")
    found.append(
        "“Worst case” is the worst of the attacks in this table: an upper bound of robustness. "
        "A stronger or adaptive attack may go lower."
    )
    return found


def rising(attacks: Sequence[Entry], score: str = "mIoU") -> list[str]:
    """Families whose score rises with ε beyond the interval: such an attack has not converged."""
    found = []
    for family in dict.fromkeys(e.spec.family for e in attacks):
        mine = sorted((e for e in attacks if e.spec.family == family and e.spec.eps), key=lambda e: e.spec.eps or 0)
        for small, big in pairwise(mine):
            a, b = small.get(score), big.get(score)
            top = small.ci(score)
            if a is not None and b is not None and b > (top[1] if top else a):
                found.append(
                    f"{family}: {plain_label(score)} rises from ε = {small.spec.eps_text} to {big.spec.eps_text}. "
                    "A larger ball holds the smaller one: the attack has not converged (few steps, masked gradients?)."
                )
                break
    return found


TERMS = {
    "eps": "ε",
    "ci95": "95 % interval",
    "worst_case": "worst case",
    "relative_drop": "relative drop",
    "recall": "recall by size",
    "IoU_prompted": "IoU of prompts",
    "fates": "fate of a segment",
}

DEFINITIONS: dict[str, Markup] = {
    "aAcc": Markup("<i>Σ right / Σ valid</i>; ignored pixels never count."),
    "mIoU": Markup(
        "<i>IoU<sub>c</sub> = Σ<sub>i</sub> inter<sub>ic</sub> / Σ<sub>i</sub> (pred<sub>ic</sub> + truth<sub>ic</sub> "
        "− inter<sub>ic</sub>)</i> over images <i>i</i>, then the mean over classes <i>c</i>."
    ),
    "NmIoU": Markup("Each image weighs the same, so that rare classes and small scenes weigh more than in mIoU."),
    "ASR": Markup("<i>Σ flipped / Σ clean-right</i>. What was wrong from the start is no success."),
    "accuracy": Markup("Of attacked images also called <i>robust accuracy</i>."),
    "worst_case": Markup(
        "An attacker who knows all attacks of the table and may choose for every image. "
        "Never above the strongest single attack."
    ),
    "ci95": Markup(
        "It speaks of other images, not of other attacks: it does not say how much lower a better attack would go."
    ),
    "PQ": Markup(
        "<i>PQ<sub>c</sub> = Σ IoU / (TP + ½ FP + ½ FN) = SQ<sub>c</sub> · RQ<sub>c</sub></i>; a match needs the class "
        "and <i>IoU &gt; ½</i>, so that it is unique. SQ: how well matches fit; RQ: how many. What is erased to "
        "void is a miss. SQ and RQ are means over classes too, so that PQ is not their product. In the worst case they "
        "belong to the choice of attacks that lowers PQ."
    ),
    "AP": Markup(
        "Mean over classes and the thresholds <i>IoU ≥ 0.50, 0.55 … 0.95</i> of the area under precision over recall, "
        "all detections of the data set ranked by score; s, m, l: objects under 32², under 96², larger. Its interval "
        "comes from 200 resamples. A false detection below all true ones costs nothing: AP forgives what fates show."
    ),
    "mBIoU": Markup("How well contours fit, where an IoU over the whole area hardly moves."),
    "IoU_prompted": Markup("The model is asked with the true box; it never names a class. <i>found: IoU &gt; ½</i>."),
    "fates": Markup(
        "Every true segment has exactly one, the first that holds: kept, flipped, merged, split, lost. A false "
        "positive that explains none of these is invented. Detections count from a score of ½ on. "
        "<i>Taken by the attack</i>: kept on the clean image and no longer."
    ),
    "gradients": Markup(
        "Forward and backward passes per image: planned, and really spent (a solved image may stop early). "
        "“Equal gradients” means equal plan."
    ),
    "problems": Markup(
        "A referee checks every adversarial image again (ball, pixel range, mask, finite). One that breaks a rule is a "
        "<i>violation</i>, never a score; <i>failed</i>: the attack raised an error; <i>n/a</i>: nothing to attack on "
        "that image."
    ),
    "distance": Markup(
        "An upper bound: a better attack finds a smaller one. What counts as fooled is the attack’s own goal; the "
        "share of pixels is <i>met / asked</i>, as the referee predicts the image."
    ),
    "eps": Markup("8/255 means eight grey levels of an 8-bit picture."),
}
