"""Runs a network for tests: everything in one compiled function, because compiling is what the tests' time goes into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
import neurograph.network.network
from neurograph.network.kernels import native

# Every kernel that can run here: the native one needs a C++ compiler.
KERNELS = tuple(name for name in ng.network.KERNELS if name != "auto" and (name != "native" or native.available()))


def rest_is_thorough(values: Iterable[Any], *quick: Any) -> list[Any]:
    """Values as parameters of a test; the default run has those named."""
    return [pytest.param(value, marks=[] if value in quick else pytest.mark.thorough) for value in values]


@jax.jit
def steps(network: ng.Network, genome: ng.Genome, arrays: dict[str, Any], xs: Any, ys: Any, query: Any = None) -> dict[str, Any]:
    """`pack`, then a `trace` per batch of `xs` [U, B, n_in] and `ys` with its `unpack`, then `predict` on `query` if given.

    Returns the traces' arrays and forward, backward and bias, all with a leading [U], and `query`.
    """

    def body(synapses: ng.Synapses, batch: Any):
        trace = network.trace(genome, synapses, batch[1], batch[2], index=batch[0])
        names = ("forward", "feedback", "backward", "outputs")
        states = {f"states.{name}" if name != "outputs" else name: getattr(trace, name) for name in names}
        return trace.synapses, states | network.unpack(trace.synapses)

    last, records = jax.lax.scan(body, network.pack(**arrays), (jnp.arange(xs.shape[0]), xs, ys))
    return records if query is None else records | {"query": network.predict(genome, last, query)}


def relative(ours: Any, theirs: Any) -> float:
    """Largest difference over the largest magnitude."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    return float(np.max(np.abs(ours - theirs), initial=0) / max(np.max(np.abs(theirs), initial=0), 1e-30))


def relative_norm(ours: Any, theirs: Any) -> float:
    """Norm of the difference over the norm."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-30))
