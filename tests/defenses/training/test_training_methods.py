"""The methods: the attack inside is the catalog's, in eval mode; robust features are kept; distillation only hides."""

import dataclasses

import pytest
import torch
from torch import nn

from robustseg import attack as named
from robustseg import wrap
from robustseg.defenses.training.loop import Plan, train
from robustseg.defenses.training.losses import divergence, log_probabilities, supervised
from robustseg.defenses.training.masking import cautions, masking_report
from robustseg.defenses.training.methods import Method, attacked_places, attacks_of, drawn
from robustseg.defenses.training.recipe import Distill, Recipe, Trades
from robustseg.types import SemanticTarget

EPS = 4 / 255
PLAIN = Recipe("toy", "toy", attacks=("pgd:eps=4/255,steps=3,step_size=eps/2",))
PGD = named("pgd:eps=4/255,steps=3,step_size=eps/2")
STRONG = named("pgd:eps=4/255,steps=10")


class Watched(nn.Module):
    """One 3x3 convolution, normalisation and a 1x1 convolution that remember what they saw, and in which mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        self.seen = []

    def forward(self, x):
        self.seen.append((self.training, x.detach().clone()))
        return self.layers(x)


def batch(n=2):
    g = torch.Generator().manual_seed(1)
    labels = (torch.rand(n, 8, 8, generator=g) > 0.5).long()
    return torch.rand(n, 3, 8, 8, generator=g), SemanticTarget(labels)


def watched():
    model = wrap(Watched(), classes=["a", "b"])
    model.module.train()
    model.module.seen.clear()
    return model


IDS = ["0/0/0", "0/0/1"]
ALL = torch.ones(2, dtype=torch.bool)


def test_the_attack_is_the_catalogs_in_eval_mode_and_the_training_in_train_mode():
    model, (x, y) = watched(), batch()
    values, wrong = Method(PLAIN).values(model, model, x, y, IDS, PGD, ALL)
    modes = [mode for mode, _ in model.module.seen]
    assert modes == [False] * 4 + [True]  # three steps, the score of the last, the training
    adversarial = model.module.seen[-1][1]
    other = watched()
    wanted = PGD(other, x, y, ids=IDS, early_stop=False)
    assert torch.equal(adversarial, wanted.images)
    assert torch.equal(wrong, wanted.score)
    assert (adversarial - x).abs().amax() == pytest.approx(EPS, rel=1e-4)
    assert wanted.score.sum() > 0
    assert torch.equal(values, supervised(_again(other, adversarial), y))
    assert model.module.training


def _again(model, images):
    model.module.train()
    return model(images)


def test_normalisation_learns_from_the_training_pass_alone():
    model, (x, y) = watched(), batch()
    Method(PLAIN).values(model, model, x, y, IDS, PGD, ALL)
    norm = model.module.layers[1]
    assert norm.num_batches_tracked == 1
    features = model.module.layers[0](model.module.seen[-1][1])
    torch.testing.assert_close(norm.running_mean, 0.1 * features.mean((0, 2, 3)))


def test_parameters_get_the_gradient_of_the_attacked_images():
    model, (x, y) = watched(), batch()
    values, _ = Method(PLAIN).values(model, model, x, y, IDS, PGD, ALL)
    values.mean().backward()
    got = model.module.layers[0].weight.grad
    other = watched()
    supervised(_again(other, model.module.seen[-1][1]), y).mean().backward()
    torch.testing.assert_close(got, other.module.layers[0].weight.grad)
    assert got.abs().max() > 0


def test_half_of_a_batch_is_left_exactly_as_it_was():
    some = torch.tensor(attacked_places(0.5, range(2)))
    model, (x, y) = watched(), batch()
    _, wrong = Method(PLAIN).values(model, model, x, y, IDS, named("segpgd:eps=4/255,steps=2"), some)
    shown = model.module.seen[-1][1]
    assert torch.equal(shown[0], x[0])
    assert (shown[1] - x[1]).abs().amax() > EPS / 2
    assert wrong[0] == 0


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_share_is_that_share_of_every_batch(share):
    assert sum(attacked_places(share, range(8))) == 8 * share


def test_a_mixture_draws_every_attack_by_seed_and_step_alone():
    attacks = attacks_of(Recipe("toy", "toy", attacks=("pgd", "segpgd", "clean")))
    names = [getattr(drawn(attacks, 0, k), "name", "clean") for k in range(30)]
    assert set(names) == {"pgd", "segpgd", "clean"}
    assert names == [getattr(drawn(attacks, 0, k), "name", "clean") for k in range(30)]
    assert names != [getattr(drawn(attacks, 1, k), "name", "clean") for k in range(30)]


def test_trades_drives_the_prediction_away_and_pays_for_it():
    x, y = batch()
    recipe = dataclasses.replace(PLAIN, trades=Trades(beta=2.0))
    model = watched()
    values, _ = Method(recipe).values(model, model, x, y, IDS, PGD, ALL)
    (_, clean), (_, moved) = model.module.seen[-2:]
    assert torch.equal(clean, x)

    judge = watched().module.eval()
    twin = wrap(judge, classes=["a", "b"])
    log_p = log_probabilities(twin(x), (8, 8)).detach()
    reached = divergence(twin(moved), log_p, y)
    noise = EPS * (torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1).sign()
    assert (reached > 2 * divergence(twin((x + noise).clamp(0, 1)), log_p, y)).all()

    again = watched()
    said = again(x)
    log_p = log_probabilities(said, (8, 8))
    torch.testing.assert_close(values, supervised(said, y) + 2.0 * divergence(again(moved), log_p, y))


# ---------------------------------------------------------------- two stories on pixels that can be worked out


def pixels(n, generator):
    """A strong hint (red, off by 40/255, wrong for one pixel in twelve) and a weak one (green, 2/255, always right)."""
    labels = (torch.rand(n, 8, 8, generator=generator) > 0.5).long()
    strong = torch.where(torch.rand(n, 8, 8, generator=generator) < 1 / 12, 1 - labels, labels)
    x = torch.full((n, 3, 8, 8), 0.5)
    x[:, 0] += (2 * strong - 1) * 40 / 255
    x[:, 1] += (2 * labels - 1) * 2 / 255
    return x, SemanticTarget(labels)


def linear():
    torch.manual_seed(0)
    return wrap(nn.Conv2d(3, 2, 1), classes=["a", "b"], mean=(0.5,) * 3, std=(0.1, 0.005, 0.1))


def trained(model, recipe, folder, *, steps, lr, teacher=None):
    attacks = attacks_of(recipe)

    def losses(network, step):
        x, y = pixels(4, torch.Generator().manual_seed(step))
        shown = dataclasses.replace(model, module=network)
        ids = [f"{step}/{i}" for i in range(4)]
        method = Method(recipe, teacher=teacher)
        yield method.values(shown, model, x, y, ids, drawn(attacks, 0, step), torch.ones(4, dtype=torch.bool))[0].mean()

    plan = Plan(steps, lr=lr, weight_decay=0.0, warmup=1, poly=0.9, clip=1e9, ema=0.0, seed=0)
    train(model.module, losses, plan, folder)
    model.module.eval()
    return model


def wrong_share(model, attack):
    x, y = pixels(4, torch.Generator().manual_seed(999))
    return float(attack(model, x, y).score.mean())


def test_adversarial_training_gives_up_the_feature_that_an_attacker_can_turn(tmp_path):
    """Clean training is always right and always fooled; under attack one pixel in twelve is wrong, and no more."""
    none = named("pgd:eps=0.0001/255,steps=1")
    clean = trained(linear(), dataclasses.replace(PLAIN, attacks=("clean",)), tmp_path / "clean", steps=80, lr=0.1)
    robust = trained(linear(), PLAIN, tmp_path / "robust", steps=80, lr=0.1)
    assert wrong_share(clean, none) < 0.02
    assert wrong_share(clean, STRONG) > 0.9
    assert wrong_share(robust, none) < 0.15
    assert wrong_share(robust, STRONG) < 0.15


def test_distillation_fools_fgsm_and_no_margin(tmp_path):
    """The published story: at temperature 100 the logits grow, float32 has no gradient left at 1, and nothing else."""
    recipe = dataclasses.replace(PLAIN, attacks=("clean",), distill=Distill(temperature=100.0))
    teacher = trained(linear(), recipe, tmp_path / "teacher", steps=150, lr=20.0)
    student = trained(linear(), recipe, tmp_path / "student", steps=150, lr=20.0, teacher=teacher)
    x, y = pixels(4, torch.Generator().manual_seed(999))
    report = masking_report(student, x, y)
    assert report["wrong"] == 0
    assert report["zero_ce"] > 0.95
    assert report["zero_margin"] == 0
    assert "exactly zero" in cautions(report)[0]

    found = named("fgsm:eps=4/255")(student, x, y)
    assert found.score.mean() < 0.05
    assert (found.fault == 2).all()  # and the library says why: every gradient was exactly zero
    assert wrong_share(student, named("margin:eps=4/255,steps=10")) > 0.9

    ordinary = trained(linear(), dataclasses.replace(PLAIN, attacks=("clean",)), tmp_path / "plain", steps=80, lr=0.1)
    assert cautions(masking_report(ordinary, x, y)) == []
    assert wrong_share(ordinary, named("fgsm:eps=4/255")) > 0.9
