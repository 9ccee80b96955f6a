"""A synthetic store: rows that obey the arithmetic of real ones, made without a network."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from robustseg.evaluation import key
from robustseg.evaluation.aggregate import load_summary
from robustseg.evaluation.store import Row, Run, Store

CLASSES = ["road", "building", "car", "person", "sky"]
ATTACKS = {"fgsm": 0.25, "noise": 0.05, "pgd:steps=20": 0.6, "segpgd:steps=20": 0.7, "cospgd:steps=20": 0.65}


def stats(rng: np.random.Generator, truth: np.ndarray, clean: np.ndarray, wrong: float, classes: int) -> dict:
    """Statistics of a prediction that gets a share ``wrong`` of the pixels of ``truth`` wrong (255 is ignored)."""
    change = rng.random(truth.shape) < wrong
    prediction = np.where(change, rng.integers(0, classes, truth.shape), clean)
    return count(prediction, truth, clean, classes)


def count(prediction: np.ndarray, truth: np.ndarray, clean: np.ndarray, classes: int) -> dict:
    """Brute-force statistics of one image, after the contract of ``tasks.semantic.statistics``."""
    valid = truth != 255
    right = valid & (prediction == truth)
    clean_right = valid & (clean == truth)
    objects = []
    for c in range(classes):
        here = truth == c
        if here.any():
            objects.append([c, int(here.sum()), int((here & right).sum())])
    return {
        "inter": [int((right & (truth == c)).sum()) for c in range(classes)],
        "pred": [int((valid & (prediction == c)).sum()) for c in range(classes)],
        "target": [int((valid & (truth == c)).sum()) for c in range(classes)],
        "valid": int(valid.sum()),
        "right": int(right.sum()),
        "clean_right": int(clean_right.sum()),
        "flipped": int((clean_right & ~right).sum()),
        "objects": objects,
    }


def make_store(
    folder: Path,
    *,
    images: int = 12,
    eps: tuple[str, ...] = ("2/255", "4/255", "8/255"),
    attacks: dict[str, float] | None = None,
    seed: int = 0,
    model: str = "zoo:street-unet",
    data: str = "street:val",
    failures: bool = True,
    size: tuple[int, int] = (40, 60),
) -> Path:
    """Writes ``folder/store.sqlite`` and ``summary.json``: clean rows, attacks at every eps, a targeted attack with
    a goal, a two-member ensemble and, with ``failures``, one failed, one violating and one not applicable row."""
    rng = np.random.default_rng(seed)
    attacks = ATTACKS if attacks is None else attacks
    n = len(CLASSES)
    ids = [f"street/{i:04d}" for i in range(images)]
    truths, cleans = {}, {}
    for i in ids:
        blocks = rng.integers(0, n, (4, 6))
        truths[i] = np.kron(blocks, np.ones((size[0] // 4, size[1] // 6), dtype=int))
        truths[i][0] = 255
        cleans[i] = np.where(rng.random(truths[i].shape) < 0.1, rng.integers(0, n, truths[i].shape), truths[i])
    clean = key.clean_config(model="m" * 16, data="d" * 16, task="semantic")
    with Store(folder) as store:
        clean_key = store.add_key(clean)
        store.add_rows(
            Row(clean_key, i, p, f"{p:016x}",
                stats=count(np.where(truths[i] == 255, 0, cleans[i]), truths[i], cleans[i], n),
                forwards=1, budget_f=1, seconds=0.01, batch="0 1 2 3")
            for p, i in enumerate(ids)
        )  # fmt: skip
        keys: dict[str, str] = {}
        for e in eps:
            strength = min(1.0, float(Fraction(e)) * 255 / 8)
            for family, wrong in attacks.items():
                name, _, options = family.partition(":")
                spec = f"{name}:eps={e}" + (f",{options}" if options else "")
                keys[spec] = _attack(store, clean, spec, e, wrong * strength, ids, truths, cleans, rng, seed)
            hide = f"hide:eps={e},target=person"
            keys[hide] = _attack(store, clean, hide, e, 0.2 * strength, ids, truths, cleans, rng, seed, goal=True)
        if failures:
            spoil = [s for s in keys if s.startswith("pgd")][-1]
            store.add_rows([
                Row(keys[spoil], ids[0], 0, "0" * 16, "failed", "out of memory at batch size 1", batch="0 1 2 3"),
                Row(keys[spoil], ids[1], 1, "0" * 16, "violation", "outside the linf ball: 0.0400 > 0.0314",
                    batch="0 1 2 3"),
            ])  # fmt: skip
            store.add_rows([Row(keys[hide], ids[2], 2, "0" * 16, "not-applicable", batch="0 1 2 3")])
        ensembles = {
            f"sea:eps={e}": [s for s in keys if s.startswith(("segpgd", "cospgd")) and f"eps={e}," in s] for e in eps
        }
        store.add_run(
            Run(
                clean_key,
                keys,
                ids,
                {k: v for k, v in ensembles.items() if v},
                {"model": model, "data": data, "task": "semantic", "classes": CLASSES, "seed": seed, "device": "cpu",
                 "batch_size": 4, "versions": {"robustseg": "0.1.0", "torch": "2.14"}},
            )
        )  # fmt: skip
    (Path(folder) / "summary.json").write_text(json.dumps(load_summary(folder), indent=1))
    return Path(folder)


def _attack(store, clean, spec, eps, wrong, ids, truths, cleans, rng, seed, goal=False) -> str:
    reference = "pred" if goal else "gt"
    config = key.attack_config(clean, spec=spec, version=1, eps=eps, norm="linf", reference=reference, seed=seed)
    name = store.add_key(config)
    steps = 1 if spec.startswith("fgsm") else 0 if spec.startswith("noise") else 20
    rows = []
    for p, i in enumerate(ids):
        extra = None
        if goal:
            aimed, rest = 300, 2000
            hit = int(aimed * min(1, wrong * 4 * rng.random() + 0.2))
            extra = {"aimed": aimed, "hit": hit, "hidden": min(aimed, hit + 20), "rest": rest,
                     "kept": rest - int(300 * wrong), "rest_right": 1800, "damaged": int(280 * wrong)}  # fmt: skip
        spread = float(np.clip(wrong * rng.uniform(0.7, 1.3), 0, 1))
        row = stats(rng, truths[i], cleans[i], spread, len(CLASSES))
        trace = [round(1 - np.exp(-3 * k / max(steps, 1)), 4) * spread for k in range(1, steps + 1)] or None
        rows.append(
            Row(name, i, p, f"{p:016x}", stats=row, extra=extra,
                norms={"linf": float(Fraction(eps)), "l2": 2.5, "l0": 2400.0},
                budget_f=steps + 1, budget_b=steps, forwards=steps + 1, backwards=steps, seconds=0.05 * (steps + 1),
                trace=trace, batch=" ".join(str(p // 4 * 4 + k) for k in range(4)))
        )  # fmt: skip
    store.add_rows(rows)
    return name
