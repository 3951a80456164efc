"""Peers in JAX: neurograph itself, the jraph way in two layouts, and hand-written dense layers; steps and meta-gradients."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.case import ETA, STEPS, Case, Level, Run
from benchmarks.peers.dense import cut_blocks, dense_forward, dense_step, join_blocks

__all__ = [
    "batch_first_segments",
    "einsum",
    "einsum_gradient",
    "our_gradient",
    "our_network",
    "ours",
    "segments",
    "segments_gradient",
]

# Levels are unrolled into one program each: beyond this many it takes minutes to compile.
MAX_LEVELS = 150
# Synapses whose product is taken at once: gathered ends that fit the cache.
CHUNK = 2048


def _run(function: Callable[..., Any], arguments: tuple[Any, ...], weights: Callable[[Any], np.ndarray]) -> Run:
    """Compile ahead, so that compiling is timed apart and the program's memory can be read."""
    import jax

    jitted = jax.jit(function)
    start = time.perf_counter()
    compiled = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - start
    step = lambda: jax.block_until_ready(jitted(*arguments))  # noqa: E731
    return Run(step, weights, seconds, int(compiled.memory_analysis().temp_size_in_bytes))


# -- ours ----------------------------------------------------------------------------------------------------------------------


def our_network(case: Case, precision: str | None = None, kernel: str = "auto") -> tuple[Any, Any, Any]:
    """`(network, genome, synapses)` of a case."""
    import jax.numpy as jnp

    import neurograph as ng

    rule = ng.Rule(states=case.states, forward_activation="tanh", backward_activation="tanh")
    network = ng.Network(case.topology, rule, kernel, precision=precision)
    forward, backward, pre, post = case.matrices
    genome = ng.Genome.from_arrays(
        forward_transform=forward, backward_transform=backward, pre_transform=pre.T, post_transform=post, synapse_update=ETA
    )
    return network, genome, network.pack(jnp.asarray(case.weights))


def ours(case: Case, precision: str | None = None) -> Run:
    import jax.numpy as jnp

    network, genome, synapses = our_network(case, precision)
    run = lambda network, *arguments: network.step(*arguments)  # noqa: E731
    read = lambda result: np.asarray(network.unpack(result[0])["forward"])  # noqa: E731
    return _run(run, (network, genome, synapses, jnp.asarray(case.x[0]), jnp.asarray(case.y[0])), read)


def our_gradient(case: Case, kernel: str = "auto") -> Run:
    import jax
    import jax.numpy as jnp

    network, genome, synapses = our_network(case, kernel=kernel)

    def loss(matrices, genome, network, synapses, xs, ys, x, y):
        forward, backward, pre, post = matrices
        mine = {"forward_transform": forward, "backward_transform": backward, "pre_transform": pre.T, "post_transform": post}
        genome = replace(genome, **mine)
        synapses, _ = network.unroll(genome, synapses, xs, ys)
        return jnp.mean((network.predict(genome, synapses, x) - y) ** 2)

    data = tuple(jnp.asarray(a) for a in (case.x[:STEPS], case.y[:STEPS], case.x[STEPS], case.y[STEPS]))
    given = jnp.asarray(case.matrices), genome, network, synapses, *data
    return _run(jax.value_and_grad(loss), given, lambda result: np.asarray(result[1]))


# -- the jraph way -------------------------------------------------------------------------------------------------------------


def _segment_parts(case: Case) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """`forward(weights, matrices, x)` and `step(weights, matrices, x, y)` with messages [synapses, states, batch]."""
    import jax
    import jax.numpy as jnp
    import jraph

    if len(case.forward) > MAX_LEVELS:
        return None
    t, n, k, batch = case.topology, case.topology.num_neurons, case.states, case.batch
    free = None if not t.fixed.any() else jnp.asarray(~t.fixed, jnp.float32)[:, None]
    pad = -t.num_synapses % CHUNK
    ends = tuple(np.pad(a, (0, pad)).reshape(-1, CHUNK) for a in (t.senders, t.receivers))
    members = np.where(t.group >= 0, t.group, t.group.max() + 1 + np.arange(t.num_synapses)) if case.shared else None

    def sweep(state, weights, matrix, levels: list[Level], sources, fresh):
        signal = jnp.einsum("cd,ndb->ncb", matrix, state)
        for level in levels:
            messages = signal[sources[level.edges]] * weights[level.edges][:, :, None]
            inflow = jraph.segment_sum(messages, jnp.asarray(level.row), len(level.rows), indices_are_sorted=True)
            new = jnp.tanh(inflow if fresh else state[level.rows] + inflow)
            state = state.at[level.rows].set(new, unique_indices=True)
            signal = signal.at[level.rows].set(jnp.einsum("cd,ndb->ncb", matrix, new), unique_indices=True)
        return state

    def forward(weights, matrices, x):
        state = jnp.zeros((n, k, batch)).at[t.inputs, 0].set(x.T)
        return sweep(state, weights, matrices[0], case.forward, t.senders, not case.cyclic)

    def step(weights, matrices, x, y):
        state = forward(weights, matrices, x)
        label = jnp.zeros((len(t.outputs), k - 1, batch)).at[:, 0].set(y.T)
        state = state.at[t.outputs, 1:].set(label)
        state = sweep(state, weights, matrices[1], case.backward, t.receivers, False)
        pre, post = (jnp.einsum("cd,ndb->ncb", matrices[i], state) for i in (2, 3))
        product = jax.lax.map(lambda e: jnp.einsum("ecb,ecb->ec", pre[e[0]], post[e[1]]), ends).reshape(-1, k)[: t.num_synapses]
        product = product if free is None else product * free
        if members is not None:
            product = jraph.segment_sum(product, jnp.asarray(members), int(members.max()) + 1)[members]
        return weights + ETA * product

    return forward, step


