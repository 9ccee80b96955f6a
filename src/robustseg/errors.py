"""The one exception of the library that speaks to the user. Standard library only, so that the report and the CLI need no torch."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(Exception):
    """Something the user can put right; its text is one line that says what is wrong and what to do."""
