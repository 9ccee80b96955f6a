"""Which scores a run has, which of them leads, and in what order the others stand beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robustseg.report.text import number

__all__ = ["MORE", "bounded", "columns", "curves", "has", "label", "leading", "plain_label", "shared", "tiles"]

LEADING = ("PQ", "AP", "IoU_prompted", "accuracy")  # of a run that has several, the first; a semantic run has none
COLUMNS = {
    "PQ": ("PQ", "PQ_th", "PQ_st", "SQ", "RQ", "AP", "AP50", "mIoU", "aAcc", "ASR"),
    "AP": ("AP", "AP50", "AP75", "AP_box", "mIoU", "aAcc", "ASR"),
    "IoU_prompted": ("IoU_prompted", "BIoU_prompted", "prompted_found"),
    "accuracy": ("ASR", "accuracy", "mAcc"),
    "mIoU": ("mIoU", "aAcc", "NmIoU", "ASR"),
}
CURVES = {
    "PQ": ("PQ", "AP", "mIoU", "aAcc"),
    "AP": ("AP", "AP50", "mIoU", "aAcc"),
    "IoU_prompted": ("IoU_prompted",),
    "accuracy": ("ASR", "accuracy"),
    "mIoU": ("mIoU", "aAcc"),
}
MORE = (
    "mAcc", "relative_drop", "APSR", "solved", "NmIoU", "SQ_th", "RQ_th", "SQ_st", "RQ_st", "AP75", "AP_s", "AP_m",
    "AP_l", "AP_box", "AP50_box", "mBIoU", "BIoU_segments",
)  # fmt: skip
PLAIN = {
    "ASR": "attack success rate",
    "IoU_prompted": "IoU of prompts",
    "BIoU_prompted": "boundary IoU",
    "prompted_found": "found",
}
SMALL = {"PQ_th": ("PQ", "things"), "PQ_st": ("PQ", "stuff"), "AP_box": ("AP", "boxes"), "ASR": ("ASR", "")}


def has(summary: Mapping[str, Any], name: str) -> bool:
    """True where the clean images, or an attack, have that score."""
    tables = [summary.get("clean") or {}, *(summary.get("attacks") or {}).values()]
    return any(number(t.get(name)) is not None for t in tables)


def leading(summary: Mapping[str, Any]) -> str:
    """The score that the page speaks of: PQ of a panoptic run, AP of instances, accuracy of a classifier, else mIoU.

    >>> leading({"clean": {"mIoU": 0.5, "AP": 0.2}}), leading({"clean": {"mIoU": 0.5}})
    ('AP', 'mIoU')
    """
    return next((name for name in LEADING if has(summary, name)), "mIoU")


def columns(summary: Mapping[str, Any]) -> list[str]:
    """The scores of the main table, the headline first; of a run with segments only those that it has."""
    first = leading(summary)
    return [n for n in COLUMNS[first] if first == "mIoU" or has(summary, n)]


def curves(summary: Mapping[str, Any]) -> list[str]:
    """The scores that are drawn over ε."""
    first = leading(summary)
    return [n for n in CURVES[first] if first == "mIoU" or has(summary, n)]


def tiles(summary: Mapping[str, Any]) -> list[str]:
    """The two scores, or the one, that stand on top of the page."""
    first = leading(summary)
    if first == "accuracy":
        return ["ASR", first]
    beside = {"PQ": ["AP", "mIoU"], "AP": ["mIoU"], "IoU_prompted": [], "mIoU": ["aAcc"]}[first]
    return [first, *[n for n in beside if first == "mIoU" or has(summary, n)][:1]]


def shared(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The scores that runs can be compared in: every leading one and mIoU, as far as all of them have it.

    >>> shared([{"clean": {"PQ": 0.5, "mIoU": 0.6}}, {"clean": {"mIoU": 0.7}}])
    ['mIoU']
    """
    found = [n for n in (*LEADING, "mIoU") if all(has(s, n) for s in summaries)]
    return found or ["mIoU"]


def bounded(name: str) -> bool:
    """True for scores of which the worst case over attacks is a choice of its own (SQ and RQ: of the choice for PQ)."""
    return name not in ("NmIoU", "ASR", "BIoU_prompted", "prompted_found")


def label(name: str) -> tuple[str, str]:
    """How a score is called in a table's head: a word and its small print.

    >>> label("PQ_th"), label("mIoU")
    (('PQ', 'things'), ('mIoU', ''))
    """
    return SMALL.get(name, (plain_label(name), ""))


def plain_label(name: str) -> str:
    """The same in a sentence."""
    return PLAIN.get(name, name)
