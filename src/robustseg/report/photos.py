"""The page of a board in photographs, real or pasted in: prints side by side. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustseg.errors import UserError
from robustseg.report.charts import Figure
from robustseg.report.load import interval, number, read_json
from robustseg.report.page import environment, write
from robustseg.report.pictures import Budget, css
from robustseg.report.svg import Point, Series, line_chart
from robustseg.report.text import percent, signed, span

__all__ = ["lines", "page"]

ORDER = ("clean", "repeat", "random", "grey", "optimised")
MEANS = {
    "repeat": "clean again", "random": "random print", "grey": "grey print", "optimised": "optimised print",
    "clean": "clean",
}  # fmt: skip
WORDS = {  # kind of summary -> what its page says
    "photos": {
        "title": "Photographs of a board", "unit": "places", "print": "print",
        "note": "Everything is measured against the prediction on the clean board from the same place: no truth is "
        "needed. Not counted: the board, what one of the photographs does not show, and pixels near borders between "
        "classes (tolerance: {tolerance} pixels).",
        "red": "on the clean board",
    },
    "placed": {
        "title": "A patch laid into photographs", "unit": "pictures", "print": "patch",
        "note": "The print is pasted over marked corners: no printer, no light of the place. Everything is measured "
        "against the prediction without a board, outside the board.",
        "red": "without a board",
    },
}  # fmt: skip
KINDS = {"repeat": "clean", "random": "noise", "grey": "attack", "optimised": "attack"}
STYLES = {"optimised": 1, "grey": 4}
STEPS = (0.05, 0.1, 0.2, 0.5, 1.0)
CLASSES_SHOWN = 8


def lines(found: Mapping[str, Any]) -> list[str]:
    """The table as text, one line a print, and the paired difference under it; another against labels, if any."""
    unit = WORDS[found["kind"]]["unit"]
    return [*_table(found, "changed", unit), *(_table(found["truth"], "wrong", unit) if found.get("truth") else ())]


def _table(found: Mapping[str, Any], share: str, unit: str) -> list[str]:
    against = "against the clean prediction" if share == "changed" else "against the labels"
    rows = [f"{against:30}{unit:>9}{share:>9}{'95 %':>14}{'mIoU':>8}"]
    for board in _boards(found):
        one = found["boards"][board]
        ci, miou = span(interval(one, share)), percent(one["mIoU"])
        rows.append(f"{MEANS[board]:30}{one['pictures']:>9}{percent(one[share]):>9}{ci:>14}{miou:>8}")
    gap = found["difference"]
    pair = interval(gap, share)
    text = f" (95 % {signed(pair[0])} to {signed(pair[1])})" if pair else ""
    rows.append(
        f"optimised minus random: {signed(gap[share])} points of {share} pixels{text}; more in {gap['more']} of "
        f"{gap['pictures']} {unit}"
    )
    return rows


def page(folder: str | Path) -> Path:
    """Write ``folder/report.html`` from what ``robustseg patch photos``, or ``evaluate`` of a patch, left there.

    The page needs no network and nothing beside it. Raises UserError where the summary is missing or of something else.
    """
    root = Path(folder)
    found = read_json(root / "summary.json")
    words = WORDS.get(str(found.get("kind")))
    if words is None:
        raise UserError(f"{root / 'summary.json'} is no summary of photographs; see robustseg patch photos")
    budget = Budget(root, 24_000_000)
    colours = found.get("palette") or {}
    html = environment().get_template("photos.html.j2").render(
        found=found,
        words=words,
        note=words["note"].format(tolerance=found.get("tolerance")),
        source=f"photographs {found['photos']}" if "photos" in found else f"pictures of {found['data']}",
        boards=_boards(found),
        means=MEANS,
        interval=interval,
        signed=signed,
        figures=[f for f in (_figure(found, "distance_m", "metres to the board"),
                             _figure(found, "angle_deg", "degrees off the board's normal")) if f],
        classes=_classes(found),
        legend=[(str(name), css(rgb)) for name, rgb in colours.items() if css(rgb)],
        cards=[_card(p, budget) for p in found["places"]],
        left_out=budget.left_out,
    )  # fmt: skip
    return write(root / "report.html", html)


def _boards(found: Mapping[str, Any]) -> list[str]:
    return [b for b in ORDER if b in found["boards"]]


def _figure(found: Mapping[str, Any], key: str, axis: str) -> Figure | None:
    """Changed pixels of every print over distance or angle; None where fewer than two values are known."""
    known = sorted({x for p in found["places"] if (x := number(p.get(key))) is not None})
    if len(known) < 2:
        return None
    series = []
    for board in _boards(found):
        at: dict[float, list[float]] = {}
        names: dict[float, list[str]] = {}
        for p in found["places"]:
            x, y = number(p.get(key)), number((p["boards"].get(board) or {}).get("changed"))
            if x is not None and y is not None:
                at.setdefault(x, []).append(y)
                names.setdefault(x, []).append(str(p["place"]))
        points = [
            Point(x, sum(ys) / len(ys), note=f"{MEANS[board]}, {', '.join(names[x])}: {percent(sum(ys) / len(ys))} %")
            for x, ys in sorted(at.items())
        ]
        if points:
            series.append(Series(MEANS[board], points, STYLES.get(board, 0), KINDS[board]))
    most = max((p.y for s in series for p in s.points), default=0.0)
    top = next(t for t in STEPS if most <= t)
    title = f"Changed pixels by {'distance' if key == 'distance_m' else 'angle'}"
    chart = line_chart(
        series, ticks=[(x, f"{x:g}") for x in known], title=title, x_title=axis, y_title="changed pixels in %",
        description="; ".join(f"{s.label}: {percent(s.points[-1].y)} % at the last" for s in series), top=top,
    )  # fmt: skip
    note = "Photographs from the same distance or angle are averaged." if len(known) < len(found["places"]) else ""
    return Figure(title, chart, series, note)


def _classes(found: Mapping[str, Any]) -> list[tuple[str, dict[str, Mapping[str, Any]]]]:
    """The classes that prints change most, with what became of them under each."""
    boards = found["boards"]
    every = dict.fromkeys(c for b in _boards(found) for c in boards[b]["classes"])

    def moved(name: str) -> float:
        one = boards["optimised"]["classes"].get(name) or {}
        return (number(one.get("gone")) or 0.0) * (number(one.get("share")) or 0.0) + (number(one.get("new")) or 0.0)

    chosen: Sequence[str] = sorted(every, key=moved, reverse=True)[:CLASSES_SHOWN]
    return [(name, {b: boards[b]["classes"].get(name) or {} for b in _boards(found)}) for name in chosen]


def _card(place: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """The pictures of one place, a column a print."""
    columns = []
    for board in ORDER:
        one = place["boards"].get(board)
        if one is None:
            continue
        stem = f"{place['pictures']}_{board}"
        shown = {
            "photo": budget.read(f"{stem}.png", rough=True),
            "labels": budget.read(f"{stem}.labels.png", flat=True),
            "changed": budget.read(f"{stem}.changed.png", rough=True) if board != "clean" else None,
        }
        columns.append({"board": board, "name": MEANS[board], "scores": one, **shown})
    return {"place": place, "columns": columns}
