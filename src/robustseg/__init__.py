"""RobustSeg: how easily can an image-segmentation model be fooled, and what makes it harder to fool?

The public face is small; each name is imported when it is first used, so that the command line starts quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_FACE = {
    "wrap": "robustseg.models",
    "load_model": "robustseg.models",
    "load_data": "robustseg.data",
    "attack": "robustseg.catalog",
    "evaluate": "robustseg.evaluation.run",
    "AttackResult": "robustseg.types",
    "DenseOutput": "robustseg.types",
    "QueryOutput": "robustseg.types",
    "RegionOutput": "robustseg.types",
    "SegmentTarget": "robustseg.types",
    "SemanticTarget": "robustseg.types",
    "UserError": "robustseg.errors",
}

if TYPE_CHECKING:
    from robustseg.catalog import attack
    from robustseg.data import load_data
    from robustseg.errors import UserError
    from robustseg.evaluation.run import evaluate
    from robustseg.models import load_model, wrap
    from robustseg.report.page import report
    from robustseg.types import AttackResult, DenseOutput, QueryOutput, RegionOutput, SegmentTarget, SemanticTarget

__all__ = [
    "AttackResult",
    "DenseOutput",
    "QueryOutput",
    "RegionOutput",
    "SegmentTarget",
    "SemanticTarget",
    "UserError",
    "attack",
    "evaluate",
    "load_data",
    "load_model",
    "report",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name == "report":  # the package of that name, which can be called: see report/__init__.py
        return import_module("robustseg.report")
    if name in _FACE:
        return getattr(import_module(_FACE[name]), name)
    raise AttributeError(f"module 'robustseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE, "report"})
