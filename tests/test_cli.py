"""The command line: help with examples, one line for an error, codes, and stdout that holds what was asked for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robustseg import cli
from robustseg.errors import UserError
from robustseg.evaluation.store import read
from robustseg.terminal import guarded

TOYS = Path(__file__).parent / "evaluation"
FACTORY = """
import sys
sys.path.insert(0, {here!r})
from toy import Bad, Level, model
def build():
    return model(Level())
def breaks():
    return model(Bad("raise"))
"""
COMMANDS = ["evaluate", "merge", "report", "compare", "export", "replay", "attack", "list", "doctor", "bench"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model file and a small data folder."""
    import numpy as np
    from PIL import Image

    sys.path.insert(0, str(TOYS))
    from toy import CLASSES, Toy

    (tmp_path / "net.py").write_text(FACTORY.format(here=str(TOYS)))
    for kind in ("images", "labels"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    (tmp_path / "data" / "classes.txt").write_text("\n".join(CLASSES))
    data = Toy(number=3)
    for i in range(3):
        pixels = (data[i].image.numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / "images" / f"im{i}.png")
        Image.fromarray(data[i].labels.numpy().astype(np.uint8)).save(tmp_path / "data" / "labels" / f"im{i}.png")
    return tmp_path


@pytest.fixture
def call(capfd, monkeypatch):
    """Runs a command in this process; gives exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["robustseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        return left.value.code or 0, out, err

    return run


def evaluate(folder, *more):
    common = (
        "--model",
        f"py:{folder / 'net.py'}:build",
        "--data",
        f"folder:{folder / 'data'}",
        "--out",
        folder / "run",
    )
    return ("evaluate", *common, "--batch-size", "2", *(more or ("--attack", "pgd:steps=2")))


@pytest.mark.parametrize("command", [*COMMANDS, "scenes render"])
def test_every_command_has_help_with_an_example(call, command):
    code, out, _ = call(*command.split(), "--help")
    assert code == 0
    assert re.search(rf"Example:\s+robustseg\s+{command}", " ".join(out.replace("│", " ").split()))


def test_the_root_names_every_command(call):
    _, out, _ = call("--help")
    assert all(re.search(rf"\b{c}\b", out) for c in [*COMMANDS, "scenes"])


def test_starting_needs_no_torch():
    code = "import sys, robustseg.cli\nassert not {'torch', 'numpy', 'plotly', 'transformers'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["robustseg", "robustseg.cli"])
def test_the_module_is_the_command(module):
    done = subprocess.run([sys.executable, "-m", module, "list", "data"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "street:val" in done.stdout) == (0, True)


def test_a_finding_is_explained_without_a_model(call):
    code, out, _ = call("doctor", "--explain", "gradient-zero")
    assert (code, out.startswith("### gradient-zero")) == (0, True)
    code, _, err = call("doctor", "--explain", "gradient-zer")
    assert (code, "gradient-zero" in err, err.count("\n")) == (2, True, 1)


def test_several_attacks_on_a_picture(call, folder):
    picture = folder / "data" / "images" / "im0.png"
    attacks = ("--attack", "fgsm:eps=4/255", "--attack", "pgd:eps=4/255,steps=2")
    code, out, _ = call("attack", picture, "--model", f"py:{folder / 'net.py'}:build", *attacks, "--out", folder / "a")
    assert (code, len(out.splitlines())) == (0, 2)
    assert len(list((folder / "a").glob("*/im0/adversarial.npz"))) == 2


def test_json_is_all_there_is_on_stdout_and_equals_the_file(call, folder):
    code, out, err = call(*evaluate(folder, "--attack", "pgd:steps=2", "--eps", "2/255,8/255", "--json"))
    assert code == 0, err
    assert json.loads(out) == json.loads((folder / "run" / "summary.json").read_text())
    assert list(json.loads(out)["attacks"]) == [
        f"{a}:eps={e}/255{o}" for e in (2, 8) for a, o in (("noise", ""), ("pgd", ",steps=2"))
    ]
    assert json.loads((folder / "run" / "run.json").read_text())["argv"][:2] == ["robustseg", "evaluate"]


def test_the_table_the_report_the_rows_and_a_replay(call, folder):
    code, out, _ = call(*evaluate(folder))
    assert code == 0
    assert "pgd" in out
    assert "worst case" in out
    assert call("report", folder / "run")[0] == 0
    assert (folder / "run" / "report.html").stat().st_size > 1000
    code, out, _ = call("report", folder / "run", "--markdown")
    assert (code, out.startswith("| attack |")) == (0, True)
    assert call("export", folder / "run", "--to", "csv")[0] == 0
    code, out, _ = call("replay", folder / "run", "im1", "pgd")
    assert (code, "equal to its row" in out) == (0, True)


def test_shards_merge_and_runs_compare(call, folder):
    for part in "12":
        call(*evaluate(folder), "--shard", f"{part}/2", "--out", folder / f"part{part}")
    code, out, _ = call("merge", folder / "part1", folder / "part2", "--out", folder / "whole", "--json")
    assert code == 0
    assert json.loads(out)["images"] == 3
    call(*evaluate(folder), "--seed", "1")
    code, _, _ = call("compare", folder / "whole", folder / "run", "--out", folder / "compare.html")
    assert code == 0
    assert (folder / "compare.html").is_file()


def test_merging_says_how_to_make_the_pictures_of_the_whole(call, folder):
    for part in "12":
        call(*evaluate(folder), "--shard", f"{part}/2", "--keep", "1", "--out", folder / f"part{part}")
    code, _, err = call("merge", folder / "part1", folder / "part2", "--out", folder / "whole")
    assert code == 0
    assert "--keep N" in err
    call(*evaluate(folder), "--keep", "2", "--out", folder / "whole")
    assert len(json.loads((folder / "whole" / "pictures" / "INDEX.json").read_text())["images"]) == 2


def test_an_attack_that_is_no_better_than_noise_is_said_on_stderr(call, folder):
    code, out, err = call(*evaluate(folder, "--attack", "pgd:steps=1,step_size=0", "--eps", "1/255"))
    assert code == 0
    assert "no worse than random noise" in err
    assert "robustseg doctor" in err
    assert "no worse" not in out


def test_a_dry_run_writes_nothing(call, folder):
    code, out, _ = call(*evaluate(folder), "--dry-run")
    assert (code, "3 images x 2 gradients" in out) == (0, True)
    assert not (folder / "run").exists()


def test_failed_rows_are_exit_code_one_and_said(call, folder):
    command = [a if not str(a).endswith(":build") else f"py:{folder / 'net.py'}:breaks" for a in evaluate(folder)]
    code, out, err = call(*command)
    assert code == 1
    assert "3 rows failed" in err
    assert "fail" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluat",), "No such command"),
        (("evaluate",), "Missing option"),
        (("evaluate",), "See: robustseg evaluate --help"),
        (("survey", "figure"), "See: robustseg survey figure --help"),
        (("evaluate", "--model"), "requires an argument"),
        (("list", "colours"), "choose attacks, models or data"),
        (("scenes", "preview", "--size", "256", "--out", "there"), "WIDTHxHEIGHT in pixels, e.g. 512x256"),
        (("report", "nowhere"), "nowhere"),
        (("merge", "nowhere", "--out", "there"), "no store.sqlite"),
        (("replay", "nowhere", "im", "pgd"), "no store.sqlite"),
    ],
)
def test_a_mistake_is_one_line_on_stderr(call, arguments, words):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--attack", "segpdg"), "segpgd"),
        (("--attack", "pgd:stpes=3"), "steps"),
        (("--attack", "pgd:eps=8/255", "--eps", "4/255"), "keep one of the two"),
        (("--attack", "pgd:eps=8"), "8/255"),
        (("--attack", "pgd", "--batch-size", "big"), "neither auto nor"),
        (("--attack", "pgd", "--shard", "3/2"), "--shard"),
        (("--attack", "pgd", "--limit", "0"), "limit"),
        (("--attack", "pgd", "--device", "abacus"), "abacus"),
        (("--attack", "pgd", "--resize", "large"), "HEIGHTxWIDTH"),
        (("--attack", "sea:steps=2"), "--fit-data"),
    ],
)
def test_mistakes_of_evaluate_are_one_line_and_leave_no_store(call, folder, more, words):
    code, out, err = call(*evaluate(folder, *more))
    assert (code, out) == (2, "")
    assert (err[:7], err.count("\n")) == ("error: ", 1)
    assert words in err
    assert not (folder / "run" / "store.sqlite").exists()


def test_a_damaged_store_is_one_line(call, folder):
    (folder / "run").mkdir()
    (folder / "run" / "store.sqlite").write_bytes(b"not a data base at all" * 99)
    code, _, err = call(*evaluate(folder))
    assert (code, err.count("\n"), "damaged" in err) == (2, 1, True)


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["robustseg", "list", "colours", "--debug"])
    with pytest.raises(UserError, match="cannot list"):
        cli.main()


def test_a_fault_of_ours_is_one_line_with_code_three(capsys):
    def broken(**_):
        raise KeyError("no\nsuch key")

    with pytest.raises(SystemExit) as left:
        guarded(broken, [], ())
    assert left.value.code == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_lists(call):
    code, out, _ = call("list", "attacks", "--json")
    assert code == 0
    assert {"pgd", "segpgd", "cospgd", "sea", "hide"} <= {row["name"] for row in json.loads(out)}
    assert "street:val" in call("list", "data")[1]


def test_references_are_listed_whole(call, monkeypatch):
    from robustseg.models import zoo

    monkeypatch.setenv("COLUMNS", "70")
    out = call("list", "models")[1]
    assert all(f"{row['ref']} " in out for row in zoo.list())


def test_the_doctor_and_the_attack_on_a_picture(call, folder):
    model = ("--model", f"py:{folder / 'net.py'}:build")
    assert call("doctor", *model, "--data", f"folder:{folder / 'data'}")[0] == 0
    bad = ("--model", f"py:{folder / 'net.py'}:breaks", "--data", f"folder:{folder / 'data'}", "--json")
    code, out, _ = call("doctor", *bad)
    assert code == 1
    assert json.loads(out)
    picture = folder / "data" / "images" / "im0.png"
    code, out, _ = call(
        "attack", picture, *model, "--attack", "pgd:eps=16/255,steps=3", "--out", folder / "a", "--json"
    )
    assert code == 0
    assert json.loads(out)[0]["linf"] <= 16 / 255 + 1e-6
    assert (folder / "a" / "im0" / "adversarial.png").is_file()


def test_ctrl_c_leaves_a_store_that_continues(call, folder):
    command = [
        sys.executable,
        "-c",
        "from robustseg.cli import main; main()",
        *evaluate(folder, "--attack", "pgd:steps=3000"),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        list(map(str, command)),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a suite run in the background inherits an ignored Ctrl-C, and so would the child
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    store, until = folder / "run" / "store.sqlite", time.monotonic() + 90
    while time.monotonic() < until:
        with contextlib.suppress(UserError):  # caught between the birth of the file and that of its tables
            if store.exists() and any(read(folder / "run").rows.values()):
                break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "run the same command again" in err
    assert "Traceback" not in err
    code, _, _ = call(*evaluate(folder, "--attack", "pgd:steps=2"))
    assert code == 0


def test_photographs_of_a_board_from_an_empty_table_to_the_page(call, tmp_path):
    sys.path.insert(0, str(TOYS))
    from photo_toys import CORNERS, field, table

    field(tmp_path / "f", 2)
    (tmp_path / "net.py").write_text(f"import sys\nsys.path.insert(0, {str(TOYS)!r})\nfrom photo_toys import sees\n")
    model = f"py:{tmp_path / 'net.py'}:sees"
    (tmp_path / "f" / "photos.csv").unlink()
    code, _, err = call("patch", "photos", tmp_path / "f", "--model", model)
    assert (code, err.count("\n"), "--template" in err) == (2, 1, True)
    assert call("patch", "photos", tmp_path / "f", "--template")[0] == 0
    code, _, err = call("patch", "photos", tmp_path / "f", "--model", model)
    assert (code, "no corners of the board in clean/p0" in err) == (2, True)
    table(tmp_path / "f", {"p0": (8, 0, CORNERS), "p1": (16, 20, CORNERS)})
    code, out, err = call("patch", "photos", tmp_path / "f", "--model", model)
    assert (code, "optimised minus random: +2.0 points" in out, "too few" in err) == (0, True, True)
    assert call("report", tmp_path / "f" / "scored")[1].strip().endswith("report.html")
    code, out, _ = call("patch", "photos", tmp_path / "f", "--model", model, "--json")
    assert (code, json.loads(out)["kind"]) == (0, "photos")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("photos", "nowhere"), "--model is missing"),
        (("photos", "nowhere", "--model", "zoo:street-unet"), "nowhere is no folder"),
        (("simulate", "nowhere"), "nowhere holds no patch"),
        (("evaluate", "nowhere", "--data", "folder:x", "--place", "auto"), "nowhere holds no patch"),
        (("optimise", "--place", "auto", "--model", "m", "--out", "o"), "belong to --data"),
        (("optimise", "--data", "folder:x", "--model", "m", "--out", "o"), "--data needs --place"),
        (("optimise", "--data", "d", "--scene", "wall", "--place", "auto", "--model", "m", "--out", "o"), "two ways"),
        (
            ("optimise", "--data", "folder:x", "--place", "auto", "--board", "3", "--model", "m", "--out", "o"),
            "--board 3 is no WIDTHxHEIGHT",
        ),
    ],
)
def test_what_a_patch_command_cannot_do_is_one_line(call, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("patch", *arguments)
    assert (code, err.count("\n"), says in err) == (2, 1, True), err


def test_a_patch_is_printed_with_its_controls(call, tmp_path):
    import torch
    from PIL import Image

    from robustseg.catalog.artefact import Artefact

    Artefact("patch", {"patch": torch.zeros(3, 4, 8)}, "x").save(tmp_path / "patch.safetensors")
    made = ("--width", "0.5", "--out", tmp_path / "p.png", "--controls")
    assert call("patch", "export", tmp_path / "patch.safetensors", *made)[0] == 0
    boards = {name: Image.open(tmp_path / f"p{name}.png") for name in ("", "_clean", "_random", "_grey")}
    metres = {n: b.size[0] / b.info["dpi"][0] * 0.0254 for n, b in boards.items()}
    assert metres == pytest.approx(dict.fromkeys(boards, 0.5), rel=2e-3)
    assert {b.size[0] / b.size[1] for b in boards.values()} == {2.0}
