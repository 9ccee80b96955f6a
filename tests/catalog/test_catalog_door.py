"""What cannot be attacked is refused at the door, with the way out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import attack_toys as toys
from robustseg.catalog import Artefact, attack
from robustseg.errors import UserError
from robustseg.types import Sample, SemanticTarget

MODEL = toys.Toy(toys.conv_net(), 4)
X, Y = toys.scene()


def refused(said: str, model=MODEL, images=X, targets=Y, spec: str = "pgd:steps=1", **more) -> None:
    before = MODEL.calls
    with pytest.raises(UserError) as error:
        attack(spec)(model, images, targets, **more)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert MODEL.calls == before  # nothing was computed in vain


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ((X * 255).byte(), "images.float() / 255"),
        (X.double(), "images.float()"),
        (X * 255, "divide by 255"),
        (X * 4 - 2, "undo the normalisation"),
        (X[0], "images[None]"),
        (X[:0], "empty"),
        (X.numpy(), "torch tensor"),
        (torch.full_like(X, torch.nan), "NaN"),
    ],
    ids=["bytes", "double", "0..255", "normalised", "no batch", "empty", "numpy", "nan"],
)
def test_images(images, said):
    refused(said, images=images)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (Y.int(), "targets.long()"),
        (Y.float(), "targets.long()"),
        (Y[:, ::2], "must have one size"),
        (Y[:1], "must have one size"),
        (Y.numpy(), "torch tensor"),
        (torch.where(Y == 255, 254, Y), "label 254 is neither"),
        (torch.where(Y == 0, -1, Y), "label -1 is neither"),
        (SemanticTarget(Y, -1), "label 255 is neither"),
        (None, "reference=pred"),
    ],
    ids=["int32", "float", "size", "count", "numpy", "too high", "negative", "other ignore", "none"],
)
def test_targets(targets, said):
    refused(said, targets=targets)


def test_the_rest():
    refused("wrap it first", model=nn.Conv2d(3, 2, 1))
    refused("2 ids for 3 images", ids=["a", "b"])
    refused("bool (B,H,W)", region=torch.ones_like(Y))
    refused("one size", region=torch.ones(3, 2, 2, dtype=torch.bool))
    refused("pass the pixels as region=", spec="pgd:region=clothing")
    refused("pass the pixels as region=", spec="strong:region=clothing")
    refused("no class 'dog'", spec="hide:class=dog,reference=gt")
    refused("no class 'craft'; did you mean car", spec="pgd:target=class:craft")


def test_images_a_rounding_outside_the_box_are_welcome_and_come_back_inside():
    x = X.clone()
    x[0, 0, 0, 0], x[0, 0, 0, 1] = -3e-8, 1 + 1e-7
    result = attack("pgd:steps=2,eps=0.1")(MODEL, x, Y)
    assert result.images.min() >= 0
    assert result.images.max() <= 1


def samples(labels: torch.Tensor) -> list[Sample]:
    return [Sample(str(i), torch.zeros(3, *y.shape), y) for i, y in enumerate(labels)]


class Data(list):
    ref, ignore = "toy:fit", 255


def test_class_counts_are_fitted_on_other_images(tmp_path):
    bare = attack("balanced-masked-ce:steps=1")
    with pytest.raises(UserError, match=r"attack\.fit"):
        bare(MODEL, X, Y)
    made = bare.fit(MODEL, Data(samples(Y)))
    expected = np.bincount(Y[Y != 255].numpy(), minlength=4)
    assert made.tensors["class_pixels"].tolist() == expected.tolist()
    assert made.fitted_on == "toy:fit"
    made.save(tmp_path / "counts.safetensors")
    again = Artefact.load(tmp_path / "counts.safetensors")
    assert (again.digest, again.fitted_on) == (made.digest, made.fitted_on)
    ready = bare.with_artefact(again)
    assert ready.config != bare.config
    assert ready(MODEL, X, Y).backwards.tolist() == [1, 1, 1]
    sea = attack("sea:steps=1").with_artefact(again)
    assert [m.artefact is not None for m in sea.members] == [False, True, False]
    assert sea(MODEL, X, Y).backwards.tolist() == [3, 3, 3]


def test_artefacts_that_do_not_fit(tmp_path):
    other = Artefact("class-pixels", {"class_pixels": torch.ones(7)}, "toy:fit")
    for spec in ("balanced-masked-ce", "sea"):
        with pytest.raises(UserError, match="fitted for 7 classes, the model has 4"):
            attack(spec).with_artefact(other)(MODEL, X, Y)
    (tmp_path / "broken").write_bytes(b"no")
    with pytest.raises(UserError, match="is not an attack artefact"):
        Artefact.load(tmp_path / "broken")
    with pytest.raises(UserError, match="no labelled pixel"):
        attack("sea").fit(MODEL, Data(samples(torch.full_like(Y, 255))))
    with pytest.raises(UserError, match="needs no fit"):
        attack("pgd").fit(MODEL, Data(samples(Y)))
