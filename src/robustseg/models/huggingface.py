"""Hugging Face transformers: segmenters (semantic, universal, prompted) and classifiers; folders, cache or hub."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from robustseg.errors import UserError
from robustseg.models import sam
from robustseg.models.base import Adapter, fingerprint
from robustseg.models.classifiers import adapter as classifier
from robustseg.models.classifiers import distinct
from robustseg.models.heads import DenseHead, QueryHead
from robustseg.models.processor import classifier_preparation, preparation
from robustseg.models.refs import Options, Ref, near
from robustseg.models.tiles import Tiled
from robustseg.models.weights import HARMLESS, complain, refusal
from robustseg.ops.size import WHOLE_IMAGE
from robustseg.types import ModelSpec

__all__ = ["KEYS", "load", "load_folder"]

KEYS = ("classes", "things", "mean", "std", "norm", "size", "shortest", "longest", "multiple", "task", "tiles")
QUERIES = ("maskformer", "mask2former", "eomt", "eomt_dinov3")
FORGET = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")


def load(ref: Ref) -> Adapter | Tiled | sam.Prompted:
    """``hf:PATH_OR_ID[?size=HxW|native&shortest=800&longest=1333&norm=imagenet&classes=...&task=...&tiles=SIDE]``.

    ``task``: semantic, universal or classification, where a family can be several. ``things``: the countable classes of
    a universal model, a list or a file as ``classes``. ``prompt``: box or point, of SAM.
    """
    ref.options.known(*KEYS, "prompt")
    return load_folder(ref.path, ref.options, ref.text)


def load_folder(
    source: str, options: Options, text: str, facts: Mapping[str, Any] | None = None
) -> Adapter | Tiled | sam.Prompted:
    """A model from a local folder or, where there is none, from the cache and then the hub.

    ``facts`` (robustseg.json) override what the processor's configuration says. Code that comes with a checkpoint is
    never run. Raises `UserError` for a family without a differentiable semantic output and for weights that do not fit.
    """
    from robustseg.models.zoo import facts_of

    folder = Path(source)
    facts = facts_of(folder) if facts is None else facts
    with quiet():
        config = _config(source)
        whole = _classifies(config, options.values.get("task") or facts.get("task"))
        module = _module(source, config, whole)
        processor = _processor(source)
    stored = _plain({k: v for k, v in config.to_dict().items() if k not in FORGET})
    if config.model_type in sam.FAMILIES:
        return sam.adapter(module, config, processor, options, text, stored)
    options.known(*KEYS)
    classes = options.classes() or tuple(facts.get("classes", ())) or _names(config)
    if whole:
        prepare = classifier_preparation(config, processor, facts, options)
        return classifier(module, distinct(classes), prepare, text, f"hf/{config.model_type}", {"config": stored})
    prepare = preparation(config, processor, facts, options)
    queries = config.model_type in QUERIES
    head = QueryHead(len(classes)) if queries else DenseHead(len(classes))
    named = _things(options, classes)
    told = {"config": stored, "prepare": asdict(prepare), "classes": classes, **({"things": named} if named else {})}
    digest = fingerprint(module, told)
    # windows give averaged class scores, not queries
    task = "universal" if queries and prepare.split is None else "semantic"
    asked = options.values.get("task") or facts.get("task", task)
    if asked != task and (asked != "semantic" or not queries):
        raise UserError(f"{text}: task={asked} is impossible for a {config.model_type} model; it gives {task}")
    things = named or tuple(name for name in facts.get("things", ()) if name in classes)
    spec = ModelSpec(text, asked, classes, digest, f"hf/{config.model_type}", things)
    adapter = Adapter(spec, module, prepare, head)
    tiles = options.tiles() or facts.get("tiles")
    return Tiled.of(adapter, **tiles) if tiles else adapter


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, no advice: loading a model prints nothing. Everything is put back."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as hf

    level, bars, hub = hf.get_verbosity(), hf.is_progress_bar_enabled(), are_progress_bars_disabled()
    hub_level = logging.getLogger("huggingface_hub").level
    hf.set_verbosity(logging.CRITICAL)
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    hf.disable_progress_bar()
    disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf.set_verbosity(level)
        logging.getLogger("huggingface_hub").setLevel(hub_level)
        if bars:
            hf.enable_progress_bar()
        if not hub:
            enable_progress_bars()


def _config(source: str) -> Any:
    from transformers import AutoConfig

    folder = Path(source)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise UserError(f"{source} holds no config.json; save the model there with save_pretrained")
    if not folder.exists() and (source.startswith((".", "/", "~")) or source.count("/") > 1):
        raise UserError(f"no folder {source}")
    return _local_first(source, AutoConfig.from_pretrained, trust_remote_code=False)


def _classifies(config: Any, task: str | None) -> bool:
    """Whether the checkpoint is a classifier: said so, saved as one, or of a family that can be nothing else."""
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING

    if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING or task not in (None, WHOLE_IMAGE):
        return False
    saved = any("ForImageClassification" in name for name in getattr(config, "architectures", None) or ())
    return task == WHOLE_IMAGE or saved or type(config) not in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING


def _module(source: str, config: Any, whole: bool) -> torch.nn.Module:
    from transformers import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
        MODEL_FOR_MASK_GENERATION_MAPPING,
        MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING,
        MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING,
    )

    kind = config.model_type
    if whole:
        mapping = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    elif kind in sam.FAMILIES:
        mapping = MODEL_FOR_MASK_GENERATION_MAPPING
    elif kind in QUERIES:
        mapping = MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING
    elif type(config) in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING:
        mapping = MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING
    else:
        raise UserError(
            f"{source} is a {kind!r} model, which gives no differentiable semantic output here; known: segformer, "
            "upernet, beit, data2vec-vision, dpt, mobilevit, mobilenet_v2, maskformer, mask2former, eomt, sam, sam2, "
            "and image classifiers"
        )
    _convnext_lists(config)
    family: Any = mapping[type(config)]
    module, info = _local_first(
        source,
        family.from_pretrained,
        config=config,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    harmless = lambda key: key.endswith(HARMLESS)  # noqa: E731
    complain(
        source,
        missing=[k for k in info["missing_keys"] if not harmless(k)],
        unexpected=[k for k in info["unexpected_keys"] if not harmless(k)],
        mismatched=[str(k[0] if isinstance(k, tuple) else k) for k in info["mismatched_keys"]],
    )
    return module.eval()


def _convnext_lists(config: Any) -> None:
    """ConvNextConfig's defaults are tuples, which its backbone adds to lists (TypeError in transformers 5)."""
    backbone = getattr(config, "backbone_config", None)
    for key in ("depths", "hidden_sizes"):
        if isinstance(getattr(backbone, key, None), tuple):
            setattr(backbone, key, list(getattr(backbone, key)))


