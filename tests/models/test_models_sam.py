"""Prompted models equal the library's processor, network and post-processing; gradients reach the pixels."""

from __future__ import annotations

import pytest
import tiny_networks as tiny
import torch
import torch.nn.functional as F

import robustseg as rs

BOXES = torch.tensor(
    [[[3.0, 4, 20, 30], [10, 0, 53, 37], [0, 0, 5, 5]], [[1.0, 1, 50, 20], [7, 7, 9, 9], [0, 0, 53, 37]]]
)
POINTS = torch.tensor([[[3.0, 4], [50, 36], [0, 0]], [[20.0, 10], [7, 30], [52, 0]]])


def networks(family):
    import transformers as t

    decoder = {
        "hidden_size": 16, "num_attention_heads": 2, "mlp_dim": 32, "iou_head_hidden_dim": 16, "iou_head_depth": 2,
    }  # fmt: skip
    prompt = {"hidden_size": 16, "image_size": 64, "mask_input_channels": 4}
    if family == "sam":
        vision = {
            "image_size": 64, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "output_channels": 16, "window_size": 4, "global_attn_indexes": [1], "mlp_dim": 32, "num_pos_feats": 8,
        }  # fmt: skip
        config = t.SamConfig(
            vision_config=vision, prompt_encoder_config={**prompt, "patch_size": 8}, mask_decoder_config=decoder
        )
        images = t.SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
        return t.SamModel(config), t.SamProcessor(images)
    backbone = t.Sam2HieraDetConfig(
        hidden_size=16, num_attention_heads=1, image_size=[64, 64], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128], num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[8, 4, 14, 7], global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = t.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[128, 64, 32, 16], fpn_hidden_size=16,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    decoder |= {"dynamic_multimask_via_stability": False}
    config = t.Sam2Config(
        vision_config=vision, prompt_encoder_config={**prompt, "patch_size": 16}, mask_decoder_config=decoder
    )
    config.vision_config.image_size = 64
    images = t.Sam2ImageProcessor(size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16})
    return t.Sam2Model(config), t.Sam2Processor(images)


@pytest.fixture(scope="module", params=["sam", "sam2"])
def stored(request, tmp_path_factory):
    network, processor = networks(request.param)
    tiny.stir(network)
    folder = tmp_path_factory.mktemp(request.param)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder, network, processor


def library(network, processor, images, prompts):
    """Masks as logits at the size of the image, and qualities; of points, one a mask."""
    asked = {"input_boxes": prompts.tolist()}
    if prompts.shape[-1] == 2:
        asked = {
            "input_points": prompts.unsqueeze(2).tolist(),
            "input_labels": [[[1]] * prompts.shape[1]] * len(images),
        }
    found = processor(images=list(images), **asked, do_rescale=False, return_tensors="pt")
    more = {k: found.pop(k) for k in ("original_sizes", "reshaped_input_sizes") if k in found}
    with torch.no_grad():
        found = {k: v if k == "input_labels" else v.float() for k, v in found.items()}
        raw = network(**found, multimask_output=False)
    masks = processor.image_processor.post_process_masks(raw.pred_masks, **more, binarize=False)
    return torch.stack(list(masks)).squeeze(2), raw.iou_scores.squeeze(-1)


@pytest.mark.parametrize("prompts", [BOXES, POINTS], ids=["boxes", "points"])
def test_equals_the_library(stored, images, prompts):
    folder, network, processor = stored
    model = rs.load_model(f"hf:{folder}")
    output = model(images, prompts=prompts)
    masks, quality = library(network, processor, images, prompts)
    ours = F.interpolate(output.mask_logits, (37, 53), mode="bilinear", align_corners=False)
    assert masks.std() > 1e-2
    assert (masks[:, 0] - masks[:, 1]).abs().max() > 1e-2  # the prompt matters
    assert (ours - masks).abs().max() <= 1e-4 * masks.abs().max()
    assert torch.allclose(output.class_logits.softmax(-1)[..., 0], quality.clamp(1e-4, 1 - 1e-4), atol=1e-4)
    assert (model.spec.task, model.spec.tasks, model.spec.classes) == ("prompted", ("prompted",), ("object",))


def test_the_gradient_reaches_the_pixels_and_the_encoder_runs_once(stored, images):
    model = rs.load_model(f"hf:{stored[0]}")
    runs = []
    hook = model.module.vision_encoder.register_forward_hook(lambda *_: runs.append(1))
    x = images.requires_grad_()
    (g,) = torch.autograd.grad(model(x, prompts=BOXES).mask_logits.square().sum(), x)
    hook.remove()
    assert len(runs) == 1
    assert g.isfinite().all()
    assert (g.abs().amax(1) > 0).float().mean() > 0.9


def test_a_prompt_is_answered_alone(stored, images):
    model = rs.load_model(f"hf:{stored[0]}")
    with torch.no_grad():
        together = model(images, prompts=BOXES).mask_logits
        alone = model(images[:1], prompts=BOXES[:1, 1:2]).mask_logits
    assert (together[:1, 1:2] - alone).abs().max() <= 1e-4 * together.abs().max()


def test_what_is_refused(stored, images):
    folder = stored[0]
    model = rs.load_model(f"hf:{folder}")
    with pytest.raises(rs.UserError, match="give prompts="):
        model(images)
    with pytest.raises(rs.UserError, match=r"wanted \(2,S,4\)"):
        model(images, prompts=BOXES[0])
    with pytest.raises(rs.UserError, match="prompts are list, no tensor"):
        model(images, prompts=[[1, 2, 3, 4]])
    with pytest.raises(rs.UserError, match="prompt=pixel is unknown; known: box, point"):
        rs.load_model(f"hf:{folder}?prompt=pixel")
    with pytest.raises(rs.UserError, match="one square size only"):
        rs.load_model(f"hf:{folder}?size=32x32")
    with pytest.raises(rs.UserError, match="impossible for a prompted model"):
        rs.load_model(f"hf:{folder}?task=universal")
    with pytest.raises(rs.UserError, match=r"not in \[0,1\]"):
        model(images * 255, prompts=BOXES)


def test_an_evaluation_asks_with_points(stored):
    """The kind of prompt belongs to the model: another digest, and the doctor asks with it too."""
    from robustseg.models.segment_check import asked

    box, point = (rs.load_model(f"hf:{stored[0]}{query}") for query in ("", "?prompt=point"))
    assert (box.spec.prompt, point.spec.prompt) == ("box", "point")
    assert box.spec.digest != point.spec.digest
    image, mask = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(2)), torch.zeros(1, 20, 30)
    mask[0, 3:8, 11:16] = 1
    with torch.no_grad():
        there = asked(point, mask.bool())(image).mask_logits
        assert torch.equal(there, point(image, prompts=torch.tensor([[[13.0, 5]]])).mask_logits)


def test_only_prompted_models_take_a_kind_of_prompt(hf_folder):
    with pytest.raises(rs.UserError, match="unknown option 'prompt'"):
        rs.load_model(f"hf:{hf_folder('mask2former')[0]}?prompt=point")
