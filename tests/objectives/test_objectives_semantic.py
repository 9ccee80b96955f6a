"""Every loss: its gradient by finite differences, its definition by hand, its reductions, and what it must not see."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.objectives.base import Objective, from_plain
from robustseg.objectives.semantic import LOSSES, metzen, semantic
from robustseg.types import DenseOutput, SemanticTarget, UserError, View

B, C, H, W = 2, 4, 3, 5
G = torch.Generator().manual_seed(0)
Z = torch.randn(B, C, H, W, dtype=torch.float64, generator=G) * 2
Y = torch.randint(0, C, (B, H, W), generator=G)
Y[0, 0, :2] = 255
COUNTS = torch.tensor([50.0, 10.0, 200.0, 1.0])


def view(z: Tensor) -> View:
    return View(z, z, z, DenseOutput(z))


def value(objective: Objective, z: Tensor, labels: Tensor, progress: float, constants: dict | None = None) -> Tensor:
    target = SemanticTarget(labels)
    state = objective.init(view(z.detach()), target, {"class_pixels": COUNTS, **(constants or {})})
    terms, _ = objective.value(view(z), target, state, progress)
    return sum(terms.values())


def slope(objective: Objective, z: Tensor, labels: Tensor, progress: float = 0.5, **constants: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(value(objective, z, labels, progress, constants).sum(), z)[0]


def by_differences(function, z: Tensor, h: float = 1e-6) -> Tensor:
    """Central differences of ``function(z) -> ()``, entry by entry."""
    out = torch.zeros_like(z)
    for i in range(z.numel()):
        step = torch.zeros_like(z).flatten()
        step[i] = h
        step = step.view_as(z)
        out.view(-1)[i] = (function(z + step) - function(z - step)) / (2 * h)
    return out


def ce(z: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(z, labels, ignore_index=255, reduction="none")


def frozen_weight(name: str, targeted: bool, labels: Tensor, progress: float) -> Tensor:
    """The weights of SegPGD, CosPGD and the masked losses, from their definitions."""
    valid, index = labels != 255, torch.where(labels == 255, 0, labels)
    right = (Z.argmax(1) == labels) & valid
    fresh = ~right if targeted else right  # pixels that still have to change
    lam = progress / 2
    onehot = F.one_hot(index, C).permute(0, 3, 1, 2).double()
    cos = F.cosine_similarity(Z.softmax(1), onehot, dim=1)
    rare = 1 / COUNTS.double()
    return {
        "ce": torch.ones_like(cos),
        "segpgd": torch.where(fresh, 1 - lam, lam).double(),
        "masked-ce": fresh.double(),
        "balanced-masked-ce": fresh * (rare / rare.mean())[index],
        "cospgd": 1 - cos if targeted else cos,
    }[name]


WEIGHTED = ["ce", "segpgd", "masked-ce", "balanced-masked-ce", "cospgd"]
SMOOTH = ["js", "tsallis", "cosine", "margin"]


@pytest.mark.parametrize("name", WEIGHTED)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("progress", [0.0, 0.5, 0.9])
def test_weighted_cross_entropies(name, targeted, progress):
    """The gradient is that of Σ w·CE with w held still: weights carry none."""
    if targeted and LOSSES[name][1] is None:
        with pytest.raises(ValueError, match="no targeted form"):
            semantic(name, targeted=True)
        return
    weight = frozen_weight(name, targeted, Y, progress)
    sign = -1 if targeted else 1

    def function(z: Tensor) -> Tensor:
        per_image = (weight * ce(z, Y)).flatten(1).sum(1) / (Y != 255).flatten(1).sum(1)
        return sign * per_image.sum()

    objective = semantic(name, targeted=targeted)
    assert torch.allclose(value(objective, Z, Y, progress).sum(), function(Z), rtol=1e-6)
    assert torch.allclose(slope(objective, Z, Y, progress), by_differences(function, Z), atol=1e-7)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("progress", [0.0, 1 / 3, 2 / 3, 1.0])  # Tsallis: q = -2, -1, 0, 1
def test_smooth_losses(name, targeted, progress):
    objective = semantic(name, targeted=targeted)
    numeric = by_differences(lambda z: value(objective, z, Y, progress).sum(), Z)
    assert torch.allclose(slope(objective, Z, Y, progress), numeric, atol=1e-7)
    assert numeric.abs().max() > 1e-3


def test_definitions_on_one_pixel():
    """z = (2, 0), truth 0, worked out by hand."""
    z, y = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64)
    p = 1 / (1 + math.exp(-2))
    expected = {
        "ce": -math.log(p),
        "cospgd": -math.log(p) * p / math.hypot(p, 1 - p),
        "segpgd": -math.log(p) * 0.75,
        "masked-ce": -math.log(p),
        "js": 0.5 * (2 * math.log(2) + p * math.log(p) - (1 + p) * math.log(1 + p)),
        "tsallis": (1 - p**1.5) / 1.5,  # progress ½: q = -½
        "cosine": 0.0,
        "margin": -2.0,
    }
    for name, number in expected.items():
        assert value(semantic(name), z, y, 0.5).item() == pytest.approx(number, abs=1e-6), name


@pytest.mark.parametrize(("targeted", "expected"), [(False, [-2.0, 0.1, 0.05]), (True, [0.1, -3.0, -0.05])])
def test_the_margin_rests_past_the_decision_and_pulls_before_it(targeted, expected):
    """Label 0 leads by 2, lags by 3, lags by 0.05: what is decided by more than 0.1 has no gradient, the rest ±1."""
    lead = torch.tensor([2.0, -3.0, -0.05])
    z = torch.stack([lead, torch.zeros(3)]).view(1, 2, 1, 3)
    y = torch.zeros(1, 1, 3, dtype=torch.int64)
    objective = semantic("margin", targeted=targeted)
    assert value(objective, z, y, 0.5).item() == pytest.approx(sum(expected) / 3, abs=1e-6)
    rests = [abs(e - 0.1) < 1e-9 for e in expected]
    pull = slope(objective, z, y)[0, 0, 0] * 3
    assert pull.tolist() == pytest.approx([0.0 if r else (1.0 if targeted else -1.0) for r in rests])


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("targeted", [False, True])
def test_ignored_pixels_have_exactly_no_influence(name, targeted):
    if targeted and LOSSES[name][1] is None:
        return
    objective = semantic(name, targeted=targeted)
    other = Z.clone()
    other[0, :, 0, :2] = torch.randn(C, 2, dtype=torch.float64, generator=G) * 1e3
    assert torch.equal(value(objective, Z, Y, 0.5), value(objective, other, Y, 0.5))
    assert (slope(objective, Z, Y)[0, :, 0, :2] == 0).all()
    assert torch.equal(slope(objective, Z, Y)[1], slope(objective, other, Y)[1])
    nothing = slope(objective, Z, torch.full_like(Y, 255))
    assert (nothing == 0).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_one_image_does_not_see_the_others(name):
    alone = slope(semantic(name), Z[1:], Y[1:])
    assert torch.equal(slope(semantic(name), Z, Y)[1:], alone)


# ------------------------------------------------------------------------- reductions


def test_segpgd_at_lambda_one_half_is_half_of_pgd():
    assert torch.equal(slope(semantic("segpgd"), Z, Y, 1.0) * 2, slope(semantic("ce"), Z, Y, 1.0))


def test_segpgd_at_lambda_zero_is_masked_ce():
    assert torch.equal(slope(semantic("segpgd"), Z, Y, 0.0), slope(semantic("masked-ce"), Z, Y, 0.0))


def test_cospgd_with_equal_weights_is_pgd_up_to_scale():
    """The same logits in every pixel up to a permutation of the other classes: one and the same cosine."""
    z = torch.zeros(1, C, 2, 3, dtype=torch.float64)
    y = torch.tensor([[[0, 1, 2], [3, 0, 1]]])
    z.scatter_(1, y.unsqueeze(1), 1.7)
    ratio = slope(semantic("cospgd"), z, y) / slope(semantic("ce"), z, y)
    assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-12)


def test_tsallis_ends_as_the_cross_entropy():
    assert torch.equal(slope(semantic("tsallis"), Z, Y, 1.0), slope(semantic("ce"), Z, Y, 1.0))


def test_balanced_is_masked_where_all_classes_are_equally_frequent():
    equal = {"class_pixels": torch.full((C,), 7.0)}
    balanced = slope(semantic("balanced-masked-ce"), Z, Y, 0.5, **equal)
    assert torch.allclose(balanced, slope(semantic("masked-ce"), Z, Y), rtol=1e-12)


def test_an_unseen_class_counts_as_rare_as_the_rarest():
    state = semantic("balanced-masked-ce").init(
        view(Z), SemanticTarget(Y), {"class_pixels": torch.tensor([50.0, 10.0, 0.0, 100.0])}
    )
    weight = state["class_weight"][0]
    assert weight[2] == weight[1] == weight.max()
    assert weight[0] / weight[3] == pytest.approx(2)
    assert weight.mean() == pytest.approx(1)


def test_masked_ce_leaves_wrong_pixels_alone():
    gradient = slope(semantic("masked-ce"), Z, Y).abs().sum(1)
    right = (Z.argmax(1) == Y) & (Y != 255)
    assert torch.equal(gradient > 0, right)
    towards = slope(semantic("masked-ce", targeted=True), Z, Y).abs().sum(1)
    assert torch.equal(towards > 0, ~right & (Y != 255))


# ------------------------------------------------------------------------- Fischer/Metzen


def goal_case():
    """Two pixels: the first is to change from class 0 to 1, the second to stay at 0."""
    z = torch.tensor([[1.0, 0.2], [0.0, 0.0]]).view(1, 2, 1, 2)
    return z, torch.tensor([[[1, 0]]]), torch.tensor([[[0, 0]]])


@pytest.mark.parametrize(("omega", "aimed", "rest"), [(1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.9, 0.9, 0.1)])
def test_metzen_weighs_pixels_to_change_against_pixels_to_keep(omega, aimed, rest):
    z, goal, reference = goal_case()
    per_pixel = F.cross_entropy(z, goal, reduction="none").flatten()
    got = value(metzen(omega, 1.0), z, goal, 0.0, {"reference": reference})
    assert got.item() == pytest.approx(-(aimed * per_pixel[0] + rest * per_pixel[1]).item() / 2, rel=1e-5)


def test_metzen_lets_confident_pixels_rest():
    """p = 0.269 and 0.550 for the goal: at τ = 0.5 only the first counts, at τ = 0.6 both do."""
    z, goal, reference = goal_case()
    loose = slope(metzen(0.5, 0.6), z, goal, 0.0, reference=reference)
    strict = slope(metzen(0.5, 0.5), z, goal, 0.0, reference=reference)
    assert (loose.abs().sum(1) > 0).flatten().tolist() == [True, True]
    assert (strict.abs().sum(1) > 0).flatten().tolist() == [True, False]
    assert torch.equal(strict[..., 0], loose[..., 0])


def test_metzen_at_one_half_is_half_the_targeted_cross_entropy():
    reference = torch.zeros_like(Y)
    mine = slope(metzen(0.5, 1.0), Z, Y, 0.0, reference=reference)
    assert torch.allclose(mine * 2, slope(semantic("ce", targeted=True), Z, Y), rtol=1e-12)


# ------------------------------------------------------------------------- a user's own function


def test_a_plain_function_must_give_one_value_an_image():
    target = SemanticTarget(Y)
    z = Z.clone().requires_grad_()
    for bad, said in [
        (lambda o, t: o.scores.sum(), r"\(\)"),
        (lambda o, t: 3.0, "float"),
        (lambda o, t: o.scores, r"\(2, 4, 3, 5\)"),
    ]:
        with pytest.raises(UserError, match=said):
            from_plain(bad, "mine").value(view(z), target, {}, 0.0)
    with pytest.raises(UserError, match="no gradient"):
        from_plain(lambda o, t: o.scores.argmax(1).flatten(1).sum(1).float()).value(view(z), target, {}, 0.0)
