"""Mask R-CNN: decoding our output by torchvision's rules gives torchvision's own detections; gradients reach pixels."""

from __future__ import annotations

import json

import pytest
import torch

import robustseg as rs
import tiny_maskrcnn as tiny
from robustseg.models import maskrcnn
from robustseg.ops import boxes as bx
from robustseg.ops.state import frozen

CLASSES = ("background", "a", "b", "c")


@pytest.fixture(scope="module")
def net():
    return tiny.network()


@pytest.fixture(scope="module")
def model(net):
    return maskrcnn.adapter(net, CLASSES, "tiny", "test")


@pytest.fixture
def pictures():
    return torch.rand(2, 3, 70, 111, generator=torch.Generator().manual_seed(1))


def decode(output, i):
    """torchvision's rules, written afresh: cut off, score, drop, suppress per class, 100 best, paste."""
    from torchvision.models.detection.roi_heads import paste_masks_in_image
    from torchvision.ops import batched_nms

    score, nms, most = output.extras["rules"]
    there = output.present[i]
    p = output.class_logits[i][there].softmax(-1)[:, 1:]
    boxes = output.boxes[i][there][:, 1:].reshape(-1, 4)
    labels = torch.arange(1, p.shape[1] + 1).expand_as(p).reshape(-1)
    p = p.reshape(-1)
    keep = (p > score) & (boxes[:, 2:] - boxes[:, :2] >= 1e-2).all(1)
    boxes, labels, p = boxes[keep], labels[keep], p[keep]
    keep = batched_nms(boxes, p, labels, nms)[:most]
    boxes, labels, p = boxes[keep], labels[keep], p[keep]
    mine = [boxes if k == i else boxes[:0] for k in range(len(output.boxes))]
    masks = output.extras["masks"](mine)[torch.arange(len(labels)), labels].sigmoid()
    return boxes, p, labels, paste_masks_in_image(masks[:, None], boxes, output.size)


@pytest.mark.parametrize("options", [{}, {"min_size": 33, "max_size": 40}, {"fixed_size": (64, 64)}])
@torch.no_grad()
def test_decoding_equals_the_library(options, pictures):
    net = tiny.network(**options)
    output = maskrcnn.adapter(net, CLASSES, "tiny", "test")(pictures)
    for i, theirs in enumerate(net(list(pictures))):
        boxes, scores, labels, masks = decode(output, i)
        assert len(boxes) == len(theirs["boxes"]) > 20
        assert torch.equal(labels, theirs["labels"])
        assert (scores - theirs["scores"]).abs().max() <= 1e-4
        assert (boxes - theirs["boxes"]).abs().max() <= 1e-4 * 111
        assert ((masks - theirs["masks"]).abs() > 1e-4).float().mean() < 1e-3  # a box edge may round to a pixel


def test_every_part_has_a_gradient(model, pictures):
    x = pictures.requires_grad_()
    output = model(x, want=frozenset({"masks"}))
    assert output.mask_logits.shape == (2, 40, 4, 12, 12)
    assert output.size == (70, 111)
    for name in ("objectness", "box_deltas", "class_logits", "boxes", "mask_logits"):
        (g,) = torch.autograd.grad(getattr(output, name).square().mean(), x, retain_graph=True)
        assert g.isfinite().all()
        assert (g.abs().amax(1) > 0).float().mean() > 0.4, name
    assert not output.proposals.requires_grad


def test_gradient_is_the_slope(model, pictures):
    """Finite differences along a random direction, proposals fixed; float64 so that differences are not noise."""
    import copy

    fine = maskrcnn.adapter(copy.deepcopy(model.module), CLASSES, "tiny", "test")
    fine.module.double()
    x = pictures.double()
    fixed = fine.propose(x, top=10)

    def value(x):
        o = fine(x, proposals=fixed)
        return (o.class_logits.square().mean() + o.objectness.mean() + o.boxes.mean() / 50
                + o.extras["masks"](o.proposals).square().mean())  # fmt: skip

    x.requires_grad_()
    (g,) = torch.autograd.grad(value(x), x)
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    h = 1e-6
    with torch.no_grad():
        slope = (value(x + h * d) - value(x - h * d)) / (2 * h)
    assert slope.item() == pytest.approx((g * d).sum().item(), rel=1e-4)


@torch.no_grad()
def test_given_proposals_are_used_and_empty_boxes_are_padding(model, pictures):
    own = model(pictures)
    boxes = torch.cat([own.proposals[:, :5], torch.zeros(2, 3, 4)], 1)
    output = model(pictures, proposals=boxes)
    assert torch.equal(output.proposals, boxes)
    assert output.present.sum(1).tolist() == [5, 5]
    assert (output.class_logits[:, :5] - own.class_logits[:, :5]).abs().max() <= 1e-4
    with pytest.raises(rs.UserError, match=r"wanted \(2,R,4\)"):
        model(pictures, proposals=boxes[:1])


