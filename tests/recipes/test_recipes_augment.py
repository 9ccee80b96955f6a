"""Augmentation keeps image and label together and draws nothing but from its generator."""

import pytest
import torch
from recipes.augment import make_batch, stained, turned

from robustseg.defenses.training.augment import GREY, colour_jitter, scale_crop, window
from robustseg.defenses.training.classes import occurrence


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(height=24, width=32):
    """An image whose red channel is its label."""
    label = (torch.arange(height)[:, None] // 4 * 10 + torch.arange(width)[None] // 8).to(torch.uint8)
    return torch.stack([label, label, label]), label


@pytest.mark.parametrize("seed", range(4))
def test_at_zoom_one_image_and_label_stay_together(seed):
    image, label = picture()
    out, out_label = scale_crop(image, label, (16, 16), (1, 1), 0, 255, seeded(seed))
    assert out.shape == (3, 16, 16)
    assert torch.equal(out[0], out_label)


def test_both_orientations_occur():
    image, label = picture()
    rising = {bool((scale_crop(image, label, (24, 32), (1, 1), 0, 255, seeded(s))[1].int().diff() >= 0).all())
              for s in range(8)}  # fmt: skip
    assert rising == {True, False}


def test_outside_the_photograph_is_grey_and_ignored():
    image, label = picture(4, 4)
    out, out_label = window(image, label, -1, 2, 4, 4, 255)
    assert (out_label[0] == 255).all()
    assert (out_label[:, 2:] == 255).all()
    assert (out[:, 0] == GREY).all()
    assert torch.equal(out_label[1:, :2], label[:3, 2:])


def test_resized_labels_are_never_mixed():
    image, label = picture()
    for seed in range(5):
        _, out = scale_crop(image, label, (40, 40), (0.3, 3), 0.2, 255, seeded(seed))
        assert set(out.unique().tolist()) <= set(label.unique().tolist()) | {255}


def test_zoom_out_shows_everything():
    image, label = picture()
    _, out = scale_crop(image, label, (24, 32), (0.5, 0.5), 0, 255, seeded())
    assert (out != 255).sum() == label.numel() / 4


def test_jitter_of_strength_zero_is_nothing():
    images = torch.rand(2, 3, 4, 4, generator=seeded())
    torch.testing.assert_close(colour_jitter(images, 0.0, seeded(1)), images)
    changed = colour_jitter(images, 0.5, seeded(1))
    assert (changed - images).abs().mean() > 0.01
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_a_batch_is_a_function_of_its_generator():
    image, label = picture()
    images, labels = image[None].repeat(3, 1, 1, 1), label[None].repeat(3, 1, 1)
    how = {"crop": (16, 16), "zoom": (0.5, 2), "stretch": 0.1, "jitter": 0.3, "ignore": 255}
    one, two, other = (make_batch(images, labels, [0, 2], **how, generator=seeded(s)) for s in (3, 3, 4))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_a_window_around_a_class_holds_it(zoom):
    image, label = picture()
    label[20, 30] = 99
    for seed in range(8):
        # without stretch and at zoom >= 1 nearest neighbour keeps every pixel
        _, out = scale_crop(image, label, (16, 16), (zoom, zoom), 0, 255, seeded(seed), around=99)
        assert zoom < 1 or (out == 99).any()
        assert (out != 255).any()


def test_rare_classes_are_drawn_as_often_as_frequent_ones():
    images = torch.zeros(5, 3, 16, 16, dtype=torch.uint8)
    labels = torch.zeros(5, 16, 16, dtype=torch.uint8)
    labels[3, 4, 4] = 2
    places = occurrence(labels, 4)
    assert [row.tolist() for row in places] == [[0, 0, 1, 2, 3, 4], [2, 3]]
    how = {"crop": (8, 8), "zoom": (1, 1), "stretch": 0, "jitter": 0, "ignore": 255, "places": places}
    _, target = make_batch(images, labels, [0] * 200, **how, aware=1.0, generator=seeded())
    share = (target == 2).flatten(1).any(1).float().mean()
    assert 0.4 < share < 0.65
    _, target = make_batch(images, labels, [0] * 200, **how, aware=0.0, generator=seeded())
    assert not (target == 2).any()


def test_objects_keep_their_numbers():
    image, label = picture()
    code = label.int() % 3 + 256 * (label.int() + 1000)
    _, out_code = scale_crop(image, code, (40, 40), (0.8, 3), 0.2, 255, seeded(2), around=1)
    assert out_code.dtype == torch.int32
    assert set(out_code.unique().tolist()) <= set(code.unique().tolist()) | {255}
    assert (out_code & 255 == 1).any()
    assert occurrence(code[None], 3)[1].tolist() == [1, 0]


def test_a_square_is_turned_with_its_truth():
    image, label = picture(16, 16)
    quarters = set()
    for seed in range(12):
        turned_image, turned_label = turned(image, label, seeded(seed))
        assert torch.equal(turned_image[0], turned_label)
        quarters |= {k for k in range(4) if torch.equal(label.rot90(k), turned_label)}
    assert quarters == {0, 1, 2, 3}


def test_stains():
    cells = torch.zeros(40, 3, 32, 32)
    cells[:, :, 8:16, 8:16] = 0.1
    dark, bright = (stained(cells, share, seeded(1)) for share in (0.0, 1.0))
    inside = (slice(None), slice(None), slice(9, 15), slice(9, 15))
    assert (dark[inside].mean((1, 2, 3)) > dark[:, :, 20:].mean((1, 2, 3))).all()
    assert (bright[inside].mean((1, 2, 3)) < bright[:, :, 20:].mean((1, 2, 3))).float().mean() > 0.9
    assert dark[inside].mean() > 0.3  # seen at another exposure
    assert dark.min() >= 0
    assert bright.max() <= 1
    half = stained(cells, 0.5, seeded(1))
    assert 8 < (half[:, :, 20:].mean((1, 2, 3)) > 0.5).sum() < 32
    assert torch.equal(half, stained(cells, 0.5, seeded(1)))
