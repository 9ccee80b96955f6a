"""Filter, haze, exposure and sky: what they keep and what they change."""

import numpy as np
import pytest

from robustseg.scenes.denoise import calm, denoise
from robustseg.scenes.scene import Sky
from robustseg.scenes.sky import WEATHER, directions, draw_sky
from robustseg.scenes.tone import expose, hazed


def guides(h=32, w=32):
    normal = np.zeros((h, w, 3), np.float32)
    normal[..., 2] = 1
    return np.full((h, w, 3), 0.4, np.float32), normal, np.full((h, w), 8.0, np.float32), np.zeros((h, w), np.float32)


def test_the_filter_removes_noise_but_no_light():
    albedo, normal, z, lit = guides()
    truth = np.full((32, 32, 3), 0.3, np.float32)
    noisy = truth * np.random.default_rng(0).gamma(16, 1 / 16, truth.shape).astype(np.float32)
    out = denoise(noisy, albedo, normal, z, lit)
    assert out.std() < 0.25 * noisy.std()
    assert out.mean() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("guide", ["albedo", "normal", "depth", "sun"])
def test_the_filter_keeps_an_edge_that_a_guide_shows(guide):
    albedo, normal, z, lit = guides()
    light = np.full((32, 32, 3), 0.1, np.float32)
    light[:, 16:] = 1.0
    blurred = denoise(light, albedo, normal, z, lit)
    if guide == "albedo":
        albedo[:, 16:] = 0.8
    elif guide == "normal":
        normal[:, 16:] = (1, 0, 0)
    elif guide == "depth":
        z[:, 16:] = 30
    else:
        lit[:, 16:] = 1
    kept = denoise(light, albedo, normal, z, lit)
    assert np.abs(blurred - light).max() > 0.15
    assert np.abs(kept - light).max() < 0.05


def test_single_bright_pixels_are_dimmed_and_nothing_else():
    light = np.full((9, 9, 3), 0.5, np.float32)
    light[4, 4] = 100
    out = calm(light)
    assert out[4, 4].max() < 2
    light[4, 4] = 0.5
    assert np.allclose(calm(light), light)


def test_haze_follows_beer_lambert_and_leaves_the_sky():
    sky = Sky(np.zeros((2, 4, 3)), (0, 0, 1), (1, 1, 1), 0.02, (0.5, 0.6, 0.7))
    z = np.array([[0.0, 50.0, np.inf]], np.float32)
    out = hazed(np.full((1, 3, 3), 0.2), z, sky)
    t = np.exp(-1.0)
    assert np.allclose(out[0, 0], 0.2)
    assert np.allclose(out[0, 1], 0.2 * t + np.array([0.5, 0.6, 0.7]) * (1 - t))
    assert np.allclose(out[0, 2], 0.2)


def test_exposure_is_monotone_and_does_not_depend_on_the_unit_of_light():
    ramp = np.linspace(0.05, 4, 64)[None, :, None].repeat(3, 2)
    z = np.ones((1, 64))
    out = expose(ramp, z)
    assert (np.diff(out[0, :, 0].astype(int)) >= 0).all()
    assert out.min() < 40 < 170 < out.max()
    assert np.abs(out.astype(int) - expose(ramp * 50, z)).max() <= 12  # but for the floor inside the logarithm


def test_the_panorama_is_brightest_towards_the_sun():
    d = directions()
    for seed in range(4):
        sky, facts = draw_sky(np.random.default_rng(seed), "clear")
        y, x = np.unravel_index(sky.panorama.sum(-1).argmax(), d.shape[:2])
        assert d[y, x] @ sky.sun_direction > 0.97
        assert np.degrees(np.arcsin(sky.sun_direction[2])) == pytest.approx(facts["sun_elevation"], abs=0.06)


@pytest.mark.parametrize("weather", WEATHER)
def test_every_weather_gives_a_finite_sky(weather):
    sky, facts = draw_sky(np.random.default_rng(1), weather)
    assert np.isfinite(sky.panorama).all()
    assert sky.panorama.min() >= 0
    assert facts["weather"] == weather
