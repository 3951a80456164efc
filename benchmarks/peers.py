"""The same learning step by other means: the jraph way, hand-written dense JAX, torch dense and torch sparse CSR, scipy.

Every peer is `make(workload, topology, seed) -> run`, where `run()` does one step (forward, backward, synapse update) of the
additive rule with tanh, k states, batch B, and blocks until it is done; or None where the peer cannot run the graph. They keep
their layout between steps: no conversion is timed. Peers other than JAX are extras: missing ones are left out of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workloads import Workload
from neurograph.topology.graph import Topology

__all__ = ["PEERS"]

Run = Callable[[], Any]


def ours(workload: Workload, topology: Topology, seed: int) -> Run:
    import jax

    import neurograph as ng

    rule = ng.Rule(states=workload.states, forward_activation="tanh", backward_activation="tanh")
    network = ng.Network(topology, rule)
    genome = ng.Genome.random(jax.random.PRNGKey(seed), rule, scale=0.4)
    synapses = network.init(genome, key=jax.random.PRNGKey(seed + 1))
    x, y = map(jax.numpy.asarray, _batch(workload, topology, seed))
    return lambda: jax.block_until_ready(network.step(genome, synapses, x, y))


def segments(workload: Workload, topology: Topology, seed: int) -> Run | None:
    """jraph's segment sums in their best layout, messages [synapses, states, batch], one level after another."""
    import jax
    import jax.numpy as jnp
    import jraph

    level = np.asarray(topology.levels)
    if level.max() > 64:
        return None  # minutes to compile: one program per level
    n, k, batch = topology.num_neurons, workload.states, workload.batch
    random = np.random.default_rng(seed)
    senders, receivers = topology.senders, topology.receivers
    by = np.argsort(level[receivers], kind="stable")
    forward = [(e, np.unique(receivers[e])) for e in np.split(by, np.cumsum(np.bincount(level[receivers]))[:-1]) if len(e)]
    inner = np.ones(n, bool)
    inner[topology.inputs] = inner[topology.outputs] = False
    useful = np.flatnonzero(inner[senders])
    useful = useful[np.argsort(-level[senders[useful]], kind="stable")]
    cuts = np.flatnonzero(np.diff(level[senders[useful]])) + 1
    backward = [(e, np.unique(senders[e])) for e in np.split(useful, cuts) if len(e)]
    weights = jnp.asarray(random.normal(size=(len(senders), k, 1)) * 0.1, jnp.float32)
    matrices = jnp.asarray(random.normal(size=(4, k, k)) * 0.4, jnp.float32)
    x, y = map(jnp.asarray, _batch(workload, topology, seed))

    def sweep(state, weights, matrix, steps, source, target):
        for edges, rows in steps:
            signal = jnp.einsum("cd,ndb->ncb", matrix, state)
            inflow = jraph.segment_sum(signal[source[edges]] * weights[edges], jnp.asarray(target[edges]), n)
            state = state.at[rows].set(jnp.tanh(state[rows] + inflow[rows]))
        return state

    @jax.jit
    def step(weights, x, y):
        state = jnp.zeros((n, k, batch)).at[topology.inputs, 0].set(x.T)
        state = sweep(state, weights, matrices[0], forward, senders, receivers)
        state = state.at[topology.outputs, 1].set(y.T)
        state = sweep(state, weights, matrices[1], backward, receivers, senders)
        pre, post = (jnp.einsum("cd,ndb->ncb", matrices[i], state) for i in (2, 3))
        return weights + 1e-3 * jnp.sum(pre[senders] * post[receivers], axis=2, keepdims=True)

    return lambda: step(weights, x, y).block_until_ready()


def _layers(workload: Workload) -> list[tuple[int, int]]:
    """(from, to) of every complete pair of layers of a dense workload."""
    sizes = workload.dense or ()
    pairs = [(i, i + 1) for i in range(len(sizes) - 1)]
    return pairs + ([(i, i + 2) for i in range(1, len(sizes) - 3)] if workload.skips == "dense" else [])


