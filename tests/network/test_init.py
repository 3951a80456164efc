"""`Network.init`: the deviation of every number that is drawn."""

from __future__ import annotations

import jax
import numpy as np

import neurograph as ng
from neurograph.testing.graphs import small


def test_fan_in_counts_senders_and_the_bias(kernel):
    """The same key draws the same numbers, so that the ratio of two rules is the deviation: exact, neuron by neuron."""
    bias = np.array([False, False, True, False, True, True, False])
    topology, genome = small(bias=bias), ng.Genome.from_arrays(initial_deviation=1.0)

    def drawn(deviation: str) -> dict:
        network = ng.Network(topology, ng.Rule(symmetric=False, initial_deviation=deviation), kernel=kernel)
        return network.unpack(network.init(genome, key=jax.random.key(0)))

    plain, scaled = drawn("genome"), drawn("fan_in")
    arriving = np.bincount(topology.receivers, minlength=7) + bias
    leaving = np.bincount(topology.senders, minlength=7)
    expected = {"forward": arriving[topology.receivers], "backward": leaving[topology.senders]}
    for name, count in expected.items():
        ratio = np.asarray(scaled[name]) / np.asarray(plain[name])
        np.testing.assert_allclose(ratio, np.repeat(count[:, None] ** -0.5, 2, axis=1), rtol=1e-6)
    ratio = np.asarray(scaled["bias"])[bias] / np.asarray(plain["bias"])[bias]
    np.testing.assert_allclose(ratio, np.repeat(arriving[bias][:, None] ** -0.5, 2, axis=1), rtol=1e-6)
