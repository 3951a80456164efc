"""16-bit states: close to float32, sums and synapses in float32, and a clear end where float16 overflows."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import rest_is_thorough

import neurograph as ng
from benchmarks import workloads

GRAPHS = {
    "layered": lambda: workloads.layered((12, 9, 8, 4)),
    "identity": lambda: workloads.residual((10, *[9] * 4, 3), skips="identity"),
    "irregular": lambda: workloads.random_dag(24, 60, inputs=5, outputs=3, seed=1),
    "convolution": lambda: workloads.local(side=5, channels=(1, 3), outputs=3, shared=True),
}
# Unit roundoff of a type, times how far roundings of states add up in sums that cancel, on graphs like these.
ROUNDOFF = {"bfloat16": 2.0**-9, "float16": 2.0**-12, "float32": 2.0**-25}
GROWTH = 64
RULE = ng.Rule(forward_activation="tanh", backward_activation="tanh", symmetric=False)


def _learned(topology, precision, rule=RULE):
    """Change of the synapses in one step, outputs before it, and the gradient of a loss after it."""
    network = ng.Network(topology, rule, precision=precision)
    random = np.random.default_rng(0)
    names = ("forward_transform", "backward_transform", "pre_transform", "post_transform")
    genome = ng.Genome.from_arrays(**dict(zip(names, np.float32(0.5 * random.normal(size=(4, 2, 2))), strict=True)))
    genome = genome.astype(jnp.float64 if precision == "float64" else jnp.float32)
    drawn = np.float32(0.3 * random.normal(size=(2, topology.num_synapses, 2)))
    synapses = network.pack(*jnp.asarray(drawn, genome.forward_transform.dtype))
    x = jnp.asarray(random.normal(size=(32, len(topology.inputs))), jnp.float32)
    y = jnp.asarray(np.sign(random.normal(size=(32, len(topology.outputs)))), jnp.float32)

    @jax.jit
    def run(network, genome, synapses, x, y):
        def loss(genome):
            learned, outputs = network.step(genome, synapses, x, y)
            return jnp.mean((network.predict(genome, learned, x) - y) ** 2), (learned, outputs)

        gradient, (learned, outputs) = jax.grad(loss, has_aux=True)(genome)
        changes = jax.tree.map(lambda after, before: after - before, learned, synapses)
        return changes, outputs, gradient.forward_transform, network.trace(genome, synapses, x, y).forward

    return run(network, genome, synapses, x, y)


@functools.cache
def in_float32(graph):
    return _learned(GRAPHS[graph](), "float32")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("graph", rest_is_thorough(GRAPHS, "irregular", slow=GRAPHS))
def test_16_bit_states_are_close_to_float32(graph, precision):
    result = _learned(GRAPHS[graph](), precision)
    assert result[3].dtype == precision
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(result[:3]))  # synapses, outputs, gradient
    for ours, exact in zip(jax.tree.leaves(result), jax.tree.leaves(in_float32(graph)), strict=True):
        if exact.size:
            error = np.max(np.abs(np.asarray(ours, np.float32) - np.asarray(exact)))
            size = np.max(np.abs(np.asarray(exact)))
            assert error <= GROWTH * ROUNDOFF[precision] * max(size, 1e-6), error / size / ROUNDOFF[precision]
    rounded = np.asarray(result[3], np.float32)
    assert not np.array_equal(rounded, in_float32(graph)[3])  # else nothing was rounded at all


def test_float32_is_what_none_gives():
    result = _learned(GRAPHS["layered"](), None)
    for ours, exact in zip(jax.tree.leaves(result), jax.tree.leaves(in_float32("layered")), strict=True):
        np.testing.assert_array_equal(ours, exact)


@pytest.mark.parametrize("graph", rest_is_thorough(["irregular", "convolution"], "irregular"))
def test_float64_is_what_float32_rounds(graph, x64):
    with jax.enable_x64(False):
        rounded = in_float32(graph)
    result = _learned(GRAPHS[graph](), "float64")
    for exact, ours in zip(jax.tree.leaves(result), jax.tree.leaves(rounded), strict=True):
        assert exact.dtype == jnp.float64
        if exact.size:
            assert np.max(np.abs(exact - ours)) <= 100 * ROUNDOFF["float32"] * max(np.max(np.abs(exact)), 0.1)


def test_updates_sum_in_float32_where_float16_would_overflow():
    """32 products of 100 x 100 are 320,000, beyond float16's 65,504; bfloat16 and float32 agree with it."""
    topology = workloads.layered((3, 2))
    rule = ng.Rule(output_activation="identity")
    for precision in ("float16", "bfloat16", "float32"):
        network = ng.Network(topology, rule, precision=precision)
        genome = ng.Genome.from_arrays(synapse_update=1.0, post_transform=[[0, 100.0], [0, 100.0]])
        synapses = network.pack(np.zeros((6, 2)))
        learned, _ = network.step(genome, synapses, np.full((32, 3), 100.0), np.ones((32, 2)))
        np.testing.assert_allclose(network.unpack(learned)["forward"][:, 0], 32 * 100 * 100.0)


def test_states_beyond_float16_become_infinite_and_do_not_pass_for_numbers():
    topology = workloads.layered((3, 2))
    rule = ng.Rule(output_activation="identity")
    genome = ng.Genome.from_arrays()
    outputs = {}
    for precision in ("float16", "bfloat16"):
        network = ng.Network(topology, rule, precision=precision)
        synapses = network.pack(np.full((6, 2), 300.0))
        outputs[precision] = network.step(genome, synapses, np.full((4, 3), 300.0), np.ones((4, 2)))[1]
    assert np.isinf(outputs["float16"]).all()
    np.testing.assert_allclose(outputs["bfloat16"], 3 * 300.0 * 300.0, rtol=2.0**-8)


def test_what_is_wrong_with_a_precision_is_said():
    with pytest.raises(ng.PlanError, match=r"precision: got 'half'; allowed: float32, float64, bfloat16, float16, or None"):
        ng.Network(workloads.layered((3, 2)), RULE, precision="half")
    with pytest.raises(ng.PlanError, match="precision: float64 needs 64-bit types"):
        ng.Network(workloads.layered((3, 2)), RULE, precision="float64")
