"""Mask R-CNN (torchvision's, or one of the same parts): every quantity before the suppression, differentiable.

Resizing and normalisation are part of the graph; boxes are in pixels of the image. As in the original no gradient flows
through the coordinates of proposals: the first stage is reached through ``objectness`` and ``box_deltas``, the second
through the features that are read at the proposals. BatchNorm is in eval mode, nothing is sampled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from robustseg.errors import UserError
from robustseg.models.base import check_once, fingerprint, refuse
from robustseg.models.faults import Fault
from robustseg.models.features import features_of
from robustseg.models.prepare import Prepare, Resize, extent
from robustseg.models.refs import Options
from robustseg.models.weights import fill
from robustseg.models.weights import load as load_weights
from robustseg.ops import boxes as bx
from robustseg.ops.style import Features
from robustseg.types import ModelSpec, RegionOutput

__all__ = ["BACKGROUND", "Regions", "adapter", "load_folder"]

BACKGROUND = "background"

First = tuple[Tensor, Tensor, Tensor, Tensor]  # objectness, anchors, offsets, levels


@dataclass(frozen=True)
class Regions:
    """A two-stage network behind the one face: ``images (B,3,H,W)`` in [0,1] to `RegionOutput`.

    ``proposals (B,R,4)`` in pixels of the image take the place of the first stage's own; empty boxes are padding.
    ``want={"features"}`` gives the maps of the pyramid, an `ops.style.Features`, as ``extras["features"]``.
    ``want={"masks"}`` fills ``mask_logits`` for every proposal, which is dear; else it is empty, and
    ``extras["masks"](boxes) -> (N,K,m,m)`` gives the masks over any boxes: ``(B,n,4)``, or one ``(n_i,4)`` an image, N
    in all; torchvision reads them over the detected boxes. ``extras["levels"] (A,)``: the pyramid level of every
    anchor; ``extras["rules"]``: score, overlap and number with which the network decodes; ``extras["weights"]``: the
    factors on the offsets of the second stage.
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
        prompts: Any = None,
        proposals: Tensor | None = None,
        want: frozenset[str] = frozenset(),
    ) -> RegionOutput:
        refuse(self.spec, prompts, None, want - {"masks", "features"})
        features, shape, first = self._first(images)
        factor = (images.shape[-2] / shape[0], images.shape[-1] / shape[1])
        net: Any = self.module
        if proposals is None:
            rois, present = bx.proposals(*first, shape, **self._rules())
        else:
            _check_proposals(proposals, images)
            rois = bx.scaled(proposals.detach().to(images), (1 / factor[0], 1 / factor[1]))
            present = bx.area(rois) > 0
        B, R = rois.shape[:2]
        class_logits, offsets = net.roi_heads.box_predictor(
            net.roi_heads.box_head(_pooled(net.roi_heads.box_roi_pool, features, list(rois), shape))
        )
        K = class_logits.shape[-1]
        offsets = offsets.view(B, R, K, 4)
        refined = bx.clipped(bx.decoded(offsets, rois[:, :, None], net.roi_heads.box_coder.weights), shape)

        def masks(boxes: Sequence[Tensor] | Tensor) -> Tensor:
            inside = [bx.scaled(b.detach(), (1 / factor[0], 1 / factor[1])) for b in boxes]
            heads = net.roi_heads
            return heads.mask_predictor(heads.mask_head(_pooled(heads.mask_roi_pool, features, inside, shape)))

        objectness, anchors, deltas, levels = first
        output = RegionOutput(
            objectness=objectness,
            anchors=bx.scaled(anchors, factor),
            box_deltas=deltas,
            proposals=bx.scaled(rois, factor) if proposals is None else proposals.detach(),
            present=present,
            class_logits=class_logits.view(B, R, K),
            boxes=bx.scaled(refined, factor),
            mask_logits=class_logits.new_zeros(B, 0, K, 0, 0),
            size=extent(images),
            extras={
                "levels": levels,
                "masks": masks,
                "rules": (net.roi_heads.score_thresh, net.roi_heads.nms_thresh, net.roi_heads.detections_per_img),
                "weights": net.roi_heads.box_coder.weights,
            },
        )
        if "features" in want:
            maps, multiple = tuple(features.values()), self.prepare.multiple
            padded = (-(-shape[0] // multiple) * multiple, -(-shape[1] // multiple) * multiple)
            kept = Features(maps, maps[max(len(maps) - 2, 0)])
            output = cast(RegionOutput, features_of(output, kept, shape, padded, self.spec.ref))
        if "masks" in want:
            output = replace(output, mask_logits=_by_image(masks(output.proposals), B))
        _check_gradient(output, images)
        return output

    def propose(self, images: Tensor, nms: float | None = None, top: int | None = None) -> Tensor:
        """The first stage's proposals ``(B,R,4)`` in pixels of the image, best first; zeros where there are fewer.

        ``nms``: overlap above which the worse of two goes; ``top``: how many stay; both the network's own by default.
        """
        with torch.no_grad():
            _, shape, first = self._first(images)
            rois, _ = bx.proposals(*first, shape, **self._rules(nms, top))
        return bx.scaled(rois, (images.shape[-2] / shape[0], images.shape[-1] / shape[1]))

    def to(self, device: str | torch.device) -> Regions:
        """The same model on another device."""
        self.module.to(device)
        return replace(self, device=torch.device(device), _seen=set())

    def _first(self, images: Tensor) -> tuple[dict[str, Tensor], tuple[int, int], First]:
        """Features, the size at which the network sees the image, and the first stage in that size."""
        from torchvision.models.detection.image_list import ImageList
        from torchvision.models.detection.rpn import concat_box_prediction_layers

        check_once(self._seen, images, channels=self.prepare.channels, device=self.device)
        net: Any = self.module
        x = self.prepare.resized(images)
        shape = extent(x)
        pixels = self.prepare.padded(self.prepare.normalised(x))
        features = net.backbone(pixels)
        features = {"0": features} if isinstance(features, Tensor) else features
        maps = list(features.values())
        scores, deltas = net.rpn.head(maps)
        anchors = net.rpn.anchor_generator(ImageList(pixels, [shape] * len(pixels)), maps)
        counts = torch.tensor([s[0].numel() for s in scores], device=pixels.device)
        levels = torch.arange(len(scores), device=pixels.device).repeat_interleave(counts)
        flat_scores, flat_deltas = concat_box_prediction_layers(list(scores), list(deltas))
        B = len(pixels)
        return features, shape, (flat_scores.view(B, -1), torch.stack(anchors), flat_deltas.view(B, -1, 4), levels)

    def _rules(self, nms: float | None = None, top: int | None = None) -> dict[str, Any]:
        rpn: Any = self.module.rpn
        most = rpn._post_nms_top_n["testing"] if top is None else top
        return {
            "nms": rpn.nms_thresh if nms is None else nms,
            "top": most,
            "before": max(rpn._pre_nms_top_n["testing"], 0 if top is None else top),
            "least": rpn.min_size,
        }


def _pooled(pool: Any, features: dict[str, Tensor], rois: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
    pool.scales = pool.map_levels = None  # the pooler keeps those of the first image it ever saw
    return pool(features, list(rois), [shape] * len(rois))


def _by_image(values: Tensor, images: int) -> Tensor:
    return values.view(images, -1, *values.shape[1:])


def _check_proposals(proposals: Tensor, images: Tensor) -> None:
    if proposals.ndim != 3 or proposals.shape[-1] != 4 or len(proposals) != len(images) or not proposals.shape[1]:
        raise UserError(
            f"proposals have shape {tuple(proposals.shape)}; wanted ({len(images)},R,4) boxes in pixels of the image"
        )


def _check_gradient(output: RegionOutput, images: Tensor) -> None:
    asked = images.requires_grad and torch.is_grad_enabled()
    if asked and not (output.class_logits.requires_grad and output.objectness.requires_grad):
        raise Fault(
            "gradient-missing",
            "the output has no gradient with respect to the image (detached or under no_grad); "
            "return what the network computed",
        )


# ------------------------------------------------------------------------------------------------ loading


def adapter(
    module: Any,
    classes: tuple[str, ...],
    text: str,
    family: str,
    *,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    size: tuple[int, int] | str | None = None,
) -> Regions:
    """A built network as a model; ``classes`` begin with the background. Raises UserError where they do not fit."""
    heads = module.roi_heads
    if not heads.has_mask():
        raise UserError(f"{text}: the network has no mask head; only Mask R-CNN gives instances")
    channels = heads.box_predictor.cls_score.out_features
    if len(classes) != channels:
        raise UserError(f"{text}: the network has {channels} classes (with background) but {len(classes)} are named")
    double = next((name for name in classes if classes.count(name) > 1), None)
    if double is not None:
        raise UserError(f"{text}: two classes are named {double!r}; classes are matched by name, give each its own")
    if classes[0] != BACKGROUND:
        raise UserError(f"{text}: class 0 of Mask R-CNN is the background; name it {BACKGROUND!r}, not {classes[0]!r}")
    prepare = _prepare(module.transform, normalisation, size)
    module.eval().to(torch.float32)
    facts = {
        "prepare": asdict(prepare),
        "classes": classes,
        "rpn": [module.rpn.nms_thresh, module.rpn._pre_nms_top_n, module.rpn._post_nms_top_n],
        "roi": [heads.score_thresh, heads.nms_thresh, heads.detections_per_img],
        "anchors": [module.rpn.anchor_generator.sizes, module.rpn.anchor_generator.aspect_ratios],
    }
    spec = ModelSpec(text, "instance", classes, fingerprint(module, facts), family, classes[1:])
    return Regions(spec, module, prepare)


def load_folder(folder: Path, options: Options, text: str, facts: Mapping[str, Any] | None = None) -> Regions:
    """A folder of the zoo: ``config.json`` for ``maskrcnn_net.build``, weights, classes in ``robustseg.json``."""
    from robustseg.models.zoo import facts_of

    folder = Path(folder)
    facts = facts_of(folder) if facts is None else facts
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or no JSON ({error})") from error
    from robustseg.models.maskrcnn_net import build

    module = build(config)
    fill(module, load_weights(folder / "model.safetensors"), folder)
    classes = options.classes() or tuple(facts.get("classes", ()))
    size = options.size() or facts.get("resize")
    return adapter(module, classes, text, "maskrcnn", normalisation=options.normalisation(), size=size)


def _prepare(
    transform: Any,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None,
    size: tuple[int, int] | str | None,
) -> Prepare:
    mean, std = normalisation or (tuple(map(float, transform.image_mean)), tuple(map(float, transform.image_std)))
    resize: Resize | None = Resize(
        shortest=transform.min_size[-1], longest=transform.max_size, rounding="down", antialias=False
    )
    if transform.fixed_size is not None:
        resize = Resize(height=transform.fixed_size[1], width=transform.fixed_size[0], antialias=False)
    if size == "native":
        resize = None
    elif isinstance(size, tuple):
        resize = Resize(height=size[0], width=size[1], antialias=False)
    return Prepare(mean, std, resize=resize, multiple=transform.size_divisible)
