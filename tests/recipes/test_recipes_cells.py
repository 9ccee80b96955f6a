"""Pictures composed of nuclei: truth where light is, the asked size, hidden parts, the same for the same seed."""

import math

import pytest
import torch
from recipes.cells import HIDDEN, cut_out, picture, pictures, shaped


def disc(side=21, radius=8):
    at = torch.arange(side) - side // 2
    mask = (at[:, None] ** 2 + at**2 <= radius**2).float()
    return torch.stack([0.8 * mask, mask])


def ellipse(mask):
    """Area, and the ratio and direction of the long axis of a soft mask."""
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in mask.shape), indexing="ij")
    area = mask.sum()
    dy, dx = (v - (v * mask).sum() / area for v in (y, x))
    spread = torch.stack([torch.stack([(a * b * mask).sum() / area for b in (dx, dy)]) for a in (dx, dy)])
    values, vectors = torch.linalg.eigh(spread)
    return area.item(), (values[1] / values[0]).sqrt().item(), math.atan2(vectors[1, 1], vectors[0, 1]) % math.pi


@pytest.mark.parametrize("turn", [0.0, 1.0])
@pytest.mark.parametrize(("diameter", "longer", "angle"), [(12, 1.0, 0.0), (30, 1.5, 0.6), (20, 1.4, 2.0)])
def test_a_nucleus_gets_the_diameter_and_the_direction_asked_for(diameter, longer, angle, turn):
    found = shaped(disc(), diameter, longer, angle, turn)
    area, ratio, way = ellipse(found[1])
    assert area == pytest.approx(math.pi * diameter**2 / 4, rel=0.05)
    assert ratio == pytest.approx(longer**2, rel=0.06)
    if longer > 1:
        assert min(abs(way - angle), math.pi - abs(way - angle)) < 0.05
    assert found[:, [0, -1]].abs().max() == 0  # nothing is cut off
    assert found[:, :, [0, -1]].abs().max() == 0


def test_only_whole_nuclei_are_cut_out(cells):
    images, codes = cells
    found = cut_out(images, codes)
    assert len(found) == 12
    assert all(n.shape == (2, 18, 18) and n[1].max() == 1 and n[0].max() <= 1 for n in found)
    codes[0] = codes[0].roll(-6, 1)  # the first square of the first image now touches the border
    assert len(cut_out(images, codes)) == 11


def test_truth_lies_where_the_light_is_and_nothing_is_hidden_beyond_the_limit(cells):
    nuclei = cut_out(*cells)
    brighter = 0
    for seed in range(6):
        shown, code = picture(nuclei, torch.Generator().manual_seed(seed), 128)
        assert shown.shape == (3, 128, 128)
        assert shown.dtype == torch.uint8
        assert code.dtype == torch.int32
        numbers = (code >> 8).unique().tolist()
        assert numbers[0] == 0
        assert len(numbers) > 2
        assert set((code & 255).unique().tolist()) == {0, 1}
        assert torch.equal((code & 255) == 1, (code >> 8) > 0)
        inside, outside = (shown[0][mask].float().mean() for mask in (code > 0, code == 0))
        brighter += int(inside > outside + 20)
    assert brighter == 6
    assert 0 < HIDDEN < 0.5


def test_pictures_follow_from_the_seed_alone(cells):
    (a, c), (b, d), (e, _) = (pictures(*cells, 2, seed) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert torch.equal(c, d)
    assert not torch.equal(a, e)
    assert not torch.equal(a[0], a[1])
    assert torch.equal(pictures(*cells, 1, 0)[0][0], a[0])
