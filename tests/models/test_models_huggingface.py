"""The adapter equals processor + network of the library, and gradients reach the pixels."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import tiny_networks as tiny
import torch
import torch.nn.functional as F

import robustseg as rs
from robustseg.types import DenseOutput, QueryOutput


def library(network, processor, images):
    """What the library itself computes, at the size of the image."""
    encoded = processor(images=list(images), do_rescale=False, return_tensors="pt")
    with torch.no_grad():
        return encoded, network(encoded["pixel_values"])


@pytest.mark.parametrize("family", ["segformer", "upernet", "beit", "data2vec", "dpt", "mobilevit"])
def test_dense_families_equal_the_library(family, hf_folder, images):
    folder, network, processor = hf_folder(family)
    model = rs.load_model(f"hf:{folder}")
    output = model(images)
    _, raw = library(network, processor, images)
    assert isinstance(output, DenseOutput)
    assert output.kind == "logits"
    ours, theirs = (F.interpolate(v, (37, 53), mode="bilinear") for v in (output.scores, raw.logits))
    assert theirs.std() > 1e-4  # the comparison says something
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    assert model.spec.classes == tuple(tiny.NAMES.values())


@pytest.mark.parametrize("family", ["mask2former", "maskformer"])
def test_query_families_equal_the_library(family, hf_folder, images):
    folder, network, processor = hf_folder(family)
    output = rs.load_model(f"hf:{folder}")(images)
    encoded, raw = library(network, processor, images)
    assert isinstance(output, QueryOutput)
    assert encoded["pixel_mask"].all()  # the processor's size is a multiple of 32: it padded nothing
    assert torch.allclose(output.class_logits, raw.class_queries_logits, atol=1e-4)
    assert torch.allclose(output.mask_logits, raw.masks_queries_logits, atol=1e-4)
    assert output.class_logits.shape[-1] == len(tiny.NAMES) + 1


def test_eomt_windows_equal_the_library(hf_folder, images):
    folder, network, processor = hf_folder("eomt")
    output = rs.load_model(f"hf:{folder}")(images)
    encoded, raw = library(network, processor, images)
    raw.patch_offsets = encoded["patch_offsets"]
    theirs = processor.post_process_semantic_segmentation(raw, [(37, 53)] * 2, return_segmentation_scores=True)
    assert output.kind == "scores"
    ours = F.interpolate(output.scores, (37, 53), mode="bilinear")
    assert torch.allclose(ours, torch.stack([t.segmentation_scores for t in theirs]), atol=1e-4)


def test_eomt_padding_never_reaches_the_output(hf_folder, images):
    folder, network, processor = hf_folder("eomt padded")
    output = rs.load_model(f"hf:{folder}")(images)
    _, raw = library(network, processor, images)
    full = F.interpolate(raw.masks_queries_logits, (64, 64), mode="bilinear")
    assert output.mask_logits.shape[-2:] == (45, 64)  # 37x53 with its long side at 64
    assert torch.allclose(output.mask_logits, full[..., :45, :], atol=1e-4)


def test_the_task_says_what_the_output_can_be_scored_for(hf_folder):
    tasks = {f: rs.load_model(f"hf:{hf_folder(f)[0]}").spec.task for f in ("mask2former", "maskformer", "eomt padded")}
    assert set(tasks.values()) == {"universal"}
    eomt, segformer = hf_folder("eomt")[0], hf_folder("segformer")[0]
    assert rs.load_model(f"hf:{eomt}").spec.task == "semantic"  # averaged windows are no queries
    assert rs.load_model(f"hf:{hf_folder('mask2former')[0]}?task=semantic").spec.tasks == ("semantic",)
    with pytest.raises(rs.UserError, match="task=universal is impossible for a segformer model"):
        rs.load_model(f"hf:{segformer}?task=universal")


def test_eomt_for_segments_sees_the_whole_image(hf_folder, images):
    """A checkpoint whose processor cuts windows, asked for segments, equals the padded inference of the library."""
    from transformers import EomtImageProcessor

    folder, network, _ = hf_folder("eomt")
    model = rs.load_model(f"hf:{folder}?task=universal")
    assert model.spec.task == "universal"
    output = model(images)
    processor = EomtImageProcessor(size={"shortest_edge": 64, "longest_edge": 64}, do_pad=True, do_split_image=False)
    _, raw = library(network, processor, images)
    full = F.interpolate(raw.masks_queries_logits, (64, 64), mode="bilinear")
    assert isinstance(output, QueryOutput)
    assert torch.allclose(output.class_logits, raw.class_queries_logits, atol=1e-4)
    assert torch.allclose(output.mask_logits, full[..., :45, :], atol=1e-4)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_gradient_reaches_the_pixels(family, hf_folder, images):
    model = rs.load_model(f"hf:{hf_folder(family)[0]}")
    x = images.clone().requires_grad_()
    output = model(x)
    value = output.scores if isinstance(output, DenseOutput) else output.mask_logits
    (gradient,) = torch.autograd.grad(value.square().sum(), x)
    assert gradient.isfinite().all()
    assert (gradient.abs().amax(1) > 0).float().mean() > 0.9


def test_size_native_keeps_the_image_and_size_sets_it(hf_folder, images):
    folder, network, _ = hf_folder("segformer")
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        native = network((images - mean) / std).logits
    assert torch.allclose(rs.load_model(f"hf:{folder}?size=native")(images).scores, native, atol=1e-5)
    assert rs.load_model(f"hf:{folder}?size=32x64")(images).scores.shape[-2:] == (8, 16)


def test_the_authors_test_size(hf_folder, images):
    """?shortest=&longest=: one factor for both sides, half pixels up, padded to 32."""
    folder, network, _ = hf_folder("mask2former")
    output = rs.load_model(f"hf:{folder}?shortest=64&longest=80")(images)  # 37x53: the long side decides, 55.8x80
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    resized = F.interpolate(images, (56, 80), mode="bilinear", antialias=True)
    with torch.no_grad():
        raw = network(F.pad((resized - mean) / std, (0, 16, 0, 8)))
    full = F.interpolate(raw.masks_queries_logits, (64, 96), mode="bilinear")[..., :56, :80]
    assert torch.allclose(output.mask_logits, full, atol=1e-4)
    with pytest.raises(rs.UserError, match="leave shortest= out"):
        rs.load_model(f"hf:{hf_folder('eomt')[0]}?shortest=64")


def test_facts_override_the_processor(hf_folder, images, tmp_path):
    _, network, _ = hf_folder("segformer")
    network.save_pretrained(tmp_path)
    facts = {"classes": list("abcde"), "mean": [0.5] * 3, "std": [0.25] * 3, "multiple": 32}
    (tmp_path / "robustseg.json").write_text(json.dumps(facts))
    model = rs.load_model(f"hf:{tmp_path}")
    with torch.no_grad():
        padded = network(F.pad((images - 0.5) / 0.25, (0, 11, 0, 27))).logits
    expected = F.interpolate(padded, (64, 64), mode="bilinear", align_corners=False)[..., :37, :53]
    assert model.spec.classes == tuple("abcde")
    assert torch.allclose(model(images).scores, expected, atol=1e-5)


def test_errors_are_one_line(hf_folder, tmp_path):
    folder, network, _ = hf_folder("segformer")
    network.save_pretrained(tmp_path)
    with pytest.raises(rs.UserError, match="norm=imagenet"):
        rs.load_model(f"hf:{tmp_path}")
    with pytest.raises(rs.UserError, match="neither a folder nor in the local cache"):
        rs.load_model("hf:nobody/no-such-model")
    with pytest.raises(rs.UserError, match="no folder"):
        rs.load_model(f"hf:{tmp_path}/absent")
    with pytest.raises(rs.UserError, match=r"did you mean size"):
        rs.load_model(f"hf:{folder}?sise=3")
    with pytest.raises(rs.UserError, match="one square size only"):
        rs.load_model(f"hf:{hf_folder('beit')[0]}?size=native")


def test_an_unsuitable_family_is_refused(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(rs.UserError, match="'bert' model, which gives no differentiable semantic output"):
        rs.load_model(f"hf:{tmp_path}")


def _resaved(network, folder, change):
    from safetensors.torch import load_file, save_file

    network.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("decode_head.classifier.weight"), "1 missing .decode_head.classifier.weight"),
        (lambda s: s.update(stranger=torch.zeros(1)), "1 unexpected .stranger"),
        (
            lambda s: s.update({"decode_head.classifier.bias": torch.zeros(7)}),
            "1 mismatched .decode_head.classifier.bias",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message, hf_folder, tmp_path):
    _resaved(hf_folder("segformer")[1], tmp_path, change)
    with pytest.raises(rs.UserError, match=message):
        rs.load_model(f"hf:{tmp_path}?norm=imagenet")


def test_loading_is_silent_and_the_digest_is_stable_across_processes(hf_folder):
    folder = hf_folder("mask2former")[0]
    code = (
        f"import robustseg as rs; d = rs.load_model('hf:{folder}').spec.digest; open(r'{folder}/digest','w').write(d)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "digest").read_text() == rs.load_model(f"hf:{folder}").spec.digest


def test_the_digest_sees_weights_configuration_and_preparation(hf_folder, tmp_path):
    folder, network, processor = hf_folder("segformer")
    digest = rs.load_model(f"hf:{folder}").spec.digest
    assert rs.load_model(f"hf:{folder}?size=32x64").spec.digest != digest
    _resaved(network, tmp_path, lambda s: s["decode_head.classifier.bias"].add_(1))
    processor.save_pretrained(tmp_path)
    assert rs.load_model(f"hf:{tmp_path}").spec.digest != digest


def test_things_are_named_in_the_reference(hf_folder, tmp_path):
    folder = hf_folder("mask2former")[0]
    assert rs.load_model(f"hf:{folder}?things=class 1,class 3").spec.things == ("class 1", "class 3")
    (tmp_path / "things.txt").write_text("class 2\n")
    model = rs.load_model(f"hf:{folder}?things={tmp_path}/things.txt")
    assert model.spec.things == ("class 2",)
    assert model.spec.digest != rs.load_model(f"hf:{folder}").spec.digest  # of classes that the data lack it decides
    with pytest.raises(rs.UserError, match=r"names 'clas 1', no class of the model \(did you mean class 1"):
        rs.load_model(f"hf:{folder}?things=clas 1,class 2")
    with pytest.raises(rs.UserError, match="no things file"):
        rs.load_model(f"hf:{folder}?things=absent.txt")
