"""Noise at neurons: one draw for every neuron, state, sample and tick."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import neurograph as ng

TICKS, NOISE = 4, 0.3


def test_every_tick_of_a_cycle_draws_its_own_noise(kernel):
    """Neurons that keep their states and receive nothing sum their noise: shared draws would add up to twice as much."""
    hidden = 40
    ring = [(1 + i, 1 + (i + 1) % hidden) for i in range(hidden)]
    edges = [*((0, 1 + i) for i in range(hidden)), *ring, *((1 + i, hidden + 1) for i in range(hidden))]
    topology = ng.Topology(
        tuple(map(str, range(hidden + 2))), *np.array(edges).T, [0], [hidden + 1], schedule="mixed", ticks=TICKS
    )
    linear = {f"{name}_activation": "identity" for name in ("forward", "backward", "output")}
    network = ng.Network(topology, ng.Rule(noise=NOISE, **linear), kernel=kernel)
    genome = ng.Genome.from_arrays(neuron_keep=1.0)
    synapses = network.pack(np.zeros((len(edges), 2)))
    trace = network.trace(genome, synapses, np.zeros((60, 1)), np.zeros((60, 1)), key=jax.random.key(0))
    forward, backward = (np.asarray(states[:, 1 : hidden + 1]) for states in (trace.forward, trace.backward))
    for summed in (forward, backward - forward):
        assert summed.std() == pytest.approx(NOISE * TICKS**0.5, rel=0.05)
    assert abs(np.corrcoef(forward.ravel(), (backward - forward).ravel())[0, 1]) < 0.1
