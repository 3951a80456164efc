"""Sequences of tasks on the same synapses, by genomes and by gradient descent."""

from __future__ import annotations

import doctest
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
import neurograph.learning.sequence
from neurograph.learning.baselines import Setting, baseline_curves, ordinary_network
from neurograph.learning.inner_loop import Problem, learning_curve
from neurograph.learning.sequence import GenomeLearner, Phase, best_descent, descent_learner, learn_sequence, permuted
from neurograph.tasks import decode_labels

GRAPH = ng.build_topology(
    {
        "populations": {"x": 2, "h": 5, "y": 2},
        "inputs": "x",
        "outputs": "y",
        "connections": [{"kind": "dense", "from": "x", "to": "h"}, {"kind": "dense", "from": "h", "to": "y"}],
    }
)
GENOME, RULE = ng.backprop_genome(0.3, activation="tanh", loss="softmax_cross_entropy")
RULE = RULE.replace(batch_reduction="mean")
XOR, AND = ng.get_task("xor"), ng.get_task("and")
KEYS = jax.random.split(jax.random.key(5), 2)
SIZES = {"batch_size": 16, "query_size": 32}


@pytest.fixture(scope="module")
def learner():
    return GenomeLearner(ng.Network(GRAPH, RULE), GENOME)


@pytest.mark.thorough
def test_layers_of_equal_genomes_learn_as_one_genome_where_states_carry_over():
    rule = RULE.replace(reset_states=False)
    network, options = ng.Network(GRAPH, rule), {"keys": KEYS, "at": (0,), **SIZES}
    genomes = (GENOME, ng.LayeredGenome.repeat(GENOME, "role", None))
    one, layers = (learn_sequence(GenomeLearner(network, genome), [Phase(XOR, 3)], **options) for genome in genomes)
    np.testing.assert_allclose(layers.loss, one.loss, rtol=1e-5)


def test_one_phase_is_the_learning_curve_of_the_same_key(learner):
    found = learn_sequence(learner, [Phase(XOR, 4)], keys=KEYS, at=(0, 1), **SIZES)
    assert found.points == ((0, 0), (0, 1), (0, 4))
    for seed, key in enumerate(KEYS):
        wanted = learning_curve(Problem(learner.network, XOR), GENOME, key=key, at=(0, 1, 4), **SIZES)
        np.testing.assert_allclose(found.loss[seed, :, 0], wanted["loss"], rtol=1e-5)
        np.testing.assert_array_equal(found.accuracy[seed, :, 0], wanted["accuracy"])


def test_descent_in_one_phase_is_the_baseline_of_the_same_key():
    setting = Setting("momentum", "tanh", True)
    found = learn_sequence(descent_learner(GRAPH, setting, 0.2), [Phase(XOR, 3)], keys=KEYS, at=(0, 1), **SIZES)
    problem = Problem(ordinary_network(GRAPH), XOR)
    wanted = baseline_curves(problem, setting, [0.2], keys=KEYS, at=(0, 1, 3), judged_on="test", **SIZES)
    np.testing.assert_allclose(found.loss[:, :, 0], wanted.loss[0], rtol=1e-5)
    np.testing.assert_array_equal(found.accuracy[:, :, 0], wanted.accuracy[0])


def test_synapses_are_kept_from_phase_to_phase(learner):
    """By hand: one episode per task, the first's batches shared out over its two phases."""
    phases = [Phase(XOR, 2), Phase(AND, 3), Phase(XOR, 1)]
    found = learn_sequence(learner, phases, keys=KEYS[:1], **SIZES)
    data, init, _ = jax.random.split(KEYS[0], 3)
    (x0, y0), q0 = XOR.episode(data, 3, 16, 32, "train", "test")
    (x1, y1), q1 = AND.episode(jax.random.fold_in(data, 1), 3, 16, 32, "train", "test")
    network = learner.network
    kept = network.init(GENOME, key=init)
    for point, (xs, ys) in enumerate([(x0[:2], y0[:2]), (x1, y1), (x0[2:], y0[2:])]):
        kept, _ = network.unroll(GENOME, kept, xs, ys)
        for task, query in enumerate((q0, q1)):
            wanted = ng.query_loss(network.predict(GENOME, kept, query.x), query.y)
            end = found.points.index((point, len(xs)))
            np.testing.assert_allclose(found.loss[0, end, task], wanted, rtol=2e-5)


