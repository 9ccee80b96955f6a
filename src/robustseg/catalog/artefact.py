"""What an attack learned from more than one image: saved, hashed into the run key, its gradients counted apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from robustseg.errors import UserError
from robustseg.ops import digest
from robustseg.types import Sample

__all__ = ["Artefact", "class_pixels"]


@dataclass(frozen=True)
class Artefact:
    """Named tensors with their origin. ``fitted_on`` is the data reference; forwards and backwards are totals."""

    kind: str
    tensors: dict[str, Tensor]
    fitted_on: str
    forwards: int = 0
    backwards: int = 0

    @property
    def digest(self) -> str:
        """Hash of kind and content."""
        return digest.of_json([self.kind, digest.tensors(self.tensors)])

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; the origin travels in its metadata."""
        from safetensors.torch import save_file

        about = {"kind": self.kind, "fitted_on": self.fitted_on}
        about |= {"forwards": str(self.forwards), "backwards": str(self.backwards)}
        save_file({k: v.contiguous() for k, v in self.tensors.items()}, str(path), metadata=about)

    @staticmethod
    def load(path: str | Path) -> Artefact:
        """Read what ``save`` wrote. Raises UserError where the file is no artefact."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as f:
                about = f.metadata() or {}
                tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
            return Artefact(about["kind"], tensors, about["fitted_on"], int(about["forwards"]), int(about["backwards"]))
        except (SafetensorError, OSError, KeyError, ValueError) as e:
            raise UserError(f"{path} is not an attack artefact ({e}); fit it again") from None


def class_pixels(samples: Iterable[Sample], classes: int, ignore: int, fitted_on: str) -> Artefact:
    """``N_y``: the pixels of every class over a set of labelled samples, labels in model class indices."""
    counts = torch.zeros(classes, dtype=torch.int64)
    for sample in samples:
        if sample.labels is None:
            raise UserError(f"{fitted_on}: image {sample.id} has no labels; class counts need labelled images")
        counts += torch.bincount(sample.labels[sample.labels != ignore].flatten(), minlength=classes)[:classes]
    if not counts.sum():
        raise UserError(f"{fitted_on} has no labelled pixel; give labelled images with --fit-data")
    return Artefact("class-pixels", {"class_pixels": counts.float()}, fitted_on)
