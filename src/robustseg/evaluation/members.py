"""Several models attacked together: a folder a member, each an ordinary run, and one summary over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustseg.evaluation.files import slug, write_json

__all__ = ["FOLDER", "folders", "summary", "write"]

FOLDER = "members"
SHARED = ("data", "images", "requested", "seed")


def folders(out: Path, refs: Sequence[str]) -> list[Path]:
    """Where the rows of each member go.

    >>> [str(f) for f in folders(Path("runs/a"), ["zoo:street-unet", "hf:nets/b"])]
    ['runs/a/members/1-zoo_street-unet', 'runs/a/members/2-hf_nets_b']
    """
    return [out / FOLDER / f"{n}-{slug(ref)}"[:80] for n, ref in enumerate(refs, 1)]


def summary(folders: Sequence[str], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ``summary.json`` over the members: ``"models"``, the summary of each with the ``folder`` it is of.

    ``attacks``: per attack the mean over the members of the scores of pixels, and the lowest of them (a perturbation
    fools the ensemble where it fools every member).
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


def write(out: Path, folders: Sequence[Path], found: Sequence[Mapping[str, Any]], info: Mapping[str, Any]) -> dict:
    """Writes ``out/summary.json`` and ``out/run.json`` over the members' own, and returns the summary."""
    names = [str(f.relative_to(out)) for f in folders]
    made = summary(names, found)
    keep = {name: value for name, value in info.items() if name not in ("model", "member")}
    write_json(out / "run.json", {**keep, "folders": names})
    write_json(out / "summary.json", made)
    return made
