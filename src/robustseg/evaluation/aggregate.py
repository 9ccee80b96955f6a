"""From rows to ``summary.json``: scores, worst case, intervals, cost. numpy only; shares in [0,1], null
where undefined.

A *not applicable* image keeps its clean statistics in the attack's scores; *failed* and *violation* rows
have no numbers and leave the image out of that attack's scores (the counts say how many). The worst case is
taken over the images that every attack of the group has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustseg.errors import UserError
from robustseg.evaluation.bootstrap import intervals, resamples
from robustseg.evaluation.cautions import no_better_than_noise
from robustseg.evaluation.composed import Scored, by_eps, common, ensemble, order
from robustseg.evaluation.distances import apsr, distances
from robustseg.evaluation.goal_scores import goal_scores
from robustseg.evaluation.label_scores import label_scores
from robustseg.evaluation.natural_scores import in_short, through_jpeg
from robustseg.evaluation.segments import Setting, segment_intervals, segment_scores, worst_segments
from robustseg.evaluation.store import Contents, Row, Run, read
from robustseg.evaluation.tally import Tally, image_miou, mean_iou, nan_mean, ratio, recall_by_size, stack

__all__ = ["DEFINITIONS", "load_summary", "scores", "summary"]

DEFINITIONS = {
    "aAcc": "correct pixels / counted pixels, over the data set",
    "mAcc": "mean over the classes present in the truth of correct pixels / true pixels, over the data set",
    "mIoU": "CmIoU: mean over classes of intersection / union over the data set; absent classes left out",
    "NmIoU": "mean over images of the mean IoU over the classes present in that image's truth or prediction",
    "ASR": "attack success rate: pixels right on the clean image and wrong on the attacked / right on the clean; of a "
    "classifier: images",
    "APSR": "adversarial pixel success rate: mean over images of wrong pixels / counted pixels",
    "solved": "share of images with at least 99 % of counted pixels wrong",
    "goal_reached": "target success rate: pixels to change that take the label wanted / pixels to change",
    "background_kept": "non-target preservation rate: other pixels that keep their label / other pixels",
    "noise_goal_reached": "goal_reached under noise of equal L2 length, image by image; so noise_background_kept",
    "relative_drop": "1 - mIoU attacked / mIoU clean on the same images",
    "distance": "of attacks without a ball: norm that fools the share `threshold` of the pixels asked for; median, mean"
    " of images fooled, _touched: not those wrong as they are (untouched, 0), _of_all: the others infinitely far",
    "recall": "share of objects with at least half of their pixels right; areas below 32², below 96², above",
    "natural": "of attacks that must look natural: SSIM around the clothing; who is still found, in JPEG files too",
    "ci95": "95 % percentile bootstrap over images, paired over attacks; a composed attack's choice is kept",
    "worst_case": "per image the attack with the lowest aAcc; mIoU: the lower of a priced and a greedy joint choice",
    "PQ": "panoptic quality: sum of IoU of matches / (TP + FP/2 + FN/2), mean over classes; PQ_th things, PQ_st stuff; "
    "SQ mean IoU of matches, RQ the share of matches; predicted void counts against the prediction",
    "AP": "mask average precision, COCO's rules: mean over IoU 0.50 to 0.95; AP50 at 0.50; AP_box of the boxes",
    "mBIoU": "mean IoU of the boundaries, 2 % of the diagonal wide, of true segments and what was found for them",
    "IoU_prompted": "mean over prompts of the IoU of the mask given and the object asked for",
    "fates": "true segments kept, lost, flipped (other class), split, merged; predicted ones invented",
    "accuracy": "of a classifier: images with the right label / images; attacked: robust accuracy; per class alike",
    "eps": "in units of [0,1] pixels; worst_case takes the largest of the L-infinity attacks, else of the other norm; "
    "attacks that may write in a region only are a group of their own and the headline where there is no other",
}


def load_summary(folder: str | Path) -> dict[str, Any]:
    """The summary of what ``folder/store.sqlite`` holds for its newest run."""
    return summary(read(folder))


def summary(contents: Contents, run: Run | None = None, *, rounds: int = 1000) -> dict[str, Any]:
    """The ``summary.json`` dictionary of a run, the newest by default. Raises UserError for an empty store."""
    run = run or (contents.runs[-1] if contents.runs else None)
    if run is None:
        raise UserError("the store holds no run yet; run `robustseg evaluate` first")
    classes: list[str] = run.info["classes"]
    things = set(run.info.get("things") or ())
    setting: Setting = (classes, [c in things for c in classes])
    labels = run.info.get("tasks") == ["classification"]
    cleans = contents.rows.get(run.clean, {})
    images = [i for i in run.images if i in cleans and cleans[i].status == "ok"]
    stats = {i: cleans[i].stats or {} for i in images}
    tally = stack([stats[i] for i in images], len(classes))
    weights = resamples(len(images), rounds=rounds, seed=int(run.info.get("seed") or 0))
    before = [stats[i] for i in images]
    clean = {**scores(tally, classes), **segment_scores(before, setting), "ci95": intervals(tally, weights)}
    clean["ci95"] |= segment_intervals(before, setting, weights)
    clean["images"] = len(images)
    clean["failed"] = sum(1 for i in run.images if i in cleans and cleans[i].status != "ok")
    clean["objects"] = dict(zip(clean["recall"], tally.counts.sum(0).astype(int).tolist(), strict=True))

    if labels:
        clean = label_scores(clean, tally, weights)

    scored: dict[str, Scored] = {}
    entries: dict[str, dict[str, Any]] = {}
    for spec, key in run.attacks.items():
        config = contents.keys[key]
        rows = contents.rows.get(key, {})
        where = run.info.get("regions", {}).get(spec, config.get("region"))
        one = _scored(spec, config, where, images, rows, stats, len(classes))
        if len(one.tally) and apsr(config) is None:
            scored[spec] = one  # a minimal norm is no threat model that a worst case could be taken over
        entries[spec] = _entry(one, config, [rows[i] for i in images if i in rows], tally, weights, setting)
        if labels:
            entries[spec] = label_scores(entries[spec], one.tally, weights[:, one.index])
        entries[spec]["key"] = key
        if spec in run.info.get("artefacts", {}):
            entries[spec]["fitted"] = run.info["artefacts"][spec]
    for spec, members in run.ensembles.items():
        parts = [scored[m] for m in members if m in scored]
        entries[spec] = _composed_entry(spec, parts, members, entries, tally, weights, setting, labels)
    groups = by_eps(list(scored.values()))
    worst = {name: _worst(group, weights, setting, labels) for name, group in groups.items()}
    largest = next(reversed(worst), None) if worst else None
    entries = dict(sorted(entries.items(), key=lambda e: order(e[0], e[1]["eps"], e[1]["name"])))
    return _plain(
        {
            **{name: run.info.get(name) for name in ("model", "data", "task", "tasks")},
            **{name: run.info[name] for name in ("defense", "adaptive") if run.info.get(name)},
            "images": len(images),
            "requested": len(run.images),
            "seed": run.info.get("seed"),
            "classes": classes,
            "clean": clean,
            "attacks": entries,
            "worst_case": worst[largest] if largest else None,
            "worst_case_by_eps": worst,
            "curves": _curves(entries),
            "failed": clean["failed"] + sum(e["failed"] for s, e in entries.items() if s not in run.ensembles),
            "violations": sum(e["violations"] for s, e in entries.items() if s not in run.ensembles),
            "cautions": [*run.info.get("warnings", ()), *no_better_than_noise(entries)],
            "definitions": DEFINITIONS,
        }
    )


def scores(tally: Tally, classes: Sequence[str]) -> dict[str, Any]:
    """The scores of a set of images from their added statistics."""
    inter, pred, target = tally.inter.sum(0), tally.pred.sum(0), tally.target.sum(0)
    return {
        "aAcc": float(ratio(tally.right.sum(), tally.valid.sum())),
        "mAcc": float(nan_mean(ratio(inter, target))),
        "mIoU": float(mean_iou(inter, pred, target)),
        "NmIoU": float(nan_mean(image_miou(tally))),
        "IoU": dict(zip(classes, ratio(inter, pred + target - inter).tolist(), strict=True)),
        "recall": recall_by_size(tally.hits.sum(0), tally.counts.sum(0)),
    }


def _scored(
    spec: str,
    config: Mapping[str, Any],
    region: str | None,
    images: Sequence[str],
    rows: Mapping[str, Row],
    clean: Mapping[str, Mapping[str, Any]],
    classes: int,
) -> Scored:
    index, stats = [], []
    for n, image in enumerate(images):
        row = rows.get(image)
        if row is not None and row.status == "ok":
            index.append(n)
            stats.append(row.stats)
        elif row is not None and row.status == "not-applicable":
            index.append(n)
            stats.append({**clean[image], "clean_right": clean[image].get("right"), "flipped": 0})
    at = np.array(index, dtype=int)
    return Scored(spec, config.get("eps"), config.get("norm"), at, stack(stats, classes), region, stats)


def _scores_against(one: Scored, clean_tally: Tally, weights: Any, setting: Setting) -> dict[str, Any]:
    """Scores, intervals, and the losses against the clean prediction of the same images."""
    classes = setting[0]
    found = scores(one.tally, classes)
    before = scores(clean_tally.take(one.index), classes)
    wrong = ratio(one.tally.valid - one.tally.right, one.tally.valid)
    drawn = weights[:, one.index]
    return {
        **found,
        **segment_scores(one.rows, setting),
        "ci95": {**intervals(one.tally, drawn), **segment_intervals(one.rows, setting, drawn)},
        "ASR": float(ratio(one.tally.flipped.sum(), one.tally.clean_right.sum())),
        "APSR": float(nan_mean(wrong)),
        "solved": float(np.mean(wrong >= 0.99)) if len(wrong) else math.nan,
        "relative_drop": 1 - found["mIoU"] / before["mIoU"] if before["mIoU"] else math.nan,
        "drop": {c: before["IoU"][c] - v for c, v in found["IoU"].items()},
        "images": len(one.index),
    }


def _entry(
    one: Scored,
    config: Mapping[str, Any],
    rows: Sequence[Row],
    clean_tally: Tally,
    weights: Any,
    setting: Setting,
) -> dict[str, Any]:
    spent = [r for r in rows if r.status == "ok"]

    def mean(name: str, of: Sequence[Row]) -> float | None:
        return float(np.mean([getattr(r, name) for r in of])) if of else None

    natural = through_jpeg(
        [r.extra for r in spent if r.extra], setting[0], (config.get("options") or {}).get("class", "")
    )

    def number(status: str) -> int:
        return sum(r.status == status for r in rows)

    return {
        "name": one.spec.partition(":")[0],
        "eps": one.eps,
        "norm": one.norm,
        "region": one.region,
        "target": _target(config.get("options") or {}),
        "reference": config.get("reference"),
        **_scores_against(one, clean_tally, weights, setting),
        "budget": {"forwards": mean("budget_f", rows), "backwards": mean("budget_b", rows)},
        "extra": {**goal_scores([r.extra for r in spent if r.extra]), **in_short(natural)},
        **({"natural": natural} if natural else {}),
        "norms": {n: _largest(spent, n) for n in ("linf", "l2", "l0")},
        "distance": _distance(spent, config),
        "forwards": mean("forwards", spent),
        "backwards": mean("backwards", spent),
        "seconds_per_image": mean("seconds", spent),
        "violations": number("violation"),
        "failed": number("failed"),
        "not_applicable": number("not-applicable"),
        "errors": sorted({r.error for r in rows if r.error})[:5],
    }


def _distance(rows: Sequence[Row], config: Mapping[str, Any]) -> dict[str, Any] | None:
    """How far the images of a minimal-norm attack had to go; None for attacks that have a ball."""
    enough = apsr(config)
    if enough is None:
        return None
    return distances([(r.stats, r.norms) for r in rows if r.stats and r.norms], str(config.get("norm")), enough)


def _target(options: Mapping[str, str]) -> dict[str, str] | None:
    """What a targeted attack aims at, defaults too; None for the others."""
    aimed = "target" in options or "kind" in options
    return {name: options[name] for name in ("target", "kind", "class") if name in options} if aimed else None


def _largest(rows: Sequence[Row], norm: str) -> float | None:
    values = [r.norms[norm] for r in rows if r.norms and norm in r.norms]
    return max(values) if values else None


def _composed_entry(
    spec: str,
    parts: Sequence[Scored],
    members: Sequence[str],
    entries: Mapping[str, Mapping[str, Any]],
    clean_tally: Tally,
    weights: Any,
    setting: Setting,
    labels: bool,
) -> dict[str, Any]:
    """An ensemble: the worst of its members, their costs added."""
    from_members = [entries[m] for m in members]
    accuracy, choice = ensemble(spec, parts, joint=not labels)
    found = _scores_against(choice, clean_tally, weights, setting)
    pixels = _scores_against(accuracy, clean_tally, weights, setting)
    segments = _worst_segments(parts, weights, setting)
    found["ci95"] |= segments.pop("ci95", {})
    found |= segments
    found["ci95"]["aAcc"] = pixels["ci95"]["aAcc"]
    found.update({name: pixels[name] for name in ("aAcc", "ASR", "APSR", "solved")})
    if labels:
        found = label_scores(found, accuracy.tally, weights[:, accuracy.index])

    def added(name: str) -> float | None:
        values = [m[name] for m in from_members if m[name] is not None]
        return sum(values) if len(values) == len(from_members) and values else None

    budgets = [m["budget"] for m in from_members if m["budget"]["forwards"] is not None]
    complete = len(budgets) == len(from_members)
    return {
        "name": spec.partition(":")[0],
        "eps": from_members[0]["eps"] if from_members else None,
        "norm": from_members[0]["norm"] if from_members else None,
        "region": from_members[0]["region"] if from_members else None,
        "target": None,
        "reference": from_members[0]["reference"] if from_members else None,
        **found,
        "budget": {n: sum(b[n] for b in budgets) if complete else None for n in ("forwards", "backwards")},
        "extra": {},
        "norms": {},
        **{name: added(name) for name in ("forwards", "backwards", "seconds_per_image")},
        **{name: sum(m[name] for m in from_members) for name in ("violations", "failed", "not_applicable")},
        "errors": sorted({e for m in from_members for e in m["errors"]})[:5],
        "members": list(members),
    }


def _worst_segments(parts: Sequence[Scored], weights: Any, setting: Setting) -> dict[str, Any]:
    if not parts:
        return {}
    index, places = common(parts)
    rows = [[p.rows[k] for k in at.tolist()] for p, at in zip(parts, places, strict=True)]
    return worst_segments(rows, setting, weights[:, index])


def _worst(group: Sequence[Scored], weights: Any, setting: Setting, labels: bool) -> dict[str, Any]:
    accuracy, choice = ensemble("worst case", group, joint=not labels)
    found, pixels = scores(choice.tally, setting[0]), scores(accuracy.tally, setting[0])
    segments = _worst_segments(group, weights, setting)
    ci95 = intervals(choice.tally, weights[:, choice.index])
    ci95["aAcc"] = intervals(accuracy.tally, weights[:, accuracy.index])["aAcc"]
    more = segments.pop("ci95", {})
    found |= {**segments, "aAcc": pixels["aAcc"], "ci95": {**{n: ci95[n] for n in ("aAcc", "mIoU")}, **more}}
    if labels:
        found = label_scores(found, accuracy.tally, weights[:, accuracy.index])
    return {
        "eps": group[0].eps,
        "norm": group[0].norm,
        "region": group[0].region,
        **found,
        "images": len(choice.index),
        "attacks": [s.spec for s in group],
    }


def _curves(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Per attack without its eps: its points in growing eps."""
    found: dict[str, list[dict[str, Any]]] = {}
    for spec, entry in sorted(entries.items(), key=lambda e: order(e[0], e[1]["eps"], e[1]["name"])):
        if entry["eps"] is None:
            continue
        name, _, options = spec.partition(":")
        rest = ",".join(o for o in options.split(",") if o and not o.startswith("eps="))
        point = {
            n: entry[n] for n in ("eps", "aAcc", "mIoU", "NmIoU", "PQ", "AP", "accuracy", "ASR", "ci95") if n in entry
        }
        found.setdefault(f"{name}:{rest}" if rest else name, []).append({**point, "spec": spec})
    return found


def _plain(value: Any) -> Any:
    """JSON-able: NaN becomes null, numpy numbers become Python's."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
