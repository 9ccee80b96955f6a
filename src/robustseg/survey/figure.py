"""A figure of the survey with our models: the run behind it, the picture, and a JSON file that says how it was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from robustseg.errors import UserError
from robustseg.survey.panels import Tile, sheet
from robustseg.survey.simulated import billboard

__all__ = ["FIGURES", "Figure", "figure"]

PREDICTIONS = ("clean_prediction", "prediction")
GOALS = {"goal_reached": "of the goal reached", "background_kept": "of the rest kept"}  # scores of one picture's run


@dataclass(frozen=True)
class Figure:
    """What a figure shows: attacks, one a row; ``fast``: the same in seconds."""

    title: str
    text: str
    attacks: tuple[str, ...]
    fast: tuple[str, ...]
    clothed: bool = False  # needs a picture of someone whose clothes are known
    simulated: bool = False  # beside the digital attack, the same in a rendered street


FIGURES: Mapping[int, Figure] = {
    1: Figure(
        "Figure 1. A step along the sign of the gradient",
        "x' = x + eps * sign(gradient of L(x, y) by x): the fast gradient sign method (Goodfellow et al., 2015).",
        ("fgsm:eps=8/255",),
        ("fgsm:eps=8/255",),
    ),
    2: Figure(
        "Figure 2. Clothes in which nobody is seen",
        "The clothes alone change, into a pattern that looks like cloth (Treu et al., 2021).",
        ("fashion",),
        ("fashion:steps=20",),
        clothed=True,
    ),
    3: Figure(
        "Figure 3. Semantically stealthy attacks",
        "Somebody shall vanish, appear, or stand elsewhere, and every other pixel keep its label (Chen et al., 2022).",
        ("stealthy", "stealthy:kind=embed", "stealthy:kind=displace,dx=32"),
        ("stealthy:steps=15", "stealthy:kind=embed,steps=15", "stealthy:kind=displace,dx=32,steps=15"),
    ),
    4: Figure(
        "Figure 4. A patch, digital and simulated",
        "Above: a patch for all images, laid over one of them. Below: a patch for one billboard, as its picture "
        "(simulated, no photograph). Scores leave out the patch (Nesti et al., 2022).",
        ("patch",),
        ("patch:steps=30,images=8",),
        simulated=True,
    ),
}


def figure(
    number: int,
    *,
    out: Path,
    model: str = "zoo:street-unet",
    image: Path | None = None,
    region: Path | None = None,
    fast: bool = False,
    seed: int = 0,
    progress: Callable[[float, float, str], None] | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Makes ``out/figure-N.png`` and ``out/figure-N.json``; returns what the JSON file says.

    ``image``: a picture of the user's, attacked on the model's own prediction; default: the first fitting scene of
    ``street:val``, attacked on its truth. ``region``: mask file of what may be written (figure 2 on such a picture).
    Raises: UserError for a figure there is none of, or a picture it cannot be made of.
    """
    if number not in FIGURES:
        raise UserError(f"there is no figure {number}; choose from {', '.join(map(str, FIGURES))}")
    one = FIGURES[number]
    if one.clothed and image is not None and region is None:
        raise UserError(f"figure {number} writes on clothes only: say where they are with --region MASK.png")
    if one.simulated and image is not None:
        raise UserError(f"figure {number} needs a street that can be rendered again; leave out --image")
    specs = [*(one.fast if fast else one.attacks)]
    if region is not None:
        specs = [f"{s}{',' if ':' in s else ':'}region={region}" for s in specs]
    work = out / f"figure-{number}"
    shown = _of_file(specs, image, model, work, seed, progress) if image else _of_street(one, specs, model, work, seed,
                                                                                       progress)  # fmt: skip
    more, about = [], {}
    if one.simulated:
        more, about = billboard(model, work / "billboard", fast=fast, seed=seed, progress=progress)
    picture = _drawn(one, shown, more, out / f"figure-{number}.png")
    told = {
        "figure": number,
        "title": one.title,
        "text": one.text,
        "picture": str(picture),
        "model": model,
        "image": str(image) if image else f"street:val {shown[0]['id']}",
        "seed": seed,
        "fast": fast,
        "attacks": [{k: v for k, v in row.items() if k not in ("files", "palette")} for row in shown],
        **({"billboard": about} if about else {}),
        "command": list(command),
    }
    path = out / f"figure-{number}.json"
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return told


