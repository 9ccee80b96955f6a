"""Z-Mask: where the layers of a network are active as they never are on clean images, the image is hidden.

Of a layer, ``z = (a - mean) / (std + 1e-5)`` channel by channel, with statistics of clean images; of a window, ``h =
mean over channels |mean over the window of z|``; windows from large to small refine each other, ``H = h_1``, then ``H =
H / (1 + max H) · h``. ``S`` and ``D`` are the maxima of H over shallow and deep layers. Four scalar 1x1 convolutions
make the mask, ``sigmoid(head(tanh(b(S · sigmoid(a2(tanh(a1(D))))))))``, and what lies above the threshold is hidden.
``Σ D·S·mask / (1 + Σ mask)`` is the score by which an image is suspect. Two forwards of the network an image.

Source: Rossolini, Nesti, Brau, Biondi & Buttazzo, Defending From Physically-Realizable Adversarial Attacks Through
Internal Over-Activation Analysis, AAAI 2023, arXiv 2203.07341, and the code of its demo. Reconstructed, and other than
there: layers are the feature maps of the encoder, of which the finer half are the shallow ones; windows are the same
shares of the image; a window at the border is the part of it that is inside (the demo stretches the map, which moves
it); hidden pixels take the mean colour of the calibration images, which is what 0 means behind a normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.defenses.inputs import replaced
from robustseg.errors import UserError
from robustseg.ops.size import at_label_size
from robustseg.ops.style import Features
from robustseg.types import Model

__all__ = ["KIND", "THRESHOLD", "ZMask", "block", "fits", "maps_of", "shallow"]

KIND = "zmask"
THRESHOLD = 0.5
ROWS = 32  # of the grid on which layers are compared; the demo has 150 for images of 1024
TINY = 1e-5
SHALLOW = (0.43, 0.215, 0.107, 0.054)  # sides of windows as shares: (64,128), … (8,16) of 150x300 in the demo
DEEP = SHALLOW[:2]


@dataclass(frozen=True)
class ZMask:
    """What calibration found: ``means, stds`` of every map ``(C,)``, from fine to coarse; the four convolutions,
    ``weights (4,2)``, a factor and a shift each; the ``colour (C,)`` of what is hidden; whose they are.
    """

    means: tuple[Tensor, ...]
    stds: tuple[Tensor, ...]
    weights: Tensor
    colour: Tensor
    digest: str = ""

    @staticmethod
    def of(artefact: Artefact, model: Model) -> ZMask:
        """From what was saved. Raises UserError for another kind of file, or the calibration of another model."""
        t = artefact.tensors
        if artefact.kind != KIND or not {"model", "weights", "colour"} <= set(t):
            raise UserError(f"defense: this file holds {artefact.kind!r}, no calibration of zmask")
        if bytes(t["model"].tolist()).decode(errors="replace") != model.spec.digest:
            raise UserError(
                f"defense: zmask was calibrated for another model than {model.spec.ref}; calibrate it again"
            )
        number = sum(name.startswith("mean") for name in t)
        means, stds = (tuple(t[f"{what}{i}"] for i in range(number)) for what in ("mean", "std"))
        return ZMask(means, stds, t["weights"], t["colour"], artefact.digest)

    def tensors(self, model: Model) -> dict[str, Tensor]:
        """What is saved."""
        layers = {f"{n}{i}": v for n, vs in (("mean", self.means), ("std", self.stds)) for i, v in enumerate(vs)}
        who = torch.tensor(list(model.spec.digest.encode()), dtype=torch.uint8)
        return {**layers, "weights": self.weights, "colour": self.colour, "model": who}

    def heat(self, maps: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """``S`` and ``D (B,1,h,w)`` of the maps of images of ``size``, on the common grid."""
        grid = (ROWS, max(round(ROWS * size[1] / size[0]), 1))
        first = shallow(len(maps))
        layers = [
            _refined(_z(a, m.to(a), s.to(a)), SHALLOW if i < first else DEEP, grid)
            for i, (a, m, s) in enumerate(zip(maps, self.means, self.stds, strict=True))
        ]
        return torch.stack(layers[:first]).amax(0), torch.stack(layers[first:]).amax(0)

    def seen(self, maps: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The mask ``(B,1,H,W)`` in [0,1] at image size, and the score ``(B,)``."""
        S, D = self.heat(maps, size)
        mask = block(S, D, self.weights.to(S))
        score = (D * S * mask).flatten(1).sum(1) / (1 + mask.flatten(1).sum(1))
        return at_label_size(mask, size), score

    def hidden(
        self, model: Model, images: Tensor, threshold: float, bpda: bool, past: bool = False
    ) -> tuple[Tensor, Tensor]:
        """``images (B,C,H,W)`` with what is suspect hidden, and the score ``(B,)``, both with gradient.

        ``bpda``: the gradient of the pixels is that of the soft mask, ``x (1 - mask) + colour · mask``; else that of
        the pixels which are left, as if the mask were given. ``past``: where a gradient is wanted nothing is hidden.
        """
        mask, score = self.seen(maps_of(model, images), (int(images.shape[-2]), int(images.shape[-1])))
        colour = self.colour.to(images).view(1, -1, 1, 1)
        followed = torch.is_grad_enabled() and images.requires_grad
        if past and followed:
            return images, score
        exact = torch.where(mask.detach() > threshold, colour, images)
        if bpda and followed:
            return replaced(exact.detach(), images * (1 - mask) + colour * mask), score
        return exact, score


