"""Generators from the files that hold their weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from robustseg.attacks.generator import Generator
from robustseg.errors import UserError

__all__ = ["rebuilt"]


def rebuilt(weights: Mapping[str, Tensor], where: str) -> Generator:
    """The network of these weights, in float32, as they came from ``Generator.state_dict``.

    Raises UserError, which names ``where``, unless they are such weights, finite, with a radius up to 1.
    """
    first, last = weights.get("down1.weight"), weights.get("out.weight")
    if first is None or last is None or first.dim() != 4 or last.dim() != 4 or first.shape[1] != last.shape[1] + 1:
        raise UserError(f"{where} holds no weights of a generator; train one with recipes/train_stealthy.py")
    if not all(bool(t.isfinite().all()) for t in weights.values()):
        raise UserError(f"{where} holds NaN or infinity; train it again")
    made = Generator(int(last.shape[1]), int(first.shape[0]), 1.0)
    try:
        made.load_state_dict({name: t.float() for name, t in weights.items()})
    except RuntimeError as problem:
        reason = str(problem).splitlines()[-1].strip()
        raise UserError(f"{where} holds weights of another generator ({reason}); train it again") from None
    if not 0 < float(made.radius) <= 1:
        raise UserError(f"{where} has a radius of {float(made.radius):g}; it must lie above 0 and not above 1")
    return made.eval().requires_grad_(False)
