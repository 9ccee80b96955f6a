"""What each method of the survey must do to be that method, as its paper and code let one say: the list, and the rest.

Most of these statements are tested beside the part that they are about; ``LIST`` says where. Those that need an attack
as a whole stand here.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import attack_toys as toys
import robustseg
from robustseg.attacks.minimal import Landing
from robustseg.attacks.normed import unit_terms
from robustseg.attacks.settings import fewer_as_coded, fewer_pixels
from robustseg.catalog import attack
from robustseg.defenses.training.losses import cross_entropy, soft_cross_entropy
from robustseg.models import wrap
from robustseg.tasks.semantic import predict
from robustseg.types import DenseOutput, SemanticTarget, View

TESTS = Path(__file__).parent.parent
LIST = {
    "FGSM: a linear margin moves by eps |w|_1": "attacks/test_attacks_closed_form.py::test_fgsm_moves_every_margin_",
    "FGSM: inside the ball": "attacks/test_attacks_properties.py::test_inside_ball_box_and_region",
    "FGSM: no gradient, no change": "catalog/test_catalog_acceptance.py::test_fgsm_leaves_alone_what_has_no_gradient",
    "C&W: one pixel, closed form": "attacks/test_attacks_minimal.py::test_one_pixel_moves_as_far_as_its_hyperplane_is",
    "C&W: tanh keeps the box": "attacks/test_attacks_minimal.py::test_the_box_is_exact",
    "C&W: confidence, L2": "attacks/test_attacks_minimal.py::test_more_confidence_needs_a_longer_way",
    "C&W: confidence, L∞ and L0": "catalog/test_catalog_acceptance.py::test_confidence_is_never_free",
    "C&W L0: fewer pixels a round": "catalog/test_catalog_acceptance.py::test_every_success_leaves_fewer_pixels",
    "Distillation: 1/T": "defenses/training/test_training_losses.py::test_the_gradient_of_a_linear_model_falls_with_",
    "Distillation: logits grow": "catalog/test_catalog_acceptance.py::test_logits_of_a_student_grow_with_the_temp",
    "Distillation: FGSM fails, margins do not": "defenses/training/test_training_methods.py::test_distillation_fools_",
    "SAGA: rows of the rollout sum to one": "ops/test_rollout.py::test_of_a_classifier_it_is_the_class_row_of_the_",
    "SAGA: uniform attention, φ = 1": "ops/test_rollout.py::test_uniform_attention_says_nothing",
    "SAGA: a map of the image, on classifiers too": "catalog/test_catalog_ensemble.py::test_one_label_an_image_leaves_",
    "SAGA: no ViT, BIM": "catalog/test_catalog_acceptance.py::test_saga_without_a_vit_is_bim_on_the_weighted_loss",
    "Fischer/Metzen: the goal": "objectives/test_objectives_goals.py::test_hide_is_the_exact_nearest_neighbour",
    "Metzen: gradient of a tile": "catalog/test_catalog_universal.py::test_the_gradient_of_a_tile_is_the_sum_of_those_",
    "Metzen: what is sure rests": "catalog/test_catalog_targets.py::test_keeping_what_is_confidently_kept_moves_no",
    "DAG: every step has the length γ": "catalog/test_catalog_acceptance.py::test_every_step_of_dag_is_as_long_as_said",
    "DAG: active targets step by step": "catalog/test_catalog_acceptance.py::test_the_trace_of_dag_counts_the_active_",
    "DAG: shuffled noise does nothing": "catalog/test_catalog_acceptance.py::test_shuffled_dag_leaves_a_trained_net",
    "Fashion: outside the clothing to the bit": "catalog/test_catalog_fashion.py::test_only_clothing_changes_and_",
    "Fashion: signs of TV and MS-SSIM": "catalog/test_catalog_fashion.py::test_what_holds_it_back_makes_it_more_alike",
    "Fashion: equal features, no style": "catalog/test_catalog_fashion.py::test_style_is_zero_for_equals_and_weighs_",
    "Patch: dynamic γ": "catalog/test_catalog_patch.py::test_the_dynamic_weight_is_the_share_of_pixels_still_right",
    "Patch: unit gradients": "catalog/test_catalog_acceptance.py::test_terms_of_a_patch_have_length_one_before_they_m",
    "Patch: pinhole": "physical/test_physical_placement.py::test_the_plane_of_a_board_is_where_a_pinhole_sees_its_poin",
    "Patch: area": "physical/test_physical_placement.py::test_coverage_is_the_area_of_the_quadrilateral",
    "Patch: scored outside": "evaluation/test_evaluation_patch.py::test_scores_are_taken_outside_it_and_baselines_",
    "EOT: 1/√k": "attacks/test_attacks_expectation.py::test_the_error_of_an_expectation_falls_with_the_root_of_its_dr",
    "EOT: labels move along": "ops/test_ops_warp.py::test_labels_follow_the_colours_of_a_colour_coded_picture",
}


@pytest.mark.parametrize("statement", list(LIST))
def test_every_statement_has_its_test(statement):
    file, _, name = LIST[statement].partition("::")
    assert re.search(rf"^def {name}", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE)


class Watched(toys.Toy):
    """Remembers what it was asked."""

    def __call__(self, images: Tensor, *, want: frozenset[str] = frozenset()) -> DenseOutput:
        self.__dict__.setdefault("asked", []).append(images.detach().clone())
        return super().__call__(images, want=want)


class LeftHalf(nn.Module):
    """Looks at the left half of the picture, and never at blue."""

    def __init__(self) -> None:
        super().__init__()
        self.net = toys.conv_net()

    def forward(self, x: Tensor) -> Tensor:
        seen = x.clone()
        seen[..., x.shape[-1] // 2 :] = 0.5
        seen[:, 2] = 0.5
        return self.net(seen)


def test_fgsm_leaves_alone_what_has_no_gradient():
    images, labels = toys.scene()
    moved = attack("fgsm:eps=4/255")(toys.Toy(LeftHalf(), 4), images, labels).images - images
    assert not moved[..., 8:].any()
    assert not moved[:, 2].any()
    assert moved[:, :2, :, :7].any(1).float().mean() > 0.9


class Sum(nn.Module):
    """The lead of class 0 everywhere: ``Σ x - threshold``."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        s = (x.flatten(1).sum(1) - self.threshold).view(-1, 1, 1).expand(-1, *x.shape[2:])
        return torch.stack([s, 0 * s], 1)


