"""Model references: ``scheme:rest?key=value&key=value``, and what their options mean."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robustseg.errors import UserError
from robustseg.models.prepare import IMAGENET

__all__ = ["NORMALISATIONS", "SCHEMES", "Options", "Ref", "near", "parse"]

SCHEMES = {
    "zoo": "zoo:NAME, a bundled model",
    "hf": "hf:PATH_OR_ID, a Hugging Face transformers model",
    "torchvision": "torchvision:NAME?weights=FILE",
    "timm": "timm:NAME?weights=FILE, a timm classifier",
    "smp": "smp:PATH, a segmentation_models_pytorch folder (save_pretrained)",
    "py": "py:FILE.py:FACTORY or py:package.module:FACTORY, your own code",
}
LONGEST = 16384  # pixels along a side; a longer one is a slip of the pen
NORMALISATIONS = {"imagenet": IMAGENET, "half": ((0.5,) * 3, (0.5,) * 3), "none": ((0.0,) * 3, (1.0,) * 3)}


@dataclass(frozen=True)
class Options:
    """The ``key=value`` part of a reference; every reader raises a `UserError` that names the key."""

    ref: str
    values: dict[str, str]

    def known(self, *keys: str) -> None:
        """Raise for a key that is not among ``keys``."""
        for key in self.values:
            if key not in keys:
                raise UserError(f"{self.ref}: unknown option {key!r}{near(key, keys)}; known: {', '.join(keys)}")

    def classes(self) -> tuple[str, ...] | None:
        """``classes=a,b,c`` or a file: one name a line, a JSON list, or a JSON object with ``classes``."""
        return self.names("classes")

    def names(self, key: str) -> tuple[str, ...] | None:
        """A list of class names, or a file of them as for ``classes``; of a JSON object the list under ``key``."""
        text = self.values.get(key)
        if text is None:
            return None
        if "," in text:
            return tuple(name.strip() for name in text.split(","))
        path = Path(text)
        if not path.is_file():
            raise UserError(f"{self.ref}: no {key} file {text}; give a file with one name a line, or {key}=a,b,c")
        content = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return tuple(line.strip() for line in content.splitlines() if line.strip())
        try:
            found = json.loads(content)
            return tuple(str(name) for name in (found[key] if isinstance(found, dict) else found))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{text} is not a JSON list of class names") from error

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """``mean=r,g,b&std=r,g,b``, or ``norm=imagenet|half|none``."""
        if "norm" in self.values:
            name = self.values["norm"]
            if name not in NORMALISATIONS:
                raise UserError(f"{self.ref}: norm={name} is unknown; known: {', '.join(NORMALISATIONS)}")
            return NORMALISATIONS[name]
        if ("mean" in self.values) != ("std" in self.values):
            raise UserError(f"{self.ref}: mean= and std= come together")
        if "mean" not in self.values:
            return None
        mean, std = (self._numbers(key) for key in ("mean", "std"))
        if len(mean) != len(std) or not all(std):
            raise UserError(f"{self.ref}: mean= and std= need as many numbers as channels, std none of them 0")
        return mean, std

    def size(self) -> tuple[int, int] | str | None:
        """``size=HxW``, or ``size=native`` for no resizing at all."""
        text = self.values.get("size")
        if text is None or text == "native":
            return text
        try:
            h, w = (int(n) for n in text.lower().split("x"))
        except ValueError as error:
            raise UserError(f"{self.ref}: size={text}; wanted HxW such as 512x1024, or native") from error
        if not (0 < h <= LONGEST and 0 < w <= LONGEST):
            raise UserError(f"{self.ref}: size={text}; both sides must lie between 1 and {LONGEST} pixels")
        return h, w

    def tiles(self) -> dict[str, int]:
        """``tiles=SIDE`` or ``tiles=SIDE/STRIDE``, in pixels; empty without."""
        text = self.values.get("tiles")
        if text is None:
            return {}
        parts = text.split("/")
        if len(parts) > 2 or not all(part.isdigit() for part in parts):
            raise UserError(f"{self.ref}: tiles={text}; wanted SIDE or SIDE/STRIDE in pixels, such as 128/96")
        return dict(zip(("side", "stride"), map(int, parts)))

    def integer(self, key: str) -> int | None:
        """A positive whole number."""
        text = self.values.get(key)
        if text is None:
            return None
        if not text.isdigit() or int(text) < 1:
            raise UserError(f"{self.ref}: {key}={text} is not a positive whole number")
        return int(text)

    def _numbers(self, key: str) -> tuple[float, ...]:
        try:
            return tuple(float(n) for n in self.values[key].split(","))
        except ValueError as error:
            raise UserError(f"{self.ref}: {key}={self.values[key]} are not numbers; wanted e.g. 0.5,0.5,0.5") from error


@dataclass(frozen=True)
class Ref:
    """A parsed reference."""

    text: str
    scheme: str
    path: str
    options: Options


def parse(text: str) -> Ref:
    """Take a reference apart; an unknown scheme is an error that lists the known ones.

    >>> r = parse("torchvision:fcn_resnet50?weights=w.pth&classes=road,sky")
    >>> r.scheme, r.path, r.options.classes()
    ('torchvision', 'fcn_resnet50', ('road', 'sky'))
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        known = "; ".join(SCHEMES.values())
        what = f"unknown kind of model {scheme!r}" if colon else f"{text!r} is no model reference"
        raise UserError(f"{what}{near(scheme, list(SCHEMES))}; known: {known}")
    path, _, query = rest.partition("?")
    if not path:
        raise UserError(f"{text!r} names nothing; wanted {SCHEMES[scheme]}")
    pairs = [part.partition("=") for part in query.split("&")] if query else []  # no URL: "+" and "%" mean themselves
    if not all(key and value for key, _, value in pairs):
        raise UserError(f"{text}: options look like ?key=value&key=value")
    values = {key: os.path.expanduser(value) for key, _, value in pairs}
    return Ref(text, scheme, os.path.expanduser(path), Options(text, values))


def near(word: str, known: Sequence[str]) -> str:
    """``" (did you mean ...?)"``, or nothing.

    >>> near("street-unt", ["street-unet", "camvid-deeplab"])
    ' (did you mean street-unet?)'
    """
    found = difflib.get_close_matches(word, known, 3, 0.5)
    return f" (did you mean {', '.join(found)}?)" if found else ""
