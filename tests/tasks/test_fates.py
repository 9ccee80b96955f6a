"""The fate of every segment on hand-made maps; on random ones the fates account for PQ's counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustseg.tasks.fates import FATES, entries, of_maps, score
from robustseg.tasks.panoptic import PanopticMap, statistics

ROAD, CAR, VAN = 0, 1, 2


def line(text, **names):
    """A map of one row: letters are segments, '.' is void; ``a=CAR`` names the class of segment a."""
    order = list(names)
    ids = np.array([[0 if ch == "." else order.index(ch) + 1 for ch in text]])
    return PanopticMap(ids, np.array(list(names.values()), dtype=int))


def fates(prediction, truth):
    return [[*e[:2], e[4]] for e in entries(of_maps(prediction, truth))]


TRUTH = line("aaaaaabbbbbbrrrr", a=CAR, b=CAR, r=ROAD)


@pytest.mark.parametrize(
    ("said", "names", "wanted"),
    [
        ("aaaaaabbbbbbrrrr", {"a": CAR, "b": CAR, "r": ROAD}, ["kept", "kept", "kept"]),
        ("aaaa..bbbbbbrrrr", {"a": CAR, "b": CAR, "r": ROAD}, ["kept", "kept", "kept"]),
        ("aaa...bbbbbbrrrr", {"a": CAR, "b": CAR, "r": ROAD}, ["lost", "kept", "kept"]),  # IoU of exactly 1/2
        ("......bbbbbbrrrr", {"b": CAR, "r": ROAD}, ["lost", "kept", "kept"]),
        ("aaaaaabbbbbbrrrr", {"a": VAN, "b": CAR, "r": ROAD}, ["flipped", "kept", "kept"]),
        ("aaaaaaaaaaaarrrr", {"a": CAR, "r": ROAD}, ["merged", "merged", "kept"]),
        ("aaaaaaaa.bbbrrrr", {"a": CAR, "b": CAR, "r": ROAD}, ["kept", "lost", "kept"]),
        ("aaabbbccccccrrrr", {"a": CAR, "b": CAR, "c": CAR, "r": ROAD}, ["split", "kept", "kept"]),
        ("aabbccddddddrrrr", {"a": CAR, "b": CAR, "c": CAR, "d": CAR, "r": ROAD}, ["split", "kept", "kept"]),
        ("a.b...ddddddrrrr", {"a": CAR, "b": CAR, "d": CAR, "r": ROAD}, ["lost", "kept", "kept"]),  # crumbs
        ("aaabbbccccccrrrr", {"a": CAR, "b": VAN, "c": CAR, "r": ROAD}, ["lost", "kept", "kept"]),
        ("rrrrrrbbbbbbrrrr", {"r": ROAD, "b": CAR}, ["flipped", "kept", "merged"]),  # 6 of 10 px
        ("aaaaaaaaaaaaaaaa", {"a": CAR}, ["merged", "merged", "lost"]),
    ],
)
def test_fates_by_hand(said, names, wanted):
    found = fates(line(said, **names), TRUTH)
    assert [f[1] for f in found[:3]] == wanted


def test_the_other_class_is_where_it_went():
    found = fates(line("vvvvvvvvvvvvr.vv", v=VAN, r=ROAD), TRUTH)
    assert found == [
        [CAR, "lost", VAN],
        [CAR, "lost", VAN],
        [ROAD, "lost", VAN],
        [VAN, "invented", CAR],
        [ROAD, "invented", ROAD],
    ]
    assert fates(line("rrrrrrrr", r=ROAD), line("aarrrrrr", a=CAR, r=ROAD)) == [
        [CAR, "lost", ROAD],
        [ROAD, "kept", ROAD],
    ]
    nothing = PanopticMap(np.zeros((1, 16), int), np.zeros(0, int))
    assert fates(nothing, TRUTH) == [[CAR, "lost", None], [CAR, "lost", None], [ROAD, "lost", None]]
    small = line("aaaaaaaabb", a=CAR, b=VAN)
    assert fates(line("aaaaaaaaaa", a=VAN), small) == [[CAR, "flipped", VAN], [VAN, "merged", CAR]]
    both = line("aaaaaaaabb", a=CAR, b=CAR)
    assert fates(line("aaaaaaaaaa", a=CAR), both) == [[CAR, "kept", CAR], [CAR, "merged", CAR]]


def test_what_explains_a_fate_is_not_invented_and_what_lies_on_void_is_excused():
    truth = line("aaaaaa....rrrr", a=CAR, r=ROAD)
    assert [f[1] for f in fates(line("aaabbb....rrrr", a=CAR, b=CAR, r=ROAD), truth)] == ["split", "kept"]
    assert [f[1] for f in fates(line("aaaaaavvvvrrrr", a=CAR, v=VAN, r=ROAD), truth)] == ["kept", "kept"]
    assert [f[1] for f in fates(line("aaaa.vv...rrrr", a=CAR, v=VAN, r=ROAD), truth)] == ["kept", "kept", "invented"]


def test_a_crowd_has_no_fate_and_excuses_its_class():
    truth = PanopticMap(np.array([[1, 1, 1, 1, 2, 2]]), np.array([CAR, ROAD]), np.array([True, False]))
    said = line("aabbrr", a=CAR, b=VAN, r=ROAD)
    assert fates(said, truth) == [[ROAD, "kept", ROAD], [VAN, "invented", None]]


def test_the_clean_prediction_tells_what_the_attack_changed():
    truth = TRUTH
    clean = line("aaaaaaccccccrrvv", a=CAR, c=VAN, r=ROAD, v=VAN)  # b flipped, a van invented, road 2 of 4
    now = line("......ccccccaavv", c=VAN, a=CAR, v=VAN)
    from robustseg.tasks.rows import _panoptic_fates

    found = _panoptic_fates(now, truth, clean)
    assert [[e[0], e[1], e[5]] for e in found] == [
        [CAR, "lost", "kept"],
        [CAR, "flipped", "flipped"],
        [ROAD, "lost", "lost"],
        [CAR, "invented", None],
        [VAN, "invented", "invented"],
    ]
    table = score([found], ["road", "car", "van"])
    assert table["all"] == {"kept": 0, "lost": 2, "flipped": 1, "split": 0, "merged": 0, "invented": 2}
    assert table["newly"] == {"kept": 0, "lost": 1, "flipped": 0, "split": 0, "merged": 0, "invented": 1}
    assert table["classes"]["car"] == {"kept": 0, "lost": 1, "flipped": 1, "split": 0, "merged": 0, "invented": 1}


maps = st.lists(st.integers(0, 4), min_size=24, max_size=24)
named = st.lists(st.integers(0, 2), min_size=4, max_size=4)


@settings(max_examples=200, deadline=None)
@given(maps, named, maps, named, st.lists(st.booleans(), min_size=4, max_size=4), st.booleans())
def test_fates_account_for_every_count_of_pq(said, classes, true, classes_true, crowd, near):
    truth = PanopticMap(np.array([sorted(true)]), np.array(classes_true), np.array(crowd))
    said = np.array([sorted(said)])
    said = np.where(np.arange(24) < 14, truth.ids, said) if near else said
    prediction = PanopticMap(said, np.array(classes))
    counts = statistics(prediction, truth, 3)
    overlaps = of_maps(prediction, truth)
    found = entries(overlaps)
    number = {f: sum(e[1] == f for e in found) for f in FATES}
    there = sum(bool((truth.ids == k + 1).any()) and not crowd[k] for k in range(4))
    assert sum(number.values()) - number["invented"] == there  # exactly one fate each
    assert number["kept"] == sum(counts["tp"])
    assert number["lost"] + number["flipped"] + number["split"] + number["merged"] == sum(counts["fn"])
    assert number["invented"] <= sum(counts["fp"])
    if not (number["flipped"] or number["split"] or number["merged"]):
        assert number["invented"] == sum(counts["fp"])
