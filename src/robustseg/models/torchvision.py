"""torchvision's segmentation networks, its Mask R-CNN and its classifiers with weights from a local file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.models import maskrcnn, torchvision_classes
from robustseg.models.base import Adapter, fingerprint
from robustseg.models.heads import DenseHead
from robustseg.models.prepare import IMAGENET, Prepare, Resize
from robustseg.models.refs import Ref, near
from robustseg.models.weights import fill
from robustseg.models.weights import load as load_weights
from robustseg.types import ModelSpec

__all__ = ["load"]

KEYS = ("weights", "classes", "mean", "std", "norm", "size", "multiple")
DETECTORS = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2")
DETECTOR_KEYS = ("weights", "classes", "mean", "std", "norm", "size", "eps")
LAST = ("classifier.4.weight", "classifier.low_classifier.weight")  # DeepLab and FCN; LR-ASPP


def load(ref: Ref) -> Adapter | maskrcnn.Regions:
    """``torchvision:NAME?weights=FILE[&classes=FILE&norm=imagenet&size=HxW]``.

    The number of classes and the auxiliary head are read from the weights; 21 channels without ``classes=`` are the
    Pascal VOC classes of torchvision's own weights. Normalisation: ImageNet unless said otherwise (torchvision's
    segmentation presets). Classifiers: see ``torchvision_classes``. Nothing is downloaded.
    """
    from torchvision.models import get_model, list_models, segmentation

    classifiers = torchvision_classes.names()
    keys = {**dict.fromkeys(DETECTORS, DETECTOR_KEYS), **dict.fromkeys(classifiers, torchvision_classes.KEYS)}
    ref.options.known(*keys.get(ref.path, KEYS))
    known = [*list_models(module=segmentation), *DETECTORS, *classifiers]
    if ref.path not in known:
        some = ", ".join(known[: -len(classifiers)])
        raise UserError(f"torchvision has no {ref.path!r}{near(ref.path, known)}; it has: {some}, and classifiers")
    if "weights" not in ref.options.values:
        raise UserError(f"{ref.text}: add ?weights=FILE (nothing is downloaded)")
    source = ref.options.values["weights"]
    state = load_weights(source)
    if ref.path in classifiers:
        return torchvision_classes.load(ref, state, source)
    if ref.path in DETECTORS:
        return _mask_rcnn(ref, state, source)
    last = next((key for key in LAST if key in state), None)
    if last is None:
        raise UserError(
            f"{source} has none of {', '.join(LAST)}: not the weights of a torchvision segmentation network"
        )
    channels = len(state[last])
    classes = ref.options.classes() or _voc(channels, ref)
    arguments: dict[str, Any] = {"num_classes": channels}
    if not ref.path.startswith("lraspp"):
        arguments["aux_loss"] = any(key.startswith("aux_classifier.") for key in state)
    module = get_model(ref.path, weights=None, weights_backbone=None, **arguments)
    fill(module, state, source)
    if channels > 1 and channels != len(classes):
        raise UserError(f"{ref.text}: the weights have {channels} channels but {len(classes)} classes are named")
    mean, std = ref.options.normalisation() or IMAGENET
    size = ref.options.size()
    resize = Resize(height=size[0], width=size[1]) if isinstance(size, tuple) else None
    prepare = Prepare(mean, std, resize=resize, multiple=ref.options.integer("multiple") or 1)
    head = DenseHead(len(classes), "sigmoid" if channels == 1 else "softmax")
    digest = fingerprint(module, {"name": ref.path, "prepare": asdict(prepare), "classes": classes})
    spec = ModelSpec(ref.text, "semantic", classes, digest, f"torchvision/{ref.path}")
    return Adapter(spec, module.eval().to(torch.float32), prepare, head)


def _voc(channels: int, ref: Ref) -> tuple[str, ...]:
    if channels != 21:
        raise UserError(f"{ref.text}: the weights have {channels} classes; name them with &classes=FILE")
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    return tuple(FCN_ResNet50_Weights.DEFAULT.meta["categories"])


def _mask_rcnn(ref: Ref, state: Mapping[str, Tensor], source: str) -> maskrcnn.Regions:
    """Class 0 is the background; 91 classes without ``classes=`` are COCO's, gaps of its numbering included.

    ``eps``: of the frozen BatchNorm; 0 for torchvision's first COCO weights, which were trained so (its own rule).
    """
    from torchvision.models import get_model

    key = "roi_heads.box_predictor.cls_score.weight"
    if key not in state:
        raise UserError(f"{source} has no {key}: not the weights of a torchvision Mask R-CNN")
    classes = ref.options.classes() or _coco(len(state[key]), ref)
    module = get_model(ref.path, weights=None, weights_backbone=None, num_classes=len(state[key]))
    fill(module, state, source)
    eps = ref.options.values.get("eps")
    old = len(state[key]) == 91 and ref.path == DETECTORS[0] and not any(k.endswith("batches_tracked") for k in state)
    if eps is not None or old:
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.eps = _eps(ref, eps or "0")
    return maskrcnn.adapter(
        module, classes, ref.text, f"torchvision/{ref.path}",
        normalisation=ref.options.normalisation(), size=ref.options.size(),
    )  # fmt: skip


def _eps(ref: Ref, text: str) -> float:
    try:
        eps = float(text)
    except ValueError as error:
        raise UserError(f"{ref.text}: eps={text} is not a number; wanted e.g. 1e-5") from error
    if not 0 <= eps < 1:
        raise UserError(f"{ref.text}: eps={text}; wanted a small number, 0 or more, e.g. 1e-5")
    return eps


def _coco(channels: int, ref: Ref) -> tuple[str, ...]:
    if channels != 91:
        raise UserError(
            f"{ref.text}: the weights have {channels} classes; name them with &classes=FILE, background first"
        )
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

    names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    gaps = (name if name != "N/A" else f"unused {i}" for i, name in enumerate(names))
    return (maskrcnn.BACKGROUND, *list(gaps)[1:])
