"""Tileable surface patterns, made once per process; every function returns floats around 1 or sRGB bytes."""

from __future__ import annotations

from functools import cache

import numpy as np

SIZE = 512


@cache
def clouds(seed: int, size: int = SIZE, roughness: float = 1.7) -> np.ndarray:
    """Periodic 1/f^roughness noise (size,size), mean 0, standard deviation 1."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    f[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) * f**-roughness
    spectrum[0, 0] = 0
    out = np.fft.irfft2(spectrum, (size, size))
    return (out / out.std()).astype(np.float32)


@cache
def asphalt() -> np.ndarray:
    """Grain with worn spots, (SIZE,SIZE)."""
    grain = np.random.default_rng(1).normal(size=(SIZE, SIZE))
    cracks = np.exp(-((clouds(2, roughness=1.5) / 0.03) ** 2))
    return 1 + 0.07 * grain + 0.06 * clouds(3, roughness=1.3) - 0.16 * cracks * (clouds(4) > 0.4)


@cache
def slabs(rows: int, columns: int, shift: float = 0.0, seed: int = 5, joint: float = 0.62) -> np.ndarray:
    """Laid stones or bricks with joints, each with its own tone, (SIZE,SIZE)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    row = (y * rows).astype(int)
    along = (x * columns + shift * (row % 2)) % columns
    tone = np.random.default_rng(seed).normal(1, 0.09, (rows, columns))[row, along.astype(int)]
    width = 0.012 * 512 / SIZE
    edge = (y * rows % 1 < width * rows) | (along % 1 < width * columns)
    return np.where(edge, joint, tone) * (1 + 0.05 * clouds(seed + 1, roughness=1.2))


@cache
def plaster() -> np.ndarray:
    """Rough render with stains running down, (SIZE,SIZE)."""
    stain = np.fft.irfft2(np.fft.rfft2(clouds(11)) * np.exp(-((np.fft.fftfreq(SIZE)[:, None] * 90) ** 2)), (SIZE, SIZE))
    return 1 + 0.05 * clouds(12, roughness=1.0) + 0.04 * clouds(13) + 0.05 * stain


@cache
def boards(count: int = 16, seed: int = 21) -> np.ndarray:
    """Upright boards with dark gaps and grain, (SIZE,SIZE)."""
    x = np.arange(SIZE) / SIZE * count
    tone = np.random.default_rng(seed).normal(1, 0.12, count)[x.astype(int)]
    gap = np.where(x % 1 < 0.11, 0.35, 1.0)
    grain = np.fft.irfft2(
        np.fft.rfft2(clouds(22, roughness=0.8)) * np.exp(-((np.fft.fftfreq(SIZE)[:, None] * 60) ** 2)), (SIZE, SIZE)
    )
    return (tone * gap)[None] * (1 + 0.12 * grain)


@cache
def ribs(count: int = 24) -> np.ndarray:
    """Corrugated sheet, (SIZE,SIZE)."""
    x = np.arange(SIZE) / SIZE * count * 2 * np.pi
    return (0.82 + 0.25 * np.sin(x))[None] * (1 + 0.05 * clouds(31))


@cache
def grass() -> np.ndarray:
    """Lawn in sRGB floats (SIZE,SIZE,3)."""
    blade = np.random.default_rng(41).normal(size=(SIZE, SIZE))
    tone = 1 + 0.16 * blade + 0.13 * clouds(42, roughness=1.2)
    dry = np.clip(0.5 + 0.5 * clouds(43), 0, 1)[..., None]
    return tone[..., None] * (dry * np.array([0.46, 0.50, 0.24]) + (1 - dry) * np.array([0.30, 0.44, 0.17]))


def tinted(pattern: np.ndarray, color) -> np.ndarray:
    """A pattern in a colour: sRGB bytes (SIZE,SIZE,3)."""
    p = pattern[..., None] if pattern.ndim == 2 else pattern
    return (np.clip(p * np.asarray(color), 0, 1) * 255 + 0.5).astype(np.uint8)
