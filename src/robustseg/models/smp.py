"""segmentation_models_pytorch folders made with save_pretrained, rebuilt without touching any network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from robustseg.errors import UserError
from robustseg.models.base import Adapter, fingerprint
from robustseg.models.heads import DenseHead
from robustseg.models.prepare import Prepare, Resize
from robustseg.models.refs import Options, Ref, near
from robustseg.models.weights import fill
from robustseg.models.weights import load as load_weights
from robustseg.types import ModelSpec

__all__ = ["KEYS", "load", "load_folder"]

KEYS = ("classes", "mean", "std", "norm", "size", "multiple")
FILES = ("model.safetensors", "pytorch_model.bin")


def load(ref: Ref) -> Adapter:
    """``smp:PATH[?classes=FILE&norm=imagenet&multiple=32]``."""
    ref.options.known(*KEYS)
    return load_folder(Path(ref.path), ref.options, ref.text)


def load_folder(folder: Path, options: Options, text: str, facts: Mapping[str, Any] | None = None) -> Adapter:
    """The network of ``config.json`` with the weights beside it; ``robustseg.json`` says classes and normalisation.

    Sides are padded to the encoder's stride. Raises `UserError` for a folder that is incomplete or does not fit.
    """
    from robustseg.models.zoo import facts_of

    config = _config(folder)
    facts = facts_of(folder) if facts is None else facts
    module, activation = _build(config, folder)
    weights = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if weights is None:
        raise UserError(f"{folder} holds no {' or '.join(FILES)}")
    fill(module, load_weights(weights), folder)
    module.eval().to(torch.float32)
    last = getattr(module, "segmentation_head", None)  # of DPT it is no sequence of layers
    channels: Any = last[0].out_channels if isinstance(last, torch.nn.Sequential) else config["classes"]
    classes = options.classes() or tuple(facts.get("classes", ()))
    if not classes:
        raise UserError(f"{text}: nobody names the {channels} classes; add ?classes=FILE (or a robustseg.json)")
    binary = channels == 1 and len(classes) == 2
    sigmoid = binary or activation == "sigmoid" or facts.get("activation") == "sigmoid"
    prepare = _prepare(config, facts, options, module, text)
    head = DenseHead(len(classes), "sigmoid" if sigmoid else "softmax")
    stored = {k: v for k, v in config.items() if k != "encoder_weights"}
    digest = fingerprint(module, {"config": stored, "prepare": asdict(prepare), "head": [len(classes), sigmoid]})
    spec = ModelSpec(text, facts.get("task", "semantic"), classes, digest, f"smp/{config['_model_class']}")
    return Adapter(spec, module, prepare, head)


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; smp: takes a folder made with model.save_pretrained(...)")
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no config.json; make it with model.save_pretrained(...)")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})") from error
    if "_model_class" not in config:
        raise UserError(f"{path} names no _model_class: not a segmentation_models_pytorch folder (hf:{folder}?)")
    return config


def _build(config: Mapping[str, Any], folder: Path) -> tuple[Any, str | None]:
    """The untrained network, and the activation that is left off. Encoder weights are never fetched."""
    import segmentation_models_pytorch as smp

    name = config["_model_class"]
    known = [n for n, v in vars(smp).items() if isinstance(v, type) and issubclass(v, torch.nn.Module)]
    if name not in known:
        raise UserError(f"{folder}: segmentation_models_pytorch has no {name!r}{near(str(name), known)}")
    arguments = {k: v for k, v in config.items() if not k.startswith("_")}
    activation = arguments.pop("activation", None)
    if arguments.get("aux_params"):
        raise UserError(f"{folder} has a classification head (aux_params); save it without, or use py: with output=")
    arguments["encoder_weights"] = None
    if activation not in (None, "identity", "sigmoid", "softmax", "softmax2d"):
        raise UserError(f"{folder}: activation {activation!r} is not understood; use py: with robustseg.wrap")
    try:
        return getattr(smp, name)(**arguments), activation
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: {name} cannot be built from config.json ({error})") from error


def _prepare(config: Mapping[str, Any], facts: Mapping[str, Any], options: Options, module: Any, text: str) -> Prepare:
    given = options.normalisation()
    if given is None and "mean" in facts and "std" in facts:
        given = tuple(facts["mean"]), tuple(facts["std"])
    order, scale = "rgb", 1.0
    if given is None and config.get("encoder_weights") and str(config.get("encoder_name")).startswith("tu-"):
        import segmentation_models_pytorch as smp  # for other encoders it would ask the hub

        found = smp.encoders.get_preprocessing_params(config["encoder_name"], config["encoder_weights"])
        given = tuple(found["mean"]), tuple(found["std"])
        order, scale = found["input_space"].lower(), float((found["input_range"] or (0, 1))[1])
    if given is None:
        raise UserError(
            f"{text}: nobody says how pixels are normalised; add ?norm=imagenet (or half, none, mean=&std=)"
        )
    stride = int(getattr(getattr(module, "encoder", None), "output_stride", 32))
    stride *= 2 if config["_model_class"] == "DPT" else 1  # its decoder halves the grid of patches once
    multiple = options.integer("multiple") or int(facts.get("multiple") or stride)
    size = options.size() or facts.get("resize")
    resize = Resize(height=int(size[0]), width=int(size[1])) if size and size != "native" else None
    mean, std = given
    return Prepare(tuple(map(float, mean)), tuple(map(float, std)), order, scale, resize, multiple)  # type: ignore[arg-type]
