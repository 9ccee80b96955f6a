"""Reads what a transformer attends to, by the doors that its library leaves open for that; the network stays as it is.

transformers has a registry of attention functions: while a forward is recorded, every layer calls ours, which notes
queries and keys and hands on to the function that was set before. So the output is the same to the bit, whatever that
function is, and nothing depends on ``output_attentions``, which fused kernels answer with an empty tuple. What is not
on the registry (the decoder of Mask2Former, the plain ViTs of timm) is read by forward hooks. Both are undone on
leaving, also by an error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.errors import UserError
from robustseg.ops.attention import Attention, DecoderLayer, Layer, from_projections
from robustseg.types import DenseOutput, Output, QueryOutput

__all__ = ["attends", "attention_of", "recording"]

NAME = "robustseg-attention"  # of our function in the registry
PLAIN = (
    "Attention",
    "ViTAttention",
    "BeitAttention",
    "DPTSelfAttention",
    "DPTViTSelfAttention",
    "EomtAttention",
    "EomtDinov3Attention",
    "DeiTAttention",
    "Dinov2Attention",
    "DINOv3ViTAttention",
)  # fmt: skip; the first is timm's
KNOWN = (*PLAIN, "SegformerAttention", "SwinAttention", "Mask2FormerAttention", "MultiheadAttention")
PROJECTIONS = (("qkv",), ("q", "kv"), ("q", "k"), ("q_proj", "k_proj"), ("query", "key"))
DECODER = "Mask2FormerMaskedAttentionDecoder"


def attends(module: nn.Module) -> list[nn.Module]:
    """The self-attention layers of a network: what projects to queries and keys. Empty for a CNN.

    >>> attends(nn.Conv2d(3, 2, 1)), len(attends(nn.TransformerEncoderLayer(4, 1, 4)))
    ([], 1)
    """

    def projects(m: nn.Module) -> bool:
        parts = dict(m.named_children())
        return isinstance(m, nn.MultiheadAttention) or any(
            all(isinstance(parts.get(name), nn.Module) for name in names) for names in PROJECTIONS
        )

    return [m for m in module.modules() if projects(m)]


@dataclass
class Recording:
    """What one forward wrote down. ``originals``: id of a configuration -> the attention function it had."""

    pixels: tuple[int, int]
    originals: dict[int, str | None]
    places: dict[int, tuple[Any, tuple[int, int]]] = field(default_factory=dict)  # attention layer -> block, its grid
    layers: list[tuple[nn.Module, Layer]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)  # of the maps that a query decoder looks at
    crosses: list[Tensor] = field(default_factory=list)
    owns: list[Tensor] = field(default_factory=list)

    def attention(self) -> Attention:
        """All of it, in order."""
        layers = _read([layer for _, layer in self.layers], [type(m).__name__ for m, _ in self.layers])
        levels = len(self.sizes)
        decoder = [
            DecoderLayer(c, o, self.sizes[i % levels])
            for i, (c, o) in enumerate(zip(self.crosses, self.owns, strict=True))
        ]
        return Attention(tuple(layers), tuple(decoder))


_now: ContextVar[Recording | None] = ContextVar("recording", default=None)


@contextmanager
def recording(module: nn.Module, pixels: Tensor, who: str) -> Iterator[Recording]:
    """While open, a forward of ``module`` on ``pixels (B,C,H,W)`` is written down. ``who`` names it in an error.

    Raises UserError where there is a self-attention layer that cannot be read.
    """
    all_layers, hugging = attends(module), type(module).__module__.startswith("transformers.")
    plain = _of_timm(module)
    strange = next(
        (m for m in all_layers if id(m) not in plain and (type(m).__name__ not in KNOWN or not hugging)), None
    )
    if strange is not None or not all_layers:
        what = "has no self-attention" if strange is None else f"attends by {type(strange).__name__}, which is not read"
        raise UserError(f"{who} {what}, so it gives no attention maps; leave them out with saga:rollout=none")
    configs = _configurations(module)
    found = Recording(
        (int(pixels.shape[-2]), int(pixels.shape[-1])), {id(c): c._attn_implementation_internal for c in configs}
    )
    handles = [*_hooks(module, found), *_timm_hooks(plain, found)]
    token = _now.set(found)
    try:
        _register()
        for c in configs:
            c._attn_implementation_internal = NAME
        yield found
    finally:
        for c in configs:
            c._attn_implementation_internal = found.originals[id(c)]
        _now.reset(token)
        for handle in handles:
            handle.remove()


def attention_of(output: Output, found: Attention, size: tuple[int, int], used: tuple[int, int], who: str) -> Output:
    """The output with ``extras["attention"]``; ``size`` and ``used`` as in :class:`Attention`.

    Raises UserError for an empty answer: an attack that follows it would follow nothing.
    """
    if not found.layers and not found.decoder:
        raise UserError(
            f"{who} gave no attention maps although it has attention layers: its attention function was not called "
            "(compiled, or replaced); load it anew, or leave the maps out with saga:rollout=none"
        )
    cover = found.cover
    if isinstance(output, QueryOutput) and cover is None:
        sure = output.class_logits.detach().softmax(-1)[..., :-1].amax(-1)
        cover = sure[..., None, None] * output.mask_logits.detach().sigmoid()
    alone = isinstance(output, DenseOutput) and tuple(output.scores.shape[-2:]) == (1, 1)
    whole = replace(found, size=size, used=used, cover=cover, by_class=found.by_class or alone)
    return replace(output, extras={**output.extras, "attention": whole})


def _configurations(module: nn.Module) -> list[Any]:
    """Every configuration in a network, each once."""
    found: dict[int, Any] = {}
    waiting = [m.config for m in module.modules() if hasattr(m, "config")]
    while waiting:
        c = waiting.pop()
        if id(c) not in found and hasattr(c, "_attn_implementation_internal"):
            found[id(c)] = c
            waiting += [getattr(c, name, None) for name in getattr(c, "sub_configs", {})]
    return list(found.values())


def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _noted)


def _noted(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> Any:
    """The attention function of the registry: writes down, then does what would have been done without it."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    found = _now.get()
    assert found is not None
    scale = options.get("scaling")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    bias = attention_mask
    if bias is not None and bias.dtype == torch.bool:
        bias = torch.zeros_like(bias, dtype=query.dtype).masked_fill(~bias, -torch.inf)
    more = options.get("position_bias")
    bias = more if bias is None else bias if more is None else bias + more
    found.layers.append((module, _layer(found, module, query, key, from_projections(query, key, scale, bias))))
    eager: Any = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    before = found.originals[id(module.config)]
    return ALL_ATTENTION_FUNCTIONS.get_interface(before or "eager", eager)(
        module, query, key, value, attention_mask, **options
    )


