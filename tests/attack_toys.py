"""Models for tests of attacks: linear ones whose optimum is known, small ones to count, to spoil and to train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustseg.catalog import Artefact, Attack, attack, entries
from robustseg.types import DenseOutput, ModelSpec

CLASSES = ("road", "person", "car", "sky", "tree", "pole")
# one ball, one image, no clothes
DENSE = [e for e in entries() if "dense" in e.output and not e.shared and not e.minimal and not e.natural]
UNTARGETED = [e.name for e in DENSE if e.name not in ("noise", "hide", "static", "stealthy", "dag")]  # ensembles too


@dataclass
class Toy:
    """The smallest model: a module behind the face that attacks see. Counts what it is asked for."""

    module: nn.Module
    classes: int
    kind: str = "logits"
    images: int = 0
    calls: int = 0
    backwards: int = 0
    spec: ModelSpec = field(init=False)

    def __post_init__(self) -> None:
        self.spec = ModelSpec("toy", "semantic", CLASSES[: self.classes], "0" * 16)

    def __call__(self, images: Tensor, *, want: frozenset[str] = frozenset()) -> DenseOutput:
        self.calls += 1
        self.images += len(images)
        scores = self.module(images)
        if scores.requires_grad:
            scores.register_hook(self._counted)
        return DenseOutput(scores, self.kind)  # type: ignore[arg-type]

    def _counted(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


class PixelLinear(nn.Module):
    """Every pixel by itself: ``z = (10 + s, 10 - s)``, ``s = w·x + b``; sums written out, so that bits are stable.

    The 10 keeps both logits positive, so that the cosine to the one-hot truth falls as the margin does.
    """

    def __init__(self, w: tuple[float, ...] = (3.0, -2.0, 1.0), b: float = -1.0) -> None:
        super().__init__()
        self.register_buffer("w", torch.tensor(w))
        self.b = b

    def forward(self, x: Tensor) -> Tensor:
        s = x[:, 0] * self.w[0]
        for c in range(1, len(self.w)):
            s = s + x[:, c] * self.w[c]
        s = s + self.b
        return torch.stack([10 + s, 10 - s], 1)


class PositiveBlur(nn.Module):
    """Spatial coupling with a known best attack: a convolution with a positive kernel, against a constant."""

    def __init__(self, threshold: float = 3.2) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.rand(1, 3, 3, 3, generator=torch.Generator().manual_seed(3)) / 2)
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        s = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.kernel) - self.threshold
        return torch.cat([10 + s, 10 - s], 1)


def conv_net(classes: int = 4, seed: int = 0, sharp: float = 20.0) -> nn.Sequential:
    """A random network with BatchNorm and an output at half size."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, classes, 3, stride=2, padding=1),
        )
        with torch.no_grad():
            net[3].weight *= sharp
    return net.eval()


def scene(n: int = 3, size: tuple[int, int] = (12, 16), seed: int = 0, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Random images in [0,1] and labels with some ignored pixels."""
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 3, *size, generator=g)
    labels = torch.randint(0, classes, (n, *size), generator=g)
    labels[:, 0, :3] = 255
    return images, labels


def ready(spec: str | Attack | Callable[..., Tensor], classes: int, **options: str | int) -> Attack:
    """An attack of the catalog; where it needs class counts, equal ones."""
    made = attack(spec, **options)  # type: ignore[arg-type]
    counts = Artefact("class-pixels", {"class_pixels": torch.full((classes,), 100.0)}, "toy:fit")
    return made.with_artefact(counts) if made.needs_fit else made


def wrong(model: Toy, images: Tensor, labels: Tensor) -> Tensor:
    """Which labelled pixels the model gets wrong, by argmax at label size."""
    scores = model.module(images)
    if scores.shape[-2:] != labels.shape[-2:]:
        scores = F.interpolate(scores, labels.shape[-2:], mode="bilinear", align_corners=False)
    return (scores.argmax(1) != labels) & (labels != 255)


def blocks(n: int, seed: int, size: int = 24, noise: float = 0.03) -> tuple[Tensor, Tensor]:
    """Three classes that a small network learns in a second: blocks whose colour tells the class, under noise."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n, size // 4, size // 4), generator=g)
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    colours = torch.tensor([[0.425, 0.5, 0.55], [0.5, 0.45, 0.5], [0.55, 0.525, 0.45]])
    images = colours[labels].permute(0, 3, 1, 2) + noise * torch.randn(n, 3, size, size, generator=g)
    return images, labels


class Centred(nn.Sequential):
    """A network behind a fixed normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - 0.5) * 8)


def trained(scale: float = 1.0, kernel: int = 3, noise: float = 0.03) -> Toy:
    """A small network that has learned ``blocks``; ``scale`` multiplies its logits afterwards (gradient masking)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Centred(
            nn.Conv2d(3, 12, kernel, padding="same"),
            nn.ReLU(),
            nn.Conv2d(12, 12, kernel, padding="same"),
            nn.ReLU(),
            nn.Conv2d(12, 3, 1),
        )
        optimiser = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(80):
            x, y = blocks(8, 1000 + step, noise=noise)
            optimiser.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimiser.step()
    with torch.no_grad():
        net[-1].weight *= scale
        net[-1].bias *= scale
    return Toy(net.eval(), 3)
