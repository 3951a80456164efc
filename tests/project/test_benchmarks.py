"""Every peer of the benchmarks computes the step that neurograph computes, and the same meta-gradient."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest

from benchmarks import device, run, workloads
from benchmarks.peers import ETA, GRADIENTS, PEERS, make_case
from benchmarks.workloads import Workload

SMALL = {
    w.name: w
    for w in (
        Workload("layered", lambda: workloads.layered((7, 6, 5, 3)), states=3, batch=8, dense=(7, 6, 5, 3)),
        Workload("residual", lambda: workloads.residual((6, 5, 4, 5, 4, 3)), batch=8, dense=(6, 5, 4, 5, 4, 3), skips="dense"),
        Workload(
            "identity",
            lambda: workloads.residual((6, *[5] * 4, 3), skips="identity"),
            batch=8,
            dense=(6, *[5] * 4, 3),
            skips="identity",
        ),
        Workload("irregular", lambda: workloads.random_dag(14, 30, inputs=4, outputs=3, seed=3), batch=8),
        Workload("cyclic", lambda: workloads.connectome(30, 150, inputs=4, outputs=3, ticks=3, seed=1), batch=8),
        Workload("convolution", lambda: workloads.local(side=4, channels=(1, 2), outputs=2, shared=True), batch=8),
    )
}
CASES = [(graph, peer) for graph in SMALL for peer in PEERS if peer != "ours"]


@pytest.fixture(scope="module")
def expected():
    """Every case, and the weights that neurograph learns on it."""
    out = {}
    for name, workload in SMALL.items():
        case = make_case(workload, deviation=0.6)
        run = PEERS["ours"](case)
        out[name] = case, run.weights(run.step())
    return out


def by_loops(case) -> np.ndarray:
    """One step by loops over neurons, float64; oracle of all peers at once."""
    t, k = case.topology, case.states
    forward, backward, pre, post = case.matrices.astype(float)
    weights = case.weights.astype(float)
    state = np.zeros((t.num_neurons, k, case.batch))
    state[t.inputs, 0] = case.x[0].T
    order = np.arange(t.num_neurons) if case.cyclic else np.argsort(t.levels, kind="stable")

    def sweep(order, moving, matrix, targets, sources):
        for _ in range(t.ticks):
            seen = state.copy() if case.cyclic else state  # neurons of a cycle see the tick before
            for j in order[moving[order]]:
                edges = np.flatnonzero(targets == j)
                state[j] = np.tanh(seen[j] + sum(weights[e][:, None] * (matrix @ seen[sources[e]]) for e in edges))

    sweep(order, ~np.isin(np.arange(t.num_neurons), t.inputs), forward, t.receivers, t.senders)
    state[t.outputs, 1:] = 0
    state[t.outputs, 1] = case.y[0].T
    sweep(order[::-1], case.inner, backward, t.senders, t.receivers)
    product = np.einsum("ecb,ecb->ec", (pre @ state)[t.senders], (post @ state)[t.receivers])
    for group in range(t.group.max(initial=-1) + 1):
        product[t.group == group] = product[t.group == group].sum(axis=0)
    product[t.fixed] = 0
    return product


def change(case, learned) -> np.ndarray:
    """The Hebbian product that a step has added."""
    return (np.asarray(learned, float) - case.weights) / ETA


@pytest.mark.parametrize("graph", SMALL)
def test_our_step_is_that_of_plain_loops(graph, expected):
    case, learned = expected[graph]
    product = by_loops(case)
    assert np.abs(product).max() > 0.2  # else the tolerance, some roundings of the weights, would hide a fault
    np.testing.assert_allclose(change(case, learned), product, atol=1e-3)


@pytest.mark.parametrize(("graph", "peer"), CASES)
def test_every_peer_takes_the_same_step(graph, peer, expected):
    case, learned = expected[graph]
    try:
        run = PEERS[peer](case)
    except ImportError as error:
        pytest.skip(str(error))
    if run is None:
        assert case.shared or not case.workload.dense
        return
    result = run.weights(run.step())
    assert result.shape == learned.shape
    np.testing.assert_allclose(change(case, result), change(case, learned), atol=1e-3)
    np.testing.assert_array_equal(run.weights(run.step()), result)  # a step starts from the same numbers every time


@pytest.mark.thorough
@pytest.mark.parametrize("graph", ["layered", "irregular"])
def test_every_peer_has_the_same_meta_gradient(graph):
    case = make_case(SMALL[graph], deviation=0.6)
    runs = {name: made for name, make in GRADIENTS.items() if (made := make(case)) is not None}
    assert len(runs) == (3 if case.workload.dense else 2)
    gradients = {name: run.weights(run.step()) for name, run in runs.items()}
    size = np.abs(gradients["ours"]).max()
    assert size > 1e-5
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, gradients["ours"], atol=1e-4 * size, err_msg=name)


def test_a_made_brain_has_the_published_share_of_both_ways():
    graph = workloads.connectome(3_000, 60_000, inputs=200, outputs=30)
    there, back = (a.astype(int) * 3_000 + b for a, b in ((graph.senders, graph.receivers), (graph.receivers, graph.senders)))
    assert 60_000 <= graph.num_synapses < 60_100  # those that would receive nothing get one each
    assert 0.12 < np.isin(there, back).mean() < 0.16


def test_collectives_are_counted_inside_and_outside_of_loops():
    from benchmarks.communication import collectives

    text = """HloModule m
