"""Matching class names: never by position, always by name or by a map."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustseg.data.classes import match, remap
from robustseg.errors import UserError


def test_names_match_in_any_order_and_spelling():
    table = match(["Traffic Light", "person", "TREE"], ["tree", "sky", "traffic_light", "Per-son"])
    assert table[:3].tolist() == [2, 3, 0]
    assert table.dtype == torch.int64
    assert table[255] == 255


def test_ignore_values_of_both_sides():
    table = match(["a", "b"], ["b", "a"], data_ignore=7, ignore=99)
    assert remap(torch.tensor([[0, 1, 7]]), table).tolist() == [[1, 0, 99]]


@given(st.permutations(list(range(8))))
def test_remap_there_and_back_is_the_identity(order):
    data = [f"class {i}" for i in range(8)]
    model = [data[i] for i in order]
    labels = torch.tensor([*range(8), 255, 3, 255]).view(1, -1)
    there = remap(labels, match(data, model))
    assert torch.equal(remap(there, match(model, data)), labels)
    assert [model[i] for i in there[0, :8].tolist()] == data


def test_missing_classes_are_one_line_that_shows_the_map():
    with pytest.raises(UserError) as caught:
        match(["road", "Pedestrian", "Bicyclist"], ["road", "person", "bicycle"])
    text = str(caught.value)
    assert "\n" not in text
    assert "lacks 2 of the data's classes: 'Pedestrian', 'Bicyclist'" in text
    assert "--class-map FILE" in text


def test_class_map(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"pedestrian": "person", "Bicyclist": "ignore"}))
    table = match(["road", "Pedestrian", "Bicyclist"], ["person", "road"], class_map=path)
    assert table[:3].tolist() == [1, 0, 255]


def test_faults_of_class_maps(tmp_path):
    with pytest.raises(UserError, match="'Pedestrain' is no class of the data; near: Pedestrian"):
        match(["road", "Pedestrian"], ["road"], class_map={"Pedestrain": "ignore"})
    with pytest.raises(UserError, match="lacks 1 of the data's classes: 'Pedestrian'"):
        match(["Pedestrian"], ["person"], class_map={"Pedestrian": "human"})
    (tmp_path / "m.json").write_text('{"a": 3}')
    with pytest.raises(UserError, match=r"m\.json: a class map is a JSON object"):
        match(["a"], ["a"], class_map=tmp_path / "m.json")
    (tmp_path / "n.json").write_text("{")
    with pytest.raises(UserError, match=r"n\.json: class map cannot be read"):
        match(["a"], ["a"], class_map=tmp_path / "n.json")


def test_a_model_with_one_name_twice_is_refused():
    with pytest.raises(UserError, match="two classes named 'Sky'"):
        match(["sky"], ["Sky", "road", "sky"])


def test_lists_of_names_match_by_their_first():
    assert match(["road", "screen"], ["screen", "road, route", "blind, screen"])[:2].tolist() == [1, 0]


def test_a_name_that_fits_twice_is_not_guessed():
    with pytest.raises(UserError, match="lacks 1 of the data's classes: 'road'"):
        match(["road"], ["road, route", "road; street"])


def test_exact_names_win_over_synonyms():
    assert match(["window", "windowpane"], ["windowpane", "window"])[:2].tolist() == [1, 0]
    with pytest.raises(UserError, match="lacks 1 of the data's classes: 'windowpane'"):
        match(["window", "windowpane"], ["window", "door"])


def test_ade20k_matches_the_names_of_panoptic_checkpoints():
    """MaskFormer-type ADE20K checkpoints name 14 classes otherwise, and many by a list of names."""
    import json
    from importlib import resources

    names = json.loads((resources.files("robustseg.data") / "ade20k.json").read_text())["classes"]
    other = {
        "windowpane": "window ", "bathtub": "tub", "railing": "rail", "streetlight": "street lamp",
        "television receiver": "tv", "airplane": "plane", "apparel": "clothes", "swimming pool": "pool",
        "waterfall": "falls", "ashcan": "trash can", "road": "road, route", "blind": "blind, screen",
        "screen door": "screen door, screen", "land": "land, ground, soil", "earth": "earth, ground",
        "buffet": "buffet, counter, sideboard", "bannister": "bannister, banister, balustrade, balusters, handrail",
        "toilet": "toilet, can, commode, crapper, pot, potty, stool, throne", "step": "step, stair",
    }  # fmt: skip
    assert set(other) < set(names)
    assert match(names, [other.get(n, n) for n in names])[:150].tolist() == list(range(150))


def test_remap_refuses_what_the_table_does_not_hold():
    with pytest.raises(UserError, match="labels from -1 to 0 do not fit"):
        remap(torch.tensor([0, -1]), match(["a"], ["a"]))
    with pytest.raises(UserError, match="labels from 0 to 256"):
        remap(torch.tensor([0, 256]), match(["a"], ["a"]))
