"""Small graphs and the genome of gradient descent, for tests of transfer."""

from __future__ import annotations

import numpy as np

import neurograph as ng


def layered(*sizes: int, **fields) -> ng.Topology:
    start = np.concatenate([[0], np.cumsum(sizes)])
    level = np.repeat(np.arange(len(sizes)), sizes)
    senders, receivers = np.nonzero(level[:, None] + 1 == level)
    n = int(start[-1])
    return ng.Topology(
        tuple(f"n{i}" for i in range(n)), senders, receivers, np.arange(sizes[0]), np.arange(n - sizes[-1], n), **fields
    )


def given(topology: ng.Topology) -> ng.Topology:
    """The same first synapses for every key and every method; no biases."""
    weight = np.random.default_rng(0).normal(size=topology.num_synapses) / 2
    return topology.replace(weight=weight, bias=np.zeros(topology.num_neurons, bool))


BACKPROP = ng.backprop_genome(0.3, activation="tanh", loss="softmax_cross_entropy")


GENOME, RULE = BACKPROP[0], BACKPROP[1].replace(batch_reduction="mean")
