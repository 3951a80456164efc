"""A genome on graphs it never saw, beside baselines on the same batches."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from transfer_parts import GENOME, RULE, given, layered

import neurograph as ng
from neurograph.experiments.transfer.curves import genome_curves, transfer
from neurograph.experiments.transfer.results import load_transfer
from neurograph.learning.baselines import Setting
from neurograph.learning.inner_loop import Problem, learning_curve


@pytest.fixture(scope="module")
def result():
    """The backprop genome beside SGD at its own rate, on a function and on a family: they must agree at every step."""
    lines: list[str] = []
    found = transfer(
        GENOME,
        RULE,
        {"narrow": given(layered(2, 4, 2))},
        [ng.get_task("xor"), ng.get_task("random_xor")],
        at=(0, 3, 1),
        seeds=3,
        batch_size=16,
        query_size=64,
        settings=[Setting("sgd", "tanh")],
        learning_rates=[0.3],
        validation_seeds=2,
        progress=lines.append,
    )
    return found, lines


def test_all_methods_see_the_same_batches(result):
    rows = result[0].rows
    pick = lambda method: [r for r in rows if r["method"] == method]  # noqa: E731
    key = lambda r: (r["task"], r["step"], r["seed"])  # noqa: E731
    genome, sgd = (sorted(pick(method), key=key) for method in ("genome", "sgd"))
    assert list(map(key, genome)) == list(map(key, sgd))
    assert len(genome) == 2 * 3 * 3  # tasks, steps, seeds
    np.testing.assert_allclose([r["loss"] for r in genome], [r["loss"] for r in sgd], rtol=1e-4)
    np.testing.assert_allclose([r["accuracy"] for r in genome], [r["accuracy"] for r in sgd], atol=0.04)
    losses = {r["loss"] for r in genome if (r["task"], r["step"]) == ("xor", 0)}
    assert len(losses) == 3  # but every seed has its own


def test_rows_are_plain_data(result, tmp_path):
    found, lines = result
    fields = {
        "topology",
        "task",
        "method",
        "activation",
        "batch_norm",
        "learning_rate",
        "step",
        "seed",
        "accuracy",
        "loss",
        "failed",
    }
    assert all(set(row) == fields for row in found.rows)
    assert load_transfer(found.save(tmp_path / "transfer.json")) == found
    notes = found.notes
    assert notes["at"] == [0, 1, 3]
    assert (notes["configurations"], notes["runs"]) == (2, 4)
    assert 0.4 < notes["chance"]["xor"] < 0.7
    assert notes["topologies"]["narrow"]["synapses"] == 16
    assert lines[0] == "xor on narrow: genome"


def test_without_baselines_the_genome_is_still_tested_on_cycles():
    cyclic = layered(2, 6, 2).with_schedule("synchronous", 2)
    found = transfer(
        GENOME,
        RULE,
        [cyclic, cyclic],
        [ng.get_task("xor")],
        at=(2,),
        seeds=2,
        batch_size=8,
        query_size=32,
        settings=(),
    )
    assert [row["topology"] for row in found.rows] == ["topology 0"] * 2 + ["topology 1"] * 2
    assert found.chosen == ()
    accuracies = [row["accuracy"] for row in found.rows]
    assert accuracies[:2] == accuracies[2:]
    assert all(row["difference"] is None for row in found.comparison())


def test_curves_are_those_of_the_learner():
    """With a rule that has more to it: two-state synapses, asymmetric, normalised."""
    rule = ng.Rule(states=3, symmetric=False, normalization="batch", batch_reduction="mean", initial_deviation="fan_in")
    genome = ng.Genome.near_backprop(jax.random.key(0), rule, synapse_update=0.2)
    problem = Problem(ng.Network(layered(2, 5, 2), rule), ng.get_task("moons"))
    keys = jax.random.split(jax.random.key(1), 2)
    options = {"at": (0, 2), "batch_size": 16, "query_size": 64}
    loss, hits = genome_curves(problem, genome, keys=keys, **options)
    assert loss.shape == hits.shape == (2, 2)
    expected = learning_curve(problem, genome, key=keys[1], **options)
    np.testing.assert_allclose(loss[1], expected["loss"], rtol=2e-4)
    np.testing.assert_allclose(hits[1], expected["accuracy"], atol=0.04)


def test_states_that_carry_over_do_not_leak_into_the_query():
    rule = ng.Rule(reset_states=False, batch_reduction="mean")
    genome = ng.Genome.near_backprop(jax.random.key(0), rule, synapse_update=0.1)
    problem = Problem(ng.Network(layered(2, 4, 2), rule), ng.get_task("xor"))
    loss, _ = genome_curves(problem, genome, keys=jax.random.key(0)[None], at=(0, 2), batch_size=8, query_size=32)
    assert np.isfinite(loss).all()


def test_misfits_are_named_before_anything_runs():
    topologies = {"good": layered(2, 3, 2), "wide": layered(3, 3, 2), "thin": layered(2, 3, 1)}
    with pytest.raises(ng.ShapeError) as error:
        transfer(GENOME, RULE, topologies, [ng.get_task("xor")])
    assert "topology 'wide' has 3 inputs and 2 outputs; task 'xor' has 2 and 2" in str(error.value)
    assert "'thin' has 2 inputs and 1 outputs" in str(error.value)
    assert "good" not in str(error.value)
    for change, text in (
        ({"tasks": []}, "tasks of the transfer test: got none"),
        ({"seeds": 0}, "seeds: got 0"),
        ({"at": [-1]}, "at: "),
    ):
        with pytest.raises(ng.ExperimentError, match=text):
            transfer(GENOME, RULE, **({"topologies": {"good": topologies["good"]}, "tasks": [ng.get_task("xor")]} | change))
