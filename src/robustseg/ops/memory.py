"""Keep freed memory for the next step instead of giving it back to the system."""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_freed"]

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # names of mallopt's parameters, glibc's malloc.h
NEVER = -1


def keep_freed() -> bool:
    """Tell glibc's allocator to reuse large blocks; True where that worked (Linux with glibc), else nothing happens.

    By default every tensor above some megabytes is mapped anew, and its pages are cleared by the system when they are
    first touched: a quarter to a third of a step on a CPU at batch 4. The setting holds for the whole process, which
    then keeps its peak memory until it ends; so programs call this (the command line does), a library does not.
    """
    names = getattr(os, "confstr_names", {})
    if "CS_GNU_LIBC_VERSION" not in names or not os.confstr("CS_GNU_LIBC_VERSION"):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # first the mapping, then the trimming: the second alone would fix the mapping threshold at its small start value
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
