"""The attacks on mask classification by name; their objectives lie in ``objectives.queries`` under the same names."""

from __future__ import annotations

from robustseg.catalog.entry import INSTANCE, Entry
from robustseg.catalog.spec import COMMON

__all__ = ["QUERY_ENTRIES"]

OURS = "our own"
BOTH = ("query", "region")
STEP = "eps/2"  # of sign steps: in 20 steps nowhere weaker than eps/4 (docs/results/panoptic_notes.md)


def _entry(name: str, summary: str, source: str, **more: object) -> Entry:
    fields = {"targeted": False, "refused": ("objective",), "output": ("query",), **more}
    if "members" not in more:
        fields["defaults"] = {"step_size": STEP, **more.get("defaults", {})}  # type: ignore[dict-item]
    return Entry(name, summary, source, **fields)  # type: ignore[arg-type]


QUERY_ENTRIES: tuple[Entry, ...] = (
    _entry(
        "training-loss",
        "The model's own training loss, upwards: all pixels, matched anew every five steps.",
        "loss: Cheng et al., CVPR 2022, arXiv 2112.01527; as an attack: Agnihotri et al., arXiv 2505.18015",
        output=BOTH,
        errata="All pixels instead of sampled points, and the last decoder layer alone: an attack must be repeatable. "
        "Pixels without label count nowhere.",
    ),
    _entry("flood", "No-object flood: kept queries are pushed from their class to no object.", OURS),
    _entry("squeeze", "Threshold squeeze: class scores just below the 0.8 that keeps a query.", OURS),
    _entry(
        "mask-break",
        "Masks of found segments broken: cross-entropy on cells still right, and dice.",
        "masked loss: Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941; on masks of queries: our own",
    ),
    _entry("mask-split", "Mask break, and a second query that takes half of every found object.", OURS),
    _entry(
        "class-flip",
        "Margin of the best wrong class of the queries that hold a true segment.",
        "margin: Carlini, Wagner, S&P 2017, arXiv 1608.04644; on queries: our own",
    ),
    _entry(
        "phantom",
        "Dead queries are kept, each with a compact mask: false segments.",
        OURS,
        needs_clean=True,
        output=BOTH,
        options={"area": "share of the image that a phantom shall cover, 0 to 1"},
        defaults={"area": "0.02"},
        only={"area": ("query",)},
    ),
    _entry("overlap", "Overlap trap: kept queries win less than 0.8 of their masks and are dropped.", OURS),
    _entry(
        "semantic-ce",
        "Cross-entropy on the logarithm of the semantic scores of the queries.",
        "scores: Cheng et al., NeurIPS 2021, arXiv 2107.06278; loss: Madry et al., ICLR 2018, arXiv 1706.06083",
    ),
    _entry(
        "pq-price",
        "Panoptic quality itself: a differentiable decoding, priced per class by a pilot attack.",
        OURS,
        fits="panoptic-prices",
    ),
    _entry(
        "displace",
        "Segments of class=NAME, or object number N, appear dx pixels to the right and dy down; the rest is kept.",
        OURS,
        steps=60,
        options={"class": COMMON["class"], "instance": INSTANCE, "dx": "pixels to the right", "dy": "pixels down"},
        defaults={"dx": "16", "dy": "0", "reference": "pred"},
    ),
    _entry(
        "panoptic-strong",
        "Worst case for panoptic quality of seven attacks that fail in different ways.",
        "members as cited there; composed by price over the data set after Croce, Singh, Hein, ECCV 2024: our own",
        fits="panoptic-prices",
        members=("pq-price", "mask-break", "mask-split", "class-flip", "phantom", "squeeze", "training-loss"),
    ),
)
