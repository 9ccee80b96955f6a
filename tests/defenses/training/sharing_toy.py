"""A training of three steps on a toy; run as a program it is one of several processes: `sharing_toy.py OUT.pt`."""

import sys
from pathlib import Path

import torch
from torch import nn

from robustseg import wrap
from robustseg.defenses.training.loop import Plan, train
from robustseg.defenses.training.methods import Method, attacks_of
from robustseg.defenses.training.processes import started
from robustseg.defenses.training.recipe import Recipe
from robustseg.defenses.training.steps import Steps


class Images(list):
    """What steps need of a pool."""

    things = ()


def images():
    g = torch.Generator().manual_seed(0)
    return Images(
        (torch.randint(0, 256, (3, 20, 20), generator=g).to(torch.uint8),
         torch.randint(0, 2, (20, 20), generator=g).to(torch.uint8))
        for _ in range(6)
    )  # fmt: skip


def trained(folder: Path) -> dict[str, list[torch.Tensor]]:
    """Gradient of the first step and weights after the third."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 1))
    recipe = Recipe("toy", "toy", attacks=("pgd:eps=4/255,steps=2", "clean"), batch=4, crop=(16, 16), warmup=1, steps=3)
    processes = started(torch.device("cpu"))
    model = wrap(net, classes=["a", "b"])
    steps = Steps(recipe, model, Method(recipe), attacks_of(recipe), images(), processes=processes)
    shared = processes.share(net.train())
    for value in steps.losses(shared, 0):
        processes.backward(value)
    gradient = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    plan = Plan(3, lr=1e-2, weight_decay=0.0, warmup=1, poly=0.9, clip=1e9, ema=0.9, seed=0)
    train(net, steps.losses, plan, folder, processes=processes)
    return {"gradient": gradient, "weights": [p.detach() for p in net.parameters()], "rank": processes.rank}


if __name__ == "__main__":
    out = Path(sys.argv[1])
    found = trained(out)
    torch.save(found, out / f"rank{found['rank']}.pt")
    torch.distributed.destroy_process_group()
