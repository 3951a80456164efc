"""Properties of training graphs, how they are related to an outcome; means and baselines of a matrix."""

from __future__ import annotations

import numpy as np
import pytest

from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.reproduce.claims.properties import PROPERTIES, predictors, properties, relate, relation_figure, walk_lengths
from neurograph.reproduce.summaries import baseline_rows, by_genome, range_of
from neurograph.topology import build_topology, load_topology


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
    mlp = walk_lengths(load_topology("mlp"))
    np.testing.assert_allclose(mlp, [0, 0, 0, 1])
    # Round b -> a once and twice: a walk of 3, one of 5, one of 7.
    round_ = walk_lengths(chain(("b", "a"), schedule="synchronous", ticks=7))
    assert np.flatnonzero(round_).tolist() == [3, 5, 7]
    np.testing.assert_allclose(round_[[3, 5, 7]], 1 / 3)
    assert np.flatnonzero(walk_lengths(chain(("b", "a"), schedule="synchronous", ticks=6))).tolist() == [3, 5]


def test_properties_of_a_graph():
    assert properties(chain()) == dict.fromkeys(PROPERTIES, 0) | {"depth": 3, "neurons": 2}
    found = properties(chain(("input", "output"), ("a", "output")))
    assert found["depth"] == pytest.approx(2)
    assert found["path_spread"] == pytest.approx(np.std([1, 2, 3]))
    assert found["fan_in"] == pytest.approx(np.log2(5 / 3))
    assert found["fan_in_spread"] == pytest.approx(np.std([1, 1, 3]) / np.mean([1, 1, 3]))
    assert found["skips"] == pytest.approx(2 / 5)
    assert properties(chain(("b", "a"), schedule="synchronous", ticks=3))["cyclic"] == 1
    assert list(found) == list(PROPERTIES)


def test_predictors_compare_a_graph_with_the_training_graph_nearest_in_each_property():
    plain = dict.fromkeys(PROPERTIES, 0.0)
    of = {"a": plain, "b": plain | {"depth": 2.0}, "c": plain | {"depth": 6.0, "cyclic": 1.0}}
    found = predictors({"one": ["a"], "two": ["a", "b"]}, of)
    np.testing.assert_array_equal(found["number of graphs"], [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(found["more: path length"], [[0, 0, 0], [1, 1, 1]])
    depth, cyclic = np.std([0, 2, 6]), np.std([0, 0, 1])
    np.testing.assert_allclose(found["near in path length"], -np.array([[0, 2, 6], [0, 0, 4]]) / depth)
    np.testing.assert_allclose(found["near in all"][0], [0, -2 / depth, -np.hypot(6 / depth, 1 / cyclic)])
    np.testing.assert_allclose(found["near in all"][1], [0, 0, -np.hypot(4 / depth, 1 / cyclic)])


def test_relations_are_found_where_they_are_and_only_there():
    random = np.random.default_rng(0)
    by = {name: random.normal(size=(9, 12)) for name in ("what it is", "what it is not")}
    by |= {"the same for all": np.ones((9, 12)), "of the set": np.tile(np.arange(9.0)[:, None], 12)}
    hard = random.normal(size=12)  # a graph may be hard for all
    outcome = 0.5 + hard + 0.05 * by["what it is"] + 0.002 * random.normal(size=(9, 12))
    outcome[[0, 1, 2], [0, 1, 2]] = np.nan
    first, *others = relate(outcome, by)
    assert first["predictor"] == "what it is"
    assert first["rho"] > 0.97
    assert first["lowest"] > 0.95
    assert first["p"] == pytest.approx(1 / 5001)
    assert first["predicted"] > 0.95
    assert {row["predictor"] for row in others} == {"what it is not", "of the set"}
    assert all(row["p"] > 0.05 and row["predicted"] < 0.1 and row["corrected"] == min(1, 3 * row["p"]) for row in others)
    assert relate(outcome[:3], {name: x[:3] for name, x in by.items()}) == []
    (axis,) = relation_figure({"here": [first, *others], "there": [first]}).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [row["predictor"] for row in (first, *others)]
    assert [len(bars) for bars in axis.containers] == [3, 1]
    assert axis.containers[1][0].get_width() == first["rho"]


@pytest.mark.thorough
def test_chance_is_what_random_exchanges_of_sets_give():
    """Of predictors that say nothing, one in twenty has p < 0.05."""
    random = np.random.default_rng(1)
    outcome = random.normal(size=(8, 6)) + random.normal(size=(8, 1))
    nothing = {str(number): np.tile(random.normal(size=(8, 1)), 6) for number in range(200)}
    found = relate(outcome, nothing, shuffles=300)
    assert 0.01 < np.mean([row["p"] < 0.05 for row in found]) < 0.11


def test_means_are_per_genome():
    rows = [
        {"label": "a", "genome_seed": seed, "topology": topology, "accuracy": value}
        for seed, topology, value in ((0, "x", 0.2), (0, "y", 0.4), (1, "x", 0.9))
    ]
    assert by_genome(rows) == {"a": {0: pytest.approx(0.3), 1: 0.9}}
    assert range_of([0.3, 0.1, 0.8]) == "0.300 (0.100 to 0.800)"
    assert range_of([1.26], 1) == "1.3 (1.3 to 1.3)"


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