def _dense_step(xp: Any, einsum: Any, workload: Workload, tanh: Any, zeros: Any, concatenate: Any) -> Any:
    """The step on complete layers in the layout [states, neurons, batch], for JAX and torch alike."""
    sizes, pairs, k = workload.dense or (), _layers(workload), workload.states
    identity = [(i, i + 2) for i in range(1, len(sizes) - 3)] if workload.skips == "identity" else []
    last = len(sizes) - 1

    def step(weights, matrices, x, y):
        states: list[Any] = [concatenate([x[None], zeros(k - 1, *x.shape)])]
        for layer in range(1, last + 1):
            z = sum(
                einsum("krs,ksb->krb", w, einsum("cd,dnb->cnb", matrices[0], states[a]))
                for (a, b), w in zip(pairs, weights, strict=True)
                if b == layer
            )
            z = z + sum(einsum("cd,dnb->cnb", matrices[0], states[a]) for a, b in identity if b == layer)
            states.append(tanh(z))
        states[last] = concatenate([states[last][:1], y[None], zeros(k - 2, *y.shape)]) if k > 1 else states[last]
        for layer in range(last - 1, 0, -1):
            z = sum(
                einsum("krs,krb->ksb", w, einsum("cd,dnb->cnb", matrices[1], states[b]))
                for (a, b), w in zip(pairs, weights, strict=True)
                if a == layer
            )
            z = z + sum(einsum("cd,dnb->cnb", matrices[1], states[b]) for a, b in identity if a == layer)
            states[layer] = tanh(states[layer] + z)
        pre = [einsum("cd,dnb->cnb", matrices[2], s) for s in states]
        post = [einsum("cd,dnb->cnb", matrices[3], s) for s in states]
        return [w + 1e-3 * einsum("krb,ksb->krs", post[b], pre[a]) for (a, b), w in zip(pairs, weights, strict=True)]

    return step


