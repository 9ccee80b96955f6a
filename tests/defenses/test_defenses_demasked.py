"""Demasked smoothing: the promise of every layout counted by hand, and the certificate against every patch there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import nn

import attack_toys as toys
from robustseg.catalog import attack
from robustseg.defenses import demasked
from robustseg.defenses.defended import defended
from robustseg.defenses.demasked import certified, labels_of, voted
from robustseg.defenses.masking import DETECTION, RECOVERY, Layout, layout, read_patch, touched
from robustseg.errors import UserError
from robustseg.ops.infill import harmonic
from robustseg.types import DenseOutput, ModelSpec

LAYOUTS = [("recovery", k) for k in RECOVERY] + [("detection", k) for k in DETECTION]


def places(size, patch):
    """Top left corners of all patches that reach into the image."""
    return list(product(range(1 - patch[0], size[0]), range(1 - patch[1], size[1])))


def covers(size, patch, place):
    mask = torch.zeros(size, dtype=torch.bool)
    top, left = place
    mask[max(top, 0) : top + patch[0], max(left, 0) : left + patch[1]] = True
    return mask


@pytest.mark.parametrize(("mode", "kind"), LAYOUTS)
@pytest.mark.parametrize("patch", [(3, 2), (2, 5)])
def test_a_layout_keeps_its_promise_at_every_place(mode, kind, patch):
    size = (24, 40)
    made = layout(kind, mode, patch, size)
    seen = [int((made.visible & covers(size, patch, p)).flatten(1).any(1).sum()) for p in places(size, patch)]
    assert max(seen) == made.most
    assert touched(made.visible, patch).sum(0).flatten().tolist() == seen
    if mode == "recovery":
        assert made.most == {"columns": 2, "rows": 2, "three": 3, "four": 4}[kind]
        assert len(made.visible) == 2 * made.most + 1
        assert torch.equal(made.visible.sum(0), torch.ones(size, dtype=torch.int64))
    else:
        assert made.most == len(made.visible) - 1


@pytest.mark.parametrize("number", [7, 9, 11])
def test_more_masks_have_narrower_bands(number):
    for side in (2, 5, 6):
        made = layout("columns", "recovery", (side, side), (24, 80), number)
        assert len(made.visible) == number
        assert 2 * made.most < number
        assert made.most == int(touched(made.visible, made.patch).sum(0).max())
        bands = int(made.visible[0, 0].long().diff(prepend=torch.zeros(1)).eq(1).sum())
        assert bands >= 80 // (number * side)


def test_the_infill_knows_nothing_of_what_is_hidden_and_stays_within_what_is_visible():
    g = torch.Generator().manual_seed(0)
    visible = torch.rand(13, 22, generator=g) > 0.7
    images = torch.rand(2, 3, 13, 22, generator=g)
    filled = harmonic(images, visible)
    other = torch.where(visible, images, torch.full_like(images, torch.inf))
    assert torch.equal(harmonic(other, visible), filled)
    assert torch.equal(filled[..., visible], images[..., visible])
    low, high = (f(images[..., visible], -1).values[..., None] for f in (torch.min, torch.max))
    assert bool(((filled.flatten(2) >= low - 1e-6) & (filled.flatten(2) <= high + 1e-6)).all())
    ramp = torch.linspace(0, 1, 40).expand(1, 1, 20, 40)
    bands = ((torch.arange(40) // 5) % 2 == 0).expand(20, 40)
    assert (harmonic(ramp, bands) - ramp)[..., :35].abs().max() < 0.01  # beyond the last band nothing is known
    assert torch.equal(harmonic(images, torch.zeros(13, 22, dtype=torch.bool)), torch.full_like(images, 0.5))


class Far(nn.Module):
    """Looks at the pixel, its surroundings and the whole image: no patch is out of its sight."""

    def forward(self, x):
        near = nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
        whole = x.mean((2, 3), keepdim=True)
        score = near + 0.15 * torch.sin(20 * whole) - 0.5
        return torch.cat([score, -score, 0.4 - 2 * score.abs()], 1)


class One:
    """A model of images of one channel."""

    spec = ModelSpec("far", "semantic", ("a", "b", "c"), "0" * 16)
    module = Far()

    def __call__(self, images, **options):
        return DenseOutput(self.module(images))


SIZE, PATCH = (10, 14), (2, 2)


def picture():
    """Bright, with a dark corner: far from it all versions agree."""
    image = 0.8 + 0.1 * torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(1))
    image[..., 7:, 9:] = 0.1
    return image


def attacked(image):
    """The image under every patch at every place: all contents in black and white."""
    contents = torch.tensor(list(product((0.0, 1.0), repeat=4))).view(-1, 2, 2)
    found = []
    for top, left in places(SIZE, PATCH):
        canvas = torch.nn.functional.pad(image, (1, 1, 1, 1)).expand(len(contents), 1, -1, -1).clone()
        canvas[:, 0, top + 1 : top + 3, left + 1 : left + 3] = contents
        found.append(canvas[..., 1:-1, 1:-1])
    return torch.cat(found)


def broken(made: Layout, mode: str):
    """Certified pixels that some patch changes (detection: without an alarm), and open ones that some patch changes."""
    image = picture()
    clean = certified(One(), image, made, mode)
    found = [certified(One(), x, made, mode) for x in attacked(image).split(256)]
    labels = torch.cat([f.labels for f in found])
    moved = labels != clean.labels
    if mode == "detection":
        moved &= torch.cat([f.sure for f in found])  # the others sound the alarm
    return clean.sure[0], (moved & clean.sure).any(0), (moved & ~clean.sure).any(0)


@pytest.mark.parametrize(("mode", "kind"), LAYOUTS)
def test_no_patch_at_any_place_changes_a_certified_pixel(mode, kind):
    sure, wrong, open_ = broken(layout(kind, mode, PATCH, SIZE, 2 if mode == "detection" else None), mode)
    assert 0.1 < sure.float().mean() < 1
    assert not wrong.any()
    if mode == "recovery":  # others do fall, so that the patches are worth something
        assert open_.any()


def test_what_promises_too_much_is_found_out():
    """A layout that says it is touched less often than it is; an in-fill that looks at what is hidden."""
    made = layout("columns", "recovery", PATCH, SIZE)
    assert broken(replace(made, most=0), "recovery")[1].any()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(demasked, "harmonic", lambda x, visible: x)
        assert broken(made, "recovery")[1].any()
        assert broken(layout("columns", "detection", PATCH, SIZE, 2), "detection")[1].any()


def test_votes_are_counted_and_a_lead_of_more_than_twice_the_touched_is_sure():
    """Versions that show a stripe each; the model says what its brightest pixel is."""

    class Brightest(One):
        def __call__(self, images, **options):
            top = images.amax((2, 3), keepdim=True)
            return DenseOutput(-(top - torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1)).abs().expand(-1, -1, 1, 7))

    levels = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.1])
    image = levels.expand(1, 1, 1, 7)
    stripes = Layout("columns", torch.eye(7, dtype=torch.bool)[:, None], (1, 1), 1)
    found = certified(Brightest(), image, stripes, "recovery")
    assert (found.labels == 2).all()
    assert found.sure.all()  # 5 to 1 is more than 2
    assert not certified(Brightest(), image, replace(stripes, most=2), "recovery").sure.any()  # but not more than 4
    shares = voted(Brightest(), image, stripes, soft=False).scores[0, :, 0, 0]
    assert torch.allclose(shares, (torch.tensor([1.0, 1, 5]) + 0.1) / 7.3)


def test_the_gradient_is_that_of_the_mean_probability():
    images, _ = toys.scene(n=2, size=(12, 20))
    model, made = toys.Toy(toys.conv_net(), 4), layout("columns", "recovery", (2, 2), (12, 20))
    x = images.clone().requires_grad_()
    weight = torch.rand(2, 4, 12, 20, generator=torch.Generator().manual_seed(2))
    soft = voted(model, x, made, soft=True).scores
    (found,) = torch.autograd.grad((soft * weight).sum(), x)
    y = images.clone().requires_grad_()
    up = [demasked.dense(model(v), (12, 20)).scores.softmax(1) for v in demasked.versions(y, made)]
    (wanted,) = torch.autograd.grad((torch.stack(up).mean(0) * weight).sum(), y)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.equal(soft, voted(model, images, made, soft=False).scores)
    assert torch.equal(soft.max(1).indices, certified(model, images, made, "recovery").labels)


@pytest.mark.parametrize("mode", ["recovery", "detection"])
def test_a_zoo_model_keeps_what_is_certified_under_many_patches(mode, unet):
    from robustseg.data import load_data

    image = load_data("street:val", resize=(64, 128))[0].image[None]
    patch = read_patch("1%").size((64, 128))
    made = layout("columns", mode, patch, (64, 128), 3 if mode == "detection" else None)
    clean = certified(unet, image, made, mode)
    assert 0.02 < clean.sure.float().mean() < 1
    g = torch.Generator().manual_seed(0)
    for n in range(6):
        top, left = (int(torch.randint(0, s - p + 1, (1,), generator=g)) for s, p in zip((64, 128), patch, strict=True))
        x = image.clone()
        fill = torch.rand(3, *patch, generator=g) if n % 2 else torch.randint(0, 2, (3, 1, 1), generator=g).float()
        x[..., top : top + patch[0], left : left + patch[1]] = fill
        now = certified(unet, x, made, mode)
        changed = now.labels != clean.labels
        assert not (changed & clean.sure & (now.sure if mode == "detection" else clean.sure)).any()


def test_a_patch_that_follows_the_votes_moves_open_pixels_and_no_certified_one(unet):
    """The strongest attack there is here, per image and straight through the vote, against what it cannot do."""
    from robustseg.data import load_data
    from robustseg.ops.place import read

    image = load_data("street:val", resize=(64, 128))[0].image[None]
    sides = read_patch("1%").size((64, 128))
    clean = certified(unet, image, layout("columns", "recovery", sides, (64, 128)), "recovery")
    inside = read(f"{sides[0]}x{sides[1]}@0.4/0.6").mask((64, 128))[None]
    changed = []
    for spec in ("noise:eps=1", "pgd:eps=1,step_size=1/4,steps=3,reference=pred"):
        result = attack(spec)(defended(unet, "demask=1%"), image, clean.labels, region=inside)
        assert torch.equal(result.images[..., ~inside[0]], image[..., ~inside[0]])
        now = certified(unet, result.images, layout("columns", "recovery", sides, (64, 128)), "recovery")
        assert not ((now.labels != clean.labels) & clean.sure).any()
        changed.append(int((now.labels != clean.labels).sum()))
    assert changed[1] > changed[0]


@pytest.fixture(scope="module")
def unet():
    import robustseg as rs

    return rs.load_model("zoo:street-unet")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: read_patch("1 %"), "cannot be read; write a share"),
        (lambda: read_patch("60%"), "above 0% and up to 25%"),
        (lambda: layout("rings", "recovery", (2, 2), (9, 9)), "choose one of columns, rows, three, four"),
        (lambda: layout("windows", "recovery", (2, 2), (9, 9)), "is none for recovery"),
        (lambda: layout("columns", "repair", (2, 2), (9, 9)), "choose detection or recovery"),
        (lambda: layout("columns", "recovery", (2, 2), (20, 20), 4), "it may show in 2 of them; use more masks"),
        (lambda: layout("columns", "detection", (9, 9), (9, 9)), "use more masks, another layout or a smaller patch"),
        (lambda: layout("columns", "recovery", (30, 2), (20, 20)), "does not fit"),
        (lambda: layout("columns", "recovery", (2, 2), (20, 20), 400), "choose 1 to 99"),
    ],
)
def test_bad_words_are_one_line(call, says):
    with pytest.raises(UserError, match=says):
        call()


def test_models_that_cannot_vote_are_refused():
    boxes, blind = One(), One()
    boxes.spec = ModelSpec("boxes", "instance", ("a",), "0" * 16)
    made = layout("columns", "recovery", PATCH, SIZE)
    with pytest.raises(UserError, match="boxes is for instance; use a semantic"):
        certified(boxes, picture(), made, "recovery")
    blind.module = lambda x: x * torch.nan
    with pytest.raises(UserError, match="scores are not finite"):
        labels_of(blind, picture())
