"""Leave the user's network exactly as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["frozen"]


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Freeze parameters and set eval mode; on leaving, also by an error, restore every flag, buffer and the RNG.

    Frozen parameters spare their gradients (a third of a transformer's memory). Buffers come back as the same
    tensors with the same content, whether a forward wrote into them or put other tensors in their place.

    >>> net = nn.Dropout()
    >>> with frozen(net):
    ...     net.training
    False
    >>> net.training
    True
    """
    training = [(m, m.training) for m in module.modules()]
    gradients = [(p, p.requires_grad) for p in module.parameters()]
    owned = [(m, name, b) for m in module.modules() for name, b in m._buffers.items() if b is not None]
    buffers = [(m, name, b, b.detach().clone()) for m, name, b in owned]
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    try:
        for m, _ in training:  # not module.eval(): a user's own eval() may do more than set the flag
            m.training = False
        for p, _ in gradients:
            p.requires_grad_(False)
        yield
    finally:
        for m, flag in training:
            m.training = flag
        for p, flag in gradients:
            p.requires_grad_(flag)
        with torch.no_grad():
            for m, name, b, before in buffers:
                m._buffers[name] = b
                if b.shape != before.shape:
                    b.set_(before)  # type: ignore[arg-type]
                elif not torch.equal(b, before):  # untouched ones stay so: a graph made earlier may still need them
                    b.copy_(before)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
