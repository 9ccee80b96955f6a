"""Data sets as types: readers that yield :class:`robustseg.types.Sample` and nothing else.

Every name is imported when it is first used, so that ``robustseg list data`` needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_FACE = {
    "load_data": "robustseg.data.load",
    "fit_ref": "robustseg.data.load",
    "list_refs": "robustseg.data.refs",
    "PairDataSet": "robustseg.data.pairs",
}

if TYPE_CHECKING:
    from robustseg.data.load import fit_ref, load_data
    from robustseg.data.pairs import PairDataSet
    from robustseg.data.refs import list_refs

__all__ = ["PairDataSet", "fit_ref", "list_refs", "load_data"]


def __getattr__(name: str) -> Any:
    if name in _FACE:
        return getattr(import_module(_FACE[name]), name)
    raise AttributeError(f"module 'robustseg.data' has no attribute {name!r}")
