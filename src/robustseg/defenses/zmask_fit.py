"""The calibration of Z-Mask on images that are not scored: statistics of clean layers, patches, four convolutions.

Two patches are made on the model, a plain one and one that keeps shallow layers calm meanwhile (β = 0.5: two gradients
of equal length); each is laid at a random place of every calibration image, and the four convolutions learn, by binary
cross-entropy, where patches lie; clean images, on which there is none, are among them. Source: as `zmask`, its
supplement and demo (50 images, 250 epochs, Adam 0.01). Ours: fewer images; heat is divided by its mean while the
convolutions learn, which is then put into them, and a patch counts twice, without which they learn to hide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustseg.catalog.artefact import Artefact
from robustseg.catalog.patch import laid
from robustseg.defenses.zmask import KIND, ZMask, block, fits, maps_of
from robustseg.errors import UserError
from robustseg.ops import seeds
from robustseg.ops.place import Place
from robustseg.ops.state import frozen
from robustseg.types import DataSet, Model, ModelSpec, Output

__all__ = ["VERSION", "calibrate"]

VERSION = 1
IMAGES, PATCH_IMAGES, STEPS = 8, 2, 12
SHARE = 4  # a patch has a quarter of the height and of the width
ROUNDS, RATE, POINTS, WEIGHT = 800, 0.02, 8000, 2.0


@dataclass(frozen=True)
class Watched:
    """A model whose answer says how active its shallow layers are; what it sees and says is the model's own."""

    inner: Model
    zmask: ZMask
    suspects: bool = True

    @property
    def spec(self) -> ModelSpec:
        """That of the model."""
        return self.inner.spec

    @property
    def module(self) -> torch.nn.Module:
        """The network."""
        return self.inner.module

    def __call__(self, images: Tensor, *, want: frozenset[str] = frozenset(), **options: Any) -> Output:
        output = self.inner(images, want=want | {"features"}, **options)
        S, _ = self.zmask.heat(output.extras["features"].maps, (int(images.shape[-2]), int(images.shape[-1])))
        return replace(output, extras={**output.extras, "suspicion": S.flatten(1).mean(1)})


def calibrate(model: Model, dataset: DataSet, seed: int = 0) -> Artefact:
    """What Z-Mask must know of a model; ``dataset`` yields samples whose labels are in its class indices.

    Raises UserError for a model without known feature maps, and for data without images.
    """
    device = next((p.device for p in model.module.parameters()), torch.device("cpu"))
    images = [dataset[i].image[None].to(device) for i in range(min(IMAGES, len(dataset)))]
    if not images:
        raise UserError(
            f"defense: zmask has no image to be calibrated on in {dataset.ref}; name others with --fit-data"
        )
    with torch.inference_mode(False), frozen(model.module):
        fits(model, images[0])
        plain = _statistics(model, images)
        made = [_patch(Watched(model, plain), dataset, images[0], calm, seed) for calm in ("0", "1")]
        S, D, truth = _examples(model, plain, images, [a.tensors["patch"].to(device) for a in made], seed)
        weights = _learned(S, D, truth, seed)
    spent = 1 + len(images) * (2 + len(made))
    forwards = spent + sum(a.forwards for a in made)
    tensors = replace(plain, weights=weights.cpu()).tensors(model)
    return Artefact(KIND, tensors, dataset.ref, forwards, sum(a.backwards for a in made))


@torch.no_grad()
def _statistics(model: Model, images: list[Tensor]) -> ZMask:
    """Means over images of the mean and the standard deviation of every channel."""
    means, stds, colour = [], [], torch.stack([x.mean((0, 2, 3)) for x in images]).mean(0)
    for x in images:
        maps = [m[0].flatten(1) for m in maps_of(model, x)]
        means.append([m.mean(1) for m in maps])
        stds.append([m.std(1, correction=0) for m in maps])

    def over(found: list[list[Tensor]]) -> tuple[Tensor, ...]:
        return tuple(torch.stack(layer).mean(0).cpu() for layer in zip(*found, strict=True))

    return ZMask(over(means), over(stds), torch.zeros(4, 2), colour.cpu())


def _patch(model: Watched, dataset: DataSet, like: Tensor, calm: str, seed: int) -> Artefact:
    """A patch that fools the model; ``calm`` weighs the rest that it keeps meanwhile."""
    from robustseg.catalog import attack

    size = "x".join(str(max(int(n) // SHARE, 1)) for n in like.shape[-2:])
    made = attack("patch", size=size, steps=STEPS, images=PATCH_IMAGES, batch=2, avoid=calm, reference="pred")
    return made.fit(model, dataset, seed)


@torch.no_grad()
def _examples(
    model: Model, zmask: ZMask, images: list[Tensor], patches: list[Tensor], seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """``S, D`` and whether a patch lies there, of all cells of all pictures, in a row."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for n, x in enumerate(images):
        H, W = (int(v) for v in x.shape[-2:])
        draws = seeds.generator(seed, f"{KIND}/{n}")
        for patch in [None, *patches]:
            shown, mask = x, torch.zeros(1, 1, H, W, device=x.device)
            if patch is not None:
                at = Place((int(patch.shape[-2]), int(patch.shape[-1])), tuple(torch.rand(2, generator=draws).tolist()))
                shown, mask = laid(x, patch[None], at), at.mask((H, W))[None, None].to(x)
            S, D = zmask.heat(maps_of(model, shown), (H, W))
            truth = F.adaptive_avg_pool2d(mask, (int(S.shape[-2]), int(S.shape[-1])))
            found.append((S.flatten(), D.flatten(), truth.flatten()))
    S, D, truth = (torch.cat(part) for part in zip(*found, strict=True))
    return S, D, truth


def _learned(S: Tensor, D: Tensor, truth: Tensor, seed: int) -> Tensor:
    """The four convolutions, ``(4,2)``; shifts begin below 0, so that nothing is saturated."""
    draws, scale = seeds.generator(seed, f"{KIND}/block"), torch.stack([S.mean(), D.mean()]).clamp_min(1e-9)
    S, D = S / scale[0], D / scale[1]
    weights = (torch.rand(4, 2, generator=draws) * torch.tensor([1.0, -1.0])).to(S).requires_grad_()
    optimiser = torch.optim.Adam([weights], lr=RATE)
    with torch.enable_grad():
        for _ in range(ROUNDS):
            pick = torch.randint(0, len(S), (min(POINTS, len(S)),), generator=draws).to(S.device)
            loss = F.binary_cross_entropy(
                block(S[pick], D[pick], weights), truth[pick], weight=1 + (WEIGHT - 1) * truth[pick]
            )
            optimiser.zero_grad()
            (weights.grad,) = torch.autograd.grad(loss, weights)
            optimiser.step()
    found = weights.detach().clone()
    found[0, 0], found[2, 0] = found[0, 0] / scale[1], found[2, 0] / scale[0]
    return found
