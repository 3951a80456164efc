"""A process that runs networks on a CPU keeps the memory of large arrays, unless it is told not to."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import jax
import pytest

PROGRAM = """
import resource
import numpy as np
import neurograph as ng

ng.Network(ng.load_topology("mlp"), ng.Rule(states=2))
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(16_000_000, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(4)][-1])
"""


def page_faults(**variables: str) -> int:
    """Of an array of 64 MB that a program makes for the fourth time."""
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES" and not k.startswith(("MALLOC_", "NEUROGRAPH_"))}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment | variables, capture_output=True, text=True, check=True, timeout=300
    )
    return int(run.stdout)


@pytest.mark.thorough
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="networks run on another device")
def test_large_arrays_come_from_memory_that_the_process_has():
    assert page_faults() < 100
    # What the user has set, or switched off, stays: the array is mapped anew (by pages of 4 kB or of 2 MB).
    assert page_faults(NEUROGRAPH_MALLOC="0") >= 30
    assert page_faults(GLIBC_TUNABLES="glibc.malloc.mmap_threshold=1000000") >= 30
