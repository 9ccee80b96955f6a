"""What a transformers image processor does to an image, as a differentiable `Prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robustseg.errors import UserError
from robustseg.models.classifiers import Cropped
from robustseg.models.prepare import Prepare, Resize
from robustseg.models.refs import Options

__all__ = ["classifier_preparation", "preparation"]

SQUARE = ("beit", "data2vec-vision", "dpt", "eomt", "eomt_dinov3")  # position embeddings of one square size
NATIVE_MULTIPLE = {"maskformer": 32, "mask2former": 32}
INTERPOLATION = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def preparation(config: Any, processor: Any, facts: Mapping[str, Any], options: Options) -> Prepare:
    """Reference options win over ``facts`` (robustseg.json), these over the processor.

    Where only facts are at hand the image keeps its own size. A centre crop becomes a resize to the crop's size: the
    whole image has to be labelled. Raises `UserError` where nobody says how pixels are normalised.
    """
    mean, std, scale, order = _normalisation(config, processor, facts, options)
    size = options.size() or facts.get("resize")
    multiple = options.integer("multiple") or int(facts.get("multiple") or 1)
    square = split = None
    if size == "native":
        resize = None
    elif size is not None:
        resize = Resize(height=int(size[0]), width=int(size[1]))
    elif (shortest := options.integer("shortest")) is not None:
        # the rule of the authors' own tests: one factor, whole pixels, then padding
        resize = Resize(shortest=shortest, longest=options.integer("longest"), rounding="half")
        multiple = NATIVE_MULTIPLE.get(config.model_type, multiple) if multiple == 1 else multiple
        if config.model_type in SQUARE:
            raise UserError(f"{options.ref}: {config.model_type} takes one square size only; leave shortest= out")
    elif processor is not None and not facts:
        resize, square, split = _geometry(config, processor, options)
    else:
        resize = None
    if resize is None and split is None and config.model_type in SQUARE:
        if size == "native":
            raise UserError(f"{options.ref}: {config.model_type} takes one square size only; native is impossible")
        resize = Resize(height=_side(config), width=_side(config))
    if resize is None and multiple == 1:
        multiple = NATIVE_MULTIPLE.get(config.model_type, 1)
    fill = "black" if square else "mean"
    return Prepare(mean, std, order, scale, resize, multiple, square, fill, split)


def classifier_preparation(config: Any, processor: Any, facts: Mapping[str, Any], options: Options) -> Prepare:
    """As ``preparation``, of a classifier: a centre crop stays one, since only the whole image has a label.

    Where nobody says a size, the network's own ``image_size`` is taken, if its configuration has one.
    """
    mean, std, scale, order = _normalisation(config, processor, facts, options)
    size = options.size() or facts.get("resize")
    if size == "native":
        return Prepare(mean, std, order, scale)
    if size is not None:
        return Prepare(mean, std, order, scale, Resize(height=int(size[0]), width=int(size[1])))
    if processor is None or facts:
        known = getattr(config, "image_size", None)
        return Prepare(mean, std, order, scale, Resize(height=_side(config), width=_side(config)) if known else None)
    shortest, ratio = _get(processor.size, "shortest_edge"), getattr(processor, "crop_pct", None)
    how = _interpolation(processor)
    if shortest and ratio and shortest < 384:  # ConvNeXt's processor: resize and crop in one
        rule = Resize(shortest=int(shortest / ratio), interpolation=how)
        return Cropped(mean, std, order, scale, rule, crop=(shortest, shortest))
    if getattr(processor, "do_center_crop", False):
        height, width = (_get(processor.crop_size, k) or shortest or 0 for k in ("height", "width"))
        rule = Resize(shortest=shortest, interpolation=how) if shortest else _fixed(processor.size, processor)
        return Cropped(mean, std, order, scale, rule, crop=(height, width))
    if not getattr(processor, "do_resize", False):
        return Prepare(mean, std, order, scale)
    if ratio and shortest:
        return Prepare(mean, std, order, scale, Resize(height=shortest, width=shortest, interpolation=how))
    rule = Resize(shortest=shortest, interpolation=how) if shortest else _fixed(processor.size, processor)
    return Prepare(mean, std, order, scale, rule)


def _normalisation(config: Any, processor: Any, facts: Mapping[str, Any], options: Options):
    order = "rgb"
    scale = 1.0
    if processor is not None and not facts:
        order = "bgr" if getattr(processor, "do_flip_channel_order", False) else "rgb"
        if getattr(processor, "do_rescale", True) is False:
            scale = 255.0
        else:
            factor = 255 * float(getattr(processor, "rescale_factor", None) or 1 / 255)
            scale = 1.0 if abs(factor - 1) < 1e-9 else factor
    given = options.normalisation()
    if given:
        return *given, scale, order
    if "mean" in facts and "std" in facts:
        return tuple(facts["mean"]), tuple(facts["std"]), scale, order
    if processor is None:
        raise UserError(
            f"{options.ref}: no preprocessor_config.json beside the model says how pixels are normalised; save the "
            "image processor there too, or add ?norm=imagenet (or half, none, or mean=r,g,b&std=r,g,b)"
        )
    if not getattr(processor, "do_normalize", False):
        return (0.0,) * 3, (1.0,) * 3, scale, order
    return tuple(map(float, processor.image_mean)), tuple(map(float, processor.image_std)), scale, order


def _geometry(config: Any, processor: Any, options: Options) -> tuple[Resize | None, int | None, int | None]:
    """Resize rule, square that is padded to, side of windows."""
    if not getattr(processor, "do_resize", False):
        if getattr(processor, "do_center_crop", False):
            return _fixed(processor.crop_size, processor), None, None
        return None, None, None
    if getattr(processor, "do_center_crop", False):
        return _fixed(processor.crop_size, processor), None, None
    kind, size = config.model_type, processor.size
    if kind == "dpt":
        if getattr(processor, "do_pad", False):
            raise UserError(f"{options.ref}: a DPT processor with do_pad is not understood; add ?size=HxW")
        return (
            _fixed(
                size,
                processor,
                keep_aspect=bool(getattr(processor, "keep_aspect_ratio", False)),
                multiple=getattr(processor, "ensure_multiple_of", 1) or 1,
            ),
            None,
            None,
        )
    if _get(size, "height") and _get(size, "width"):
        rule = _fixed(size, processor, multiple=_divisor(kind, processor), rounding="up")
        return rule, None, None
    shortest, longest = _get(size, "shortest_edge"), _get(size, "longest_edge")
    if not shortest and not longest:
        raise UserError(f"{options.ref}: the processor's size {dict(size)} is not understood; add ?size=HxW or native")
    rule = Resize(
        shortest=shortest,
        longest=longest,
        multiple=_divisor(kind, processor),
        rounding="up",
        interpolation=_interpolation(processor),
    )
    if kind.startswith("eomt"):
        if getattr(processor, "do_split_image", False):
            if options.values.get("task") == "universal":  # segments need the whole image at once
                side = _side(config)
                whole = Resize(shortest=side, longest=side, interpolation=_interpolation(processor))
                return whole, side, None
            return rule, None, shortest
        if getattr(processor, "do_pad", False):
            return rule, max(shortest or 0, longest or 0), None
        return Resize(height=_side(config), width=_side(config), interpolation=_interpolation(processor)), None, None
    return rule, None, None


def _divisor(kind: str, processor: Any) -> int:
    return (getattr(processor, "size_divisor", 1) or 1) if kind in ("maskformer", "mask2former") else 1


def _fixed(size: Any, processor: Any, **more: Any) -> Resize:
    height, width = _get(size, "height"), _get(size, "width")
    if not (height and width):
        height = width = _get(size, "shortest_edge")
    return Resize(height=height, width=width, interpolation=_interpolation(processor), **more)


def _get(size: Any, key: str) -> int | None:
    value = size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)
    return int(value) if value else None


def _interpolation(processor: Any) -> Any:
    number = getattr(processor, "resample", None)
    return INTERPOLATION.get(int(number), "bilinear") if number is not None else "bilinear"


def _side(config: Any) -> int:
    side = getattr(config, "image_size", None) or getattr(getattr(config, "backbone_config", None), "image_size", None)
    if not side:
        raise UserError(f"{config.model_type}: config.json names no image_size; add ?size=HxW")
    return int(side[0] if isinstance(side, list | tuple) else side)
