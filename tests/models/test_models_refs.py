"""References: schemes, options, and errors that name the near ones."""

from __future__ import annotations

import json

import pytest

import robustseg as rs
from robustseg.models.refs import parse


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("zo:street-unet", r"unknown kind of model 'zo' \(did you mean zoo\?\).*hf:PATH_OR_ID.*torchvision:NAME"),
        ("street-unet", "is no model reference"),
        ("zoo:", "names nothing"),
        ("smp:x?classes", "key=value"),
        ("py:thing", "FILE.py:FACTORY"),
        ("py:absent.py:make", "no file absent.py"),
        ("py:no_such_package_here:make", "cannot import no_such_package_here"),
        ("torchvision:fcn_resnet51?weights=w", r"did you mean fcn_resnet50"),
        ("torchvision:fcn_resnet50", r"add \?weights=FILE"),
        ("torchvision:fcn_resnet50?weights=absent.pth", "no weights file absent.pth"),
        ("torchvision:fcn_resnet50?wheights=w", "did you mean weights"),
        ("smp:absent", "no folder absent"),
        ("zoo:no-such-model", "the zoo has no 'no-such-model'"),
    ],
)
def test_errors(ref, message):
    with pytest.raises(rs.UserError, match=message):
        rs.load_model(ref)


def test_options(tmp_path):
    (tmp_path / "c.txt").write_text("road\n\nsky \n")
    (tmp_path / "c.json").write_text(json.dumps({"classes": ["a", "b"]}))
    assert parse(f"hf:x?classes={tmp_path}/c.txt").options.classes() == ("road", "sky")
    assert parse(f"hf:x?classes={tmp_path}/c.json").options.classes() == ("a", "b")
    assert parse("hf:x?mean=0.1,0.2,0.3&std=1,1,2").options.normalisation() == ((0.1, 0.2, 0.3), (1.0, 1.0, 2.0))
    assert parse("torchvision:n?weights=/c++/50%/w.pth").options.values["weights"] == "/c++/50%/w.pth"
    assert parse("hf:x?norm=half").options.normalisation() == ((0.5,) * 3, (0.5,) * 3)
    assert parse("hf:x?size=12x34").options.size() == (12, 34)
    for bad in ("mean=1,2,3", "mean=a,b,c&std=1,1,1", "norm=imgnet", "std=1,1,1&mean=1", "mean=1,1,1&std=1,0,1"):
        with pytest.raises(rs.UserError):
            parse(f"hf:x?{bad}").options.normalisation()
    with pytest.raises(rs.UserError, match="wanted HxW"):
        parse("hf:x?size=12").options.size()
    for absurd in ("0x10", "-4x10", "99999x99999"):
        with pytest.raises(rs.UserError, match="between 1 and 16384"):
            parse(f"hf:x?size={absurd}").options.size()
    with pytest.raises(rs.UserError, match="positive whole number"):
        parse("hf:x?multiple=0").options.integer("multiple")
    with pytest.raises(rs.UserError, match="no classes file"):
        parse("hf:x?classes=absent.txt").options.classes()


FACTORY = """
import neighbour
import torch
import robustseg as rs

def good():
    return rs.wrap(torch.nn.Conv2d(3, 2, 1), classes=neighbour.CLASSES)

def bare():
    return torch.nn.Conv2d(3, 2, 1)

def nothing():
    return 3
"""


def test_factories_of_the_users_own(tmp_path, images):
    (tmp_path / "mine.py").write_text(FACTORY)
    (tmp_path / "neighbour.py").write_text("CLASSES = ['a', 'b']")
    model = rs.load_model(f"py:{tmp_path}/mine.py:good")
    assert model.spec.ref == f"py:{tmp_path}/mine.py:good"
    assert model(images).scores.shape == (2, 2, 37, 53)
    with pytest.raises(rs.UserError, match=r"bare Conv2d.*robustseg\.wrap\(module, classes"):
        rs.load_model(f"py:{tmp_path}/mine.py:bare")
    with pytest.raises(rs.UserError, match=r"gives a int"):
        rs.load_model(f"py:{tmp_path}/mine.py:nothing")
    with pytest.raises(rs.UserError, match=r"has no god \(did you mean good\?\)"):
        rs.load_model(f"py:{tmp_path}/mine.py:god")


def test_a_factory_of_an_installed_package(monkeypatch, tmp_path, images):
    (tmp_path / "my_models").mkdir()
    (tmp_path / "my_models" / "__init__.py").touch()
    (tmp_path / "my_models" / "net.py").write_text(
        FACTORY.replace("neighbour.CLASSES", "['a', 'b']").replace("import neighbour", "")
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert rs.load_model("py:my_models.net:good")(images).scores.shape[1] == 2


def test_an_unknown_device_is_an_error(tmp_path):
    (tmp_path / "mine.py").write_text(
        FACTORY.replace("neighbour.CLASSES", "['a', 'b']").replace("import neighbour", "")
    )
    with pytest.raises(rs.UserError, match="unknown device 'gpu9'"):
        rs.load_model(f"py:{tmp_path}/mine.py:good", device="gpu9")
