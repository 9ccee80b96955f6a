"""Losses of two-stage detectors by hand, on squares whose every score is known, and by finite differences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import tiny_maskrcnn
from region_toys import ToyRegions, grid, squares, target
from robustseg.models import maskrcnn
from robustseg.objectives.regions import OBJECTIVES, stages, training
from robustseg.objectives.regions.matching import matches, truth_of
from robustseg.types import DenseOutput, SegmentTarget, SemanticTarget, UserError, View

LOSSES = {
    "rpn-objectness": stages.lost_proposals,
    "roi-class": stages.lost_classes,
    "roi-box": stages.lost_boxes,
    "roi-mask": stages.lost_masks,
    "phantom": stages.false_detections,
    "training-loss": training.training_loss,
}
GLOW = 8 * 0.3  # of a bright square (0.8); a dark one (0.2) has -2.4


def scene(cells=(0, 5, 10), model=None, **options):
    """Output and truth of one image of 24x32 pixels, twelve squares."""
    image, masks = squares(list(cells))
    model = model or ToyRegions(grid(24, 32), **options)
    return model(image[None].requires_grad_()), truth_of(target([masks], classes=len(model.spec.classes)))


def softplus(x):
    return math.log1p(math.exp(x))


# ------------------------------------------------------------------------------------------------ matching


def test_matches_by_hand():
    output, truth = scene((0, 5))
    m = matches(output, truth)
    assert m.hit[0].nonzero().tolist() == [[0, 0], [5, 1]]
    assert m.log_p[0, 0, 0].item() == pytest.approx(-softplus(-GLOW), rel=1e-5)
    assert m.log_p[0, 1, 0].item() == pytest.approx(-softplus(GLOW), rel=1e-5)
    assert m.iou[0, 5].tolist() == pytest.approx([0, 1])
    assert m.free[0, :, 1].nonzero().flatten().tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert not m.free[..., 0].any()  # the background is no detection


def test_what_is_no_object():
    """Crowds, background, uncountable classes, padding and what lies on ignored pixels."""
    _, masks = squares([0, 1, 2, 3, 4, 5])
    labels = torch.zeros(1, 24, 32, dtype=torch.int64)
    labels[0][masks[5]] = 255
    t = SegmentTarget(
        labels, 255, masks[None], torch.tensor([[1, 1, 0, 2, -1, 1]]),
        torch.tensor([[False, True, False, False, False, False]]), torch.tensor([True, True, False]),
    )  # fmt: skip
    truth = truth_of(t)
    assert truth.there.tolist() == [[True, False, False, False, False, False]]
    assert truth_of(t) is truth  # remembered
    assert truth.crowd[0, 1].tolist() == [8, 0, 16, 8]
    output = ToyRegions(grid(24, 32))(torch.rand(1, 3, 24, 32))
    m = matches(output, truth)
    assert m.free[0, :3, 1].tolist() == [False, False, True]  # object, crowd, nothing
    with pytest.raises(UserError, match="needs a SegmentTarget"):
        truth_of(SemanticTarget(labels))


def test_padding_is_no_region():
    model = ToyRegions(grid(24, 32))
    image, masks = squares([0])
    some = torch.cat([grid(24, 32)[:2], torch.zeros(3, 4)])[None]
    output = model(image[None], proposals=some)
    m = matches(output, truth_of(target([masks])))
    assert m.free[0].any(1).tolist() == [False, True, False, False, False]
    whole = stages.false_detections(output, truth_of(target([masks])))
    assert whole.item() == pytest.approx(-GLOW, rel=1e-5)


# ------------------------------------------------------------------------------------------------ closed forms


def test_first_stage_by_hand():
    output, truth = scene()
    # three anchors at GLOW against the mean of the nine others at -GLOW
    assert stages.lost_proposals(output, truth).item() == pytest.approx(-softplus(2 * GLOW), rel=1e-5)


def test_class_by_hand_and_lost_objects_rest():
    output, truth = scene()
    assert stages.lost_classes(output, truth).item() == pytest.approx(softplus(-GLOW), rel=1e-5)
    far = replace(output, class_logits=output.class_logits - torch.tensor([0.0, 9.0]))
    value = stages.lost_classes(far, truth)
    assert value.item() == pytest.approx(-math.log(0.05))
    (g,) = torch.autograd.grad(value.sum(), output.class_logits)
    assert not g.any()
    nowhere = replace(output, boxes=output.boxes + 6)
    assert stages.lost_classes(nowhere, truth).item() == pytest.approx(-math.log(0.05))


def test_box_by_hand():
    """A drift of one pixel of eight: IoU 7/9 (bright squares move by drift x glow)."""
    output, truth = scene(drift=1 / GLOW)
    assert stages.lost_boxes(output, truth).item() == pytest.approx(2 / 9, rel=1e-4)
    output, truth = scene(drift=5 / GLOW)  # IoU 3/13: lost, and at rest
    value = stages.lost_boxes(output, truth)
    assert value.item() == pytest.approx(0.5)


def test_mask_by_hand():
    output, truth = scene()
    assert stages.lost_masks(output, truth).item() == pytest.approx(softplus(-GLOW), rel=1e-5)
    inverted = replace(output, extras={**output.extras, "masks": lambda b: -output.extras["masks"](b)})
    assert stages.lost_masks(inverted, truth).item() == pytest.approx(math.log(2), rel=1e-6)  # wrong cells rest


def test_phantoms_by_hand():
    output, truth = scene()
    assert stages.false_detections(output, truth).item() == pytest.approx(-GLOW, rel=1e-5)
    sure = replace(output, class_logits=output.class_logits + torch.tensor([0.0, 9.0]))
    assert stages.false_detections(sure, truth).item() == pytest.approx(3.0)  # at rest


def test_the_second_class_makes_a_phantom_of_a_true_object():
    """A region on an object of class 1 is free for class 2."""
    output, truth = scene((0,), classes=3, other=1.0)
    assert matches(output, truth).free[0, 0].tolist() == [False, False, True]


def test_training_loss_by_hand():
    """Twelve anchors, three of them objects; all proposals sit where they should: no offset is wrong."""
    output, truth = scene((0, 5, 6))
    ce = softplus(-GLOW)
    assert training.first_stage(output, truth).item() == pytest.approx(ce, rel=1e-4)
    assert training.second_stage(output, truth).item() == pytest.approx(ce, rel=1e-4)
    # torchvision reads its targets half a pixel off: 49 cells are full, 14 half, one a quarter
    edges = (49 * ce + 14 * (ce + GLOW / 2) + ce + 3 * GLOW / 4) / 64
    assert training.mask_loss(output, truth).item() == pytest.approx(edges, rel=1e-4)
    assert training.training_loss(output, truth).item() == pytest.approx(2 * ce + edges, rel=1e-4)


def test_expectation_of_the_sampler():
    """Average over torchvision's own random draws."""
    from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

    torch.manual_seed(0)
    loss = torch.rand(40)
    positive = torch.arange(40) < 12
    sampler = BalancedPositiveNegativeSampler(16, 0.5)
    draws = []
    for _ in range(4000):
        p, n = sampler([positive.float()])
        draws.append(loss[(p[0] | n[0]).bool()].mean())
    ours = training._expected(loss[None], positive[None], ~positive[None], (16, 0.5))
    assert ours.item() == pytest.approx(torch.stack(draws).mean().item(), abs=4e-3)


