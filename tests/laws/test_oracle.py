"""Every kernel equals the NumPy oracle, whatever the graph and the rule."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from harness import KERNELS, rest_is_thorough
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neurograph as ng
from neurograph.testing import assert_equals_oracle, rules
from neurograph.testing.graphs import random_topology, topology_of_blocks

pytestmark = pytest.mark.usefixtures("x64")


@st.composite
def cases(draw: st.DrawFn, cyclic: bool = False, **fields):
    """A topology, a rule that suits it, and a seed for the values."""
    seed = draw(st.integers(0, 2**32 - 1))
    shared, fixed, projecting = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    if cyclic:
        schedule = draw(st.sampled_from(["mixed", "mixed", "synchronous"]))
        fields |= {"cyclic": True, "schedule": schedule, "ticks": draw(st.integers(1, 4)), "max_hidden": 2}
    topology = random_topology(seed, shared=shared, fixed=fixed, projecting=projecting, **fields)
    if cyclic:
        settling = draw(st.sampled_from([{}, {"damping": 0.4}, {"tolerance": 0.3}, {"damping": 0.3, "tolerance": 0.5}]))
        topology = topology.replace(**settling)
    return topology, draw(rules(len(topology.outputs), stored=not shared)), seed


FEW = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", rest_is_thorough(KERNELS, "native", slow=("gather", "levels")))
@FEW
@given(case=cases())
def test_levels(name, case):
    topology, rule, seed = case
    assert_equals_oracle(topology, rule, kernel=name, seed=seed)


@pytest.mark.parametrize("name", rest_is_thorough(KERNELS, "native", slow=("gather", "levels")))
@FEW
@given(case=cases(cyclic=True))
def test_cycles(name, case):
    topology, rule, seed = case
    assert_equals_oracle(topology, rule, kernel=name, seed=seed)


def test_cycles_of_one_level_settle_together(kernel):
    edges = np.array([(0, 2), (0, 3), (2, 2), (3, 3), (2, 4), (3, 4)])
    topology = ng.Topology(tuple("xzaby"), *edges.T, [0, 1], [4], schedule="mixed", ticks=30, tolerance=0.05)
    assert_equals_oracle(topology, ng.Rule(forward_activation="tanh"), kernel=kernel, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@MANY
@given(case=st.booleans().flatmap(lambda cyclic: cases(cyclic=cyclic)))
def test_many(name, case):
    topology, rule, seed = case
    assert_equals_oracle(topology, rule, kernel=name, seed=seed)


BLOCKS = {
    "asymmetric": ng.Rule(
        symmetric=False,
        normalization="batch",
        oja="weights",
        synapse_normalization="in_pass",
        forward_activation="tanh",
        backward_activation="gelu",
        forward_synapse_update=True,
    ),
    "single": ng.Rule(
        states=3,
        single_state_synapses=True,
        feedback="mse",
        oja="activity",
        backward_update="multiplicative",
        backward_activation="swish",
    ),
}


@pytest.mark.parametrize("cyclic", rest_is_thorough([False, True], False), ids=["levels", "mixed"])
@pytest.mark.parametrize("rule", rest_is_thorough(BLOCKS, *[*BLOCKS][1:]))
def test_blocks_of_every_kind(rule, cyclic):
    topology = topology_of_blocks(3, cyclic=cyclic)
    plan = ng.compile_plan(topology)
    kinds = {(block.kind, block.sort) for block in plan.blocks}
    assert kinds >= set(itertools.product(("dense", "masked", "diagonal"), ("own", "shared", "fixed")))
    assert 0 < plan.dense_share < 1
    assert_equals_oracle(topology, BLOCKS[rule], kernel="blocks", seed=3)


# What the drawn rules seldom hold together: derivatives of every state, means, and sizes of groups.
TOGETHER = {
    "derivatives": ng.Rule(
        states=3,
        forward_activation="tanh",
        backward_activation="gelu",
        output_activation="sigmoid",
        backward_update="multiplicative",
        normalization="batch",
        backward_normalization="derivative",
        normalize_outputs=True,
        synapse_normalization="in_pass",
        synapse_derivative=True,
        batch_reduction="mean",
        feedback="mse",
        oja="activity",
        self_gating=True,
    ),
    "thresholds": ng.Rule(
        states=3,
        forward_activation="tanh",
        backward_activation="tanh",
        backward_update="multiplicative_second_state",
        normalization="batch",
        backward_normalization="derivative",
        normalize_outputs=True,
        bias_after_normalization=True,
        symmetric=False,
        feedback="softmax_cross_entropy",
        hebbian_pre="forward",
        update_normalization="neuron",
        synapse_trace=True,
        learned_damping=True,
    ),
    "sizes": ng.Rule(
        symmetric=False,
        forward_activation="tanh",
        backward_activation="swish",
        feedback="softmax_cross_entropy",
        update_normalization="neuron",
        synapse_trace=True,
        learned_damping=True,
        cycle_fading=True,
        self_gating=True,
        oja="weights",
    ),
    "equation 8": ng.Rule(
        symmetric=False,
        forward_activation="tanh",
        backward_activation="tanh",
        forward_synapse_update=True,
        update_normalization="neuron",
        synapse_trace=True,
        saturation="exponential",
        oja="printed",
        oja_scale=0.3,
    ),
}


@pytest.mark.parametrize("cyclic", rest_is_thorough([False, True], False), ids=["levels", "mixed"])
@pytest.mark.parametrize("rule", rest_is_thorough(TOGETHER, "derivatives", "sizes", "thresholds"))
def test_derivatives_and_sizes(rule, cyclic, kernel):
    ticked = {"cyclic": True, "schedule": "mixed", "ticks": 3, "projecting": True} if cyclic else {}
    topology = random_topology(5, shared=True, fixed=True, min_outputs=2, max_hidden=2, **ticked)
    assert_equals_oracle(topology.replace(damping=0.3) if cyclic else topology, TOGETHER[rule], kernel=kernel, seed=5)


# What the backward pass reads, together with all that changes synapses.
TWINS = {
    "mirrored": {"symmetric": False, "oja": "printed", "saturation": "exponential", "forward_synapse_update": True},
    "fixed": {"symmetric": False, "oja": "activity", "synapse_normalization": "in_pass"},
    "sign": {"oja": "weights", "synapse_normalization": "in_pass", "backward_update": "multiplicative"},
}


@pytest.mark.parametrize("cyclic", rest_is_thorough([False, True], False), ids=["levels", "mixed"])
@pytest.mark.parametrize(
    "name", rest_is_thorough(KERNELS, "native" if "native" in KERNELS else "gather", slow=("blocks", "gather", "levels"))
)
@pytest.mark.parametrize("value", rest_is_thorough(TWINS, "mirrored", "sign"))
def test_backward_synapses(value, name, cyclic):
    ticked = {"cyclic": True, "schedule": "mixed", "ticks": 3} if cyclic else {}
    topology = random_topology(7, shared=True, fixed=True, min_outputs=2, max_hidden=2, **ticked)
    rule = ng.Rule(
        states=3,
        backward_synapses=value,
        update_normalization="neuron",
        synapse_trace=True,
        feedback="mse",
        forward_activation="tanh",
        backward_activation="swish",
        output_activation="sigmoid",
        **TWINS[value],
    )
    assert_equals_oracle(topology, rule, kernel=name, seed=7)
