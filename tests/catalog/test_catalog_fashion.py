"""FashionAdv: nothing outside the clothing, texture against hiding, all steps taken, everything else refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import region_toys
from robustseg.catalog import attack
from robustseg.models import wrap
from robustseg.objectives.fashion import WIDTHS, style_of, styles
from robustseg.objectives.regions.hide import hidden, hide
from robustseg.ops.style import Features
from robustseg.types import DenseOutput, SegmentTarget, UserError, View

CLASSES = ("road", "person", "sky")


class Street(nn.Module):
    """Bright is a person, dark is road, blue is sky; the features are random filters at three sizes."""

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(1)
        self.filters = nn.ParameterList(nn.Parameter(torch.randn(6, 3, 3, 3, generator=g)) for _ in range(3))

    def forward(self, x):
        smooth = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        grey, blue = smooth.mean(1), smooth[:, 2] - smooth[:, 0]
        scores = 30 * torch.stack([0.5 - grey, grey - 0.5, blue - 0.6], 1)
        maps = [torch.relu(F.conv2d(F.avg_pool2d(x, k), f, padding=1)) for k, f in zip((1, 2, 4), self.filters)]
        return DenseOutput(scores, extras={"features": maps})


def scene(n: int = 2):
    """A bright person on dark road; the person wears clothes on the lower part."""
    g = torch.Generator().manual_seed(5)
    images = 0.25 + 0.05 * torch.rand(n, 3, 24, 32, generator=g)
    person = torch.zeros(n, 24, 32, dtype=torch.bool)
    person[:, 6:20, 10:20] = True
    images = torch.where(person.unsqueeze(1), 0.62 + 0.05 * torch.rand(images.shape, generator=g), images)
    clothing = person.clone()
    clothing[:, :10] = False
    return images, person, clothing


MODEL = wrap(Street(), classes=CLASSES)


class Stubborn(Street):
    """Sees persons where they are, whatever they wear: every iterate is as good as the last."""

    def forward(self, x):
        output = super().forward(x)
        person = scene(1)[1].float()
        scores = torch.stack([1 - person, person, 0 * person], 1).expand(len(x), -1, -1, -1)
        return DenseOutput(10 * scores + 0 * output.scores, extras=output.extras)


STUBBORN = wrap(Stubborn(), classes=CLASSES)


def run(spec: str, model=MODEL, **options):
    images, person, clothing = scene()
    made = attack(spec)
    given = {"region": clothing, **options}
    return made, images, clothing, person, made(model, images, None, **given)


def cost(model, images, x, clothing) -> torch.Tensor:
    """The style cost of ``x`` against blossom, as the attack has it."""
    from robustseg.ops.cloth import cloth

    def see(v):
        return Features(tuple(model.module(v).extras["features"]), v)

    with torch.no_grad():
        scale = [m.flatten(1).pow(2).mean(1).sqrt() for m in see(images).maps]
        goal = see(cloth("blossom", (24, 32), 16)[None].expand(len(images), -1, -1, -1))
        everywhere = torch.ones(len(images), 24, 32)
        return style_of(styles(see(x), scale, clothing.float()), styles(goal, scale, everywhere))


def test_only_clothing_changes_and_persons_go():
    _, images, clothing, person, found = run("fashion:steps=30,texture=0.01,likeness=1,variation=1")
    outside = ~clothing.unsqueeze(1).expand_as(images)
    assert torch.equal(found.images[outside], images[outside])  # bit for bit
    assert (found.images != images).any(1)[clothing].float().mean() > 0.9
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    still = (MODEL(found.images).scores.argmax(1) == 1) & clothing
    assert still.flatten(1).sum(1).max() < 0.2 * clothing[0].sum()
    gone = 1 - ((MODEL(found.images).scores.argmax(1) == 1) & person).flatten(1).sum(1) / person.flatten(1).sum(1)
    assert found.score.tolist() == pytest.approx(gone.tolist(), abs=0.02)


def test_texture_alone_goes_towards_the_cloth():
    spec = "fashion:adv=0,texture=1,variation=0,likeness=0,steps=30,fashion=blossom"
    _, images, clothing, _, found = run(spec, model=STUBBORN)
    before, after = cost(MODEL, images, images, clothing), cost(MODEL, images, found.images, clothing)
    assert (after < 0.9 * before).all()


def test_what_holds_it_back_makes_it_more_alike():
    from robustseg.ops.similarity import ssim

    _, images, _, _, free = run("fashion:texture=0,variation=0,likeness=0,steps=20")
    _, _, _, _, held = run("fashion:texture=0,variation=0,likeness=2000,steps=20")
    assert (ssim(held.images, images) > ssim(free.images, images)).all()
    _, _, _, _, smooth = run("fashion:texture=0,variation=20000,likeness=0,steps=20")
    from robustseg.ops.style import total_variation

    clothing = scene()[2].float()
    assert (total_variation(smooth.images, clothing) < total_variation(free.images, clothing)).all()


@pytest.mark.parametrize("eot", ["", ",eot=jpeg:60-90,eot_samples=2", ",eot=perspective:0.1"])
def test_the_budget_is_what_is_spent_and_all_steps_are_taken(eot):
    made, _, _, _, found = run(f"fashion:steps=12,likeness=1,variation=1,texture=0.01{eot}")
    assert made.budget == (int(found.forwards[0]), int(found.backwards[0]))
    assert found.forwards.tolist() == [made.budget[0]] * 2
    assert found.trace.shape[1] == made.budget[1] + 1


def test_images_are_attacked_by_themselves():
    images, _, clothing = scene()
    made, ids = attack("fashion:steps=4,eot=jpeg:60-90"), ["a", "b"]
    both = made(MODEL, images, None, ids=ids, region=clothing).images
    for i in range(2):
        part = slice(i, i + 1)
        alone = made(MODEL, images[part], None, ids=ids[part], region=clothing[part]).images
        assert torch.allclose(both[part], alone, atol=2e-3)


def test_without_clothes_or_persons_there_is_nothing_to_do():
    images, _, clothing = scene()
    clothing[0] = False
    images[1] = 0.2  # nobody there
    found = attack("fashion:steps=2")(MODEL, images, None, region=clothing)
    assert found.applicable.tolist() == [False, False]
    assert torch.equal(found.images, images)


def test_style_is_zero_for_equals_and_weighs_layers_as_the_authors_do():
    g = torch.Generator().manual_seed(0)
    first, second = ([torch.randn(1, 3, 4, generator=g) for _ in WIDTHS] for _ in range(2))
    assert style_of(first, first).item() == 0
    by_hand = sum(
        2e5 / n**2 * ((a - b) ** 2).mean() / a.std(correction=0) for n, a, b in zip((64, 128, 256, 512), first, second)
    )
    assert style_of(first, second).item() == pytest.approx(float(by_hand), rel=1e-4)


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        ("fashion", {"region": None}, "pass the pixels as region="),
        ("fashion:adv=-1", {}, "adv=-1 is negative"),
        ("fashion:adv=much", {}, "adv=much is not a number"),
        ("fashion:fashion=tartn", {}, "did you mean tartan"),
        ("fashion:class=persn", {}, "did you mean person"),
        ("fashion:target=least-likely", {}, "takes no target"),
        ("fashion:norm=l2", {}, "takes no norm"),
        ("fashion", {"model": wrap(nn.Conv2d(3, 3, 1), classes=CLASSES)}, "gives no feature maps"),
    ],
)
def test_refusals_are_one_line(spec, options, says):
    with pytest.raises(UserError, match=says):
        run(spec, **options)


def test_a_cloth_of_ones_own(tmp_path):
    from PIL import Image

    Image.new("RGB", (7, 5), (200, 30, 30)).save(tmp_path / "red.png")
    _, images, clothing, _, found = run(
        f"fashion:fashion={tmp_path}/red.png,steps=20,adv=0,variation=0,likeness=0,step_size=4/255"
    )
    change = (found.images - images).permute(0, 2, 3, 1)[clothing].mean(0)
    assert change[0] > change[1]
    assert change[0] > change[2]


# ------------------------------------------------------------------------------------------------ regions


def regions(bright: float = 0.8):
    image, masks = region_toys.squares([0, 5], bright=bright)
    target = region_toys.target([masks])
    model = region_toys.ToyRegions(region_toys.grid(24, 32))
    images = image[None].requires_grad_()
    return View(images, images, torch.zeros_like(images), model(images)), target, images


def test_regions_of_the_class_go_to_the_background_and_others_stay():
    view, target, images = regions()
    aim = hide(omega=1.0)
    state = aim.init(view, target, {"class": torch.tensor([1])})
    assert state["aimed"].tolist() == [[True, True]]
    terms, _ = aim.value(view, target, state, 0.0)
    p = torch.tensor(8 * 0.3).sigmoid()
    assert terms["hidden"].item() == pytest.approx(-p.log().item(), rel=1e-4)
    assert hidden(view, target, state).item() == pytest.approx(1 - p.item(), rel=1e-4)
    (slope,) = torch.autograd.grad(terms["hidden"].sum(), images)
    assert (slope[0, :, :8, :8] < 0).all()  # darker: less of an object
    assert terms["kept"].item() == 0  # omega = 1: nothing else counts


def test_other_classes_are_no_aim_and_no_loss_where_all_is_hidden():
    view, target, _ = regions(bright=0.05)
    state = hide().init(view, target, {"class": torch.tensor([1])})
    assert hidden(view, target, state).item() == 1
    none = hide().init(view, target, {"class": torch.tensor([7])})
    assert not none["aimed"].any()
    assert hidden(view, target, none).item() == 1
    assert isinstance(target, SegmentTarget)


# ------------------------------------------------------------------------------------------------ whole attacks


def test_it_dresses_a_detector():
    import tiny_maskrcnn
    from robustseg.models import maskrcnn

    model = maskrcnn.adapter(tiny_maskrcnn.network(), ("background", "a", "b", "c"), "tiny", "test")
    images = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(1))
    clothing = torch.zeros(2, 64, 80, dtype=torch.bool)
    clothing[:, :, 20:60] = True
    found = attack("fashion:class=a,steps=6,texture=0.01,likeness=1,variation=1")(model, images, None, region=clothing)
    assert found.applicable.any()
    mine = found.applicable
    assert torch.equal(found.images.permute(0, 2, 3, 1)[~clothing], images.permute(0, 2, 3, 1)[~clothing])
    assert (found.images != images).flatten(1).any(1).tolist() == mine.tolist()
    assert (found.trace[mine, -1] > found.trace[mine, 0]).any()
    assert not found.fault.any()


def test_it_dresses_a_panoptic_model():
    from query_models import Shaded, Universal
    from query_toys import street

    class Dressed(Shaded):
        def forward(self, images):
            output = super().forward(images)
            return type(output)(output.class_logits, output.mask_logits, {"features": self.maps(images)})

        def maps(self, x):
            pooled = [F.avg_pool2d(x, k) for k in (1, 2, 4)]
            return Features(tuple(pooled), pooled[1])

    target = street()
    clothing = target.masks[:, 3]  # of the man
    images = torch.zeros(1, 3, 8, 16)
    spec = "fashion:class=man,steps=20,texture=0,likeness=0,variation=0,step_size=16/255"
    found = attack(spec)(Universal(Dressed()), images, target, region=clothing)
    assert found.applicable.tolist() == [True]
    assert not found.fault.any()
    assert found.score.tolist() == [1.0]
    assert torch.equal(found.images.permute(0, 2, 3, 1)[~clothing], images.permute(0, 2, 3, 1)[~clothing])
