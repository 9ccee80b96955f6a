"""The loss of mask classification: who is matched, what it costs, by hand and against autograd."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from recipes.universal import (
    MATCH,
    MaskLoss,
    assign,
    bearings,
    centre_loss,
    loss,
    objects,
    places,
    reach,
    scale,
    softplus,
    truth,
)


def code_of(rows):
    """`class` or `(class, object)` per pixel."""
    cells = [[c if isinstance(c, int) else c[0] + 256 * c[1] for c in row] for row in rows]
    return torch.tensor(cells, dtype=torch.int64)


def blocks(recipe, *objects_, size=32):
    """A square of class 0 with square objects (class, top, left, side) and a void first row."""
    code = torch.zeros(size, size, dtype=torch.int64)
    for number, (category, top, left, side) in enumerate(objects_, 1):
        code[top : top + side, left : left + side] = category + 256 * number
    code[0] = recipe.ignore
    return code


def perfect(code, recipe, order, *, queries=6, sure=20.0):
    """Logits of a network that is right: query 0 is the stuff class, object k is query `order[k]`."""
    found = truth(code, recipe)
    h = code.shape[0] // 4
    classes = torch.full((1, queries, len(recipe.classes) + 1), -sure)
    classes[..., -1] = sure
    masks = torch.full((1, queries, h, h), -sure)
    places = iter(order)
    for category, mask in zip(found.categories.tolist(), found.masks):
        q = next(places) if recipe.is_thing[category] else 0
        classes[0, q] = -sure
        classes[0, q, category] = sure
        masks[0, q] = sure * (2 * F.adaptive_avg_pool2d(mask[None].float(), (h, h))[0] - 1)
    return classes, masks


def test_truth_by_hand(universal_recipe):
    recipe = dataclasses.replace(universal_recipe, smallest=2)
    found = truth(code_of([[0, (1, 300), (1, 300), 255], [0, (1, 7), (2, 8), (2, 8)]]), recipe)
    assert sorted(zip(found.categories.tolist(), found.masks.flatten(1).sum(1).tolist())) == [(0, 2), (1, 2), (2, 2)]
    assert not found.crowd.any()  # the object of one pixel is no target


def test_objects_are_what_detectors_want(universal_recipe):
    found = objects(blocks(universal_recipe, (1, 4, 8, 8), (2, 20, 20, 4)), universal_recipe)
    assert found["boxes"].tolist() == [[8, 4, 16, 12], [20, 20, 24, 24]]
    assert found["labels"].tolist() == [1, 2]
    assert found["masks"].flatten(1).sum(1).tolist() == [64, 16]


def test_objects_find_their_queries_and_stuff_keeps_its_own(universal_recipe):
    code = blocks(universal_recipe, (1, 4, 4, 8), (1, 20, 20, 8), (2, 4, 20, 8))
    classes, masks = perfect(code, universal_recipe, order=(4, 2, 5))
    found = truth(code, universal_recipe)
    soft = F.adaptive_avg_pool2d(found.masks[None].float(), (8, 8))[0].flatten(1)
    args = (masks[0], soft, torch.ones(64), found.categories, universal_recipe)
    expected = [4, 2, 5, 0]  # objects in the order of their numbers, then stuff
    assert assign(classes[0], *args).tolist() == expected
    # with equal masks the classes decide
    classes[0, [2, 5]] = classes[0, [5, 2]]
    masks[0, [2, 5]] = 0
    assert assign(classes[0], *args).tolist() == [4, 5, 2, 0]


def test_more_objects_than_queries(universal_recipe):
    code = blocks(universal_recipe, *((1, 4 * k, 4 * k, 4) for k in range(1, 8)))
    found = truth(code, universal_recipe)
    soft = F.adaptive_avg_pool2d(found.masks[None].float(), (8, 8))[0].flatten(1)
    classes, masks = torch.zeros(6, 4), torch.zeros(6, 8, 8)
    query = assign(classes, masks, soft, torch.ones(64), found.categories, universal_recipe)
    assert sorted(query.tolist()) == [-1, -1, 0, 1, 2, 3, 4, 5]


def test_of_equal_queries_the_nearest_is_taken_and_a_better_mask_may_lie_further(universal_recipe):
    recipe = dataclasses.replace(universal_recipe, place=1.0)
    home = places(5)
    assert len({tuple(p) for p in home.mul(4).long().tolist()}) == 5  # five places, five of sixteen quarters
    code = torch.zeros(32, 32, dtype=torch.int64)
    for k in (1, 3):  # objects at the homes of queries 2 and 4 (query 0 is stuff)
        y, x = (home[k] * 32).long().clamp(2, 29).tolist()
        code[y - 2 : y + 2, x - 2 : x + 2] = 1 + 256 * k
    found = truth(code, recipe)
    soft = F.adaptive_avg_pool2d(found.masks[None].float(), (8, 8))[0].flatten(1)
    classes, masks = torch.zeros(6, 4), torch.zeros(6, 8, 8)
    assert assign(classes, masks, soft, torch.ones(64), found.categories, recipe).tolist() == [2, 4, 0]
    masks[5] = 20 * (2 * soft[0].view(8, 8) - 1)
    assert assign(classes, masks, soft, torch.ones(64), found.categories, recipe).tolist() == [5, 4, 0]


def plain(z, t, v, outside):
    """The same written with library functions, differentiated by autograd."""
    p, area, n = z.sigmoid(), (t * v).sum(1), v.sum(1)
    quiet = torch.clamp(outside * area / (n - area), max=1) if outside else torch.ones_like(area)
    weight = v * (t + quiet[:, None] * (1 - t))
    over = weight.sum(1) if outside else reach(area, n)
    losses = t * F.softplus(-z) + quiet[:, None] * (1 - t) * F.softplus(z)
    bce = (losses * v).sum(1) / over
    dice = 1 - (2 * (p * t * v).sum(1) + 1) / (((p + t) * v).sum(1) + 1)
    return (MATCH["mask"] * bce + MATCH["dice"] * dice).sum()


@pytest.mark.parametrize("outside", [0.0, 0.5, 3.0])
def test_mask_loss_and_gradient_are_those_of_the_plain_form(outside):
    generator = torch.Generator().manual_seed(0)
    z = (6 * torch.randn(5, 200, dtype=torch.float64, generator=generator)).requires_grad_()
    t = torch.rand(5, 200, dtype=torch.float64, generator=generator).round(decimals=1)
    v = (torch.rand(5, 200, dtype=torch.float64, generator=generator) > 0.2).double()
    values = MaskLoss.apply(z, t, v, *scale(t, v, outside)), plain(z, t, v, outside)
    torch.testing.assert_close(*values)
    ours, theirs = (torch.autograd.grad(3 * value, z)[0] for value in values)
    torch.testing.assert_close(ours, theirs)
    assert (ours[v == 0] == 0).all()


def test_softplus_and_reach():
    z = torch.tensor([-100.0, -3.0, 0.0, 3.0, 100.0])
    torch.testing.assert_close(softplus(z), F.softplus(z))
    assert reach(torch.tensor([1.0, 1000.0]), torch.tensor(2048.0)).tolist() == [72, 2048]


def test_being_right_costs_little_and_every_mistake_costs_more(universal_recipe):
    code = blocks(universal_recipe, (1, 4, 4, 8), (2, 20, 20, 8))[None]
    weights = torch.tensor([1.0, 1.0, 1.0, 0.1])

    def cost(classes, masks):
        return loss([(classes, masks)], code, weights, universal_recipe).item()

    classes, masks = perfect(code[0], universal_recipe, order=(1, 3))
    right = cost(classes, masks)
    assert right < 1.5  # the last row of cells is half void, bilinear edges are soft
    wrong_class, no_object, moved, merged = classes.clone(), classes.clone(), masks.clone(), masks.clone()
    wrong_class[0, 1, [1, 2]] = wrong_class[0, 1, [2, 1]]
    no_object[0, 3] = no_object[0, 5]
    moved[0, 1] = moved[0, 1].roll(3, 0)
    merged[0, 1] = torch.maximum(merged[0, 1], merged[0, 3])
    for mistake in ((wrong_class, masks), (no_object, masks), (classes, moved), (classes, merged)):
        assert cost(*mistake) > right + 1
    other = cost(*perfect(code[0], universal_recipe, order=(5, 2)))
    assert other == pytest.approx(right)  # which query it is makes no difference


def test_void_pixels_have_no_say(universal_recipe):
    code = blocks(universal_recipe, (1, 8, 8, 8))
    code[16:] = 255
    classes, masks = perfect(code, universal_recipe, order=(1,))
    masks.requires_grad_()
    loss([(classes, masks)] * 2, code[None], torch.ones(4), universal_recipe).backward()
    assert masks.grad[0, :, 5:].abs().max() == 0
    assert masks.grad[0, :, :4].abs().max() > 0


def test_centres_by_hand(universal_recipe):
    code = blocks(universal_recipe, (1, 8, 8, 8), (2, 20, 4, 4))[None]
    offsets = torch.zeros(1, 2, 8, 8)
    assert centre_loss(offsets, code, universal_recipe) > 0
    # cells of 4 pixels: the first object covers cells 2 and 3 each way, its middle lies half a cell from each
    half = 8 * 0.5 / 8
    for y in (2, 3):
        for x in (2, 3):
            offsets[0, :, y, x] = torch.tensor([half if y == 2 else -half, half if x == 2 else -half])
    assert centre_loss(offsets, code, universal_recipe).item() == pytest.approx(0, abs=1e-6)
    offsets[0, 0, 2, 2] += 1.05  # one of 2 x 5 values: smooth L1 with beta 0.1
    assert centre_loss(offsets, code, universal_recipe).item() == pytest.approx(0.1, abs=1e-6)


def test_with_places_pixels_tell_the_place_itself(universal_recipe):
    recipe = dataclasses.replace(universal_recipe, place=1.0)
    code = blocks(recipe, (1, 8, 8, 8))[None]
    assert bearings(recipe) == 24
    # the mean of cells 2 and 3 of eight, counted from their upper left corners
    turns = torch.pi * 2.5 / 8 * torch.arange(1, 7)
    wanted = torch.stack([turns.sin(), turns.cos()]).flatten().repeat(2)
    told = wanted.view(1, 24, 1, 1).expand(1, 24, 8, 8)
    assert centre_loss(told, code, recipe).item() == pytest.approx(0, abs=1e-6)
    assert centre_loss(told.roll(1, 1), code, recipe).item() > 0.1


def test_no_object_at_all(universal_recipe):
    code = torch.full((1, 32, 32), 255)
    value = loss([(torch.zeros(1, 6, 4), torch.zeros(1, 6, 8, 8))], code, torch.ones(4), universal_recipe)
    assert value.item() == pytest.approx(MATCH["class"] * torch.tensor(4.0).log().item())
    assert centre_loss(torch.ones(1, 2, 8, 8), code, universal_recipe).item() == 0
