"""Pictures of a drive towards a billboard: frames of several textures side by side, over what the model says of them.

Every picture carries the word *simulated*: it will be looked at without the page that it stood on.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from robustseg.evaluation.colours import coloured, save_rgb

__all__ = ["animate", "shown"]

NARROWEST, WIDEST = 256, 320  # pixels a column: the captions must fit
LARGEST = 900_000  # bytes
BAR = 16
PAUSE_MS, LAST_MS = 450, 1500


def shown(path: Path, image: Tensor) -> None:
    """One frame ``(3,H,W)`` as PNG."""
    save_rgb(path, image.detach().cpu().numpy())


def animate(
    path: Path,
    columns: Mapping[str, Sequence[tuple[Tensor, Tensor]]],
    captions: Sequence[str],
    colours: Sequence[Sequence[int]],
) -> None:
    """An animated WebP: a column a texture, the frames ``(3,H,W)`` over the labels ``(H,W)``, far to near, for ever.

    ``captions``: of every frame. Coarser until it is smaller than 900 kB.
    """
    from PIL import Image

    frames = [_frame({name: many[i] for name, many in columns.items()}, caption, colours)
              for i, caption in enumerate(captions)]  # fmt: skip
    pauses = [PAUSE_MS] * (len(frames) - 1) + [LAST_MS]
    data = b""
    for quality in (80, 60, 40, 20, 5):
        buffer = io.BytesIO()
        first, *rest = [Image.fromarray(f) for f in frames]
        first.save(buffer, "WEBP", save_all=True, append_images=rest, duration=pauses, loop=0, quality=quality)
        data = buffer.getvalue()
        if len(data) < LARGEST:
            break
    path.write_bytes(data)


def _frame(columns: Mapping[str, tuple[Tensor, Tensor]], caption: str, colours: Sequence[Sequence[int]]) -> np.ndarray:
    from PIL import Image, ImageDraw

    made = []
    for name, (image, labels) in columns.items():
        picture = Image.fromarray((image.detach().cpu().numpy().transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8))
        said = Image.fromarray(coloured(labels.cpu().numpy(), colours))
        wide = min(max(picture.width, NARROWEST), WIDEST)
        size = (wide, max(round(picture.height * wide / picture.width), 1))
        column = Image.new("RGB", (wide, BAR + 2 * size[1]), (255, 255, 255))
        column.paste(picture.resize(size, Image.Resampling.BOX), (0, BAR))
        column.paste(said.resize(size, Image.Resampling.NEAREST), (0, BAR + size[1]))
        ImageDraw.Draw(column).text((3, 2), f"simulated, {caption}: {name}", fill=(20, 20, 20))
        made.append(np.asarray(column))
    return np.concatenate(made, 1)
