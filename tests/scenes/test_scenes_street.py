"""The layout: repeatable, consistent, and with every class in it."""

import hashlib

import numpy as np
import pytest

from robustseg.scenes.meshes import quads
from robustseg.scenes.scene import CLASSES, CLOTHING, PERSON, RIDER, SKIN, THINGS
from robustseg.scenes.street import bend, seed_of, street


def digest(scene):
    h = hashlib.sha256()
    for p in scene.parts:
        h.update(p.mesh.V.tobytes() + p.mesh.F.tobytes() + np.asarray(p.color).tobytes())
        h.update(f"{p.label} {p.instance} {p.region} {p.material}".encode())
    return h.hexdigest() + repr((scene.camera, scene.facts, scene.sky.sun_direction))


def test_the_seed_is_the_hash_of_split_and_index():
    assert seed_of("val", 3) == int(hashlib.sha256(b"val/3").hexdigest()[:16], 16)


def test_same_arguments_same_street_and_others_differ():
    first, again = street("val", 3), street("val", 3)
    assert digest(first) == digest(again)
    assert digest(first) != digest(street("val", 4))
    assert digest(first) != digest(street("train", 3))


def test_the_scene_does_not_depend_on_the_picture_size():
    small, large = street("val", 5, (64, 32)), street("val", 5, (1024, 512))
    assert all(np.array_equal(a.mesh.V, b.mesh.V) for a, b in zip(small.parts, large.parts, strict=True))


@pytest.fixture(scope="module")
def streets():
    return [street("test", i) for i in range(12)]


def test_ids_and_regions_are_consistent(streets):
    for scene in streets:
        labels = {}
        for p in scene.parts:
            assert (p.instance > 0) == (p.label in THINGS)
            assert labels.setdefault(p.instance, p.label) == p.label or p.instance == 0
            assert p.region == 0 or (p.label in (PERSON, RIDER) and p.region in (CLOTHING, SKIN))
            assert p.region > 0 or p.label not in (PERSON, RIDER)
            assert p.material in scene.materials
            assert np.isfinite(p.mesh.V).all()
            assert len(p.mesh.F) == 0 or p.mesh.F.max() < len(p.mesh.V)
            color = np.asarray(p.color, float)
            assert color.shape in ((3,), (len(p.mesh.V), 3))
            assert color.min() >= 0


def test_every_class_occurs(streets):
    seen = {p.label for scene in streets for p in scene.parts}
    assert seen == set(range(len(CLASSES))) - {CLASSES.index("sky")}


def test_nobody_stands_in_somebody_else(streets):
    """Footprints of things (their boxes at the ground, before the bend nearly the same) stay apart near the camera."""
    for scene in streets:
        spots = {}
        for p in scene.parts:
            if p.label == PERSON:
                spots.setdefault(p.instance, []).append(p.mesh.V[:, :2])
        middles = np.array([np.concatenate(v).mean(0) for v in spots.values()])
        gap = np.linalg.norm(middles[:, None] - middles[None], axis=-1) + 9 * np.eye(len(middles))
        assert gap.min() > 0.4


def test_bending_keeps_lengths_along_the_axis_and_across():
    line = quads([[(s, 0.0, 0.0), (s, 4.0, 0.0), (s, 4.0, 1.0), (s, 0.0, 1.0)] for s in np.arange(0, 100, 0.5)])
    bent = bend(line, 1 / 90).V.reshape(-1, 4, 3)
    assert np.linalg.norm(np.diff(bent[:, 0], axis=0), axis=1).sum() == pytest.approx(99.5, rel=1e-4)
    assert np.allclose(np.linalg.norm(bent[:, 1] - bent[:, 0], axis=1), 4)
    assert np.allclose(np.hypot(bent[:, 0, 0], bent[:, 0, 1] - 90), 90)  # the axis is a circle around (0, 90)
