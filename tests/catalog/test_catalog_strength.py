"""Attacks attack: each beats noise on a trained network, and the ensemble breaks what only hides its gradient."""

from __future__ import annotations

import pytest
import torch

import attack_toys as toys

EPS = "8/255"


@pytest.fixture(scope="module")
def net() -> toys.Toy:
    return toys.trained()


@pytest.fixture(scope="module")
def scene():
    return toys.blocks(4, 0)


def share_wrong(model, scene, spec, **options) -> torch.Tensor:
    images, labels = scene
    result = toys.ready(spec, 3, eps=EPS, **options)(model, images, labels)
    seen = toys.wrong(model, result.images, labels).flatten(1).float().mean(1)
    assert torch.allclose(seen, result.score)  # what it says is what the referee sees
    return seen


def test_the_network_is_good_when_nobody_attacks(net, scene):
    assert toys.wrong(net, *scene).float().mean() < 0.03


@pytest.mark.parametrize("name", toys.UNTARGETED)
@pytest.mark.parametrize("kind", ["linf", "l2"])
def test_gradients_beat_noise(net, scene, name, kind):
    images, labels = scene
    eps = EPS if kind == "linf" else "1.3"  # about the length of a corner of the linf ball
    attacks = [toys.ready(n, 3, eps=eps, norm=kind) for n in (name, "noise")]
    mine, noise = (toys.wrong(net, a(net, images, labels).images, labels).float().mean() for a in attacks)
    assert mine > noise + 0.05
    assert mine > 3 * noise


def test_iterations_beat_one_step_and_ensembles_their_members(net, scene):
    one, many = share_wrong(net, scene, "fgsm"), share_wrong(net, scene, "pgd")
    assert many.mean() > one.mean()
    whole = share_wrong(net, scene, "strong", steps=10)
    members = [share_wrong(net, scene, m, steps=10) for m in ("tsallis", "js", "masked-ce", "padam-cos")]
    assert torch.allclose(whole, torch.stack(members).amax(0))


@pytest.fixture(scope="module")
def pixelwise():
    """A network that looks at single pixels, and the same with logits times 10,000.

    The softmax of the second saturates: where a pixel is right, the cross-entropy has no gradient at all in float32.
    """
    plain, masked = toys.trained(kernel=1, noise=0.02), toys.trained(1e4, kernel=1, noise=0.02)
    return plain, masked, toys.blocks(4, 0, noise=0.02)


def test_masked_gradients_stop_the_cross_entropy(pixelwise):
    plain, masked, scene = pixelwise
    assert torch.equal(toys.wrong(plain, *scene), toys.wrong(masked, *scene))
    noise = share_wrong(masked, scene, "noise")
    for spec in ("pgd", "apgd", "mi-fgsm"):
        assert share_wrong(plain, scene, spec).mean() > 0.5
        assert share_wrong(masked, scene, spec).mean() < noise.mean() + 0.02


def test_the_margin_sees_through_a_saturated_softmax(pixelwise):
    """A logit margin has the same gradient at any scale: nearly as strong on the masked network as on the plain one."""
    plain, masked, scene = pixelwise
    broken = share_wrong(masked, scene, "margin").mean()
    assert broken > 10 * share_wrong(masked, scene, "pgd").mean()
    assert broken > 0.8 * share_wrong(plain, scene, "margin").mean()


def test_strong_breaks_what_only_hides_its_gradient(pixelwise):
    plain, masked, scene = pixelwise
    broken = share_wrong(masked, scene, "strong").mean()
    assert broken > 10 * share_wrong(masked, scene, "pgd").mean()
    assert broken > 0.8 * share_wrong(plain, scene, "strong").mean()


def test_more_radius_is_more_damage(net, scene):
    images, labels = scene
    levels = [toys.ready("pgd", 3, eps=f"{n}/255")(net, images, labels).score.mean() for n in (0, 2, 4, 8, 16)]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] + 0.5


def test_noise_in_l2_has_the_whole_radius(net, scene):
    images = 0.3 + 0.4 * scene[0]
    result = toys.ready("noise", 3, eps="1.0", norm="l2")(net, images, scene[1])
    assert torch.allclose((result.images - images).flatten(1).norm(dim=1), torch.ones(4), atol=1e-3)
