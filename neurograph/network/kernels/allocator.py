"""Large arrays of a CPU from memory that the process has already.

glibc maps an array of more than 32 MB anew for every call of a program and gives it back after; the kernel then zeroes it page by
page. On a graph of 20,000 neurons that is half of a learning step (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache

from neurograph.files import switched_off

__all__ = ["keep_freed_memory"]

# Freed memory, in bytes, that is not given back to the system.
KEPT = 1 << 30
# glibc's malloc.h, parameters of mallopt: M_MMAP_MAX, no array is mapped for itself; M_ARENA_MAX, threads that are yet to come
# share one heap (one of their own ends at 64 MB, and is given back whole); M_TRIM_THRESHOLD.
SETTINGS = ((-4, 0), (-8, 1), (-1, KEPT))


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let malloc serve arrays of every size from its heap, and keep up to 1 GiB of what is freed.

    It is the whole process's malloc that is set, once; the earlier, the more threads follow it. Nothing is set where the user has
    (`GLIBC_TUNABLES`, `MALLOC_*`), with `NEUROGRAPH_MALLOC=0`, or where malloc is not glibc's.

    Returns:
      Whether it was set.
    """
    if not sys.platform.startswith("linux") or switched_off("NEUROGRAPH_MALLOC"):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    return all(library.mallopt(parameter, value) for parameter, value in SETTINGS)
