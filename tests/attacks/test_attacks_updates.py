"""Step rules against the published algorithms, written down a second time as plainly as possible."""

from __future__ import annotations

import pytest
import torch

import attack_toys as toys
from robustseg.attacks import updates
from robustseg.attacks.constraints import Ball, Bound


def bound(eps: float = 0.1, kind: str = "linf", shape: tuple[int, ...] = (1, 1, 1, 1)) -> Bound:
    return Ball(kind, eps).bind(torch.full(shape, 0.5))


def walk(update: updates.Update, gradients, tracked, steps: int, where: Bound, start: torch.Tensor | None = None):
    """Every iterate under prescribed gradients and tracked values; ``gradients(k, theta)`` may look at the iterate."""
    theta = torch.zeros_like(where.low) if start is None else start
    state, path, states = update.init(theta, where), [theta], []
    for k in range(steps):
        theta, state = update.step(k, steps, theta, gradients(k, theta), tracked(k, theta), state, where)
        path.append(theta)
        states.append(state)
    return path, states


# ------------------------------------------------------------------------- APGD


def test_checkpoints_of_the_paper():
    assert updates.apgd_checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert updates.apgd_checkpoints(20) == (4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
    for steps in range(1, 12):
        points = updates.apgd_checkpoints(steps)
        assert points[0] == max(int(0.22 * steps), 1)
        assert list(points) == sorted(set(points))


def test_halving_by_hand():
    """eps 0.1, first step 0.2, gradient +1, value falling from the start: at check k = 2 nothing rose.

    x1 = Π(0.2) = 0.1; x2 = Π(0.1 + 0.25·0.1) = 0.1; then back to x0 = 0 with η = 0.1:
    u = 0.1, x3 = 0.75·0.1 + 0.25·(0 - 0.1) = 0.05.
    """
    path, states = walk(
        updates.apgd(), lambda k, x: torch.ones_like(x), lambda k, x: torch.tensor([-float(k)]), 10, bound()
    )
    assert updates.apgd_checkpoints(10)[:2] == (2, 3)
    assert [round(x.item(), 6) for x in path[:4]] == [0.0, 0.1, 0.1, 0.05]
    assert states[1]["eta"].item() == pytest.approx(0.2)
    assert states[2]["eta"].item() == pytest.approx(0.1)


def test_a_rising_value_keeps_the_step():
    _, states = walk(
        updates.apgd(), lambda k, x: torch.ones_like(x), lambda k, x: torch.tensor([float(k)]), 50, bound()
    )
    assert states[-1]["eta"].item() == pytest.approx(0.2)


def reference_apgd(eps, values, gradients, steps, start):
    """Algorithm 1 of Croce & Hein for one number, with lists: values f(x_k), gradients at x_k."""

    def project(v):
        return min(max(v, -eps), eps)

    def sign(v):
        return (v > 0) - (v < 0)

    points = [0]
    p = [0.0, 0.22]
    while p[-1] <= 1:
        points.append(round(p[-1] * steps))
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    eta, x, x_prev, path = 2 * eps, start, start, [start]
    best, best_g, f_max = start, gradients[0], values[0]
    f_max_at, eta_at, f = -float("inf"), None, [values[0]]
    last = 0
    for k in range(steps):
        if k > 0:
            f.append(values[k])
            if values[k] > f_max:
                f_max, best, best_g = values[k], x, gradients[k]
        g = gradients[k]
        if k > 0 and k in points[1:]:
            rises = sum(f[i + 1] > f[i] for i in range(last, k))
            first = rises <= 0.75 * (k - last)
            second = eta_at == eta and f_max_at == f_max
            eta_at, f_max_at = eta, f_max
            if first or second:
                eta, x, g = eta / 2, best, best_g
                eta_at = None if (first or second) else eta_at
            last = k
        u = project(x + eta * sign(g))
        a = 0.75 if k > 0 else 1.0
        x, x_prev = project(x + a * (u - x) + (1 - a) * (x - x_prev)), x
        path.append(x)
    return path


@pytest.mark.parametrize("seed", range(6))
def test_against_the_algorithm_written_for_one_number(seed):
    g = torch.Generator().manual_seed(seed)
    steps, eps = 100, 0.1
    values = (torch.randn(steps, generator=g) + torch.linspace(0, 2, steps) * (seed % 3)).tolist()
    slopes = torch.randn(steps, generator=g).tolist()
    expected = reference_apgd(eps, values, slopes, steps, 0.02)
    path, _ = walk(
        updates.apgd(),
        lambda k, x: torch.full_like(x, slopes[k]),
        lambda k, x: torch.tensor([values[k]]),
        steps,
        bound(eps),
        torch.full((1, 1, 1, 1), 0.02),
    )
    assert torch.allclose(torch.stack(path).flatten(), torch.tensor(expected), atol=1e-6)


def test_images_halve_on_their_own():
    both = bound(shape=(2, 1, 1, 1))
    _, states = walk(
        updates.apgd(), lambda k, x: torch.ones_like(x), lambda k, x: torch.tensor([float(k), -float(k)]), 10, both
    )
    eta = states[-1]["eta"]
    assert eta[0].item() == pytest.approx(0.2)
    assert eta[1] < 0.01


# ------------------------------------------------------------------------- momentum, sign, Adam


def random_gradients(seed: int = 0, shape=(2, 3, 4, 4), steps: int = 8):
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randn(steps, *shape, generator=g)
    return lambda k, x: drawn[k]


NOTHING = lambda k, x: torch.zeros(len(x))  # noqa: E731


def test_momentum_without_memory_is_the_sign_step():
    where = bound(shape=(2, 3, 4, 4))
    first, _ = walk(updates.momentum(0.01, 0.0), random_gradients(), NOTHING, 8, where)
    second, _ = walk(updates.sign(0.01), random_gradients(), NOTHING, 8, where)
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_momentum_by_hand():
    """g = +1 then -1 at one image of two pixels with |g|₁ normalised: m = 1, then 1·μ - 1."""
    where = bound(shape=(1, 1, 1, 2))
    signs = [torch.tensor([3.0, 3.0]), torch.tensor([-1.0, -1.0])]
    moves = {}
    for decay in (0.5, 1.5):
        path, _ = walk(updates.momentum(0.01, decay), lambda k, x: signs[k].view(1, 1, 1, 2), NOTHING, 2, where)
        moves[decay] = [round(float(x[0, 0, 0, 0]), 4) for x in path]
    assert moves == {0.5: [0.0, 0.01, 0.0], 1.5: [0.0, 0.01, 0.02]}


def test_adam_is_torchs_amsgrad():
    """Gradients with largest entry 1, so that the scaling by it changes nothing; far from the ball's edge."""
    where = bound(eps=0.4, shape=(1, 3, 4, 4))
    drawn = random_gradients(shape=(1, 3, 4, 4))

    def gradients(k, x):
        return drawn(k, x) / drawn(k, x).abs().max()

    path, _ = walk(updates.adam(0.01), gradients, NOTHING, 8, where)
    parameter = torch.nn.Parameter(torch.zeros(1, 3, 4, 4))
    optimiser = torch.optim.Adam([parameter], lr=0.01, amsgrad=True, maximize=True)
    for k in range(8):
        parameter.grad = gradients(k, None)
        optimiser.step()
        assert torch.allclose(path[k + 1], parameter, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e20])
