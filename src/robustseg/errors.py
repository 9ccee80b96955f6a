"""The one exception of the library that speaks to the user; standard library only, so nobody pays for torch."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(Exception):
    """Something the user can put right; its text is one line that says what is wrong and what to do."""
