"""Several models under one perturbation: linear members whose best attacks are known; SAGA in its published form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attack_toys import conv_net
from robustseg.catalog import attack, ensemble
from robustseg.errors import UserError
from robustseg.models import wrap
from robustseg.ops.attention import Attention
from robustseg.ops.rollout import rollout
from robustseg.types import DenseOutput, QueryOutput, SegmentTarget, SemanticTarget

EPS = 0.1
X = torch.full((1, 3, 2, 2), 0.5)
Y = torch.zeros(1, 2, 2, dtype=torch.int64)


class Linear(nn.Module):
    """Every pixel: the lead of class 0 is ``scale · (bias - w · (x - ½))``."""

    def __init__(self, w: tuple[float, ...], bias: float, scale: float = 1.0):
        super().__init__()
        self.w, self.bias, self.scale = nn.Parameter(torch.tensor(w)), bias, scale
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        s = self.scale * (self.bias - torch.einsum("c,bchw->bhw", self.w, x - 0.5))
        return torch.stack([s, torch.zeros_like(s)], 1)


def model(w, bias=0.2, scale=1.0, classes=("a", "b")):
    return wrap(Linear(w, bias, scale), classes=classes, name=f"linear {w}")


# alone, each is fooled by a step along its own sign, which is right for the other: their second channels conflict
A, B = model((4.0, -1.0, 0.0)), model((-1.0, 4.0, 0.0))
LOUD = model((-1.0, 4.0, 0.0), bias=0.1, scale=10.0)  # as B, but with a gradient six times as long


def wrong(m, images) -> float:
    return float((m(images).scores.argmax(1) != Y).float().mean())


@pytest.mark.parametrize("spec", ["pgd:steps=20", "saga", "apgd:steps=20", "mi-fgsm:steps=10", "padam-ce:steps=20"])
def test_together_both_fall_and_alone_only_one(spec):
    for one, other in ((A, B), (B, A)):
        alone = attack(spec, eps=EPS)(one, X, Y).images
        assert (wrong(one, alone), wrong(other, alone)) == (1, 0)
    both = attack(spec, eps=EPS)([A, B], X, Y)
    assert (wrong(A, both.images), wrong(B, both.images)) == (1, 1)
    assert both.score.tolist() == [1.0]


def test_saga_hears_the_quiet_member_where_the_sum_follows_the_loud_one():
    """One step. Slope of CE: 0.45 for A (lead 0.2), 10 · 0.27 for LOUD (lead 1), so that red sums to 1.8 - 2.7 < 0."""
    summed = attack("fgsm", eps=EPS)([A, LOUD], X, Y).images
    assert (wrong(A, summed), wrong(LOUD, summed)) == (0, 1)
    balanced = attack("saga:steps=1,step_size=eps", eps=EPS)([A, LOUD], X, Y).images
    assert (wrong(A, balanced), wrong(LOUD, balanced)) == (1, 1)
    torch.testing.assert_close((balanced - X)[0, :, 0, 0], torch.tensor([EPS, EPS, 0.0]))


def test_weights_are_what_they_say():
    def direction(weights: str) -> list[float]:
        found = attack(f"saga:weights={weights},steps=1,step_size=eps", eps=EPS)([A, B], X, Y).images - X
        return (found[0, :, 0, 0] / EPS).round().tolist()

    assert direction("1/1") == [1, 1, 0]
    assert direction("1/0.1") == [1, -1, 0]  # 4 - 0.1 and -1 + 0.4
    assert direction("0.1/1") == [-1, 1, 0]


@pytest.mark.parametrize("at", [0, 1])
def test_one_hot_weights_are_the_attack_on_that_member(at):
    models = [wrap(conv_net(seed=s), classes=list("abcd")) for s in (1, 2)]
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    y = models[at](x).scores.argmax(1).repeat_interleave(2, 1).repeat_interleave(2, 2)
    alone = attack("saga:steps=6", eps=0.02)(models[at], x, y)
    plain = attack("bim:steps=6", eps=0.02)(models[at], x, y)
    assert torch.equal(alone.images, plain.images)  # one CNN: nothing to balance, nothing to weigh
    weights = "1/0" if at == 0 else "0/1"
    both = attack(f"saga:steps=6,weights={weights}", eps=0.02)(models, x, y)
    assert torch.equal(both.images, alone.images)
    torch.testing.assert_close(both.score, alone.score)
    assert (alone.images != x).any()


@pytest.mark.parametrize("spec", ["pgd:steps=6", "segpgd:steps=6", "tsallis:steps=10", "padam-cos:steps=6"])
def test_the_same_network_twice_is_the_attack_on_it(spec):
    m = wrap(conv_net(seed=3), classes=list("abcd"))
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    y = torch.randint(0, 4, (2, 8, 8), generator=torch.Generator().manual_seed(2))
    one, two = (attack(spec, eps=0.02)(given, x, y, ids=["a", "b"]) for given in (m, [m, m]))
    assert torch.equal(one.images, two.images)
    torch.testing.assert_close(one.score, two.score)
    assert two.forwards.tolist() == (2 * one.forwards).tolist()
    assert two.backwards.tolist() == (2 * one.backwards).tolist()


def test_every_members_passes_are_counted():
    a, b = model((4.0, -1.0, 0.0), bias=50.0), model((-1.0, 4.0, 0.0), bias=50.0)  # neither can be fooled
    found = attack("pgd:steps=7,restarts=2,reference=pred", eps=EPS)([a, b], X, Y)
    assert (a.module.seen, b.module.seen) == (2 * 8 + 1, 2 * 8 + 1)
    assert found.forwards.tolist() == [a.module.seen + b.module.seen]
    assert found.backwards.tolist() == [2 * 2 * 7]


def test_a_solved_image_leaves_only_when_every_member_is_solved():
    tough = model((-1.0, 4.0, 0.0), bias=50.0)
    found = attack("pgd:steps=12", eps=EPS)([A, tough], X, Y)
    assert found.backwards.tolist() == [24]
    assert found.score.tolist() == [0.5]


def test_classes_are_matched_by_name_whatever_their_order():
    turned = model((1.0, -4.0, 0.0), bias=-0.2, classes=("b", "a"))  # B with its classes the other way round
    straight = attack("pgd:steps=10", eps=EPS)([A, B], X, Y, ids=["i"])
    other = attack("pgd:steps=10", eps=EPS)([A, turned], X, Y, ids=["i"])
    torch.testing.assert_close(straight.images, other.images)
    assert (turned(other.images).scores.argmax(1) == 0).all()  # "b", where "a" is true
    hidden = attack("pgd:target=class:b,steps=10", eps=EPS)([A, turned], X, Y)
    assert [int(g.unique()) for g in hidden.goals] == [1, 0]
    assert hidden.score.tolist() == [1.0]
    with pytest.raises(UserError, match=r"target=.*holds class indices"):
        attack(f"pgd:target={__file__}", eps=EPS)([A, turned], X, Y)


def test_a_class_that_a_member_lacks_is_refused_where_it_is_seen():
    three = wrap(nn.Conv2d(3, 3, 1), classes=["a", "b", "tram"])
    attack("pgd:steps=1", eps=EPS)([three, A], X, Y)  # no tram on the image
    with pytest.raises(UserError, match="has no class 'tram'"):
        attack("pgd:steps=1", eps=EPS)([three, A], X, Y + 2)
    attack("pgd:steps=1", eps=EPS)([three, A], X, [SemanticTarget(Y + 2), SemanticTarget(Y)])  # told for each


def test_segments_keep_their_masks_and_change_their_names():
    target = SegmentTarget(
        torch.tensor([[[0, 1], [1, 255]]]), 255, torch.ones(1, 2, 2, 2, dtype=torch.bool), torch.tensor([[1, -1]]),
        torch.zeros(1, 2, dtype=torch.bool), torch.tensor([False, True]),
    )  # fmt: skip
    turned = model((1.0, 0.0, 0.0), classes=("B", "A", "c"))
    same, other = ensemble.targets([A, turned], target)
    assert same is target
    assert isinstance(other, SegmentTarget)
    assert other.labels.tolist() == [[[1, 0], [0, 255]]]
    assert other.categories.tolist() == [[0, -1]]
    assert other.things.tolist() == [True, False, False]
    back = ensemble.targets([A, turned], other, of=1)[0]
    assert torch.equal(back.labels, target.labels)


@pytest.mark.parametrize(
    ("spec", "message"),
    [("saga:weights=1/1/1", "3 for 2 models"), ("saga:weights=1", "1 for 2 models"), ("sea", "must be fitted"),
     ("saga:weights=0/0", "one positive"), ("saga:weights=1/-1", "from 0 on"), ("saga:weights=a/b", "write numbers"),
     ("saga:rollout=yes", "auto, none"), ("pgd:weights=1/1", "unknown option")],
)  # fmt: skip
def test_what_cannot_be_is_one_line(spec, message):
    with pytest.raises(UserError, match=message):
        attack(spec, eps=EPS)([A, B], X, Y)


def test_no_model_and_a_wrong_number_of_targets_are_refused():
    with pytest.raises(UserError, match="no model"):
        attack("pgd")([], X, Y)
    with pytest.raises(UserError, match="1 targets for 2 models"):
        attack("pgd")([A, B], X, [SemanticTarget(Y)])
    with pytest.raises(UserError, match="1 model;"):
        attack("saga:weights=1/1")(A, X, Y)


def test_an_ensemble_of_attacks_takes_several_models_too():
    found = attack("strong:steps=10", eps=EPS)([A, B], X, Y)
    assert found.score.tolist() == [1.0]
    assert (wrong(A, found.images), wrong(B, found.images)) == (1, 1)


def test_every_members_flags_come_back():
    a, b = wrap(conv_net(seed=1), classes=list("abcd")), wrap(conv_net(seed=2), classes=list("abcd"))
    b.module.train()
    attack("saga:steps=2", eps=EPS)([a, b], torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64))
    assert b.module.training
    assert not a.module.training
    assert all(p.requires_grad for m in (a, b) for p in m.module.parameters())


class Queries(nn.Module):
    """Two queries, for class a and b, whose masks are Linear's two sides."""

    def __init__(self, inner: Linear):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> QueryOutput:
        z = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]]).expand(len(x), -1, -1)
        return QueryOutput(z, self.inner(x) - torch.tensor([0.0, 0.0]).view(1, 2, 1, 1))


