"""Timing, memory and the machine: what the benchmarks have in common."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TUNABLES", "gemm_rate", "interleave", "machine", "resident_bytes", "warn_if_unpinned"]

# One heap keeps the pages of large arrays; else an array above 32 MB, or above 64 MB in a thread of its own, is mapped and zeroed
# again in every call. `Network` does the like for itself (network/kernels/allocator.py); here every peer has it.
TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"

# Seconds below which a call that follows others is much slower than one of a loop.
SHORT = 0.1

PACKAGES = ("jax", "jaxlib", "jraph", "torch", "torch_geometric", "scipy", "numba", "numpy")


def interleave(runs: Mapping[str, Callable[[], Any]], *, seconds: float, most: int) -> dict[str, dict[str, Any]]:
    """Time functions in turn, round after round, so that other load on the machine affects all of them.

    Whoever is short goes once untimed when its turn comes: learning is a loop, and one call alone would mostly measure how much
    of the caches the others took.

    Args:
      runs: called without arguments; each must block until it is done. The first call warms up and is not counted, unless it
        alone takes longer than `seconds`.
      seconds: time for each of them; slow ones get fewer rounds, at least one.
      most: rounds at most.

    Returns:
      Per name: medians "cpu ms" (of the process, all threads) and "wall ms", quartiles "cpu quartiles ms", "rounds".
    """
    taken: dict[str, list[tuple[float, float]]] = {}
    rounds, short = {}, {}
    for name, run in runs.items():
        first = _timed(run)
        taken[name] = [first] if first[1] > seconds else []
        once = first[1] if taken[name] else max(_timed(run)[1], 1e-9)
        short[name] = once < SHORT
        rounds[name] = 0 if taken[name] else min(most, max(1, int(seconds / once)))
    for number in range(max(rounds.values(), default=0)):
        for name, run in runs.items():
            # Few rounds are spread over the others' many.
            if number * rounds[name] // max(rounds.values()) != (number + 1) * rounds[name] // max(rounds.values()):
                if short[name]:
                    run()
                taken[name].append(_timed(run))
    out = {}
    for name, pairs in taken.items():
        cpu, wall = 1e3 * np.array(pairs).T
        out[name] = {
            "cpu ms": float(np.median(cpu)),
            "wall ms": float(np.median(wall)),
            "cpu quartiles ms": [float(q) for q in np.quantile(cpu, [0.25, 0.75])],
            "rounds": len(pairs),
        }
    return out


def _timed(run: Callable[[], Any]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    pair = time.process_time() - cpu, time.perf_counter() - wall
    del result
    return pair


def resident_bytes(run: Callable[[], Any]) -> int | None:
    """By how much the resident set grows at its highest while `run` runs: for programs that cannot be asked (Linux only)."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists() or not os.access(reset, os.W_OK):
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not serve this run unseen
    read = lambda field: 1024 * int(status.read_text().split(f"{field}:")[1].split()[0])  # noqa: E731
    before = read("VmRSS")
    reset.write_text("5")  # resets the high-water mark
    result = run()
    after = read("VmHWM")
    del result
    return max(after - before, 0)


def gemm_rate(size: int = 1024, rounds: int = 7) -> float:
    """Multiply-adds per CPU second of a large float32 matrix product: what the arithmetic floor is reckoned with."""
    a, b = (np.random.default_rng(0).standard_normal((size, size), np.float32) for _ in range(2))
    a @ b
    return size**3 / min(_timed(lambda: a @ b)[0] for _ in range(rounds))


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "cores used": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", ""),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions,
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def warn_if_unpinned() -> None:
    """Say on stderr what makes figures less comparable."""
    found = machine()
    if found["cores used"] != 1:
        print(f"note: {found['cores used']} cores; `taskset -c 0` makes CPU times comparable", file=sys.stderr)
    if missing := [option for option in TUNABLES.split(":") if option.split("=")[0] not in found["GLIBC_TUNABLES"]]:
        print(f"note: page faults of large arrays count as time without GLIBC_TUNABLES={':'.join(missing)}", file=sys.stderr)
    if found["load"][0] > 1.5:
        print(f"note: load {found['load'][0]}: other work shares this machine; read ratios, not times", file=sys.stderr)
