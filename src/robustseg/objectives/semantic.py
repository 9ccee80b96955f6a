"""What going wrong means for dense prediction: one small function a paper, per pixel, to be maximised.

Convention: ``pixel(output, target, state, progress) -> (B,H,W)``; weights carry no gradient; the objective is the mean
over the valid pixels of an image. The targeted form of a loss runs towards ``target`` instead of away from it, with the
roles of "correct" and "wrong" exchanged; it is another objective, never a sign flag of the loop.
Formulas: the papers named in each docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from robustseg.objectives.base import Constants, Objective
from robustseg.ops import losses
from robustseg.ops import pixels as px
from robustseg.types import DenseOutput, SemanticTarget, State, View

__all__ = ["LOSSES", "lag", "metzen", "semantic", "stealthy"]

Pixel = Callable[[DenseOutput, SemanticTarget, State, float], Tensor]


def ce(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """Cross-entropy (FGSM, BIM, PGD)."""
    return -px.log_probability(output, target)


def segpgd(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """SegPGD: CE, correct pixels weighted 1-λ, wrong ones λ = (t-1)/2T. Gu et al., ECCV 2022, arXiv 2207.12391."""
    loss = ce(output, target, state, progress)  # first: it leaves what `correct` needs
    return losses.segpgd_weight(px.correct(output, target), progress) * loss


def masked_ce(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """Masked CE: only pixels that are still correct. Croce, Singh, Hein, ECCV 2024 (SEA), eq. for L_MCE."""
    loss = ce(output, target, state, progress)
    return torch.where(px.correct(output, target), loss, 0)


def balanced_masked_ce(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """Masked CE divided by the number of training pixels of the true class. SEA, L_MCE-Bal.

    ``state["class_weight"] (B,C)``: 1/N_y, scaled to mean 1; the scale is ours and cancels under a sign or normalised
    step. A class that the training images lack counts as rare as the rarest they have.
    """
    weight = state["class_weight"].gather(1, target.index.flatten(1)).view_as(target.index)
    return weight * masked_ce(output, target, state, progress)


def cospgd(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """CosPGD: CE weighted by cos(softmax(z), onehot(y)) = p_y/|p|_2. Agnihotri et al., ICML 2024, arXiv 2302.02213."""
    return px.cosine(output, target) * ce(output, target, state, progress)


def js(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """Jensen-Shannon divergence to the one-hot truth. SEA, L_JS."""
    return losses.jensen_shannon(px.log_probability(output, target))


def tsallis(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """Tsallis loss, q rising linearly from -2 to 1 inside every radius stage. TsallisPGD, arXiv 2605.03405."""
    return losses.tsallis(px.log_probability(output, target), -2 + 3 * progress)


def cosine(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """``1 - cos(z, onehot(y)) = 1 - z_y/|z|_2`` on the logits (PAdam-Cos). Halmosi et al., ECCV 2024, 2407.09150."""
    z = px.logits(output)
    length = z.square().sum(1).clamp_min(1e-24).sqrt()  # z.norm(dim=1) is 20 times slower on a CPU
    return 1 - px.true_score(DenseOutput(z), target) / length


def margin(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """Best other logit minus the true one, cut at 0.1 past the decision. After Carlini & Wagner, S&P 2017, f_6."""
    return lag(output, target).clamp_max(0.1)


def lag(output: DenseOutput, target: SemanticTarget) -> Tensor:
    """By how much the best other logit leads the target's, ``(B,H,W)``: above 0 where the pixel is wrong."""
    z = px.logits(output)
    labels = target.index.unsqueeze(1)
    other = z.scatter(1, labels, -torch.inf).amax(1)
    return other - z.gather(1, labels).squeeze(1)