def test_a_universal_member_is_attacked_by_its_semantic_map():
    universal = wrap(Queries(Linear((-1.0, 4.0, 0.0), 0.2)), task="universal", classes=["a", "b"])
    found = attack("saga", eps=EPS)([A, universal], X, Y)
    assert found.score.tolist() == [1.0]


# ------------------------------------------------------------------ the published form: a classifier of each kind


class ViT(nn.Module):
    """A transformer of one layer on 2x2 patches that answers from its class token, which looks at one patch alone."""

    def __init__(self, patch: int):
        super().__init__()
        self.qkv = nn.Linear(1, 3)  # what makes it a transformer; the attention itself is fixed
        weights = torch.eye(5)
        weights[0] = torch.eye(5)[1 + patch]
        self.register_buffer("weights", weights[None, None])

    def forward(self, x: Tensor) -> DenseOutput:
        means = nn.functional.avg_pool2d(x[:, :1], 4).flatten(1)  # red of every patch
        seen = means @ self.weights[0, 0, 0, 1:] + 0.01 * means.sum(1)  # and a little of all on another path
        s = 10 * (0.45 - seen)
        maps = Attention.of([self.weights.expand(len(x), -1, -1, -1)], (2, 2), prefix=1)
        return DenseOutput(torch.stack([-s, s], 1)[..., None, None], extras={"attention": maps})


