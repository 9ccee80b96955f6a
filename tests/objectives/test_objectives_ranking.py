"""AP of an image by the official rules, and its surrogate: order by hand, directions, temperature to 0."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from region_toys import ToyRegions, grid, squares, target
from robustseg.objectives.regions.ranking import SHARP, WIDE, _surrogate, ap_rank, harm, image_ap, log_odds
from robustseg.tasks import instance, rows
from robustseg.tasks.predict import predict
from robustseg.types import DenseOutput, QueryOutput, SegmentTarget, SemanticTarget, UserError, View


def seen(output, image):
    return View(image[None], image[None], torch.zeros_like(image[None]), output)


def scored(image, masks, model=None):
    model = model or ToyRegions(grid(24, 32))
    return harm(seen(model(image[None]), image), target([masks]), {}).item()


# ------------------------------------------------------------------------------------------------ the score itself


def test_by_hand():
    image, masks = squares([6, 8, 16], 40, 40)
    model = ToyRegions(grid(40, 40))
    reached = 1 - scored(image, masks, model)  # share of the thresholds that a pasted 8x8 mask reaches
    assert reached in [pytest.approx(n / 10) for n in range(4, 10)]
    dark = image.clone()
    dark[:, masks[1]] = 0.2
    # of 101 recalls 0 … 0.66 are reached
    assert scored(dark, masks, model) == pytest.approx(1 - reached * 67 / 101)
    assert scored(torch.full_like(image, 0.2), masks, model) == 1  # nothing found: solved
    phantom = image.clone()
    phantom[:, squares([2], 40, 40)[1][0]] = 0.9  # above all true ones
    # precision 1/2, 2/3, 3/4 at the three hits; made falling: 3/4 throughout
    assert scored(phantom, masks, model) == pytest.approx(1 - reached * 3 / 4)


def test_an_image_without_objects():
    image, masks = squares([])
    p = torch.tensor(-2.4).sigmoid().item()
    assert scored(image, masks) == pytest.approx(p, rel=1e-5)
    assert scored(squares([3])[0], masks) == pytest.approx(1 - p, rel=1e-5)
    assert scored(torch.ones(3, 24, 32), masks, ToyRegions(grid(24, 32), gain=99)) < 1  # never "nothing left to do"
    assert scored(torch.zeros(3, 24, 32), masks) == 0  # no detection


@torch.no_grad()
def test_equals_the_reported_ap_on_queries():
    """Random queries: the score is 1 - AP of ``tasks`` on this image as the whole data set."""
    g = torch.Generator().manual_seed(0)
    for seed in range(6):
        truth = torch.rand(4, 12, 20, generator=g) > 0.5
        logits = torch.where(truth, 2.0, -2.0)[torch.arange(4).repeat(3)] + torch.randn(12, 12, 20, generator=g)
        output = QueryOutput(torch.randn(1, 12, 4, generator=g), logits[None] + 0.6 * seed)
        t = SegmentTarget(
            torch.zeros(1, 12, 20, dtype=torch.int64), 255, truth[None], torch.tensor([[0, 1, 1, 2]]),
            torch.tensor([[False, False, seed % 2 == 1, False]]), torch.tensor([True, True, False]),
        )  # fmt: skip
        ours = harm(View(*[torch.zeros(1, 3, 12, 20)] * 3, output), t, {}).item()
        found = predict(output, (12, 20), t.things, ("instance",))
        row = rows.rows(found, t, tasks=("instance",), clean=None)[0]["instance"]
        ap = instance.average_precision([row], ["a", "b", "c"])["AP"]
        assert ours == pytest.approx(1 - ap, abs=1e-6)
        assert 0.02 < ours < 0.98


DETECTIONS = st.lists(st.tuples(st.floats(0.01, 1), st.integers(0, 10), st.sampled_from("012")), max_size=12)


@given(DETECTIONS, st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_image_ap_equals_the_official_average(detections, objects):
    """Any pattern of matches: a detection that reaches n thresholds, and else is false or ignored."""
    hits = 0
    made = []
    for score, reach, code in sorted(detections, reverse=True):
        reach = reach if hits < objects else 0
        hits += reach > 0
        digits = ("1" * reach + ("2" if code == "2" else "0") * (10 - reach)) * 4
        made.append([score, digits])
    row = {"0": {"objects": [objects] * 4, "detections": made}}
    assert image_ap(row) == pytest.approx(instance.average_precision([row], ["a"])["AP"])
    assert image_ap({"0": {"objects": [0] * 4, "detections": made}}) is None


def test_harm_follows_the_ap_of_the_data_set():
    """Darkening objects one after the other: the mean harm and the AP of the set fall together."""
    image, masks = squares([0, 2, 5, 8, 11])
    model, t = ToyRegions(grid(24, 32)), target([masks, masks])
    last = (-1.0, 2.0)
    for k in range(6):
        x = torch.stack([image, image])
        for m in masks[:k]:
            x[0][:, m] = 0.3
        output = model(x)
        mean = harm(View(x, x, x * 0, output), t, {}).mean().item()
        found = predict(output, (24, 32), t.things, ("instance",))
        table = [r["instance"] for r in rows.rows(found, t, tasks=("instance",), clean=None)]
        ap = instance.average_precision(table, ["background", "a"])["AP"]
        assert mean > last[0]
        assert ap < last[1]
        last = (mean, ap)


def test_what_it_refuses():
    x = torch.zeros(1, 3, 4, 4)
    with pytest.raises(UserError, match="SegmentTarget"):
        harm(View(x, x, x, DenseOutput(x)), SemanticTarget(torch.zeros(1, 4, 4, dtype=torch.int64)), {})
    with pytest.raises(UserError, match="have none"):
        harm(View(x, x, x, DenseOutput(x)), target([torch.ones(1, 4, 4, dtype=torch.bool)]), {})


# ------------------------------------------------------------------------------------------------ log-odds


def test_log_odds():
    z = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)).double() * 3
    p = z.softmax(-1)
    assert torch.allclose(log_odds(z), (p / (1 - p)).log(), atol=1e-9)
    sure = torch.tensor([60.0, 0.0, 0.0], requires_grad=True)
    odds = log_odds(sure)
    assert odds.tolist() == pytest.approx([60 - math.log(2), -60, -60], rel=1e-5)
    (g,) = torch.autograd.grad(odds[0], sure)
    assert g.tolist() == pytest.approx([1, -0.5, -0.5])  # where that of the probability is 0


# ------------------------------------------------------------------------------------------------ the surrogate


def surrogate(own, false, temperature=1.0, iou=1.0, width=SHARP):
    """One detection an object, all of one class; ``false`` log-odds of detections on nothing."""
    S = len(own)
    odds = torch.tensor([[*own, *false]]).unsqueeze(-1).expand(1, -1, 2)
    overlap = torch.zeros(1, S + len(false), S)
    overlap[0, range(S), range(S)] = iou
    free = torch.zeros(1, S + len(false), 2, dtype=torch.bool)
    free[0, S:, 1] = True
    _, masks = squares(list(range(S)))
    from robustseg.objectives.regions.matching import truth_of

    return _surrogate(odds, overlap, free, torch.ones(1, S), truth_of(target([masks])), temperature, width).item()


def test_at_temperature_zero_it_is_the_precision_at_the_ranks():
    """True at 3 and 1, false at 2 and 0: precision 1 and 2/3; the gates at IoU 1 are all but open."""
    gates = sum(1 / (1 + math.exp(-(1 - t) / 0.05)) for t in [0.5 + 0.05 * i for i in range(10)]) / 10
    value = surrogate([3.0, 1.0], [2.0, 0.0], temperature=0.01)
    assert value == pytest.approx(1 - gates * (1 + 2 / 3) / 2, rel=1e-3)


def test_every_direction_is_the_attackers():
    base = surrogate([3.0, 1.0], [2.0, 0.0])
    assert surrogate([3.0, 0.5], [2.0, 0.0]) > base  # a true one falls
    assert surrogate([3.0, 1.0], [2.5, 0.0]) > base  # a false one rises
    assert surrogate([3.0, 1.0], [2.0, 0.0], iou=0.8) > base  # boxes slide off
    assert surrogate([3.0, 1.0], [2.0, 0.0], iou=0.1) == pytest.approx(1, abs=1e-3)  # lost: at rest
    assert surrogate([4.0, 2.0], [3.0, 1.0]) == pytest.approx(base, rel=1e-5)  # only the order counts


def test_wide_gates_have_a_slope_above_the_last_threshold():
    """A box of IoU 1 that slides to 0.99 gains the attacker more, relative to what is left, where gates are wide."""

    def slope(width):
        whole, less = (1 - surrogate([5.0], [-5.0], iou=iou, width=width) for iou in (1.0, 0.99))
        return (whole - less) / whole

    assert slope(WIDE) > slope(SHARP) > 0


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_gradient_on_regions(progress):
    """Brighter phantoms, darker objects."""
    image, masks = squares([0, 5])
    x = image[None].requires_grad_()
    output = ToyRegions(grid(24, 32), gain=2)(x)
    terms, _ = ap_rank().value(replace(seen(output, image), output=output), target([masks]), {}, progress)
    (g,) = torch.autograd.grad(terms["ap-rank"].sum(), x)
    inside = masks.any(0)
    assert (g[0, :, inside] < 0).all()
    assert (g[0, :, ~inside] > 0).all()


def test_gradient_on_queries_by_finite_differences():
    g = torch.Generator().manual_seed(0)
    truth = torch.zeros(3, 8, 8, dtype=torch.bool)
    truth[0, :3, :3], truth[1, 4:, 4:], truth[2, :3, 5:] = True, True, True
    t = target([truth], classes=3)
    t = replace(t, categories=torch.tensor([[0, 1, 2]]), things=torch.tensor([True, True, False]))
    queries = torch.where(truth, 3.0, -3.0)[torch.tensor([0, 1, 1, 2])]
    masks = (queries + torch.randn(4, 8, 8, generator=g))[None].double()
    classes = torch.randn(1, 4, 4, generator=g).double()

    def value(c, m):
        view = View(*[torch.zeros(1, 3, 8, 8)] * 3, QueryOutput(c, m))
        return ap_rank().value(view, t, {}, 0.5)[0]["ap-rank"].sum()

    c, m = classes.clone().requires_grad_(), masks.clone().requires_grad_()
    gc, gm = torch.autograd.grad(value(c, m), (c, m))
    dc, dm = (torch.randn(v.shape, generator=g, dtype=v.dtype) for v in (c, m))
    h = 1e-6
    with torch.no_grad():
        slope = (value(classes + h * dc, masks + h * dm) - value(classes - h * dc, masks - h * dm)) / (2 * h)
    assert slope.item() == pytest.approx(((gc * dc).sum() + (gm * dm).sum()).item(), rel=1e-4)
    assert gc.abs().max() > 1e-3
    assert gm.abs().max() > 1e-5


def test_class_zero_of_queries_is_an_object():
    """Only Mask R-CNN has a background."""
    truth = torch.zeros(1, 8, 8, dtype=torch.bool)
    truth[0, :4] = True
    t = replace(target([truth], classes=1), categories=torch.tensor([[0]]), things=torch.tensor([True]))
    z = torch.where(truth, 5.0, -5.0)[None].requires_grad_()
    view = View(*[torch.zeros(1, 3, 8, 8)] * 3, QueryOutput(torch.tensor([[[2.0, 0.0]]]), z))
    terms, _ = ap_rank().value(view, t, {}, 1.0)
    (g,) = torch.autograd.grad(terms["ap-rank"].sum(), z)
    assert g.abs().max() > 0
    assert harm(view, t, {}).item() == pytest.approx(0, abs=1e-9)
