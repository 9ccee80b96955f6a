"""The doctor finds each fault in a network built to have it, and nothing in a healthy one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tiny_networks import OneByOne
from torch import nn

import robustseg as rs
from robustseg.errors import UserError
from robustseg.models import check
from robustseg.models.findings import EXPLAINED, Finding, explain, failed, render
from robustseg.types import DenseOutput, Sample

COLOURS = ("red", "green", "blue")


class Colours:
    """Images of three flat colours in unequal stripes, with a little noise; the class is the strongest channel."""

    ref, task, classes, ignore = "colours", "semantic", COLOURS, 255

    def __init__(self, labels=lambda y: y, classes=COLOURS, n=5):
        self.change, self.classes, self.ids = labels, classes, [f"image {i}" for i in range(n)]

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        g = torch.Generator().manual_seed(index)
        y = torch.full((12, 20), 0)
        y[:, 9:], y[:, 15:], y[0] = 1, 2, 255
        image = 0.35 + 0.2 * nn.functional.one_hot(y.clamp(max=2), 3).permute(2, 0, 1).float()
        return Sample(self.ids[index], (image + 0.02 * torch.rand(3, 12, 20, generator=g)).clamp(0, 1), self.change(y))

    def digest(self):
        return "colours"


def healthy(**options):
    """Strongest channel wins, on pixels that are normalised to (x - 0.45) / 0.1."""
    net = OneByOne([[2.0, -1, -1], [-1, 2.0, -1], [-1, -1, 2.0]])
    return rs.wrap(net, **{"classes": COLOURS, "mean": (0.45,) * 3, "std": (0.1,) * 3, **options})


def faulty(forward, **options):
    """The healthy network with ``forward(scores, pixels)`` behind it."""

    class Net(OneByOne):
        def forward(self, x):
            return forward(super().forward(x), x)

    net = Net([[2.0, -1, -1], [-1, 2.0, -1], [-1, -1, 2.0]])
    return rs.wrap(net, **{"classes": COLOURS, "mean": (0.45,) * 3, "std": (0.1,) * 3, **options})


class Normed(OneByOne):
    """With a BatchNorm behind it."""

    def __init__(self):
        super().__init__([[2.0, -1, -1], [-1, 2.0, -1], [-1, -1, 2.0]])
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(super().forward(x))


def test_a_healthy_model_has_no_findings():
    assert check.diagnose(healthy(), Colours()) == []


def test_a_healthy_network_with_batchnorm_in_eval_mode_has_none_either():
    assert check.diagnose(rs.wrap(Normed(), classes=COLOURS, mean=(0.45,) * 3, std=(0.1,) * 3), Colours()) == []


def zero_gradient(scores, x):
    return scores + (x.round() - scores).detach() + 0 * scores


FAULTS = {
    "gradient-missing": lambda s, x: s.detach(),
    "gradient-zero": lambda s, x: s.detach() + 0 * s,
    "gradient-not-finite": lambda s, x: s + 0 * (x[:, :1] - x[:, :1].detach()).abs().sqrt(),
    "gradient-vanishing": lambda s, x: 100 * s,
    "probabilities-as-logits": lambda s, x: s.softmax(1),
    "argmaxed-output": lambda s, x: s.argmax(1),
    "random-output": lambda s, x: s + 0.1 * torch.randn_like(s),
    "wrong-size": lambda s, x: s[..., :10],
    "class-count-mismatch": lambda s, x: s[:, :2],
    "not-finite-output": lambda s, x: s.where(x[:, :1] < 0, torch.inf),
    "forward-failed": lambda s, x: s.view(7, 7),
    "batch-dependence": lambda s, x: s - s.mean((0, 2, 3), keepdim=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_by_name(name):
    findings = {f.name: f for f in check.diagnose(faulty(FAULTS[name]), Colours())}
    assert name in findings
    assert findings[name].level == "error"
    assert failed(list(findings.values()))
    assert findings[name].message.startswith("image 0: ")


def test_a_one_hot_output_is_an_argmax_in_disguise():
    def one_hot(s, x):
        return nn.functional.one_hot(s.argmax(1), 3).permute(0, 3, 1, 2).float() + 0 * s

    assert "argmaxed-output" in {f.name for f in check.diagnose(faulty(one_hot), Colours())}


def test_single_sigmoids_are_probabilities_too():
    model = rs.wrap(
        nn.Sequential(OneByOne([[20.0, -10, -10]]), nn.Sigmoid()), classes=["other", "red"], activation="sigmoid"
    )
    names = {
        f.name for f in check.diagnose(model, Colours(lambda y: y.where(y == 255, (y == 0).long()), ["other", "red"]))
    }
    assert names == {"probabilities-as-logits", "clean-accuracy-low"}  # [0, p] always answers the foreground


def test_probabilities_called_scores_are_fine():
    assert check.diagnose(faulty(lambda s, x: s.softmax(1), kind="scores"), Colours()) == []


def test_random_numbers_without_effect_are_a_warning():
    findings = check.diagnose(faulty(lambda s, x: s + 0 * torch.randn_like(s)), Colours())
    assert [(f.name, f.level) for f in findings] == [("random-output", "warning")]


def test_train_mode_is_found_and_everything_is_restored():
    model = rs.wrap(Normed(), classes=COLOURS, mean=(0.45,) * 3, std=(0.1,) * 3)
    model.module.train()
    model.module.conv.eval()
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    state = torch.get_rng_state()
    names = {f.name for f in check.diagnose(model, Colours())}
    assert {"state-changed", "batch-dependence"} <= names
    assert model.module.norm.training
    assert not model.module.conv.training
    assert all(p.requires_grad for p in model.module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"channel_order": "bgr"}, "channel_order='rgb'"),
        ({"pixel_range": 255, "mean": (0.0,) * 3, "std": (100.0,) * 3}, "pixel_range"),
        ({"mean": (0.0,) * 3, "std": (1.0,) * 3}, r"mean=\(0\.485, 0\.456, 0\.406\)"),
    ],
)
def test_wrong_preprocessing_is_found_and_the_right_one_named(wrong, named):
    class Picky(nn.Module):
        """Right only on ImageNet-normalised RGB: every other range pushes all pixels into one class."""

        def forward(self, x):
            std, mean = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406)))
            s = x * std + mean - 0.45
            return torch.cat(
                [s[:, :1] * 10, s[:, 1:2] * 10, s[:, 2:] * 10 + 40 * (s.mean(1, keepdim=True).abs() - 0.1).relu()], 1
            )

    right = {"classes": COLOURS, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    assert check.diagnose(rs.wrap(Picky(), **right), Colours()) == []
    found = {f.name: f for f in check.diagnose(rs.wrap(Picky(), **{**right, **wrong}), Colours())}
    assert found["clean-accuracy-low"].level == "error"
    assert re.search(named, found["clean-accuracy-low"].message)


def test_a_model_no_better_than_one_class_is_found():
    def blue(s, x):
        return torch.cat([0 * s[:, :2], 2 + 0.1 * (0.01 * x.mean(1, keepdim=True)).tanh()], 1)

    found = check.diagnose(faulty(blue), Colours())
    assert [f.name for f in found] == ["clean-accuracy-low"]
    assert "always answering one class" in found[0].message


def test_labels_outside_the_classes():
    found = {f.name: f for f in check.diagnose(healthy(), Colours(lambda y: y.where(y != 2, 7)))}
    assert "labels 7 are neither a class (0..2) nor ignored (255)" in found["label-range"].message


def test_classes_match_by_name():
    permuted = healthy(classes=("green", "blue", "red"))
    relabelled = Colours(lambda y: y.where(y == 255, (y + 2) % 3), ("green", "blue", "red"))
    assert check.diagnose(healthy(), relabelled) == []
    assert {f.name for f in check.diagnose(permuted, Colours())} == {"clean-accuracy-low"}
    assert check.diagnose(healthy(), Colours(classes=("Red", "gre-en", "BLUE"))) == []
    foreign = Colours(lambda y: y.where(y == 255, (y + 2) % 3), ("vert", "bleu", "rouge"))
    assert check.diagnose(healthy(), foreign, table=torch.tensor([1, 2, 0])) == []
    missing = {f.name: f for f in check.diagnose(healthy(), Colours(classes=("red", "green", "purple")))}
    assert "no class purple" in missing["class-names"].message


def test_images_out_of_range_are_the_data_sets_fault():
    class Bytes(Colours):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return Sample(sample.id, sample.image * 255, sample.labels)

    with pytest.raises(rs.UserError, match="images / 255"):
        check.diagnose(healthy(), Bytes())


def test_a_foreign_model_is_examined_too():
    class Foreign:
        def __init__(self, inner):
            self.spec, self.module, self.inner = inner.spec, inner.module, inner

        def __call__(self, images, *, want=frozenset()):
            return DenseOutput(self.inner(images.flip(1)).scores)

    found = check.diagnose(Foreign(healthy()), Colours())
    assert [f.name for f in found] == ["clean-accuracy-low"]
    assert "channel order" in found[0].message


def test_every_name_has_a_page_and_every_finding_a_line():
    page = (Path(__file__).parents[2] / "docs" / "doctor" / "README.md").read_text()
    assert set(re.findall(r"^### ([a-z0-9-]+)$", page, re.M)) == set(EXPLAINED)
    lines = render([Finding("class-names", "warning", "w"), Finding("wrong-size", "error", "e")])
    assert lines[0] == "error    wrong-size: e"
    assert lines[3].endswith("docs/doctor/README.md#class-names")
    assert "robustseg doctor --explain class-names" in lines[3]
    assert not failed([Finding("class-names", "warning", "w")])


def test_every_finding_is_explained_where_only_the_package_is_installed():
    page = (Path(__file__).parents[2] / "docs" / "doctor" / "README.md").read_text()
    for name in EXPLAINED:
        text = explain(name)
        assert text in page
        assert text.count("\n#") == 0
        assert len(text.split()) > 20
    with pytest.raises(UserError, match="did you mean gradient-zero"):
        explain("gradient-zer")
