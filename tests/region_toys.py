"""A two-stage model of one formula a part, to be computed by hand, and bright squares as data."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from robustseg.ops import boxes as bx
from robustseg.types import ModelSpec, RegionOutput, Sample, Segments, SegmentTarget


class Glow(nn.Module):
    """``gain * (brightness - 1/2)``: one number of every pixel, ``(B,1,H,W)``."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(float(gain)))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * (x.mean(1, keepdim=True) - 0.5)


class ToyRegions:
    """Anchors are given boxes. Objectness and the logit of the object class: mean glow inside the box.

    ``classes`` beyond the first object class have logit ``-other``. Boxes are their proposals moved right by ``drift``
    times the mean glow; the mask over a box is the glow inside it. The background has logit 0.
    """

    def __init__(self, anchors: Tensor, gain: float = 8.0, drift: float = 0.0, classes: int = 2, other: float = 4.0):
        self.anchors, self.drift, self.other = anchors.float(), drift, other
        self.module = Glow(gain).eval()
        names = ("background", *"abcdefgh"[: classes - 1])
        self.spec = ModelSpec("toy", "instance", names, "toy")

    def __call__(self, images: Tensor, *, prompts=None, proposals=None, want=frozenset()) -> RegionOutput:
        B, _, H, W = images.shape
        glow = self.module(images)

        def inside(boxes: Tensor, side: int = 8) -> Tensor:
            rois = torch.cat([torch.arange(B).repeat_interleave(boxes.shape[1])[:, None], boxes.reshape(-1, 4)], 1)
            return roi_align(glow, rois, (side, side), 1.0, 1, aligned=True).view(*boxes.shape[:2], side, side)

        anchors = self.anchors.expand(B, -1, 4)
        objectness = inside(anchors).flatten(2).mean(2)
        rois = anchors if proposals is None else proposals
        mean = inside(rois).flatten(2).mean(2)
        K = len(self.spec.classes)
        logits = [torch.zeros_like(mean), mean, *[torch.full_like(mean, -self.other)] * (K - 2)]
        moved = rois + self.drift * mean[..., None] * rois.new_tensor([1.0, 0, 1, 0])

        def masks(boxes):
            n = [len(b) for b in boxes]
            padded = torch.stack([torch.cat([b, b.new_zeros(max(n) - len(b), 4)]) for b in boxes])
            cells = inside(padded)
            return torch.cat([c[:k] for c, k in zip(cells, n)])[:, None].expand(-1, K, -1, -1)

        return RegionOutput(
            objectness=objectness,
            anchors=anchors,
            box_deltas=torch.zeros_like(anchors) * objectness[..., None],
            proposals=rois,
            present=bx.area(rois) > 0,
            class_logits=torch.stack(logits, -1),
            boxes=moved[:, :, None].expand(-1, -1, K, -1),
            mask_logits=mean.new_zeros(B, 0, K, 0, 0),
            size=(H, W),
            extras={
                "levels": torch.zeros(anchors.shape[1], dtype=torch.int64),
                "masks": masks,
                "rules": (0.05, 0.5, 100),
                "weights": (10.0, 10.0, 5.0, 5.0),
            },
        )


def grid(H: int, W: int, side: int = 8) -> Tensor:
    """Squares that tile the image, row by row: ``(N,4)``."""
    return torch.tensor([[x, y, x + side, y + side] for y in range(0, H, side) for x in range(0, W, side)]).float()


def squares(cells: list[int], H: int = 24, W: int = 32, side: int = 8, bright: float = 0.8, dark: float = 0.2):
    """An image ``(3,H,W)`` whose squares number ``cells`` of the grid are bright, and their masks ``(S,H,W)``."""
    image = torch.full((3, H, W), dark)
    masks = torch.zeros(len(cells), H, W, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, grid(H, W, side)[cells].long().tolist()):
        mask[y0:y1, x0:x1] = True
        image[:, y0:y1, x0:x1] = bright
    return image, masks


def target(masks: list[Tensor], category: int = 1, classes: int = 2) -> SegmentTarget:
    """The truth of a batch whose objects are all of one class."""
    most, (H, W) = max(len(m) for m in masks), masks[0].shape[-2:]
    padded = torch.zeros(len(masks), most, H, W, dtype=torch.bool)
    categories = torch.full((len(masks), most), -1)
    labels = torch.zeros(len(masks), H, W, dtype=torch.int64)
    for i, m in enumerate(masks):
        padded[i, : len(m)], categories[i, : len(m)] = m, category
        labels[i][m.any(0)] = category
    things = torch.arange(classes) > 0
    return SegmentTarget(labels, 255, padded, categories, torch.zeros_like(categories, dtype=torch.bool), things)


class Squares:
    """A data set of bright squares on dark ground."""

    ref, task, classes, ignore, things, tasks = "squares", "instance", ("ground", "a"), 255, ("a",), ("instance",)

    def __init__(self, n: int = 3) -> None:
        self.ids = [f"image {i}" for i in range(n)]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        image, masks = squares([index, index + 5])
        segments = Segments(masks, torch.ones(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool))
        return Sample(self.ids[index], image, masks.any(0).long(), segments=segments)

    def digest(self) -> str:
        return "squares"
