"""Side by side with other libraries: ``python -m benchmarks.peers --overlays DIR``.

Their pins exclude each other, so each is laid over the one torch environment from a folder of its own, made by
``pip install --no-deps --target DIR/NAME PACKAGE`` (adv_lib: its source in DIR/adv_lib; what several need, in
DIR/common). A peer that is not there is reported as such and skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.opponents import OPPONENTS, Opponent


def main() -> None:
    """Every contest in a process of its own; print, write ``results/peers.json``."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--overlays", type=Path, required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--name", default="peers")
    a = p.parse_args()
    rows = []
    for index, opponent in enumerate(OPPONENTS):
        results.say(f"{opponent.peer}, {opponent.task}")
        rows.append(_row(index, opponent, a))
        print(line(rows[-1]), flush=True)
    results.write(a.name, {"rows": rows})


def _row(index: int, opponent: Opponent, a: argparse.Namespace) -> dict[str, Any]:
    common = [str(index), "--threads", str(a.threads)]
    row = _run(opponent, a.overlays, [*common, "--rounds", str(a.rounds)])
    if "absent" not in row:
        for who in ("ours", "peer"):
            row[who]["peak_mib"] = _run(opponent, a.overlays, [*common, "--only", who]).get("mib")
    return row


def _run(opponent: Opponent, overlays: Path, arguments: list[str]) -> dict[str, Any]:
    paths = [str(overlays / name) for name in opponent.packages] + [os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.contest", *arguments],
        capture_output=True, text=True, env=env, cwd=Path(__file__).parent.parent, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    about = {k: v for k, v in vars(opponent).items() if k != "run"}
    return {"absent": reason.replace(str(overlays), "DIR"), "opponent": about}


def line(row: dict[str, Any]) -> str:
    """One contest on three lines."""
    o = row["opponent"]
    name = f"{o['task']}, {o['peer']} {o['attack']}"
    if "absent" in row:
        return f"{name}: not measured ({row['absent']})"
    ratio = row["peer_over_ours_cpu"]
    lines = [f"{name}: takes {ratio['median']:.2f} [{ratio['q1']:.2f}, {ratio['q3']:.2f}] times our CPU time"]
    for who in ("ours", "peer"):
        r = row[who]
        speed, cpu = r["images_per_second"]["median"], r["cpu_ms_per_gradient"]["median"]
        lines.append(
            f"  {who}: {speed:.2f} images/s, {cpu:.0f} CPU ms a gradient, {r['forwards']} forwards, "
            f"{r['backwards']} backwards, {r['peak_mib']:.0f} MiB, cross-entropy {r['cross_entropy']:.3f}, "
            f"wrong {r['wrong']:.1%}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
