"""CamVid photographs, five attacks: makes docs/results/camvid.md and a page for each model.

    python examples/camvid.py PATH_TO_CAMVID [LIMIT]

A killed run goes on where it stopped. The weights are in a checkout only (non-commercial, see weights-nc/).
"""

from __future__ import annotations

import sys
from pathlib import Path

import robustseg as rs
from robustseg.models import zoo
from robustseg.ops.memory import keep_freed
from robustseg.report.table import markdown
from robustseg.terminal import bar

MODELS = ("camvid-deeplab", "camvid-segformer")
ATTACKS = ("fgsm", "pgd:steps=10", "segpgd:steps=10", "cospgd:steps=10", "hide:class=pedestrian,steps=20")
EPS = "2/255"
PAGE = Path("docs/results/camvid.md")

TEXT = """# CamVid: five attacks on two small networks

{images} test photographs at 360×480, L∞ ball of ε = {eps}, seed 0; the ground truth is attacked (by `hide`: the
clean prediction). Scores in %, 95 % intervals by bootstrap over images. The models' cards: [zoo](../zoo.md). Made by

```bash
python examples/camvid.py PATH_TO_CAMVID {images}
```

{tables}
"""


def main(path: str, limit: str | None = None, out: Path = Path("runs/camvid")) -> None:
    """Evaluate what the zoo has, write the reports and the page."""
    keep_freed()
    tables, images = [], 0
    for name in (n for n in MODELS if n in zoo.folders()):
        with bar(f"loading zoo:{name}") as progress:
            summary = rs.evaluate(
                f"zoo:{name}",
                f"camvid:{path}:test",
                ATTACKS,
                eps=EPS,
                limit=int(limit) if limit else None,
                keep=3,
                out=out / name,
                progress=progress,
            )
        print(rs.report(out / name))
        tables.append(f"## {name}\n\n{markdown(summary)}")
        images = summary["images"]
    PAGE.write_text(TEXT.format(images=images, eps=EPS, tables="\n\n".join(tables)), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main(*sys.argv[1:3])
