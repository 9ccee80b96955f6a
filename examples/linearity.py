"""How straight the loss is along the sign of its gradient: the reason given for FGSM, on a real network.

    python examples/linearity.py zoo:street-unet street:val 2 64x128

Writes OUT.png and OUT.json (default: runs/linearity): for every image the mean cross-entropy at ``x + α sign(∇)`` and
at ``x + α r``, r a random direction of ±1, α from -16/255 to 16/255; and R² of the straight line that fits best. Images
are not clipped: clipping bends the line. If the network were linear in this range, the logits would be straight, and
the dashed line, α ‖∇‖₁, would foretell the loss. Source: ICLR 2015, arXiv 1412.6572, section 4 and figure 4.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import robustseg as rs
from robustseg.data.resize import parse_size
from robustseg.evaluation.matching import Mapped
from robustseg.ops import pixels, seeds
from robustseg.ops.state import frozen
from robustseg.tasks.semantic import dense
from robustseg.types import SemanticTarget

RANGES = (1, 4, 16)  # of |α|, in 1/255
POINTS = 65


def straightness(x: np.ndarray, y: np.ndarray) -> float:
    """R² of the least-squares line through ``(x, y)``: 1 where it is straight, 0 where no line helps.

    >>> a = np.array([-1.0, 0.0, 1.0]); round(straightness(a, 2 * a + 1), 6), round(straightness(a, a * a), 6)
    (1.0, 0.0)
    """
    rest = y - np.polyval(np.polyfit(x, y, 1), x)
    return float(1 - (rest**2).sum() / ((y - y.mean()) ** 2).sum())


def curves(model: Any, image: Tensor, labels: Tensor, alphas: np.ndarray) -> dict[str, Any]:
    """Of one image ``(3,H,W)``: loss and mean logit of the truth along the gradient's sign, loss along random signs."""
    x, target = image[None], SemanticTarget(labels[None])

    def look(images: Tensor) -> tuple[Tensor, Tensor]:
        output = dense(model(images), (int(labels.shape[-2]), int(labels.shape[-1])))
        loss = pixels.mean(-pixels.log_probability(output, target), target)
        return loss.sum(), pixels.mean(pixels.true_score(output, target), target).sum()

    start = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(look(start)[0], start)
    by_chance = torch.randint(0, 2, x.shape, generator=seeds.generator(0, seeds.content_ids(x)[0])).to(x) * 2 - 1
    with torch.no_grad():
        along = [[float(v) for v in look(x + float(a) * gradient.sign())] for a in alphas]
        aside = [float(look(x + float(a) * by_chance)[0]) for a in alphas]
    loss, truth = (np.array([p[k] for p in along]) for k in (0, 1))
    found: dict[str, Any] = {"loss": loss, "true_logit": truth, "random": np.array(aside)}
    found["slope"] = float(gradient.abs().sum())
    within = {f"{r}/255": np.abs(alphas) <= 1.0001 * r / 255 for r in RANGES}
    found["r2"] = {
        name: {r: straightness(alphas[near], found[name][near]) for r, near in within.items()}
        for name in ("loss", "true_logit", "random")
    }
    return found


def draw(found: list[dict[str, Any]], alphas: np.ndarray, title: str, file: Path) -> None:
    """One panel an image: both curves, and the tangent at the image itself."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(found), 3.6), layout="constrained")
    figure.suptitle(title)
    for k, one in enumerate(found):
        axes = figure.add_subplot(1, len(found), k + 1)
        middle = one["loss"][len(alphas) // 2]
        axes.plot(255 * alphas, one["loss"], label=f"along sign ∇: R² {one['r2']['loss']['16/255']:.2f}")
        axes.plot(255 * alphas, one["random"], label="along random signs")
        axes.plot(255 * alphas, middle + alphas * one["slope"], "k--", lw=0.8, label="what the gradient foretells")
        axes.set_ylim(0, 1.15 * max(one["loss"].max(), one["random"].max()))
        axes.set_xlabel("α in 1/255")
        axes.set_ylabel("mean cross-entropy")
        axes.legend(fontsize=8)
    figure.savefig(file, dpi=120)


def main(
    ref: str = "zoo:street-unet", data: str = "street:val", number: str = "2", size: str = "64x128",
    out: str = "runs/linearity",
) -> None:  # fmt: skip
    """Measure, draw, and print R² of each image."""
    model = rs.load_model(ref)
    known = rs.load_data(data) if model.spec.task == "classification" else rs.load_data(data, resize=parse_size(size))
    mapped, alphas = Mapped.of(known, model.spec, None), np.linspace(-1, 1, POINTS) * RANGES[-1] / 255
    with frozen(model.module):
        samples = [mapped.counted(mapped.whole(i)) for i in range(int(number))]
        found = [curves(model, s.image, s.labels, alphas) for s in samples]  # type: ignore[arg-type]
    for s, one in zip(samples, found, strict=True):
        told = "; ".join(
            f"{name} " + ", ".join(f"{r2:.3f} to {r}" for r, r2 in one["r2"][name].items()) for name in one["r2"]
        )
        print(f"{s.id}: R² of {told}")
    file = Path(out)
    file.parent.mkdir(parents=True, exist_ok=True)
    draw(found, alphas, f"{ref}, {data}", file.with_suffix(".png"))
    rows = [{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in one.items()} for one in found]
    told = {"model": ref, "data": data, "alphas": alphas.tolist(), "images": dict(zip([s.id for s in samples], rows))}
    file.with_suffix(".json").write_text(json.dumps(told), encoding="utf-8")
    print(file.with_suffix(".png"), file.with_suffix(".json"))


if __name__ == "__main__":
    main(*sys.argv[1:])
