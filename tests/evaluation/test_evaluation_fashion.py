"""A run with fashion: the region is a default, garments are compared, and persons are looked for in JPEG files."""

from __future__ import annotations

import doctest
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from toy import CLASSES, Level, Toy

from robustseg.evaluation import compression, natural_scores
from robustseg.evaluation.compression import QUALITIES
from robustseg.evaluation.run import evaluate
from robustseg.models import wrap
from robustseg.types import DenseOutput

FASHION = "fashion:steps=6,step_size=24/255,likeness=0,variation=0,texture=0"


class Dressed(Level):
    def forward(self, x):
        maps = [nn.functional.avg_pool2d(x, k) for k in (1, 2, 4)]
        return DenseOutput(super().forward(x), extras={"features": maps})


def run(out, **options):
    return evaluate(wrap(Dressed(), classes=CLASSES, name="toy"), Toy(number=4), FASHION, out=out, **options)


def test_the_summary_says_how_natural_and_who_is_seen(tmp_path):
    from robustseg.evaluation.store import read

    found = run(tmp_path)
    spec = next(s for s in found["attacks"] if s.startswith("fashion"))
    one = found["attacks"][spec]
    assert (one["not_applicable"], one["region"], one["failed"], one["violations"]) == (2, "clothing", 0, 0)
    natural = one["natural"]
    assert natural["images"] == 2
    assert list(natural["jpeg"]) == ["none", *map(str, QUALITIES)]
    assert one["extra"]["SSIM_of_clothing"] == natural["ssim"] < 1
    assert one["extra"]["person_seen_in_JPEG_40"] == natural["jpeg"]["40"]["attacked"]["pixel_recall"]
    rows = read(tmp_path).rows[one["key"]].values()
    done = [r for r in rows if r.status == "ok"]
    right = sum(r.stats["inter"][2] for r in done) / sum(r.stats["target"][2] for r in done)
    assert natural["jpeg"]["none"]["attacked"]["pixel_recall"] == pytest.approx(right)
    assert natural["jpeg"]["none"]["attacked"]["pixel_recall"] < natural["jpeg"]["none"]["clean"]["pixel_recall"]
    json.dumps(found)
    assert list(found["attacks"]) == [spec]  # noise of every size is no baseline


def test_the_runs_region_takes_the_place_of_the_default(tmp_path):
    found = run(tmp_path, region="class:person")
    spec = next(s for s in found["attacks"] if s.startswith("fashion"))
    assert found["attacks"][spec]["region"] == "class:person"
    assert found["attacks"][spec]["not_applicable"] < 2


def test_compressed_is_what_a_file_gives_back():
    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    file = io.BytesIO()
    Image.fromarray((image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(file, "JPEG", quality=40)
    wanted = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
    assert np.allclose(compression.compressed(image, 40)[0].numpy(), wanted, atol=1e-6)
    far, near = (float((compression.compressed(image, q) - image).abs().mean()) for q in (10, 95))
    assert far > near


def test_likeness_looks_at_the_rectangle_around_the_region():
    g = torch.Generator().manual_seed(1)
    clean, region = torch.rand(3, 40, 40, generator=g), torch.zeros(40, 40, dtype=torch.bool)
    region[4:20, 5:25] = True
    changed = clean.clone()
    changed[:, 25:] = 0  # below it
    assert compression.likeness(clean, changed, region) == pytest.approx(1, abs=1e-6)
    changed[:, 6:12, 6:12] = 0
    assert compression.likeness(clean, changed, region) < 0.95


def test_examples():
    assert doctest.testmod(natural_scores).failed == 0
