"""The names of everything that the doctor can find, and how a list of findings is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["EXPLAINED", "PAGE", "Finding", "failed", "render"]

PAGE = "docs/doctor/README.md"
EXPLAINED = {
    "forward-failed": "the network raised an error on an image of the data",
    "wrong-size": "the output does not have the shape of the image",
    "class-count-mismatch": "the number of output channels is not the number of classes",
    "class-names": "the data set has classes that the model does not know by name",
    "label-range": "labels lie outside the classes and are not the ignore value",
    "not-finite-output": "the output holds NaN or infinity",
    "argmaxed-output": "the output is a label map, which has no gradient",
    "probabilities-as-logits": "the output is probabilities but is called logits",
    "random-output": "two runs on one image differ, or random numbers are drawn",
    "state-changed": "a forward pass changes the network's buffers",
    "batch-dependence": "an image's output depends on the other images of the batch",
    "gradient-missing": "no gradient reaches the image",
    "gradient-not-finite": "the gradient holds NaN or infinity",
    "gradient-zero": "the gradient with respect to the image is exactly zero",
    "gradient-vanishing": "the gradient of the loss underflows on most pixels",
    "clean-accuracy-low": "the clean accuracy is so low that the preprocessing is probably wrong",
}


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor found: its name in the docs, how bad it is, what was measured."""

    name: str
    level: Literal["error", "warning", "ok"]
    message: str

    @property
    def page(self) -> str:
        """Where the docs explain it."""
        return f"{PAGE}#{self.name}"


def failed(findings: Sequence[Finding]) -> bool:
    """Whether an evaluation of this model would be worthless (the exit code)."""
    return any(finding.level == "error" for finding in findings)


def render(findings: Sequence[Finding]) -> list[str]:
    """Lines for a terminal, the worst first.

    >>> render([])
    ['ok       all 16 checks passed']
    >>> render([Finding("gradient-zero", "error", "3 of 4 images")])[1]
    '         see docs/doctor/README.md#gradient-zero'
    """
    if not findings:
        return [f"ok       all {len(EXPLAINED)} checks passed"]
    order = {"error": 0, "warning": 1, "ok": 2}
    lines = []
    for finding in sorted(findings, key=lambda f: order[f.level]):
        lines += [f"{finding.level:<8} {finding.name}: {finding.message}", f"         see {finding.page}"]
    return lines
