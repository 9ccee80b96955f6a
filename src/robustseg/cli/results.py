"""Commands on finished runs: join them, read them, compare them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from robustseg.cli.app import Json, app
from robustseg.terminal import scored


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of the shards.")],
    out: Annotated[Path, typer.Option(help="Folder of the whole run.")],
    json: Json = False,
) -> int:
    """Join the shards of a run into exactly the rows of one run.

    Example: `robustseg merge runs/part1 runs/part2 --out runs/whole`
    """
    from robustseg.evaluation.merge import merge as go
    from robustseg.evaluation.merge import without_pictures

    code = scored(go(folders, out=out), out, json)
    print("\n".join(without_pictures(folders, out)), end="", file=sys.stderr)
    return code


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown instead.")] = False,
) -> None:
    """Write FOLDER/report.html, one self-contained page.

    Example: `robustseg report runs/first`
    """
    if markdown:
        from robustseg.report.page import markdown as text

        print(text(folder), end="")
        return
    from robustseg.report.page import report as go

    print(go(folder))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of two or more runs.")],
    out: Annotated[Path | None, typer.Option(help="File or folder for the page.")] = None,
) -> None:
    """Put runs side by side on one page, with a warning where they are not comparable.

    Example: `robustseg compare runs/unet runs/segformer --out compare.html`
    """
    from robustseg.report.compare import compare as go

    print(go(folders, out))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    to: Annotated[str, typer.Option(help="csv or parquet.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File to write.")] = None,
) -> None:
    """Write every row of a run as a table.

    Example: `robustseg export runs/first --to parquet`
    """
    from robustseg.report.export import export as go

    print(go(folder, to, out))  # type: ignore[arg-type]
