"""The bundled models: what there is, their cards, and how to load them."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.models.refs import Options, Ref, near

__all__ = ["card", "facts_of", "folders", "list", "load", "load_folder"]

WHEEL = Path(__file__).resolve().parents[1] / "zoo"
CHECKOUT = Path(__file__).resolve().parents[3] / "weights-nc"  # non-commercial weights stay outside the wheel


def folders() -> dict[str, Path]:
    """Name to folder, of every complete model (configuration, weights and facts)."""
    needed = ("config.json", "model.safetensors", "robustseg.json")
    return {
        path.name: path
        for root in (CHECKOUT, WHEEL)
        if root.is_dir()
        for path in sorted(root.iterdir())
        if all((path / name).is_file() for name in needed)
    }


def list() -> builtins.list[dict[str, Any]]:
    """One dictionary a model: ``name, ref, path`` and everything of its robustseg.json."""
    return [
        {"name": name, "ref": f"zoo:{name}", "path": str(path), **facts_of(path)}
        for name, path in sorted(folders().items())
    ]


def card(name: str) -> str:
    """The model's README: data, recipe, licence, scores and how they were measured."""
    path = _folder(name) / "README.md"
    if not path.is_file():
        raise UserError(f"zoo:{name} has no card")
    return path.read_text(encoding="utf-8")


def load(ref: Ref) -> Any:
    """``zoo:NAME``."""
    ref.options.known()
    return load_folder(_folder(ref.path), ref.text)


def load_folder(folder: Path, text: str = "") -> Any:
    """The model of a folder laid out like those of the zoo; ``text``: how its reference is written."""
    facts, text = facts_of(folder), text or str(folder)
    options = Options(text, {})
    adapter = facts.get("adapter")
    if adapter == "hf":
        from robustseg.models import huggingface

        return huggingface.load_folder(str(folder), options, text, facts)
    if adapter == "smp":
        from robustseg.models import smp

        return smp.load_folder(folder, options, text, facts)
    if adapter == "maskrcnn":
        from robustseg.models import maskrcnn

        return maskrcnn.load_folder(folder, options, text, facts)
    if adapter == "timm":
        from robustseg.models import timm

        return timm.load_folder(folder, options, text, facts)
    raise UserError(f"{folder / 'robustseg.json'}: adapter {adapter!r} is unknown; wanted hf, smp, timm or maskrcnn")


def facts_of(folder: Path) -> dict[str, Any]:
    """What robustseg.json says, or nothing where there is none."""
    path = Path(folder) / "robustseg.json"
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})") from error
    if not isinstance(facts, dict):
        raise UserError(f"{path} is not a JSON object")
    return facts


def _folder(name: str) -> Path:
    known = folders()
    if name not in known:
        there = ", ".join(sorted(known)) or "none (a checkout has them after training: see recipes/)"
        raise UserError(f"the zoo has no {name!r}{near(name, sorted(known))}; it has: {there}")
    return known[name]
