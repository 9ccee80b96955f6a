"""Reads what a run left in its folder into one frozen value, and says in one line what is missing or broken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.report.specs import Spec, eps_value, parse
from robustseg.report.text import number, thousands

__all__ = ["Entry", "Run", "entries", "load", "number", "read_json", "read_summary"]


@dataclass(frozen=True)
class Entry:
    """The line of one attack in ``summary.json``; shares in [0, 1], None where a number does not exist."""

    spec: Spec
    raw: Mapping[str, Any]

    def get(self, name: str) -> float | None:
        """A number of the line by name, None when absent or not finite."""
        return number(self.raw.get(name))

    def ci(self, name: str) -> tuple[float, float] | None:
        """The 95 % interval of a score."""
        return interval(self.raw, name)

    @property
    def planned(self) -> float | None:
        """Backward passes that the attack may spend on an image."""
        budget = self.raw.get("budget")
        if isinstance(budget, Mapping):
            return number(budget.get("backwards"))
        if isinstance(budget, Sequence) and len(budget) == 2:
            return number(budget[1])
        return number(budget)

    @property
    def budget_text(self) -> str:
        """The planned passes, forwards + backwards."""
        budget = self.raw.get("budget")
        pair = list(budget.values()) if isinstance(budget, Mapping) else budget
        if isinstance(pair, Sequence) and len(pair) == 2:
            return " + ".join(thousands(v) for v in pair)
        return thousands(budget)

    @property
    def small(self) -> str:
        """What stands in small print after the name: options, members, that it is only a baseline."""
        if self.spec.noise:
            return "baseline, no attack"
        members = self.raw.get("members")
        if isinstance(members, Sequence) and members:
            return f"worst of {len(members)} attacks"
        options = self.spec.family.partition(":")[2]
        return ", ".join(o for o in (self.hides, options.replace(",", ", ")) if o)

    @property
    def hides(self) -> str:
        """``class=person`` of an attack that hides a class which its text does not name, being the default."""
        target = self.raw.get("target")
        name = target.get("class") if isinstance(target, Mapping) else None
        return f"class={name}" if name and f"class={name}" not in self.spec.text else ""

    @property
    def targeted(self) -> bool:
        """It has a goal: its own score is not the share of wrong pixels."""
        return bool(self.raw.get("target") or self.table("extra"))

    @property
    def problems(self) -> str:
        """How many images failed or broke the rules, in words; empty when none."""
        bad, broke = self.count("failed"), self.count("violations")
        said = [f"{bad} failed" if bad else "", f"{broke} violation{'s' if broke > 1 else ''}" if broke else ""]
        return ", ".join(s for s in said if s)

    def count(self, name: str) -> int:
        """A count, 0 when absent."""
        return int(self.get(name) or 0)

    def table(self, name: str) -> dict[str, float | None]:
        """A small table such as ``IoU`` (by class), ``recall`` (by size) or ``extra``; nested values are left out."""
        return numbers(self.raw.get(name))


@dataclass(frozen=True)
class Run:
    """All that a report needs: ``summary``, ``config`` (run.json), ``pictures`` (INDEX.json) and the newest request.

    Of the request: ``rows`` by spec ("" for the clean images), ``keys`` by spec, their ``configs`` by key, ``info``.
    """

    folder: Path
    summary: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """The model, and what stands in front of it."""
        model, defense = self.summary.get("model", "?"), self.summary.get("defense")
        return f"{model} behind {defense}" if defense else str(model)

    @property
    def together(self) -> tuple[str, ...]:
        """The models that its attacks were made on at once; empty where it was this one alone."""
        models = self.info.get("models")
        return tuple(map(str, models)) if isinstance(models, list) and len(models) > 1 else ()

    @property
    def entries(self) -> list[Entry]:
        """The attacks, in the order of the summary."""
        return entries(self.summary)


def numbers(table: Any) -> dict[str, float | None]:
    """The flat numbers of a JSON table, None kept where the value is null or not finite."""
    if not isinstance(table, Mapping):
        return {}
    return {str(k): number(v) for k, v in table.items() if v is None or isinstance(v, int | float)}


def interval(raw: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """The interval ``ci95[name]`` as (low, high)."""
    pair = raw.get("ci95")
    pair = pair.get(name) if isinstance(pair, Mapping) else None
    if not isinstance(pair, Sequence) or len(pair) != 2:
        return None
    low, high = number(pair[0]), number(pair[1])
    return None if low is None or high is None else (low, high)


def entries(summary: Mapping[str, Any]) -> list[Entry]:
    """The attacks of a summary, in its order; its own ``eps`` and ``norm`` count more than what their text says."""
    found = []
    for text, raw in summary["attacks"].items():
        spec = parse(text)
        if isinstance(eps := raw.get("eps"), str):
            spec = replace(spec, eps_text=eps, eps=eps_value(eps))
        if isinstance(norm := raw.get("norm"), str):
            spec = replace(spec, norm=norm)
        if isinstance(region := raw.get("region"), str):
            spec = replace(spec, region=region)
        found.append(Entry(spec, raw))
    return found


def read_json(path: Path, *, required: bool = True) -> dict[str, Any]:
    """A JSON object from a file. Raises UserError with the file's name when it is missing or not an object."""
    if not path.exists() and not required:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} the --out folder of `robustseg evaluate`?") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); run `robustseg evaluate` again") from None
    except ValueError as problem:
        raise UserError(f"{path} is not valid JSON ({problem}); run `robustseg evaluate` again to rewrite it") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object; run `robustseg evaluate` again to rewrite it")
    return value


def read_summary(folder: Path) -> dict[str, Any]:
    """``summary.json`` of a run, with the parts that every page needs checked."""
    path = Path(folder) / "summary.json"
    summary = read_json(path)
    attacks = summary.get("attacks")
    parts = summary.get("models")
    if isinstance(parts, list) and parts:
        named = ", ".join(str(path.parent / str(p.get("folder"))) for p in parts if isinstance(p, dict))
        raise UserError(f"{folder} is about several models; give the folder of one: {named}")
    good = isinstance(attacks, dict) and all(isinstance(a, dict) for a in attacks.values())
    if not good or not isinstance(summary.get("clean"), dict):
        raise UserError(f'{path} lacks a table "clean" or "attacks"; run `robustseg evaluate` again to rewrite it')
    return summary


def load(folder: str | Path) -> Run:
    """Everything that an evaluation left in ``folder``. Raises UserError on missing or broken files."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the --out folder of `robustseg evaluate`")
    summary = read_summary(folder)
    return Run(
        folder,
        summary,
        read_json(folder / "run.json", required=False),
        read_json(folder / "pictures" / "INDEX.json", required=False),
        **read_store(folder),
    )


def read_store(folder: Path) -> dict[str, Any]:
    """What the newest request of ``store.sqlite`` asked for: rows, keys, configurations, recorded facts."""
    from robustseg.evaluation import store

    found = store.read(folder)
    if not found.runs:
        return {}
    asked = found.runs[-1]
    keys = {"": asked.clean, **asked.attacks}
    wanted = set(asked.images)
    rows = {s: [r for i, r in found.rows.get(k, {}).items() if i in wanted] for s, k in keys.items()}
    configs = {k: found.keys.get(k, {}) for k in keys.values()}
    return {"rows": rows, "keys": keys, "configs": configs, "info": asked.info}
