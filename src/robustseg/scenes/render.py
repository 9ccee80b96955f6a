"""Render a split: parallel over processes, resumable, the same bytes whatever the number of workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from robustseg.errors import UserError
from robustseg.scenes import store
from robustseg.scenes.probe import choose, require
from robustseg.scenes.scene import CLASSES
from robustseg.scenes.street import seed_of, street

SPP = 4
Progress = Callable[[int, int], None]


def render_split(
    split: str,
    count: int,
    size: tuple[int, int] = (512, 256),
    out: str | Path = "street",
    *,
    spp: int = SPP,
    workers: int = 1,
    start: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Render scenes start ... start + count - 1 of a split into a folder; what is complete there is kept.

    size is (width, height) in pixels, spp the samples a pixel. `progress(done, total)` is called after each image.
    A scene depends on (split, index) alone. Raises UserError for a folder that holds another set, for bad numbers
    and for a missing renderer.
    """
    if count < 1 or start < 0 or spp < 1 or workers < 1 or min(size) < 8:
        raise UserError("count, spp and workers must be at least 1, start at least 0 and the size at least 8x8")
    require()
    root = Path(out)
    variant, _ = choose()
    meta = _meta(root, split, size, spp, variant)
    indices = range(start, start + count)
    left = [i for i in indices if not (str(i) in meta["scenes"] and store.complete(root, i, size))]
    done = count - len(left)
    if progress:
        progress(done, count)
    root.mkdir(parents=True, exist_ok=True)
    for index, facts in _facts(left, split, size, spp, root, workers):
        meta["scenes"][str(index)] = facts
        meta["scenes"] = dict(sorted(meta["scenes"].items(), key=lambda item: int(item[0])))
        store.write_meta(root, meta)
        done += 1
        if progress:
            progress(done, count)
    return root


def render_one(split: str, index: int, size: tuple[int, int], spp: int, root: Path) -> tuple[int, dict]:
    """Render and store one scene; returns its index and what was drawn by chance."""
    from robustseg.scenes.mitsuba import render

    scene = street(split, index, size)
    store.write_frame(root, index, render(scene, spp=spp, seed=seed_of(split, index) % 2**31))
    return index, scene.facts


def _facts(left, split, size, spp, root, workers):
    if workers == 1 or len(left) < 2:
        for index in left:
            yield render_one(split, index, size, spp, root)
        return
    with ProcessPoolExecutor(min(workers, len(left)), mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(render_one, split, index, size, spp, root) for index in left]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BrokenProcessPool:
            raise UserError(
                "a render process died (out of memory?); run the same command again with fewer --workers"
            ) from None
        finally:
            for job in jobs:
                job.cancel()


def _meta(root: Path, split: str, size, spp: int, variant: str) -> dict:
    new = {
        "version": store.VERSION, "split": split, "size": list(size), "spp": spp, "variant": variant,
        "classes": list(CLASSES), "ignore": 255, "depth_unit_m": 0.01, "scenes": {},
    }  # fmt: skip
    old = store.read_meta(root)
    if old is None:
        return new
    for key in ("version", "split", "size", "spp", "variant"):
        if old.get(key) != new[key]:
            raise UserError(f"{root} holds a set with {key}={old.get(key)}, not {new[key]}; choose another --out")
    return old
