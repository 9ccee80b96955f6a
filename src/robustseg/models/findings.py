"""The names of everything that the doctor can find, and how a list of findings is printed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from robustseg.errors import UserError

__all__ = ["EXPLAINED", "PAGE", "Finding", "explain", "failed", "render"]

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
    "defense-gradient": "an input defence has no gradient of its own",
    "defense-random": "an input defence draws at random",
    "defense-cost": "an input defence costs much of the clean accuracy",
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


def explain(name: str) -> str:
    """The section of the docs on one finding, as Markdown. Raises UserError for a name that is none.

    >>> explain("gradient-zero").splitlines()[0]
    '### gradient-zero'
    """
    if name not in EXPLAINED:
        close = difflib.get_close_matches(name, EXPLAINED, 3, 0.5)
        raise UserError(f"the doctor knows no {name!r}; " + (f"did you mean {' or '.join(close)}?" if close else
                        f"its findings are {', '.join(EXPLAINED)}"))  # fmt: skip
    text = (resources.files("robustseg.models") / "doctor.md").read_text(encoding="utf-8")
    section = text.partition(f"### {name}\n")[2]
    return f"### {name}\n" + re.split(r"^##", section, maxsplit=1, flags=re.M)[0].rstrip()


def failed(findings: Sequence[Finding]) -> bool:
    """Whether an evaluation of this model would be worthless (the exit code)."""
    return any(finding.level == "error" for finding in findings)


def render(findings: Sequence[Finding]) -> list[str]:
    """Lines for a terminal, the worst first.

    >>> render([])
    ['ok       all 19 checks passed']
    >>> render([Finding("gradient-zero", "error", "3 of 4 images")])[1]
    '         see robustseg doctor --explain gradient-zero, or docs/doctor/README.md#gradient-zero'
    """
    if not findings:
        return [f"ok       all {len(EXPLAINED)} checks passed"]
    order = {"error": 0, "warning": 1, "ok": 2}
    lines = []
    for finding in sorted(findings, key=lambda f: order[f.level]):
        lines += [
            f"{finding.level:<8} {finding.name}: {finding.message}",
            f"         see robustseg doctor --explain {finding.name}, or {finding.page}",
        ]
    return lines
