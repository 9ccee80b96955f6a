"""Certificates as a table for the terminal and as Markdown, in %. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robustseg.report.text import percent

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["HEAD", "lines", "markdown", "table"]

HEAD = ("certificate", "patch", "certified", "right", "mIoU ≥", "mIoU", "aAcc", "passes")
WORDS = 2  # columns that are no numbers


def lines(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The model without masks, then a line a certificate: what is certified, and what it costs without any patch."""
    clean = found["clean"]
    made: list[tuple[str, ...]] = [("none", "", "–", "–", "–", percent(clean["mIoU"]), percent(clean["aAcc"]), "1")]
    for one in found["certificates"].values():
        sides = ", ".join("x".join(map(str, side)) for side in one["sides"])
        shares = (percent(one[n]) for n in ("certified", "certified_right", "certified_mIoU", "mIoU", "aAcc"))
        patch = sides if one["patch"] == sides else f"{one['patch']}: {sides}"
        made.append((f"{one['mode']}, {one['layout']}", patch, *shares, str(one["passes"])))
    return made


def markdown(found: Mapping[str, Any]) -> str:
    """The same for a page."""
    rows = [HEAD, ("---",) * WORDS + ("---:",) * (len(HEAD) - WORDS), *lines(found)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def table(found: Mapping[str, Any]) -> Table:
    """A rich Table."""
    from rich import box
    from rich.table import Table

    caption = f"{found['model']}, {found['images']} images of {found['data']}; in %. Certified: a patch of this size, "
    caption += "anywhere, cannot change the class (detection: not without an alarm there)"
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), caption=caption, caption_justify="left")
    for i, name in enumerate(HEAD):
        made.add_column(name, justify="left" if i < WORDS else "right", no_wrap=True)
    for row in lines(found):
        made.add_row(*row)
    return made
