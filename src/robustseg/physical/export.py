"""A patch as a file for the printer: a PNG that knows how large it is."""

from __future__ import annotations

import math
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from robustseg.errors import UserError

__all__ = ["save_print"]

INCH = 0.0254
LARGEST = 20000  # pixels a side


def save_print(patch: Tensor, path: str | Path, width: float, dpi: float = 10.0) -> tuple[int, int]:
    """Write ``patch (3,h,w)`` in [0,1] as a PNG that prints ``width`` metres wide; returns (height, width) in pixels.

    Enlarged bilinearly by a whole factor until it has at least ``dpi`` pixels an inch, as the texture is read where it
    is laid into pictures; the size in metres stands in the file's resolution and, in words, in its description. Texels
    are square. Folders are made. Raises UserError for a size that makes no sense, and for a file that is no PNG.

    10 pixels an inch are what is printed of billboards.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if Path(path).suffix.lower() != ".png":
        raise UserError(f"a print is a PNG, which knows how large it is; name {Path(path).with_suffix('.png')}")
    h, w = int(patch.shape[1]), int(patch.shape[2])
    if not (math.isfinite(width) and math.isfinite(dpi) and width > 0 and dpi > 0):
        raise UserError(f"a print is {width:g} m wide at {dpi:g} dpi; both must be above 0, and finite")
    factor = max(1, math.ceil(dpi * width / INCH / w - 1e-9))
    if max(h, w) * factor > LARGEST:
        raise UserError(f"a print {width} m wide at {dpi:g} dpi has {w * factor} pixels; use fewer dpi")
    large = F.interpolate(patch[None], size=(h * factor, w * factor), mode="bilinear", align_corners=False)[0]
    bytes_ = (large.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()
    real, about = w * factor / (width / INCH), PngInfo()
    about.add_text("Description", f"{width:g} m x {width * h / w:g} m, {w} x {h} texels")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(bytes_).save(path, dpi=(real, real), pnginfo=about)
    return h * factor, w * factor
