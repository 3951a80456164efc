"""Every kernel equals the reference kernel: states, learned synapses and gradients with respect to the genome, in float64."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import rest_is_thorough
from jax.flatten_util import ravel_pytree
from scipy.sparse import csr_array

import neurograph as ng
from benchmarks import workloads
from neurograph.network.kernels import native, rows
from neurograph.network.kernels.bilinear import Mixture, flow, mix_states, product, whole
from neurograph.network.kernels.choice import KERNELS
from neurograph.network.kernels.gather import Gather
from neurograph.network.kernels.levels import Levels
from neurograph.network.kernels.rows import Ends, Operands, Rows, learn_rows, sweep_rows
from neurograph.network.kernels.segment_sums import SegmentSums
from neurograph.network.kernels.sparse import Sparse
from neurograph.network.plan import Block

GRAPHS = {
    "irregular": lambda: workloads.random_dag(16, 34, inputs=4, outputs=3, seed=3),
    "local": lambda: workloads.local(side=5, channels=(1, 4), outputs=3),
    "conv": lambda: workloads.local(side=5, channels=(1, 4), outputs=3, shared=True),
}
RULES = {
    "plain": ng.Rule(forward_activation="tanh", backward_activation="tanh"),
    "full": ng.Rule(
        forward_activation="tanh",
        backward_activation="tanh",
        symmetric=False,
        single_state_synapses=True,
        normalization="batch",
        synapse_normalization="in_pass",
        backward_update="multiplicative_second_state",
    ),
}
NATIVE = ("native",) if native.available() else ()
CASES = [
    pytest.param("irregular", "plain", marks=pytest.mark.thorough),
    pytest.param("irregular", "full", marks=pytest.mark.thorough),
    pytest.param("local", "plain", marks=pytest.mark.thorough),
    ("conv", "plain"),
]


def _results(topology: ng.Topology, rule: ng.Rule, kernel: str) -> list[np.ndarray]:
    network = ng.Network(topology, rule, kernel=kernel)
    genome = ng.Genome.random(jax.random.PRNGKey(0), rule, scale=0.5).astype(jnp.float64)
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(6, len(topology.inputs))))
    y = jnp.asarray(np.sign(random.normal(size=(6, len(topology.outputs)))))
    synapses = network.init(genome, key=jax.random.PRNGKey(1))

    @jax.jit
    def run(network, genome, synapses):
        def loss(genome):
            trace = network.trace(genome, synapses, x, y)
            return jnp.sum(network.predict(genome, trace.synapses, x) ** 2), trace

        gradient, trace = jax.grad(loss, has_aux=True)(genome)
        learned = network.unpack(trace.synapses)
        return [trace.forward, trace.backward, *(learned[n] for n in ("forward", "backward", "bias")), ravel_pytree(gradient)[0]]

    return [np.asarray(value) for value in run(network, genome, synapses)]


@pytest.mark.parametrize(("graph", "rule"), CASES)
def test_kernels_equal_the_reference(graph: str, rule: str, x64):
    topology = GRAPHS[graph]()
    expected = _results(topology, RULES[rule], "reference")
    kernels = ("auto", "blocks", "gpu") if graph == "irregular" else ("gather",)
    for kernel in (*kernels, *NATIVE):
        for ours, theirs in zip(_results(topology, RULES[rule], kernel), expected, strict=True):
            assert np.max(np.abs(ours - theirs)) < 1e-12 * max(1.0, np.max(np.abs(theirs))), kernel


def test_the_graphs_reach_every_kind_of_block():
    kinds = {
        block.kind
        for make in GRAPHS.values()
        for kernel in KERNELS
        if kernel != "reference" and (kernel != "native" or NATIVE)
        for block in ng.Network(make(), RULES["plain"], kernel=kernel).plan.blocks
    }
    assert {"gather", "levels"} <= kinds


needs_native = pytest.mark.skipif(not NATIVE, reason=native.description())
BLOCKS = [Gather, SegmentSums, pytest.param(Sparse, marks=needs_native)]


def _irregular(seed: int, senders: int = 7, receivers: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Targets and sources of random synapses; some neurons on both sides have none."""
    present = np.random.default_rng(seed).random((receivers, senders)) < 0.4
    present[2] = present[:, 3] = False
    return np.nonzero(present)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("seed", range(3))
