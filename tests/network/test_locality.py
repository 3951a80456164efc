"""The order of neurons within levels: near senders where a graph is local, the present order where it has no structure."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
from benchmarks import workloads
from neurograph.network.kernels import native
from neurograph.network.plan import compile as compiling
from neurograph.network.plan import locality
from neurograph.topology import Topology


def _topology(n: int, senders: np.ndarray, receivers: np.ndarray, ends: int, **fields: object) -> Topology:
    receivers, senders = np.divmod(np.unique(receivers * n + senders), n)
    names = tuple(map(str, range(n)))
    return Topology(names, senders, receivers, np.arange(ends), np.arange(n - ends, n), **fields)  # type: ignore[arg-type]


def local_levels(levels: int, width: int, fan: int, reach: int) -> Topology:
    """Senders are near in the level before; neurons of a level are numbered at random."""
    random = np.random.default_rng(0)
    number = np.array([level * width + random.permutation(width) for level in range(levels)])
    at = np.tile(np.arange(width), (levels - 1, fan))
    near = (at + random.integers(-reach, reach + 1, at.shape)) % width
    senders, receivers = np.take_along_axis(number[:-1], near, 1), np.take_along_axis(number[1:], at, 1)
    return _topology(levels * width, senders.ravel(), receivers.ravel(), width)


def local_ring(width: int, fan: int, ends: int) -> Topology:
    """Senders are the next ones of a ring that is numbered at random; all are updated at once."""
    number = ends + np.random.default_rng(0).permutation(width)
    at = np.tile(np.arange(width), fan)
    near = (at + np.repeat(np.arange(1, fan + 1), width)) % width
    outer = np.arange(ends)
    senders = np.concatenate([number[near], outer, number[:ends]])
    receivers = np.concatenate([number[at], number[outer * (width // ends)], ends + width + outer])
    return _topology(width + 2 * ends, senders, receivers, ends, schedule="synchronous", ticks=3)


def without(monkeypatch: pytest.MonkeyPatch, topology: Topology) -> ng.Plan:
    with monkeypatch.context() as patch:
        patch.setattr(compiling, "near_order", lambda topology, level_of, groups, neurons, kinds: neurons)
        return compiling._compile.__wrapped__(topology, True, "auto", True, False)


@pytest.mark.parametrize(("make", "sizes"), [(local_levels, (8, 1500, 8, 20)), (local_ring, (8000, 16, 20))])
def test_a_local_graph_that_is_numbered_at_random_visits_fewer_pages(make, sizes, monkeypatch):
    topology = make(*sizes)
    plan, before = ng.compile_plan(topology, native=True), without(monkeypatch, topology)
    assert locality._pages(topology, np.asarray(plan.order)) < 0.7 * locality._pages(topology, np.asarray(before.order))
    again = compiling._compile.__wrapped__(topology, True, "auto", True, False)
    np.testing.assert_array_equal(plan.order, again.order)
    for stage, old in zip(plan.stages, before.stages, strict=True):
        assert stage.kind == old.kind
        np.testing.assert_array_equal(np.sort(stage.neurons), np.sort(old.neurons))
        if stage.kind != "hidden":
            np.testing.assert_array_equal(stage.neurons, old.neurons)
    level = np.asarray(topology.levels) if topology.schedule == "levels" else np.zeros(topology.num_neurons)
    np.testing.assert_array_equal(level[plan.order], level[before.order])


def test_a_graph_without_structure_keeps_its_order(monkeypatch):
    topology = workloads.random_dag(8000, 80_000)
    np.testing.assert_array_equal(ng.compile_plan(topology, native=True).order, without(monkeypatch, topology).order)


@pytest.mark.skipif(not native.available(), reason=native.description())
@pytest.mark.parametrize(("make", "sizes"), [(local_levels, (8, 40, 5, 3)), (local_ring, (300, 6, 40))])
def test_results_do_not_depend_on_the_order(make, sizes, monkeypatch, x64):
    topology = make(*sizes)
    for name, value in (("MIN_SYNAPSES", 1), ("WORTH", 1.0), ("WINDOW", 64), ("PAGE", 2)):
        monkeypatch.setattr(locality, name, value)
    compiling._compile.cache_clear()
    assert (ng.compile_plan(topology, native=True).order != without(monkeypatch, topology).order).any()
    rule = ng.Rule(forward_activation="tanh", backward_activation="tanh")
    genome = ng.Genome.random(jax.random.PRNGKey(0), rule, scale=0.5).astype(jnp.float64)
    random = np.random.default_rng(0)
    x, y = (jnp.asarray(random.normal(size=(6, 40))) for _ in range(2))

    def learned(kernel: str) -> np.ndarray:
        network = ng.Network(topology, rule, kernel=kernel)
        return np.asarray(
            network.unpack(network.step(genome, network.init(genome, key=jax.random.PRNGKey(1)), x, y)[0])["forward"]
        )

    ours, theirs = learned("native"), learned("reference")
    assert np.max(np.abs(ours - theirs)) < 1e-12 * max(1.0, np.max(np.abs(theirs)))
