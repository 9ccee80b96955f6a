"""Several models attacked together: a folder a member, each an ordinary run, and one summary over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustseg.errors import UserError
from robustseg.evaluation.files import slug, write_json
from robustseg.evaluation.store import NAME

if TYPE_CHECKING:
    from robustseg.evaluation.job import Job

__all__ = ["FOLDER", "folders", "one_kind", "plain", "summary", "write"]

FOLDER = "members"
SHARED = ("data", "images", "requested", "seed")


def folders(out: Path, refs: Sequence[str]) -> list[Path]:
    """Where the rows of each member go.

    >>> [str(f) for f in folders(Path("runs/a"), ["zoo:street-unet", "hf:nets/b"])]
    ['runs/a/members/1-zoo_street-unet', 'runs/a/members/2-hf_nets_b']
    """
    return [out / FOLDER / f"{n}-{slug(ref)}"[:80] for n, ref in enumerate(refs, 1)]


def one_kind(out: Path, models: int) -> None:
    """Raises UserError where ``out`` holds a run on one model and several are asked for, or the other way round."""
    if models < 1:
        raise UserError("no model was given; pass one, or a list of several")
    if (out / (NAME if models > 1 else FOLDER)).exists():
        had, now = ("one model", "several") if models > 1 else ("several models", "one")
        raise UserError(f"{out} holds a run on {had} and this one is on {now}; choose another --out")


def summary(folders: Sequence[str], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ``summary.json`` over the members: ``"models"``, the summary of each with the ``folder`` it is of.

    ``mean_over_models``: per attack the mean over the members of each score of pixels.
    """
    first = found[0]
    attacks: dict[str, Any] = {}
    for spec in first["attacks"]:
        entries = [s["attacks"][spec] for s in found if spec in s["attacks"]]
        attacks[spec] = {
            name: sum(values) / len(values)
            for name in ("aAcc", "mIoU", "ASR")
            if len(values := [e[name] for e in entries if e.get(name) is not None]) == len(found)
        }
    return {
        **{name: first.get(name) for name in SHARED},
        "models": [{"folder": f, **s} for f, s in zip(folders, found, strict=True)],
        "mean_over_models": attacks,
        "failed": sum(s["failed"] for s in found),
        "violations": sum(s["violations"] for s in found),
        "cautions": list(dict.fromkeys(f"{s['model']}: {c}" for s in found for c in s["cautions"])),
    }


def plain(job: Job) -> list[str]:
    """What to say where SAGA finds no attention to weigh its gradients with."""
    asked = [p for p in job.attacks if getattr(p.attack, "params", {}).get("rollout") == "auto"]
    models = getattr(asked[0].attack, "models", (job.model,)) if asked else ()
    if not asked or any("attention" in getattr(m, "gives", ()) for m in models):
        return []
    return [f"{asked[0].attack.name}: no model has self-attention, so there is no rollout; gradients are balanced only"]


def write(out: Path, folders: Sequence[Path], found: Sequence[Mapping[str, Any]], info: Mapping[str, Any]) -> dict:
    """Writes ``out/summary.json`` and ``out/run.json`` over the members' own, and returns the summary."""
    names = [str(f.relative_to(out)) for f in folders]
    made = summary(names, found)
    keep = {name: value for name, value in info.items() if name not in ("model", "member")}
    write_json(out / "run.json", {**keep, "folders": names})
    write_json(out / "summary.json", made)
    return made
