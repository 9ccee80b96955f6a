"""Label file -> class indices. Nothing here ever interpolates, rotates or guesses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from robustseg.data.files import opened, png_header
from robustseg.errors import UserError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LabelCode", "plain_code", "read_ids", "read_labels", "read_mask", "reduce_zero_label", "same_size"]


MEANINGS = {"instance file": "object numbers", "part file": "part numbers", "mask": "0 and 255"}


@dataclass(frozen=True)
class LabelCode:
    """What the values in a label file mean: ``index[value]`` is a class index or ``ignore``; other values are faults.

    ``bits``: 8, or 16 where a set needs it. ``void_mask``: a PNG whose non-zero pixels are ignored in every image (the
    camera car). ``mask_guard``: refuse files that hold nothing but 0 and 255, see :func:`read_labels`.
    """

    index: Mapping[int, int] = field(hash=False)
    ignore: int = 255
    bits: int = 8
    void_mask: Path | None = None
    mask_guard: bool = False

    @property
    def text(self) -> str:
        """Canonical text, part of the data hash."""
        pairs = ",".join(f"{value}>{index}" for value, index in sorted(self.index.items()))
        return f"{pairs};ignore={self.ignore};bits={self.bits}"


def plain_code(classes: int, *, void: tuple[int, ...] = (255,), ignore: int = 255, bits: int = 8) -> LabelCode:
    """Values 0..classes-1 are the classes; the values in ``void`` are ignored."""
    return LabelCode({**dict.fromkeys(void, ignore), **{c: c for c in range(classes)}}, ignore, bits)


def reduce_zero_label(classes: int, *, ignore: int = 255) -> LabelCode:
    """Value 0 is void and value v is class v-1 (ADE20K).

    >>> reduce_zero_label(2).index
    {0: 255, 1: 0, 2: 1}
    """
    return LabelCode({0: ignore, **{c + 1: c for c in range(classes)}}, ignore)


def read_labels(path: Path, code: LabelCode) -> np.ndarray:
    """Read a label PNG as ``(H,W)`` int64 class indices plus ``code.ignore``.

    A palette PNG is read as its indices. Raises UserError, naming the file: a colour PNG, 16 bits where 8 are expected,
    a value without meaning (with value and count), and, under ``mask_guard``, a two-class file of 0 and 255 only,
    in which 255 might be the object or void.
    """
    import numpy as np

    raw = read_ids(path, bits=code.bits, what="label file")
    table = np.full(1 << code.bits, -1, dtype=np.int64)
    for value, index in code.index.items():
        table[value] = index
    labels = table[raw]
    if (labels < 0).any():
        raise UserError(_out_of_range(path, raw[labels < 0], code))
    if code.mask_guard and (raw == 255).any() and not np.isin(raw, (0, 255), invert=True).any():
        raise UserError(
            f'{path}: only the values 0 and 255; if 255 is the second class, put "values": [0, 255] into '
            'classes.json, if it means "do not count", put "ignore": 255'
        )
    if code.void_mask is not None:
        void = read_mask(code.void_mask)
        same_size(code.void_mask, void.shape, path, labels.shape)
        labels[void] = code.ignore
    return labels


def _out_of_range(path: Path, bad: np.ndarray, code: LabelCode) -> str:
    import numpy as np

    values, counts = np.unique(bad, return_counts=True)
    most = int(counts.argmax())
    others = f" (and {len(values) - 1} other such values)" if len(values) > 1 else ""
    known = sorted(code.index)
    spans = f"{known[0]}..{known[-1]}" if len(known) == known[-1] - known[0] + 1 else _spans(known)
    return (
        f"{path}: label value {values[most]} in {counts[most]} pixels{others} has no meaning here; "
        f"this set knows the values {spans}"
    )


def _spans(values: list[int]) -> str:
    """``[0, 1, 2, 255]`` as ``0..2, 255``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs)


def read_ids(path: Path, *, bits: int = 16, what: str = "instance file") -> np.ndarray:
    """Read a PNG as raw integers ``(H,W)`` int32; ``bits`` is the most a pixel may have. EXIF tags are not applied."""
    import numpy as np

    with opened(path, ("PNG",), what) as picture:
        mode = picture.mode
        if mode in ("RGB", "RGBA", "LA", "PA"):
            meaning = MEANINGS.get(what, "class indices")
            raise UserError(
                f"{path}: {what} is a colour picture (mode {mode}), not {meaning} (palette confusion); "
                f"save it as a grey or palette PNG whose pixel values are {meaning}"
            )
        wide = mode.startswith("I")
        if wide and bits < 16:
            raise UserError(f"{path}: {what} has 16 bits a pixel, expected 8; save it as an 8-bit PNG")
        values = np.array(picture).astype(np.int32)
    header = png_header(path)
    if header is not None and header[1] == 0 and header[0] in (2, 4):
        values //= 255 // ((1 << header[0]) - 1)  # Pillow stretches 2- and 4-bit grey to 0..255
    return values


def read_mask(path: Path) -> np.ndarray:
    """Read a PNG as ``(H,W)`` bool: non-zero pixels are True."""
    return read_ids(path, what="mask") != 0


def same_size(first: Path, first_shape: tuple[int, ...], second: Path, second_shape: tuple[int, ...]) -> None:
    """Raise UserError naming both files unless their (H,W) agree."""
    if tuple(first_shape) == tuple(second_shape):
        return
    one, two = ("x".join(str(n) for n in shape) for shape in (first_shape, second_shape))
    turned = tuple(first_shape) == tuple(second_shape[::-1])
    hint = (
        "; images are turned by their EXIF tag, labels never: turn the label file or remove the tag" if turned else ""
    )
    raise UserError(f"size mismatch (HxW): {first} is {one}, but {second} is {two}; they must be equal{hint}")
