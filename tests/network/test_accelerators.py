"""What an accelerator would be given: lowered for CUDA on any machine, without one, and the rule that chooses its kernel."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from harness import foreign_calls, rest_is_thorough

import neurograph as ng
from benchmarks import workloads
from benchmarks.launches import launches_of
from neurograph.network.batch.route import padded_on_gpu
from neurograph.network.kernels import native
from neurograph.network.kernels.choice import make_kernel
from neurograph.network.plan.gpu import choose, cost_on_gpu, plan_of
from neurograph.testing.graphs import random_topology

GRAPHS = {
    "layered": lambda: ng.mlp(6, 40, 40, 3),
    "irregular": lambda: random_topology(3, min_outputs=2),
    "cyclic": lambda: random_topology(4, min_outputs=2, cyclic=True, schedule="mixed", ticks=3),
    "synchronous": lambda: random_topology(5, min_outputs=2, cyclic=True, schedule="synchronous", ticks=3),
    "shared": lambda: random_topology(6, min_outputs=2, shared=True, fixed=True),
    "convolution": lambda: ng.load_topology("conv_shared"),
    "deep": lambda: ng.load_topology("growing"),
}
RULES = {
    "plain": {},
    "known size, trace": {"update_normalization": "neuron", "synapse_trace": True, "synapse_average": True},
}


KERNELS = ["gpu", "padded", "blocks", "gather", "levels", "reference"]


def lowered(topology: ng.Topology, kernel: str, options: dict, *, gradient: bool) -> Any:
    genome, rule = ng.backprop_genome(0.1, loss="softmax_cross_entropy", activation="tanh", normalization="batch")
    rule = rule.replace(batch_reduction="mean", **options)
    network: Any = ng.NetworkBatch([topology], rule) if kernel == "padded" else ng.Network(topology, rule, kernel)
    lead = (*([1] if kernel == "padded" else []), *([3] if gradient else []), 8)
    x = jnp.zeros((*lead, len(topology.inputs)), jnp.float32)
    y = jnp.zeros((*lead, len(topology.outputs)), jnp.float32)

    def step(genome, network, key):
        return network.step(genome, network.init(genome, key=key), x, y)

    def loss(genome, network, key):
        return jnp.sum(network.unroll(genome, network.init(genome, key=key), x, y)[1])

    run = jax.grad(loss) if gradient else step
    with jax.enable_x64(False):
        return jax.jit(run).trace(genome, network, jax.random.key(0)).lower(lowering_platforms=("cuda",))


@pytest.mark.parametrize("gradient", rest_is_thorough([False, True], False), ids=["step", "meta-gradient"])
@pytest.mark.parametrize("kernel", rest_is_thorough(KERNELS, "gpu", "padded", slow=["blocks", "gather"]))
@pytest.mark.parametrize("graph", rest_is_thorough(GRAPHS, "layered", slow=["convolution"]))
def test_lowers_for_a_gpu(graph, kernel, gradient):
    """No call that only a CPU has, and no arrays of 64-bit numbers (but JAX counts in ui64 for random ones)."""
    for options in RULES.values():
        program = lowered(GRAPHS[graph](), kernel, options, gradient=gradient)
        assert not foreign_calls(program) - ({"Sharding"} if kernel == "padded" else set())
        assert not re.findall(r"tensor<\d[^>]*x(?:f64|i64)>", program.as_text())


def test_native_code_would_be_noticed():
    if not native.available():
        pytest.skip("native code cannot run here")
    calls = foreign_calls(lowered(GRAPHS["irregular"](), "native", {}, gradient=False))
    assert calls
    assert all(name.startswith("neurograph_") for name in calls)


COUNTED = {
    "layered": GRAPHS["layered"],
    "irregular": lambda: workloads.random_dag(120, 600, inputs=6, outputs=3, seed=1),
    "cyclic": GRAPHS["cyclic"],
    "wide rows": lambda: workloads.layered_sparse(3, 300, 300 * 60),
    "deep": lambda: workloads.deep_dag(200, 1_000, seed=1),
}


@pytest.mark.parametrize("graph", COUNTED)
def test_launches_of_the_rule_are_those_of_the_program(graph):
    """Of a step as it is traced, from half as many to twice as many; loops over levels count every step."""
    topology, rule = COUNTED[graph](), ng.Rule(forward_activation="tanh", backward_activation="tanh")
    name, costs = choose(topology, batch=8)
    network, genome = ng.Network(topology, rule, "gpu"), ng.Genome.random(jax.random.key(0), rule)
    assert network.plan is plan_of(topology, name)
    synapses = network.init(genome, key=jax.random.key(0))
    x, y = (jnp.zeros((8, len(ends)), jnp.float32) for ends in (topology.inputs, topology.outputs))
    counted = launches_of(network.step, genome, synapses, x, y)
    assert counted / 2 < costs[name].launches < counted * 2


def test_the_rule_prefers_few_launches_until_bytes_count():
    layered = ng.mlp(6, 40, 40, 3)
    name, costs = choose(layered)
    assert name == "blocks"
    assert costs["blocks"].launches < costs["gather"].launches < costs["levels"].launches
    assert costs["blocks"].bytes < costs["gather"].bytes
    assert costs["blocks"].dense_share == 1
    deep = workloads.deep_dag(200, 1_000, seed=1)
    assert choose(deep)[1]["blocks"].launches > 10 * costs["blocks"].launches  # a loop over levels
    plan = plan_of(deep, "blocks")
    assert cost_on_gpu(plan, batch=512).launches == cost_on_gpu(plan).launches
    assert cost_on_gpu(plan, batch=512).bytes > 3 * cost_on_gpu(plan).bytes
    padded = padded_on_gpu(layered)
    assert padded.operations > costs["blocks"].operations  # zeros are multiplied, too


def test_auto_takes_the_rule_on_a_gpu(monkeypatch):
    topology = GRAPHS["irregular"]()
    assert not make_kernel(topology, "auto").plan.gpu
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert make_kernel(topology, "auto").plan is plan_of(topology, choose(topology)[0])
    with pytest.raises(ng.PlanError, match="the device is a gpu, not a CPU"):
        make_kernel(topology, "native")
