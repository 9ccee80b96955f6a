"""`wrap`: every option in closed form, and the checks at the door."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import OneByOne
from torch import nn

import robustseg as rs
from robustseg.types import DenseOutput, QueryOutput

AB = ["a", "b"]


def test_normalisation_order_and_range_in_closed_form():
    net = OneByOne([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    x = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1)  # R, G, B
    plain = rs.wrap(net, classes=AB, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))(x).scores.flatten()
    assert torch.allclose(plain, torch.tensor([(0.2 - 0.1) / 0.5, (0.8 - 0.3) / 2.0]))
    bgr = rs.wrap(net, classes=AB, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0), channel_order="bgr")(x).scores.flatten()
    assert torch.allclose(bgr, torch.tensor([(0.8 - 0.1) / 0.5, (0.2 - 0.3) / 2.0]))  # the network sees B first
    caffe = rs.wrap(net, classes=AB, mean=(104.0, 117.0, 123.0), std=(1, 1, 1), channel_order="bgr", pixel_range=255)
    assert torch.allclose(caffe(x).scores.flatten(), torch.tensor([0.8 * 255 - 104, 0.2 * 255 - 123]), atol=1e-4)


def test_the_gradient_is_with_respect_to_the_pixels():
    x = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    model = rs.wrap(
        OneByOne([[1.0, 2.0, 3.0], [0.0] * 3]), classes=AB, std=(0.5,) * 3, pixel_range=255, channel_order="bgr"
    )
    (g,) = torch.autograd.grad(model(x).scores[:, 0].sum(), x)
    assert torch.allclose(g[0, :, 0, 0], torch.tensor([3.0, 2.0, 1.0]) * 255 / 0.5)


def test_padding_is_cut_off_to_the_pixel(images):
    seen = []
    net = OneByOne([[1.0, -1.0, 0.5], [0.3, 0.2, 0.1]])
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    scores = rs.wrap(net, classes=AB, mean=(0.5,) * 3, std=(0.25,) * 3, multiple=16)(images).scores
    pixels = (images - 0.5) / 0.25
    assert seen[0].shape[-2:] == (48, 64)
    assert not seen[0][..., 37:, :].any()  # the mean colour
    assert not seen[0][..., 53:].any()
    assert torch.allclose(scores, net(pixels), atol=1e-6)
    unpadded = rs.wrap(net, classes=AB, mean=(0.5,) * 3, std=(0.25,) * 3)(images).scores
    assert torch.allclose(scores, unpadded, atol=1e-6)


def test_padding_of_a_coarse_output_is_cut_after_upsampling(images):
    net = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4))
    scores = rs.wrap(net, classes=AB, multiple=8)(images).scores
    full = F.interpolate(net(F.pad(images, (0, 3, 0, 3))), (40, 56), mode="bilinear", align_corners=False)
    assert torch.equal(scores, full[..., :37, :53])


def test_size_resizes_with_antialiasing_and_keeps_the_gradient(images):
    net = OneByOne([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    x = images.requires_grad_()
    scores = rs.wrap(net, classes=AB, size=(16, 24))(x).scores
    expected = F.interpolate(x, (16, 24), mode="bilinear", align_corners=False, antialias=True)[:, :2]
    assert torch.allclose(scores, expected, atol=1e-6)
    (g,) = torch.autograd.grad(scores.sum(), x)
    assert torch.allclose(g.sum(), torch.tensor(2 * 2 * 16 * 24.0))  # an average hands on all of its gradient


def test_one_logit_becomes_background_and_foreground(images):
    net = OneByOne([[2.0, -1.0, 0.5]], [-0.4])
    z = net(images)[:, 0]
    model = rs.wrap(net, classes=["background", "tumour"], activation="sigmoid")
    output = model(images)
    assert torch.equal(output.scores[:, 0], torch.zeros_like(z))
    assert torch.allclose(output.scores.softmax(1)[:, 1], z.sigmoid(), atol=1e-6)
    assert torch.equal(output.scores.argmax(1), (z > 0).long())
    with pytest.raises(rs.UserError, match="one logit needs activation='sigmoid'"):
        rs.wrap(net, classes=["background", "tumour"])(images)


def test_one_probability_becomes_two(images):
    net = nn.Sequential(OneByOne([[2.0, -1.0, 0.5]]), nn.Sigmoid())
    output = rs.wrap(net, classes=AB, activation="sigmoid", kind="scores")(images)
    assert output.kind == "scores"
    assert torch.allclose(output.scores.sum(1), torch.ones(2, 37, 53))
    assert torch.equal(output.scores[:, 1:], net(images))


def test_sigmoid_heads_with_an_implied_background(images):
    net = OneByOne([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]], [-4.5, -4.5])
    scores = rs.wrap(net, classes=["none", "a", "b"], activation="sigmoid")(images).scores
    nothing = (images[:, :2] < 0.5).all(1)
    assert nothing.any()
    assert torch.equal(scores.argmax(1) == 0, nothing)


@pytest.mark.parametrize(
    "raw", [lambda s: {"out": s, "aux": 0 * s}, lambda s: {"logits": s}, lambda s: type("Out", (), {"logits": s})()]
)
def test_common_kinds_of_return_values_are_read(raw, images):
    class Net(OneByOne):
        def forward(self, x):
            return raw(super().forward(x))

    net = Net([[1.0, 0, 0], [0, 1.0, 0]])
    assert torch.equal(rs.wrap(net, classes=AB)(images).scores, net.conv(images))


def test_a_tuple_needs_output(images):
    class Net(OneByOne):
        def forward(self, x):
            return super().forward(x), x

    net = Net([[1.0, 0, 0], [0, 1.0, 0]])
    with pytest.raises(rs.UserError, match=r"a tuple of 2.*output=lambda r: r\[0\]"):
        rs.wrap(net, classes=AB)(images)
    assert torch.equal(rs.wrap(net, classes=AB, output=lambda r: r[0])(images).scores, net.conv(images))
    direct = rs.wrap(net, classes=AB, output=lambda r: DenseOutput(r[0].exp(), "scores"))(images)
    assert direct.kind == "scores"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda x: (x * 255).byte(), r"images\.float\(\) / 255"),
        (lambda x: x * 255, "images / 255"),
        (lambda x: (x - 0.5) / 0.2, "normalisation belongs to the model"),
        (lambda x: x[0], r"images\[None\]"),
        (lambda x: x.permute(0, 2, 3, 1), "channels stand last"),
        (lambda x: x[:, :1], r"wanted \(B,3,H,W\)"),
        (lambda x: x.half(), "wanted float32"),
        (lambda x: torch.where(x > 0.5, torch.nan, x), "NaN"),
        (lambda x: x.numpy(), "are ndarray"),
        (lambda x: x[:0], "nothing to look at"),
    ],
)
def test_images_outside_the_contract_are_refused_with_the_fix(bad, message, images):
    model = rs.wrap(OneByOne([[1.0, 0, 0], [0, 1.0, 0]]), classes=AB)
    with pytest.raises(rs.UserError, match=message):
        model(bad(images))


def test_rounding_beyond_the_box_is_tolerated(images):
    model = rs.wrap(OneByOne([[1.0, 0, 0], [0, 1.0, 0]]), classes=AB)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = -3e-8, 1 + 2e-7
    assert model(images).scores.shape == (2, 2, 37, 53)


def test_four_channels(images):
    net = OneByOne([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    x = torch.cat([images, images[:, :1]], 1)
    assert torch.equal(rs.wrap(net, classes=AB, mean=(0.0,) * 4, std=(1.0,) * 4)(x).scores, net(x))


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda s: s.argmax(1), "argmaxed-output"),
        (lambda s: s.argmax(1, keepdim=True).repeat(1, 2, 1, 1), "argmaxed-output"),
        (lambda s: s.detach(), "gradient-missing"),
        (lambda s: s.flatten(2), "class-count-mismatch"),
        (lambda s: s[:1], "wrong-size"),
        (lambda s: s[..., :20], "wrong-size"),
        (lambda s: s.repeat(1, 2, 1, 1), "class-count-mismatch"),
    ],
)
def test_outputs_that_cannot_be_attacked_are_refused_by_name(change, finding, images):
    class Net(OneByOne):
        def forward(self, x):
            return change(super().forward(x))

    model = rs.wrap(Net([[1.0, 0, 0], [0, 1.0, 0]]), classes=AB)
    with pytest.raises(rs.UserError) as caught:
        model(images.requires_grad_())
    assert caught.value.finding == finding


def test_without_gradients_a_detached_output_may_be_scored(images):
    class Net(OneByOne):
        def forward(self, x):
            return super().forward(x).detach()

    assert rs.wrap(Net([[1.0, 0, 0], [0, 1.0, 0]]), classes=AB)(images).scores.shape[1] == 2


def test_wishes_that_cannot_be_met_are_errors(images):
    model = rs.wrap(OneByOne([[1.0, 0, 0], [0, 1.0, 0]]), classes=AB)
    with pytest.raises(rs.UserError, match="gives no attention maps"):
        model(images, want=frozenset({"attention"}))
    with pytest.raises(rs.UserError, match="takes no prompts"):
        model(images, prompts=[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ["a"]}, "at least two names"),
        ({"classes": ["a", "a"]}, "'a' twice"),
        ({"channel_order": "RGB"}, "'rgb' or 'bgr'"),
        ({"mean": (123.0, 116.0, 103.0)}, "pixel_range=255"),
        ({"mean": (0.485, 0.456, 0.406), "pixel_range": 255}, "multiply mean and std by 255"),
        ({"std": (0.0, 1.0, 1.0)}, "positive"),
        ({"task": "panoptic"}, "'semantic', 'universal'"),
        ({"task": "universal", "things": ["cow"]}, "'cow', which is none of"),
        ({"multiple": 0}, "positive number"),
    ],
)
def test_contradictory_arguments(arguments, message):
    with pytest.raises(rs.UserError, match=message):
        rs.wrap(OneByOne([[1.0, 0, 0], [0, 1.0, 0]]), **{"classes": AB, **arguments})


def test_the_digest_sees_weights_options_and_code():
    def digest(weight=1.0, net=OneByOne, **options):
        return rs.wrap(net([[weight, 0, 0], [0, 1.0, 0]]), **{"classes": AB, **options}).spec.digest

    class Other(OneByOne):
        def forward(self, x):
            return 2 * super().forward(x)

    all_different = [
        digest(), digest(2.0), digest(multiple=8), digest(net=Other), digest(classes=["b", "a"]), digest(kind="scores"),
    ]  # fmt: skip
    assert digest() == digest()
    assert len(set(all_different)) == len(all_different)


def test_importing_models_imports_no_model_library():
    import subprocess
    import sys

    code = (
        "import sys, robustseg as rs; rs.wrap; rs.load_model\n"
        "heavy = {'transformers', 'torchvision', 'segmentation_models_pytorch', 'timm'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_binary_model_may_leave_out_the_axis_of_classes(images):
    class Flat(OneByOne):
        def forward(self, x):
            return super().forward(x)[:, 0]

    net = Flat([[1.0, -2.0, 0.5]])
    model = rs.wrap(net, classes=AB, activation="sigmoid")
    z = net(images)
    assert torch.equal(model(images).scores, torch.stack([torch.zeros_like(z), z], 1))
    with pytest.raises(rs.UserError, match=r"unsqueeze\(1\)") as caught:
        rs.wrap(net, classes=AB)(images)
    assert caught.value.finding == "class-count-mismatch"
    assert "label map" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", r"net\.py raised ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(4)", r"net\.py raised SystemExit: 4"),
        ("def build(): raise KeyError('weights')", r"build raised KeyError: 'weights'"),
        ("def build(size): pass", r"build raised TypeError: .*size"),
    ],
)
def test_a_mistake_in_the_file_of_the_user_is_theirs_and_named(tmp_path, code, words):
    (tmp_path / "net.py").write_text(code)
    with pytest.raises(rs.UserError, match=words) as caught:
        rs.load_model(f"py:{tmp_path / 'net.py'}:build")
    assert "\n" not in str(caught.value)


def test_queries_of_ones_own_are_wrapped_as_a_universal_model():
    from types import SimpleNamespace

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            logits = x.mean((2, 3))[:, None, :].expand(-1, 2, -1)  # two queries, two classes and no object
            return SimpleNamespace(class_queries_logits=logits, masks_queries_logits=self.conv(x))

    model = rs.wrap(Net(), task="universal", classes=["sky", "car"], things=["car"])
    output = model(torch.rand(1, 3, 4, 4))
    assert (output.class_logits.shape, output.mask_logits.shape) == ((1, 2, 3), (1, 2, 4, 4))
    assert (model.spec.tasks, model.spec.things) == (("semantic", "instance", "panoptic"), ("car",))
    with pytest.raises(rs.UserError, match="wants a QueryOutput"):
        rs.wrap(nn.Conv2d(3, 2, 1), task="universal", classes=["sky", "car"])(torch.rand(1, 3, 4, 4))
    with pytest.raises(rs.UserError, match="2 classes and no object"):
        rs.wrap(Net(), task="universal", classes=["sky", "car", "bus"], output=lambda r: QueryOutput(
            r.class_queries_logits, r.masks_queries_logits))(torch.rand(1, 3, 4, 4))  # fmt: skip
