"""Evolution: strategies find a known minimum, repeat themselves exactly, and survive what diverges."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import neurograph as ng
from neurograph.genome import effective_fields
from neurograph.genome.vector import GenomeVector
from neurograph.learning.inner_loop import Problem
from neurograph.meta import Objective
from neurograph.meta.evolution import Evolution
from neurograph.meta.strategies import CMA, AntitheticES

STRATEGIES = {
    "cma": lambda seed=0: CMA(6, population=12, sigma=0.5, seed=seed),
    "antithetic": lambda seed=0: AntitheticES(6, population=40, sigma=0.1, seed=seed, learning_rate=0.1),
}
TARGET = np.array([0.3, -0.2, 0.5, 0.0, 1.0, -0.7])


def costs(vectors: np.ndarray) -> np.ndarray:
    return ((vectors - TARGET) ** 2 * np.arange(1, 7)).sum(axis=1)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_finds_the_minimum_of_a_quadratic(name: str):
    strategy = STRATEGIES[name]()
    for _ in range(80):
        strategy.tell(costs(strategy.ask()))
    assert np.abs(strategy.mean - TARGET).max() < 0.1


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_search_is_restored_to_the_bit_from_the_costs_it_was_told(name: str):
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - it is the legacy generator that must not be touched
    whole, restored = STRATEGIES[name](3), STRATEGIES[name](3)
    for _ in range(7):
        whole.tell(costs(whole.ask()))
    restored.retell(np.stack(whole.told))
    np.testing.assert_array_equal(restored.ask(), whole.ask())
    np.testing.assert_array_equal(restored.mean, whole.mean)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_diverges_is_penalised_and_all_failed_stops_with_a_reason(name: str):
    strategy = STRATEGIES[name]()
    values = costs(strategy.ask())
    values[3] = np.nan
    assert strategy.tell(values) == 1
    assert np.isfinite(strategy.mean).all()
    with pytest.raises(ng.GenomeError, match=r"generation 1: all \d+ genomes diverged; .* sigma"):
        strategy.tell(np.full(len(values), np.inf))


def test_vector_round_trip():
    rule = ng.Rule(states=3, normalization="batch", oja="weights")
    template = ng.Genome.random(jax.random.key(0), rule)
    vector = GenomeVector(template, effective_fields(rule), (("synapse_update", 0.2),))
    assert vector.size == 4 * 9 + 4 + 4 * 3 + 1 + 1  # matrices, gates, moments, Oja, initial deviation
    genome = ng.Genome.random(jax.random.key(1), rule, synapse_update=-0.3)
    back = vector.to_genome(vector.to_vector(genome))
    for name in vector.fields:
        np.testing.assert_allclose(getattr(back, name), getattr(genome, name), rtol=1e-6, atol=1e-7)
    moved = vector.to_genome(np.eye(vector.size)[vector.size - 3 - 12 - 0])
    assert not all((np.asarray(getattr(moved, n)) == np.asarray(getattr(template, n))).all() for n in vector.fields)
    with pytest.raises(ng.GenomeError, match="expected 54"):
        vector.to_genomes(np.zeros((2, 5)))
    with pytest.raises(ng.GenomeError, match="synapse_updat: no array of a genome"):
        GenomeVector(template, ("synapse_updat",))


def test_evolution_improves_a_genome_and_repeats_itself():
    topology = ng.build_topology(
        {
            "populations": {"input": 2, "hidden": 8, "output": 2},
            "inputs": "input",
            "outputs": "output",
            "connections": [
                {"kind": "dense", "from": "input", "to": "hidden"},
                {"kind": "dense", "from": "hidden", "to": "output"},
            ],
        }
    )
    rule = ng.Rule(states=2, normalization="batch", batch_reduction="mean", initial_deviation="fan_in")
    objective = Objective((Problem(ng.Network(topology, rule), ng.get_task("and")),), steps=5, batch_size=16, query_size=32)
    start = ng.Genome.near_backprop(jax.random.key(0), rule, noise=0.0, synapse_update=0.3)

    def search():
        vector = GenomeVector(start, effective_fields(rule))
        return Evolution(objective, vector, CMA(vector.size, 12, 0.3, seed=1), jax.random.key(2), episodes=3)

    first, second = search(), search()
    records = [first.advance() for _ in range(8)]
    again = [second.advance() for _ in range(8)]
    assert records == again
    assert records[-1]["accuracy"] > records[0]["accuracy"] + 0.05
    assert records[-1]["generation"] == 8
    assert not np.array_equal(first.genome.forward_transform, start.forward_transform)


@pytest.mark.thorough
def test_any_python_function_of_a_genome_can_be_searched():
    """Not differentiable, in NumPy, and it fails for a part of the space."""
    rule = ng.Rule(states=2)
    start = ng.Genome.near_backprop(jax.random.key(0), rule, noise=0.0)
    seen = []

    def cost(genome: ng.Genome) -> np.float64:
        matrix = np.asarray(genome.forward_transform, float)
        seen.append(matrix.shape)
        if matrix[0, 1] < -0.2:
            return np.float64("nan")
        return np.abs(np.round(matrix, 2) - np.array([[0.5, 0.0], [0.2, 1.0]])).sum()

    vector = GenomeVector(start, ("forward_transform",))
    search = Evolution(cost, vector, CMA(vector.size, 10, 0.3, seed=0), jax.random.key(0))
    records = [search.advance() for _ in range(40)]
    assert set(seen) == {(2, 2)}
    assert records[-1]["best_loss"] < 0.1 < records[0]["best_loss"]
    assert sum(record["failed"] for record in records) > 0
    assert np.abs(np.asarray(search.genome.forward_transform) - [[0.5, 0.0], [0.2, 1.0]]).max() < 0.1
    with pytest.raises(ng.GenomeError, match="all 10 genomes diverged"):
        Evolution(lambda genome: np.inf, vector, CMA(vector.size, 10, 0.3), jax.random.key(0)).advance()
    with pytest.raises(ng.GenomeError, match="objective: got a dict; expected one number"):
        Evolution(lambda genome: {}, vector, CMA(vector.size, 10, 0.3), jax.random.key(0)).advance()