def _dense_arrays(workload: Workload, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    random, sizes, k = np.random.default_rng(seed), workload.dense or (), workload.states
    weights = [(random.normal(size=(k, sizes[b], sizes[a])) * 0.1).astype(np.float32) for a, b in _layers(workload)]
    return weights, (random.normal(size=(4, k, k)) * 0.4).astype(np.float32)


def dense_jax(workload: Workload, topology: Topology, seed: int) -> Run | None:
    """Hand-written einsum, batch innermost."""
    if not workload.dense:
        return None
    import jax
    import jax.numpy as jnp

    weights, matrices = _dense_arrays(workload, seed)
    raw = _dense_step(jnp, jnp.einsum, workload, jnp.tanh, lambda *s: jnp.zeros(s, jnp.float32), jnp.concatenate)
    step = jax.jit(raw)
    x, y = (jnp.asarray(np.ascontiguousarray(v.T)) for v in _batch(workload, topology, seed))
    given = [jnp.asarray(w) for w in weights], jnp.asarray(matrices)
    return lambda: jax.block_until_ready(step(*given, x, y))


def dense_torch(workload: Workload, topology: Topology, seed: int) -> Run | None:
    if not workload.dense:
        return None
    import torch

    weights, matrices = _dense_arrays(workload, seed)
    step = _dense_step(torch, torch.einsum, workload, torch.tanh, torch.zeros, torch.cat)
    x, y = (torch.from_numpy(np.ascontiguousarray(v.T)) for v in _batch(workload, topology, seed))
    given = [torch.from_numpy(w) for w in weights], torch.from_numpy(matrices)

    def run():
        with torch.no_grad():
            return step(*given, x, y)

    return run


def _sparse_step(topology: Topology, workload: Workload, seed: int) -> tuple[Any, ...]:
    """Levels as CSR matrices per state in both directions: what torch and scipy get."""
    from scipy.sparse import csr_array

    random, k = np.random.default_rng(seed), workload.states
    level, senders, receivers = np.asarray(topology.levels), topology.senders, topology.receivers
    values = (random.normal(size=(k, len(senders))) * 0.1).astype(np.float32)
    n, inner = topology.num_neurons, np.ones(topology.num_neurons, bool)
    inner[topology.inputs] = inner[topology.outputs] = False

    def cut(targets, sources, chosen, key):
        out = []
        for edges in np.split(chosen, np.flatnonzero(np.diff(key[chosen])) + 1):
            rows, row = np.unique(targets[edges], return_inverse=True)
            out.append((rows, [csr_array((values[c, edges], (row, sources[edges])), shape=(len(rows), n)) for c in range(k)]))
        return out

    forward = cut(receivers, senders, np.argsort(level[receivers], kind="stable"), level[receivers])
    chosen = np.flatnonzero(inner[senders])
    backward = cut(senders, receivers, chosen[np.argsort(-level[senders[chosen]], kind="stable")], level[senders])
    return forward, backward, values, (random.normal(size=(4, k, k)) * 0.4).astype(np.float32)


def sparse_torch(workload: Workload, topology: Topology, seed: int) -> Run | None:
    """torch CSR products per level; the update gathers both ends in chunks that stay in the cache."""
    import warnings

    import torch

    if topology.depth > 200:
        return None
    forward, backward, values, matrices = _sparse_step(topology, workload, seed)
    n, k, batch = topology.num_neurons, workload.states, workload.batch
    warnings.filterwarnings("ignore", message="Sparse.*")

    def convert(steps):
        return [
            (
                torch.from_numpy(rows),
                [
                    torch.sparse_csr_tensor(
                        torch.from_numpy(m.indptr), torch.from_numpy(m.indices), torch.from_numpy(m.data), m.shape
                    )
                    for m in ms
                ],
            )
            for rows, ms in steps
        ]

    forward, backward = convert(forward), convert(backward)
    senders, receivers = (torch.from_numpy(a.astype(np.int64)) for a in (topology.senders, topology.receivers))
    weights, mats = torch.from_numpy(values), torch.from_numpy(matrices)
    x, y = (torch.from_numpy(np.ascontiguousarray(v.T)) for v in _batch(workload, topology, seed))
    inputs, outputs = (torch.from_numpy(a.astype(np.int64)) for a in (topology.inputs, topology.outputs))

    def sweep(state, matrix, steps):
        signal = torch.einsum("cd,dnb->cnb", matrix, state)
        for rows, ms in steps:
            inflow = torch.stack([m @ s for m, s in zip(ms, signal, strict=True)])
            new = torch.tanh(state[:, rows] + inflow)
            state[:, rows] = new
            signal[:, rows] = torch.einsum("cd,dnb->cnb", matrix, new)
        return state

    def run():
        with torch.no_grad():
            state = torch.zeros(k, n, batch)
            state[0, inputs] = x
            state = sweep(state, mats[0], forward)
            state[1, outputs] = y
            state = sweep(state, mats[1], backward)
            pre, post = (torch.einsum("cd,dnb->cnb", mats[i], state) for i in (2, 3))
            parts = [(pre[:, s] * post[:, r]).sum(-1) for s, r in zip(senders.split(2048), receivers.split(2048), strict=True)]
            return weights + 1e-3 * torch.cat(parts, dim=1)

    return run


def _batch(workload: Workload, topology: Topology, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed + 7)
    x = random.normal(size=(workload.batch, len(topology.inputs)))
    y = np.sign(random.normal(size=(workload.batch, len(topology.outputs))))
    return x.astype(np.float32), y.astype(np.float32)


PEERS: dict[str, Callable[[Workload, Topology, int], Run | None]] = {
    "ours": ours,
    "segment_sum": segments,
    "einsum": dense_jax,
    "torch": dense_torch,
    "torch csr": sparse_torch,
}
