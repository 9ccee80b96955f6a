"""What a camera saw: the contract between every simulator and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One picture with its exact ground truth, all taken at pixel centres.

    rgb (h,w,3) uint8 sRGB; linear (h,w,3) float32 radiance before exposure; label (h,w) uint8 Cityscapes train id,
    255 void; instance (h,w) int32, 0 = stuff; parts (h,w) uint8: 1 clothing, 2 skin and hair, 0 elsewhere;
    depth_z (h,w) float32 metres along the viewing axis, inf = sky; K (3,3), T_cw (4,4) OpenCV convention.
    """

    rgb: np.ndarray
    linear: np.ndarray
    label: np.ndarray
    instance: np.ndarray
    parts: np.ndarray
    depth_z: np.ndarray
    K: np.ndarray
    T_cw: np.ndarray
