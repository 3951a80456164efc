"""Steps of a network beside those of the NumPy oracle."""

from __future__ import annotations

import jax
import numpy as np
from harness import relative, steps
from oracle import Oracle
from random_graphs import random_synapses
from random_rules import random_genome

import neurograph as ng

STATES = ("states.forward", "states.feedback", "states.backward")


# Rounding only: sums are taken in another order. Over 371 networks drawn like these, two steps each, the largest difference was
# 1.5e-11: steep saturations and small batch variances cost some digits. Where they cost more, the oracle itself says how many.
TOLERANCE = 1e-9
ROUNDING = 4e-16


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
    expected = expectations(oracle, w, xs, ys, carried, query)
    near: list[dict] = []
    for (name, index), value in expected.items():
        assert ours[name].dtype == np.float64
        found = ours[name] if index is None else ours[name][index]
        if relative(found, value) < TOLERANCE:
            continue
        if not near:  # how far rounding of the inputs alone moves the numbers: by its last digits
            near = [expectations(oracle, w, xs * (1 + sign * ROUNDING), ys, carried, query) for sign in (-1, 1)]
            signs = rng.choice([-1, 1], (2, *xs.shape))
            near += [expectations(oracle, w, xs * (1 + ROUNDING * sign), ys, carried, query) for sign in signs]
        moved = max(relative(other[name, index], value) for other in near)
        assert relative(found, value) < TOLERANCE + 30 * moved, (name, index)


def expectations(oracle: Oracle, w: dict, xs: np.ndarray, ys: np.ndarray, carried: np.ndarray | None, query: np.ndarray | None):
    """Every number of the oracle's steps, by its name and step, and its prediction ("query", None)."""
    expected, traces = {}, None
    for index, (x, y) in enumerate(zip(xs, ys, strict=True)):
        record = oracle.step(w, x, y, index, carried, traces)
        w, carried, traces = record.synapses, record.carried, record.traces
        found = {name: getattr(record, name.removeprefix("states.")) for name in (*STATES, "outputs")} | w
        found |= {f"{name}_trace": value for name, value in traces.items() if name != "backward" or not oracle.rule.symmetric}
        expected |= {(name, index): value for name, value in found.items()}
    if query is not None:
        expected["query", None] = oracle.predict(w, query, carried)
    return expected
