"""Peers in torch, on one thread: dense layers, CSR products, and PyTorch Geometric's message passing."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.case import ETA, Case, Level, Run
from benchmarks.peers.dense import cut_blocks, dense_step, join_blocks

__all__ = ["dense", "message_passing", "sparse"]

# Synapses whose product is taken at once: gathered ends that fit the cache.
CHUNK = 2048


def _torch() -> Any:
    import torch

    torch.set_num_threads(1)
    return torch


def dense(case: Case) -> Run | None:
    """The hand-written dense step, in torch."""
    if not case.workload.dense:
        return None
    torch = _torch()
    step = partial(dense_step, torch.einsum, torch.tanh, torch.zeros, torch.cat, case.workload)
    x, y = (torch.from_numpy(np.ascontiguousarray(v[0].T)) for v in (case.x, case.y))
    given = [torch.from_numpy(w) for w in cut_blocks(case)], torch.from_numpy(case.matrices)

    def run():
        with torch.inference_mode():
            return step(*given, x, y)

    return Run(run, partial(join_blocks, case))


def _sparse_run(case: Case, torch: Any, inflows: Any) -> Run:
    """A step by levels in [states, neurons, batch]; `inflows(levels, sources)` gives, per level, a function of (weights, signal)
    to the inflow of its rows. The update gathers both ends in chunks that stay in the cache."""
    t, n, k, batch = case.topology, case.topology.num_neurons, case.states, case.batch
    index = lambda a: torch.from_numpy(np.asarray(a, np.int64))  # noqa: E731
    forward = [(index(level.rows), flow) for level, flow in zip(case.forward, inflows(case.forward, t.senders), strict=True)]
    backward = [(index(level.rows), flow) for level, flow in zip(case.backward, inflows(case.backward, t.receivers), strict=True)]
    weights, matrices = torch.from_numpy(np.ascontiguousarray(case.weights.T)), torch.from_numpy(case.matrices)
    x, y = (torch.from_numpy(np.ascontiguousarray(v[0].T)) for v in (case.x, case.y))
    inputs, outputs = index(t.inputs), index(t.outputs)
    ends = list(zip(index(t.senders).split(CHUNK), index(t.receivers).split(CHUNK), strict=True))
    free = torch.from_numpy((~t.fixed).astype(np.float32)) if t.fixed.any() else None
    mix = lambda matrix, state: torch.einsum("cd,dnb->cnb", matrix, state)  # noqa: E731

    def sweep(state, matrix, levels, fresh):
        signal = mix(matrix, state)
        for rows, flow in levels:
            inflow = flow(weights, signal)
            new = torch.tanh(inflow if fresh else state[:, rows] + inflow)
            state[:, rows] = new
            signal[:, rows] = mix(matrix, new)
        return state

    def run():
        with torch.inference_mode():
            state = torch.zeros(k, n, batch)
            state[0, inputs] = x
            state = sweep(state, matrices[0], forward, not case.cyclic)
            state[1:, outputs] = 0
            state[1, outputs] = y
            state = sweep(state, matrices[1], backward, False)
            pre, post = (mix(matrices[i], state) for i in (2, 3))
            product = torch.cat([(pre[:, s] * post[:, r]).sum(-1) for s, r in ends], dim=1)
            return weights + ETA * (product if free is None else product * free)

    return Run(run, lambda weights: weights.numpy().T)


def sparse(case: Case) -> Run | None:
    """torch CSR products per level and state, in the order of the topology: the learned weights are permuted once per pass."""
    if case.shared:
        return None
    torch = _torch()
    warnings.filterwarnings("ignore", message="Sparse.*")
    n = case.topology.num_neurons

    def inflow(level: Level, sources: np.ndarray) -> Any:
        starts, columns = torch.from_numpy(level.starts), torch.from_numpy(sources[level.edges].astype(np.int32))
        order, shape = torch.from_numpy(level.edges), (len(level.rows), n)

        def flow(weights, signal):
            values = weights[:, order]
            csr = partial(torch.sparse_csr_tensor, starts, columns, size=shape, check_invariants=False)
            return torch.stack([csr(v) @ s for v, s in zip(values, signal, strict=True)])

        return flow

    return _sparse_run(case, torch, lambda levels, sources: [inflow(level, sources) for level in levels])


def message_passing(case: Case) -> Run | None:
    """PyTorch Geometric: one bipartite `MessagePassing` per level, features [neurons, batch], one state at a time."""
    if case.shared:
        return None
    torch = _torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it uses what torch has deprecated
        from torch_geometric.nn import MessagePassing

    class Flow(MessagePassing):
        def __init__(self):
            super().__init__(aggr="add")

        def forward(self, signal, weights, edges, size):
            return self.propagate(edges, x=(signal, None), weights=weights, size=size)

        def message(self, x_j, weights):
            return x_j * weights

    layer = Flow()

    def inflow(level: Level, sources: np.ndarray) -> Any:
        edges = torch.from_numpy(np.stack([sources[level.edges], level.row]).astype(np.int64))
        order, size = torch.from_numpy(level.edges), (case.topology.num_neurons, len(level.rows))

        def flow(weights, signal):
            return torch.stack([layer(s, w[:, None], edges, size) for s, w in zip(signal, weights[:, order], strict=True)])

        return flow

    return _sparse_run(case, torch, lambda levels, sources: [inflow(level, sources) for level in levels])
