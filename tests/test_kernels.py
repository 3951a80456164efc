"""Every kernel equals the reference kernel: states, learned synapses and gradients with respect to the genome, in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import neurograph as ng
from benchmarks import workloads
from neurograph.kernels.batched import Batched
from neurograph.kernels.bilinear import flow, product
from neurograph.kernels.gather import Gather
from neurograph.network import KERNELS

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
CASES = [("irregular", "plain"), ("irregular", "full"), ("local", "plain"), ("conv", "plain")]


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
    kernels = ("auto",) if graph == "irregular" else ("gather", "batched")
    for kernel in kernels:
        for ours, theirs in zip(_results(topology, RULES[rule], kernel), expected, strict=True):
            assert np.max(np.abs(ours - theirs)) < 1e-12 * max(1.0, np.max(np.abs(theirs))), kernel


def test_the_graphs_reach_every_kind_of_block():
    kinds = {
        block.kind
        for make in GRAPHS.values()
        for kernel in KERNELS
        if kernel != "reference"
        for block in ng.Network(make(), RULES["plain"], kernel=kernel).plan.blocks
    }
    assert {"gather", "levels", "batched", "conv"} <= kinds


@pytest.mark.parametrize("seed", range(3))
def test_flow_and_product_against_loops(seed: int, x64):
    random = np.random.default_rng(seed)
    senders, receivers, batch = 7, 9, (5, 16, 300)[seed]
    where = np.flatnonzero(random.random(senders * receivers) < 0.4)
    target, source = np.divmod(where, senders)
    block, tables = Gather.build(source, target, senders, receivers)
    values, signal = random.normal(size=(2, len(where))), random.normal(size=(2, senders, batch))
    back = random.normal(size=(2, receivers, batch))
    matrix = np.zeros((2, receivers, senders))
    matrix[:, target, source] = values
    run = jax.jit(
        lambda v, s, b: (flow(block, tables, False, v, s), flow(block, tables, True, v, b), product(block, tables, s, b))
    )
    along, against, hebbian = run(values, signal, back)
    np.testing.assert_allclose(along, np.einsum("krs,ksb->krb", matrix, signal), atol=1e-12)
    np.testing.assert_allclose(against, np.einsum("krs,krb->ksb", matrix, back), atol=1e-12)
    np.testing.assert_allclose(hebbian, np.einsum("krb,ksb->krs", back, signal)[:, target, source], atol=1e-11)


def test_convolution_shares_one_kernel():
    topology = workloads.local(side=5, channels=(1, 4), outputs=2, shared=True)
    plan = ng.compile_plan(topology, batched=True)
    conv = next(block for block in plan.blocks if block.kind == "conv")
    assert conv.shared.shape == (4, 9)
    assert conv.edges.shape == (25, 4, 9)
    static, _ = Batched.build(conv, 25, 100)
    assert static.straight
    assert static.holes
