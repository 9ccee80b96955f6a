"""Prompted segmentation (SAM, SAM 2): one mask for every box, from one look at the image.

The image is resized and padded as the library's processor does, in the graph, and boxes with it. For a box the original
takes the single-mask answer (``multimask_output=False``), and so do we.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.errors import UserError
from robustseg.models.base import check_once, check_output, fingerprint, refuse
from robustseg.models.prepare import IMAGENET, Prepare, Resize, extent
from robustseg.models.refs import Options
from robustseg.ops import boxes as bx
from robustseg.ops.size import at_label_size
from robustseg.types import ModelSpec, QueryOutput

__all__ = ["FAMILIES", "KEYS", "Prompted", "adapter"]

FAMILIES = ("sam", "sam2", "sam2_video")
KEYS = ("mean", "std", "norm", "size", "task")
SURE = 1e-4  # a predicted quality closer than this to 0 or 1 counts as this


@dataclass(frozen=True)
class Prompted:
    """A promptable network: ``model(images, prompts=(B,S,4))``, boxes (x0,y0,x1,y1) in pixels of the image.

    Gives `QueryOutput`, one query a box: ``class_logits (B,S,2)``, the logit of the predicted mask quality and 0, so
    that their softmax begins with the quality; ``mask_logits (B,S,h,w)`` over the image without its padding. The
    encoder runs once for all boxes. Raises `UserError` without prompts.
    """

    spec: ModelSpec
    module: nn.Module
    prepare: Prepare
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _seen: set[tuple[Any, ...]] = field(default_factory=set, repr=False, compare=False)

    def __call__(
        self,
        images: Tensor,
        *,
        prompts: Tensor | None = None,
        proposals: Any = None,
        want: frozenset[str] = frozenset(),
    ) -> QueryOutput:
        refuse(self.spec, None, proposals, want)
        boxes = _checked(prompts, images, self.spec.ref)
        check_once(self._seen, images, channels=self.prepare.channels, device=self.device)
        x = self.prepare.resized(images)
        pixels = self.prepare.padded(self.prepare.normalised(x))
        H, W = extent(x)
        boxes = bx.scaled(boxes.to(images), (H / images.shape[-2], W / images.shape[-1]))
        raw = self.module(pixel_values=pixels, input_boxes=boxes, multimask_output=False)
        masks = raw.pred_masks.squeeze(2)
        if self.prepare.square:  # as the original: to the padded size, the padding off
            masks = at_label_size(masks, extent(pixels))[..., :H, :W]
        quality = raw.iou_scores.clamp(SURE, 1 - SURE).logit()
        output = QueryOutput(torch.cat([quality, torch.zeros_like(quality)], -1), masks)
        check_output(output, x)
        return output

    def to(self, device: str | torch.device) -> Prompted:
        """The same model on another device."""
        self.module.to(device)
        return replace(self, device=torch.device(device), _seen=set())


def _checked(prompts: Tensor | None, images: Tensor, ref: str) -> Tensor:
    if prompts is None:
        raise UserError(f"{ref} is asked for one segment at a time; give prompts=, boxes (B,S,4) in pixels")
    if prompts.ndim != 3 or prompts.shape[-1] != 4 or len(prompts) != len(images) or not prompts.shape[1]:
        raise UserError(f"prompts have shape {tuple(prompts.shape)}; wanted ({len(images)},S,4) boxes, S at least 1")
    return prompts


def adapter(
    module: Any, config: Any, processor: Any, options: Options, text: str, stored: Mapping[str, Any]
) -> Prompted:
    """A loaded network as a model; without a processor the family's own preparation (ImageNet, one square size)."""
    options.known(*KEYS)
    if options.values.get("task", "prompted") != "prompted":
        raise UserError(f"{text}: task={options.values['task']} is impossible for a prompted model")
    prepare = _prepare(config, processor, options)
    module.eval()
    digest = fingerprint(module, {"config": dict(stored), "prepare": asdict(prepare)})
    return Prompted(ModelSpec(text, "prompted", ("object",), digest, f"hf/{config.model_type}"), module, prepare)


def _prepare(config: Any, processor: Any, options: Options) -> Prepare:
    if "size" in options.values:
        raise UserError(f"{options.ref}: {config.model_type} takes one square size only; leave size= out")
    mean, std = IMAGENET
    if processor is not None and getattr(processor, "do_normalize", True):
        mean, std = (tuple(map(float, v)) for v in (processor.image_mean, processor.image_std))
    mean, std = options.normalisation() or (mean, std)
    side = config.vision_config.image_size
    side = int(side[0] if isinstance(side, list | tuple) else side)
    if config.model_type == "sam":
        return Prepare(mean, std, resize=Resize(longest=side, rounding="half"), square=side)
    return Prepare(mean, std, resize=Resize(height=side, width=side))
