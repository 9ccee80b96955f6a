"""Goal counts, by hand."""

from __future__ import annotations

import torch

from robustseg.evaluation.goal_scores import COUNTS, goal_scores
from robustseg.evaluation.goals import goal_counts


def test_counts_by_hand():
    #                     aimed, hit | aimed, hidden | aimed, not | kept | damaged | ignored | rest, wrong before
    reference = torch.tensor([[2, 2, 2, 0, 0, 2, 1]])
    goal = torch.tensor([[1, 1, 1, 0, 0, 1, 1]])
    prediction = torch.tensor([[1, 0, 2, 0, 1, 1, 1]])
    clean = torch.tensor([[2, 2, 2, 0, 0, 2, 1]])
    labels = torch.tensor([[2, 2, 2, 0, 0, 255, 0]])
    found = goal_counts(goal, reference, prediction, clean, labels, 255)
    assert found == {"aimed": 3, "hit": 1, "hidden": 2, "rest": 3, "kept": 2, "rest_right": 2, "damaged": 1}
    assert tuple(found) == COUNTS
    scores = goal_scores([found, found])
    assert scores == {"goal_reached": 1 / 3, "hidden": 2 / 3, "background_kept": 2 / 3, "off_target_damage": 1 / 2}


def test_nothing_aimed_is_no_score():
    zero = dict.fromkeys(COUNTS, 0)
    assert goal_scores([zero])["hidden"] is None
    assert goal_scores([]) == {}
