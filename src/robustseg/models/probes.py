"""The single measurements of the doctor. Each takes a model that runs and returns findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from robustseg.models.faults import Fault
from robustseg.models.findings import Finding
from robustseg.models.heads import semantic
from robustseg.models.prepare import extent
from robustseg.types import DenseOutput, Output, QueryOutput, RegionOutput

__all__ = ["batches", "gradients", "lead", "one_hot", "probabilities", "repeats", "tensors_of"]

Call = Callable[[Tensor], Output]


def tensors_of(output: Output) -> list[Tensor]:
    """The tensors of any kind of output; of regions those that do not depend on which proposals were kept."""
    if isinstance(output, QueryOutput):
        return [output.class_logits, output.mask_logits]
    if isinstance(output, RegionOutput):
        return [output.objectness, output.box_deltas]
    return [output.scores]


def lead(output: Output, size: tuple[int, int]) -> Tensor:
    """By how much the model's first opinion beats its second, in logits: per pixel, region or pixel of a prompt."""
    if isinstance(output, RegionOutput):
        top = output.class_logits.topk(2, -1).values
        return torch.where(output.present, top[..., 0] - top[..., 1], 0)
    if isinstance(output, QueryOutput) and output.class_logits.shape[-1] == 2:  # one mask a prompt
        return output.mask_logits.abs()
    dense = semantic(output, size)
    scores = dense.scores if dense.kind == "logits" else dense.scores.clamp_min(1e-30).log()
    top = scores.topk(2, 1).values
    return top[:, 0] - top[:, 1]


def one_hot(output: Output) -> bool:
    """Whether the scores are a label map in disguise."""
    if not isinstance(output, DenseOutput):
        return False
    s = output.scores
    return bool(((s == 0) | (s == 1)).all() and (s.sum(1) == 1).all())


def probabilities(output: Output) -> Iterator[Finding]:
    """Softmax or sigmoid output that is called logits: a loss would squash it a second time."""
    if not isinstance(output, DenseOutput) or output.kind != "logits":
        return
    s = output.scores.detach()
    low, high = s.min(), s.max()
    if low < 0 or high > 1 or not s.any():
        return
    fix = "take the activation off the network, or say kind='scores'"
    if (s.sum(1) - 1).abs().max() < 1e-3:
        yield Finding(
            "probabilities-as-logits", "error", f"the scores lie in [0,1] and add up to 1 on every pixel; {fix}"
        )
    elif s.shape[1] == 2 and not s[:, 0].any():
        yield Finding("probabilities-as-logits", "error", f"the single channel lies in [{low:.2g},{high:.2g}]; {fix}")
    else:
        yield Finding(
            "probabilities-as-logits",
            "warning",
            f"all scores lie in [{low:.2g},{high:.2g}]; if they are sigmoids, {fix}",
        )


def repeats(call: Call, x: Tensor) -> Iterator[Finding]:
    """The same image twice: equal outputs, and no random number drawn."""
    before = _random_state()
    with torch.no_grad():
        first, second = (tensors_of(call(x)) for _ in range(2))
    gap = max(_gap(a, b) for a, b in zip(first, second))
    if gap > 1e-4:
        yield Finding("random-output", "error", f"two runs on one image differ by {gap:.2g} of the largest score")
    elif any(not torch.equal(a, b) for a, b in zip(before, _random_state())):
        yield Finding("random-output", "warning", "a forward pass draws random numbers, though its output repeats")


def batches(call: Call, x: Tensor) -> Iterator[Finding]:
    """An image alone and beside a darker one: the same output."""
    other = x.flip(-1) / 2
    with torch.no_grad():
        alone = [tensors_of(call(v)) for v in (x, other)]
        together = tensors_of(call(torch.cat([x, other])))
    gap = max(_gap(torch.cat([a, b]), t) for a, b, t in zip(*alone, together))
    if gap > 1e-2:
        yield Finding(
            "batch-dependence",
            "error",
            f"beside another image the scores change by {gap:.2g} of the largest one (BatchNorm in train mode?); "
            "call module.eval()",
        )


def gradients(call: Call, x: Tensor) -> Iterator[Finding]:
    """The gradient of the margin (top score minus runner-up), at the size of the image, and where it saturates."""
    x = x.clone().requires_grad_()
    with torch.enable_grad():
        margin = lead(call(x), extent(x))
        if not margin.requires_grad:
            raise Fault("gradient-missing", "the output has no gradient with respect to the image")
        (g,) = torch.autograd.grad(margin.sum(), x, allow_unused=True)
    if g is None:
        raise Fault("gradient-missing", "the output does not depend on the image through any differentiable path")
    largest = g.abs().max()
    if not g.isfinite().all():
        share = 1 - g.isfinite().float().mean().item()
        yield Finding("gradient-not-finite", "error", f"{share:.0%} of the gradient is NaN or infinite")
    elif largest == 0:
        yield Finding(
            "gradient-zero",
            "error",
            "the gradient is exactly zero on every pixel (rounding, sign or a step in the network?)",
        )
    elif largest < 1e-12:
        yield Finding("gradient-vanishing", "error", f"the largest gradient of the margin is {largest:.1e}")
    else:
        yield from _saturation(margin.detach())


def _saturation(margin: Tensor) -> Iterator[Finding]:
    """Where the top score leads by more than 17, float32 cross-entropy and its gradient are exactly 0."""
    share = (margin > 17).float().mean().item()
    if margin.numel() == 1 and share:  # one label: sure of this image, perhaps of no other
        yield Finding(
            "gradient-vanishing",
            "warning",
            "the top score leads by more than 17: cross-entropy has no gradient there (scaled logits?); attack the "
            "margin too",
        )
        return
    if share > 0.5 and margin.ndim == 3:  # pixels; most regions are background, and surely so
        yield Finding(
            "gradient-vanishing",
            "error" if share > 0.95 else "warning",
            f"on {share:.0%} of the pixels the top score leads by more than 17: cross-entropy has no gradient there "
            "(scaled logits?); trust only attacks on the margin or on normalised scores",
        )


def _gap(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        return float("inf")
    return ((a - b).abs().max() / b.abs().max().clamp_min(1e-12)).item()


def _random_state() -> list[Tensor]:
    states = [torch.get_rng_state()]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    return states
