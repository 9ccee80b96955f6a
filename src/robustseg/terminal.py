"""What every command shares: progress bars on stderr, JSON on stdout, one line for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from robustseg.errors import UserError

__all__ = ["bar", "emit", "guarded", "listed", "scored", "tabled"]

INTERRUPTED = 130
CONTINUE = "interrupted; what is in the store stays: run the same command again to continue"


def emit(value: Any) -> None:
    """JSON on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


@contextmanager
def bar(text: str, unit: str = "") -> Iterator[Callable[[float, float, str], None]]:
    """A progress bar on stderr, plain silence where that is no terminal; yields ``progress(done, total, text)``."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(text, total=None)

        def progress(done: float, total: float, text: str) -> None:
            shown.update(task, completed=done, total=total or None, description=text)

        yield progress


def scored(summary: dict[str, Any], out: Path, json: bool) -> int:
    """Print a summary as a table or as JSON; the exit code."""
    bad = summary["failed"] + summary["violations"]
    if json:
        emit(summary)
    else:
        from rich.console import Console

        from robustseg.report.distances import lines
        from robustseg.report.table import fits, goals, table

        for part in summary.get("models", [summary]):
            if part is not summary:
                print(part["model"])
            Console().print(table(part))
            if part.get("defense"):
                print(f"behind {part['defense']}, attacks with --adaptive {part['adaptive']}")
            for line in [*goals(part), *lines(part), *fits(part)]:
                print(line)
        print(f"{out / 'summary.json'}; a page of it: robustseg report {out}")
    for caution in summary.get("cautions", ()):
        print(f"warning: {caution}", file=sys.stderr)
    if bad:
        print(f"warning: {bad} rows failed or broke the rules; see the table and {out}", file=sys.stderr)
    return 1 if bad else 0


def tabled(rows: list[dict[str, Any]]) -> None:
    """Print what ``robustseg list`` shows, one line a thing."""
    from rich.console import Console
    from rich.table import Table

    columns = ("name", "ref", "attacks", "summary", "source", "task", "parameters", "licence")
    shown = [name for name in columns if name in rows[0] and not (name == "name" and "ref" in rows[0])]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in shown:  # what is copied into a command is never cut or folded
        table.add_column(name, no_wrap=name in ("name", "ref"))
    for row in rows:
        table.add_row(*(str(row.get(name, "")) for name in shown))
    Console().print(table)


def listed(what: str) -> list[dict[str, Any]]:
    """What ``robustseg list`` shows."""
    if what == "data":
        from robustseg.data.refs import list_refs

        return list_refs()
    if what == "models":
        from robustseg.models.zoo import list as models

        return models() or [{"name": "none", "summary": "no bundled model is installed"}]
    if what == "attacks":
        from robustseg.catalog.entries import ENTRIES

        names = ("name", "summary", "source", "targeted", "members", "errata")
        words = {"dense": "pixels", "query": "queries", "region": "regions", "prompted": "prompts"}
        return [
            {
                **{n: getattr(e, n) for n in names},
                "defaults": e.params({}, False),
                "attacks": ", ".join(words[o] for o in e.output),  # a universal model has pixels and queries
            }
            for e in ENTRIES.values()
        ]
    raise UserError(f"cannot list {what!r}; choose attacks, models or data")


def explained(name: str | None) -> None:
    """Print what a finding of the doctor means, and leave: an eager option."""
    if name is not None:
        import typer

        from robustseg.models.findings import explain

        print(explain(name))
        raise typer.Exit()


def guarded(app: Callable[..., Any], argv: Sequence[str], aborts: tuple[type[BaseException], ...]) -> NoReturn:
    """Run a typer app and leave with its exit code: one line for every error, a traceback only with ``--debug``."""
    debug = "--debug" in argv
    arguments = [a for a in argv if a != "--debug"]
    try:
        code = app(args=arguments, prog_name="robustseg", standalone_mode=False) or 0
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer's own way to hand on Ctrl-C
            _leave(CONTINUE, INTERRUPTED)
        sys.exit(code)
    except (KeyboardInterrupt, *aborts):
        _leave(CONTINUE, INTERRUPTED)
    except BrokenPipeError:
        sys.stdout = None  # whoever read us has gone; nothing to complain about
        sys.exit(0)
    except Exception as problem:
        if debug:
            raise
        if isinstance(problem, UserError):
            _leave(str(problem), 2)
        if hasattr(problem, "format_message"):  # a wrong option or argument
            where = getattr(getattr(problem, "ctx", None), "command_path", "robustseg")
            _leave(f"{problem.format_message()} See: {where} --help", 2)  # pyright: ignore[reportAttributeAccessIssue]
        _leave(f"{type(problem).__name__}: {problem} (a fault of robustseg; --debug shows where)", 3)


def _leave(text: str, code: int) -> NoReturn:
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(code)
