"""A training as a YAML file: what starts, on which data, attacked how. Everything else has a default."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustseg.data.resize import parse_size
from robustseg.errors import UserError

__all__ = ["CLEAN", "DEFAULT", "Distill", "Recipe", "Trades", "read"]

CLEAN = "clean"
# three of pgd's usual quarters would not cross the ball; PIR-AT (Croce et al., ECCV 2024) takes steps of 0.64 radii
DEFAULT = "pgd:eps=4/255,steps=3,step_size=eps/2"


@dataclass(frozen=True)
class Trades:
    """TRADES: clean cross-entropy + ``beta`` times the divergence of the attacked prediction from the clean one."""

    beta: float = 6.0


@dataclass(frozen=True)
class Distill:
    """Defensive distillation at a ``temperature``: towards a ``teacher``, or (without) hard labels at it."""

    temperature: float = 20.0
    teacher: str | None = None


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training; docs/train.md says what each means."""

    start: str
    data: str
    name: str = ""
    backbone: str | None = None
    fresh: bool = False
    attacks: tuple[str, ...] = ()
    share: float = 1.0
    trades: Trades | None = None
    distill: Distill | None = None
    validation: str | None = None
    held_out: int = 0
    class_map: str | None = None
    steps: int = 1000
    batch: int = 4
    accumulate: int = 1
    crop: tuple[int, int] = (128, 256)
    zoom: tuple[float, float] = (0.5, 1.5)
    stretch: float = 0.15
    jitter: float = 0.3
    aware: float = 0.0
    balance: float = 0.0
    heaviest: float = 4.0
    lr: float = 5e-4
    weight_decay: float = 0.05
    warmup: int = 50
    poly: float = 0.9
    clip: float = 1.0
    ema: float = 0.998
    precision: str = "float32"
    seed: int = 0
    half: bool = False
    licence: str = ""
    note: str = ""
    validate_every: int = 200
    validate_images: int = 16
    validate_attack: str = "pgd:eps=4/255,steps=10"
    path: Path = field(default=Path(), compare=False)

    @property
    def identity(self) -> str:
        """What a checkpoint belongs to: everything that decides the weights, as text."""
        told = ("path", "name", "half", "licence", "note", "validate_every", "validate_images", "validate_attack")
        return json.dumps({k: v for k, v in self.table().items() if k not in told}, sort_keys=True)

    def table(self) -> dict[str, Any]:
        """The recipe as a mapping that JSON and YAML can hold, without its path."""
        found = {k: v for k, v in dataclasses.asdict(self).items() if k != "path"}
        return json.loads(json.dumps(found))


NUMBERS = {"share": (0.0, 1.0), "aware": (0.0, 1.0), "ema": (0.0, 1.0)}
POSITIVE = ("steps", "batch", "accumulate", "lr", "clip", "validate_every", "validate_images", "heaviest")


def read(path: Path, changes: Mapping[str, str] | None = None) -> Recipe:
    """The recipe of a YAML file; ``changes`` replace values of its first level. Raises UserError for mistakes."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"no recipe {path} ({error.strerror}); see examples/train and docs/train.md") from error
    try:
        found = yaml.safe_load(text)
        found = {**(found or {}), **{k: yaml.safe_load(v) for k, v in (changes or {}).items()}}
    except (yaml.YAMLError, TypeError) as error:
        raise UserError(f"{path} is not a YAML mapping: {' '.join(str(error).split())[:160]}") from error
    recipe = dataclasses.replace(_made(Recipe, found, str(path)), path=path)
    _check(recipe, str(path))
    return recipe if recipe.name else dataclasses.replace(recipe, name=path.stem)


def _made(kind: Any, found: Any, where: str) -> Any:
    """An instance of a dataclass from a mapping, every key known and every value of its type."""
    if not isinstance(found, Mapping):
        raise UserError(f"{where}: wanted keys and values, got {found!r}")
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name != "path"}
    for key in found:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1, 0.5)
            hint = f" (did you mean {near[0]}?)" if near else f"; known: {', '.join(fields)}"
            raise UserError(f"{where}: unknown key {key!r}{hint}")
    needed = [f.name for f in fields.values() if f.default is dataclasses.MISSING and f.name not in found]
    if needed:
        raise UserError(f"{where}: {needed[0]} is missing; give it, e.g. {EXAMPLES[needed[0]]}")
    return kind(**{k: _value(str(fields[k].type), v, f"{where}: {k}") for k, v in found.items()})


EXAMPLES = {"start": "start: zoo:street-segformer", "data": "data: street:data/street"}


def _value(kind: str, value: Any, where: str) -> Any:
    """One value as its field wants it."""
    if value is None:
        if "None" in kind:
            return None
        raise UserError(f"{where} has no value; give one, or leave the line out")
    if kind.startswith(("Trades", "Distill")):
        made = Trades if kind.startswith("Trades") else Distill
        return _made(made, {} if value is True else value, where)
    try:
        if kind.startswith("tuple[str"):
            if isinstance(value, list) and all(isinstance(v, str) for v in value):
                return tuple(value)
            wanted = "a list of attacks, such as [pgd:eps=4/255, clean]"
            raise ValueError
        if kind.startswith("tuple[int"):
            wanted = "HEIGHTxWIDTH, such as 128x256"
            return parse_size("x".join(map(str, value)) if isinstance(value, list) else str(value))
        if kind.startswith("tuple[float"):
            wanted = "two positive numbers, such as [0.5, 1.5]"
            low, high = (float(v) for v in value)
            if not 0 < low <= high:
                raise ValueError
            return low, high
        if kind == "bool":
            wanted = "true or false"
            if not isinstance(value, bool):
                raise ValueError
            return value
        if kind == "int":
            wanted = "a whole number"
            if isinstance(value, bool) or int(value) != float(value) or int(value) < 0:
                raise ValueError
            return int(value)
        if kind == "float":
            wanted = "a number"
            if isinstance(value, bool):
                raise ValueError
            return float(value)  # YAML takes 1e-4 for a word
        wanted = "text"
        if not isinstance(value, str):
            raise ValueError
        return value
    except (ValueError, TypeError, UserError) as error:
        raise UserError(f"{where} = {value!r} is not {wanted}") from error


def _check(r: Recipe, where: str) -> None:
    for key in POSITIVE:
        if not getattr(r, key) > 0:
            raise UserError(f"{where}: {key} = {getattr(r, key)} must be positive")
    for key, (low, high) in NUMBERS.items():
        if not low <= getattr(r, key) <= high:
            raise UserError(f"{where}: {key} = {getattr(r, key)} must lie in [{low:g}, {high:g}]")
    if r.precision not in ("float32", "bfloat16"):
        raise UserError(f"{where}: precision = {r.precision!r}; wanted float32 or bfloat16")
    if r.trades and r.distill:
        raise UserError(f"{where}: trades and distill exclude each other; keep one")
    if r.trades and r.share < 1:
        raise UserError(f"{where}: trades attacks every image; leave share out")
    if r.distill and r.distill.temperature <= 0:
        raise UserError(f"{where}: temperature = {r.distill.temperature} must be positive")
    if r.warmup >= r.steps:
        raise UserError(f"{where}: warmup = {r.warmup} is not below steps = {r.steps}")
    if r.batch % r.accumulate:
        raise UserError(f"{where}: batch = {r.batch} cannot be taken in accumulate = {r.accumulate} equal parts")
    if r.validation and r.held_out:
        raise UserError(f"{where}: validation and held_out exclude each other; keep one")
    if r.trades and not r.trades.beta >= 0:
        raise UserError(f"{where}: beta = {r.trades.beta} must not be negative")