class CNN(nn.Module):
    """Class 0 where the image is red in the mean."""

    def forward(self, x: Tensor) -> Tensor:
        s = 10 * (0.45 - x[:, 0].mean((1, 2)))
        return torch.stack([-s, s], 1)[..., None, None]


PATCH = 2  # lower left
VIT = wrap(ViT(PATCH), classes=["red", "other"], name="vit")
CLASSIFIER = wrap(CNN(), classes=["red", "other"], name="cnn")
PHOTO, LABEL = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 8, 8, dtype=torch.int64)


def test_phi_of_a_classifier_is_the_row_of_its_class_token():
    output = VIT(PHOTO, want=frozenset({"attention"}))
    assert output.extras["attention"].by_class
    phi = rollout(output.extras["attention"], torch.ones(1, 8, 8))
    assert phi.argmax() in range(32, 64)
    assert phi[0, 0, -1, 0] == 1
    assert phi[0, 0, 0, -1] == 0


def test_saga_adds_the_two_gradients_as_published():
    """``a_ViT · φ ⊙ ∂L_ViT + a_CNN · ∂L_CNN`` written out with autograd, one step."""
    x = PHOTO.clone().requires_grad_()
    y = torch.zeros(1, dtype=torch.int64)
    grads = [torch.autograd.grad(nn.functional.cross_entropy(m(x).scores[..., 0, 0], y), x)[0] for m in
             (VIT, CLASSIFIER)]  # fmt: skip
    phi = rollout(VIT(PHOTO, want=frozenset({"attention"})).extras["attention"], torch.ones(1, 8, 8))
    found = attack("saga@paper:weights=0.7/0.3,steps=1", eps=EPS)([VIT, CLASSIFIER], PHOTO, LABEL)
    expected = PHOTO + EPS * (0.7 * phi * grads[0] + 0.3 * grads[1]).sign()
    torch.testing.assert_close(found.images, expected)
    alone = attack("saga:steps=1,step_size=eps", eps=EPS)(VIT, PHOTO, LABEL).images
    assert (alone == PHOTO)[0, 0, :2, -2:].all()  # where nobody looked, φ = 0 and nothing is written
    free = attack("saga:steps=1,step_size=eps,rollout=none", eps=EPS)(VIT, PHOTO, LABEL).images
    assert (free != PHOTO)[0, 0].all()


