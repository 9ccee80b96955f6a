"""Sets on disk: the same bytes always, resumable, never mixed."""

import json
import shutil
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from robustseg.errors import UserError
from robustseg.scenes import render_split
from robustseg.scenes.scene import SKY, THINGS
from robustseg.scenes.store import FOLDERS, path_of

SIZE = (64, 32)


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def rendered(mitsuba, tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "one"
    calls = []
    render_split("test", 3, SIZE, root, spp=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]
    return root


@pytest.fixture
def copy(rendered, tmp_path):
    return shutil.copytree(rendered, tmp_path / "copy")


def test_two_workers_write_the_same_bytes_as_one(rendered, tmp_path):
    render_split("test", 3, SIZE, tmp_path / "two", spp=2, workers=2)
    assert contents(tmp_path / "two") == contents(rendered)


def test_an_index_does_not_depend_on_what_was_rendered_before(rendered, tmp_path):
    render_split("test", 1, SIZE, tmp_path / "last", spp=2, start=2)
    one, all_ = contents(tmp_path / "last"), contents(rendered)
    del one["meta.json"]
    assert len(one) == len(FOLDERS)
    assert all(all_[name] == data for name, data in one.items())


def test_the_files_say_what_the_layout_promises(rendered):
    meta = json.loads((rendered / "meta.json").read_text())
    assert meta["split"] == "test"
    assert meta["size"] == list(SIZE)
    assert sorted(meta["scenes"]) == ["0", "1", "2"]
    assert len(meta["classes"]) == 19
    for i in range(3):
        load = lambda folder, i=i: np.array(Image.open(path_of(rendered, folder, i)))  # noqa: E731
        labels, instances, depth = load("labels"), load("instances"), load("depth")
        assert load("images").shape == (32, 64, 3)
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) <= {*range(19), 255}
        assert instances.max() < 2**16
        assert np.array_equal(instances > 0, np.isin(labels, THINGS))
        assert np.array_equal(depth == 65535, labels == SKY)
        assert set(np.unique(load("parts"))) <= {0, 1, 2}


@pytest.mark.parametrize("fault", ["deleted", "truncated", "empty", "other size", "not in meta"])
def test_resume_repairs_exactly_what_is_broken(rendered, copy, fault):
    victim = path_of(copy, "labels" if fault != "truncated" else "images", 1)
    whole = victim.read_bytes()
    if fault == "deleted":
        victim.unlink()
    elif fault == "truncated":
        victim.write_bytes(whole[: len(whole) // 2])
    elif fault == "empty":
        victim.write_bytes(b"")
    elif fault == "other size":
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(victim)
    else:
        meta = json.loads((copy / "meta.json").read_text())
        del meta["scenes"]["1"]
        (copy / "meta.json").write_text(json.dumps(meta))
    untouched = path_of(copy, "images", 0).stat().st_mtime_ns
    calls = []
    render_split("test", 3, SIZE, copy, spp=2, progress=lambda done, total: calls.append(done))
    assert calls == [2, 3]
    assert contents(copy) == contents(rendered)
    assert path_of(copy, "images", 0).stat().st_mtime_ns == untouched


def test_a_set_can_grow(rendered, copy):
    render_split("test", 1, SIZE, copy, spp=2, start=3)
    assert sorted(json.loads((copy / "meta.json").read_text())["scenes"]) == ["0", "1", "2", "3"]
    grown = contents(copy)
    assert all(grown[name] == data for name, data in contents(rendered).items() if name != "meta.json")


@pytest.mark.parametrize("other", [{"split": "val"}, {"size": (32, 32)}, {"spp": 3}])
def test_sets_are_never_mixed(copy, other):
    kind = {"split": "test", "size": SIZE, "spp": 2} | other
    before = contents(copy)
    with pytest.raises(UserError, match="choose another --out"):
        render_split(kind["split"], 4, kind["size"], copy, spp=kind["spp"])
    assert contents(copy) == before


@pytest.mark.parametrize("bad", [{"count": 0}, {"spp": 0}, {"workers": 0}, {"start": -1}, {"size": (4, 4)}])
def test_bad_numbers_are_one_line(tmp_path, bad):
    kind = {"count": 1, "size": SIZE, "spp": 1, "workers": 1, "start": 0} | bad
    with pytest.raises(UserError):
        render_split("test", kind.pop("count"), kind.pop("size"), tmp_path / "x", **kind)
    assert not (tmp_path / "x").exists()


def test_the_bundled_pack_is_what_this_code_renders(mitsuba, tmp_path):
    pack = files("robustseg.data") / "packs" / "street-val"
    meta = json.loads((pack / "meta.json").read_text())
    render_split("val", 1, tuple(meta["size"]), tmp_path, spp=meta["spp"], start=7)
    load = lambda root, folder: np.array(Image.open(path_of(root, folder, 7))).astype(float)  # noqa: E731
    for folder in ("labels", "instances", "parts"):
        assert (load(pack, folder) == load(tmp_path, folder)).mean() > 0.999
    both = [load(root, "images") for root in (pack, tmp_path)]
    if mitsuba.variant().startswith("scalar"):  # other random numbers: the same light, another grain
        both = [a.reshape(a.shape[0] // 8, 8, a.shape[1] // 8, 8, 3).mean((1, 3)) for a in both]
    assert np.abs(both[0] - both[1]).mean() < 4
    assert json.loads((tmp_path / "meta.json").read_text())["scenes"]["7"] == meta["scenes"]["7"]
