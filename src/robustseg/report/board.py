"""The page of a billboard's patch: the drive in pictures, the table with intervals, charts. Never imports torch."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.report.charts import Figure
from robustseg.report.load import interval, number, read_json
from robustseg.report.page import environment, write
from robustseg.report.pictures import css, encode
from robustseg.report.svg import Point, Series, line_chart
from robustseg.report.text import percent, signed, span

__all__ = ["lines", "page"]

MEANS = {"clean": "own poster", "random": "random texture", "grey": "grey", "optimised": "optimised patch"}
SHOWN = (("random", "noise", 0), ("grey", "attack", 4), ("optimised", "attack", 1))
STEPS = (0.05, 0.1, 0.2, 0.5, 1.0)
LARGEST = 4_000_000  # bytes of the animation; ours stay below one million


def lines(found: Mapping[str, Any]) -> list[str]:
    """The table as text: every texture warped and rendered again, and the optimised minus the random one."""
    scores = ["mIoU", "changed", *(["PQ"] if _has_pq(found) else [])]
    cell = "".join(f"{name:>9}" for name in scores)
    rows = [
        f"{'':24}{'warped':>{len(cell)}}  {'rendered':>{len(cell)}}",
        f"{'outside the board, in %':24}{cell}  {cell}",
    ]
    for name in _textures(found):
        warped, rendered = ("".join(f"{percent(found[d][name].get(s)):>9}" for s in scores) for d in _domains())
        rows.append(f"{MEANS[name]:24}{warped}  {rendered}")
    for domain, word in zip(_domains(), ("warped", "rendered again")):
        rows.append(f"optimised minus random, {word}: " + "; ".join(_gap(found["difference"][domain], scores)))
    return rows


def _gap(gap: Mapping[str, Any], scores: list[str]) -> Iterator[str]:
    for name in scores:
        pair = interval(gap, name)
        text = f" (95 % {signed(pair[0])} to {signed(pair[1])})" if pair else ""
        yield f"{name} {signed(gap.get(name))} points{text}"


def page(folder: str | Path) -> Path:
    """Write ``folder/report.html`` from what ``robustseg patch evaluate`` left there, and return its path.

    The page needs no network and nothing beside it. Raises UserError where the summary is missing or of something else.
    """
    root = Path(folder)
    found = read_json(root / "summary.json")
    if found.get("kind") != "board":
        raise UserError(f"{root / 'summary.json'} is no summary of a billboard; run: robustseg patch evaluate {root}")
    patch = root / "patch.png"
    html = environment().get_template("board.html.j2").render(
        found=found, means=MEANS, textures=_textures(found), pq=_has_pq(found), interval=interval, signed=signed,
        span=span, drive=_animation(root / "drive.webp"),
        patch=encode(patch, flat=True)[0] if patch.is_file() else None,
        figures=[f for f in (_rings(found), *(_over(found, *what) for what in OVER)) if f],
        legend=[(str(name), css(rgb)) for name, rgb in (found.get("palette") or {}).items() if css(rgb)],
        commands=_commands(found, root),
    )  # fmt: skip
    return write(root / "report.html", html)


OVER = (
    ("distance_m", "Changed pixels by distance to the board", "metres to the board"),
    ("angle_deg", "Changed pixels by angle", "degrees off the board's normal"),
)


def _domains() -> tuple[str, str]:
    return "warp", "rerendered"


def _textures(found: Mapping[str, Any]) -> list[str]:
    return [name for name in MEANS if name in found["rerendered"]]


def _has_pq(found: Mapping[str, Any]) -> bool:
    return number(found["rerendered"]["clean"].get("PQ")) is not None


def _chart(title: str, axis: str, curves: Mapping[str, list[tuple[float, str, float]]], note: str) -> Figure | None:
    """Shares of changed pixels, a line a texture; ``curves``: (x, tick, y) of each; the warped patch is dashed."""
    series = []
    for name, kind, style in (*SHOWN, ("warped", "attack", 7)):
        label = "optimised patch, warped" if name == "warped" else MEANS.get(name, name)
        points = [Point(x, y, note=f"{label}, {tick}: {percent(y)} %") for x, tick, y in curves.get(name, [])]
        if points:
            series.append(Series(label, points, style, kind))
    ticks = sorted({(x, tick) for many in curves.values() for x, tick, _ in many})
    if len(ticks) < 2:
        return None
    most = max(p.y for s in series for p in s.points)
    chart = line_chart(
        series, ticks=ticks, title=title, x_title=axis, y_title="changed pixels in %",
        description="; ".join(f"{s.label}: {percent(s.points[-1].y)} % at the last" for s in series),
        top=next(t for t in STEPS if most <= t),
    )  # fmt: skip
    return Figure(title, chart, series, note)


def _curves(many: list[tuple[float, str, Mapping[str, Any]]]) -> dict[str, list[tuple[float, str, float]]]:
    """``(x, tick, scores of both domains)`` as the lines of a chart."""
    found: dict[str, list[tuple[float, str, float]]] = {}
    for x, tick, by in many:
        for name, domain, texture in (*((n, "rerendered", n) for n, _, _ in SHOWN), ("warped", "warp", "optimised")):
            y = number((by[domain].get(texture) or {}).get("changed"))
            if y is not None:
                found.setdefault(name, []).append((x, tick, y))
    return found


def _rings(found: Mapping[str, Any]) -> Figure | None:
    def of(k: int) -> dict[str, Any]:
        return {d: {n: s["rings"][k] for n, s in found[d].items()} for d in _domains()}

    rings = found["rerendered"]["clean"]["rings"]
    ticks = [f"{r['from']}–{r['to']}" if r["to"] is not None else f"over {r['from']}" for r in rings]
    curves = _curves([(float(k), tick, of(k)) for k, tick in enumerate(ticks)])
    note = "All poses together. Pixels of the frame between a pixel and the board's edge."
    return _chart("Changed pixels by distance in the picture", "pixels from the board", curves, note)


def _over(found: Mapping[str, Any], key: str, title: str, axis: str) -> Figure | None:
    known = [(float(round(x)), f"{x:.0f}", p) for p in found["poses"] if (x := number(p.get(key))) is not None]
    curves = {}
    for name, many in _curves(sorted(known, key=lambda k: k[0])).items():
        at: dict[tuple[float, str], list[float]] = {}
        for x, tick, y in many:
            at.setdefault((x, tick), []).append(y)
        curves[name] = [(x, tick, sum(ys) / len(ys)) for (x, tick), ys in at.items()]
    return _chart(title, axis, curves, "Poses alike to a whole number are averaged.")


def _animation(path: Path) -> str | None:
    """The drive as a data URI; None where it is missing, too large or no WebP."""
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def _commands(found: Mapping[str, Any], root: Path) -> list[str]:
    """What makes this page again."""
    about = found["about"]
    fit = ["robustseg", "patch", "optimise", "--scene", about["scene"], "--model", about["model"]]
    fit += [
        "--seed",
        about["seed"],
        "--attack",
        about["given"],
        "--texels",
        about["texture"][1],
        "--out",
        found["folder"],
    ]
    fit += ["--fast"] * bool(about.get("fast"))
    judge = ["robustseg", "patch", "evaluate", found["folder"], *(["--fast"] * bool(found.get("fast")))]
    judge += ["--out", root] * (Path(found["folder"]).resolve() != root.resolve())
    judge += ["--model", found["model"]] * (found["model"] != about["model"])
    return [shlex.join(map(str, words)) for words in (fit, judge)]
