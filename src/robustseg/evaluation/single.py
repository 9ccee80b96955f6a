"""Attack pictures from files: no data set, no truth; the reference is the clean prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustseg import catalog
from robustseg.data.images import read_image
from robustseg.errors import UserError
from robustseg.evaluation import asked, masks, referee
from robustseg.evaluation import device as machine
from robustseg.evaluation.colours import coloured, gain, palette, perturbation, save_index, save_rgb
from robustseg.evaluation.files import slug, write_json
from robustseg.ops import seeds
from robustseg.ops.state import frozen
from robustseg.types import Model, Sample

__all__ = ["attack_images"]


@dataclass(frozen=True)
class _Pictures:
    """What a region needs to know of the data: nothing but the class names."""

    classes: tuple[str, ...]
    ref: str = "pictures"
    ignore: int = 255
    task: str = "semantic"
    ids: tuple[str, ...] = ()
    size: None = None

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Sample:
        raise IndexError(index)

    def digest(self) -> str:
        """Nothing to hash."""
        return ""


def attack_images(
    paths: Sequence[str | Path],
    model: str | Model,
    spec: str | Sequence[str],
    *,
    out: str | Path,
    seed: int = 0,
    device: str = "auto",
    window: int | None = None,
    eot: str | None = None,
    eot_samples: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[dict[str, Any]]:
    """Attack each picture file by itself and write what came out to ``out/NAME/`` (several: ``out/ATTACK/NAME/``).

    ``adversarial.npz`` holds the image losslessly (float32 in [0,1]). Returns per picture ``changed``: the share of
    pixels whose predicted class changed, the norms, and the cost.
    ``eot``, ``eot_samples``: as for ``evaluate``. Raises UserError for what cannot be read or attacked.
    """
    if seed < 0:
        raise UserError(f"seed {seed} is negative; use a whole number from 0 on")
    given, survive = [spec] if isinstance(spec, str) else list(spec), asked.survival(eot, eot_samples)
    attacks = list({a.spec: a for a in (asked.surviving(_against_prediction(g), survive) for g in given)}.values())
    folders = [Path(out) / slug(a.spec) if len(attacks) > 1 else Path(out) for a in attacks]
    names = [Path(p).stem for p in paths]
    if len(set(names)) < len(names):
        raise UserError("two pictures have the same file name; attack them into separate folders")
    if isinstance(model, str):
        from robustseg.models import load_model

        model = load_model(model, device=str(machine.choose(device)), window=window)
    if model.spec.task == "prompted":
        raise UserError(f"{model.spec.ref} must be asked for objects; a picture alone names none: use evaluate")
    done = []
    total = len(attacks) * len(paths)
    for attack, folder in zip(attacks, folders, strict=True):
        for name, path in zip(names, paths, strict=True):
            if progress:
                progress(len(done), total, f"{path}, {attack.spec}")
            done.append({"image": str(path), **_one(Path(path), model, attack, folder / slug(name), seed)})
    return done


def _against_prediction(spec: str) -> catalog.Attack:
    """There is no truth: an attack on it becomes one on the clean prediction."""
    attack = catalog.attack(spec)
    if attack.needs_fit and attack.artefact is None:
        raise UserError(f"{attack.name} must be fitted on a data set; use `robustseg evaluate`, or another attack")
    if "reference" in attack.given or attack.reference == "pred":
        return attack
    return catalog.attack(attack, reference="pred")


def _one(path: Path, model: Model, attack: catalog.Attack, folder: Path, seed: int) -> dict[str, Any]:
    image = read_image(path)[None]
    where = next((p.device for p in model.module.parameters()), torch.device("cpu"))
    x = image.to(where)
    with frozen(model.module), machine.repeatable(where):
        before, finite = _labels(model, x)
        if not bool(finite.all()):
            raise UserError(f"{path}: the model's scores are not finite; look at it with `robustseg doctor`")
        region = None
        if attack.region is not None:
            sample = Sample(path.stem, image[0], before[0].cpu())
            region = masks.mask(attack.region, _Pictures(model.spec.classes))(sample)[None].to(where)
            if not bool(region.any()):
                raise UserError(f"{path}: the region {attack.region} has no pixel in this picture")
        result = attack(model, x, None, ids=seeds.content_ids(image), seed=seed, region=region)
        eps = float(Fraction(attack.eps))
        fault = referee.inspect(x, result.images, eps=eps, norm=attack.norm, region=region)[0]
        if fault is not None:
            raise UserError(f"{path}: {attack.spec} broke its own rules ({fault}); nothing was written")
        found = result.images.clamp(0, 1)
        after, _ = _labels(model, found)
    size = referee.norms(x, found)[0]
    _write(folder, image[0].numpy(), found[0].cpu().numpy(), before[0].cpu().numpy(), after[0].cpu().numpy(), model)
    about = {
        "attack": attack.spec,
        "applicable": result.applicable is None or bool(result.applicable[0]),
        "changed": float((before != after).float().mean()),
        "forwards": int(result.forwards[0]),
        "backwards": int(result.backwards[0]),
        **size,
        "folder": str(folder),
    }
    write_json(folder / "result.json", {**about, "model": model.spec.ref, "seed": seed})
    return about


def _labels(model: Model, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    found, finite = referee.predict(model, x)
    assert found.labels is not None
    return found.labels, finite


def _write(folder: Path, clean: Any, attacked: Any, before: Any, after: Any, model: Model) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        delta = attacked - clean
        colours = list(palette(model.spec.classes).values())
        np.savez_compressed(folder / "adversarial.npz", image=attacked.astype(np.float32))
        save_rgb(folder / "adversarial.png", attacked)
        save_rgb(folder / "perturbation.png", perturbation(delta, gain(delta)))
        for name, labels in (("clean_prediction", before), ("prediction", after)):
            save_rgb(folder / f"{name}.png", coloured(labels, colours))
            save_index(folder / f"{name}.index.png", labels)
    except OSError as problem:
        raise UserError(f"cannot write {folder}: {problem.strerror or problem}; choose another --out") from problem
