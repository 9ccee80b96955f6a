"""Hand-made queries over columns of a small picture: sky and cars."""

from __future__ import annotations

import torch

from robustseg.types import QueryOutput

SKY, CAR = 0, 1
THINGS = (False, True)


def queries(*rows, size=(4, 8), inside=10.0):
    """Queries ``(class, probability of that class, columns)`` as logits; outside the mask the logit is -10."""
    classes, masks = [], []
    for label, p, columns in rows:
        others = torch.full((len(THINGS) + 1,), (1 - p) / len(THINGS))
        others[label] = p
        classes.append(others.log())
        mask = torch.full(size, -10.0)
        mask[:, columns] = inside
        masks.append(mask)
    return QueryOutput(torch.stack(classes)[None], torch.stack(masks)[None])