@pytest.mark.thorough
def test_fresh_phases_know_nothing_of_those_before(learner):
    phases = [Phase(XOR, 3), Phase(AND, 3)]
    kept = learn_sequence(learner, phases, keys=KEYS, **SIZES)
    fresh = learn_sequence(learner, phases, keys=KEYS, keep=False, **SIZES)
    np.testing.assert_array_equal(kept.loss[:, :2], fresh.loss[:, :2])  # the first phase is the same
    assert not np.allclose(kept.loss[:, 3], fresh.loss[:, 3])
    swapped = learn_sequence(learner, [Phase(permuted(XOR, 0), 3), Phase(AND, 3)], keys=KEYS, keep=False, **SIZES)
    np.testing.assert_allclose(swapped.loss[:, 3, 1], fresh.loss[:, 3, 1], rtol=1e-5)


def test_few_batches_are_gone_through_again_and_again(learner):
    once = learn_sequence(learner, [Phase(XOR, 4, batches=2)], keys=KEYS[:1], **SIZES)
    data, init, _ = jax.random.split(KEYS[0], 3)
    (xs, ys), query = XOR.episode(data, 2, 16, 32, "train", "test")
    kept = learner.network.init(GENOME, key=init)
    kept, _ = learner.network.unroll(GENOME, kept, jnp.tile(xs, (2, 1, 1)), jnp.tile(ys, (2, 1, 1)))
    wanted = ng.query_loss(learner.network.predict(GENOME, kept, query.x), query.y)
    np.testing.assert_allclose(once.loss[0, -1, 0], wanted, rtol=2e-5)


def test_permuted_labels_are_the_same_rows_under_other_numbers():
    task = ng.get_task("digits")
    other = permuted(task, 3)
    order = np.asarray(other.order)
    assert sorted(order) == list(range(10))
    key = jax.random.key(0)
    for before, after in zip(task.episode(key, 2, 8, 8), other.episode(key, 2, 8, 8)):
        np.testing.assert_array_equal(before.x, after.x)
        np.testing.assert_array_equal(order[decode_labels(before.y)], decode_labels(after.y))
    np.testing.assert_array_equal(order[task.arrays()[1]], other.arrays()[1])
    assert [other.class_names[order[c]] for c in range(10)] == list(task.class_names)
    sample, turned = task.sample(key, 8), other.sample(key, 8)
    np.testing.assert_array_equal(order[decode_labels(sample.y)], decode_labels(turned.y))
    assert permuted(ng.get_task("random_xor"), 0).is_family
    with pytest.raises(ng.TaskError, match="2 classes on 1 outputs"):
        permuted(ng.get_task("xor", outputs=1), 0)


def test_the_rate_of_descent_is_chosen_on_validation_data():
    phases = [Phase(AND, 5)]
    rates = (1e-4, 1.0)
    learner, notes = best_descent(GRAPH, phases, key=KEYS[0], seeds=2, settings=[Setting("sgd", "tanh")], rates=rates, **SIZES)
    keys = jax.random.split(KEYS[0], 2)
    scores = []
    for rate in rates:
        one = descent_learner(GRAPH, Setting("sgd", "tanh"), rate)
        scores.append(learn_sequence(one, phases, keys=keys, judged_on="validation", **SIZES).accuracy[:, -1, 0].mean())
    assert notes["learning_rate"] == rates[int(np.argmax(scores))]
    assert float(learner.rate) == pytest.approx(notes["learning_rate"])
    assert notes["accuracy"] == pytest.approx(max(scores))
    assert (notes["configurations"], notes["runs"]) == (2, 4)


def test_rows_say_where_a_run_failed(learner):
    found = learn_sequence(descent_learner(GRAPH, Setting("sgd", "relu"), 1e30), [Phase(XOR, 4)], keys=KEYS, **SIZES)
    last = [row for row in found.rows() if row["step"] == 4]
    assert len(last) == 2
    assert all(row["failed"] and row["loss"] is None for row in last)
    assert {row["judged"] for row in last} == {"xor"}


def test_faults_are_told(learner):
    with pytest.raises(ng.ExperimentError, match="steps of a phase: got 0"):
        Phase(XOR, 0)
    with pytest.raises(ng.ExperimentError, match="at least one phase"):
        learn_sequence(learner, [], keys=KEYS)
    with pytest.raises(ng.ExperimentError, match="different names"):
        learn_sequence(learner, [Phase(XOR, 1), Phase(ng.get_task("xor"), 1)], keys=KEYS)
    with pytest.raises(ng.ShapeError, match="task 'digits' has 64 inputs"):
        learn_sequence(learner, [Phase(ng.get_task("digits"), 1)], keys=KEYS)
    with pytest.raises(ng.ExperimentError, match=r"got 0\.0; expected a number > 0"):
        descent_learner(GRAPH, rate=0.0)
    with pytest.raises(ng.ExperimentError, match="no settings or no rates"):
        best_descent(GRAPH, [Phase(XOR, 1)], key=KEYS[0], settings=())


@pytest.mark.thorough
def test_the_example_runs(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    found = doctest.testmod(neurograph.learning.sequence)
    assert found.failed == 0
    assert found.attempted > 0