def _processor(source: str) -> Any:
    from transformers import AutoImageProcessor

    try:
        return _local_first(source, AutoImageProcessor.from_pretrained, trust_remote_code=False)
    except UserError:
        return None


def _local_first(source: str, loader: Any, **arguments: Any) -> Any:
    """What lies on this machine; only a name that is no folder may go to the hub."""
    local = Path(source).exists()
    try:
        return loader(source, local_files_only=True, **arguments)
    except pickle.UnpicklingError as error:
        raise refusal(source, error) from error
    except Exception as error:
        if local:
            raise UserError(f"cannot load {source}: {_line(error)}") from error
    try:
        return loader(source, **arguments)
    except pickle.UnpicklingError as error:
        raise refusal(source, error) from error
    except Exception as error:
        raise UserError(
            f"{source} is neither a folder nor in the local cache, and the hub did not give it ({_line(error)}); "
            "download it once, or give a folder made with save_pretrained"
        ) from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (text[:160] + "…") if len(text) > 160 else text or type(error).__name__


def _things(options: Options, classes: Sequence[str]) -> tuple[str, ...]:
    """The countable classes that ``things=`` names."""
    named = options.names("things") or ()
    unknown = next((name for name in named if name not in classes), None)
    if unknown is not None:
        raise UserError(f"{options.ref}: things= names {unknown!r}, no class of the model{near(unknown, classes)}")
    return named


def _names(config: Any) -> tuple[str, ...]:
    return tuple(str(name) for _, name in sorted((int(i), n) for i, n in config.id2label.items()))


def _plain(value: Any) -> Any:
    """JSON-able: keys become text, everything unknown its text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if k not in FORGET}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
