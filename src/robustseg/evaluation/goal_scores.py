"""The scores of a targeted attack from its added pixel counts. Standard library only.

Counts of a row's ``extra``, over the pixels that count: ``aimed`` (goal differs from the reference), ``hit``
(aimed, goal predicted), ``hidden`` (aimed, reference class no longer predicted), ``rest`` (not aimed),
``kept`` (rest, reference still predicted), ``rest_right`` (rest, right on the clean image), ``damaged`` (of
these, wrong now); ``noise_hit``, ``noise_kept``: the same under noise of equal L2 length, where that was tried.
Source: Metzen et al., ICCV 2017, section 4 (share hidden, share of background kept).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["COUNTS", "UNDER_NOISE", "goal_scores"]

COUNTS = ("aimed", "hit", "hidden", "rest", "kept", "rest_right", "damaged")
UNDER_NOISE = ("noise_hit", "noise_kept")


def goal_scores(extras: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """Shares over all images: goal reached, hidden, background kept, off-target damage; empty without a goal.

    ``goal_reached`` is also called target success rate, ``background_kept`` non-target preservation rate.

    >>> goal_scores([{"aimed": 4, "hit": 1, "hidden": 3, "rest": 10, "kept": 9, "rest_right": 8, "damaged": 2}])
    {'goal_reached': 0.25, 'hidden': 0.75, 'background_kept': 0.9, 'off_target_damage': 0.25}
    """
    if not extras:
        return {}
    add = {name: sum(e.get(name) or 0 for e in extras) for name in (*COUNTS, *UNDER_NOISE)}

    def share(top: str, bottom: str) -> float | None:
        return add[top] / add[bottom] if add[bottom] else None

    found = {
        "goal_reached": share("hit", "aimed"),
        "hidden": share("hidden", "aimed"),
        "background_kept": share("kept", "rest"),
        "off_target_damage": share("damaged", "rest_right"),
    }
    if any(UNDER_NOISE[0] in e for e in extras):
        found["noise_goal_reached"] = share("noise_hit", "aimed")
        found["noise_background_kept"] = share("noise_kept", "rest")
    return found
