"""Nobody there, and still a garment: an adversary's objective, held back by what makes cloth look like cloth.

Maximised is ``α · adversary - style - content - TV - (1 - MS-SSIM)``, each with its weight. The adversary sees the
image through whatever must be survived; texture and likeness are those of the image itself, ``x0 + θ``.

Source: Treu, Le, Nguyen, Yamagishi, Echizen, CVPR 2021 workshops, arXiv 2104.08422, and the code; which layers and
weights: the code; which terms make up the loss: the first author's notes. The mask of the texture terms is our own:
moments, differences and deficits are means over the clothing, not over the image, so that a small person is held as
firmly as a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.ops.similarity import ms_ssim
from robustseg.ops.style import Features, cross_gram, distance, total_variation, weighted_mean
from robustseg.types import DenseOutput, EnsembleOutput, SemanticTarget, State, UserError, View

__all__ = ["See", "Weights", "fashionable", "gone", "style_of", "styles"]

WIDTHS = (64, 128, 256, 512)  # channels of VGG's blocks: layer l weighs 2e5/n², whatever the network that stands in
STYLE, CONTENT = 2e5, 2e5 / 512**2
SMALLEST = 1e-4  # size of a map that it is divided by: one that is black everywhere has none

See = Callable[[Tensor], Features]  # images (B,3,H,W) in [0,1]


@dataclass(frozen=True)
class Weights:
    """Of the terms. ``adversary``: α; ``texture``: β, of style and content; the rest by their names."""

    adversary: float = 10.0
    texture: float = 1.0
    variation: float = 75.0
    likeness: float = 50.0


def styles(seen: Features, scale: Sequence[Tensor], weight: Tensor) -> list[Tensor]:
    """Cross-layer Gram matrices of neighbouring maps over ``weight (B,H,W)``; ``scale``: ``(B,)`` size of each map."""
    maps = [m / s.view(-1, 1, 1, 1) for m, s in zip(seen.maps, scale, strict=True)][: len(WIDTHS) + 1]
    return [cross_gram(a, b, weight) for a, b in pairwise(maps)]


def style_of(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """``Σ_l 2e5/n_l² · MSE(G_l, S_l) / std(G_l)``, ``(B,)``: 0 where both are equal."""
    each = [STYLE / n**2 * distance(g, s) for n, g, s in zip(WIDTHS, found, wanted)]
    return torch.stack(each).sum(0)


def fashionable(
    adversary: Objective, see: See | None, textures: Sequence[Features], weights: Weights, *, unit: bool, few: bool
) -> Objective:
    """The adversary's objective and the texture's.

    ``see``: the feature network; None where every output carries the features of the image that is looked at, which is
    then ``x0 + θ`` itself. ``textures``: what that network sees of each fashion image ``(1,…)``; every image of a batch
    is given the one whose style is nearest at first. ``unit``: maps are divided by their size (root mean square) on the
    clean image, for networks that are no VGG. ``few``: the adversary's value is a mean over all counted pixels, and is
    made one over the pixels to change (``aimed`` in its state). ``constants["clothing"] (B,H,W)``: where it is worn.
    """

    def features(view: View) -> Features:
        if see is not None:
            return see(view.x0 + view.theta)
        assert not isinstance(view.output, EnsembleOutput)
        return view.output.extras["features"]

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        if "clothing" not in constants:
            raise UserError("fashion changes clothing only and must be told where it is: pass its pixels as region=")
        worn = constants["clothing"].to(view.x0)
        state = adversary.init(view, target, constants)
        with torch.no_grad():
            seen = features(view)
            scale = [_size(m) if unit else _one(m) for m in seen.maps]
            goal = _nearest(styles(seen, scale, worn), scale, textures)
        # flat, so that no transformation takes them for maps of the image
        state |= {f"style{k}": g.flatten(1) for k, g in enumerate(goal)}
        state |= {f"scale{k}": s for k, s in enumerate(scale)}
        state |= {"worn": worn.flatten(1), "content": seen.content.flatten(1)}
        state["depth"] = _size(seen.content) if unit else _one(seen.content)
        if few:
            aimed = (state["aimed"] & target.valid).flatten(1).sum(1)
            state |= {"few": target.count / aimed.clamp_min(1), "who": constants["class"]}
        return state

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        terms, after = adversary.value(view, target, state, progress)
        alpha = weights.adversary * state["few"] if few else weights.adversary
        return {**{name: alpha * term for name, term in terms.items()}, **natural(view, state)}, {**state, **after}

    def natural(view: View, state: State) -> dict[str, Tensor]:
        image, seen = view.x0 + view.theta, features(view)
        worn, size = state["worn"].view(len(image), *image.shape[-2:]), state["worn"].sum(1).clamp_min(1)
        found = styles(seen, [state[f"scale{k}"] for k in range(len(seen.maps))], worn)
        wanted = [state[f"style{k}"].view_as(g) for k, g in enumerate(found)]
        moved = (seen.content - state["content"].view_as(seen.content)) ** 2
        unlike = (1 - ms_ssim(image, view.x0)) * image[0, 0].numel() / size
        return {
            "style": -weights.texture * style_of(found, wanted),
            "content": -weights.texture * CONTENT * weighted_mean(moved, worn) / state["depth"] ** 2,
            "variation": -weights.variation * total_variation(image, worn) / size,
            "likeness": -weights.likeness * unlike,
        }

    return Objective(f"{adversary.name} in fashion", value, init, needs_clean=adversary.needs_clean)


def _one(values: Tensor) -> Tensor:
    return torch.ones_like(values[:, 0, 0, 0])


def _size(values: Tensor) -> Tensor:
    return values.flatten(1).pow(2).mean(1).sqrt().clamp_min(SMALLEST)


def _nearest(found: Sequence[Tensor], scale: Sequence[Tensor], textures: Sequence[Features]) -> list[Tensor]:
    """The style of the texture that is nearest to each image's: the rule of the authors, among their 140."""
    wanted = []
    for seen in textures:
        one = Features(tuple(m.expand(len(scale[0]), -1, -1, -1) for m in seen.maps), seen.content)
        everywhere = torch.ones_like(one.maps[0][:, 0])
        wanted.append(styles(one, scale, everywhere))
    costs = torch.stack([style_of(found, w) for w in wanted])
    best, at = costs.argmin(0), torch.arange(len(scale[0]), device=costs.device)
    return [torch.stack([w[k] for w in wanted])[best, at] for k in range(len(found))]


def gone(view: View, target: SemanticTarget, state: State) -> Tensor:
    """The share of the aimed pixels that are no longer predicted as the class to hide, ``(B,)``."""
    assert isinstance(view.output, DenseOutput)
    scores = view.output.scores.detach()
    own = scores.gather(1, state["who"].view(-1, 1, 1, 1).expand(-1, 1, *scores.shape[-2:]))[:, 0]
    aimed = state["aimed"] & target.valid
    return ((own < scores.amax(1)) & aimed).flatten(1).sum(1) / aimed.flatten(1).sum(1).clamp_min(1)
