"""Every attack on queries does what its name says, image by image, without waiting for the device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from query_toys import CAR, MAN, ROAD, SKY, THINGS, answer, street, truth, view
from robustseg.objectives.queries import OBJECTIVES, SCORES, harm, price
from robustseg.objectives.queries.decoding import hard, keep_margin
from robustseg.objectives.queries.quality import quality
from robustseg.objectives.queries.shapes import _parts
from robustseg.objectives.queries.training import REMATCH, match
from robustseg.objectives.queries.truth import field_of
from robustseg.tasks.decode import panoptic
from robustseg.tasks.semantic import predict
from robustseg.types import DenseOutput, QueryOutput, UserError

PARAMS = {"area": "0.03", "omega": "0.5", "dx": "4", "dy": "0", "class": "car"}
OWN = sorted(set(OBJECTIVES) - {"ap-rank"})  # that one is another room's, and counts on the host
UNTARGETED = [name for name in OWN if name not in SCORES]
CONSTANTS = {"quality": torch.full((4,), 0.5), "segments": torch.ones(4)}


def constants(images, name=CAR):
    return {**CONSTANTS, "class": torch.full((images,), name)}


def climbed(name, target, output, *, steps=60, rate=0.25, params=PARAMS):
    """The output after sign steps on the logits themselves: a model without weights."""
    objective = OBJECTIVES[name](params)
    state = objective.init(view(output), target, constants(len(target)))
    z, m = output.class_logits, output.mask_logits
    for k in range(steps):
        z, m = z.detach().requires_grad_(), m.detach().requires_grad_()
        terms, state = objective.value(view(QueryOutput(z, m)), target, state, k / steps)
        gradients = torch.autograd.grad(sum(terms.values()).sum(), (z, m), allow_unused=True)
        moves = [torch.zeros_like(v) if g is None else g.sign() for g, v in zip(gradients, (z, m))]
        z, m = z + rate * moves[0], m + rate * moves[1]
    return QueryOutput(z.detach(), m.detach()), state


def hits_and_segments(target, output):
    found = quality(hard(output), field_of(target, output.mask_logits, 4), 0.0)
    return found.hits[0].tolist(), found.predicted[0].tolist()


@pytest.mark.parametrize("name", sorted(set(UNTARGETED) - {"phantom", "overlap"}))
def test_climbing_destroys_what_was_found(name):
    target = street()
    output = answer(target, sure=2.0)
    before = harm(view(output), target, {}).item()
    after, _ = climbed(name, target, output)
    if name == "semantic-ce":  # labels are what it attacks
        right = predict(after, (8, 16)) == target.labels
        assert right.float().mean() < 0.1
    else:
        assert harm(view(after), target, {}).item() > before + 0.3


def test_flood_and_squeeze_leave_no_query():
    target = street()
    for name in ("flood", "squeeze"):
        after, _ = climbed(name, target, answer(target))
        assert len(panoptic(after, (8, 16), THINGS.tolist())[0].categories) == 0
    # the squeeze stops just below the threshold, so the labels stay
    assert (predict(after, (8, 16)) == target.labels).float().mean() > 0.9


def test_class_flip_changes_names_and_not_masks():
    target = street()
    start = answer(target)
    after, _ = climbed("class-flip", target, start)
    assert torch.equal(after.mask_logits, start.mask_logits)
    right = after.class_logits[0, :4, :-1].argmax(-1) == target.categories[0]
    assert not right.any()


def test_mask_break_changes_masks_and_not_names():
    target = street()
    start = answer(target)
    after, _ = climbed("mask-break", target, start)
    assert torch.equal(after.class_logits, start.class_logits)
    assert hits_and_segments(target, after)[0] == [0, 0, 0, 0]


def test_a_split_leaves_two_segments_where_one_was():
    target = truth(torch.ones(1, 8, 16, dtype=torch.int64), [[CAR]])
    start = answer(target, spare=1)
    start.mask_logits[0, 1] = -1.0  # the spare query sees the car, weakly
    start.class_logits[0, 1] = torch.tensor([0.0, 0.0, 3.0, 0.0, 4.0])
    after, _ = climbed("mask-split", target, start, steps=12, rate=1.0)
    hits, segments = hits_and_segments(target, after)
    assert hits == [0]
    assert segments[CAR] == 2


def test_no_part_of_a_split_reaches_half():
    field = field_of(street(), torch.zeros(1, 1, 8, 16), 4)
    left, right = _parts(field)
    for part in (left, right):
        share = part.sum(-1) / field.inside.sum(-1)
        assert ((share > 0.3) & (share < 0.5)).all()
    assert (left * right).max() == 0
    columns = left[0, 0].view(8, 16).any(0)  # of the sky
    assert columns[:7].all()
    assert not columns[8:].any()


def test_phantoms_appear_and_the_rest_stays():
    target = street()
    after, _ = climbed("phantom", target, answer(target))
    hits, segments = hits_and_segments(target, after)
    assert all(h > 0.5 for h in hits)
    assert sum(segments) >= 5


def test_the_overlap_trap_drops_queries_that_are_sure():
    target = street()
    after, _ = climbed("overlap", target, answer(target, sure=2.0), steps=120)
    assert (keep_margin(after.class_logits)[0][0, :4] > 0).all()
    assert harm(view(after), target, {}).item() > 0.1


def test_training_loss_matches_anew_every_few_steps():
    target = street()
    objective = OBJECTIVES["training-loss"]({})
    start = answer(target)
    order = torch.tensor([1, 0, 3, 2, 4, 5])
    swapped = QueryOutput(start.class_logits[:, order], start.mask_logits[:, order])
    state = objective.init(view(start), target, {})
    seen = []
    for k in range(REMATCH + 1):
        _, state = objective.value(view(start if k == 0 else swapped), target, state, 0.0)
        seen.append(state["matched"][0].tolist())
    assert seen[0] == [0, 1, 2, 3]
    assert seen[1:REMATCH] == [[0, 1, 2, 3]] * (REMATCH - 1)
    assert seen[REMATCH] == [1, 0, 3, 2]


def test_more_segments_than_queries():
    ids = torch.arange(1, 9).repeat_interleave(2).view(1, 1, 16).expand(1, 8, 16).clone()
    target = truth(ids, [[CAR, MAN] * 4])
    full = answer(target)
    output = QueryOutput(full.class_logits[:, :5], full.mask_logits[:, :5])
    field = field_of(target, output.mask_logits, 4)
    found = match(output, field, field.counted)[0]
    assert sorted(found.tolist()) == [-1, -1, -1, 0, 1, 2, 3, 4]
    value, _ = OBJECTIVES["training-loss"]({}).value(view(output), target, {**start_state(1)}, 0.0)
    assert value["training-loss"].isfinite().all()


def start_state(images):
    nothing = torch.zeros(images, 0, dtype=torch.int64)
    return {"matched": nothing, "steps": nothing}


# ------------------------------------------------------------------------------------------------ towards a goal


def test_hide_takes_the_car_and_keeps_the_rest():
    target = street()
    start = answer(target)
    after, state = climbed("hide", target, start)
    hits, _ = hits_and_segments(target, after)
    assert hits[2] == 0
    assert all(h > 0.8 for h in (hits[0], hits[1], hits[3]))
    assert SCORES["hide"](view(after), target, state).item() == 1
    assert SCORES["hide"](view(start), target, state).item() == 0.5


def test_hide_takes_one_object_by_its_number():
    ids = street().masks[0].long().mul(torch.arange(1, 5).view(-1, 1, 1)).sum(0, keepdim=True)
    target = truth(ids, [[SKY, ROAD, CAR, CAR]])
    after, _ = climbed("hide", target, answer(target), params={**PARAMS, "instance": "2"})
    hits, _ = hits_and_segments(target, after)
    assert hits[3] == 0
    assert all(h > 0.8 for h in hits[:3])


def test_displace_moves_the_car_and_keeps_the_rest():
    target = street()
    start = answer(target)
    after, state = climbed("displace", target, start, steps=120)
    assert SCORES["displace"](view(start), target, state).item() == 0.5
    assert SCORES["displace"](view(after), target, state).item() == 1
    car = panoptic(after, (8, 16), THINGS.tolist())[0]
    where = car.ids == 1 + car.categories.tolist().index(CAR)
    assert where[4:7, 5:9].all()
    assert not where[4:7, :2].any()


# ------------------------------------------------------------------------------------------------ contracts


def uneven():
    """Three images with different numbers of segments, one of them without."""
    a, b = street().masks[0].long().mul(torch.arange(1, 5).view(-1, 1, 1)).sum(0), torch.zeros(8, 16, dtype=torch.int64)
    c = b.clone()
    c[2:6, 3:9] = 1
    target = truth(torch.stack([a, b, c]), [[SKY, ROAD, CAR, MAN], [], [MAN]])
    output = answer(target)
    g = torch.Generator().manual_seed(1)
    m = output.mask_logits + torch.randn(output.mask_logits.shape, generator=g)
    return target, QueryOutput(output.class_logits, m)


@pytest.mark.parametrize("name", OWN)
def test_an_image_never_depends_on_its_batch(name):
    target, output = uneven()
    objective = OBJECTIVES[name](PARAMS)
    score = SCORES.get(name, harm)

    def run(keep):
        part = QueryOutput(output.class_logits[keep], output.mask_logits[keep])
        mine = target.select(keep)
        state = objective.init(view(part), mine, constants(len(keep)))
        terms, state = objective.value(view(part), mine, state, 0.3)
        assert all(len(leaf) == len(keep) for leaf in state.values())
        assert all(v.shape == (len(keep),) and v.isfinite().all() for v in terms.values())
        return sum(terms.values()), score(view(part), mine, state)

    whole = run(torch.arange(3))
    for i in range(3):
        one = run(torch.tensor([i]))
        torch.testing.assert_close(one[0][0], whole[0][i])
        torch.testing.assert_close(one[1][0], whole[1][i])


class NoWait(TorchDispatchMode):
    """Refuses what makes the host wait for the device: a number read, a size that depends on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function not in (
            torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default,
            torch.ops.aten.masked_select.default, torch.ops.aten._unique2.default,
        ), function  # fmt: skip
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", OWN)
def test_values_and_scores_never_wait_for_the_device(name, monkeypatch):
    monkeypatch.setattr(price, "_kept", lambda output: output)  # on a CPU, where asking is free, it asks
    target, output = uneven()
    objective = OBJECTIVES[name](PARAMS)
    state = objective.init(view(output), target, constants(3))
    _, state = objective.value(view(output), target, state, 0.3)  # a matching may wait, once in a while
    with NoWait():
        objective.value(view(output), target, state, 0.3)
        SCORES.get(name, harm)(view(output), target, state)


