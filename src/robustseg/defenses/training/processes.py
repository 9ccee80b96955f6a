"""One process, or several that share every batch through Hugging Face Accelerate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustseg.errors import UserError

__all__ = ["Alone", "Several", "started"]


@dataclass(frozen=True)
class Alone:
    """The only process."""

    rank: int = 0
    count: int = 1

    def share(self, network: nn.Module) -> nn.Module:
        """The network whose backward leaves the gradient of the whole batch: itself."""
        return network

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of ``loss`` to the parameters."""
        loss.backward()

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in some process."""
        return flag

    def wait(self) -> None:
        """Until all are here."""


@dataclass(frozen=True)
class Several:
    """One of several processes (torch's DistributedDataParallel behind an ``accelerate.Accelerator``).

    Gradients are means over the processes, so that equal shares give the gradient of the joint batch. Every process
    keeps the normalisation statistics of its own images; the first one's are saved.
    """

    accelerator: Any

    @staticmethod
    def of(device: torch.device) -> Several:
        """Join the processes that ``accelerate launch`` (or ``torchrun``) has started."""
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs  # type: ignore[import-not-found]
        except ImportError as error:
            raise UserError("several processes need accelerate: pip install 'robustseg[train]'") from error
        how = DistributedDataParallelKwargs(broadcast_buffers=False)  # a step may go forward more than once
        return Several(Accelerator(cpu=device.type == "cpu", kwargs_handlers=[how]))

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self.accelerator.process_index

    @property
    def count(self) -> int:
        """How many processes there are."""
        return self.accelerator.num_processes

    def share(self, network: nn.Module) -> nn.Module:
        """The network whose backward leaves the gradient of the whole batch."""
        return self.accelerator.prepare_model(network)

    def backward(self, loss: Tensor) -> None:
        """Adds the mean over the processes of the gradients of ``loss``."""
        self.accelerator.backward(loss)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in some process: all must leave a loop together."""
        votes = torch.tensor([int(flag)], device=self.accelerator.device)
        return bool(self.accelerator.reduce(votes, "sum") > 0)

    def wait(self) -> None:
        """Until all are here."""
        self.accelerator.wait_for_everyone()


def started(device: torch.device) -> Alone | Several:
    """The processes that the launcher of this one has started."""
    return Several.of(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()