def _of_timm(module: nn.Module) -> dict[int, tuple[Any, tuple[int, int]]]:
    """By id the attention layers of timm's plain ViTs, with the patch (height, width) of their tokens."""
    found = {}
    for trunk in module.modules():
        if type(trunk).__name__ == "VisionTransformer" and type(trunk).__module__.startswith("timm."):
            vit: Any = trunk
            patch = vit.patch_embed.patch_size
            for block in vit.blocks:
                if type(block.attn).__name__ == "Attention":
                    found[id(block.attn)] = block.attn, (int(patch[0]), int(patch[1]))
    return found


def _timm_hooks(layers: dict[int, tuple[Any, tuple[int, int]]], found: Recording) -> list[Any]:
    """Notes queries and keys once more from what goes into each layer, as it projects them itself."""

    def noted(m: Any, args: tuple[Any, ...]) -> None:
        x = args[0]
        with torch.no_grad():
            q, k, _ = m.qkv(x).unflatten(-1, (3, m.num_heads, m.head_dim)).permute(2, 0, 3, 1, 4)
            rows = from_projections(m.q_norm(q), m.k_norm(k), m.scale, None)
        (down, across), tokens = layers[id(m)][1], x.shape[1]
        grid = (found.pixels[0] // down, found.pixels[1] // across)
        if tokens < grid[0] * grid[1]:
            raise UserError(f"Attention: {tokens} tokens are no grid of {grid[0]}x{grid[1]} patches")
        found.layers.append((m, Layer(rows, grid, grid, tokens - grid[0] * grid[1])))

    return [m.register_forward_pre_hook(noted) for m, _ in layers.values()]


def _layer(found: Recording, module: Any, query: Tensor, key: Tensor, rows: Any) -> Layer:
    """The tokens of a layer as a grid."""
    name = type(module).__name__
    if name == "SegformerAttention":
        _, (h, w) = found.places[id(module)]
        r = module.sequence_reduction_ratio
        return Layer(rows, (h, w), (h // r, w // r) if r > 1 else (h, w))
    if name == "SwinAttention":
        block, (h, w) = found.places[id(module)]
        return Layer(rows, (h, w), (h, w), window=int(block.window_size), shift=int(block.shift_size))
    patch = module.config.patch_size
    down, across = patch if isinstance(patch, list | tuple) else (patch, patch)
    grid = (found.pixels[0] // down, found.pixels[1] // across)
    prefix = query.shape[-2] - grid[0] * grid[1]
    if prefix < 0 or key.shape[-2] != query.shape[-2]:
        raise UserError(f"{name}: {query.shape[-2]} tokens are no grid of {grid[0]}x{grid[1]} patches")
    return Layer(rows, grid, grid, prefix)


def _read(layers: list[Layer], names: list[str]) -> list[Layer]:
    """Marks what a head reads: of the networks with stages the end of each, of a plain ViT the last layer."""
    ends = [
        i + 1 == len(layers) or (names[i] not in PLAIN and layers[i + 1].grid != layers[i].grid)
        for i in range(len(layers))
    ]
    return [replace(layer, read=end) for layer, end in zip(layers, ends, strict=True)]


def _hooks(module: nn.Module, found: Recording) -> list[Any]:
    """Notes the grids of SegFormer and Swin, and the decoder of Mask2Former, which are not on the registry."""
    handles = []

    def reduced(m: nn.Module, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        h, w = (kw.get(name, args[i] if len(args) > i else None) for i, name in ((1, "height"), (2, "width")))
        found.places[id(m)] = m, (int(h), int(w))  # type: ignore[arg-type]

    def windowed(m: Any, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        h, w = kw.get("input_dimensions", args[1] if len(args) > 1 else None)  # type: ignore[misc]
        found.places[id(m.attention)] = m, (int(h), int(w))

    def looked(m: nn.Module, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        found.sizes[:] = [(int(s[0]), int(s[1])) for s in kw["feature_size_list"]]

    for m in module.modules():
        name = type(m).__name__
        if name == "SegformerAttention":
            handles.append(m.register_forward_pre_hook(reduced, with_kwargs=True))
        elif name == "SwinLayer":
            handles.append(m.register_forward_pre_hook(windowed, with_kwargs=True))
        elif name == DECODER:
            handles.append(m.register_forward_pre_hook(looked, with_kwargs=True))
        elif name == DECODER + "Layer":
            cross: Any = m.cross_attn
            own: Any = m.self_attn
            handles.append(cross.register_forward_hook(lambda _, i, out: found.crosses.append(out[1].detach())))
            handles.append(own.register_forward_hook(lambda _, i, out: found.owns.append(out[1].detach().mean(1))))
    return handles