def shallow(number: int) -> int:
    """How many of so many maps, from fine to coarse, are shallow; the others are deep.

    >>> shallow(5), shallow(4), shallow(2)
    (3, 2, 1)
    """
    return (number + 1) // 2


def block(S: Tensor, D: Tensor, weights: Tensor) -> Tensor:
    """The mask in [0,1], element by element; ``weights (4,2)``: a1, a2, b, head.

    >>> one = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    >>> float(block(torch.ones(1), torch.ones(1), one))
    0.5
    """
    (a1, c1), (a2, c2), (b, c3), (head, c4) = weights.unbind(0)
    gate = torch.sigmoid(a2 * torch.tanh(a1 * D + c1) + c2)
    return torch.sigmoid(head * torch.tanh(b * S * gate + c3) + c4)


def fits(model: Model, image: Tensor) -> None:
    """Raises UserError for a model that gives no feature maps of ``image (1,C,H,W)``."""
    try:
        with torch.no_grad():
            found = model(image, want=frozenset({"features"})).extras.get("features")
    except UserError:
        found = None
    if not isinstance(found, Features):
        raise UserError(
            f"defense: zmask looks at the feature maps of the encoder, and {model.spec.ref} gives none; use demask, a "
            "model of zoo:, smp: or hf:, or let the module return them (docs/patch-defences.md)"
        )


def maps_of(model: Model, images: Tensor) -> tuple[Tensor, ...]:
    """Feature maps ``(B,C,h,w)``, from fine to coarse."""
    return model(images, want=frozenset({"features"})).extras["features"].maps


def _z(activation: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (activation - mean.view(1, -1, 1, 1)) / (std.view(1, -1, 1, 1) + TINY)


def _refined(z: Tensor, shares: Sequence[float], grid: tuple[int, int]) -> Tensor:
    """``H (B,1,h,w)`` on the grid of one layer ``z (B,C,·,·)``, windows from large to small."""
    found: Tensor | None = None
    for share in shares:
        h = _windows(z, share, grid).abs().mean(1, keepdim=True)
        found = h if found is None else found / (1 + found.flatten(1).amax(1).view(-1, 1, 1, 1)) * h
    assert found is not None
    return found


def _windows(z: Tensor, share: float, grid: tuple[int, int]) -> Tensor:
    """``z`` resized to the grid, and there the mean over a window around every place: a small matrix on either side."""
    rows, columns = (_means(int(n), g, share).to(z) for n, g in zip(z.shape[-2:], grid, strict=True))
    return rows @ z @ columns.T


@lru_cache(maxsize=256)
def _means(length: int, grid: int, share: float) -> Tensor:
    """``(grid, length)``: bilinear resizing, then the mean of an odd window, of what of it is inside.

    >>> _means(3, 3, 1.0).tolist()[0], _means(2, 2, 0.1).tolist()
    ([0.5, 0.5, 0.0], [[1.0, 0.0], [0.0, 1.0]])
    """
    with torch.inference_mode(False), torch.no_grad():  # kept for later calls, which may want a gradient
        resize = F.interpolate(torch.eye(length)[None], grid, mode="linear", align_corners=False)[0].T
        around = 2 * int(share * grid / 2) + 1
        at = torch.arange(grid)
        window = ((at[:, None] - at[None]).abs() <= around // 2).float()
        return window / window.sum(1, keepdim=True) @ resize