@torch.no_grad()
def test_propose(model, pictures):
    own = model(pictures)
    assert torch.equal(model.propose(pictures), own.proposals)
    dense = model.propose(pictures, nms=0.95, top=9999)
    assert dense.shape[1] > own.proposals.shape[1]
    overlap = bx.iou(dense, dense).triu(1)
    same_level = model.propose(pictures, nms=0.3, top=9999)
    assert overlap.max() > 0.7  # more overlap than the usual 0.7 leaves
    assert same_level.shape[1] < dense.shape[1]
    # and from the output alone, as an objective does it
    again, present = bx.proposals(
        own.objectness, own.anchors, own.box_deltas, own.extras["levels"], own.size, nms=0.95, top=9999, before=9999
    )
    assert again.shape == dense.shape
    assert torch.equal(present, bx.area(dense) > 0)
    assert (again - dense).abs().max() <= 1e-3


@torch.no_grad()
def test_an_image_stands_alone_and_nothing_is_drawn(model, pictures):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    both = model(pictures)
    alone = model(pictures[1:])
    model(torch.rand(1, 3, 40, 200, generator=torch.Generator().manual_seed(1)))  # another size in between
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(model(pictures).class_logits, both.class_logits)
    assert (alone.class_logits - both.class_logits[1:]).abs().max() <= 1e-4
    with frozen(model.module):
        assert torch.equal(model(pictures).class_logits, both.class_logits)


@torch.no_grad()
def test_resizing_moves_no_box(net, pictures):
    """The same boxes, in pixels of the image, at whatever size the network looks at it."""
    x = torch.nn.functional.interpolate(pictures, (64, 96))
    small = maskrcnn.adapter(net, CLASSES, "t", "t", size="native")(x)
    large = maskrcnn.adapter(tiny.network(min_size=128, max_size=192), CLASSES, "t", "t")(x)
    for output in (small, large):
        assert output.size == (64, 96)
        assert output.boxes[..., 0::2].max() <= 96
        assert output.boxes[..., 1::2].max() <= 64
        assert output.boxes[..., 2].max() > 90
    assert large.anchors.shape[1] > 3 * small.anchors.shape[1]


def test_reference_to_weights(tmp_path):
    from torchvision.models import get_model

    net = get_model("maskrcnn_resnet50_fpn", weights=None, weights_backbone=None, num_classes=3)
    file = tmp_path / "w.pth"
    torch.save(net.state_dict(), file)
    model = rs.load_model(f"torchvision:maskrcnn_resnet50_fpn?weights={file}&classes=background,cat,dog&size=64x64")
    assert model.spec.task == "instance"
    assert model.spec.tasks == ("instance",)
    with torch.no_grad():
        output = model(torch.rand(1, 3, 40, 60))
    assert output.class_logits.shape[-1] == 3
    assert output.size == (40, 60)
    with pytest.raises(rs.UserError, match="3 classes; name them"):
        rs.load_model(f"torchvision:maskrcnn_resnet50_fpn?weights={file}")
    with pytest.raises(rs.UserError, match="name it 'background'"):
        rs.load_model(f"torchvision:maskrcnn_resnet50_fpn?weights={file}&classes=x,cat,dog")
    with pytest.raises(rs.UserError, match=r"3 classes .* 2 are named"):
        rs.load_model(f"torchvision:maskrcnn_resnet50_fpn?weights={file}&classes=background,cat")
    with pytest.raises(rs.UserError, match="two classes are named 'cat'"):
        rs.load_model(f"torchvision:maskrcnn_resnet50_fpn?weights={file}&classes=background,cat,cat")
    for eps in ("-1", "nan", "x"):
        with pytest.raises(rs.UserError, match=f"eps={eps}.* e.g. 1e-5"):
            rs.load_model(f"torchvision:maskrcnn_resnet50_fpn?weights={file}&classes=background,cat,dog&eps={eps}")


def test_coco_names_have_no_double():
    from robustseg.models.refs import parse
    from robustseg.models.torchvision import _coco

    names = _coco(91, parse("torchvision:x"))
    assert len(set(names)) == 91
    assert (names[0], names[1], names[90]) == ("background", "person", "toothbrush")


def test_a_zoo_folder_without_configuration(tmp_path):
    from robustseg.models.refs import Options

    with pytest.raises(rs.UserError, match="missing or no JSON"):
        maskrcnn.load_folder(tmp_path, Options("zoo:x", {}), "zoo:x", {})
    (tmp_path / "config.json").write_text(json.dumps([]))
