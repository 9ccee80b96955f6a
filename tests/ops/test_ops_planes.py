"""Which plane is the largest, how many pixels are set: as PyTorch says, the first of equals, in any layout."""

from __future__ import annotations

import torch

from robustseg.ops.planes import counts, winners


def test_the_first_of_the_largest_in_any_layout():
    draw = torch.Generator().manual_seed(0)
    for K in (1, 2, 7, 300):  # 300 need more than a byte
        values = torch.randint(0, 2 * K, (2, K, 5, 6), generator=draw).float()  # full of ties
        first = (values == values.amax(1, keepdim=True)).to(torch.uint8).argmax(1)
        assert torch.equal(winners(values.transpose(0, 1)), first)
        assert torch.equal(winners(values[1].bfloat16()), values[1].bfloat16().max(0).indices)


def test_counts_of_slices_too():
    masks = torch.rand(4, 6, 8, generator=torch.Generator().manual_seed(0)) > 0.4
    assert counts(masks).tolist() == masks.flatten(1).sum(1).tolist()
    assert counts(masks[:, 1:4, ::2]).tolist() == masks[:, 1:4, ::2].flatten(1).sum(1).tolist()
    assert counts(masks[:0]).tolist() == []
