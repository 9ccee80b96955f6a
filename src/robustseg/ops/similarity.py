"""How alike two pictures look: SSIM and MS-SSIM of every image, differentiable, from torchmetrics.

Pixels in [0,1]; 11×11 Gaussian window of sigma 1.5, the constants of the papers. Wang et al., IEEE TIP 2004 (SSIM);
Wang, Simoncelli, Bovik, Asilomar 2003 (MS-SSIM). torchmetrics is imported when first used: it takes a second.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["ms_ssim", "ssim"]

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """MS-SSIM ``(B,)`` of images ``(B,C,H,W)``; equal images have 1.

    Convention: five scales, in small pictures as many as the window fits into, the weights scaled to sum 1.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as measure

    side = min(first.shape[-2:])
    number = max((n for n in range(1, 6) if side // max(1, n - 1) ** 2 >= WINDOW and side >= 2**n), default=0)
    if not number:
        return ssim(first, second)
    weights = [w / sum(SCALES[:number]) for w in SCALES[:number]]
    found = measure(first, second, data_range=1.0, betas=tuple(weights), reduction="none")
    return found.view(len(first))


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """SSIM ``(B,)`` of images ``(B,C,H,W)``; pictures smaller than the window are continued by their borders.

    >>> import torch; x = torch.rand(1, 3, 16, 16)
    >>> bool(ssim(x, x) > 0.9999), bool(ssim(x, 1 - x) < 0)
    (True, True)
    """
    from torchmetrics.functional.image import structural_similarity_index_measure as measure

    H, W = first.shape[-2:]
    short = (0, max(WINDOW - W, 0), 0, max(WINDOW - H, 0))
    if any(short):
        first, second = (F.pad(x, short, mode="replicate") for x in (first, second))
    found = measure(first, second, data_range=1.0, reduction="none")
    assert isinstance(found, Tensor)
    return found.view(len(first))
