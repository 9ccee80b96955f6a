"""The matrix of a transfer run, surrogate by victim, as Markdown and as a page. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robustseg.report.load import interval
from robustseg.report.page import environment, write
from robustseg.report.table import plain
from robustseg.report.text import percent, span

__all__ = ["lines", "markdown", "pages"]

NAMES = {"accuracy": "accuracy", "IoU_prompted": "IoU of prompts"}
NOTE = (
    "In %, with the 95 % interval; lower is better for the attacker. After the comma the loss as a share of "
    "what the strongest white-box attack of the run takes from this victim in the same ball. The diagonal is white-box."
)


def pages(folder: Path, found: Mapping[str, Any]) -> list[Path]:
    """Writes ``transfer.md`` and ``transfer.html`` beside ``transfer.json``."""
    text = folder / "transfer.md"
    text.write_text(markdown(found), encoding="utf-8")
    page = environment().get_template("transfer.html.j2").render(
        found=found, note=NOTE, score=NAMES.get(found["score"], found["score"]), tables=list(tables(found)),
    )  # fmt: skip
    return [text, write(folder / "transfer.html", page)]


def markdown(found: Mapping[str, Any]) -> str:
    """One table an attack: a line for the model that it was made on, a column for the model that is scored."""
    parts = [f"{NOTE} Score: {NAMES.get(found['score'], found['score'])}, {found['images']} images of {found['data']}."]
    for spec, rows in tables(found):
        head = [f"{spec}, made on", *(f"scored on {m}" for m in found["models"])]
        body = [[name, *(f"**{c['text']}**" if c["white"] else c["text"] for c in cells)] for name, cells in rows]
        table = [head, ["---", *["---:"] * (len(head) - 1)], *body]
        parts.append("\n".join("| " + " | ".join(plain(c) for c in row) + " |" for row in table))
    return "\n\n".join(parts) + "\n"


def tables(found: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, list[dict[str, Any]]]]]]:
    """``(spec, [(surrogate, cells)])`` of every attack but noise, whose line is the second of each table."""
    for spec, entry in found["attacks"].items():
        if entry["name"] != "noise":
            yield spec, lines(found, spec)


def lines(found: Mapping[str, Any], spec: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Clean, noise of the same ball where there is one, then a line a surrogate."""
    models, entry = found["models"], found["attacks"][spec]
    made = [("no attack", [_cell(c) for c in found["clean"]])]
    for other in found["attacks"].values():
        if other["name"] == "noise" and (other["eps"], other["norm"]) == (entry["eps"], entry["norm"]):
            made.append(("noise", [_cell(other["cells"][v][v]) for v in range(len(models))]))
    folders = found.get("folders")
    for a, model in enumerate(models):
        cells = [
            _cell(c, share=a != v, white=a == v, folder=folders[a][v] if folders else None)
            for v, c in enumerate(entry["cells"][a])
        ]
        made.append((model, cells))
    return made


def _cell(
    raw: Mapping[str, Any], *, share: bool = False, white: bool = False, folder: str | None = None
) -> dict[str, Any]:
    ci = span(interval({"ci95": {"score": raw.get("ci95")}}, "score"))
    text = percent(raw["score"]) + (f" ({ci})" if ci else "")
    if share and raw.get("carried") is not None:
        text += f", {100 * raw['carried']:.0f} %"
    return {"text": text, "white": white, "folder": folder}
