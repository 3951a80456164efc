"""Peers on NumPy arrays, on one thread: scipy's CSR products, and loops compiled by numba."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.peers.case import ETA, Case, Run

__all__ = ["numba_loops", "scipy_csr"]

# Synapses whose product is taken at once: gathered ends that fit the cache.
CHUNK = 2048


def _step(case: Case, inflows: Any, product: Any) -> Any:
    """A step by levels in [states, neurons, batch]; `inflows(levels, sources)` gives, per level, a function of (weights, signal),
    `product(pre, post)` the sums over the batch [states, synapses]."""
    t, n, k, batch = case.topology, case.topology.num_neurons, case.states, case.batch
    weights, matrices = np.ascontiguousarray(case.weights.T), case.matrices
    x, y = case.x[0].T, case.y[0].T
    free = (~t.fixed).astype(np.float32)
    forward, backward = inflows(case.forward, t.senders), inflows(case.backward, t.receivers)

    def mix(matrix: np.ndarray, state: np.ndarray) -> np.ndarray:
        return (matrix @ state.reshape(k, -1)).reshape(state.shape)

    def sweep(state, matrix, levels, flows, fresh):
        signal = mix(matrix, state)
        for level, flow in zip(levels, flows, strict=True):
            inflow = flow(weights, signal)
            new = np.tanh(inflow if fresh else state[:, level.rows] + inflow)
            state[:, level.rows] = new
            signal[:, level.rows] = mix(matrix, new)
        return state

    def run():
        state = np.zeros((k, n, batch), np.float32)
        state[0, t.inputs] = x
        state = sweep(state, matrices[0], case.forward, forward, not case.cyclic)
        state[1:, t.outputs] = 0
        state[1, t.outputs] = y
        state = sweep(state, matrices[1], case.backward, backward, False)
        change = product(mix(matrices[2], state), mix(matrices[3], state))
        return weights + np.float32(ETA) * (change * free if t.fixed.any() else change)

    return run


def scipy_csr(case: Case) -> Run | None:
    """scipy CSR products per level and state; the product of both ends in chunks that stay in the cache."""
    if case.shared:
        return None
    from scipy.sparse import csr_array

    t = case.topology

    def inflow(level, sources):
        matrix = csr_array(
            (np.zeros(len(level.edges), np.float32), sources[level.edges].astype(np.int32), level.starts),
            shape=(len(level.rows), t.num_neurons),
        )

        def flow(weights, signal):
            out = np.empty((len(signal), len(level.rows), signal.shape[2]), np.float32)
            for c, s in enumerate(signal):
                matrix.data = weights[c, level.edges]
                out[c] = matrix @ s
            return out

        return flow

    def product(pre, post):
        out = np.empty((len(pre), t.num_synapses), np.float32)
        for first in range(0, t.num_synapses, CHUNK):
            part = slice(first, first + CHUNK)
            for c in range(len(pre)):
                out[c, part] = np.einsum("eb,eb->e", pre[c, t.senders[part]], post[c, t.receivers[part]])
        return out

    run = _step(case, lambda levels, sources: [inflow(level, sources) for level in levels], product)
    return Run(run, lambda weights: weights.T)


@lru_cache(maxsize=1)
def _loops() -> tuple[Any, Any]:
    import numba

    @numba.njit(fastmath=True)
    def flow(starts, sources, edges, weights, signal):
        states, _, batch = signal.shape
        rows = len(starts) - 1
        out = np.zeros((states, rows, batch), np.float32)
        for c in range(states):
            for r in range(rows):
                total = out[c, r]
                for place in range(starts[r], starts[r + 1]):
                    weight, sender = weights[c, edges[place]], signal[c, sources[place]]
                    for b in range(batch):
                        total[b] += weight * sender[b]
        return out

    @numba.njit(fastmath=True)
    def product(senders, receivers, pre, post):
        states, _, batch = pre.shape
        out = np.empty((states, len(senders)), np.float32)
        for c in range(states):
            for e in range(len(senders)):
                total, sender, receiver = np.float32(0), pre[c, senders[e]], post[c, receivers[e]]
                for b in range(batch):
                    total += sender[b] * receiver[b]
                out[c, e] = total
        return out

    return flow, product


def numba_loops(case: Case) -> Run | None:
    """Loops over rows, synapses and the batch, compiled by numba with fast mathematics."""
    if case.shared:
        return None
    flow, product = _loops()
    t = case.topology

    def inflow(level, sources):
        starts, source = level.starts, sources[level.edges].astype(np.int32)
        return lambda weights, signal: flow(starts, source, level.edges, weights, signal)

    run = _step(
        case,
        lambda levels, sources: [inflow(level, sources) for level in levels],
        lambda pre, post: product(t.senders, t.receivers, pre, post),
    )
    start = time.perf_counter()
    run()
    return Run(run, lambda weights: weights.T, time.perf_counter() - start)