def dlr(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    """Difference of logits ratio ``-(z_y - max_{i≠y} z_i) / (z_π1 - z_π3)``, scale free. Croce & Hein, ICML 2020,
    arXiv 2003.01690, per pixel; of two classes ``z_π3`` is the lower."""
    z = px.logits(output)
    top = z.topk(min(3, z.shape[1]), 1).values
    return lag(output, target) / (top[:, 0] - top[:, -1]).clamp_min(1e-12)


# Towards a goal: the same losses with "correct" and "wrong" exchanged where the loss tells them apart.
def _targeted_segpgd(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    return -losses.segpgd_weight(~px.correct(output, target), progress) * ce(output, target, state, progress)


def _targeted_masked_ce(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    return -torch.where(px.correct(output, target), 0, ce(output, target, state, progress))


def _targeted_cospgd(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    return -(1 - px.cosine(output, target)) * ce(output, target, state, progress)


def _targeted_margin(output: DenseOutput, target: SemanticTarget, state: State, progress: float) -> Tensor:
    return (-lag(output, target)).clamp_max(0.1)  # the cut is past the goal: pixels far from it must pull


def _negative(pixel: Pixel) -> Pixel:
    return lambda output, target, state, progress: -pixel(output, target, state, progress)


LOSSES: dict[str, tuple[Pixel, Pixel | None]] = {  # name -> (away from the truth, towards a goal)
    "ce": (ce, _negative(ce)),
    "segpgd": (segpgd, _targeted_segpgd),
    "masked-ce": (masked_ce, _targeted_masked_ce),
    "balanced-masked-ce": (balanced_masked_ce, None),
    "cospgd": (cospgd, _targeted_cospgd),
    "js": (js, _negative(js)),
    "tsallis": (tsallis, _negative(tsallis)),
    "cosine": (cosine, _negative(cosine)),
    "margin": (margin, _targeted_margin),
    "dlr": (dlr, None),
}


def _class_weights(view: View, target: SemanticTarget, constants: Constants) -> State:
    counts = constants["class_pixels"].to(view.x)
    weight = 1 / torch.where(counts > 0, counts, torch.where(counts > 0, counts, torch.inf).min())
    return {"class_weight": (weight / weight.mean()).expand(len(view.x), -1)}


def semantic(loss: str, *, targeted: bool = False) -> Objective:
    """The objective of a named per-pixel loss, as a mean over valid pixels.

    Raises: KeyError for an unknown loss, ValueError where a loss has no targeted form.
    """
    pixel = LOSSES[loss][1 if targeted else 0]
    if pixel is None:
        raise ValueError(f"{loss} has no targeted form")
    value = partial(_mean_value, pixel, loss)
    return Objective(loss, value, _class_weights) if loss == "balanced-masked-ce" else Objective(loss, value)


def _mean_value(
    pixel: Pixel, name: str, view: View, target: SemanticTarget, state: State, progress: float
) -> tuple[dict[str, Tensor], State]:
    return {name: px.mean(pixel(view.output, target, state, progress), target)}, state  # type: ignore[arg-type]


def metzen(omega: float, tau: float) -> Objective:
    """Fischer/Metzen: reach a goal map; ω weighs the pixels to change against those to keep; confident pixels rest.

    ``-[ω Σ_aimed CE + (1-ω) Σ_rest CE] / N``, CE = 0 where the goal is predicted with probability above τ.
    Source: Metzen et al., ICCV 2017, arXiv 1704.05712, eq. (4); τ as in the public ports of the authors' method.
    """
    return _towards("metzen", omega, 1 - omega, tau)


def stealthy(keep: float) -> Objective:
    """Semantically stealthy: aimed pixels take their new label, all others keep theirs, which weighs ``keep`` (a_n).

    ``-[Σ_aimed CE + keep Σ_rest CE] / N``; no pixel rests. Source: Chen, Wang, Crandall, WACV 2022, arXiv 2104.01732,
    reconstructed (the layer with the loss is not released); theirs is the sum, which one image's step cannot tell from
    the mean.
    """
    return _towards("stealthy", 1.0, keep)


def _towards(name: str, aimed: float, rest: float, tau: float = 1.0) -> Objective:
    """Cross-entropy to a goal map, weighted; CE = 0 where the goal has a probability above τ (1: nowhere).

    Aimed pixels are those whose goal differs from ``constants["reference"] (B,H,W)``, the map that the goal was made
    from.
    """

    def init(view: View, target: SemanticTarget, constants: Constants) -> State:
        return {"aimed": constants["reference"] != target.labels}

    def value(view: View, target: SemanticTarget, state: State, progress: float) -> tuple[dict[str, Tensor], State]:
        log_p = px.log_probability(view.output, target)  # type: ignore[arg-type]
        weight = torch.where(state["aimed"], aimed, rest)
        settled = log_p.detach().exp() > tau
        return {"goal": px.mean(torch.where(settled, 0, weight * log_p), target)}, state

    return Objective(name, value, init)
