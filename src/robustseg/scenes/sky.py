"""Time of day and weather: a sky panorama, a sun, haze."""

from __future__ import annotations

import numpy as np

from robustseg.scenes.scene import Sky
from robustseg.scenes.textures import clouds

HEIGHT = 256
WEATHER = ("clear", "cloudy", "overcast", "haze", "wet")


def directions(height: int = HEIGHT) -> np.ndarray:
    """Unit vectors (h,2h,3) that the panorama's pixels look along."""
    theta = (np.arange(height) + 0.5) * np.pi / height
    phi = (np.arange(2 * height) + 0.5) * np.pi / height
    s = np.sin(theta)[:, None]
    return np.stack([s * np.sin(phi), s * np.cos(phi), np.repeat(np.cos(theta)[:, None], 2 * height, 1)], -1)


def draw_sky(rng: np.random.Generator, weather: str, sun: tuple[float, float] | None = None) -> tuple[Sky, dict]:
    """A sky for the weather; the sun stands 10 to 65 degrees high, anywhere around. Returns it with its facts.

    `sun` gives its elevation and its azimuth (from ahead, +x, to the left) in degrees instead.
    """
    elevation = np.radians(rng.uniform(10, 65))
    azimuth = rng.uniform(0, 2 * np.pi)
    if sun is not None:
        elevation, azimuth = np.radians(sun)
    towards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    low = np.exp(-np.degrees(elevation) / 14)  # 0.5 at 10 degrees, 0 at noon
    d = directions()
    up = np.clip(d[..., 2], 0, 1)[..., None]
    near = np.clip(d @ towards, 0, 1)[..., None]
    zenith = np.array([0.21, 0.38, 0.74]) * (1 - 0.35 * low)
    horizon = np.array([0.78, 0.87, 0.98]) * (1 - low) + np.array([0.98, 0.80, 0.62]) * low
    blue = zenith + (horizon - zenith) * (1 - up) ** 3.5
    blue = blue + near**8 * 0.35 * np.array([1.0, 0.85, 0.6]) + near**90 * 2.0 * np.array([1.0, 0.92, 0.75])
    cover = {"clear": rng.uniform(0, 0.3), "cloudy": rng.uniform(0.4, 0.75), "overcast": 1.0, "haze": 0.8, "wet": 0.9}[
        weather
    ]
    veil = _cloud_layer(d, rng, cover)
    grey = np.array([0.83, 0.85, 0.88]) * (0.8 + 0.35 * up)
    white = grey * (1.15 - 0.45 * veil) + near**4 * 0.5 * np.array([1.0, 0.93, 0.82])
    panorama = blue * (1 - veil) + white * veil
    if cover > 0.77:  # a closed deck shows only faint structure
        panorama = 0.3 * panorama + 0.7 * grey * (0.92 + 0.16 * veil)
    ground = np.array([0.28, 0.27, 0.25])
    panorama = np.where(d[..., 2:] < -0.02, ground, panorama)
    warm = np.array([1.0, 0.95, 0.87]) * (1 - low) + np.array([1.0, 0.72, 0.42]) * low
    strength = {"clear": 6.0, "cloudy": 5.0, "overcast": 0.0, "haze": 1.3, "wet": 0.4}[weather] * (1 - 0.4 * low)
    haze = {"clear": 0.0008, "cloudy": 0.0012, "overcast": 0.003, "haze": rng.uniform(0.009, 0.02), "wet": 0.005}[
        weather
    ]
    rim = panorama[HEIGHT // 2 - 6 : HEIGHT // 2 - 1].mean((0, 1))
    sky = Sky(
        panorama.astype(np.float32),
        tuple(towards.tolist()),
        tuple((strength * warm).tolist()),
        float(haze),
        tuple(rim.tolist()),
    )
    facts = {
        "weather": weather,
        "sun_elevation": round(float(np.degrees(elevation)), 1),
        "sun_azimuth": round(float(np.degrees(azimuth)), 1),
    }
    return sky, facts


def _cloud_layer(d, rng, cover: float) -> np.ndarray:
    """Opacity (h,2h,1) of a flat cloud layer that covers about this share of the sky."""
    field = clouds(int(900 + rng.integers(6)), 1024, 1.55)
    up = np.maximum(d[..., 2], 0.02)
    shift = rng.uniform(0, 1024, 2)
    scale = rng.uniform(70, 150)
    x = d[..., 0] / (up + 0.12) * scale + shift[0]
    y = d[..., 1] / (up + 0.12) * scale + shift[1]
    n = _bilinear(field, x, y)
    threshold = np.quantile(field, 1 - min(cover, 0.98))
    return np.clip((n - threshold) / 0.9, 0, 1)[..., None] ** 0.7


def _bilinear(image, x, y):
    n = len(image)
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    fy, fx = y - i, x - j
    at = lambda a, b: image[a % n, b % n]  # noqa: E731
    return (at(i, j) * (1 - fx) + at(i, j + 1) * fx) * (1 - fy) + (at(i + 1, j) * (1 - fx) + at(i + 1, j + 1) * fx) * fy
