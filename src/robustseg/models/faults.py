"""What a model can do wrong at the door, each with the name under which the doctor explains it."""

from __future__ import annotations

from robustseg.errors import UserError

__all__ = ["Fault"]


class Fault(UserError):
    """A fault of the model itself; ``finding`` is its section in docs/doctor."""

    def __init__(self, finding: str, message: str) -> None:
        super().__init__(message)
        self.finding = finding
