"""Batches of graphs compute what `Network` computes on its reference kernel, whatever they are stacked with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import relative, steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import random_synapses, random_topology, small
from random_rules import random_genome, rules
from strategies import topologies

import neurograph as ng
from neurograph.network.batch.sizes import exact_sizes, join, padded

FEW = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
STATES = ("forward", "feedback", "backward")
TOLERANCE = 1e-10


@st.composite
def cases(draw: st.DrawFn, cyclic: bool = False):
    """Two or three topologies, a rule that suits all, and a seed."""
    seed = draw(st.integers(0, 2**32 - 1))
    shared, fixed = draw(st.booleans()), draw(st.booleans())
    graphs = []
    for number in range(draw(st.integers(2, 3))):
        fields: dict = {"min_outputs": 2, "shared": shared, "fixed": fixed}
        if cyclic:
            schedule = draw(st.sampled_from(["mixed", "mixed", "synchronous"]))
            fields |= {"cyclic": True, "schedule": schedule, "ticks": draw(st.integers(1, 4)), "max_hidden": 2}
            fields["projecting"] = schedule == "synchronous" and draw(st.booleans())
        graph = random_topology(seed + number, **fields)
        if cyclic:
            settle = {"damping": draw(st.sampled_from([0.0, 0.5])), "tolerance": draw(st.sampled_from([0.0, 0.0, 0.02]))}
            graph = graph.replace(**settle)
        graphs.append(graph)
    rule, _ = draw(rules(2, stored=not shared))
    return graphs, rule, seed


def compare(graphs, rule, seed, number: int = 2, genome=None, tolerance: float = TOLERANCE, **options) -> ng.NetworkBatch:
    """`number` steps and a prediction: states, synapses and outputs of every graph."""
    rng = np.random.default_rng(seed)
    genome = random_genome(rule.states, seed) if genome is None else genome
    batch = ng.NetworkBatch(graphs, rule, **options)
    rows, inputs, outputs = 3, max(len(t.inputs) for t in graphs), max(len(t.outputs) for t in graphs)
    xs = rng.normal(size=(number, len(graphs), rows, inputs))
    ys = rng.choice([-1.0, 1.0], (number, len(graphs), rows, outputs))
    query = rng.normal(size=(len(graphs), rows, inputs))
    arrays = []
    for g, graph in enumerate(graphs):
        w = random_synapses(graph, rule.states, seed + g, single=rule.single_state_synapses)
        carried = None if rule.reset_states else rng.normal(0, 0.5, (rows, graph.num_neurons, rule.states))
        arrays.append(w | {"backward": None if rule.symmetric else w["backward"], "neurons": carried})
    synapses, found = batch.pack(arrays), []
    for index in range(number):
        trace = batch.trace(genome, synapses, xs[index], ys[index], index=index)
        synapses = trace.synapses
        found.append((trace, batch.unpack(synapses)))
    predicted = batch.predict(genome, synapses, query)
    for g, graph in enumerate(graphs):
        n, n_in, n_out = graph.num_neurons, len(graph.inputs), len(graph.outputs)
        network = ng.Network(graph, rule, kernel="reference")
        given = {name: value for name, value in arrays[g].items() if value is not None}
        theirs = steps(network, genome, given, xs[:, g, :, :n_in], ys[:, g, :, :n_out], query[g, :, :n_in])
        theirs = jax.device_get(theirs)
        for index, (trace, unpacked) in enumerate(found):
            ours = {f"states.{name}": np.asarray(getattr(trace, name)[g]) for name in STATES}
            for name, value in ours.items():
                assert not value[:, n:].any(), name
                assert relative(value[:, :n], theirs[name][index]) < tolerance, (g, name, index)
            assert not trace.outputs[g, :, n_out:].any()
            assert relative(trace.outputs[g, :, :n_out], theirs["outputs"][index]) < tolerance, (g, index)
            for name, value in unpacked[g].items():
                assert value.dtype == theirs[name].dtype
                assert relative(value, theirs[name][index]) < tolerance, (g, name, index)
        assert relative(predicted[g, :, :n_out], theirs["query"]) < tolerance
    return batch


@FEW
@given(case=cases())
def test_levels(case, x64):
    compare(*case)


@FEW
@given(case=cases(cyclic=True))
def test_cycles(case, x64):
    compare(*case)


@pytest.mark.slow
@MANY
@given(case=st.booleans().flatmap(lambda cyclic: cases(cyclic=cyclic)))
def test_many(case, x64):
    compare(*case)
