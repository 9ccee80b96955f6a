"""CamVid as it is: the counts of SOURCES, the classes, and that everything reads."""

import pytest
import torch

from robustseg.data import fit_ref, load_data

pytestmark = pytest.mark.real


@pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 26), ("test", 59)])
def test_the_splits_have_their_images(shared_data, split, count):
    data = load_data(f"camvid:{shared_data}/camvid:{split}")
    assert len(data) == count
    assert len(set(data.ids)) == count
    assert data[0].image.shape == (3, 360, 480)


def test_every_test_image_reads_and_all_classes_occur(shared_data):
    data = load_data(f"camvid:{shared_data}/camvid:test", resize=(90, 120))
    counts = torch.zeros(256, dtype=torch.int64)
    for sample in data:
        assert sample.image.min() >= 0
        assert sample.image.max() <= 1
        assert sample.image.std() > 0.02
        counts += torch.bincount(sample.labels.flatten(), minlength=256)
        assert set(sample.labels[sample.instances > 0].unique().tolist()) <= {8, 9, 10}
    assert (counts[:11] > 0).all()
    assert counts[11:255].sum() == 0
    share = counts[:11] / counts[:11].sum()
    assert share.argmax() in (1, 3)  # building or road; a shifted class table would break this
    assert 0.001 < share[9] < 0.05  # pedestrians are few


def test_training_split_is_the_default_to_fit_on_and_does_not_overlap(shared_data):
    ref = f"camvid:{shared_data}/camvid:test"
    other = fit_ref(ref)
    assert other == f"camvid:{shared_data}/camvid:train"
    assert not set(load_data(ref).ids) & set(load_data(other).ids)


def test_digest_is_stable_within_and_across_opens(shared_data):
    first, second = (load_data(f"camvid:{shared_data}/camvid:test") for _ in range(2))
    assert first.digest() == second.digest() == first.subset(5).digest()
    assert first.digest() != load_data(f"camvid:{shared_data}/camvid:val").digest()
