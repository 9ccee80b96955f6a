"""From any output to per-pixel scores at label size."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from robustseg.tasks.semantic import dense, predict
from robustseg.types import DenseOutput, QueryOutput

G = torch.Generator().manual_seed(0)


def test_scores_are_brought_to_label_size_before_the_argmax():
    z = torch.randn(2, 5, 6, 8, generator=G)
    up = F.interpolate(z, (13, 17), mode="bilinear", align_corners=False)
    assert torch.equal(dense(DenseOutput(z), (13, 17)).scores, up)
    assert torch.equal(predict(DenseOutput(z), (13, 17)), up.argmax(1))
    assert dense(DenseOutput(z), (6, 8)).scores is z
    assert dense(DenseOutput(z, "scores"), (13, 17)).kind == "scores"


def test_what_is_remembered_never_reaches_the_models_own_dictionary():
    shared = {"features": 1}
    seen = dense(DenseOutput(torch.randn(1, 2, 3, 3), "logits", shared), (3, 3))
    seen.extras["pixels"] = 2
    assert shared == {"features": 1}


def test_queries_vote_with_class_times_mask():
    c, m = torch.randn(2, 7, 4, generator=G), torch.randn(2, 7, 3, 5, generator=G)
    out = dense(QueryOutput(c, m), (6, 10))
    assert out.kind == "scores"
    masks = F.interpolate(m, (6, 10), mode="bilinear", align_corners=False).sigmoid()
    by_hand = torch.zeros(2, 3, 6, 10)
    for q in range(7):
        for k in range(3):
            by_hand[:, k] += c[:, q].softmax(-1)[:, k].view(2, 1, 1) * masks[:, q]
    assert torch.allclose(out.scores, by_hand, atol=1e-6)


def test_gradient_reaches_classes_and_masks():
    c = torch.randn(1, 3, 4, generator=G).requires_grad_()
    m = torch.randn(1, 3, 2, 2, generator=G).requires_grad_()
    gradients = torch.autograd.grad(dense(QueryOutput(c, m), (4, 4)).scores[:, 0].sum(), (c, m))
    assert all(g.abs().max() > 0 for g in gradients)
