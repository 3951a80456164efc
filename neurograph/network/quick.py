"""Programs that run a few times only: what XLA leaves out for them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax

__all__ = ["brisk_options", "quick_options"]

# Of XLA, for CPUs. Releases stop at options that they do not know, so each is tried.
OPTIONS = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_cpu_use_fusion_emitters": False,
}
BRISK = ("xla_cpu_use_fusion_emitters",)


@functools.cache
def quick_options() -> dict[str, int | bool] | None:
    """Returns what `compiler_options` of `jax.jit` a program without optimisations has; None on other devices than CPUs.

    It is compiled in a third of the time, and runs a few times slower.
    """
    return _those([*OPTIONS])


@functools.cache
def brisk_options() -> dict[str, int | bool] | None:
    """Returns `compiler_options` of a program that runs as fast as ever and is compiled in four fifths of the time."""
    return _those(BRISK)


def _those(names: Sequence[str]) -> dict[str, int | bool] | None:
    if jax.default_backend() != "cpu":
        return None
    return {name: OPTIONS[name] for name in names if _known(name, OPTIONS[name])} or None


@functools.cache
def _known(name: str, value: int | bool) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except Exception:  # which one depends on the release
        return False
    return True