def test_one_label_an_image_leaves_the_rollout_a_map_of_the_image():
    """The label map of a classifier is 1x1; φ is not."""
    one = LABEL[:, :1, :1]
    said = wrap(ViT(PATCH), classes=["red", "other"], task="classification")
    found, wide = (
        attack("saga:steps=1,step_size=eps", eps=EPS)(m, PHOTO, y).images for m, y in ((said, one), (VIT, LABEL))
    )
    assert torch.equal(found, wide)
    assert (found == PHOTO)[0, 0, :2, -2:].all()
    assert (found != PHOTO)[0, 0, 4:, :4].all()


@pytest.mark.parametrize("spec", ["saga@paper", "saga", "saga:rollout=none", "pgd:steps=10"])
def test_vit_and_cnn_fall_together(spec):
    found = attack(spec, eps=0.08)([VIT, CLASSIFIER], PHOTO, LABEL)
    assert [int(m(found.images).scores.argmax(1)) for m in (VIT, CLASSIFIER)] == [1, 1]
    assert (found.images - PHOTO).abs().max() <= 0.08 + 1e-6


def test_saga_at_paper_is_the_authors_setting():
    paper = attack("saga@paper")
    assert (paper.eps, paper.params["steps"], paper.params["step_size"]) == ("0.031", "10", "eps/steps")
    assert not paper.entry.random_start
    assert paper.warnings == []


def test_an_attention_that_says_nothing_is_an_error_not_a_bim():
    class Silent(ViT):
        def forward(self, x):
            return replace(super().forward(x), extras={})

    with pytest.raises(UserError, match=r"gives no attention maps.*rollout=none"):
        attack("saga", eps=EPS)([wrap(Silent(0), classes=["red", "other"]), CLASSIFIER], PHOTO, LABEL)


def test_sea_on_one_model_says_what_it_must_know_first():
    with pytest.raises(UserError, match="sea needs class counts of other images"):
        attack("sea")(A, X, Y)
