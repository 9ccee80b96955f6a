"""Data references as typed on the command line: ``SCHEME:PATH:SPLIT``. Standard library only."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from robustseg.errors import UserError

__all__ = ["SCHEMES", "Ref", "Scheme", "list_refs", "parse"]


@dataclass(frozen=True)
class Scheme:
    """One kind of data set: its reader module, an example, what it is, and the splits that attacks may fit on."""

    name: str
    module: str
    example: str
    summary: str
    fit_splits: tuple[str, ...]


SCHEMES: dict[str, Scheme] = {
    s.name: s
    for s in (
        Scheme(
            "street",
            "street",
            "street:val",
            "procedural street scenes: bundled, or a rendered folder",
            ("fit", "train"),
        ),
        Scheme("camvid", "camvid", "camvid:PATH:test", "CamVid, 11 classes (SegNet layout)", ("train",)),
        Scheme("cityscapes", "cityscapes", "cityscapes:PATH:val", "Cityscapes, 19 classes", ("train",)),
        Scheme("ade20k", "ade20k", "ade20k:PATH:validation", "ADE20K scene parsing, 150 classes", ("training",)),
        Scheme("voc", "voc", "voc:PATH:val", "Pascal VOC segmentation, 21 classes", ("train",)),
        Scheme(
            "dsb2018",
            "dsb2018",
            "dsb2018:PATH:test",
            "cell nuclei of the Data Science Bowl 2018, with instances",
            ("train", "stage1_train"),
        ),
        Scheme(
            "folder",
            "folder",
            "folder:PATH",
            "images/ + label PNGs in labels/ + classes.txt or .json",
            ("train", "training"),
        ),
    )
}

BUNDLED = ("val", "fit")  # street:val, street:fit


@dataclass(frozen=True)
class Ref:
    """A parsed data reference; ``path`` is None for bundled data."""

    text: str
    scheme: str
    path: Path | None
    split: str | None

    def at(self, split: str) -> str:
        """The text of the same data set's other split."""
        return f"{self.scheme}:{split}" if self.path is None else f"{self.scheme}:{self.path}:{split}"


def parse(text: str) -> Ref:
    """Take a data reference apart; the last ``:word`` (no slash in it) is the split.

    Raises UserError for an unknown scheme (with the near ones) and for a missing path.

    >>> parse("camvid:data/camvid:test")
    Ref(text='camvid:data/camvid:test', scheme='camvid', path=PosixPath('data/camvid'), split='test')
    >>> parse("street:val").path is None
    True
    """
    scheme, colon, rest = text.strip().partition(":")
    if scheme not in SCHEMES:
        raise UserError(_unknown(text, scheme, bool(colon)))
    if not rest:
        raise UserError(f"data '{text}' names no folder; write it like {SCHEMES[scheme].example}")
    if scheme == "street" and rest in BUNDLED:
        return Ref(text, scheme, None, rest)
    path, split = rest, None
    head, _, tail = rest.rpartition(":")
    if head and re.fullmatch(r"[\w.-]+", tail):
        path, split = head, tail
    return Ref(text, scheme, Path(path).expanduser(), split)


def _unknown(text: str, scheme: str, has_colon: bool) -> str:
    near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=3, cutoff=0.5)
    if not has_colon or (not near and Path(text.partition(":")[0]).exists()):
        kinds = ", ".join(s.example for s in SCHEMES.values())
        return f"data '{text}' has no known kind in front; write e.g. folder:{text} (kinds: {kinds})"
    hint = f"did you mean {' or '.join(near)}?" if near else f"the kinds are {', '.join(SCHEMES)}"
    return f"data '{text}': unknown kind '{scheme}'; {hint}"


def list_refs() -> list[dict[str, str]]:
    """What ``robustseg list data`` shows: one dict a kind of data set."""
    extra = [{"ref": "street:fit", "summary": "other bundled street scenes, for what an attack must fit on"}]
    rows = [{"ref": s.example, "summary": s.summary} for s in SCHEMES.values()]
    rendered = [{"ref": "street:PATH", "summary": "a folder made by `robustseg scenes render`"}]
    return rows[:1] + extra + rendered + rows[1:]
