"""Properties of training graphs, how they are related to an outcome; means and baselines of a matrix."""

from __future__ import annotations

import numpy as np
import pytest

from neurograph.experiment import find_topology
from neurograph.matrix_results import TransferMatrix
from neurograph.reproduce.properties import PROPERTIES, properties, relate, walk_lengths
from neurograph.reproduce.summaries import baseline_rows, by_genome, told
from neurograph.topology import build_topology


def chain(*extra, schedule="levels", ticks=1):
    """input -> a -> b -> output, one neuron each."""
    connections = [("input", "a"), ("a", "b"), ("b", "output"), *extra]
    graph = {
        "populations": dict.fromkeys(("input", "a", "b", "output"), 1),
        "inputs": "input",
        "outputs": "output",
        "connections": [{"kind": "dense", "from": a, "to": b} for a, b in connections],
    }
    return build_topology(graph | ({"schedule": schedule, "ticks": ticks} if schedule != "levels" else {}))


def test_walks_are_counted_by_length():
    np.testing.assert_allclose(walk_lengths(chain()), [0, 0, 0, 1])
    np.testing.assert_allclose(walk_lengths(chain(("input", "output"), ("a", "output"))), [0, 1 / 3, 1 / 3, 1 / 3])
    mlp = walk_lengths(find_topology("mlp"))
    np.testing.assert_allclose(mlp, [0, 0, 0, 1])
    # Round b -> a once and twice: a walk of 3, one of 5, one of 7.
    round_ = walk_lengths(chain(("b", "a"), schedule="synchronous", ticks=7))
    assert np.flatnonzero(round_).tolist() == [3, 5, 7]
    np.testing.assert_allclose(round_[[3, 5, 7]], 1 / 3)
    assert np.flatnonzero(walk_lengths(chain(("b", "a"), schedule="synchronous", ticks=6))).tolist() == [3, 5]


def test_properties_of_graphs_together():
    plain, skipping = chain(), chain(("input", "output"), ("a", "output"))
    alone = properties([plain])
    assert alone == {"graphs": 1, "deepest": 3, "path_spread": 0, "fan_in_spread": 0, "skips": 0, "cyclic": 0}
    found = properties([skipping])
    assert found["path_spread"] == pytest.approx(np.std([1, 2, 3]))
    assert found["fan_in_spread"] == pytest.approx(np.std([1, 1, 3]) / np.mean([1, 1, 3]))
    assert found["skips"] == pytest.approx(2 / 5)
    both = properties([plain, skipping, chain(("b", "a"), schedule="synchronous", ticks=3)])
    assert both["graphs"] == 3
    assert both["cyclic"] == pytest.approx(1 / 3)
    assert list(both) == list(PROPERTIES)


def test_relations_are_found_where_they_are_and_only_there():
    random = np.random.default_rng(0)
    names = [f"set {number}" for number in range(9)]
    of = {
        name: dict.fromkeys(PROPERTIES, 1.0) | {"graphs": number, "deepest": float(random.normal())}
        for number, name in enumerate(names)
    }
    outcome = {name: [0.5 + 0.04 * number + 0.001 * random.normal() for _ in range(2)] for number, name in enumerate(names)}
    first, second = relate(outcome, of)
    assert first["property"] == "graphs"
    assert first["rho"] == pytest.approx(1)
    assert first["lowest"] == pytest.approx(1)
    assert first["p"] < 0.01
    assert first["predicted"] > 0.95
    assert second["property"] == "deepest"
    assert second["p"] > 0.05
    assert relate({name: outcome[name] for name in names[:3]}, of) == []


def test_means_are_per_genome():
    rows = [
        {"label": "a", "genome_seed": seed, "topology": topology, "accuracy": value}
        for seed, topology, value in ((0, "x", 0.2), (0, "y", 0.4), (1, "x", 0.9))
    ]
    assert by_genome(rows) == {"a": {0: pytest.approx(0.3), 1: 0.9}}
    assert told([0.3, 0.1, 0.8]) == "0.300 (0.100 to 0.800)"
    assert told([1.26], 1) == "1.3 (1.3 to 1.3)"


def test_the_best_baseline_with_batch_norm_and_without():
    place = {"topology": "x", "task": "t", "step": 10, "method": "sgd", "activation": "relu"}
    scores = {True: (0.7, 0.95), False: (0.6, 0.5)}  # on validation data, on test data
    chosen = [place | {"batch_norm": norm, "accuracy": score[0], "best": norm} for norm, score in scores.items()]
    chosen.append(place | {"activation": "tanh", "batch_norm": False, "accuracy": 0.3, "best": False})
    rows = [
        one | {"genome": None, "seed": 0, "learning_rate": 0.1, "failed": False}
        | {"accuracy": 0.99 if one["activation"] == "tanh" else scores[one["batch_norm"]][1]}
        for one in chosen
    ]  # fmt: skip
    matrix = TransferMatrix(tuple(rows), tuple(chosen))
    (best,) = baseline_rows(matrix)
    (normalised,) = baseline_rows(matrix, batch_norm=True)
    (plain,) = baseline_rows(matrix, batch_norm=False)
    assert best["median"] == normalised["median"] == 0.95
    assert plain["median"] == 0.5  # the better on validation data, not on test data
    assert plain["which"] == "sgd, relu, 0.1"
