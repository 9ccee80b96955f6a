"""The picture of the README, from the pictures that ``make demo`` keeps: ``python examples/readme_picture.py``."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

RUN, OUT = Path("runs/demo/street-unet"), Path("docs/images/readme.png")
SHOWN = ("cospgd", "hide")
WIDTH, HEIGHT, MARGIN, TITLE = 512, 256, 10, 30


def main() -> None:
    """Two rows, what the eye sees and what the network sees; columns: clean, and two attacks."""
    index = json.loads((RUN / "pictures" / "INDEX.json").read_text())
    image = index["images"][0]
    attacks = [next(a for a in image["attacks"] if a["spec"].startswith(name)) for name in SHOWN]
    titles = ["clean", *(a["spec"] for a in attacks)]
    rows = [
        [image["clean"], *(a["adversarial"] for a in attacks)],
        [image["clean_prediction"], *(a["prediction"] for a in attacks)],
    ]
    sheet = Image.new("RGB", (3 * WIDTH + 2 * MARGIN, TITLE + 2 * HEIGHT + MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for column, title in enumerate(titles):
        pen.text((column * (WIDTH + MARGIN) + 2, 5), title, "black", font)
        for row, files in enumerate(rows):
            with Image.open(RUN / "pictures" / files[column]) as part:
                at = (column * (WIDTH + MARGIN), TITLE + row * (HEIGHT + MARGIN))
                sheet.paste(part.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.NEAREST), at)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256, dither=Image.Dither.NONE).save(OUT, optimize=True)


if __name__ == "__main__":
    main()
