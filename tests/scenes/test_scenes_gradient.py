"""The derivative of the warp against the renderer's own: what an attack follows is what the renderer would say."""

import numpy as np
import pytest
import torch

from robustseg.physical.cast import cast, seen
from robustseg.physical.placement import plane
from robustseg.scenes import mitsuba as backend
from robustseg.scenes.billboard import _print, rectangle
from robustseg.scenes.board import Board
from robustseg.scenes.camera import Camera
from robustseg.scenes.scene import VOID, Material, Scene
from robustseg.scenes.sky import draw_sky

SIZE, TEXTURE, SPP = (20, 32), (5, 8), 64


@pytest.mark.slow
def test_the_gradient_of_the_warp_is_the_renderers(mitsuba):
    """One oblique board under a sky: d(weighted light)/d(texel), by automatic differentiation through the path tracer
    and through ``gain * warp``, where gain is what a white board shows."""
    if not mitsuba.variant().startswith("llvm_ad"):
        pytest.skip("the renderer has no derivatives here: no LLVM that works with it")
    import drjit as dr

    board = Board("wall", rectangle((6.0, 0.4, 1.6), np.pi - 0.5, 4.0, 2.5), 1, VOID)
    camera = Camera(SIZE[1], SIZE[0], 60.0, (0.0, 0.0, 1.5), yaw=0.05, pitch=0.03, roll=0.04)
    sky, _ = draw_sky(np.random.default_rng(0), "overcast", None)
    material = {"board": Material("print", np.full((*TEXTURE, 3), 128, np.uint8))}
    built, _ = backend.build(mitsuba, Scene((_print(board),), material, camera, sky, 1.0, {}))
    params = mitsuba.traverse(built)
    (key,) = (k for k in params.keys() if k.endswith("reflectance.data"))  # noqa: SIM118
    eye = mitsuba.load_dict(backend.sensor(mitsuba, camera, backend.SAMPLER))
    path = mitsuba.load_dict({"type": "path", "max_depth": 2, "hide_emitters": True})
    weight = np.random.default_rng(1).random((*SIZE, 3), np.float32)

    def light(albedo: np.ndarray, differentiate: bool = False):
        params[key] = mitsuba.TensorXf(albedo)
        if differentiate:
            dr.enable_grad(params[key])
        params.update()
        return mitsuba.render(built, params if differentiate else None, sensor=eye, integrator=path, spp=SPP, seed=3)

    flat = np.full((*TEXTURE, 3), 0.5, np.float32)
    gain = np.array(light(np.ones_like(flat)))[..., :3] - np.array(light(0 * flat))[..., :3]
    dr.backward(dr.sum(light(flat, True)[:, :, :3] * mitsuba.TensorXf(weight), axis=None))
    real = np.array(dr.grad(params[key]))

    H = plane(torch.from_numpy(camera.K), torch.from_numpy(camera.T_cw), torch.from_numpy(board.corners), TEXTURE)
    at = cast(H, TEXTURE, SIZE, taps=8)
    top, bottom, left, right = at.window
    bright = torch.from_numpy(np.ascontiguousarray((gain * weight)[top:bottom, left:right].transpose(2, 0, 1)))[None]
    texture = torch.full((1, 3, *TEXTURE), 0.5, requires_grad=True)
    (ours,) = torch.autograd.grad((bright * seen(texture, at)).sum(), texture)
    guess = ours[0].permute(1, 2, 0).numpy()

    assert (real > 0).all()
    assert guess.sum() == pytest.approx(real.sum(), rel=0.01)
    assert np.abs(guess - real).max() < 0.06 * real.max()
    mirrored = [np.abs(other - real).max() for other in (guess[::-1], guess[:, ::-1], np.roll(guess, 1, 1))]
    assert min(mirrored) > 4 * np.abs(guess - real).max()