def test_first_stage_equals_the_library():
    """torchvision's own losses of the region proposal network when its sampler takes everything."""
    net = tiny_maskrcnn.network(rpn_batch_size_per_image=10**6)
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    masks = torch.zeros(2, 64, 96, dtype=torch.bool)
    masks[0, 5:20, 8:30], masks[1, 30:50, 40:64] = True, True
    boxes = torch.tensor([[8.0, 5, 30, 20], [40, 30, 64, 50]])
    model = maskrcnn.adapter(net, ("background", "a", "b", "c"), "t", "t")
    output = model(x)
    truth = truth_of(target([masks], classes=4))
    ours = training.first_stage(output, truth, (10**6, 0.5)).item()
    net.train()
    net.backbone.norm.eval()
    with torch.no_grad():
        theirs = net(list(x), [{"boxes": boxes, "labels": torch.tensor([1, 1]), "masks": masks.byte()}])
    net.eval()
    assert ours == pytest.approx((theirs["loss_objectness"] + theirs["loss_rpn_box_reg"]).item(), rel=1e-4)


def test_second_stage_equals_the_library():
    from torchvision.models.detection.roi_heads import fastrcnn_loss

    net = tiny_maskrcnn.network()
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    model = maskrcnn.adapter(net, ("background", "a", "b", "c"), "t", "t")
    output = model(x)
    mask = torch.zeros(1, 64, 96, dtype=torch.bool)
    x0, y0, x1, y1 = output.proposals[0, 3].round().long().tolist()
    mask[0, y0:y1, x0:x1] = True
    truth = truth_of(target([mask], classes=4))
    boxes = [truth.boxes[0]]
    which, labels = net.roi_heads.assign_targets_to_proposals([output.proposals[0]], boxes, [torch.tensor([1])])
    assert (labels[0] > 0).any()
    goals = net.roi_heads.box_coder.encode([boxes[0][which[0]]], [output.proposals[0]])
    own = net.roi_heads.box_coder.encode([output.boxes[0, :, 1]], [output.proposals[0]])[0]
    offsets = torch.cat([own * 0, own, own * 0, own * 0], 1)
    theirs = sum(fastrcnn_loss(output.class_logits[0], offsets, labels, goals))
    ours = training.second_stage(output, truth, (10**6, 0.5))
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4)


