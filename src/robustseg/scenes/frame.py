"""What a camera saw: the contract between every simulator and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustseg.scenes.board import Board


@dataclass(frozen=True)
class Frame:
    """One picture with its exact ground truth at pixel centres; pixel i spans [i, i+1), its centre is i + 0.5.

    rgb (h,w,3) uint8 sRGB; linear (h,w,3) float32 radiance before exposure; label (h,w) uint8 Cityscapes train id,
    255 void; instance (h,w) int32, 0 = stuff; parts (h,w) uint8: 1 clothing, 2 skin and hair, 0 elsewhere;
    depth_z (h,w) float32 metres along the viewing axis, inf = sky; K (3,3) to pixel-edge coordinates, T_cw (4,4)
    world (metres) to camera, OpenCV axes (x right, y down, z forward).

    With a billboard in the scene: ``board``, whose corners are world points and whose pixels are void; ``exposed
    (h,w,3)`` float32, the light that the tone curve gets (haze and exposure in it), so that ``rgb`` is
    ``tone.display(exposed)`` in bytes; ``dark`` and ``gain (h,w,3)`` in the same unit: a texture of linear albedo a
    would be seen as ``dark + gain * warp(a)`` on the pixels of ``board_mask`` (Frame.exposed is that of the texture
    that was rendered). Edge pixels are mixed in both: the warp is the mean over the part of the pixel that is board.
    """

    rgb: np.ndarray
    linear: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    parts: np.ndarray
    depth_z: np.ndarray
    K: np.ndarray
    T_cw: np.ndarray
    board: Board | None = None
    exposed: np.ndarray | None = None
    dark: np.ndarray | None = None
    gain: np.ndarray | None = None

    @property
    def board_mask(self) -> np.ndarray:
        """The board's visible pixels (h,w) bool, after occlusion; all False without a board."""
        return self.instance == (self.board.instance if self.board else -1)
