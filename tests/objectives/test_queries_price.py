"""The soft decoding becomes the official one, its gradient is right, and its prices order the tactics."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from query_toys import CAR, MAN, ROAD, SKY, THINGS, answer, official, street, truth, view
from robustseg.objectives.queries import OBJECTIVES, harm
from robustseg.objectives.queries.decoding import OVERLAP, Temperatures, decide, hard, keep_margin, soft
from robustseg.objectives.queries.price import pq_price, temperatures
from robustseg.objectives.queries.quality import counted, qualities, quality, quality_of
from robustseg.objectives.queries.truth import field_of, ids_of
from robustseg.tasks.decode import panoptic
from robustseg.tasks.panoptic import statistics
from robustseg.tasks.rows import truth_map
from robustseg.types import QueryOutput

COLD = 1e-7


def sums(output, target, soft_width=None):
    """``S, P (B,C)`` by the library."""
    field = field_of(target, output.mask_logits, 4)
    t = None if soft_width is None else Temperatures(*[soft_width] * 6)
    found = quality(hard(output) if t is None else soft(output, t, field.cell), field, soft_width or 0.0)
    return (found.hits.unsqueeze(-1) * field.category).sum(1), found.predicted


def official_sums(output, target):
    """``S, P (B,C)`` by the decoder and the official rules."""
    maps = panoptic(output, tuple(target.labels.shape[1:]), THINGS.tolist())
    rows = [statistics(m, official(target, b), 4) for b, m in enumerate(maps)]
    S = torch.tensor([r["iou"] for r in rows])
    return S, torch.tensor([np.add(r["tp"], r["fp"]).tolist() for r in rows])


def random_case(seed):
    g = torch.Generator().manual_seed(seed)
    B, Q, H, W = 2, 8, 13, 17
    maps = torch.randint(0, 6, (B, 3, 3), generator=g).repeat_interleave(5, 1).repeat_interleave(6, 2)[:, :H, :W]
    target = truth(maps, [[CAR, SKY, MAN, ROAD, CAR]] * B, [[False, False, False, False, True], [False] * 5])
    z = torch.randn(B, Q, 5, generator=g, dtype=torch.double)
    hot = torch.randint(0, 5, (B, Q, 1), generator=g)
    z.scatter_add_(2, hot, 12 * torch.rand(B, Q, 1, generator=g, dtype=torch.double))
    pick = torch.randint(0, 5, (B, Q), generator=g)
    m = torch.gather(target.masks.double(), 1, pick[..., None, None].expand(B, Q, H, W))
    return QueryOutput(z, 8 * m - 4 + 2 * torch.randn(B, Q, H, W, generator=g, dtype=torch.double)), target


@pytest.mark.parametrize("width", [None, COLD])
def test_hard_and_cold_decodings_are_the_official_one(width):
    matched = excused = 0
    for seed in range(60):
        output, target = random_case(seed)
        S, P = sums(output, target, width)
        want_S, want_P = official_sums(output, target)
        # a query that wins exactly 0.8 of its mask stays, for a sigmoid it is half there: no limit can say which
        sure = (0.8 - wins_of_own(output)).abs().amin(1) > 1e-9
        torch.testing.assert_close(S[sure], want_S[sure].double(), atol=1e-5, rtol=0)
        torch.testing.assert_close(P[sure], want_P[sure].double(), atol=1e-5, rtol=0)
        matched += int((want_S[sure] > 0).sum())
        excused += int((panoptic_segments(output) - want_P)[sure].sum())
    assert matched > 50
    assert excused > 10  # void and crowds have played


def test_counting_winners_gives_what_regions_give():
    for seed in range(20):
        output, target = random_case(seed)
        field, d = field_of(target, output.mask_logits, 4), decide(output)
        overlaps = counted(d.winner, d.claimed, 8, ids_of(target), 5)
        by_count, by_region = quality_of(d.alive, d.label, overlaps, field, 0.0), quality(hard(output), field, 0.0)
        torch.testing.assert_close(by_count.hits, by_region.hits)
        torch.testing.assert_close(by_count.predicted, by_region.predicted)


def test_several_decodings_at_once_are_each_alone():
    widths = [0.3, 0.1, 0.02]
    for seed in range(5):
        output, target = random_case(seed)
        field = field_of(target, output.mask_logits, 4)
        found = [soft(output, Temperatures(mask=w), field.cell) for w in widths]
        each, whole = [quality(d, field, w) for d, w in zip(found, widths)], qualities(found, field, widths)
        torch.testing.assert_close(whole.hits, torch.stack([q.hits for q in each]))
        torch.testing.assert_close(whole.predicted, torch.stack([q.predicted for q in each]))


def test_of_overlapping_true_masks_the_first_counts_as_in_the_metric():
    target = street()
    masks = target.masks.clone()
    masks[0, 3, 4:7, 4:8] = True  # the man before the car's end
    both = replace(target, masks=masks)
    ids = torch.from_numpy(truth_map(both, 0).ids).flatten()
    assert torch.equal(torch.where(ids_of(both)[0] == 4, 0, ids_of(both)[0] + 1), ids)


def wins_of_own(output):
    """``(B,Q)`` share of its own mask that each kept query wins; 0 for the others."""
    kept = keep_margin(output.class_logits)[0] > 0
    masks = output.mask_logits.sigmoid().flatten(2)
    rank = (output.class_logits.softmax(-1)[..., :-1].amax(-1) * kept).unsqueeze(-1) * masks
    won = torch.nn.functional.one_hot(rank.argmax(1), masks.shape[1]).sum(1)
    return kept * won / (masks >= 0.5).sum(-1)


def panoptic_segments(output):
    maps = panoptic(output, (13, 17), THINGS.tolist())
    return torch.tensor([np.bincount(m.categories, minlength=4).tolist() for m in maps])


def test_a_native_grid_with_whole_cells_gives_the_same():
    target = street(scale=4)
    output = answer(street())
    S, P = sums(output, target)
    assert S.tolist() == [[1.0, 1.0, 1.0, 1.0]]
    assert P.tolist() == [[1.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_gradient_of_the_price_by_finite_differences(progress):
    target = street()
    start = answer(target, sure=1.5)
    g = torch.Generator().manual_seed(0)
    z = (start.class_logits + 0.3 * torch.randn(start.class_logits.shape, generator=g)).requires_grad_()
    m = (start.mask_logits + 0.3 * torch.randn(start.mask_logits.shape, generator=g)).requires_grad_()
    objective = pq_price()
    state = prices(1)

    def value(z, m):
        return objective.value(view(QueryOutput(z, m)), target, state, progress)[0]["pq-price"]

    assert torch.autograd.gradcheck(value, (z, m), eps=1e-6, atol=1e-6, fast_mode=True)


def prices(images, pq=0.5):
    return {"weight": torch.ones(images, 4).double(), "quality": torch.full((images, 4), pq).double()}


def test_two_equal_queries_by_hand():
    # one car fills the image; two queries say the same, so each wins half of every pixel
    target = truth(torch.ones(1, 2, 4, dtype=torch.int64), [[CAR]])
    z = torch.tensor([0.0, 0.0, 5.0, 1.0, -1.0]).double().expand(1, 2, 5)
    m = torch.full((1, 2, 2, 4), 1.2, dtype=torch.float64)
    t = Temperatures(keep=2.0, label=3.0, pixel=0.7, mask=1.5, overlap=0.4, hit=0.2)
    field = field_of(target, m, 4)
    found = quality(soft(QueryOutput(z, m), t, 1.0), field, t.hit)

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    odds = 5.0 - math.log(2 + math.e + math.exp(-1))
    solid = sigmoid(1.2 / 1.5)
    region = 0.5 * solid
    alive = (
        sigmoid((odds - math.log(4)) / 2.0) * sigmoid((0.5 / solid - OVERLAP) / 0.4) * -math.expm1(-8 * region / 0.4)
    )
    car = math.exp(5 / 3) / (2 + math.exp(5 / 3) + math.exp(1 / 3))
    man = math.exp(1 / 3) / (2 + math.exp(5 / 3) + math.exp(1 / 3))
    assert found.hits.item() == pytest.approx(2 * alive * car * region * sigmoid((region - 0.5) / 0.2), abs=1e-9)
    assert found.predicted[0, CAR].item() == pytest.approx(2 * alive * car, abs=1e-9)
    assert found.predicted[0, MAN].item() == pytest.approx(2 * alive * man, abs=1e-9)


def test_temperatures_fall_all_the_way():
    names = Temperatures.__dataclass_fields__
    for a, b in ((0.0, 0.5), (0.5, 1.0)):
        assert all(getattr(temperatures(a), n) > getattr(temperatures(b), n) for n in names if n != "overlap")


# ------------------------------------------------------------------------------------------------ harm


def changed(change, target=None):
    target = street() if target is None else target
    output = answer(target)
    change(output.class_logits, output.mask_logits)
    return harm(view(output), target, {}).item()


def flip(z, m):
    z[0, 2, [CAR, MAN]] = z[0, 2, [MAN, CAR]]


def broken(z, m):
    m[0, 2, :, 3:] = -4.0  # two of five columns are left


def split(z, m):
    m[0, 2, :, 3:] = -4.0
    m[0, 4] = -4.0
    m[0, 4, 4:7, 3:5] = 4.0  # a second query takes two columns, none of both has half
    m[0, 2, 4:7, 2] = -4.0
    z[0, 4] = z[0, 2]


def vanish(z, m):
    z[0, 2] = z[0, 4]


def phantom(z, m):
    m[0, 4, 0:2, 0:3] = 6.0
    z[0, 4] = z[0, 2]


def test_harm_orders_the_tactics_by_their_price():
    h = {f.__name__: changed(f) for f in (flip, broken, split, vanish, phantom)}
    assert changed(lambda z, m: None) == pytest.approx(0, abs=1e-6)
    # units of ½ w / Σ w G with IoU 1 and PQ ½, four segments: 1/8
    assert h["phantom"] * 8 == pytest.approx(0.25 + 1 - 26 / 32, abs=0.2)  # and the sky has lost some pixels
    assert h["vanish"] * 8 == pytest.approx(1 - 0.25, abs=0.05)
    assert h["broken"] * 8 == pytest.approx(1, abs=0.05)
    assert h["flip"] * 8 == pytest.approx(1, abs=0.05)
    assert h["split"] * 8 == pytest.approx(1.25, abs=0.05)


def test_harm_uses_the_prices_of_the_state():
    target = street()
    output = answer(target)
    output.class_logits[0, 2] = output.class_logits[0, 4]
    state = prices(1, 0.0)
    state["weight"] = torch.tensor([[1.0, 1.0, 5.0, 1.0]]).double()
    assert harm(view(output), target, state).item() == pytest.approx(0.5 * 5 / 8, abs=1e-6)


def test_a_prediction_of_nothing_and_one_of_everything():
    target = street()
    nothing = answer(target)
    nothing.class_logits[..., -1] = 30.0
    assert harm(view(nothing), target, {}).item() == pytest.approx(0.5 * (1 - 0.25), abs=1e-6)
    many = 40
    output = QueryOutput(torch.zeros(1, many, 5).double(), torch.full((1, many, 8, 16), -9.0).double())
    output.class_logits[..., MAN] = 20.0
    for q in range(many):
        output.mask_logits[0, q, q % 8, q // 8 :: 6] = 9.0
    assert harm(view(output), target, {}).item() == 1.0


def test_images_without_a_segment_are_hurt_by_phantoms_only():
    target = truth(torch.zeros(1, 8, 16, dtype=torch.int64), [[]])
    empty = QueryOutput(torch.zeros(1, 3, 5).double(), torch.full((1, 3, 8, 16), -4.0).double())
    assert harm(view(empty), target, {}).item() == 0
    objective = OBJECTIVES["pq-price"]({})
    value, _ = objective.value(view(empty), target, prices(1), 0.0)
    assert value["pq-price"].isfinite().all()


def test_a_hundred_objects():
    ids = torch.arange(1, 101).view(10, 10).repeat_interleave(4, 0).repeat_interleave(4, 1).unsqueeze(0)
    target = truth(ids, [[CAR, MAN] * 50])
    output = answer(target)
    assert harm(view(output), target, {}).item() == pytest.approx(0, abs=1e-6)
    S, P = sums(output, target)
    assert S.tolist() == [[0, 0, 50, 50]]
    assert P.tolist() == [[0, 0, 50, 50]]
    output.class_logits[:, ::2] = output.class_logits[:, -1:]
    assert harm(view(output), target, {}).item() == pytest.approx(0.25 * 0.75, abs=1e-6)


def test_a_crowd_neither_misses_nor_invents():
    ids = street().masks[0].long().mul(torch.arange(1, 5).view(-1, 1, 1)).sum(0, keepdim=True)
    target = truth(ids, [[SKY, ROAD, CAR, MAN]], [[False, False, True, False]])
    output = answer(target)
    assert harm(view(output), target, {}).item() == pytest.approx(0, abs=1e-6)
    output.class_logits[0, 2] = output.class_logits[0, 4]
    assert harm(view(output), target, {}).item() == pytest.approx(0, abs=1e-6)


def test_void_of_the_truth_is_no_false_positive():
    target = street()
    masks = target.masks.clone()
    masks[0, 2] = False
    void = replace(target, masks=masks, categories=torch.tensor([[SKY, ROAD, -1, MAN]]))
    output = answer(target)  # still finds the car
    assert sums(output, void)[1].tolist() == [[1, 1, 0, 1]]
    assert harm(view(output), void, {}).item() == pytest.approx(0, abs=1e-6)


def test_margin_counts_from_the_threshold():
    z = torch.tensor([[[0.9, 0.05, 0.05]]]).log()
    assert keep_margin(z)[0].item() == pytest.approx(math.log(9) - math.log(4), abs=1e-5)
