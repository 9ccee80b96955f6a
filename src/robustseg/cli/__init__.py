"""The command line: parse, call, print. Every heavy import stands inside its command, so that ``--help`` is quick.

Exit codes: 0 done; 1 done, but some rows failed (or the doctor found a fault); 2 a mistake of the user; 3 one of ours;
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from robustseg.cli import attack, certify, know, patch, results, street, survey, train, transfer
from robustseg.cli.app import app
from robustseg.ops.memory import keep_freed
from robustseg.terminal import guarded

__all__ = ["app", "attack", "certify", "know", "main", "patch", "results", "street", "survey", "train", "transfer"]


def main() -> NoReturn:
    """The entry point of the ``robustseg`` command."""
    keep_freed()
    guarded(app, sys.argv[1:], (typer.Abort,))
