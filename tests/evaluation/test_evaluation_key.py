"""The run key: everything a number depends on changes it, nothing else does."""

from __future__ import annotations

import pytest

from robustseg.evaluation.key import attack_config, canonical, clean_config, run_key

CLEAN = {"model": "m", "data": "d", "task": "semantic"}
ATTACK = {"spec": "pgd:eps=8/255", "version": 1, "eps": "8/255", "norm": "linf", "reference": "gt", "seed": 0}


def key(clean=None, **attack) -> str:
    return run_key(attack_config(clean_config(**{**CLEAN, **(clean or {})}), **{**ATTACK, **attack}))


@pytest.mark.parametrize(
    ("clean", "attack"),
    [
        ({"model": "n"}, {}),
        ({"data": "e"}, {}),
        ({"task": "panoptic"}, {}),
        ({"dtype": "float16"}, {}),
        ({"resize": (1, 2)}, {}),
        ({"count": "class:car"}, {}),
        ({"class_map": "f"}, {}),
        ({}, {"spec": "pgd:eps=8/255,steps=5"}),
        ({}, {"version": 2}),
        ({}, {"eps": "4/255"}),
        ({}, {"norm": "l2"}),
        ({}, {"reference": "pred"}),
        ({}, {"seed": 1}),
        ({}, {"region": "clothing"}),
        ({}, {"eight_bit": True}),
        ({}, {"early_stop": False}),
        ({}, {"artefact": "a"}),
        ({}, {"code": "c"}),
        ({}, {"options": {"steps": "20"}}),
    ],
)
def test_any_change_is_another_key(clean, attack):
    assert key(clean, **attack) != key()


def test_equal_configurations_are_equal_keys_whatever_their_order():
    assert key() == key()
    assert canonical({"b": [1, {"d": 1, "c": 2}], "a": None}) == canonical({"a": None, "b": [1, {"c": 2, "d": 1}]})


def test_the_clean_key_does_not_depend_on_the_seed():
    assert "seed" not in clean_config(**CLEAN)


def test_a_number_that_is_none_cannot_be_a_key():
    with pytest.raises(ValueError, match="JSON"):
        canonical({"eps": float("nan")})
