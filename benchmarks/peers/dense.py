"""The step on complete layers as one writes it by hand, for JAX and torch alike; layout [states, neurons, batch]."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.peers.case import ETA, Case
from benchmarks.workloads import Workload

__all__ = ["cut_blocks", "dense_forward", "dense_step", "join_blocks"]


def _pairs(workload: Workload) -> list[tuple[int, int]]:
    """(from, to) of every complete pair of layers."""
    sizes = workload.dense or ()
    pairs = [(i, i + 1) for i in range(len(sizes) - 1)]
    return pairs + (_skips(sizes) if workload.skips == "dense" else [])


def _skips(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(i, i + 2) for i in range(1, len(sizes) - 3)]


def _blocks(case: Case) -> list[np.ndarray]:
    """Topology index of every synapse of every pair of layers, [to, from]."""
    sizes, t = case.workload.dense or (), case.topology
    starts = list(itertools.accumulate(sizes, initial=0))
    layer = np.repeat(np.arange(len(sizes)), sizes)
    source, target = layer[t.senders], layer[t.receivers]
    out = []
    for a, b in _pairs(case.workload):
        edges = np.flatnonzero((source == a) & (target == b))
        matrix = np.empty((sizes[b], sizes[a]), np.int64)
        matrix[t.receivers[edges] - starts[b], t.senders[edges] - starts[a]] = edges
        out.append(matrix)
    return out


def cut_blocks(case: Case) -> list[np.ndarray]:
    """Weights [states, to, from] of every pair of layers."""
    return [np.ascontiguousarray(case.weights[edges].transpose(2, 0, 1)) for edges in _blocks(case)]


def join_blocks(case: Case, weights: list[Any]) -> np.ndarray:
    """The inverse: [E, k] in topology order."""
    out = case.weights.copy()
    for edges, block in zip(_blocks(case), weights, strict=True):
        out[edges] = np.asarray(block).transpose(1, 2, 0)
    return out


def _mix(einsum: Any, matrix: Any, state: Any) -> Any:
    return einsum("cd,dnb->cnb", matrix, state)


def dense_forward(einsum: Any, tanh: Any, zeros: Any, concatenate: Any, workload: Workload, weights, matrices, x) -> list[Any]:
    """States of all layers after the forward pass; the first four arguments come from the library."""
    sizes, pairs = workload.dense or (), _pairs(workload)
    identity = _skips(sizes) if workload.skips == "identity" else []
    states = [concatenate([x[None], zeros(workload.states - 1, *x.shape)])]
    signals = [_mix(einsum, matrices[0], states[0])]
    for layer in range(1, len(sizes)):
        z = sum(einsum("krs,ksb->krb", w, signals[a]) for (a, b), w in zip(pairs, weights, strict=True) if b == layer)
        z = z + sum(signals[a] for a, b in identity if b == layer)
        states.append(tanh(z))
        signals.append(_mix(einsum, matrices[0], states[-1]))
    return states


def dense_step(einsum: Any, tanh: Any, zeros: Any, concatenate: Any, workload: Workload, weights, matrices, x, y) -> list[Any]:
    """Learned weights of all pairs of layers after one step."""
    sizes, pairs = workload.dense or (), _pairs(workload)
    identity = _skips(sizes) if workload.skips == "identity" else []
    states = dense_forward(einsum, tanh, zeros, concatenate, workload, weights, matrices, x)
    states[-1] = concatenate([states[-1][:1], y[None], zeros(workload.states - 2, *y.shape)])
    signals: dict[int, Any] = {len(sizes) - 1: _mix(einsum, matrices[1], states[-1])}
    for layer in range(len(sizes) - 2, 0, -1):
        z = sum(einsum("krs,krb->ksb", w, signals[b]) for (a, b), w in zip(pairs, weights, strict=True) if a == layer)
        z = z + sum(signals[b] for a, b in identity if a == layer)
        states[layer] = tanh(states[layer] + z)
        signals[layer] = _mix(einsum, matrices[1], states[layer])
    pre, post = ([_mix(einsum, matrices[i], s) for s in states] for i in (2, 3))
    return [w + ETA * einsum("krb,ksb->krs", post[b], pre[a]) for (a, b), w in zip(pairs, weights, strict=True)]
