"""A user's own objective: from Python and from a spec, its faults in one line, its code in the run key."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import attack_toys as toys
import robustseg as rs
from robustseg.catalog import attack
from robustseg.catalog.custom import code_hash
from robustseg.errors import UserError
from robustseg.types import Sample

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "custom_objective.py"
PAGE = ROOT / "docs" / "custom-objective.md"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("custom_objective", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["custom_objective"] = module
    spec.loader.exec_module(module)
    return module


def brightness(output, target):
    """The first class wins."""
    return output.scores[:, 0].flatten(1).mean(1)


def test_python_and_spec_are_the_same_attack(example):
    model, (images, labels) = toys.Toy(toys.conv_net(), 4), toys.scene()
    one = rs.attack(example.margin, eps="8/255", steps=5)(model, images, labels, seed=3)
    two = rs.attack(f"pgd:eps=8/255,objective={EXAMPLE}:margin,steps=5")(model, images, labels, seed=3)
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.score, two.score)
    assert not torch.equal(one.images, rs.attack("pgd:steps=5")(model, images, labels, seed=3).images)


def test_it_works_where_the_cross_entropy_is_blind(example):
    """Logits times 10,000: the margin still has a gradient in every pixel."""
    model, (images, labels) = toys.trained(1e4, kernel=1, noise=0.02), toys.blocks(3, 0, noise=0.02)
    mine = rs.attack(example.margin, eps="8/255")(model, images, labels).score.mean()
    assert mine > 10 * rs.attack("pgd")(model, images, labels).score.mean()


def test_any_update_any_norm_early_stop_and_restarts(example):
    model, (images, labels) = toys.trained(), toys.blocks(3, 0)
    for options in ({"update": "apgd"}, {"norm": "l2", "eps": "1.3"}, {"restarts": 2}, {"update": "momentum"}):
        made = rs.attack(example.margin, **options)
        result = made(model, images, labels)
        assert result.score.mean() > 0.2
        assert made.budget[1] == 20 * int(options.get("restarts", 1))
    assert made.spec == "pgd:eps=8/255,objective=margin,update=momentum"


def test_it_is_the_users_function_that_is_maximised():
    model, (images, labels) = toys.Toy(toys.conv_net(), 4), toys.scene()
    result = rs.attack(brightness, update="apgd")(model, images, labels)
    before, after = (model.module(x)[:, 0].mean() for x in (images, result.images))
    assert after > before


# ------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("def f(output, target): return output.scores.sum()", "f", "one value an image"),
        ("def f(output, target): return output.scores.detach().flatten(1).sum(1)", "f", "no gradient"),
        ("def f(output, target): return output.scores.flatten(1).sum(1)", "g", "has no function 'g'"),
        ("f = 3", "f", "has no function 'f'"),
        ("import nothing_of_that_name", "f", "does not run: ModuleNotFoundError"),
        ("def f(", "f", "does not run: SyntaxError"),
    ],
)
def test_faults_of_a_file_get_one_line(tmp_path, source, name, said):
    path = tmp_path / "mine.py"
    path.write_text(source)
    model, (images, labels) = toys.Toy(toys.conv_net(), 4), toys.scene()
    with pytest.raises(UserError) as error:
        attack(f"pgd:objective={path}:{name}")(model, images, labels)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_without_py(tmp_path):
    (tmp_path / "mine.txt").write_text("def f(o, t): return 0")
    with pytest.raises(UserError, match=r"end in \.py"):
        attack(f"pgd:objective={tmp_path / 'mine.txt'}:f")


def test_a_goal_and_an_objective_exclude_each_other():
    with pytest.raises(UserError, match="exclude each other"):
        attack(brightness, target="least-likely")


# ------------------------------------------------------------------------- the run key


def test_an_edited_file_is_another_configuration(tmp_path):
    path = tmp_path / "mine.py"
    configs = []
    for helper in ("2", "3"):
        path.write_text(
            f"def h(x): return {helper} * x\ndef f(output, target): return h(output.scores).flatten(1).sum(1)"
        )
        configs.append(attack(f"pgd:objective={path}:f").config)
    assert configs[0] != configs[1]
    assert attack(f"pgd:objective={path}:f").config == configs[1]


def test_files_of_one_name_in_two_folders_stay_apart(tmp_path):
    made = []
    for i in (1, 2):
        (tmp_path / str(i)).mkdir()
        path = tmp_path / str(i) / "mine.py"
        path.write_text(f"def f(output, target): return {i} * output.scores.flatten(1).sum(1)")
        made.append(attack(f"pgd:objective={path}:f"))
    assert made[0].code != made[1].code
    assert made[0].code == code_hash(made[0].function)  # reading the second did not disturb the first


def scaled(factor):
    def objective(output, target):
        return factor * output.scores.flatten(1).sum(1)

    return objective


class Weighted:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, output, target):
        return self.factor * output.scores.flatten(1).sum(1)


def general(output, target, factor=1):
    return factor * output.scores.flatten(1).sum(1)


@pytest.mark.parametrize("make", [scaled, Weighted, lambda k: functools.partial(general, factor=k)])
def test_what_a_function_carries_is_part_of_it(make):
    assert code_hash(make(2)) == code_hash(make(2))
    assert code_hash(make(2)) != code_hash(make(3))


def test_functions_typed_at_a_prompt_are_told_apart():
    code = (
        "from robustseg.catalog.custom import code_hash\n"
        "def a(o, t): return 2 * o if o in {'x', 'y', 'z'} else t\n"
        "def b(o, t): return 3 * o if o in {'x', 'y', 'z'} else t\n"
        "print(code_hash(a), code_hash(b))"
    )
    seen = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert seen[0] == seen[1]
    assert len(set(seen[0].split())) == 2


# ------------------------------------------------------------------------- the page and the example


def test_the_example_is_short_and_stands_in_the_page(example):
    source = inspect.getsource(example.margin)
    assert len(source.splitlines()) <= 15
    assert source in PAGE.read_text()


def test_the_example_runs_as_a_program(example, monkeypatch, capsys):
    images, labels = toys.blocks(1, 0)
    sample = Sample("one", images[0], labels[0])
    monkeypatch.setattr(example.rs, "load_model", lambda ref: toys.trained(), raising=False)
    monkeypatch.setattr(example.rs, "load_data", lambda ref: [sample], raising=False)
    example.main()
    printed = capsys.readouterr().out
    assert re.findall(r"pgd:eps=1/255\S*: \d+\.\d% wrong after 20 gradients", printed) != []
    assert len(printed.splitlines()) == 2


def test_code_of_the_page_runs():
    model, (images, labels) = toys.trained(), toys.blocks(2, 0)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert len(blocks) >= 2
    space = {"rs": rs, "model": model, "images": images, "labels": labels}
    for block in blocks:
        exec(block, space)
    assert space["result"].score.shape == (2,)
