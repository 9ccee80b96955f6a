"""Other ways to prepare the pixels: if one of them scores much better, the declared one is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from robustseg.models.prepare import Prepare
from robustseg.models.refs import NORMALISATIONS
from robustseg.models.window import Windowed
from robustseg.types import Model, Output

__all__ = ["variants"]


def variants(model: Model) -> Iterator[tuple[str, Callable[..., Output]]]:
    """Descriptions, and the model with that preparation. For a foreign model only the channel order can vary."""
    if isinstance(model, Windowed):
        for name, prepare in _preparations(model.inner.prepare):
            yield name, replace(model, inner=replace(model.inner, prepare=prepare))
    elif isinstance(getattr(model, "prepare", None), Prepare):
        for name, prepare in _preparations(model.prepare):  # type: ignore[attr-defined]
            yield name, replace(model, prepare=prepare)  # type: ignore[type-var]
    else:
        yield "the other channel order (rgb <-> bgr)", lambda images, **more: model(images.flip(1), **more)


def _preparations(p: Prepare) -> Iterator[tuple[str, Prepare]]:
    other = "bgr" if p.channel_order == "rgb" else "rgb"
    yield f"channel_order={other!r}", replace(p, channel_order=other)
    if p.scale == 1:
        yield "pixel_range=255 (same mean and std)", replace(p, scale=255.0)
        yield "pixel_range=255 (mean and std times 255)", replace(p, scale=255.0, std=tuple(s / 255 for s in p.std))
    else:
        yield "pixel_range=1", replace(p, scale=1.0)
    if p.channels != 3:
        return
    for name, (mean, std) in NORMALISATIONS.items():
        for order in ("rgb", "bgr"):
            mine = (mean, std) if order == "rgb" else (mean[::-1], std[::-1])
            changed = replace(p, mean=mine[0], std=mine[1], scale=1.0, channel_order=order)
            if changed != p and not (order == p.channel_order and _same(changed, p)):
                values = f"mean={_short(mine[0])}, std={_short(mine[1])}"
                yield f"{values} ({name}), channel_order={order!r}, pixel_range=1", changed
    for name in ("imagenet", "none"):
        mean, std = (tuple(255 * v for v in values) for values in NORMALISATIONS[name])
        std = std if name == "imagenet" else (1.0,) * 3
        changed = replace(p, mean=mean, std=std, scale=255.0)
        if changed != p and not _same(changed, p):
            yield f"mean={_short(mean)}, std={_short(std)}, pixel_range=255", changed


def _same(a: Prepare, b: Prepare) -> bool:
    """Equal up to how it is written: ((scale*x) - mean) / std."""

    def canonical(p: Prepare) -> list[float]:
        return [v for m, s in zip(p.mean, p.std) for v in (p.scale / s, m / s)]

    pairs = zip(canonical(a), canonical(b))
    return a.channel_order == b.channel_order and all(abs(x - y) <= 1e-6 * (1 + abs(x)) for x, y in pairs)


def _short(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"
