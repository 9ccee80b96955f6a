"""Weights are tensors: nothing in a file is ever executed, and what does not fit is named."""

from __future__ import annotations

import pickle
from argparse import Namespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import robustseg as rs
from robustseg.models import weights

STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_not_executed(legacy, tmp_path):
    marker, file = tmp_path / "executed", tmp_path / "weights.pth"
    torch.save({**STATE, "bomb": Bomb(marker)}, file, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(rs.UserError, match=r"refused.*pickle that wants to run \S*open.*safetensors"):
        weights.load(file)
    assert not marker.exists()
    torch.load(file, weights_only=False)  # the bomb is live: without the refusal it would have gone off
    assert marker.exists()


def test_a_plain_pickle_is_refused_and_not_executed(tmp_path):
    marker, file = tmp_path / "executed", tmp_path / "weights.pkl"
    file.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(rs.UserError):
        weights.load(file)
    assert not marker.exists()


def test_a_checkpoint_with_python_objects_names_them(tmp_path):
    torch.save({"model": STATE, "args": Namespace(lr=1)}, tmp_path / "c.pth")
    with pytest.raises(rs.UserError, match=r"argparse\.Namespace"):
        weights.load(tmp_path / "c.pth")


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(nn.Linear(3, 2), tmp_path / "m.pth")
    with pytest.raises(rs.UserError, match="save only the tensors"):
        weights.load(tmp_path / "m.pth")


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s, "epoch": 3}, lambda s: {"state_dict": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_common_layouts_are_understood(wrap, prefix, tmp_path):
    torch.save(wrap({prefix + k: v for k, v in STATE.items()}), tmp_path / "w.pth")
    loaded = weights.load(tmp_path / "w.pth")
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[k], STATE[k]) for k in STATE)


def test_safetensors(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors")
    assert torch.equal(weights.load(tmp_path / "w.safetensors")["weight"], STATE["weight"])
    (tmp_path / "broken.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-5])
    with pytest.raises(rs.UserError, match="not a readable safetensors"):
        weights.load(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "0 bytes"), (b"<html>not found</html>", "not a readable|refused")]
)
def test_broken_files(content, message, tmp_path):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(rs.UserError, match=message):
        weights.load(tmp_path / "w.pth")
    with pytest.raises(rs.UserError, match="no weights file"):
        weights.load(tmp_path / "absent.pth")


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / "w.pth")
    monkeypatch.setattr(weights, "LARGEST", 100)
    with pytest.raises(rs.UserError, match="GiB"):
        weights.load(tmp_path / "w.pth")


def test_something_else_than_a_state_dict(tmp_path):
    torch.save([1, 2], tmp_path / "l.pth")
    with pytest.raises(rs.UserError, match="a list, not a state dict"):
        weights.load(tmp_path / "l.pth")
    torch.save({"lr": 0.1}, tmp_path / "d.pth")
    with pytest.raises(rs.UserError, match="lr is not a tensor"):
        weights.load(tmp_path / "d.pth")


def test_keys_that_do_not_fit_are_named_and_nothing_is_loaded_silently():
    net = nn.Linear(3, 2)
    with pytest.raises(rs.UserError, match=r"1 missing \(bias\); 1 unexpected \(extra\)"):
        weights.fill(net, {"weight": STATE["weight"], "extra": STATE["bias"]}, "f")
    with pytest.raises(rs.UserError, match=r"1 mismatched \(bias \(5,\) instead of \(2,\)\)"):
        weights.fill(net, {**STATE, "bias": torch.ones(5)}, "f")
    weights.fill(net, {k: v.half() for k, v in STATE.items()}, "f")
    assert torch.equal(net.weight.detach(), STATE["weight"])
    assert net.weight.dtype == torch.float32


def test_a_malicious_checkpoint_in_a_folder_is_refused_and_not_executed(hf_folder, tmp_path):
    folder, network, _ = hf_folder("segformer")
    marker = tmp_path / "executed"
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save({**network.state_dict(), "bomb": Bomb(marker)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(rs.UserError, match=r"refused.*pickle that wants to run"):
        rs.load_model(f"hf:{tmp_path}")
    assert not marker.exists()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    assert rs.load_model(f"hf:{tmp_path}").spec.digest == rs.load_model(f"hf:{folder}").spec.digest


def test_code_that_comes_with_a_checkpoint_is_not_run(tmp_path):
    marker = tmp_path / "executed"
    (tmp_path / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}')
    (tmp_path / "own.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(rs.UserError, match="cannot load"):
        rs.load_model(f"hf:{tmp_path}")
    assert not marker.exists()
