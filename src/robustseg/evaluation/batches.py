"""Which images are attacked together: fixed by their order and size alone, so that resume and shards see equal batches.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence

from robustseg.errors import UserError

__all__ = ["parse_shard", "plan"]

Shard = tuple[int, int]  # (number from 1, how many)


def plan(
    sizes: Sequence[tuple[int, int]], batch: int, shard: Shard | None = None, base: int | None = None
) -> list[list[int]]:
    """Batches of positions: images of one size together, in order, full batches first come.

    ``shard = (i, n)`` keeps every n-th batch of a plan with ``base`` images a batch; ``base`` is a multiple of
    ``batch``, so that shards stay the same when a smaller batch has to do. More images never change a full batch.

    >>> plan([(2, 2), (3, 3), (2, 2), (2, 2)], 2)
    [[0, 2], [1], [3]]
    >>> plan([(2, 2)] * 5, 1, shard=(2, 2), base=2)
    [[2], [3]]
    """
    base = base or batch
    waiting: dict[tuple[int, int], list[int]] = {}
    whole: list[list[int]] = []
    for position, size in enumerate(sizes):
        group = waiting.setdefault(size, [])
        group.append(position)
        if len(group) == base:
            whole.append(waiting.pop(size))
    whole = sorted([*whole, *waiting.values()], key=lambda positions: positions[0])
    if shard is not None:
        whole = whole[shard[0] - 1 :: shard[1]]
    return [block[i : i + batch] for block in whole for i in range(0, len(block), batch)]


def parse_shard(text: str) -> Shard:
    """``"2/8"`` -> (2, 8). Raises UserError for anything else.

    >>> parse_shard("2/8")
    (2, 8)
    """
    number, _, total = text.partition("/")
    if not (number.isdigit() and total.isdigit() and 1 <= int(number) <= int(total)):
        raise UserError(f"shard {text!r} is not I/N with 1 <= I <= N, e.g. --shard 2/8")
    return int(number), int(total)