# ------------------------------------------------------------------------------------------------ properties


@pytest.mark.parametrize("name", LOSSES)
def test_an_image_without_objects_gets_false_ones(name):
    image, masks = squares([])
    model = ToyRegions(grid(24, 32))
    x = image[None].requires_grad_()
    output = model(x)
    for t in (target([masks]), target([masks, squares([1])[1]]).select(torch.tensor([0]))):  # no segment, padding
        value = LOSSES[name](output, truth_of(t))
        (g,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
        assert value.isfinite().all()
        assert (g > 0).all()  # brighter is more of an object


@pytest.mark.parametrize("name", LOSSES)
def test_a_hundred_objects_and_batches(name):
    """Every object weighs the same, whatever stands beside it in the batch."""
    many, all_masks = squares(list(range(100)), 80, 80)
    few, masks = squares([0], 80, 80)
    model = ToyRegions(grid(80, 80))
    both = LOSSES[name](model(torch.stack([many, few])), truth_of(target([all_masks, masks])))
    alone = [LOSSES[name](model(x[None]), truth_of(target([m]))) for x, m in ((many, all_masks), (few, masks))]
    assert torch.allclose(both, torch.cat(alone), rtol=1e-5)
    if name in ("roi-class", "roi-mask"):
        assert both[0].item() == pytest.approx(both[1].item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_finite_differences(name):
    """Along a random direction on a network in float64, proposals fixed."""
    net = tiny_maskrcnn.network(rpn_post_nms_top_n_test=30)
    model = maskrcnn.adapter(net, ("background", "a", "b", "c"), "t", "t")
    net.double()
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    fixed = model.propose(x)
    with torch.no_grad():
        clean = model(x, proposals=fixed)
    truth = _found_objects(clean)

    def value(x):
        output = model(x, proposals=fixed)
        # as in the original, no gradient flows through the place where a mask is read
        return LOSSES[name](replace(output, boxes=clean.boxes) if name == "roi-mask" else output, truth)

    x.requires_grad_()
    (g,) = torch.autograd.grad(value(x).sum(), x)
    assert g.abs().max() > 0
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    h = 1e-7
    with torch.no_grad():
        slope = (value(x + h * d) - value(x - h * d)) / (2 * h)
    assert slope.item() == pytest.approx((g * d).sum().item(), rel=1e-3, abs=1e-9)


def _found_objects(output):
    """Truth that the untrained network finds: the boxes of its two surest regions, as masks."""
    p = output.class_logits[0].softmax(-1)[:, 1:]
    best = p.amax(1).topk(2).indices
    masks, names = torch.zeros(2, 64, 96, dtype=torch.bool), []
    for mask, r in zip(masks, best):
        k = int(p[r].argmax()) + 1
        x0, y0, x1, y1 = output.boxes[0, r, k].round().long().tolist()
        mask[y0 : max(y1, y0 + 2), x0 : max(x1, x0 + 2)] = True
        names.append(k)
    t = target([masks], classes=4)
    return truth_of(replace(t, categories=torch.tensor([names])))


def test_objectives_by_name():
    image, masks = squares([0, 5])
    model = ToyRegions(grid(24, 32))
    t = target([masks])
    view = View(image[None], image[None], torch.zeros_like(image[None]), model(image[None]))
    for name, make in OBJECTIVES.items():
        objective = make({})
        state = objective.init(view, t, {"class": torch.tensor([1])})
        assert all(len(leaf) == 1 for leaf in state.values())
        terms, after = objective.value(view, t, state, 0.5)
        assert {v.shape for v in terms.values()} == {(1,)}
        assert after.keys() == state.keys()
        with pytest.raises(UserError, match=r"DenseOutput|scores of every pixel"):
            objective.value(replace(view, output=DenseOutput(torch.zeros(1, 2, 4, 4))), t, state, 0.5)
        assert {"fashion": "hide"}.get(name, name) == objective.name


def test_fixed_proposals_are_those_of_the_clean_image():
    image, _ = squares([0, 5])
    model = ToyRegions(grid(24, 32))
    view = View(image[None], image[None], torch.zeros_like(image[None]), model(image[None]))
    fixed = OBJECTIVES["roi-class"]({"proposals": "fixed"})
    assert fixed.needs_clean
    assert torch.equal(fixed.init(view, target([squares([0])[1]]), {})["proposals"][0], grid(24, 32))
    assert OBJECTIVES["roi-class"]({}).init(view, target([squares([0])[1]]), {}) == {}


def test_softplus_of_this_file():
    assert softplus(1.0) == pytest.approx(F.softplus(torch.tensor(1.0)).item())
