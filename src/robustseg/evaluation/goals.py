"""How much of a targeted attack's goal was reached, as pixel counts that add; names as in ``goal_scores``."""

from __future__ import annotations

from torch import Tensor

__all__ = ["goal_counts", "met_counts"]


def goal_counts(
    goal: Tensor, reference: Tensor, prediction: Tensor, clean_prediction: Tensor, labels: Tensor, ignore: int
) -> dict[str, int]:
    """Counts of one image, all maps ``(H,W)``; only pixels where truth and goal are not ``ignore`` count.

    ``reference``: what the attacker starts from, the truth or the clean prediction (the attack's ``reference``).
    """
    counted = (labels != ignore) & (goal != ignore) & (reference != ignore)
    aimed, rest = counted & (goal != reference), counted & (goal == reference)
    rest_right = rest & (clean_prediction == labels)
    parts = {
        "aimed": aimed,
        "hit": aimed & (prediction == goal),
        "hidden": aimed & (prediction != reference),
        "rest": rest,
        "kept": rest & (prediction == reference),
        "rest_right": rest_right,
        "damaged": rest_right & (prediction != labels),
    }
    return {name: int(mask.sum()) for name, mask in parts.items()}


def met_counts(
    goal: Tensor | None, reference: Tensor, prediction: Tensor, labels: Tensor, ignore: int
) -> dict[str, int]:
    """``asked``: the counted pixels of one image; ``met``: those predicted as the goal, or, without, not as before.

    >>> import torch; t = torch.tensor
    >>> met_counts(None, t([[0, 1, 2]]), t([[1, 1, 1]]), t([[0, 1, 255]]), 255)
    {'asked': 2, 'met': 1}
    """
    asked = (labels != ignore) & (reference != ignore) & (True if goal is None else goal != ignore)
    met = prediction != reference if goal is None else prediction == goal
    return {"asked": int(asked.sum()), "met": int((asked & met).sum())}