def _of_file(
    specs: Sequence[str], image: Path, model: str, work: Path, seed: int, progress: Callable[..., None] | None
) -> list[dict[str, Any]]:
    """Rows of a picture file: against what the model saw in it."""
    from robustseg.evaluation.colours import gain, palette
    from robustseg.evaluation.single import attack_images
    from robustseg.models import load_model

    net = load_model(model)
    rows = []
    for k, spec in enumerate(specs):
        (done,) = attack_images([image], net, spec, out=work / str(k), seed=seed, progress=progress)
        folder = Path(done["folder"])
        with Image.open(image) as opened:
            clean = np.asarray(opened.convert("RGB"), dtype=np.float32).transpose(2, 0, 1) / 255
        delta = np.load(folder / "adversarial.npz")["image"] - clean
        files = {n: folder / f"{n}.png" for n in ("adversarial", "perturbation", "clean_prediction", "prediction")}
        rows.append({
            "id": image.stem, "spec": done["attack"], "changed": done["changed"], "linf": done["linf"],
            "gradients": done["backwards"], "gain": gain(delta), "files": {"clean": image, **files},
            "palette": palette(net.spec.classes),
        })  # fmt: skip
    return rows


def _of_street(
    one: Figure, specs: Sequence[str], model: str, work: Path, seed: int, progress: Callable[..., None] | None
) -> list[dict[str, Any]]:
    """Rows of a bundled scene, through an ordinary run that can be read, reported and replayed."""
    from robustseg import catalog
    from robustseg.evaluation.run import evaluate

    asked = {catalog.attack(s).spec for s in specs}  # baselines stand beside them in the run
    limit = _first_clothed() + 1 if one.clothed else 1
    summary = evaluate(
        model, "street:val", list(specs), out=work, limit=limit, seed=seed, keep=limit, progress=progress
    )
    folder = work / "pictures"
    index = json.loads((folder / "INDEX.json").read_text(encoding="utf-8"))
    entry = max(index["images"], key=lambda e: e["id"])
    rows = []
    for made in entry["attacks"]:
        score = summary["attacks"][made["spec"]]
        if made["spec"] not in asked:
            continue
        files = {n: folder / made[n] for n in ("adversarial", "perturbation", "prediction")}
        files |= {n: folder / entry[n] for n in ("clean", "clean_prediction")}
        before, after = (np.asarray(Image.open(files[n])) for n in PREDICTIONS)
        rows.append({
            "id": entry["id"], "spec": made["spec"], "changed": float((before != after).any(-1).mean()),
            "aAcc": made["aAcc"], "mIoU": made["mIoU"], "gradients": score.get("backwards"), "gain": made["gain"],
            "run": str(work), "files": files, "palette": index["palette"],
            **({k: v for k, v in score.get("extra", {}).items() if k in GOALS} if limit == 1 else {}),
        })  # fmt: skip
    if not rows:
        raise UserError(f"no picture came of {', '.join(specs)} on {model}; robustseg report {work} shows why")
    return rows


def _first_clothed() -> int:
    """Index of the first scene of street:val in which somebody wears clothes that may be written on."""
    from robustseg.data import load_data
    from robustseg.evaluation.masks import mask

    data = load_data("street:val")
    clothes = mask("clothing", data)
    return next(i for i in range(len(data)) if int(clothes(data[i]).sum()) >= 150)


def _drawn(one: Figure, rows: Sequence[Mapping[str, Any]], more: list[list[Tile]], path: Path) -> Path:
    """The sheet: a row of tiles for each attack, and ``more`` below."""
    tiles = []
    for row in rows:
        files = {name: Image.open(f) for name, f in row["files"].items()}
        found = f"{row['changed']:.1%} of pixels changed class"
        if "aAcc" in row:
            found += f"; {row['aAcc']:.1%} right"
        found += "".join(f"; {row[k]:.1%} {words}" for k, words in GOALS.items() if row.get(k) is not None)
        tiles.append([
            Tile(files["clean"], "x"),
            Tile(files["perturbation"], f"x' - x, {row['gain']} times enlarged around grey"),
            Tile(files["adversarial"], f"x': {row['spec']}"),
            Tile(files["clean_prediction"], "prediction of x", near=True),
            Tile(files["prediction"], f"prediction of x': {found}", near=True),
        ])  # fmt: skip
    shown = {name: colour for name, colour in rows[0]["palette"].items() if tuple(colour) in _colours(rows)}
    path.parent.mkdir(parents=True, exist_ok=True)
    return sheet([*tiles, *more], one.title, [one.text], path, colours=shown)


def _colours(rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, ...]]:
    """All colours of the predictions."""
    maps = [np.asarray(Image.open(row["files"][n]).convert("RGB")) for row in rows for n in PREDICTIONS]
    return {tuple(map(int, c)) for m in maps for c in np.unique(m.reshape(-1, 3), axis=0)}
