"""torchvision's classifiers with weights from a local file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from robustseg.errors import UserError
from robustseg.models.base import Adapter
from robustseg.models.classifiers import adapter, build, centre, imagenet, sized
from robustseg.models.refs import Ref
from robustseg.models.weights import fill

__all__ = ["KEYS", "load", "names"]

KEYS = ("weights", "classes", "mean", "std", "norm", "size")
AUXILIARY = ("googlenet", "inception_v3")  # with two heads more, and an input of their own


def names() -> list[str]:
    """The classifiers that torchvision has."""
    from torchvision import models

    return models.list_models(module=models)


def load(ref: Ref, state: Mapping[str, Tensor], source: str) -> Adapter:
    """The network of that name; classes, normalisation and crop as for ``timm:`` (see ``models.timm.load``)."""
    from torchvision.models import get_model, get_model_weights

    more: dict[str, Any] = {}
    if ref.path in AUXILIARY:
        more = {"init_weights": False, "aux_logits": any(k.lower().startswith("aux") for k in state)}
    key = _last(build(lambda: get_model(ref.path, weights=None, **more), ref.text))
    if key not in state:
        raise UserError(f"{source} has no {key}: not the weights of torchvision's {ref.path}")
    channels = len(state[key])
    if ref.path in AUXILIARY:
        more["transform_input"] = channels == 1000  # torchvision's own weights are of the old range
    module = build(lambda: get_model(ref.path, weights=None, num_classes=channels, **more), ref.text)
    fill(module, state, source)
    usual: Any = get_model_weights(ref.path).DEFAULT.transforms()  # type: ignore[attr-defined]
    crop, shortest = usual.crop_size * 2, usual.resize_size[0]
    prepare = sized(ref.options, centre(crop, shortest, (usual.mean, usual.std), usual.interpolation.value))
    classes = imagenet(channels, ref.options)
    return adapter(module, classes, prepare, ref.text, f"torchvision/{ref.path}", {"name": ref.path})


def _last(module: nn.Module) -> str:
    """The name of the weights of the last layer, which has a row a class."""
    layers = [
        name
        for name, part in module.named_modules()
        if "aux" not in name.lower() and (getattr(part, "out_features", 0) == 1000 or _is_last_convolution(part))
    ]
    return f"{layers[-1]}.weight"


def _is_last_convolution(part: nn.Module) -> bool:
    return isinstance(part, nn.Conv2d) and part.out_channels == 1000  # SqueezeNet
