"""Failures are data: a status, one line of reason, no number; and the run goes on."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from toy import Bad, Level, Push, Toy, model, rows_without_time

from robustseg.errors import UserError
from robustseg.evaluation import device as machine
from robustseg.evaluation.run import evaluate
from robustseg.evaluation.store import read


@dataclass(frozen=True)
class Breaks(Push):
    """Raises on the batch that holds a given image."""

    name: str = "breaks"
    problem: BaseException | None = None
    at: int = 2

    def __call__(self, model, images, target, *, ids=None, seed=0, region=None, early_stop=True):
        if any(torch.equal(x, Toy()[self.at].image) for x in images):
            raise self.problem
        return super().__call__(model, images, target, ids=ids, seed=seed, region=region, early_stop=early_stop)


def run(out, attacks, net=None, **options):
    return evaluate(net or model(), Toy(), attacks, out=out, **{"batch_size": 2, **options})


def test_a_batch_that_fails_leaves_rows_with_status_and_no_numbers(tmp_path):
    summary = run(tmp_path, [Breaks(problem=ValueError("first\nsecond line")), Push()])
    entry = summary["attacks"]["breaks:eps=8/255"]
    assert (entry["failed"], entry["images"], summary["failed"]) == (2, 4, 2)
    assert summary["attacks"]["push:eps=8/255"]["failed"] == 0
    rows = read(tmp_path).rows[entry["key"]]
    for image in ("im02", "im03"):
        row = rows[image]
        assert (row.status, row.error) == ("failed", "ValueError: first second line")
        assert row.stats is row.extra is row.norms is row.trace is None
        assert row.forwards == row.backwards == 0
    assert rows["im00"].status == "ok"


def test_a_failure_is_tried_again_and_a_success_replaces_it(tmp_path):
    run(tmp_path, [Breaks(problem=ValueError("once"))])
    summary = run(tmp_path, [Push(name="breaks")])
    assert summary["attacks"]["breaks:eps=8/255"]["failed"] == 0
    run(tmp_path / "other", [Push(name="breaks")])
    assert rows_without_time(tmp_path) == rows_without_time(tmp_path / "other")


def test_a_users_mistake_inside_an_attack_stops_the_run_but_keeps_its_rows(tmp_path):
    with pytest.raises(UserError, match="mind the gap"):
        run(tmp_path, [Breaks(problem=UserError("mind the gap"))])
    assert (
        sum(len(rows) for rows in read(tmp_path).rows.values()) == 2 + 2 + 2 + 2 + 2
    )  # clean, noise twice; breaks once


def test_a_model_of_nan_fails_every_row(tmp_path):
    summary = run(tmp_path, [Push()], net=model(Bad("nan")))
    assert summary["images"] == 0
    assert summary["clean"]["failed"] == 6
    assert summary["clean"]["mIoU"] is None
    contents = read(tmp_path)
    for rows in contents.rows.values():
        assert {r.status for r in rows.values()} == {"failed"}
        assert all("finite" in r.error for r in rows.values())


def test_nan_on_the_clean_image_only_leaves_no_attacked_number(tmp_path):
    class Moody(Level):
        def forward(self, x):
            scores = super().forward(x)
            clean = (x * 255 - (x * 255).round()).abs().amax((1, 2, 3)) < 1e-3
            return torch.where(clean.view(-1, 1, 1, 1), float("nan"), scores)

    entry = run(tmp_path, ["noise:eps=8/255"], net=model(Moody()))["attacks"]["noise:eps=8/255"]
    rows = read(tmp_path).rows[entry["key"]].values()
    assert {(r.status, r.error) for r in rows} == {("failed", "no clean prediction: scores not finite")}


def test_nan_on_the_attacked_image_only(tmp_path):
    class Fragile(Level):
        def forward(self, x):
            scores = super().forward(x)
            off = (x * 255 - (x * 255).round()).abs().amax((1, 2, 3)) > 1e-3  # off the 8-bit grid
            return torch.where(off.view(-1, 1, 1, 1), float("nan"), scores)

    summary = run(tmp_path, ["noise:eps=8/255"], net=model(Fragile()))
    entry = summary["attacks"]["noise:eps=8/255"]
    assert summary["clean"]["failed"] == 0
    assert entry["failed"] == 6
    assert "not finite" in entry["errors"][0]


def test_a_model_that_cannot_be_attacked_says_so_in_every_row(tmp_path):
    summary = run(tmp_path, [Push()], net=model(Bad("raise")))
    entry = summary["attacks"]["push:eps=8/255"]
    assert entry["failed"] == 6
    assert entry["errors"] == ["ValueError: no gradients here"]
    assert summary["attacks"]["noise:eps=8/255"]["failed"] == 0


# ------------------------------------------------------------------------------------------------ memory


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_out_of_memory_looks_like(problem, expected):
    assert machine.out_of_memory(problem) is expected


def test_auto_backs_off_until_it_fits_and_remembers(tmp_path):
    net = Bad("memory", largest=2)
    told = []
    summary = run(tmp_path, [Push()], net=model(net), batch_size="auto", progress=lambda d, t, s: told.append(s))
    assert summary["failed"] == 0
    assert any("batch size 2 from here on" in s for s in told)
    assert {r.batch for rows in read(tmp_path).rows.values() for r in rows.values()} == {"0 1", "2 3", "4 5"}
    run(tmp_path / "two", [Push()], batch_size=2)
    two = read(tmp_path / "two")
    halved = read(tmp_path)
    for image, row in two.rows[two.runs[-1].clean].items():
        assert halved.rows[halved.runs[-1].clean][image].stats == row.stats
    told.clear()
    attacks = [Push(), Push(eps="2/255")]
    more = run(tmp_path, attacks, net=model(net), batch_size="auto", progress=lambda d, t, s: told.append(s))
    assert more["failed"] == 0
    assert not any("out of memory" in s for s in told)  # the choice was stored


def test_backing_off_halfway_keeps_what_is_done(tmp_path):
    problem = torch.OutOfMemoryError("full")

    @dataclass(frozen=True)
    class Greedy(Breaks):
        name: str = "greedy"

        def __call__(self, model, images, target, **kw):
            if len(images) > 2 and any(torch.equal(x, Toy()[5].image) for x in images):
                raise problem
            return Push.__call__(self, model, images, target, **kw)

    data = Toy(number=40)
    summary = evaluate(model(), data, [Greedy()], out=tmp_path, batch_size="auto")
    assert summary["failed"] == 0
    assert summary["attacks"]["greedy:eps=8/255"]["images"] == 40


def test_at_batch_size_one_it_is_a_failed_row(tmp_path):
    net = Bad("memory", largest=0)
    summary = run(tmp_path, [Push()], net=model(net), batch_size="auto")
    assert summary["clean"]["failed"] == 6
    row = next(iter(read(tmp_path).rows[read(tmp_path).runs[-1].clean].values()))
    assert row.error == "out of memory at batch size 1"


def test_a_fixed_batch_size_does_not_shrink_but_says_what_helps(tmp_path):
    summary = run(tmp_path, [Push()], net=model(Bad("memory", largest=2)), batch_size=3)
    assert summary["clean"]["failed"] == 6
    assert all("--batch-size auto" in r.error for rows in read(tmp_path).rows.values() for r in rows.values())
