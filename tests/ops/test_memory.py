"""Freed memory is used again: counted in page faults, which the system counts exactly."""

import os
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
torch.set_num_threads(1)
from robustseg.ops.memory import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed()
def step():
    return torch.empty(16 << 20).fill_(0) + 1  # twice 64 MiB
for _ in range(12):
    step()  # the heap grows to what a step needs
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="needs glibc")
def test_large_tensors_reuse_their_pages():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "default")
    )
    assert kept < given_back / 10