@pytest.mark.parametrize("spec", ["cw-linf:descents=16,slack=0.01", "cw-l0:descents=14,steps=40"])
def test_confidence_is_never_free(spec):
    """To fall by one the sum needs one pixel at black in L0 (its three values are ½), and 1/90 of all 90 in L∞."""
    images = torch.full((1, 3, 5, 6), 0.5)
    labels, lengths = torch.zeros(1, 5, 6, dtype=torch.int64), []
    for kappa in (0, 3, 6):
        model = toys.Toy(Sum(45 - 1), 2)
        found = attack(f"{spec},confidence={kappa}")(model, images, labels)
        assert (model.module(found.images).diff(dim=1) > kappa).all()
        delta = (found.images - images)[0]
        lengths.append(float(delta.abs().max() if "linf" in spec else (delta != 0).any(0).sum()))
    least = [(1 + kappa) / 90 if "linf" in spec else math.ceil((1 + kappa) / 1.5) for kappa in (0, 3, 6)]
    assert lengths[0] < lengths[1] < lengths[2]
    assert all(a >= b - 1e-6 for a, b in zip(lengths, least, strict=True))
    assert all(a <= 1.1 * b + 1 * ("l0" in spec) for a, b in zip(lengths, least, strict=True))


@pytest.mark.parametrize("plan", [fewer_pixels(0.5, 1e6), fewer_pixels(0.01, 1e6), fewer_as_coded(1e6)])
def test_every_success_leaves_fewer_pixels(plan):
    """Whatever the perturbations are, ties and zeros included: none thaws, one at least is frozen, to the end."""
    g = torch.Generator().manual_seed(0)
    n = 3
    state = plan.first({"c": torch.ones(n), "tau": torch.ones(n), "free": torch.ones(n, 1, 4, 5)})
    rounds = 0
    while state["free"].flatten(1).any(1).all():
        made = {k: torch.randint(-2, 3, (n, 3, 4, 5), generator=g).float() for k in ("theta", "pull", "last")}
        none = torch.zeros(n, dtype=torch.int64)
        land = Landing(**made, solved=none == 0, score=torch.ones(n), size=torch.ones(n), forwards=none,
                       backwards=none, trace=torch.zeros(n, 1), fault=none)  # fmt: skip
        before, (state, _) = state["free"], plan.then(state, land, rounds)
        assert (state["free"] <= before).all()
        assert (state["free"].flatten(1).sum(1) < before.flatten(1).sum(1)).all()
        rounds += 1
    assert rounds <= 20


@pytest.mark.parametrize("temperature", [1.0, 10.0, 100.0])
def test_logits_of_a_student_grow_with_the_temperature(temperature):
    """Of two colours one is class 0 in three cases of four: the best logits are ``T log 3`` apart, for both."""
    x = torch.tensor([0.2, 0.8]).repeat_interleave(4).view(1, 1, 2, 4).double()
    y = SemanticTarget(torch.tensor([[[0, 0, 0, 1], [1, 1, 1, 0]]]))

    def fitted(loss) -> nn.Module:
        net = nn.Conv2d(1, 2, 1).double()
        nn.init.zeros_(net.weight)
        nn.init.zeros_(net.bias)
        optimiser = torch.optim.LBFGS(net.parameters(), lr=temperature, max_iter=200, line_search_fn="strong_wolfe",
                                      tolerance_grad=1e-12, tolerance_change=1e-14)  # fmt: skip

        def closure() -> Tensor:
            optimiser.zero_grad()
            value = loss(DenseOutput(net(x))).sum() * temperature
            value.backward()
            return value

        optimiser.step(closure)
        return net

    teacher = fitted(lambda out: cross_entropy(out, y, temperature=temperature))
    said = DenseOutput(teacher(x).detach())
    student = fitted(lambda out: soft_cross_entropy(out, said, y, temperature))
    for net in (teacher, student):
        lead = net(x).diff(dim=1).abs()
        torch.testing.assert_close(lead, torch.full_like(lead, temperature * math.log(3)), rtol=1e-3, atol=0)