def test_flow_and_product_against_loops(kind, seed: int, x64):
    random = np.random.default_rng(seed)
    senders, receivers, batch = 7, 9, (5, 16, 300)[seed]
    target, source = _irregular(seed)
    block, tables = kind.build(source, target, senders, receivers)
    values, signal = random.normal(size=(2, len(target))), random.normal(size=(2, senders, batch))
    back, start = random.normal(size=(2, receivers, batch)), random.normal(size=(2, receivers, 1 if seed else batch))
    matrix = np.zeros((2, receivers, senders))
    matrix[:, target, source] = values
    run = jax.jit(
        lambda v, s, b, a: (flow(block, tables, False, v, s, a), flow(block, tables, True, v, b), product(block, tables, s, b))
    )
    along, against, hebbian = run(values, signal, back, start)
    np.testing.assert_allclose(along, start + np.einsum("krs,ksb->krb", matrix, signal), atol=1e-12)
    np.testing.assert_allclose(against, np.einsum("krs,krb->ksb", matrix, back), atol=1e-12)
    np.testing.assert_allclose(hebbian, np.einsum("krb,ksb->krs", back, signal)[:, target, source], atol=1e-11)


def test_rows_of_many_synapses_are_segment_sums(x64):
    """Wide rows one way, narrow ones the other; both equal a matrix product, and so do their derivatives."""
    random, senders, receivers = np.random.default_rng(0), 70, 3
    source, target = np.tile(np.arange(senders), 2)[::-1], np.repeat([2, 0], senders)
    block, tables = SegmentSums.build(source, target, senders, receivers)
    assert ("rows" in tables["along"], "rows" in tables["against"]) == (True, False)
    values, signal = (jnp.asarray(random.normal(size=shape)) for shape in ((1, 2 * senders), (2, senders, 5)))

    def by_blocks(values, signal):
        return jnp.sum(jnp.sin(flow(block, tables, False, values, signal)))

    def by_matrix(values, signal):
        return jnp.sum(jnp.sin(jnp.zeros((1, receivers, senders)).at[:, target, source].set(values) @ signal))

    for ours, theirs in zip(*(jax.grad(f, argnums=(0, 1))(values, signal) for f in (by_blocks, by_matrix)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@needs_native
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("degree", [3, 4, 37])
def test_native_rows_with_the_same_senders(degree: int, dtype: str, x64):
    """Runs of 1 to 6 rows share their senders, and so their loads; both directions, every row against a matrix product."""
    random, senders, batch = np.random.default_rng(degree), 40, 141
    sets = [random.choice(senders, degree, replace=False) for _ in range(6)]
    rows = [sets[run] for run in range(6) for _ in range(run + 1)]
    target, source = np.repeat(np.arange(len(rows)), degree), np.concatenate(rows)
    block, tables = Sparse.build(source, target, senders, len(rows))
    draw = lambda *shape: jnp.asarray(random.integers(-8, 9, shape), dtype)  # noqa: E731  exact in every order of sums
    values, signal, back = draw(2, len(target)), draw(2, senders, batch), draw(2, len(rows), batch)
    matrix = np.zeros((2, len(rows), senders))
    matrix[:, target, source] = values
    for start in (None, draw(2, len(rows), 1), draw(2, len(rows), batch)):
        along = flow(block, tables, False, values, signal, start)
        np.testing.assert_array_equal(along, (0 if start is None else np.asarray(start)) + matrix @ np.asarray(signal))
    np.testing.assert_array_equal(flow(block, tables, True, values, back), matrix.transpose(0, 2, 1) @ np.asarray(back))
    products = np.asarray(back) @ np.asarray(signal).transpose(0, 2, 1)
    np.testing.assert_array_equal(product(block, tables, signal, back), products[:, target, source])


@needs_native
def test_native_senders_without_synapses_are_left_out(x64):
    """Where few send, the same block between those alone: the same sums and derivatives, of signals that are mixed there only."""
    random = np.random.default_rng(0)
    source, target = np.array([70, 3, 70, 40]), np.array([0, 0, 1, 2])
    block, tables = Sparse.build(source, target, 90, 3)
    assert block.few is not None
    assert block.few.senders == 3
    assert Sparse.build(np.arange(60), np.zeros(60, int), 90, 3)[0].few is None
    values, state, matrix = (jnp.asarray(random.normal(size=shape)) for shape in ((2, 4), (2, 90, 5), (2, 2)))

    def all_of_them(values, state, matrix):
        return flow(block, tables, False, values, whole(Mixture(matrix, state)))

    def a_few(values, state, matrix):
        return flow(block.few, tables["few"], False, values, Mixture(matrix, state).at(tables["few"]["index"]))

    np.testing.assert_allclose(a_few(values, state, matrix), all_of_them(values, state, matrix), atol=1e-14)
    ours, theirs = (
        jax.grad(lambda *a, run=run: jnp.sum(jnp.sin(run(*a))), argnums=(0, 1, 2))(values, state, matrix)
        for run in (a_few, all_of_them)
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


@needs_native
@pytest.mark.parametrize("channels", [1, 3])
def test_native_derivatives_are_those_of_a_matrix(channels: int, x64):
    """First and second derivatives, one number for all states or one each, against einsum on a dense matrix."""
    random, (target, source) = np.random.default_rng(channels), _irregular(4)
    block, tables = Sparse.build(source, target, 7, 9)
    values, signal = random.normal(size=(channels, len(target))), random.normal(size=(3, 7, 21))
    start, weight = random.normal(size=(3, 9, 1)), random.normal(size=(3, 9, 21))

    def dense(values, signal, start):
        matrix = jnp.zeros((channels, 9, 7)).at[:, target, source].set(values)
        return start + jnp.einsum("krs,ksb->krb", jnp.broadcast_to(matrix, (3, 9, 7)), signal)

    def loss(run, values, signal, start):
        return jnp.sum(weight * jnp.tanh(run(values, signal, start)))

    def derivatives(run):
        first = jax.grad(loss, argnums=(1, 2, 3))
        second = jax.grad(lambda *a: sum(jnp.sum(jnp.sin(d)) for d in first(run, *a)), argnums=(0, 1, 2))
        return jax.jit(lambda *a: (first(run, *a), second(*a)))(values, signal, start)

    ours = derivatives(lambda v, s, a: flow(block, tables, False, v, s, a))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(derivatives(dense)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)


def _rows_by_loops(static: Rows, target, source, here, there, given: Operands):
    """`sweep_rows`, one neuron after another: states, signals and inflows."""
    k, neurons, batch = static.shape
    mixed = lambda matrix, a: a if matrix is None else matrix @ a  # noqa: E731
    rows: dict[str, list] = {name: [None] * neurons for name in ("states", "signals", "inflows")}
    for i in range(neurons)[:: -1 if static.against else 1]:
        z = jnp.zeros((k, batch)) if given.start is None else jnp.broadcast_to(given.start[:, i], (k, batch))
        into, out = (source, target) if static.against else (target, source)
        for e in np.flatnonzero(into == i):
            z = z + given.values[:, e, None] * rows["signals"][out[e]]
        ((values, signal),) = given.others
        for e in np.flatnonzero(here == i):
            z = z + values[:, e, None] * signal[:, there[e]]
        u = given.gate * mixed(given.inner, z) * (1 if given.gain is None else given.gain[:, i])
        u = u if given.offset is None else u + given.keep * given.offset[:, i]
        a = ng.ACTIVATIONS[static.activation](u)
        sent = mixed(given.outer, a)
        rows["inflows"][i], rows["states"][i] = z, a
        rows["signals"][i] = sent if given.shift is None else sent + given.shift[:, i]
    return [jnp.stack(rows[name], axis=1) for name in ("states", "signals", "inflows")]


ROWS = [  # k, channels, batch, activation, against, absent
    (2, 2, 5, "tanh", False, ()),
    (2, 2, 6, "relu_tanh", True, ("offset", "inner")),
    (3, 1, 70, "relu", False, ("outer", "start")),
    (5, 5, 130, "tanh", True, ("inner", "gain", "shift")),
]


@needs_native
@pytest.mark.parametrize(("k", "channels", "batch", "activation", "against", "absent"), ROWS)
def test_native_sweeps_against_loops(k, channels, batch, activation, against, absent, x64):
    """States, signals and inflows, and their first and second derivatives by everything."""
    random, neurons, senders = np.random.default_rng(batch), 5, 3
    target, source = np.nonzero(np.tril(random.random((neurons, neurons)) < 0.5, -1))
    here, there = np.nonzero(random.random((neurons, senders)) < 0.4)
    block = np.arange(neurons + 1)
    way = {"source": source.astype(np.int32), "target": target.astype(np.int32), "tiles": block}
    made, tables = Levels.build(Block("levels", "own", 0, 0, edges=np.arange(len(source)), **way), neurons, Sparse)
    other = Sparse.build(*((here, there) if against else (there, here)), *((neurons, senders) if against else (senders, neurons)))
    static = Rows(made.synapses, (other[0],), against, activation, (k, neurons, batch), True, True)
    draw = lambda *shape: jnp.asarray(0.7 * random.normal(size=shape))  # noqa: E731
    optional = {"start": (k, neurons, 1), "inner": (k, k), "outer": (k, k)} | dict.fromkeys(
        ("offset", "gain", "shift"), (k, neurons, batch)
    )
    optional = {name: None if name in absent else draw(*shape) for name, shape in optional.items()}
    pair = draw(channels, len(here)), draw(k, senders, batch)
    given = Operands(draw(channels, len(source)), (pair,), draw(), draw(), **optional)
    weights = [draw(k, neurons, batch) for _ in range(3)]

    def derivatives(run):
        loss = lambda given: sum(jnp.sum(w * jnp.sin(a)) for w, a in zip(weights, run(given), strict=True))  # noqa: E731
        second = jax.grad(lambda given: sum(jnp.sum(jnp.sin(d)) for d in jax.tree.leaves(jax.grad(loss)(given))))
        return jax.jit(lambda given: (run(given), jax.grad(loss)(given), second(given)))(given)

    ours = derivatives(lambda given: sweep_rows(static, (tables["whole"], (other[1],)), given))
    theirs = derivatives(lambda given: _rows_by_loops(static, target, source, here, there, given))
    for one, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-10, atol=1e-9)


LEARNING = [  # channels of the synapses, batch, activation, what is absent
    (2, 5, "tanh", ("gain",)),
    (2, 130, "relu", ("offset", "before")),
    (1, 70, "identity", ("start", "gain", "before")),
    (1, 300, "relu_tanh", ()),
]


@needs_native
@pytest.mark.parametrize(("channels", "batch", "activation", "absent"), LEARNING)
def test_native_learning_on_the_way(channels, batch, activation, absent, x64):
    """States and products, and derivatives by everything, of one pass are those of a sweep and a product."""
    random, neurons, senders = np.random.default_rng(batch), 40, 3
    target, source = np.nonzero(np.tril(random.random((neurons, neurons)) < 0.3, -1))
    here, there = np.nonzero(random.random((senders, neurons)) < 0.4)
    way = {"source": source.astype(np.int32), "target": target.astype(np.int32), "tiles": np.arange(neurons + 1)}
    made, tables = Levels.build(Block("levels", "own", 0, 0, edges=np.arange(len(source)), **way), neurons, Sparse)
    other = Sparse.build(there, here, neurons, senders)
    static = Rows(made.synapses, (other[0],), True, activation, (2, neurons, batch))
    draw = lambda *shape: jnp.asarray(0.7 * random.normal(size=shape))  # noqa: E731
    shapes = {"start": (2, neurons, 1)} | dict.fromkeys(("offset", "gain", "before"), (2, neurons, batch))
    optional = {name: None if name in absent else draw(*shape) for name, shape in shapes.items()}
    before = optional.pop("before")
    pair = draw(channels, len(here)), draw(2, senders, batch)
    given = Operands(draw(channels, len(source)), (pair,), draw(), draw(), outer=draw(2, 2), **optional)
    kept = tables["whole"], (other[1],)

    def apart(given, before, pre, post):
        states = sweep_rows(static, kept, given)[0]
        ends = mix_states(pre, states if before is None else before), mix_states(post, states)
        return states, product(made.synapses, kept[0], *ends)

    def both(given, before, pre, post):
        return learn_rows(static, kept, given, Ends(before, pre, post))

    pre, post = draw(2, 2), draw(2, 2)

    def derivatives(run):
        loss = lambda *a: sum(jnp.sum(jnp.sin(part)) for part in run(*a))  # noqa: E731
        return jax.jit(lambda *a: (run(*a), jax.grad(loss, argnums=(0, 1, 2, 3))(*a)))(given, before, pre, post)

    for one, expected in zip(jax.tree.leaves(derivatives(both)), jax.tree.leaves(derivatives(apart)), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.thorough
@needs_native
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"hebbian_pre": "forward", "oja": "activity", "synapse_normalization": "stored"}, marks=pytest.mark.slow),
        pytest.param({"backward_update": "multiplicative", "symmetric": False}, marks=pytest.mark.slow),
        pytest.param({"reset_states": False, "hebbian_pre": "forward", "supervise_every": 2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_networks_that_learn_on_the_way(options, monkeypatch, x64):
    """Where a backward pass finds products on its way, steps and meta-gradients are still those of the reference kernel."""
    monkeypatch.setattr(rows, "LEARNING_BYTES", 0)
    topology = workloads.random_dag(50, 150, inputs=9, outputs=4, seed=len(options))
    rule = ng.Rule(**options)
    seen = []
    monkeypatch.setattr(native, "learn", lambda *a, run=native.learn: seen.append(1) or run(*a))
    ours, theirs = (_results(topology, rule, kernel) for kernel in ("native", "reference"))
    assert seen
    for one, other in zip(ours, theirs, strict=True):
        assert np.max(np.abs(one - other)) < 1e-12 * max(1.0, np.max(np.abs(other)))


@needs_native
@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("against", [False, True])
def test_native_sweeps_in_blocks_of_samples(k, against, x64):
    """Results that go past the caches, by whole blocks, are those of single samples, whatever is asked for."""
    neurons, batch = 4400 // k, 256  # 9 MB of states
    random = np.random.default_rng(k)
    target = np.repeat(np.arange(10, neurons), 5)
    source = random.integers(0, target // 10 * 10)
    way = {
        "source": source.astype(np.int32),
        "target": target.astype(np.int32),
        "tiles": np.arange(0, neurons + 10, 10).clip(max=neurons),
    }
    made, tables = Levels.build(Block("levels", "own", 0, 0, edges=np.arange(len(source)), **way), neurons, Sparse)
    draw = lambda *shape: jnp.asarray(random.normal(size=shape))  # noqa: E731
    given = Operands(draw(k, len(source)), (), draw(), draw(), outer=draw(k, k) / k, offset=draw(k, neurons, batch))

    def run(more: bool, given: Operands):
        static = Rows(made.synapses, (), against, "tanh", (k, neurons, given.offset.shape[2]), more, more)
        return jax.jit(lambda given: sweep_rows(static, (tables["whole"], ()), given))(given)

    states, signals, inflows = run(True, given)
    assert states.nbytes > 8 << 20
    np.testing.assert_allclose(run(False, given)[0], states, rtol=1e-12, atol=1e-12)
    for b in (0, 100, batch - 1):
        one = run(True, dataclasses.replace(given, offset=given.offset[:, :, b : b + 1]))
        for alone, among in zip(one, (states, signals, inflows), strict=True):
            np.testing.assert_allclose(alone[..., 0], among[..., b], rtol=1e-12, atol=1e-12)


@needs_native
@pytest.mark.parametrize(("k", "against"), [(2, False), (2, True), (5, False)])
def test_native_rows_meet_their_senders_band_by_band(k, against, x64):
    """Levels whose senders do not fit the second-level cache, in a sweep, a flow and a product, against sparse matrices."""
    random, size, degree, batch = np.random.default_rng(k), 3000, 40, 64
    ends = lambda: (np.repeat(np.arange(size), degree), random.integers(0, size, size * degree))  # noqa: E731
    (row, source), (here, there) = ends(), ends()
    bounds = np.arange(0, 2 * size + 1, 500)
    way = {"source": source.astype(np.int32), "target": (row + size).astype(np.int32), "tiles": bounds}
    made, tables = Levels.build(Block("levels", "own", 0, 0, edges=np.arange(len(row)), **way), 2 * size, Sparse)
    assert tables["whole"]["bounds"].tolist() == [0, size, 2 * size]
    other = Sparse.build(*((here, there) if against else (there, here)), *((2 * size, size) if against else (size, 2 * size)))
    draw = lambda *shape: jnp.asarray(random.normal(size=shape))  # noqa: E731
    values, pair, outer = draw(k, len(row)), (draw(k, len(here)), draw(k, size, batch)), draw(k, k) / k
    given = Operands(values, (pair,), jnp.ones(()), 0.1 * jnp.ones(()), draw(k, 2 * size, 1), outer=outer)
    static = Rows(made.synapses, (other[0],), against, "tanh", (k, 2 * size, batch))
    states = jax.jit(lambda given: sweep_rows(static, (tables["whole"], (other[1],)), given))(given)[0]

    def sums(values, rows, columns, signal):
        each = [csr_array((v, (rows, columns)), shape=(size, size)) @ s for v, s in zip(np.asarray(values), signal, strict=True)]
        return np.stack(each)

    into = np.asarray(given.start) + np.zeros((1, 1, batch))
    into[:, :size] += sums(pair[0], here, there, np.asarray(pair[1]))
    first, last = (slice(size, None), slice(0, size)) if against else (slice(0, size), slice(size, None))
    expected = np.empty_like(into)
    expected[:, first] = np.tanh(0.1 * into[:, first])
    sent = np.einsum("cd,dnb->cnb", outer, expected[:, first])
    into[:, last] += sums(values, *((source, row) if against else (row, source)), sent)
    expected[:, last] = np.tanh(0.1 * into[:, last])
    np.testing.assert_allclose(states, expected, rtol=1e-11, atol=1e-11)

    block, table = Sparse.build(source, row, size, size)
    signal, post = draw(k, size, batch), draw(k, size, batch)
    inflow = sums(values, *((source, row) if against else (row, source)), np.asarray(signal))
    np.testing.assert_allclose(flow(block, table, against, values, signal), inflow, atol=1e-10)
    np.testing.assert_allclose(product(block, table, signal, post), np.sum(signal[:, source] * post[:, row], axis=2), atol=1e-10)


@needs_native
def test_native_tanh_is_that_of_the_compiler():
    """In float32 to a few units in the last place, with its limits, zeros and NaNs."""
    x = np.concatenate([np.linspace(-12, 12, 4001), 10.0 ** np.arange(-30, 3), [np.inf, -np.inf, np.nan, 0.0, -0.0]]).astype("f4")
    made, tables = Levels.build(
        Block("levels", "own", 0, 0, *(np.array([i], np.int32) for i in (0, 1)), np.arange(1), tiles=np.arange(3)), 2, Sparse
    )
    static = Rows(made.synapses, (), False, "tanh", (1, 2, len(x)))
    start = jnp.broadcast_to(jnp.asarray(x), static.shape)
    given = Operands(jnp.zeros((1, 1)), (), jnp.zeros(()), jnp.ones(()), start=start)
    ours = np.asarray(sweep_rows(static, (tables["whole"], ()), given)[0])[0, 0]
    np.testing.assert_allclose(ours, np.tanh(x.astype("f8")), rtol=5e-7, atol=0)
    assert (np.signbit(ours) == np.signbit(x))[~np.isnan(x)].all()


@needs_native
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_native_under_nested_vmap(axes, x64):
    """Some operands mapped and some not, twice: every pairing is that of single calls."""
    random, (target, source) = np.random.default_rng(0), _irregular(1)
    block, tables = Sparse.build(source, target, 7, 9)
    values, signal, back = (random.normal(size=(3, 3, 2, *n)) for n in ((len(target),), (7, 4), (9, 4)))

    def run(v, s, b):
        return flow(block, tables, False, v, s), flow(block, tables, True, v, b), product(block, tables, s, b)

    first, second = axes
    mapped = jax.vmap(jax.vmap(run, in_axes=(second, 0, None)), in_axes=(first, None, 0))
    for _ in range(sum(axis is None for axis in axes)):
        values = values[0]
    ours = jax.jit(mapped)(values, signal[0], back[0])
    for i in range(3):
        for j in range(3):
            v = values if first is None else values[i]
            v = v if second is None else v[j]
            for one, other in zip(ours, run(v, signal[0, j], back[0, i]), strict=True):
                np.testing.assert_array_equal(one[i, j], other)


@needs_native
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_native_sums_in_float32(dtype: str):
    """Sixteen-bit numbers are summed in float32 and rounded once."""
    random, (target, source) = np.random.default_rng(0), _irregular(2)
    block, tables = Sparse.build(source, target, 7, 9)
    values, signal = (jnp.asarray(random.normal(size=(2, *n)), dtype) for n in ((len(target),), (7, 33)))
    out = flow(block, tables, False, values, signal)
    exact = flow(block, tables, False, values.astype(jnp.float32), signal.astype(jnp.float32))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, exact.astype(dtype))


STEP = """
import jax, numpy as np, neurograph as ng
from benchmarks import workloads
from neurograph.network.kernels import native
topology = workloads.random_dag(16, 34, inputs=4, outputs=3, seed=3)
network = ng.Network(topology, ng.Rule())
genome = ng.Genome.random(jax.random.key(0), ng.Rule())
x, y = np.ones((2, 4), np.float32), np.ones((2, 3), np.float32)
outputs = network.step(genome, network.init(genome, key=jax.random.key(1)), x, y)[1]
print(native.description())
print(*np.asarray(outputs).ravel())
"""


def _process(code: str, **environment: str) -> subprocess.Popen:
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    inherited = {name: value for name, value in os.environ.items() if name != "NEUROGRAPH_NATIVE"}
    everything = {**inherited, "PYTHONPATH": path, **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=everything, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.thorough
def test_without_a_compiler_everything_runs_and_says_so(tmp_path: Path):
    absent = _process(STEP, CXX="no-such-compiler", NEUROGRAPH_CACHE=str(tmp_path / "a"))
    broken = _process(STEP, CXX="false", NEUROGRAPH_CACHE=str(tmp_path / "b"))
    off = _process(STEP, NEUROGRAPH_NATIVE="0")
    texts = ["CXX=no-such-compiler is not found", "false failed", "NEUROGRAPH_NATIVE switches it off"]
    results = []
    for process, text in zip((absent, broken, off), texts, strict=True):
        out, error = process.communicate()
        assert process.returncode == 0, error
        assert out.splitlines()[0].startswith(f"none: {text}")
        results.append(np.array(out.splitlines()[1].split(), float))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.thorough
@needs_native
def test_compiling_twice_at_once_is_safe(tmp_path: Path):
    code = "from neurograph.network.kernels import native; print(native.description())"
    processes = [_process(code, NEUROGRAPH_CACHE=str(tmp_path)) for _ in range(2)]
    try:
        for process in processes:
            out, error = process.communicate()
            assert out.startswith("native, "), error
    finally:
        for process in processes:
            process.kill()
    assert len(list((tmp_path / "native").iterdir())) == 1


def _masked(sort: str) -> ng.Topology:
    """Twelve inputs to eight hidden neurons, a quarter of the pairs without a synapse; then one output."""
    present = np.random.default_rng(3).permutation(96).reshape(8, 12) >= 24
    receivers, senders = np.nonzero(present)
    count = len(senders)
    senders, receivers = np.append(senders, np.arange(12, 20)), np.append(receivers + 12, np.full(8, 20))
    inside = np.arange(count + 8) < count
    fields: dict = {}
    if sort == "shared":
        fields["group"] = np.where(inside, np.arange(count + 8) % 5, -1)
    if sort == "fixed":
        fields |= {"fixed": inside, "weight": np.where(inside, np.linspace(-1, 1, count + 8), np.nan)}
    return ng.Topology(tuple(map(str, range(21))), senders, receivers, np.arange(12), [20], **fields)


@pytest.mark.parametrize("sort", rest_is_thorough(["own", "shared", "fixed"], "shared"))
def test_places_of_a_masked_block_without_a_synapse_take_no_part(sort: str, x64):
    """Whatever is stored there, no pass uses it, nothing is learned there, and no gradient stands there."""
    topology, rule = _masked(sort), RULES["plain"]
    network = ng.Network(topology, rule, kernel="blocks")
    (number,) = (n for n, block in enumerate(network.plan.blocks) if (block.kind, block.sort) == ("masked", sort))
    block, random = network.plan.blocks[number], np.random.default_rng(0)
    for ours, theirs in zip(_results(topology, rule, "blocks"), _results(topology, rule, "reference"), strict=True):
        assert np.max(np.abs(ours - theirs)) < 1e-12 * max(1.0, np.max(np.abs(theirs)))

    holes = np.asarray(block.edges < 0)
    assert holes.any()
    kernel, channels = network.kernel, rule.synapse_channels
    clean = network.pack(random.normal(size=(topology.num_synapses, 2))).forward
    spoilt = clean
    if sort == "own":
        stored = jnp.where(holes, 1e3, clean.blocks[number])
        spoilt = dataclasses.replace(clean, blocks=(*clean.blocks[:number], stored, *clean.blocks[number + 1 :]))
    signals = [jnp.asarray(random.normal(size=(2, stage.size, 4))) for stage in network.plan.stages]
    ways = ("forward", block.target_stage), ("backward", block.source_stage)

    @jax.jit  # one program for all
    def flows(weights):
        def slope(at):
            return jax.grad(lambda weights: jnp.sum(kernel.aggregate(*at, weights, signals) ** 2))(weights)

        passes = [kernel.aggregate(*at, weights, signals, square=square) for at in ways for square in (False, True)]
        return passes, [slope(at) for at in ways]

    (passes, slopes), (expected, _) = flows(spoilt), flows(clean)
    jax.tree.map(np.testing.assert_array_equal, passes, expected)
    for slope in slopes:
        if sort == "own":
            assert not np.asarray(slope.blocks[number])[:, holes].any()
            assert np.asarray(slope.blocks[number])[:, ~holes].all()
    change = jax.jit(kernel.correlate)(signals, signals)
    if sort == "own":
        assert change.blocks[number].shape == (channels, *holes.shape)
        assert not np.asarray(change.blocks[number])[:, holes].any()
        assert np.asarray(change.blocks[number])[:, ~holes].all()
