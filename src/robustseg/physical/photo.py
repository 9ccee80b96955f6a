"""What a printer makes of a texture and a camera of light: formulas with round numbers, measured on no device.

Print: a reflectance between black ink and white paper, its colours drawn towards grey, as inks of a gamut smaller than
the screen's do. Camera: the lens's blur, then Poissonian-Gaussian noise of the sensor, variance ``shot · x + read²`` in
light x that 1 saturates (Foi et al., IEEE TIP 17(10), 2008, eq. 1, with the Poisson part as a Gaussian), before the
tone curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.ops import tone
from robustseg.ops.blur import gaussian

__all__ = ["Camera", "Gamut"]

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear sRGB (IEC 61966-2-1)


@dataclass(frozen=True)
class Gamut:
    """``black`` and ``white``: reflectance of full ink and of paper, of 1 = what the screen calls white;
    ``saturation``: the share that is left of a colour's distance from the grey of its luminance."""

    black: float = 0.04
    white: float = 0.9
    saturation: float = 0.8

    def printed(self, texture: Tensor) -> Tensor:
        """The print of a texture ``(...,3,h,w)``, both sRGB in [0,1].

        >>> Gamut(0.0, 1.0, 1.0).printed(torch.full((3, 1, 1), 0.5)).flatten().round(decimals=4).tolist()
        [0.5, 0.5, 0.5]
        >>> red = Gamut(0.0, 1.0, 0.0).printed(torch.tensor([1.0, 0, 0]).view(3, 1, 1))
        >>> [round(v, 4) for v in tone.to_linear(red).flatten().tolist()]
        [0.2126, 0.2126, 0.2126]
        """
        light = tone.to_linear(texture)
        grey = (light * light.new_tensor(LUMINANCE).view(3, 1, 1)).sum(-3, keepdim=True)
        duller = grey + self.saturation * (light - grey)
        return tone.to_srgb(self.black + (self.white - self.black) * duller)


@dataclass(frozen=True)
class Camera:
    """``shot``: variance of the noise a unit of light (1 / electrons at saturation); ``read``: its standard deviation
    in the dark; ``blur``: sigma of the lens in pixels; ``turn``: degrees by which a hand turns, standard deviation
    about each axis; ``jpeg``: quality of the file."""

    shot: float = 1 / 2000
    read: float = 0.004
    blur: float = 0.5
    turn: float = 0.15
    jpeg: int = 90

    def exposed(self, light: Tensor, g: torch.Generator) -> Tensor:
        """What the sensor reads of exposed linear light ``(1,3,H,W)``: blurred, with noise, never below 0.

        >>> grey = torch.full((1, 3, 200, 200), 0.5)
        >>> seen = Camera(shot=0.02, read=0.0, blur=0.0).exposed(grey, torch.Generator().manual_seed(0))
        >>> abs(float(seen.var()) - 0.02 * 0.5) < 3e-4
        True
        """
        sharp = light.new_tensor([self.blur])
        seen = gaussian(light, sharp, self.blur) if self.blur else light
        deviation = (self.shot * seen.clamp_min(0) + self.read**2).sqrt()
        return (seen + deviation * torch.randn(seen.shape, generator=g).to(seen)).clamp_min(0)

    def turned(self, K: Tensor, g: torch.Generator) -> Tensor:
        """The move of pixels ``(3,3)`` as the camera of ``K (3,3)`` turns a little: ``K R K⁻¹``, at any depth."""
        x, y, z = (torch.deg2rad(self.turn * torch.randn(3, generator=g, dtype=torch.float64))).tolist()
        skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
        return K.double() @ torch.linalg.matrix_exp(skew) @ torch.linalg.inv(K.double())