def test_saga_without_a_vit_is_bim_on_the_weighted_loss():
    """Members without attention: ``x ← clip(x + α sign ∂(0.7 L_1 + 0.3 L_2))``, written out."""
    nets = [toys.conv_net(seed=s) for s in (1, 2)]
    x0, labels = toys.scene(seed=4)
    eps, steps = 0.02, 5
    x = x0.clone()
    for _ in range(steps):
        x.requires_grad_()
        up = [F.interpolate(n(x), labels.shape[-2:], mode="bilinear", align_corners=False) for n in nets]
        losses = [F.cross_entropy(z, labels, ignore_index=255) for z in up]
        (g,) = torch.autograd.grad(0.7 * losses[0] + 0.3 * losses[1], x)
        x = (x0 + (x.detach() + eps / 4 * g.sign() - x0).clamp(-eps, eps)).clamp(0, 1)
    spec = f"saga:weights=0.7/0.3,steps={steps},step_size=eps/4"
    models = [wrap(n, classes=list("abcd")) for n in nets]
    seen: list[Tensor] = []
    hook = nets[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    attack(spec, eps=eps)(models, x0, labels, early_stop=False)
    hook.remove()
    torch.testing.assert_close(seen[-1], x, atol=1e-6, rtol=0)  # the last iterate; what comes back is the best one


@pytest.mark.parametrize("rest", ["goal", "wrong"])
def test_every_step_of_dag_is_as_long_as_said(rest):
    model = Watched(toys.conv_net(sharp=2000.0), 4)
    images, labels = toys.scene()
    attack(f"dag:rest={rest},steps=6")(model, 0.2 + 0.6 * images, labels, early_stop=False)
    walk = torch.stack(model.__dict__["asked"][-7:])
    lengths = walk.diff(dim=0).abs().flatten(2).amax(2) * 510
    torch.testing.assert_close(lengths, torch.ones(6, 3), atol=1e-3, rtol=0)


def test_the_trace_of_dag_counts_the_active_targets():
    """One less the trace is the share still active: of every iterate, the fewest so far."""
    model = Watched(toys.trained().module, 3)
    images, labels = toys.blocks(2, 5)
    images, labels[:, 0] = images.clamp(0, 1), 255
    found = attack("dag:rest=wrong,steps=8,step_size=2/255")(model, images, labels, early_stop=False)
    walk = model.__dict__["asked"][-9:]
    active = torch.stack([(~toys.wrong(model, x, labels) & (labels != 255)).flatten(1).sum(1) for x in walk], 1)
    valid = (labels != 255).flatten(1).sum(1)
    told = ((1 - found.trace) * valid[:, None]).round().long()
    assert torch.equal(told, active.cummin(1).values)
    assert (active[:, -1] < active[:, 0]).all()


def test_shuffled_dag_leaves_a_trained_net():
    """The paper's control on a network of the zoo: the same noise in other places costs less than a point of mIoU."""
    model, data = robustseg.load_model("zoo:street-unet"), robustseg.load_data("street:val", resize=(128, 256))
    images, labels = data[0].image[None], data[0].labels[None]

    def miou(x: Tensor) -> float:
        with torch.no_grad():
            said = predict(model(x), (128, 256))
        seen = labels != data.ignore
        classes = labels[seen].unique()
        both = torch.stack([((said == c) & (labels == c)).sum() for c in classes])
        any_ = torch.stack([((said == c) | (labels == c))[seen].sum() for c in classes])
        return float((both / any_).mean())

    spec = "dag:rest=wrong,steps=5,step_size=2/255"
    found, control = (attack(spec + more)(model, images, labels, ids=["a"]) for more in ("", ",control=shuffled"))
    assert miou(found.images) < miou(images) - 0.1
    assert abs(miou(control.images) - miou(images)) < 0.01


def test_terms_of_a_patch_have_length_one_before_they_mix():
    """Slopes (3, 4) and (0, 1000), mixed 1 to 3, then made one long again, and the smoothness beside: ½ · (-1, 0)."""
    theta = torch.zeros(1, 2, 1, 1, requires_grad=True)
    slopes = {"right": [3.0, 4.0], "wrong": [0.0, 1000.0], "smooth": [-7.0, 0.0]}
    terms = {k: (torch.tensor(v).view(1, 2, 1, 1) * theta).flatten(1).sum(1) for k, v in slopes.items()}
    rule = unit_terms(lambda view, target: {"right": 0.25, "wrong": 0.75}, {"smooth": 0.5})
    view = View(theta, theta, theta, DenseOutput(theta))
    found = rule(terms, view, SemanticTarget(torch.zeros(1, 1, 1, dtype=torch.int64)), theta).flatten()
    mixed = 0.25 * torch.tensor([0.6, 0.8]) + 0.75 * torch.tensor([0.0, 1.0])
    torch.testing.assert_close(found, mixed / mixed.norm() + torch.tensor([-0.5, 0.0]))