@pytest.mark.parametrize("name", sorted(set(OWN) - {"pq-price", "flood", "squeeze", "overlap", "phantom"}))
def test_pixels_without_label_have_no_influence(name):
    base = street()
    labels = base.labels.clone()
    labels[0, :, 14:] = 255
    masks = base.masks & (labels != 255).unsqueeze(1)
    target = replace(base, labels=labels, masks=masks)
    output = answer(target)
    m = output.mask_logits.clone().requires_grad_()
    objective = OBJECTIVES[name](PARAMS)
    shown = QueryOutput(output.class_logits, m)
    state = objective.init(view(shown), target, constants(1))
    terms, _ = objective.value(view(shown), target, state, 0.0)
    total = sum(terms.values()).sum() + 0 * m.sum()  # class flips never look at the masks
    (gradient,) = torch.autograd.grad(total, m)
    assert gradient[..., 14:].abs().max() == 0


def test_other_outputs_and_targets_are_refused_in_one_line():
    target = street()
    dense = view(answer(target))
    dense = replace(dense, output=DenseOutput(torch.zeros(1, 4, 8, 16)))
    with pytest.raises(UserError, match="masks with classes"):
        OBJECTIVES["flood"]({}).value(dense, target, {}, 0.0)


@pytest.mark.parametrize("name", ["flood", "squeeze", "class-flip", "mask-break", "mask-split", "overlap"])
def test_an_image_with_nothing_left_still_has_a_gradient(name):
    target = street()
    z = torch.tensor([-3.0, -3.0, -3.0, -3.0, 5.0]).double().expand(1, 6, 5).clone().requires_grad_()
    m = torch.full((1, 6, 8, 16), -4.0).double().requires_grad_()
    shown = QueryOutput(z, m)
    terms, _ = OBJECTIVES[name](PARAMS).value(view(shown), target, {}, 0.0)
    (gradient,) = torch.autograd.grad(sum(terms.values()).sum(), z)
    assert gradient.abs().max() > 0
    assert gradient[..., -1].max() > 0  # towards no object


def test_displace_says_what_it_must_know():
    with pytest.raises(UserError, match=r"class=NAME, or instance=N"):
        OBJECTIVES["displace"]({"dx": "1", "dy": "1"})
    with pytest.raises(UserError, match=r"dx=far is not a whole number"):
        OBJECTIVES["displace"]({"dx": "far", "dy": "1", "instance": "1"})
