"""The attacks on two-stage detectors and on prompted masks by name; objectives of the same names lie in
``objectives.regions`` and ``objectives.prompted``."""

from __future__ import annotations

from robustseg.catalog.entry import SEA_RADII, Entry

__all__ = ["REGION_ENTRIES"]

OURS = "our own; the idea: RobustSeg"
PROPOSALS = {"proposals": "moving: the network's own at every step; fixed: those of the clean image"}


def _entry(name: str, summary: str, source: str, **more: object) -> Entry:
    fields = {"targeted": False, "refused": ("objective",), "output": ("region",), **more}
    return Entry(name, summary, source, **fields)  # type: ignore[arg-type]


REGION_ENTRIES: tuple[Entry, ...] = (
    _entry(
        "rpn-objectness",
        "First stage: anchors on objects fall behind the best that propose nothing, and are not kept.",
        "first stage: Ren et al., NeurIPS 2015, arXiv 1506.01497; the order as objective: our own",
    ),
    _entry(
        "roi-class",
        "Second stage: cross-entropy of the true class over all regions on an object, until none is detected.",
        "loss: Ren et al., NeurIPS 2015, arXiv 1506.01497; masked: Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941",
        options=PROPOSALS,
    ),
    _entry("roi-box", "Refined boxes slide off their objects, to an IoU of 1/2.", OURS, options=PROPOSALS),
    _entry(
        "roi-mask",
        "Masks over the best boxes of every object: cross-entropy of the cells that are still right.",
        "loss: He et al., ICCV 2017, arXiv 1703.06870; masked: Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941",
        options=PROPOSALS,
    ),
    _entry(
        "ap-rank",
        "Average precision itself: true detections fall below false ones and below the IoU thresholds.",
        "pairwise ranking: Chen et al., CVPR 2019, arXiv 1904.06373 (AP-loss); as an attack: our own",
        output=("query", "region"),
        options=PROPOSALS,
        only={"proposals": ("region",)},
        version=2,
    ),
    _entry(
        "mask-removal",
        "Attack-SAM: the mask logits of all prompts are driven below -10.",
        "Zhang et al., arXiv 2305.00866; setting: Lu et al., CVPR 2024, arXiv 2404.02585",
        output=("prompted",),
        random_start=False,
        paper={"eps": "8/255", "step_size": "2/255", "steps": "40"},
        errata="Prompts are the boxes of the true segments instead of sampled points.",
    ),
    _entry(
        "masked-prompt",
        "APGD on the pixels of every prompt's mask that are still right, shrinking radii.",
        "masked loss: Croce, Singh, Hein, ECCV 2024, arXiv 2306.12941; per prompt: our own",
        output=("prompted",),
        update="apgd",
        steps=40,
        radii=SEA_RADII,
    ),
)
