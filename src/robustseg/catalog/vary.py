"""The ``vary=`` option of patches: from its text to what a patch must survive."""

from __future__ import annotations

from typing import Any

from robustseg.catalog import eot
from robustseg.physical.hanging import STILL, Variation

__all__ = ["VARIATIONS", "canonical", "variation"]

VARIATIONS: dict[str, tuple[str, float, float]] = {  # name -> what its number means, least and largest
    "scale": ("factor", 0.05, 20),
    "rotate": ("degrees either way", 0, 180),
    "shift": ("share of the patch's size either way", 0, 10),
    "perspective": ("share of the patch by which its corners move", 0, 0.4),
    "brightness": ("added to the patch, either way", 0, 1),
    "contrast": ("factor 1 ± this about the middle grey", 0, 1),
    "noise": ("standard deviation in pixels of [0,1]", 0, 1),
    "blur": ("sigma in pixels of the image", 0, 20),
}
RANGES = ("scale", "noise", "blur")


def canonical(text: str) -> str:
    """The one spelling of what varies; what cannot be read stays as it is.

    >>> canonical("scale=.8-1.2,noise=.1"), canonical("none")
    ('scale:0.8-1.2+noise:0.1', 'none')
    """
    return text if text == "none" else eot.canonical(text, VARIATIONS, RANGES)


def variation(text: str) -> Variation:
    """What varies. Raises UserError that says which name or number cannot be used.

    >>> variation("scale:0.8-1.2").scale
    (0.8, 1.2)
    """
    if text == "none":
        return STILL
    made: dict[str, Any] = {}
    for name, (low, high) in eot.read(text, VARIATIONS, RANGES, "vary").items():
        made[name] = (float(low), float(high)) if name in RANGES else float(high)
    return Variation(**made)
