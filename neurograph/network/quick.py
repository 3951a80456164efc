"""Programs that run a few times only: compiled without optimisations, in a third of the time, to run a few times slower."""

from __future__ import annotations

import functools

import jax

__all__ = ["quick_options"]

# Of XLA, for CPUs. Releases stop at options that they do not know, so each is tried.
OPTIONS = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_cpu_use_fusion_emitters": False,
}


@functools.cache
def quick_options() -> dict[str, int | bool] | None:
    """Returns what `compiler_options` of `jax.jit` a quickly compiled program has; None on other devices than CPUs."""
    if jax.default_backend() != "cpu":
        return None
    return {name: value for name, value in OPTIONS.items() if _known(name, value)} or None


def _known(name: str, value: int | bool) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except Exception:  # which one depends on the release
        return False
    return True
