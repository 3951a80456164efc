"""Genomes as vectors: round trips, names, scales and bounds, shared and per layer."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import neurograph as ng
from neurograph.genome import effective_fields
from neurograph.testing import random_genome

RULE = ng.Rule(states=3, normalization="batch")


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.usefixtures("x64")
def test_round_trip(layered):
    make = lambda seed: random_genome(3, seed)  # noqa: E731
    if layered:
        plain = make
        make = lambda seed: ng.LayeredGenome.from_genomes({str(i): plain(seed + i) for i in range(2)}, "depth")  # noqa: E731
    template, genome = make(0), make(10)
    vector = ng.GenomeVector(template, effective_fields(RULE), scales=(("neuron_keep", 0.1),))
    flat = vector.to_vector(genome)
    assert flat.shape == (vector.size,) == ((4 * 9 + 4 * 3 + 5) * (2 if layered else 1),)
    back = vector.to_genome(flat)
    assert jax.tree.structure(back) == jax.tree.structure(genome)
    own = (lambda g: g.genomes) if layered else (lambda g: g)
    for name in effective_fields(RULE):
        np.testing.assert_allclose(getattr(own(back), name), getattr(own(genome), name), rtol=1e-12)
    assert np.array_equal(own(back).saturation, own(template).saturation)  # not searched
    assert vector.to_genomes(np.stack([flat, flat])).states == 3
    moved = flat.copy()
    moved[vector.names.index("neuron_keep[1]" if layered else "neuron_keep")] += 1
    change = np.asarray(own(vector.to_genome(moved)).neuron_keep) - np.asarray(own(genome).neuron_keep)
    np.testing.assert_allclose(change, [0, 0.1] if layered else 0.1, atol=1e-12)


def test_bounds_are_the_vectors_limits():
    template = ng.Genome.from_arrays(neuron_keep=0.5, synapse_keep=1.0)
    vector = ng.GenomeVector(template, ("neuron_keep", "synapse_keep"), (("neuron_keep", 0.5),), (("neuron_keep", 0.0, 2.0),))
    low, high = vector.bounds
    assert low.tolist() == [-1, -np.inf]
    assert high.tolist() == [3, np.inf]
    assert vector.clip([9.0, 9.0]).tolist() == [3, 9]
    assert float(vector.to_genome(np.array([high[0], 0.0])).neuron_keep) == 2
    assert vector.names == ["neuron_keep", "synapse_keep"]


def test_wrong_vectors():
    genome = ng.Genome.from_arrays()
    for arguments, text in (
        ({"limits": (("neuron_keep", 1.0, 1.0),)}, r"limits: got neuron_keep: 1\.0 to 1\.0; expected low < high"),
        ({"limits": (("neuron_kep", 0.0, 1.0),)}, "neuron_kep: no array of a genome"),
        ({"fields": ("neuron_keep", "neuron_keep")}, "expected each once"),
    ):
        with pytest.raises(ng.GenomeError, match=text):
            ng.GenomeVector(genome, **({"fields": ("neuron_keep",)} | arguments))
