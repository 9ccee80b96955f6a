"""The smallest norms of Carlini & Wagner and of ALMAprox beside a PGD whose radius is halved in on, image by image.

    python examples/minimal_norm.py zoo:street-unet street:val 2 64x128

Both fool 99 % of an image's pixels (of a classifier: its label). The bisection takes 10 radii with 20 gradients each,
200 in all, from a random start, on the margin and on the cross-entropy; what is compared is the norm of its images, not
its radius.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any

import torch

import robustseg as rs
from robustseg.data.resize import parse_size
from robustseg.evaluation.matching import Mapped
from robustseg.evaluation.referee import norms

FIRST = {"linf": 8 / 255, "l2": 2.0}
ENOUGH, ROUNDS, STEPS = 0.99, 10, 20


def bisected(name: str, norm: str, model: Any, x: torch.Tensor, y: torch.Tensor) -> float | None:
    """The smallest norm with which the attack fools one image: the radius doubles until it does, then closes in."""
    low, high, eps = 0.0, None, FIRST[norm]
    for _ in range(ROUNDS):
        result = rs.attack(f"{name}:norm={norm},steps={STEPS}", eps=eps)(model, x, y)
        if float(result.score) >= ENOUGH:
            size = norms(x, result.images)[0][norm]
            high = size if high is None else min(high, size)
        else:
            low = eps
        eps = min(2 * eps, 1.0 if norm == "linf" else 1e3) if high is None else (low + high) / 2
    return high


def main(ref: str = "zoo:street-unet", data: str = "street:val", number: str = "2", size: str = "64x128") -> None:
    """Prints one line an attack and norm, and all of it as JSON at the end."""
    model = rs.load_model(ref)
    known = rs.load_data(data) if model.spec.task == "classification" else rs.load_data(data, resize=parse_size(size))
    mapped, told = Mapped.of(known, model.spec, None), []
    samples = [mapped.counted(mapped.whole(i)) for i in range(int(number))]
    for norm in ("l2", "linf", "l0"):
        proximal = ("almaprox", "almaprox:slope=published") if norm == "linf" else ()
        for name in (f"cw-{norm}", *proximal, *(("margin", "pgd") if norm != "l0" else ())):
            found, spent = [], []
            for s in samples:
                x, y = s.image[None], s.labels[None]
                if name.startswith(("cw", "almaprox")):
                    result = rs.attack(name)(model, x, y)
                    far = norms(x, result.images)[0][norm] if float(result.score) >= ENOUGH else None
                    spent.append(int(result.backwards))
                else:
                    far = bisected(name, norm, model, x, y)
                    spent.append(ROUNDS * STEPS)
                found.append(far)
            reached = [f for f in found if f is not None]
            middle = statistics.median(reached) if len(reached) == len(found) else None
            told.append({"norm": norm, "attack": name, "found": found, "median": middle, "gradients": spent})
            print(f"{norm:5} {name:24} median {middle} of {found}; gradients {spent}", flush=True)
    print(json.dumps({"model": ref, "data": data, "size": size, "rows": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
