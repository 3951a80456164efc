"""Every kernel equals the NumPy oracle, whatever the graph and the rule."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from harness import KERNELS, relative, steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Oracle
from random_graphs import random_synapses, random_topology, topology_of_blocks
from random_rules import random_genome, rules

import neurograph as ng

pytestmark = pytest.mark.usefixtures("x64")
STATES = ("states.forward", "states.feedback", "states.backward")
# Rounding only: sums are taken in another order. Over 371 networks drawn like these, two steps each, the largest difference was
# 1.5e-11: steep saturations and small batch variances cost some digits.
TOLERANCE = 1e-9


def compare(
    topology: ng.Topology, rule: ng.Rule, activations: dict, seed: int, kernel: str, number: int = 2, genome=None
) -> None:
    """`number` steps and, for every other seed, a prediction: states, synapses and outputs."""
    rng = np.random.default_rng(seed)
    genome = random_genome(rule.states, seed) if genome is None else genome
    batch, n = 3, topology.num_neurons
    xs = rng.normal(size=(number, batch, len(topology.inputs)))
    ys = rng.choice([-1.0, 1.0], (number, batch, len(topology.outputs)))
    query = rng.normal(size=(batch, len(topology.inputs))) if seed % 2 else None
    w = random_synapses(topology, rule.states, seed, single=rule.single_state_synapses)
    carried = None if rule.reset_states else rng.normal(0, 0.5, (batch, n, rule.states))
    arrays = w | {"neurons": carried, "backward": None if rule.symmetric else w["backward"]}
    network = ng.Network(topology, rule, kernel=kernel)
    ours = jax.device_get(steps(network, genome, arrays, xs, ys, query))

    arrays_of = lambda g: {name: np.asarray(value) for name, value in g.to_dict().items()}  # noqa: E731
    known = arrays_of(genome) if isinstance(genome, ng.Genome) else [arrays_of(g) for g in genome.layers.values()]
    if isinstance(known, list):
        known = [known[layer] for layer in genome.layer_of(topology)]
    oracle = Oracle(topology, rule, known, activations)
    if rule.symmetric:
        w["backward"] = w["forward"]
    for index in range(number):
        record = oracle.step(w, xs[index], ys[index], index, carried)
        w, carried = record.synapses, record.carried
        expected = {name: getattr(record, name.removeprefix("states.")) for name in (*STATES, "outputs")} | w
        for name, value in expected.items():
            assert ours[name].dtype == np.float64
            assert relative(ours[name][index], value) < TOLERANCE, (name, index)
    if query is not None:
        assert relative(ours["query"], oracle.predict(w, query, carried)) < TOLERANCE


@st.composite
def cases(draw: st.DrawFn, cyclic: bool = False, **fields):
    """A topology, a rule that suits it, the rule's activations, and a seed for the values."""
    seed = draw(st.integers(0, 2**32 - 1))
    shared, fixed, projecting = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    if cyclic:
        schedule = draw(st.sampled_from(["mixed", "mixed", "synchronous"]))
        fields |= {"cyclic": True, "schedule": schedule, "ticks": draw(st.integers(1, 4)), "max_hidden": 2}
    topology = random_topology(seed, shared=shared, fixed=fixed, projecting=projecting, **fields)
    rule, activations = draw(rules(len(topology.outputs), stored=not shared))
    return topology, rule, activations, seed


FEW = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", KERNELS)
@FEW
@given(case=cases())
def test_levels(name, case):
    compare(*case, name)


@pytest.mark.parametrize("name", KERNELS)
@FEW
@given(case=cases(cyclic=True))
def test_cycles(name, case):
    compare(*case, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@MANY
@given(case=st.booleans().flatmap(lambda cyclic: cases(cyclic=cyclic)))
def test_many(name, case):
    compare(*case, name)


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


@pytest.mark.parametrize("cyclic", [False, True], ids=["levels", "mixed"])
@pytest.mark.parametrize("rule", BLOCKS)
def test_blocks_of_every_kind(rule, cyclic):
    topology = topology_of_blocks(3, cyclic=cyclic)
    plan = ng.compile_plan(topology)
    kinds = {(block.kind, block.sort) for block in plan.blocks}
    assert kinds >= set(itertools.product(("dense", "masked", "diagonal"), ("own", "shared", "fixed")))
    assert 0 < plan.dense_share < 1
    rule = BLOCKS[rule]
    names = {name: getattr(rule, f"{name}_activation") for name in ("forward", "backward", "output")}
    compare(topology, rule, names, 3, "blocks")
