"""What a printer can make and an eye forgives: non-printability and roughness of a patch, to be kept low.

Both are written per patch ``(B,)``. Sources: Sharif et al., CCS 2016 (non-printability score, total variation); in the
squared form and with these letters: Nesti et al., WACV 2022, arXiv 2108.06179, L_N and L_S.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from robustseg.errors import UserError

__all__ = ["non_printability", "read_colours", "roughness"]


def roughness(patch: Tensor) -> Tensor:
    """``Σ (d_{i+1,j} - d_{ij})² + (d_{i,j+1} - d_{ij})²`` over a patch ``(B,C,h,w)``, ``(B,)``; sum, as published.

    >>> roughness(torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]]))
    tensor([2.])
    """
    down = (patch[..., 1:, :] - patch[..., :-1, :]).square().flatten(1).sum(1)
    right = (patch[..., 1:] - patch[..., :-1]).square().flatten(1).sum(1)
    return down + right


def non_printability(patch: Tensor, colours: Tensor) -> Tensor:
    """``mean_p Π_{c in C} |p - c|₂`` of a patch ``(B,3,h,w)`` and printable ``colours (N,3)`` in [0,1], ``(B,)``.

    A pixel of a printable colour costs nothing. Its gradient is 0 at such a colour (there the distance has none).

    >>> grey = torch.full((1, 3, 1, 1), 0.5)
    >>> non_printability(grey, torch.tensor([[0.5, 0.5, 0.5], [0.0, 0.0, 0.0]]))
    tensor([0.])
    """
    pixels = patch.flatten(2).transpose(1, 2).unsqueeze(2)
    squares = (pixels - colours.to(patch)).square().sum(-1)
    lengths = torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)
    return lengths.prod(-1).mean(1)


def read_colours(path: str | Path) -> Tensor:
    """Printable colours ``(N,3)`` in [0,1] of a text file: three numbers a line, all in [0,1] or all up to 255.

    Commas or spaces between them; empty lines and what follows ``#`` are left out. Raises UserError.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"printable colours {path}: no such file; give a text file with three numbers a line")
    rows = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as e:
        raise UserError(f"printable colours {path} cannot be read ({e}); give a text file") from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != 3 or not all(0 <= v <= 255 for v in row):
            raise UserError(
                f"printable colours {path}, line {number}: {line.strip()!r} is not three numbers in [0,255]"
            )
        rows.append(row)
    if not rows:
        raise UserError(f"printable colours {path} holds none; write three numbers a line")
    found = torch.tensor(rows)
    return found / 255 if float(found.max()) > 1 else found
