"""Keeps freed memory of the process, so that large arrays on a CPU come from it.

glibc maps every array of more than 32 MB again in every call of a program and returns it afterwards; the operating system then
zeroes it page by page. On a graph of 20,000 neurons that is half of a learning step (docs/performance.md).
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
# Parameters of mallopt in glibc's malloc.h: M_MMAP_MAX, no array gets a mapping of its own; M_ARENA_MAX, threads started later
# share one heap (a thread's own heap ends at 64 MB, and is returned as a whole); M_TRIM_THRESHOLD.
SETTINGS = ((-4, 0), (-8, 1), (-1, KEPT))


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let malloc serve arrays of every size from its heap, and keep up to 1 GiB of what is freed.

    The setting holds for the whole process, and is made once. Threads that started before it keep heaps of their own. Nothing is
    set where the user has set malloc (`GLIBC_TUNABLES`, `MALLOC_*`), with `NEUROGRAPH_MALLOC=0`, or where malloc is not glibc's.

    Returns:
      True if malloc was set.
    """
    if not sys.platform.startswith("linux") or switched_off("NEUROGRAPH_MALLOC"):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    return all(library.mallopt(parameter, value) for parameter, value in SETTINGS)
