"""Solids have the volume and the outward winding that geometry says."""

import numpy as np
import pytest

from robustseg.scenes import meshes as ms
from robustseg.scenes.cycles import bicycle, motorcycle
from robustseg.scenes.heavy import bus, tram, truck
from robustseg.scenes.people import pedestrian
from robustseg.scenes.scene import CLOTHING, SKIN
from robustseg.scenes.vehicles import car


def volume(mesh):
    """Signed volume (divergence theorem); positive where the triangles face outwards."""
    a, b, c = (mesh.V[mesh.F[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


SOLIDS = {
    "box": (ms.box((1, 2, 3), (2, 3, 4)), 24.0, 1e-9),
    "sphere": (ms.sphere((0, 0, 5), 2.0, 40, 40), 4 / 3 * np.pi * 8, 0.02),
    "tube up": (ms.tube([(0, 0, 0), (0, 0, 3)], 0.5, 60), np.pi * 0.25 * 3, 0.01),
    "tube across": (ms.tube([(0, 0, 0), (2, 0, 0), (4, 0, 0)], 0.5, 60), np.pi * 0.25 * 4, 0.01),
    "wheel": (ms.wheel((0, 1, 1), 0.5, 0.2, 80), np.pi * 0.25 * 0.2, 0.01),
    "stack": (ms.stack([0, 2], 1.0, 2.0, n=90), 2 * np.pi * 2, 0.01),
    "hull": (ms.hull([0, 5], 1.0, 0.0, 2.0, n=90, power=2), np.pi * 5, 0.01),
    "torus": (ms.torus((0, 0, 0), 1.0, 0.2, 80, 40), 2 * np.pi**2 * 0.04, 0.02),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_volume_and_winding(name):
    mesh, truth, tolerance = SOLIDS[name]
    assert volume(mesh) == pytest.approx(truth, rel=tolerance)


def test_merge_moves_indices_and_moved_keeps_volume():
    two = ms.merge(ms.box((0, 0, 0), (1, 1, 1)), ms.box((5, 0, 0), (1, 1, 1)).moved((0, 0, 2), 0.7, 2.0))
    assert volume(two) == pytest.approx(1 + 8)
    assert two.F.max() == len(two.V) - 1


def test_normals_of_a_sphere_are_radial():
    ball = ms.sphere((0, 0, 0), 1.0, 40, 40)
    n = ms.normals(ball.V, ball.F)
    side = np.abs(ball.V[:, 2]) < 0.9
    assert (np.einsum("ij,ij->i", n, ball.V)[side] > 0.98).all()


@pytest.mark.parametrize(
    ("make", "longest"), [(car, 5.2), (truck, 10), (bus, 13), (tram, 31), (bicycle, 2.2), (motorcycle, 2.4)]
)
def test_vehicles_stand_on_the_ground_and_keep_their_size(make, longest):
    for seed in range(12):
        parts = make(np.random.default_rng(seed), 3, (10.0, 2.0, 0.5), 0.0)
        points = np.concatenate([p.mesh.V for p in parts])
        low, high = points.min(0), points.max(0)
        assert low[2] == pytest.approx(0.5, abs=0.12)
        assert 1.4 < high[0] - low[0] < longest
        assert {p.instance for p in parts} == {3}
        assert len({p.label for p in parts}) == 1
        assert all(np.isfinite(p.mesh.V).all() and p.mesh.F.max() < len(p.mesh.V) for p in parts)


def test_people_stand_on_the_ground_with_clothing_and_skin():
    for seed in range(20):
        parts = pedestrian(np.random.default_rng(seed), 7, (4.0, 1.0, 0.13), 0.4)
        points = np.concatenate([p.mesh.V for p in parts])
        assert points[:, 2].min() == pytest.approx(0.13)
        assert 0.9 < np.ptp(points[:, 2]) < 2.2
        assert {p.region for p in parts} == {CLOTHING, SKIN}