%body.1 (p: f32[2]) -> f32[2] {
  %all-gather.1 = f32[1,4,4]{2,0,1} all-gather(%x), dimensions={1}
  %all-reduce.2 = (f32[1]{0}, pred[3]{0}) all-reduce(%a, %b)
}
ENTRY %main.2 (p: f32[2]) -> f32[2] {
  %ag = f64[5]{0} all-gather-start(%y)
  ROOT %add = f32[2]{0} add(%p, %p)
}
"""
    assert collectives(text) == {"loop": [64, 7], "end": [40]}


def test_without_a_gpu_one_line_says_so(monkeypatch):
    if jax.default_backend() == "gpu":
        pytest.skip("there is one")
    monkeypatch.setattr(sys, "argv", ["run", "--device", "gpu"])
    with pytest.raises(SystemExit, match=r"^--device gpu: JAX has no gpu here \(it has: cpu\); [^\n]*$"):
        run.main()


def test_a_section_that_fails_or_comes_too_late_is_named(monkeypatch):
    ticks = iter([0.0, *[1.0] * 5, *[9_999.0] * 20])
    monkeypatch.setattr(device.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(device, "_rates", lambda quick: dict.fromkeys(("copy bytes/s", "product flop/s", "loop step s"), 1e12))
    figures = {"wall ms": 2.0, "compile s": 1.0, "bytes": 10**6, "launches": 7, "rule bytes": 10**9, "rule launches": 9}

    def step(name, kernel, seconds, precision=None):
        if kernel == "levels":
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nand more")
        return figures

    monkeypatch.setattr(device, "_step", step)
    monkeypatch.setattr(device, "_gradient", lambda name, seconds: {"wall ms": 80.0, "bytes": 1, "compile s": 1.0})
    found = device.measure("cpu", 0.1, quick=True)
    left = found["left out"]
    assert left["steps: mlp-100-64-64-10, levels"] == "RuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert left["padded: 10 graphs"] == "time was up"
    text = device.render(found)
    assert "| mlp-100-64-64-10 | gpu | 2 | 7 | 9 | 1,000 | 0.5 | 1 | 1 |" in text
    assert "| mlp-100-64-64-10 | 80 | 4 |" in text  # ten steps
    assert "padded: 10 graphs (time was up)" in text


@pytest.mark.thorough
def test_a_device_is_measured():
    found = device.measure("cpu", 0.01, quick=True)
    assert not found["left out"]
    for section in ("steps", "gradients", "populations", "padded", "precision"):
        assert found[section]
    assert found["rates"]["copy bytes/s"] > 1e8
    assert "time was up" not in device.render(found)
