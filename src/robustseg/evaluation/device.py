"""Where the work runs, how much of it at once, and under which arithmetic."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

from robustseg.errors import UserError

__all__ = ["auto_batch", "choose", "describe", "fp32", "free", "out_of_memory", "repeatable", "synchronise"]

BYTES_PER_PIXEL = (
    6 * 1024
)  # activations of a small segmentation network under gradient, measured on U-Net and SegFormer-B0
LARGEST = 32


def choose(text: str) -> torch.device:
    """``auto`` takes the GPU if there is one. Raises UserError for a device that is not there."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise UserError(f"device {text!r} is not known; use auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {text!r}: this machine (or this build of torch) has no CUDA GPU; use --device cpu")
    return device


def describe(device: torch.device) -> str:
    """The name of the hardware."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({torch.get_num_threads()} threads)"


def auto_batch(device: torch.device, size: tuple[int, int]) -> int:
    """A power of two from the kind of device and the image size alone, so that all shards choose the same."""
    pixels = max(1, size[0] * size[1])
    if device.type == "cuda":
        wanted = 0.5 * torch.cuda.get_device_properties(device).total_memory / (pixels * BYTES_PER_PIXEL)
    else:
        wanted = 2**19 / pixels  # a CPU gains nothing from more
    batch = 1
    while batch * 2 <= min(wanted, LARGEST):
        batch *= 2
    return batch


def out_of_memory(problem: BaseException) -> bool:
    """True where an exception means that the batch was too large for the machine."""
    if isinstance(problem, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(problem).lower()
    return isinstance(problem, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def free() -> None:
    """Gives back what a failed batch had taken."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def synchronise(device: torch.device) -> None:
    """Waits for the device, so that seconds are those of the work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Deterministic kernels on a GPU (its upsampling is none otherwise); restores the settings.

    Nothing to do on a CPU, and asking torch for it there would import its compiler, seconds for nothing.
    """
    if device.type == "cpu":
        yield
        return
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)
    mode = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if torch.cuda.is_available() and not torch.cuda.is_initialized():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        torch.use_deterministic_algorithms(True, warn_only=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic.*")
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        torch.use_deterministic_algorithms(mode[0], warn_only=mode[1])


@contextmanager
def fp32() -> Iterator[None]:
    """Full float32: no TF32 and no autocast, for everything that is scored; restores the settings."""
    matmul, cudnn = torch.backends.cuda.matmul, cast(Any, torch.backends.cudnn)
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = False
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
