"""Data references as typed on the command line: ``SCHEME:PATH:SPLIT``. Standard library only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from robustseg.errors import UserError

__all__ = ["SCHEMES", "Ref", "Scheme", "fit_splits", "list_refs", "parse"]


@dataclass(frozen=True)
class Scheme:
    """One kind of data set: its reader module, an example, what it is, and the splits that attacks may fit on.

    ``options``: words that may follow as ``?word=value``.
    """

    name: str
    module: str
    example: str
    summary: str
    fit_splits: tuple[str, ...]
    options: tuple[str, ...] = ()


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
            "coco",
            "coco",
            "coco:PATH:panoptic_val2017",
            "COCO panoptic, 133 classes; any COCO annotations: coco:FILE.json?images=DIR",
            (),
            ("images", "masks"),
        ),
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
        Scheme(
            "street-crops",
            "street_crops",
            "street-crops:val",
            "object crops of street scenes, one label each, for classifiers",
            ("fit", "train"),
        ),
        Scheme(
            "imagefolder",
            "imagefolder",
            "imagefolder:PATH",
            "PATH/CLASS/*.png|jpg, one label an image, for classifiers",
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
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

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
    if scheme in ("street", "street-crops") and rest in BUNDLED:
        return Ref(text, scheme, None, rest)
    rest, options = _options(text, scheme, rest)
    path, split = rest, None
    head, _, tail = rest.rpartition(":")
    if head and re.fullmatch(r"[\w.-]+", tail):
        path, split = head, tail
    return Ref(text, scheme, Path(path).expanduser(), split, options)


def fit_splits(ref: Ref) -> tuple[str, ...]:
    """The splits of the same data set that an attack may fit on; COCO's stand in the names of its annotation files.

    >>> fit_splits(parse("coco:data/coco:panoptic_val2017"))
    ('panoptic_train2017',)
    """
    if ref.scheme == "coco" and ref.split is not None:
        return (re.sub("val|test-dev|test", "train", ref.split),)
    return SCHEMES[ref.scheme].fit_splits


def _options(text: str, scheme: str, rest: str) -> tuple[str, dict[str, str]]:
    """``FILE?word=value&word=value`` -> file and options, for the kinds that have any."""
    known = SCHEMES[scheme].options
    if not known or "?" not in rest:
        return rest, {}
    path, _, words = rest.partition("?")
    options = {}
    for word in words.split("&"):
        name, equals, value = word.partition("=")
        if name not in known or not equals or not value:
            raise UserError(
                f"data '{text}': '{word}' is no option of {scheme}; write ?{known[0]}=DIR; known: {', '.join(known)}"
            )
        options[name] = value
    return path, options


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
    instances = {"ref": "coco:PATH:instances_val2017", "summary": "COCO instances, 80 object classes"}
    after = next(i for i, row in enumerate(rows) if row["ref"].startswith("coco:")) + 1
    return rows[:1] + extra + rendered + rows[1:after] + [instances] + rows[after:]
