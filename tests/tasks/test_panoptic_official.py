"""PQ on COCO's own samples against what the official tool says, crowds, void and damaged predictions included."""

from __future__ import annotations

import numpy as np
import pytest
from degraded import cases, categories

from robustseg.tasks.fates import entries, of_maps
from robustseg.tasks.panoptic import PanopticMap, quality, statistics

# printed by the official tool: PYTHONPATH=panopticapi python tests/tasks/degraded.py shared/data
# PQ, SQ, RQ of all, of things, of stuff
OFFICIAL = """
shifted
0.4536839855 0.5749744649 0.6251393534 0.3750634223 0.5829899584 0.5002388915 0.5637527741 0.5637527741 0.8000000000
shifted with more void
0.5334122301 0.6319808632 0.7352472089 0.5045305313 0.6852396921 0.6812865497 0.5680702686 0.5680702686 0.8000000000
eroded
0.4890171161 0.6043104556 0.6422466422 0.3994633483 0.5971090732 0.5295656724 0.6143923910 0.6143923910 0.8000000000
eroded with more void
0.5697311482 0.6686533535 0.7430412725 0.5266254313 0.7079828077 0.6955756662 0.6214580085 0.6214580085 0.8000000000
relabelled
0.3754629630 0.7500000000 0.3754629630 0.5126984127 1.0000000000 0.5126984127 0.1833333333 0.4000000000 0.1833333333
relabelled with more void
0.3347312410 0.5833333333 0.3347312410 0.4377705628 0.7142857143 0.4377705628 0.1904761905 0.4000000000 0.1904761905
half_void
0.4568041085 0.6053405872 0.5041666667 0.5071428571 0.7142857143 0.5071428571 0.3863298604 0.4528174092 0.5000000000
half_void with more void
0.4877463689 0.6572241358 0.6096256684 0.5304789498 0.7440007222 0.6176470588 0.4364672718 0.5530922321 0.6000000000
cut_up
0.0961730042 0.2864057718 0.1305555556 0.1648680072 0.4909813231 0.2238095238 0.0000000000 0.0000000000 0.0000000000
cut_up with more void
0.0566584506 0.1731567320 0.0926017802 0.1038738261 0.3174540086 0.1697699304 0.0000000000 0.0000000000 0.0000000000
dissolved
0.6832979846 0.8180833382 0.6985479798 0.6222068529 0.8532674590 0.6260822511 0.7688255690 0.7688255690 0.8000000000
dissolved with more void
0.7899595052 0.8960201113 0.8030303030 0.8022863360 0.9967307805 0.8055555556 0.7751673083 0.7751673083 0.8000000000
"""


def as_map(ids, named, index, crowd=None):
    """Ids as they come -> 1 … S in the order of ``named``."""
    order = np.array([0, *named])
    place = np.argsort(order)
    found = place[np.searchsorted(order, ids, sorter=place)]
    known = np.isin(ids, order)
    classes = np.array([index[c] for c in named.values()], dtype=int)
    return PanopticMap(np.where(known, found, 0), classes, crowd)


@pytest.mark.real
def test_equals_the_official_tool_on_cocos_samples(shared_data):
    kinds = categories(shared_data)
    index = {k["id"]: n for n, k in enumerate(kinds)}
    things = [k["isthing"] == 1 for k in kinds]
    crowds = matched = invented = 0
    lines = OFFICIAL.split("\n")[1:-1]
    wanted = {name: [float(v) for v in values.split()] for name, values in zip(lines[::2], lines[1::2])}
    seen = set()
    for name, pairs in cases(shared_data):
        rows = []
        for (ids, segments), (said, named) in pairs:
            crowd = np.array([s["iscrowd"] == 1 for s in segments])
            truth = as_map(ids, {s["id"]: s["category_id"] for s in segments}, index, crowd)
            prediction = as_map(said, named, index)
            rows.append(statistics(prediction, truth, len(kinds)))
            fates = [e[1] for e in entries(of_maps(prediction, truth))]
            assert fates.count("kept") == sum(rows[-1]["tp"])
            assert len(fates) - fates.count("invented") == (~crowd).sum()
            invented += fates.count("invented")
            matched += fates.count("kept")
            crowds += crowd.sum()
        found = quality(rows, things)
        ours = [found[score + group] for group in ("", "_th", "_st") for score in ("PQ", "SQ", "RQ")]
        assert ours == pytest.approx(wanted[name], abs=1e-10), name
        seen.add(name)
    assert seen == set(wanted)
    assert min(crowds, matched, invented) >= 30
