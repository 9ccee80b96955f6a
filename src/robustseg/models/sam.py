"""Prompted segmentation (SAM, SAM 2): one mask for every box or point, from one look at the image.

The image is resized and padded as the library's processor does, in the graph, and prompts with it. For a box the
original takes the single-mask answer (``multimask_output=False``); so do we, for a point too: three answers and a
choice among them would be another model.
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
from robustseg.ops.prompts import KINDS
from robustseg.ops.size import at_label_size
from robustseg.types import ModelSpec, QueryOutput

__all__ = ["FAMILIES", "KEYS", "Prompted", "adapter"]

FAMILIES = ("sam", "sam2", "sam2_video")
KEYS = ("mean", "std", "norm", "size", "task", "prompt")
SURE = 1e-4  # a predicted quality closer than this to 0 or 1 counts as this


@dataclass(frozen=True)
class Prompted:
    """A promptable network: ``model(images, prompts=(B,S,4))``, boxes (x0,y0,x1,y1) in pixels of the image, or
    ``(B,S,2)``, points: column and row of a pixel of the object.

    Gives `QueryOutput`, one query a prompt: ``class_logits (B,S,2)``, the logit of the predicted mask quality and 0, so
    that their softmax begins with the quality; ``mask_logits (B,S,h,w)`` over the image without its padding. The
    encoder runs once for all prompts. Raises `UserError` without prompts.
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
        prompts = _checked(prompts, images, self.spec.ref)
        check_once(self._seen, images, channels=self.prepare.channels, device=self.device)
        x = self.prepare.resized(images)
        pixels = self.prepare.padded(self.prepare.normalised(x))
        H, W = extent(x)
        asked = _asked(prompts.to(images), (H / images.shape[-2], W / images.shape[-1]))
        raw = self.module(pixel_values=pixels, **asked, multimask_output=False)
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
        raise UserError(
            f"{ref} is asked for one segment at a time; give prompts=, boxes (B,S,4) or points (B,S,2) in pixels"
        )
    wanted = f"wanted ({len(images)},S,4) boxes or ({len(images)},S,2) points, S at least 1"
    if not isinstance(prompts, Tensor):
        raise UserError(f"prompts are {type(prompts).__name__}, no tensor; {wanted}")
    if prompts.ndim != 3 or prompts.shape[-1] not in (2, 4) or len(prompts) != len(images) or not prompts.shape[1]:
        raise UserError(f"prompts have shape {tuple(prompts.shape)}; {wanted}")
    return prompts


def _asked(prompts: Tensor, factor: tuple[float, float]) -> dict[str, Tensor]:
    """What the network is given: boxes, or one point of the object a prompt, at the size at which it sees the image."""
    if prompts.shape[-1] == 4:
        return {"input_boxes": bx.scaled(prompts, factor)}
    points = (prompts * prompts.new_tensor(factor[::-1])).unsqueeze(2)
    return {"input_points": points, "input_labels": torch.ones(points.shape[:3], dtype=torch.int64).to(points.device)}


def adapter(
    module: Any, config: Any, processor: Any, options: Options, text: str, stored: Mapping[str, Any]
) -> Prompted:
    """A loaded network as a model; ``prompt=`` says what an evaluation asks it with.

    Without a processor: the family's own preparation (ImageNet, one square size).
    """
    options.known(*KEYS)
    if options.values.get("task", "prompted") != "prompted":
        raise UserError(f"{text}: task={options.values['task']} is impossible for a prompted model")
    prompt = options.values.get("prompt", "box")
    if prompt not in KINDS:
        raise UserError(f"{text}: prompt={prompt} is unknown; known: {', '.join(KINDS)}")
    prepare = _prepare(config, processor, options)
    module.eval()
    facts = {"config": dict(stored), "prepare": asdict(prepare), **({} if prompt == "box" else {"prompt": prompt})}
    spec = ModelSpec(
        text, "prompted", ("object",), fingerprint(module, facts), f"hf/{config.model_type}", prompt=prompt
    )
    return Prompted(spec, module, prepare)


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
