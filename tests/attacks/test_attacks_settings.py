"""What is tried next: every plan against descents that succeed exactly from a known setting on."""

from __future__ import annotations

import pytest
import torch

from robustseg.attacks.minimal import Landing
from robustseg.attacks.settings import bisection, closing_bound, fewer_as_coded, fewer_pixels, tighter_bound

START = 1e-3


def landing(solved: torch.Tensor, size: torch.Tensor | None = None, **fields: torch.Tensor) -> Landing:
    n = len(solved)
    none = torch.zeros(n, dtype=torch.int64)
    made = {name: torch.zeros(n, 3, 2, 2) for name in ("theta", "pull", "last")} | fields
    return Landing(
        **made, solved=solved, score=solved.float(), size=torch.ones(n) if size is None else size, forwards=none,
        backwards=none, trace=torch.zeros(n, 1), fault=none,
    )  # fmt: skip


def setting(n: int, c: float = START) -> dict[str, torch.Tensor]:
    return {"c": torch.full((n,), c, dtype=torch.float64), "tau": torch.ones(n), "free": torch.ones(n, 1, 2, 2)}


@pytest.mark.parametrize("count", [9, 12])
def test_bisection_finds_the_bracket(count):
    """c rises tenfold to its first success, then the bracket halves; of ten descents and more the last is its top."""
    need = torch.tensor([0.0006, 0.05, 0.73], dtype=torch.float64)
    plan = bisection(count)
    now = plan.first(setting(3))
    seen = [now["c"]]
    for number in range(count - 1):
        now, on = plan.then(now, landing(now["c"] >= need), number)
        assert on.all()
        assert (now["low"] < need).all()
        assert (now["high"] >= need).all()
        seen.append(now["c"])
    tried = torch.stack(seen)
    assert torch.allclose(tried[:4, 2], START * torch.tensor([1.0, 10, 100, 1000], dtype=torch.float64))
    assert torch.allclose(tried[:3, 0], START * torch.tensor([1, 0.5, 0.75], dtype=torch.float64))
    assert torch.allclose(tried[4, 2], (tried[2, 2] + tried[3, 2]) / 2)
    width = now["high"] - now["low"]
    first = torch.stack([t[t >= n][0] for t, n in zip(tried.T, need)])
    assert (width <= first / 2 ** (count - 7)).all()
    if count >= 10:
        assert torch.equal(now["c"], now["high"])


def test_the_bound_tightens_after_success_and_c_doubles_after_failure():
    plan = tighter_bound(0.9, 1.0, 0.25, 5e-3)
    now, on = plan.then(
        plan.first(setting(3)), landing(torch.tensor([True, True, False]), torch.tensor([0.5, 0.2, 9.0])), 0
    )
    assert torch.allclose(now["tau"], torch.tensor([0.45, 0.18, 1.0]))
    assert torch.allclose(now["c"], START * torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64))
    assert on.tolist() == [True, False, True]  # 0.18 is below the least bound
    for expected in (True, False):
        now, on = plan.then(now, landing(torch.zeros(3, dtype=torch.bool)), 1)
        assert on[2] == expected  # 4e-3, then 8e-3: beyond the limit


def test_an_exact_bound_closes_in():
    """Needed: 0.1, 0.3 and more than there is. τ doubles to its first success, then the gap halves, never below 0.8."""
    need, plan = torch.tensor([0.1, 0.3, 2.0]), closing_bound(0.8, 0.2, 0.01)
    now, tried, on = plan.first(setting(3)), [], torch.ones(3, dtype=torch.bool)
    for number in range(8):
        tried.append(now["tau"])
        solved = now["tau"] >= need
        now, on = plan.then(now, landing(solved, torch.where(solved, now["tau"], torch.inf)), number)
        assert (now["failed"] < need).all()
    assert torch.allclose(torch.stack(tried)[:3], torch.tensor([[0.2, 0.2, 0.2], [0.16, 0.4, 0.4], [0.128, 0.32, 0.8]]))
    assert torch.allclose(now["reached"][:2], need[:2], rtol=0.03)
    assert (now["reached"][:2] >= need[:2]).all()
    assert on.tolist() == [True, True, False]  # not even the whole pixel range was enough


def test_frozen_are_the_pixels_that_matter_least():
    """Score ``|Σ δ| Σ |g|``: here 4, 1, 0 (channels that cancel), 3; half of the free pixels go, and never thaw."""
    theta, pull = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2) / 3
    theta[0, 0] = torch.tensor([[4.0, 1.0], [5.0, 3.0]])
    theta[0, 1, 1, 0] = -5.0
    plan = fewer_pixels(0.5, 1.0)
    begun = plan.first(setting(1))
    same, _ = plan.then(begun, landing(torch.tensor([False]), theta=theta, pull=pull), 0)
    assert same["free"].all()  # nothing is frozen before a success
    now, on = plan.then(begun, landing(torch.tensor([True]), theta=theta, pull=pull), 0)
    assert now["free"][0, 0].tolist() == [[1, 0], [0, 1]]
    assert on.all()
    less, _ = plan.then(now, landing(torch.tensor([False])), 1)
    assert less["free"][0, 0].tolist() == [[1, 1], [0, 1]]  # a quarter instead of a half
    again, _ = plan.then(now, landing(torch.tensor([True]), theta=theta, pull=pull), 1)
    assert again["free"][0, 0].tolist() == [[1, 0], [0, 0]]
    last, on = plan.then(again, landing(torch.tensor([True]), theta=theta, pull=pull), 2)
    assert not last["free"].any()
    assert not on.any()


@pytest.mark.parametrize(
    ("unchanged", "little", "scale", "frozen"), [(0, 0.0, 1e-6, 1), (121, 0.0, 1e-6, 4), (121, 5e-5, 1e3, 1)]
)
def test_the_authors_rule(unchanged, little, scale, frozen):
    """One pixel more than ``0.3 √unchanged`` at most, none beyond the first whose score is above 0.01."""
    theta = torch.full((1, 3, 12, 12), 1.0)
    theta.view(1, 3, -1)[:, :, :unchanged] = little
    pull = torch.full_like(theta, scale)
    state = {"c": torch.ones(1), "tau": torch.ones(1), "free": torch.ones(1, 1, 12, 12)}
    now, _ = fewer_as_coded(10.0).then(state, landing(torch.tensor([True]), theta=theta, pull=pull), 0)
    gone = 144 - int(now["free"].sum())
    assert gone == frozen
