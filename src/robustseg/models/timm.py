"""timm classifiers: a name with weights from a local file, or a folder with config.json and model.safetensors."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from robustseg.errors import UserError
from robustseg.models.base import Adapter
from robustseg.models.classifiers import adapter, build, centre, imagenet, sized
from robustseg.models.prepare import Prepare, Resize
from robustseg.models.refs import Options, Ref, near
from robustseg.models.weights import fill
from robustseg.models.weights import load as load_weights

__all__ = ["load", "load_folder"]

KEYS = ("weights", "classes", "mean", "std", "norm", "size")


def load(ref: Ref) -> Adapter:
    """``timm:NAME?weights=FILE[&classes=FILE&norm=imagenet&size=HxW|native]``, or ``timm:FOLDER``.

    The number of classes is read from the weights; 1000 without ``classes=`` are ImageNet's. Mean, deviation, size and
    crop are those of timm's own configuration for the name. Nothing is downloaded.
    """
    import timm

    ref.options.known(*KEYS)
    if Path(ref.path).is_dir():
        return load_folder(Path(ref.path), ref.options, ref.text)
    if not timm.is_model(ref.path):
        raise UserError(f"timm has no {ref.path!r}{near(ref.path, timm.list_models())}, and it is no folder")
    if "weights" not in ref.options.values:
        raise UserError(f"{ref.text}: add ?weights=FILE (nothing is downloaded)")
    source = ref.options.values["weights"]
    state = load_weights(source)
    usual: Any = timm.get_pretrained_cfg(ref.path)
    channels = _channels(state, usual.classifier, source)
    module = build(lambda: timm.create_model(ref.path, pretrained=False, num_classes=channels), ref.text)
    fill(module, state, source)
    prepare = sized(ref.options, preparation(usual.to_dict()))
    return adapter(module, imagenet(channels, ref.options), prepare, ref.text, f"timm/{ref.path}", {"name": ref.path})


def load_folder(folder: Path, options: Options, text: str, facts: Mapping[str, Any] | None = None) -> Adapter:
    """A folder in the layout of timm on the hub: config.json (architecture, num_classes, model_args) and weights.

    ``facts`` (robustseg.json) say classes, normalisation and size; else ``label_names`` and ``pretrained_cfg`` of the
    configuration do. Raises `UserError` for a folder that is incomplete or does not fit.
    """
    import timm

    from robustseg.models.zoo import facts_of

    facts = facts_of(folder) if facts is None else facts
    config = _config(folder)
    name, arguments = str(config.get("architecture")), dict(config.get("model_args") or {})
    if not timm.is_model(name):
        raise UserError(f"{folder / 'config.json'}: timm has no {name!r}{near(name, timm.list_models())}")
    own = set(inspect.signature(timm.create_model).parameters) & set(arguments)
    if own:  # such as checkpoint_path: a folder decides about its network, not about other files
        raise UserError(f"{folder / 'config.json'}: model_args may not hold {', '.join(sorted(own))}")
    more: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    channels = int(config.get("num_classes") or 0)
    module = build(lambda: timm.create_model(name, pretrained=False, num_classes=channels, **more), text)
    fill(module, load_weights(folder / "model.safetensors"), folder)
    named = facts.get("classes") or config.get("label_names")
    classes = options.classes() or (tuple(map(str, named)) if named else imagenet(channels, options))
    if len(classes) != channels:
        raise UserError(f"{text}: the network has {channels} classes but {len(classes)} are named")
    if "mean" in facts:
        size = facts.get("resize")
        resize = Resize(height=int(size[0]), width=int(size[1])) if size and size != "native" else None
        usual = Prepare(tuple(facts["mean"]), tuple(facts["std"]), resize=resize)
    else:
        usual = preparation(config.get("pretrained_cfg") or timm.get_pretrained_cfg(name).to_dict())  # type: ignore
    changed = {"mean", "std", "norm", "size"} & set(options.values)
    prepare = sized(options, usual) if changed else usual
    about = {"name": name, "arguments": {k: str(v) for k, v in more.items()}}
    return adapter(module, classes, prepare, text, f"timm/{name}", about)


def preparation(config: Mapping[str, Any]) -> Prepare:
    """timm's evaluation transform: the shorter side to size / crop_pct, then the middle (crop_mode "squash": both)."""
    _, height, width = config["input_size"]
    ratio = float(config.get("crop_pct") or 1)
    mode = str(config.get("interpolation") or "bilinear")
    usual = centre((height, width), math.floor(min(height, width) / ratio), (config["mean"], config["std"]), mode)
    if config.get("crop_mode") != "squash":
        return usual
    rule = Resize(height=math.floor(height / ratio), width=math.floor(width / ratio), interpolation=mode)  # type: ignore
    return type(usual)(usual.mean, usual.std, resize=rule, crop=(height, width))  # type: ignore[call-arg]


def _channels(state: Mapping[str, Tensor], classifier: Any, source: str) -> int:
    """How many classes the last layer has."""
    first = classifier[0] if isinstance(classifier, tuple | list) else classifier
    key = f"{first}.weight"
    if key not in state:
        raise UserError(f"{source} has no {key}: not the weights of this timm classifier")
    return len(state[key])


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no config.json with timm's architecture, num_classes and model_args")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})") from error
    if not isinstance(config, dict) or "architecture" not in config:
        raise UserError(f"{path} names no architecture: not a timm folder (hf:{folder}?)")
    return config
