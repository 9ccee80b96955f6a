"""The command lines that make a run, one of its images and its page again, from what the run recorded."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from robustseg.report.load import Entry, Run
from robustseg.report.specs import eps_value

__all__ = ["again", "commands"]

VALUES = ("defense", "adaptive", "count", "region", "class_map", "fit_data", "window")


def commands(run: Run, kept: tuple[str, str] | None) -> list[tuple[str, str]]:
    """What a line does, and the line; ``kept`` is an image and an attack whose picture the page shows."""
    folder = str(run.folder)
    made = [("Make the run again; in the same folder it continues where rows are missing", shlex.join(again(run)))]
    if kept:
        line = shlex.join(["robustseg", "replay", folder, *kept])
        made.append(("Make one adversarial image again and check it against its row", line))
    made.append(("Export every row", shlex.join(["robustseg", "export", folder, "--to", "csv"])))
    made.append(("Draw this page again", shlex.join(["robustseg", "report", folder])))
    return made


def again(run: Run) -> list[str]:
    """The words of the ``robustseg evaluate`` that gives these rows; the recorded ``argv`` where there is one."""
    config: Mapping[str, Any] = {**run.info, **run.config}
    argv = config.get("argv")
    if isinstance(argv, list) and argv:
        return [str(word) for word in argv]
    summary = run.summary
    models, out = config.get("models") or [summary.get("model")], run.folder
    if config.get("models"):  # this folder, OUT/members/N-NAME, is about one of several
        out = run.folder.resolve().parent.parent
    words = ["robustseg", "evaluate", *(w for m in models for w in ("--model", str(m)))]
    words += ["--data", str(summary.get("data"))]
    words += attacks(run.entries)
    words += ["--seed", str(summary.get("seed") or 0)]
    requested = summary.get("requested") or summary.get("images")
    words += ["--limit", str(requested)] if requested else []
    size = config.get("resize")
    words += ["--resize", "x".join(map(str, size))] if size else []
    for name in VALUES:
        if isinstance(value := config.get(name), str | int) and not isinstance(value, bool):
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--eot-samples", str(config["draws"])] if config.get("draws") else []
    words += ["--eight-bit"] if config.get("eight_bit") else []
    words += ["--no-early-stop"] if config.get("early_stop") is False else []
    words += ["--batch-size", str(config["batch_size"])] if config.get("batch_size") else []
    words += ["--keep", str(config["keep"])] if config.get("keep") else []
    return [*words, "--out", str(out)]


def attacks(entries: Sequence[Entry]) -> list[str]:
    """``--attack`` words: noise joins by itself, members come with their ensemble, a common list of ε is said once."""
    members = {m for e in entries for m in e.raw.get("members") or ()}
    asked = [e for e in entries if not e.spec.noise and e.spec.text not in members]
    balls = {e.spec.family: [o.spec.eps_text for o in asked if o.spec.family == e.spec.family] for e in asked}
    texts = list(balls.values())
    if texts and all(b == texts[0] and None not in b and len(set(b)) == len(b) for b in texts):
        words = [w for family in balls for w in ("--attack", family)]
        return [*words, "--eps", ",".join(sorted(map(str, texts[0]), key=lambda t: eps_value(t) or 0.0))]
    return [w for e in asked for w in ("--attack", e.spec.text)]
