"""COCO annotations on hand-made files and on the real samples: layouts, overlaps, crowds, and every fault."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from robustseg.data import fit_ref, load_data
from robustseg.data.coco_json import official
from robustseg.data.region import region
from robustseg.errors import UserError
from robustseg.ops.prompts import boxes
from robustseg.tasks.truth import segments as truth_of

SIZE = (6, 8)
CATEGORIES = [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}, {"id": 9, "name": "cat"}]


def box(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def about(*names):
    return [
        {"id": 10 + k, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]} for k, name in enumerate(names)
    ]


def instances():
    """A large car under a small person, a cat in run lengths, a crowd over all; image b has nothing."""
    runs = [0, 2, SIZE[0] * SIZE[1] - 2]
    return {
        "images": about("b", "a"),
        "categories": [dict(c) for c in CATEGORIES],
        "annotations": [
            {"id": 51, "image_id": 11, "category_id": 1, "segmentation": box(2, 1, 4, 3), "iscrowd": 0},
            {"id": 52, "image_id": 11, "category_id": 3, "segmentation": box(1, 0, 8, 4), "iscrowd": 0},
            {"id": 53, "image_id": 11, "category_id": 9, "segmentation": {"size": [*SIZE], "counts": runs}},
            {
                "id": 900_000_000_051, "image_id": 11, "category_id": 1, "iscrowd": 1,
                "segmentation": {"size": [*SIZE], "counts": [0, 48]},
            },
        ],
    }  # fmt: skip


def panoptic():
    segments = [
        {"id": 70_000, "category_id": 1, "iscrowd": 0},
        {"id": 300, "category_id": 1, "iscrowd": 1},
        {"id": 5, "category_id": 184},
    ]
    return {
        "images": about("a"),
        "categories": [
            {"id": 1, "name": "person", "isthing": 1},
            {"id": 184, "name": "tree-merged", "isthing": 0},
        ],
        "annotations": [{"image_id": 10, "file_name": "a.png", "segments_info": segments}],
    }


def colours(ids):
    ids = np.asarray(ids, dtype=np.int64)
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def ids():
    out = np.zeros(SIZE, dtype=np.int64)
    out[:2], out[2:4], out[4, :3] = 70_000, 300, 5
    return out


@pytest.fixture
def write(tmp_path, make):
    """Write a data set in the official layout and return its reference."""

    def at(found, split="instances_val2017", root=tmp_path):
        for name in "ab":
            make.png(root / "val2017" / f"{name}.png", make.photo(*SIZE))
        if found is None or "segments_info" in str(found):
            make.png(root / "annotations" / split / "a.png", colours(ids()))
        (root / "annotations").mkdir(exist_ok=True)
        text = found if isinstance(found, (str, bytes)) else json.dumps(found)
        (root / "annotations" / f"{split}.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        return f"coco:{root}:{split}"

    return at


# ------------------------------------------------------------------------------------------- what is read


def test_instances(write):
    data = load_data(write(instances()))
    assert data.ids == ("a", "b")
    assert data.classes == data.things == ("person", "car", "cat")  # in the order of the ids
    assert data.tasks == ("semantic", "instance")
    sample, empty = data
    assert sample.segments.categories.tolist() == [0, 1, 2, 0]
    assert sample.segments.crowd.tolist() == [False, False, False, True]
    assert sample.segments.masks.sum((1, 2)).tolist() == [4, 28, 2, 48]
    assert len(empty.segments) == 0
    assert (empty.labels == 255).all()
    assert not empty.instances.any()


def test_the_smaller_object_is_on_top_and_a_crowd_has_no_label(write):
    sample = load_data(write(instances()))[0]
    labels = torch.full(SIZE, 255)
    labels[0:4, 1:8] = 1
    labels[1:3, 2:4] = 0
    labels[0:2, 0] = 2
    assert torch.equal(sample.labels, labels)
    numbers = torch.tensor([51, 52, 53, *[0] * 252, 0], dtype=torch.int32)
    assert torch.equal(sample.instances, numbers[sample.labels])
    assert torch.equal(truth_of(sample, [True] * 3, 255).masks, sample.segments.masks)  # overlaps stay


def test_panoptic(write):
    ref = write(panoptic(), "panoptic_val2017")
    data = load_data(ref)
    assert data.classes == ("person", "tree-merged")
    assert data.things == ("person",)
    assert data.tasks == ("semantic", "instance", "panoptic")
    sample = data[0]
    at = torch.from_numpy(ids())
    assert torch.equal(sample.segments.masks, torch.stack([at == n for n in (70_000, 300, 5)]))
    assert sample.segments.categories.tolist() == [0, 0, 1]
    assert sample.segments.crowd.tolist() == [False, True, False]
    assert torch.equal(sample.labels, torch.where(at == 0, 255, torch.where(at == 5, 1, 0)))
    assert torch.equal(sample.instances, torch.where(at == 70_000, at, 0).int())


def test_regions_by_class_and_object(write):
    data = load_data(write(instances()))
    sample = data[0]
    assert torch.equal(region("class:person", data)(sample), sample.segments.masks[0])
    assert torch.equal(region("instance:52", data)(sample), sample.segments.masks[1] & ~sample.segments.masks[0])


def test_resize_takes_segments_along_and_drops_those_without_a_pixel(write):
    ref = write(instances())
    plain, small = load_data(ref)[0], load_data(ref, resize=(3, 4))[0]
    assert small.segments.categories.tolist() == [0, 1, 0]  # the cat has two pixels in a column that is left out
    assert torch.equal(small.segments.masks, plain.segments.masks[[0, 1, 3]][:, 1::2, 1::2])
    assert torch.equal(small.labels, plain.labels[1::2, 1::2])


def test_class_maps_reach_the_segments(write):
    data = load_data(write(instances()), class_map={"cat": "ignore", "car": "Vehicle"})
    assert data.classes == ("person", "Vehicle")
    assert data[0].segments.categories.tolist() == [0, 1, 0]
    assert data[0].labels.unique().tolist() == [0, 1, 255]
    merged = load_data(write(panoptic(), "panoptic_val2017"), class_map={"person": "x", "tree-merged": "x"})
    assert merged.things == ()
    assert merged[0].segments.categories.tolist() == [0]
    assert torch.equal(merged[0].segments.masks[0], torch.from_numpy(ids() > 0))


def test_compressed_text_counts(write):
    found = instances()
    found["annotations"][2]["segmentation"]["counts"] = "02^1"
    assert load_data(write(found))[0].segments.masks[2].sum() == 2


def test_ids_that_fit_no_instance_map_become_places(write):
    found = instances()
    found["annotations"][0]["id"] = 0
    sample = load_data(write(found))[0]
    assert sample.instances.unique().tolist() == [0, 1, 2, 3]


def test_an_object_that_covers_no_pixel_is_none(write):
    found = instances()
    found["annotations"][0]["segmentation"] = box(20, 20, 30, 30)
    assert load_data(write(found))[0].segments.categories.tolist() == [1, 2, 0]


# ------------------------------------------------------------------------------------------- where it lies


def test_layouts(write, tmp_path):
    wanted = load_data(write(instances())).digest()
    file = tmp_path / "annotations" / "instances_val2017.json"
    assert load_data(f"coco:{file}").digest() == wanted
    assert load_data(f"coco:{file}?images={tmp_path}/val2017").digest() == wanted
    assert load_data(f"coco:{tmp_path}").digest() == wanted  # the only annotation file there
    (tmp_path / "flat").mkdir()
    shutil.copy(file, tmp_path / "flat" / "mine.json")
    shutil.copytree(tmp_path / "val2017", tmp_path / "flat" / "images")
    assert load_data(f"coco:{tmp_path}/flat").digest() == wanted
    assert load_data(f"coco:{tmp_path}/flat:mine").digest() == wanted


def test_panoptic_pngs_elsewhere(write, tmp_path):
    ref = write(panoptic(), "panoptic_val2017")
    wanted = load_data(ref).digest()
    for place in ("panoptic_val2017", "annotations/panoptic"):
        (tmp_path / "annotations" / "panoptic_val2017").rename(tmp_path / "elsewhere")
        with pytest.raises(UserError, match=r"panoptic a\.png is in none of .*say where: coco:.*\?masks=DIR"):
            load_data(ref)
        file = ref.replace(":panoptic_", "/annotations/panoptic_") + ".json"
        assert load_data(f"{file}?images={tmp_path}/val2017&masks={tmp_path}/elsewhere").digest() == wanted
        (tmp_path / "elsewhere").rename(tmp_path / place)
        assert load_data(ref).digest() == wanted
        (tmp_path / place).rename(tmp_path / "annotations" / "panoptic_val2017")


def test_ade20k_panoptic_as_its_converters_write_it(tmp_path, make):
    """Ids of images are words, categories count from 0, pictures are JPEGs and lie apart from the PNGs."""
    make.jpg(tmp_path / "images" / "validation" / "ADE_val_1.jpg", make.photo(*SIZE))
    make.png(tmp_path / "ade20k_panoptic_val" / "ADE_val_1.png", colours(ids()))
    segments = [{"id": n, "category_id": c, "iscrowd": 0} for n, c in ((70_000, 12), (300, 12), (5, 0))]
    found = {
        "images": [{"id": "ADE_val_1", "file_name": "ADE_val_1.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 0, "name": "wall", "isthing": 0}, {"id": 12, "name": "person", "isthing": 1}],
        "annotations": [{"image_id": "ADE_val_1", "file_name": "ADE_val_1.png", "segments_info": segments}],
    }
    (tmp_path / "ade20k_panoptic_val.json").write_text(json.dumps(found))
    data = load_data(f"coco:{tmp_path}/ade20k_panoptic_val.json?images={tmp_path}/images/validation")
    assert data.classes == ("wall", "person")
    assert data.things == ("person",)
    assert data.ids == ("ADE_val_1",)
    assert data[0].segments.categories.tolist() == [1, 1, 0]
    assert data[0].instances.unique().tolist() == [0, 300, 70_000]


def test_fitting_is_on_the_training_annotations(write, tmp_path):
    ref = write(instances())
    assert fit_ref(ref) is None
    (tmp_path / "val2017").rename(tmp_path / "train2017")
    write(instances(), "instances_train2017")
    assert fit_ref(ref) == f"coco:{tmp_path}:instances_train2017"
    assert fit_ref(f"coco:{tmp_path}:instances_train2017") is None


def test_the_digest_holds_annotations_pngs_and_images(write, tmp_path, make):
    ref = write(panoptic(), "panoptic_val2017")
    digests = {load_data(ref).digest()}
    make.png(tmp_path / "annotations/panoptic_val2017/a.png", colours(ids()[::-1]))
    digests.add(load_data(ref).digest())
    found = panoptic()
    found["annotations"][0]["segments_info"][0]["category_id"] = 184
    digests.add(load_data(write(found, "panoptic_val2017")).digest())
    digests.add(load_data(ref, resize=(3, 4)).digest())
    make.png(tmp_path / "val2017" / "a.png", make.photo(*SIZE, seed=1))
    digests.add(load_data(ref).digest())
    assert len(digests) == 5
    assert load_data(ref).digest() == load_data(ref).subset(1).digest()


def test_references_that_lead_nowhere(write, tmp_path):
    write(instances())
    write(panoptic(), "panoptic_val2017")
    with pytest.raises(UserError, match=r"no split 'val2017' \(present: instances_val2017, panoptic_val2017\)"):
        load_data(f"coco:{tmp_path}:val2017")
    with pytest.raises(UserError, match=r"needs a split, as in coco:PATH:panoptic_val2017 \(present: inst"):
        load_data(f"coco:{tmp_path}")
    file = f"coco:{tmp_path}/annotations/instances_val2017.json"
    with pytest.raises(UserError, match=r"'image=x' is no option of coco; .* known: images, masks"):
        load_data(f"{file}?image=x")
    with pytest.raises(UserError, match=r"image folder .*gone does not exist"):
        load_data(f"{file}?images={tmp_path}/gone")
    with pytest.raises(UserError, match="go with an annotation file"):
        load_data(f"coco:{tmp_path}:instances_val2017?images={tmp_path}")
    with pytest.raises(UserError, match="a file and a split; name the file alone"):
        load_data(f"{file}:val")
    with pytest.raises(UserError, match=r"annotation file .*none\.json does not exist"):
        load_data(f"coco:{tmp_path}/none.json")
    (tmp_path / "val2017" / "b.png").unlink()
    with pytest.raises(UserError, match=r"image b\.png is in none of .*; say where: coco:.*\?images=DIR"):
        load_data(file)


# ------------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        (b"\xff\xfe{", "not valid JSON"),
        ('{"annotations": NaN}', "not valid JSON .NaN is no JSON number"),
        ('{"annotations": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "nested absurdly deep"),
        ("3", 'no list "annotations"'),
        ("{}", 'no list "annotations"'),
        ('{"annotations": {}}', 'no list "annotations"'),
        ("[3]", r"list\[0\] is no JSON object"),
        ("[]", "needs one"),
    ],
)
def test_files_that_hold_no_annotations(write, text, message):
    with pytest.raises(UserError, match=message) as caught:
        load_data(write(text))
    assert "\n" not in str(caught.value)
    assert "instances_val2017.json: " in str(caught.value)


def put(path, value):
    """A change of one place of the file, by its path of keys; ``...`` removes it."""

    def change(found):
        at = found
        for key in path[:-1]:
            at = at[key]
        if value is ...:
            del at[path[-1]]
        else:
            at[path[-1]] = value

    return change


A, IMAGE, C = ("annotations", 0), ("images", 0), ("categories", 0)
S = (*A, "segments_info")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*A, "image_id"), 99, r"annotations\[0\]: image_id 99 is none of the images"),
        ((*A, "image_id"), [1], r"image_id \[1\] is none"),
        ((*A, "category_id"), 2, "annotation 51: category_id 2 is none of the categories"),
        ((*A, "category_id"), [1], "category_id .* is none"),
        ((*A, "category_id"), True, "category_id True is none"),
        ((*A, "iscrowd"), 2, "annotation 51: iscrowd 2 is neither 0 nor 1"),
        ((*A, "id"), 52, "annotations: id 52 occurs twice"),
        ((*A, "id"), "x", r"annotations\[0\]: id 'x' is no int"),
        ((*A, "id"), "x" * 10**6, r"id 'x{39}… is no int"),
        ((*A, "segmentation"), ..., 'annotation 51 has no "segmentation"'),
        (A, 3, r"annotations\[0\] is no JSON object"),
        ((*IMAGE, "file_name"), "../../etc/passwd.png", "does not stay inside its folder"),
        ((*IMAGE, "file_name"), "/etc/passwd.png", "does not stay inside its folder"),
        ((*IMAGE, "file_name"), "x\\..\\..\\a.png", "does not stay inside its folder"),
        ((*IMAGE, "file_name"), "C:\\a.png", "does not stay inside its folder"),
        ((*IMAGE, "file_name"), "a\0.png", "does not stay inside its folder"),
        ((*IMAGE, "file_name"), "", "does not stay inside its folder"),
        ((*IMAGE, "file_name"), "a" * 300 + ".png", "is longer than any file's"),
        ((*IMAGE, "file_name"), 3, '"file_name" is 3, not a str'),
        ((*IMAGE, "height"), "6", "\"height\" is '6', not a int"),
        ((*IMAGE, "id"), 11, "images: id 11 occurs twice"),
        ((*IMAGE, "id"), None, r"images\[0\]: id None is no int"),
        (("images",), ..., 'no list "images"'),
        (("categories",), [], '"categories" is empty'),
        (("categories",), ..., 'no list "categories"'),
        ((*C, "name"), "person", "two categories are named 'person'"),
        ((*C, "name"), None, '"name" is None, not a str'),
        ((*C, "id"), 1, "categories: id 1 occurs twice"),
    ],
)
def test_faults_found_when_an_instance_file_is_opened(write, path, value, message):
    found = instances()
    put(path, value)(found)
    with pytest.raises(UserError, match=message) as caught:
        load_data(write(found))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*S, 1, "id"), 5, "segments_info of image 10: id 5 occurs twice"),
        ((*S, 0, "id"), 0, r"segment id 0 is none of a PNG \(1 to 16777215\)"),
        ((*S, 0, "id"), 1 << 24, "segment id 16777216 is none of a PNG"),
        ((*S, 0, "category_id"), 2, "annotation 70000: category_id 2 is none"),
        ((*A, "segments_info"), {}, 'no list "segments_info"'),
        ((*A, "file_name"), "../a.png", "does not stay inside its folder"),
        (("annotations", 1), "twice", "image 10 has two panoptic annotations"),
        (("images", 1), {"id": 7, "file_name": "b.png"}, "image 7 has no panoptic annotation"),
        (C, {"id": 1, "name": "gnome"}, r'category 1 does not say whether it is countable \("isthing": 0 or 1\)'),
    ],
)
def test_faults_found_when_a_panoptic_file_is_opened(write, path, value, message):
    found = panoptic()
    if path[-1] == 1 and path[0] in ("annotations", "images"):
        found[path[0]].append(found["annotations"][0] if value == "twice" else value)
    else:
        put(path, value)(found)
    with pytest.raises(UserError, match=message):
        load_data(write(found, "panoptic_val2017"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [8, 6], "counts": [48]}, r"of a mask of size \[8, 6\], not \[6, 8\]"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "of a mask of size"),
        ({"counts": [48]}, "of a mask of size None"),
        ({"size": [6, 8], "counts": [47]}, "the runs fill 47 pixels"),
        ({"size": [6, 8], "counts": "!"}, "not a compressed run-length text"),
        ({"size": [6, 8]}, 'no "counts"'),
        ([], "no list of polygons"),
        ([3, 4], "no list of polygons"),
        ([[1, 2, 3, 4]], "a polygon needs three or more points"),
        ([[1, 2, 3, 4, 5, 1e300]], "must be numbers in pixels"),
    ],
)
def test_masks_that_cannot_be_decoded_name_their_annotation(write, code, message):
    found = instances()
    found["annotations"][0]["segmentation"] = code
    data = load_data(write(found))
    with pytest.raises(UserError, match=r"instances_val2017\.json: annotation 51: .*" + message):
        data[0]


def test_images_of_another_size(write, tmp_path, make):
    data = load_data(write(instances()))
    make.png(tmp_path / "val2017" / "a.png", make.photo(8, 6))
    with pytest.raises(UserError, match=r"a\.png is 8x6, but .*instances_val2017\.json is 6x8; .*EXIF"):
        data[0]


def test_a_million_masks_are_refused_before_they_are_made(write, monkeypatch):
    monkeypatch.setattr("robustseg.data.coco_truth.MOST_MASK_BYTES", 4 * SIZE[0] * SIZE[1] - 1)
    with pytest.raises(UserError, match=r"image a\.png: 4 masks of its size need too much memory"):
        load_data(write(instances()))[0]


def test_huge_annotation_files_are_refused_before_they_are_read(write, monkeypatch):
    monkeypatch.setattr("robustseg.data.coco_json.MOST_BYTES", 10)
    with pytest.raises(UserError, match="GB of annotations; split the file"):
        load_data(write(instances()))


def test_pngs_that_belong_to_other_annotations(write, tmp_path, make):
    ref, png = write(panoptic(), "panoptic_val2017"), tmp_path / "annotations/panoptic_val2017/a.png"
    data = load_data(ref)
    make.png(png, colours(np.where(ids() == 0, 4, ids())))
    with pytest.raises(UserError, match=r"a\.png: segment id 4 is in no segments_info of .*panoptic_val2017\.json"):
        data[0]
    make.png(png, colours(np.where(ids() == 5, 0, ids())))
    with pytest.raises(UserError, match=r"segment id 5 of .*\.json has no pixel here; .*do not belong together"):
        data[0]
    make.png(png, colours(ids()[:-1]))
    with pytest.raises(UserError, match=r"size mismatch .* is 6x8, but .*a\.png is 5x8"):
        data[0]
    make.png(png, np.zeros(SIZE, np.uint8))
    with pytest.raises(UserError, match="panoptic PNG has mode L, not RGB"):
        data[0]
    png.write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.png: panoptic PNG is empty"):
        data[0]
    png.unlink()
    with pytest.raises(UserError, match=r"panoptic PNG is missing"):
        data[0]


def test_a_missing_second_file_is_named_when_the_set_is_opened(write, tmp_path):
    found = panoptic()
    found["images"].append({"id": 7, "file_name": "b.png"})
    found["annotations"].append({"image_id": 7, "file_name": "b.png", "segments_info": []})
    ref = write(found, "panoptic_val2017")
    with pytest.raises(UserError, match=r"missing pair: .*panoptic_val2017/b\.png does not exist, but .*json lists it"):
        load_data(ref)


# ------------------------------------------------------------------------------------- the real samples


def test_the_official_table():
    table = official()
    assert len(table) == 133
    assert sum(c.thing for c in table) == 80
    assert [c.id for c in table] == sorted(c.id for c in table)


@pytest.mark.real
def test_the_table_is_the_official_one(shared_data):
    listed = json.loads((shared_data / "coco/panoptic_sample/panoptic_coco_categories.json").read_text())
    assert {(c.id, c.name, c.thing) for c in official()} == {(c["id"], c["name"], c["isthing"] == 1) for c in listed}
    objects = json.loads((shared_data / "coco/val_ccby/instances.json").read_text())["categories"]
    assert [(c.id, c.name) for c in official() if c.thing] == [(c["id"], c["name"]) for c in objects]


@pytest.mark.real
def test_the_instance_sample(shared_data):
    """Every image reads, with the number of objects and crowds and the boxes that the file says."""
    root = shared_data / "coco" / "val_ccby"
    data = load_data(f"coco:{root}:instances")
    assert (len(data), len(data.classes)) == (66, 80)
    assert data.things == data.classes
    found = json.loads((root / "instances.json").read_text())
    of = {i["file_name"][:-4]: [a for a in found["annotations"] if a["image_id"] == i["id"]] for i in found["images"]}
    names = {c["id"]: c["name"] for c in found["categories"]}
    total = 0
    for sample in data:
        told, mine = of[sample.id], sample.segments
        total += len(mine)
        assert [data.classes[c] for c in mine.categories] == [names[a["category_id"]] for a in told]
        assert mine.crowd.tolist() == [a["iscrowd"] == 1 for a in told]
        corners = np.array([a["bbox"] for a in told]).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        assert np.abs(boxes(mine.masks).numpy() - corners).max(initial=0) <= 4  # thin tips of polygons fill no pixel
        if len(mine):
            assert torch.equal(sample.labels != 255, mine.masks[~mine.crowd].any(0))
    assert total == 560


@pytest.mark.real
def test_the_panoptic_sample(shared_data):
    """Areas and boxes of every segment are those of the file, and its own run-length version says the same."""
    root = shared_data / "coco" / "panoptic_sample"
    data = load_data(f"coco:{root}:panoptic_examples")
    twin = load_data(f"coco:{root}:panoptic_coco_detection_format")
    assert (len(data), len(data.classes), len(data.things)) == (2, 133, 80)
    told = json.loads((root / "panoptic_examples.json").read_text())["annotations"]
    for sample, other, annotation in zip(data, twin, told):
        assert sample.segments.masks.sum((1, 2)).tolist() == [s["area"] for s in annotation["segments_info"]]
        assert sample.segments.crowd.tolist() == [s["iscrowd"] == 1 for s in annotation["segments_info"]]
        assert int(sample.segments.masks.sum(0).max()) == 1
        assert torch.equal(sample.labels != 255, sample.segments.masks.any(0))
        assert sorted(map(tuple, _facts(sample))) == sorted(map(tuple, _facts(other)))


def _facts(sample):
    s = sample.segments
    return zip(s.categories.tolist(), s.crowd.tolist(), (s.masks * torch.arange(1, s.masks[0].numel() + 1).view(
        1, *s.masks.shape[1:])).sum((1, 2)).tolist())  # fmt: skip


@pytest.mark.real
def test_bare_lists_of_annotations(shared_data):
    root = shared_data / "coco" / "hf_sample"
    regions = load_data(f"coco:{root}:panoptic_segments")
    objects = load_data(f"coco:{root}:instances_annotations")
    assert regions.ids == objects.ids == ("000000039769",)
    assert [regions.classes[c] for c in regions[0].segments.categories] == [
        "cat", "cat", "couch", "remote", "remote", "blanket",
    ]  # fmt: skip
    areas = regions[0].segments.masks.sum((1, 2)).tolist()
    assert areas == [53306, 59627, 174579, 4068, 2118, 2750]
    assert [objects.classes[c] for c in objects[0].segments.categories] == [
        "remote", "remote", "couch", "bed", "cat", "cat",
    ]  # fmt: skip


@pytest.mark.real
def test_pngs_read_as_the_image_library_reads_them(shared_data):
    """The id arithmetic against a second, naive one."""
    root = shared_data / "coco" / "panoptic_sample"
    sample = load_data(f"coco:{root}:panoptic_examples")[0]
    red, green, blue = (np.array(c, dtype=int) for c in Image.open(root / "panoptic" / f"{sample.id}.png").split())
    for k, number in enumerate(
        json.loads((root / "panoptic_examples.json").read_text())["annotations"][0]["segments_info"]
    ):
        assert np.array_equal(sample.segments.masks[k].numpy(), red + green * 2**8 + blue * 2**16 == number["id"])
