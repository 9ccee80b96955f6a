"""A texture under the light of a place: calibrated once a pose, then a pointwise function of the texture.

Two renders of a pose, with a black and with a white board, say what light comes from each of its pixels whatever hangs
there (``dark``) and how much a white one adds (``gain``). For a board that scatters light evenly any other texture is
then ``dark + gain · warp(albedo)``, but for light that goes from it to its surroundings and back. Averages are taken in
linear light, and the tone curve is part of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustseg.ops import tone
from robustseg.physical.cast import Cast, seen

__all__ = ["Lit"]


@dataclass(frozen=True)
class Lit:
    """A picture with a board in it: ``picture (1,3,H,W)`` sRGB in [0,1] as it is outside the board.

    ``dark, gain (1,3,H,W)`` exposed linear light; ``visible (H,W)`` bool, the pixels that show some of the board;
    ``at``: where the texture falls.
    """

    picture: Tensor
    dark: Tensor
    gain: Tensor
    visible: Tensor
    at: Cast

    def show(self, texture: Tensor) -> Tensor:
        """The picture with the texture ``(1,3,h,w)``, sRGB in [0,1], on the board; differentiable in it."""
        if self.at.empty:
            return self.picture + texture[..., :0, :0].sum()  # exactly 0, and so is its gradient
        top, bottom, left, right = self.at.window
        part = (..., slice(top, bottom), slice(left, right))
        light = self.dark[part] + self.gain[part] * seen(tone.to_linear(texture), self.at)
        there = self.visible[top:bottom, left:right] & (self.at.cover > 0)
        made = torch.where(there, tone.display(light), self.picture[part])
        rows = torch.cat([self.picture[..., top:bottom, :left], made, self.picture[..., top:bottom, right:]], -1)
        return torch.cat([self.picture[..., :top, :], rows, self.picture[..., bottom:, :]], -2)