def segments(case: Case) -> Run | None:
    """jraph's segment sums in their best layout: batch innermost, only the rows of a level updated, products in chunks."""
    import jax.numpy as jnp

    parts = _segment_parts(case)
    if parts is None:
        return None
    given = jnp.asarray(case.weights), jnp.asarray(case.matrices), jnp.asarray(case.x[0]), jnp.asarray(case.y[0])
    return _run(parts[1], given, np.asarray)


def segments_gradient(case: Case) -> Run | None:
    parts = _segment_parts(case)
    if parts is None:
        return None
    read = lambda state: state[case.topology.outputs, 0].T  # noqa: E731
    return _gradient(case, case.weights, *parts, read, lambda x: x)


def batch_first_segments(case: Case) -> Run | None:
    """The jraph way as one first writes it: states [batch, neurons, states], messages [batch, synapses, states]."""
    import jax
    import jax.numpy as jnp
    import jraph

    # Messages of all synapses exist at once in the update: beyond some gigabytes it only shows that it does not fit.
    if len(case.forward) > MAX_LEVELS or case.shared or case.topology.num_synapses * case.states * case.batch > 6e8:
        return None
    t, n, k, batch = case.topology, case.topology.num_neurons, case.states, case.batch
    free = jnp.asarray(~t.fixed, jnp.float32)[:, None]

    def sweep(state, weights, matrix, levels: list[Level], sources, fresh):
        for level in levels:
            messages = (state @ matrix.T)[:, sources[level.edges]] * weights[level.edges]
            sums = partial(jraph.segment_sum, segment_ids=jnp.asarray(level.row), num_segments=len(level.rows))
            inflow = jax.vmap(sums)(messages)
            state = state.at[:, level.rows].set(jnp.tanh(inflow if fresh else state[:, level.rows] + inflow))
        return state

    def step(weights, matrices, x, y):
        state = jnp.zeros((batch, n, k)).at[:, t.inputs, 0].set(x)
        state = sweep(state, weights, matrices[0], case.forward, t.senders, not case.cyclic)
        state = state.at[:, t.outputs, 1:].set(0).at[:, t.outputs, 1].set(y)
        state = sweep(state, weights, matrices[1], case.backward, t.receivers, False)
        product = jnp.sum((state @ matrices[2].T)[:, t.senders] * (state @ matrices[3].T)[:, t.receivers], axis=0)
        return weights + ETA * product * free

    given = jnp.asarray(case.weights), jnp.asarray(case.matrices), jnp.asarray(case.x[0]), jnp.asarray(case.y[0])
    return _run(step, given, np.asarray)


# -- dense layers by hand ------------------------------------------------------------------------------------------------------


def _dense_parts(case: Case) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import jax.numpy as jnp

    tools = (jnp.einsum, jnp.tanh, lambda *shape: jnp.zeros(shape, jnp.float32), jnp.concatenate)
    return partial(dense_forward, *tools, case.workload), partial(dense_step, *tools, case.workload)


def einsum(case: Case) -> Run | None:
    """Hand-written einsum over complete layers, [states, neurons, batch]: batch innermost."""
    if not case.workload.dense:
        return None
    import jax.numpy as jnp

    x, y = (jnp.asarray(np.ascontiguousarray(v[0].T)) for v in (case.x, case.y))
    given = [jnp.asarray(w) for w in cut_blocks(case)], jnp.asarray(case.matrices), x, y
    return _run(_dense_parts(case)[1], given, partial(join_blocks, case))


def einsum_gradient(case: Case) -> Run | None:
    if not case.workload.dense:
        return None
    return _gradient(case, cut_blocks(case), *_dense_parts(case), lambda states: states[-1][0], lambda x: x.transpose(0, 2, 1))


def _gradient(
    case: Case, weights: Any, forward: Callable[..., Any], step: Callable[..., Any], read: Callable[..., Any], turn: Callable
) -> Run:
    """Ten steps with a checkpoint each, the squared error of a query batch, its gradient by the matrices."""
    import jax
    import jax.numpy as jnp

    xs, ys = (jnp.asarray(np.ascontiguousarray(turn(v))) for v in (case.x, case.y))

    def loss(matrices, weights, xs, ys):
        one = jax.checkpoint(lambda weights, batch: (step(weights, matrices, *batch), None))
        weights, _ = jax.lax.scan(one, weights, (xs[:STEPS], ys[:STEPS]))
        return jnp.mean((read(forward(weights, matrices, xs[STEPS])) - ys[STEPS]) ** 2)

    weights = jax.tree.map(jnp.asarray, weights)
    given = jnp.asarray(case.matrices), weights, xs, ys
    return _run(jax.value_and_grad(loss), given, lambda result: np.asarray(result[1]))
