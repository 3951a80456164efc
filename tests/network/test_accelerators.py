"""What an accelerator would be given: lowered for CUDA on any machine, without one."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from harness import foreign_calls, rest_is_thorough

import neurograph as ng
from neurograph.network.kernels import native
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
    "known size, trace": {"update_normalization": "neuron", "synapse_trace": True},
}


def lowered(topology: ng.Topology, kernel: str, options: dict, *, gradient: bool) -> Any:
    genome, rule = ng.backprop_genome(0.1, loss="softmax_cross_entropy", activation="tanh", normalization="batch")
    network = ng.Network(topology, rule.replace(batch_reduction="mean", **options), kernel)
    lead = (3, 8) if gradient else (8,)
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
@pytest.mark.parametrize("kernel", rest_is_thorough(["blocks", "gather", "levels", "reference"], "blocks", slow=["gather"]))
@pytest.mark.parametrize("graph", rest_is_thorough(GRAPHS, "layered", slow=["convolution"]))
def test_lowers_for_a_gpu(graph, kernel, gradient):
    """No call that only a CPU has, and no arrays of 64-bit numbers (but JAX counts in ui64 for random ones)."""
    for options in RULES.values():
        program = lowered(GRAPHS[graph](), kernel, options, gradient=gradient)
        assert not foreign_calls(program)
        assert not re.findall(r"tensor<\d[^>]*x(?:f64|i64)>", program.as_text())


def test_native_code_would_be_noticed():
    if not native.available():
        pytest.skip("native code cannot run here")
    calls = foreign_calls(lowered(GRAPHS["irregular"](), "native", {}, gradient=False))
    assert calls
    assert all(name.startswith("neurograph_") for name in calls)
