"""A patch: its closed form, what it reaches outside its place and nothing else, its options, its file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import attack_toys as toys
from robustseg.catalog import Artefact, attack
from robustseg.catalog.patch_fit import hidden, mix
from robustseg.errors import UserError
from robustseg.ops.place import Place
from robustseg.types import Sample, SegmentTarget, SemanticTarget


@dataclass(frozen=True)
class Pictures:
    """Images in memory, labels in the model's class indices."""

    images: list[torch.Tensor]
    labels: list[torch.Tensor]
    ref: str = "toy:fit"
    ignore: int = 255
    task: str = "semantic"
    classes: tuple[str, ...] = toys.CLASSES
    ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Sample:
        return Sample(str(i), self.images[i], self.labels[i])

    def digest(self) -> str:
        return self.ref


class Everywhere(nn.Module):
    """Every pixel answers with one number, linear in the whole image: a patch reaches all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 12, 20, generator=torch.Generator().manual_seed(1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        H, W = x.shape[-2:]
        s = (x * self.weight[:, :H, :W]).flatten(1).sum(1) / 100 + 0.5
        return torch.stack([10 + s, 10 - s], 1)[..., None, None].expand(-1, -1, H, W)


def road(*sizes: tuple[int, int]) -> Pictures:
    g = torch.Generator().manual_seed(0)
    return Pictures([torch.rand(3, *s, generator=g) for s in sizes], [torch.zeros(s, dtype=torch.int64) for s in sizes])


PLAIN = {"vary": "none", "update": "sign", "step_size": "0.25", "steps": 4, "batch": 1}


def test_on_a_linear_model_the_patch_is_the_sign_of_the_weights():
    """A patch that is not square, and one of which half is outside: there nothing leads, and it stays as it began."""
    model = toys.Toy(Everywhere(), 2)
    weight = model.module.weight.detach()
    one = attack("patch:size=4x6,at=0.5/0.5", **PLAIN).fit(model, road((12, 20))).tensors["patch"]
    assert torch.equal(one, (weight[:, 4:8, 7:13] < 0).float())
    half = attack("patch:size=4x6,at=1/0.5", **PLAIN).fit(model, road((12, 20))).tensors["patch"]
    assert torch.equal(half[..., :3], (weight[:, 4:8, 17:20] < 0).float())
    assert bool(((half[..., 3:] > 0) & (half[..., 3:] < 1)).all())


def test_over_several_images_it_is_the_sign_of_the_sum_of_the_unit_gradients():
    model = toys.Toy(Everywhere(), 2)
    weight = model.module.weight.detach()
    found = attack("patch:size=4x6", **{**PLAIN, "batch": 2}).fit(model, road((12, 20), (8, 14))).tensors["patch"]
    first, second = weight[:, 4:8, 7:13], weight[:, 2:6, 4:10]
    total = first / first.norm() + second / second.norm()
    assert torch.equal(found, (total < 0).float())


@pytest.fixture(scope="module")
def model() -> toys.Toy:
    return toys.trained(kernel=9)


def blocks(n: int, seed: int) -> Pictures:
    images, labels = toys.blocks(n, seed)
    return Pictures(list(images.clamp(0, 1)), list(labels))


def wrong_outside(model, result, labels, at) -> float:
    free = ~at.mask(tuple(labels.shape[-2:]))
    return float(toys.wrong(model, result.images, labels)[:, free].float().mean())


@pytest.mark.parametrize("options", [{}, {"gamma": "dynamic"}, {"loss": "margin"}, {"loss": "dlr", "smooth": "0.1"}])
def test_outside_its_place_it_does_more_than_noise_and_grey_on_images_it_has_not_seen(model, options):
    at = Place((10, 12), (0.5, 0.5))
    made = attack("patch:size=10x12,steps=20,images=6,batch=2", **options)
    scored = blocks(6, seed=7)
    images, labels = torch.stack(scored.images), torch.stack(scored.labels)
    ready = [made.with_artefact(made.fit(model, blocks(6, seed=1))), attack("patch:size=10x12,fill=random"),
             attack("patch:size=10x12,fill=grey")]  # fmt: skip
    found, noise, grey = (a(model, images, labels) for a in ready)
    lost = [wrong_outside(model, r, labels, at) for r in (found, noise, grey)]
    assert lost[0] > 1.3 * max(lost[1:])
    inside = at.mask((24, 24))
    for result in (found, noise, grey):
        assert torch.equal(result.images[..., ~inside], images[..., ~inside])
        assert result.backwards.tolist() == [0] * 6
    patch = ready[0].artefact.tensors["patch"].flatten(1)
    assert torch.allclose(found.images[:, :, inside], patch.expand(6, -1, -1), atol=1e-6)
    assert not torch.equal(noise.images[0, :, inside], noise.images[1, :, inside])  # each image has its own


def test_gradients_of_the_fit_are_counted():
    network = toys.Toy(toys.conv_net(), 4)
    images, labels = toys.scene(3)
    made = attack("patch:size=4x4,steps=5,images=3,batch=2,vary=noise:0.1,reference=pred")
    artefact = made.fit(network, Pictures(list(images), list(labels)))
    # clean predictions; two followed a step; all three judged at each of five steps and at the end
    assert (artefact.forwards, artefact.backwards) == (3 + 5 * 2 + 6 * 3, 5 * 2)
    assert (network.images, network.backwards) == (artefact.forwards, artefact.backwards)
    twice = attack(made, gamma="dynamic").fit(network, Pictures(list(images), list(labels)))
    assert twice.backwards == 2 * artefact.backwards


def test_what_lies_under_the_patch_counts_only_where_it_is_asked_for(model):
    data, at = blocks(2, seed=3), Place((10, 12), (0.5, 0.5))
    other = replace(data, labels=[torch.where(at.mask((24, 24)), (t + 1) % 3, t) for t in data.labels])
    same = attack("patch:size=10x12,steps=3,images=2,vary=none")
    assert torch.equal(same.fit(model, data).tensors["patch"], same.fit(model, other).tensors["patch"])
    every = attack(same, counts="all", loss="ce")
    assert not torch.equal(every.fit(model, data).tensors["patch"], every.fit(model, other).tensors["patch"])


def test_segments_lose_what_is_under_the_patch():
    target = SegmentTarget(torch.zeros(1, 2, 2, dtype=torch.int64), masks=torch.ones(1, 1, 2, 2, dtype=torch.bool),
                           categories=torch.zeros(1, 1, dtype=torch.int64))  # fmt: skip
    covered = torch.tensor([[True, False], [False, False]])
    left = hidden(target, covered)
    assert left.labels.tolist() == [[[255, 0], [0, 0]]]
    assert isinstance(left, SegmentTarget)
    assert left.masks.tolist() == [[[[False, True], [True, True]]]]
    assert type(hidden(SemanticTarget(target.labels), covered)) is SemanticTarget


def test_a_class_is_hidden_and_another_is_shown_at_a_place():
    network = toys.Toy(Everywhere(), 2)
    data = road((12, 20))
    hide = attack("patch:size=6x8,target=nearest,class=road", **PLAIN)
    with pytest.raises(UserError, match="has anything to do"):
        hide.fit(network, data)  # nothing but road: there is no other class to take
    aim = attack("patch:size=6x8,at=0.5/0.5,target=class:person,aim=4x4@0.1/0.2,reference=gt", **PLAIN)
    ready = aim.with_artefact(aim.fit(network, data))
    result = ready(network, data.images[0][None], data.labels[0][None])
    there = Place((4, 4), (0.1, 0.2)).mask((12, 20))
    assert result.goal is not None
    assert torch.equal(result.goal[0] == 1, there)


def test_hiding_a_class_needs_less_of_it(model):
    made = attack("patch:size=10x12,steps=20,images=6,target=nearest,class=person")
    ready = made.with_artefact(made.fit(model, blocks(6, seed=2)))
    scored = blocks(4, seed=9)
    images, labels = torch.stack(scored.images), torch.stack(scored.labels)
    free = ~Place((10, 12), (0.5, 0.5)).mask((24, 24))
    grey = attack("patch:size=10x12,fill=grey")(model, images, labels)
    found = ready(model, images, labels)
    left = [int((model.module(r.images).argmax(1)[:, free] == 1).sum()) for r in (found, grey)]
    assert left[0] < left[1]


def test_the_same_seed_the_same_patch(model):
    made = attack("patch:size=10x12,steps=3,images=4")
    one, two, other = (made.fit(model, blocks(4, seed=3), seed=s).tensors["patch"] for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_terms_of_the_patch_alone_pull_it_smooth_and_printable(model, tmp_path):
    colours = tmp_path / "ink.txt"
    colours.write_text("# ink\n0 0 0\n255,255,255\n")
    plain = attack("patch:size=10x12,steps=12,images=2,batch=1")
    smooth, printed = attack(plain, smooth="2"), attack(plain, nps="2", colours=str(colours))
    patches = [a.fit(model, blocks(2, seed=3)).tensors["patch"] for a in (plain, smooth, printed)]
    rough = [float((p[..., 1:] - p[..., :-1]).square().sum()) for p in patches]
    assert rough[1] < 0.5 * rough[0]
    far = [float((p.norm(dim=0) * (1 - p).norm(dim=0)).mean()) for p in patches]
    assert far[2] < 0.7 * far[0]


def test_the_dynamic_weight_is_the_share_of_pixels_still_right():
    from robustseg.objectives.split import share_right
    from robustseg.types import DenseOutput, View

    scores = torch.zeros(1, 2, 1, 4)
    scores[0, 0, 0, :3] = 1
    target = SemanticTarget(torch.tensor([[[0, 0, 1, 255]]]))
    view = View(scores, scores, scores, DenseOutput(scores))
    assert share_right(view, target).tolist() == pytest.approx([2 / 3])
    assert mix(attack("patch:gamma=dynamic").params)[1] == 2
    assert mix(attack("patch").params)[1] == 1


def test_its_baselines_lie_where_it_lies():
    made = attack("patch:size=8x6,at=0.25/0.75,steps=7")
    assert [b.spec for b in made.baselines] == [
        "patch:at=0.25/0.75,fill=random,size=8x6", "patch:at=0.25/0.75,fill=grey,size=8x6",
    ]  # fmt: skip
    assert {b.region for b in made.baselines} == {made.region} == {"box:8x6@0.25/0.75"}
    assert not any(b.needs_fit for b in made.baselines)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("patch:eps=8/255", "takes no eps"),
        ("patch:size=0x4", "is no place"),
        ("patch:at=2/0", "is no place"),
        ("patch:fill=blue", "choose one of optimised, random, grey"),
        ("patch:loss=splits", "did you mean split"),
        ("patch:gamma=2", "number from 0 to 1, or dynamic"),
        ("patch:gamma=x", "is not a number or dynamic"),
        ("patch:smooth=-1", "is negative"),
        ("patch:nps=1", "colours=FILE"),
        ("patch:nps=1,colours=nowhere.txt", "no such file"),
        ("patch:aim=4x4@0.5/0.5", "target=class:car"),
        ("patch:vary=jpeg:50", "unknown transformation 'jpeg'"),
        ("patch:vary=scale:2-1", "rising"),
        ("patch:batch=0", "batch=0"),
        ("patch:region=clothing", "takes no region"),
        ("patch:counts=some", "outside or all"),
    ],
)
def test_refusals(spec, says):
    with pytest.raises(UserError, match=says) as caught:
        attack(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "patch", "says"),
    [
        ("universal-tile", torch.rand(3, 4, 6), "no patch"),
        ("patch", torch.rand(4, 6), r"\(C,h,w\)"),
        ("patch", torch.rand(3, 4, 6) + 1, r"not in \[0,1\]"),
        ("patch", torch.rand(3, 4, 6) * torch.nan, r"not in \[0,1\]"),
        ("patch", torch.rand(3, 6, 4), "write size=6x4"),
    ],
)
def test_a_file_is_used_again_and_a_hostile_one_is_one_line(tmp_path, kind, patch, says):
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    Artefact("patch", {"patch": torch.rand(3, 4, 6)}, "toy", 1, 1).save(good)
    assert attack(f"patch:size=4x6,file={good}").artefact is not None
    Artefact(kind, {"patch": patch}, "toy", 1, 1).save(bad)
    with pytest.raises(UserError, match=says):
        attack(f"patch:size=4x6,file={bad}")


def test_a_gradient_that_is_zero_makes_no_patch():
    class Rounded(Everywhere):
        def forward(self, x):
            return super().forward(x.round() + 0 * x)

    with pytest.raises(UserError, match="exactly zero at every step"):
        attack("patch:size=4x6", **PLAIN).fit(toys.Toy(Rounded(), 2), road((12, 20)))
