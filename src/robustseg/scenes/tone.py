"""From radiance to the picture: haze, exposure, tone curve."""

from __future__ import annotations

import numpy as np

from robustseg.scenes.scene import Sky


def to_linear(srgb) -> np.ndarray:
    """sRGB in [0,1] -> linear light (IEC 61966-2-1), float32."""
    x = np.asarray(srgb, np.float32)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear) -> np.ndarray:
    """Linear light -> sRGB in [0,1].

    >>> bool(np.allclose(to_linear(to_srgb([0.0, 0.001, 0.5, 1.0])), [0.0, 0.001, 0.5, 1.0], atol=1e-6))
    True
    """
    x = np.clip(np.asarray(linear, np.float32), 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-8) ** (1 / 2.4) - 0.055)


def hazed(linear: np.ndarray, depth_z: np.ndarray, sky: Sky) -> np.ndarray:
    """Single-scattering haze: radiance fades as exp(-haze * z) towards the airlight; the sky is left alone."""
    t = np.exp(-sky.haze * np.where(np.isfinite(depth_z), depth_z, 0.0))[..., None]
    return linear * t + np.asarray(sky.airlight) * (1 - t)


def metered(linear: np.ndarray, counts: np.ndarray, key: float = 1.0) -> float:
    """The factor that brings the log-average luminance of the counted pixels (h,w) bool to 0.135 times `key`.

    All pixels count where none is marked.
    """
    seen = linear[counts] if counts.any() else linear.reshape(-1, 3)
    luminance = seen @ np.array([0.2126, 0.7152, 0.0722])
    level = np.exp(np.mean(np.log(luminance + 0.02)))
    return float(0.135 * key / level)


def display(exposed: np.ndarray) -> np.ndarray:
    """Exposed linear light -> sRGB in [0,1], pixel by pixel; `ops.tone.display` is the same in torch.

    The curve is Narkowicz's fit of ACES, x(2.51x+0.03)/(x(2.43x+0.59)+0.14) (2015).
    """
    x = np.maximum(exposed, 0)
    return to_srgb(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14))


def to_bytes(srgb: np.ndarray) -> np.ndarray:
    """[0,1] -> the nearest of 256 steps, uint8."""
    return (srgb * 255 + 0.5).astype(np.uint8)


def expose(linear: np.ndarray, depth_z: np.ndarray, key: float = 1.0) -> np.ndarray:
    """Bytes (h,w,3) after automatic exposure on everything but the sky and a filmic curve."""
    return to_bytes(display(linear * metered(linear, np.isfinite(depth_z), key)))