@pytest.mark.parametrize("make", [updates.sign, updates.momentum, updates.adam, lambda rate: updates.apgd()])
@pytest.mark.parametrize("kind", ["linf", "l2"])
def test_the_size_of_the_gradient_does_not_matter(make, scale, kind):
    where = bound(kind=kind, shape=(2, 3, 4, 4))
    drawn = random_gradients()
    small, _ = walk(make(0.01), lambda k, x: drawn(k, x) * scale, NOTHING, 8, where)
    plain, _ = walk(make(0.01), drawn, NOTHING, 8, where)
    assert torch.allclose(small[-1], plain[-1], atol=1e-5)
    assert small[-1].abs().max() > 0


def test_an_l2_adam_step_has_the_length_asked_for():
    where = bound(eps=5.0, kind="l2", shape=(1, 3, 4, 4))
    path, _ = walk(updates.adam(0.01), lambda k, x: torch.ones_like(x), NOTHING, 1, where)
    assert path[1].norm().item() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize(
    ("update", "eps"), [("sign", "eps/4"), ("apgd", "eps*2"), ("adam", "eps/4"), ("momentum", "eps/4")]
)
def test_step_size_reaches_every_update(update, eps):
    """A hundredth of the default step cannot get as far in two steps."""
    model = toys.Toy(toys.PixelLinear(), 2)
    images = torch.full((1, 3, 4, 4), 0.45)
    labels = model.module(images).argmax(1)
    far, near = (
        toys.ready(f"bim:update={update},steps=2,step_size={s}", 2)(model, images, labels).images - images
        for s in (eps, f"{eps[:3]}/100")
    )
    assert near.abs().max() <= 2.01 * 8 / 255 / 100
    assert far.abs().max() > 10 * near.abs().max() > 0


# ------------------------------------------------------------------------- DAG


@pytest.mark.parametrize("kind", ["linf", "l2"])
def test_the_largest_entry_of_a_normalised_step_is_its_length(kind):
    gradient = torch.tensor([[[[3e-9, -1e-9]]], [[[5.0, 20.0]]], [[[0.0, 0.0]]]])
    where = Ball(kind, 1.0).bind(torch.full_like(gradient, 0.5))
    path, _ = walk(updates.normalised(0.01), lambda k, x: gradient, lambda k, x: torch.zeros(3), 3, where)
    step = gradient / torch.tensor([3e-9, 20.0, 1.0]).view(3, 1, 1, 1) * 0.01
    for k in range(4):
        assert torch.allclose(path[k], k * step, rtol=1e-5)
