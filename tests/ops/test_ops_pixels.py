"""Per-pixel quantities: right, wrong, ignored; and what is remembered with an output never answers for another."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from robustseg.ops import pixels as px
from robustseg.ops import seeds
from robustseg.ops.size import at_label_size
from robustseg.types import DenseOutput, SemanticTarget

Z = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 4, (2, 3, 5), generator=torch.Generator().manual_seed(1))
Y[0, 0, :2] = 255
Z[0, 0, 0, :2] = 9.0  # ignored pixels where class 0, which stands in for the ignored label, is the highest


def test_right_wrong_and_ignored_are_a_partition():
    out, target = DenseOutput(Z), SemanticTarget(Y)
    right, wrong = px.correct(out, target), px.wrong(out, target)
    assert torch.equal(right, Z.argmax(1) == Y)
    assert torch.equal(wrong, (Z.argmax(1) != Y) & (Y != 255))
    assert torch.equal(right | wrong, target.valid)
    assert not (right & wrong).any()


def test_what_is_no_number_counts_for_nobody():
    z = Z.clone()
    z[1] = torch.nan
    out, target = DenseOutput(z), SemanticTarget(Y)
    assert not px.correct(out, target)[1].any()
    assert not px.wrong(out, target)[1].any()
    assert px.wrong(out, target)[0].any()


def test_means_and_shares_leave_ignored_pixels_out():
    target = SemanticTarget(torch.tensor([[[0, 1, 255, 255]]]))
    assert px.mean(torch.tensor([[[1.0, 3.0, 100.0, float("inf")]]]), target).tolist() == [2.0]
    assert px.share(torch.tensor([[[True, False, True, True]]]), target).tolist() == [0.5]
    nothing = SemanticTarget(torch.full((1, 1, 4), 255))
    assert px.mean(torch.ones(1, 1, 4), nothing).tolist() == [0.0]


def test_log_probability_is_minus_cross_entropy():
    got = px.log_probability(DenseOutput(Z), SemanticTarget(Y))
    assert torch.allclose(got[1], -F.cross_entropy(Z[1:], Y[1:], reduction="none")[0])
    assert (got[0, 0, :2] == 0).all()


def test_scores_enter_by_their_logarithm():
    p = Z.softmax(1)
    got = px.log_probability(DenseOutput(p, "scores"), SemanticTarget(Y))
    assert torch.allclose(got, px.log_probability(DenseOutput(Z), SemanticTarget(Y)), atol=1e-5)


def test_cosine_is_that_of_probabilities_and_one_hot():
    p, target = Z.softmax(1), SemanticTarget(Y)
    onehot = F.one_hot(target.index, 4).permute(0, 3, 1, 2).float()
    expected = F.cosine_similarity(p, onehot, dim=1)
    for out in (DenseOutput(Z), DenseOutput(p, "scores")):
        assert torch.allclose(px.cosine(out, target), expected, atol=1e-5)


def test_a_second_target_gets_its_own_answer():
    """Also where the first is gone and the new object stands at its address."""
    out = DenseOutput(Z)
    answers = [px.correct(out, SemanticTarget(torch.full_like(Y, c))).sum() for c in range(4)]
    assert sum(answers) == Y.numel()


def test_asking_without_gradient_first_costs_nobody_the_gradient():
    z = Z.clone().requires_grad_()
    out, target = DenseOutput(z), SemanticTarget(Y)
    with torch.no_grad():
        px.log_probability(out, target)
    assert px.log_probability(out, target).requires_grad
    assert not px.correct(out, target).requires_grad


def test_at_label_size_is_the_identity_where_sizes_agree():
    assert at_label_size(Z, (3, 5)) is Z
    assert torch.equal(at_label_size(Z, (6, 10)), F.interpolate(Z, (6, 10), mode="bilinear", align_corners=False))


def test_draws_belong_to_run_image_and_restart():
    first = torch.rand(3, generator=seeds.generator(0, "a"))
    assert torch.equal(first, torch.rand(3, generator=seeds.generator(0, "a")))
    for other in [(1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1)]:
        assert not torch.equal(first, torch.rand(3, generator=seeds.generator(*other)))
    like = torch.zeros(2, 3, 4)
    pair = seeds.uniform(like, [seeds.generator(0, "a"), seeds.generator(0, "b")])
    assert torch.equal(pair[1], seeds.uniform(like[:1], [seeds.generator(0, "b")])[0])
    assert pair.abs().max() <= 1
    assert pair.min() < -0.5


def test_content_ids_see_the_pixels():
    a, b = seeds.content_ids(Z), seeds.content_ids(Z.flip(0))
    assert a == b[::-1]
    assert a[0] != a[1]
