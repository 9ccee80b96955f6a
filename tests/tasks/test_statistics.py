"""The counted statistics against a count by hand, pixel by pixel."""

import pytest
import torch

from robustseg.tasks.semantic import predict, statistics
from robustseg.types import DenseOutput


def by_hand(p, y, classes, ignore, ids, before):
    pixels = [
        (int(a), int(b), int(o), int(c))
        for a, b, o, c in zip(p.flatten(), y.flatten(), ids.flatten(), before.flatten())
        if b != ignore
    ]
    row = {
        "inter": [sum(a == b == c for a, b, *_ in pixels) for c in range(classes)],
        "pred": [sum(a == c for a, *_ in pixels) for c in range(classes)],
        "target": [sum(b == c for _, b, *_ in pixels) for c in range(classes)],
        "valid": len(pixels),
        "right": sum(a == b for a, b, *_ in pixels),
        "clean_right": sum(b == c for _, b, _, c in pixels),
        "flipped": sum(b == c and a != b for a, b, _, c in pixels),
        "objects": [],
    }
    for o in sorted({o for *_, o, _ in pixels if o > 0}):
        mine = [(a, b) for a, b, i, _ in pixels if i == o]
        area = [sum(b == c for _, b in mine) for c in range(classes)]
        row["objects"].append([area.index(max(area)), len(mine), sum(a == b for a, b in mine)])
    return row


@pytest.mark.parametrize(("classes", "ignore", "step"), [(5, 255, 1), (3, -1, 1000), (2, 2, 10**6), (150, 255, 7)])
def test_every_count_is_that_of_the_pixels(classes, ignore, step):
    draw = torch.Generator().manual_seed(classes)

    def some(high, shape=(3, 9, 11)):
        return torch.randint(0, high, shape, generator=draw)

    y, p, before = (some(min(classes, 4)) for _ in range(3))
    ids = (some(4) * step).int()
    y[torch.rand(y.shape, generator=draw) < 0.2] = ignore
    y[2] = ignore  # an image without a valid pixel
    ids[1] = 0  # an image without objects
    rows = statistics(p, y, classes=classes, ignore=ignore, instances=ids, clean_prediction=before)
    assert rows == [by_hand(p[i], y[i], classes, ignore, ids[i], before[i]) for i in range(3)]


def test_a_prediction_takes_the_lower_of_equal_classes():
    scores = torch.randint(0, 3, (2, 6, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    for layout in (torch.contiguous_format, torch.channels_last):
        found = predict(DenseOutput(scores.contiguous(memory_format=layout)), (16, 16))
        lowest = torch.stack([(scores[:, c] == scores.amax(1)).long() * (6 - c) for c in range(6)]).amax(0)
        assert torch.equal(found, 6 - lowest)
