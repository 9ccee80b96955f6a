"""The peers' own attacks behind one signature, each as its documentation shows it. Imported only where it is run.

``attack(network, images, labels, eps, step, steps) -> adversarial images``; ``network`` maps [0,1] pixels to logits
``(B,K)`` or ``(B,K,H,W)`` at label size.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["OPPONENTS", "Opponent"]

Run = Callable[[nn.Module, Tensor, Tensor, float, float, int], Tensor]


@dataclass(frozen=True)
class Opponent:
    """A peer in one discipline. ``packages``: folders of the overlay; ``ours``: the attack that it is set against."""

    peer: str
    packages: tuple[str, ...]
    task: str
    attack: str
    ours: str
    run: Run
    note: str = ""


def torchattacks_pgd(network: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int) -> Tensor:
    """``torchattacks.PGD``; its mean cross-entropy takes label maps too."""
    import torchattacks

    return torchattacks.PGD(network, eps=eps, alpha=step, steps=steps, random_start=True)(x, y)


def foolbox_pgd(network: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int) -> Tensor:
    """``foolbox.attacks.LinfPGD``."""
    import foolbox

    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=x.device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps, random_start=True)
    return attack(model, x, y, epsilons=eps)[1]


def art_pgd(network: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int) -> Tensor:
    """``ProjectedGradientDescentPyTorch`` of the Adversarial Robustness Toolbox, numpy in and out as it asks."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        model=network,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="gpu" if x.is_cuda else "cpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier, eps=eps, eps_step=step, max_iter=steps, num_random_init=1, batch_size=len(x), verbose=False
    )
    return torch.from_numpy(attack.generate(x.cpu().numpy(), y.cpu().numpy())).to(x)


def adv_lib_pgd(network: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int) -> Tensor:
    """``adv_lib.attacks.pgd_linf``."""
    _without_plots()
    from adv_lib.attacks import pgd_linf

    return pgd_linf(network, x, y, eps, steps=steps, absolute_step_size=step)


def adv_lib_dag(network: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int) -> Tensor:
    """``adv_lib.attacks.segmentation.dag``: no radius, so only time per gradient can be compared."""
    _without_plots()
    from adv_lib.attacks.segmentation import dag

    return dag(network, x, y, max_iter=steps, γ=step, adv_threshold=1.1)  # never found: all steps are taken


def cospgd(network: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int) -> Tensor:
    """The steps of the ``cospgd`` package in the loop of its authors' script."""
    from cospgd import functions

    adversarial = functions.init_linf(x, eps)
    for _ in range(steps):
        adversarial.requires_grad_(True)
        logits = network(adversarial)
        loss = F.cross_entropy(logits, y, reduction="none")
        loss = functions.cospgd_scale(logits, y, loss, num_classes=logits.shape[1]).mean()
        network.zero_grad()
        loss.backward()
        assert adversarial.grad is not None
        adversarial = functions.step_inf(adversarial, eps, adversarial.grad, x, step, targeted=False)
    return adversarial


def _without_plots() -> None:
    """adv_lib imports the plotting client visdom, which need not be there: nothing that is measured calls it."""
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))


NO_VISDOM = "from its source; an empty stand-in for visdom, its plotting client, which does not build here"
OPPONENTS = (
    Opponent("torchattacks", ("torchattacks",), "classifier", "PGD", "pgd", torchattacks_pgd),
    Opponent("foolbox", ("foolbox", "eagerpy", "common"), "classifier", "LinfPGD", "pgd", foolbox_pgd),
    Opponent("art", ("art", "common"), "classifier", "ProjectedGradientDescentPyTorch", "pgd", art_pgd),
    Opponent("adv_lib", ("adv_lib", "common"), "classifier", "pgd_linf", "pgd", adv_lib_pgd, NO_VISDOM),
    Opponent("torchattacks", ("torchattacks",), "segmentation", "PGD", "pgd", torchattacks_pgd),
    Opponent("cospgd", ("cospgd",), "segmentation", "CosPGD", "cospgd", cospgd),
    Opponent(
        "adv_lib",
        ("adv_lib", "common"),
        "segmentation",
        "dag",
        "pgd",
        adv_lib_dag,
        NO_VISDOM + "; another attack than PGD and without a radius: compare the time per gradient alone",
    ),
)
