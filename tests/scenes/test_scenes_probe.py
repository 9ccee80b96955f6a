"""The variant is chosen in a child process; whatever dies there, the parent lives."""

import json

import pytest

from robustseg.errors import UserError
from robustseg.scenes import probe, render_split


@pytest.fixture
def one_library(monkeypatch, tmp_path):
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(tmp_path / "libLLVM-99.so"))
    return tmp_path / "cache"


def test_an_aborting_child_means_the_scalar_variant(one_library, monkeypatch):
    monkeypatch.setattr(probe, "TRIAL", "import os; os.abort()")
    assert probe.choose(one_library) == ("scalar_rgb", None)


def test_a_hanging_child_means_the_scalar_variant(one_library, monkeypatch):
    monkeypatch.setattr(probe, "TRIAL", "import time; time.sleep(60)")
    assert probe.choose(one_library, timeout=0.5) == ("scalar_rgb", None)


def test_a_broken_library_is_refused_by_the_real_trial(one_library, mitsuba, tmp_path):
    (tmp_path / "libLLVM-99.so").write_bytes(b"not a library")
    assert probe.choose(one_library) == ("scalar_rgb", None)


def test_a_good_answer_is_kept_and_not_asked_again(one_library, monkeypatch):
    monkeypatch.setattr(probe, "TRIAL", "print('mean True')")
    variant, library = probe.choose(one_library)
    assert variant == "llvm_ad_rgb"
    assert library.endswith("libLLVM-99.so")
    monkeypatch.setattr(probe, "works", lambda *a: pytest.fail("asked again"))
    assert probe.choose(one_library) == (variant, library)
    (kept,) = one_library.glob("*.json")
    kept.write_text("{ truncated")
    monkeypatch.setattr(probe, "works", lambda *a: False)
    assert probe.choose(one_library) == ("scalar_rgb", None)
    assert json.loads(kept.read_text())["variant"] == "scalar_rgb"


def test_newest_library_first(monkeypatch):
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH", raising=False)
    names = ["/usr/lib/x/libLLVM-15.so.1", "/usr/lib/x/libLLVM.so.19.1", "/usr/lib/x/libLLVM-9.so"]
    monkeypatch.setattr(probe.glob, "glob", lambda pattern: names)
    monkeypatch.setattr(probe.os.path, "realpath", lambda f: f)
    assert probe.candidates() == [names[1], names[0], names[2]]


def test_without_llvm_one_line_says_what_to_install(monkeypatch, mitsuba):
    monkeypatch.setattr(probe, "choose", lambda: ("scalar_rgb", None))
    before = mitsuba.variant()
    try:
        with pytest.warns(UserWarning, match="apt install libllvm19") as told:
            assert probe.load.__wrapped__().variant() == "scalar_rgb"
        assert "\n" not in str(told[0].message)
    finally:
        mitsuba.set_variant(before)


def test_missing_mitsuba_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        render_split("val", 1, (16, 16), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert 'pip install "robustseg[scenes]"' in str(caught.value)
    assert not (tmp_path / "out").exists()
