"""Models: a user's network behind one face. `load_model` for references, `wrap` for any `nn.Module`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustseg.models import check, zoo
    from robustseg.models.load import load_model
    from robustseg.models.plain import wrap

__all__ = ["check", "load_model", "wrap", "zoo"]


def __getattr__(name: str) -> Any:
    if name == "load_model":
        return import_module("robustseg.models.load").load_model
    if name == "wrap":
        return import_module("robustseg.models.plain").wrap
    if name in ("check", "zoo"):
        return import_module(f"robustseg.models.{name}")
    raise AttributeError(f"module 'robustseg.models' has no attribute {name!r}")
