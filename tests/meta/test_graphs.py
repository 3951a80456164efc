"""Random graphs as data of a meta-step: what is drawn, and that a problem on them is the mean of `Network`s."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import foreign_calls, rest_is_thorough

import neurograph as ng
from neurograph.learning.inner_loop import meta_loss
from neurograph.meta import GradientOptimizer, Objective, RandomNetworks, RandomProblem, gradient, start_genomes
from neurograph.meta.population import evaluate, member
from neurograph.network.batch.choice import choose_classes, class_of, counts_of, shares_of
from neurograph.network.batch.sizes import exact_sizes
from neurograph.topology.language.families import RandomTopologies

RULE = ng.Rule(states=2, normalization="batch", batch_reduction="mean", initial_deviation="fan_in", output_activation="identity")
LAYERS = {"family": "layered", "depth": [1, 2], "width": [2, 6]}
CYCLES = {"family": "recurrent", "hidden": [4, 6], "readout": 3, "from_inputs": 2, "ticks": [2, 3], "damping": [0, 0.5]}


@functools.cache
def networks(graphs: int = 2, *, cycles: bool = False, **options) -> RandomNetworks:
    families = [LAYERS, CYCLES] if cycles else [LAYERS]
    return RandomNetworks.of(RandomTopologies(families, inputs=2, outputs=2), RULE, graphs, **options)


def objective(*, cycles: bool = False, graphs: int = 2, **options) -> Objective:
    problem = RandomProblem.of(networks(graphs, cycles=cycles), ng.get_task("xor"))
    return Objective((problem,), **({"steps": 3, "batch_size": 8, "query_size": 16} | options))


def genomes(count: int = 1) -> ng.Genome:
    return start_genomes("near_backprop", count, RULE, key=jax.random.key(0), synapse_update=0.3)


def digests(drawn: RandomNetworks, number: int) -> list[str]:
    return [graph.digest for graph in drawn.draw(number)]


@pytest.mark.thorough
def test_a_draw_is_decided_by_its_number_and_the_seed_alone():
    drawn = networks(3, cycles=True)
    assert len(drawn.classes) == 2
    assert sum(drawn.counts) == 3
    first = digests(drawn, 7)
    assert digests(drawn, 8) != first
    assert digests(drawn, 7) == first
    assert not {*digests(drawn.with_graphs(8, seed=1), 7)} & {*first}
    for number in range(5):
        batch = drawn.batch(number)
        assert batch.classes == drawn.classes
        assert [len(tables["count"]) for tables in batch.tables] == [*drawn.counts]
    with pytest.raises(ng.PlanError, match="got 1 graphs; expected at least 2, one for each size class"):
        drawn.with_graphs(1, seed=0)
    with pytest.raises(ng.ShapeError, match="task 'digits' has 64 inputs and 10 outputs; the random graphs have 2 and 2"):
        RandomProblem.of(drawn, ng.get_task("digits"))


def test_size_classes_split_where_it_saves_work_and_hold_the_sample():
    drawn = RandomTopologies([{"family": "layered", "depth": [1, 3], "width": [4, 90]}], inputs=2, outputs=2)
    exact = [exact_sizes(drawn.draw(0, number)) for number in range(60)]
    one, three = choose_classes(exact, 1), choose_classes(exact, 3)
    assert len(one) == 1
    assert 1 < len(three) <= 3
    assert None not in [class_of(size, one) for size in exact] + [class_of(size, three) for size in exact]
    assert shares_of(exact, one) == (1.0,)
    assert sum(shares_of(exact, three)) == pytest.approx(1)
    padding = lambda classes: np.mean([classes[class_of(size, classes)].numbers / size.numbers for size in exact])  # noqa: E731
    assert padding(three) < padding(one)
    assert counts_of((0.9, 0.1), 4) == (3, 1)
    assert counts_of((0.5, 0.3, 0.2), 4) == (2, 1, 1)
    assert counts_of((0.9, 0.1), 20) == (18, 2)


def by_hand(judged: Objective, number: int, genome: ng.Genome, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Loss and accuracy of a random problem: a `Network` for every graph, weighed by the share of its class."""
    problem = judged.problems[number]
    loss = accuracy = jnp.zeros(())
    for replica in range(judged.replicas):
        keys = jnp.concatenate(problem.keys(jax.random.fold_in(jax.random.fold_in(key, number), replica)))
        weights = np.repeat(problem.networks.weights, problem.networks.counts) / judged.replicas
        for graph, own, weight in zip(problem.networks.draw(4), keys, weights, strict=True):
            data, init = jax.random.split(own)
            episode = problem.task.episode(data, judged.steps, judged.batch_size, judged.query_size)
            network = ng.Network(graph, RULE, kernel="reference")
            part, metrics = meta_loss(network, genome, episode, key=init, judged_at=judged.judged_at)
            loss, accuracy = loss + weight * part, accuracy + weight * metrics["accuracy"]
    return loss, accuracy


@pytest.mark.thorough
@pytest.mark.parametrize("cycles", rest_is_thorough([False, True], False, slow=[True]))
def test_the_loss_is_the_mean_over_graphs_and_its_gradient_that_of_networks(cycles, x64):
    genome, key = member(genomes(), 0), jax.random.key(3)
    judged = objective(cycles=cycles, steps=2, judged_at=(1,) if cycles else None).at(4)
    (loss, metrics), slope = jax.jit(jax.value_and_grad(judged, has_aux=True))(genome, key)
    run = jax.jit(jax.value_and_grad(lambda genome: by_hand(judged, 0, genome, key), has_aux=True))
    (expected, accuracy), own = run(genome)
    np.testing.assert_allclose(loss, expected, rtol=1e-10)
    np.testing.assert_allclose(metrics["accuracy"][0], accuracy, rtol=1e-6)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-10), slope, own)


@pytest.mark.thorough
def test_meta_steps_have_fresh_graphs_and_one_program():
    judged, settings = objective(replicas=2), GradientOptimizer()
    gradient._advance.clear_cache()
    start = settings.init(genomes(2), key=jax.random.key(1))
    whole, record = settings.advance(judged, start, 2)
    half = start
    losses = []
    for _ in range(2):
        half, one = settings.advance(judged.at(9), half, 1, np.array([3]))  # whatever graphs are at hand
        losses.append(np.asarray(one["loss"])[0])
    jax.tree.map(np.testing.assert_array_equal, half.genomes, whole.genomes)
    np.testing.assert_array_equal(np.stack(losses), record["loss"])
    assert gradient._advance._cache_size() == 2  # of one meta-step and of two at once
    keys = jax.random.split(jax.random.fold_in(jax.random.key(1), 0), 2)
    np.testing.assert_allclose(record["loss"][0, 0], judged.at(0)(member(genomes(2), 0), keys[0])[0], rtol=1e-5)
    scores = [evaluate(judged.at(number), genomes(1), jax.random.key(2), 1)["loss"] for number in (0, 1, 0)]
    assert scores[0] == scores[2] != scores[1]


@pytest.mark.thorough
def test_a_meta_step_lowers_for_a_gpu():
    judged, settings = objective(cycles=True), GradientOptimizer()
    start = settings.init(genomes(), key=jax.random.key(1))
    per_step = gradient.per_meta_step(judged, 0, 1, None)
    lowered = gradient._advance.trace(settings, judged, start, *per_step, 1).lower(lowering_platforms=("cuda",))
    assert foreign_calls(lowered) <= {"Sharding"}


@pytest.mark.thorough
def test_an_episode_keeps_its_graphs(x64):
    judged, genome, key = objective(truncation=1, steps=2, loss="truncations"), member(genomes(), 0), jax.random.key(5)
    run = jax.jit(Objective.window)
    learning, tables = judged.begin(genome), [judged.at(number).problems[0].graphs.tables for number in range(4)]
    for number in range(4):  # two episodes of two windows
        _, _, learning = run(judged.at(number), genome, learning, key)
        expected = tables[number // 2 * 2]
        jax.tree.map(lambda kept, given: np.testing.assert_array_equal(kept[0], given), learning.graphs[0], expected)
    assert learning.episode.tolist() == [2]
    # The last episode by hand, of the second graph.
    problem = judged.problems[0]
    graph = problem.networks.draw(2)[1]
    own = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, 0), 0), 2)
    _, data_key, init_key, _ = jax.random.split(jnp.concatenate(problem.keys(own))[1], 4)
    network = ng.Network(graph, RULE)
    synapses = network.init(genome, key=init_key)
    for window in range(2):
        (xs, ys), _ = problem.task.episode(jax.random.fold_in(data_key, window), 1, 8, 16)
        synapses, _ = network.step(genome, synapses, xs[0], ys[0])
    (kept,) = learning.synapses[0]
    found = problem.networks.batch(2).unpack((jax.tree.map(lambda leaf: leaf[0], kept),))[1]
    np.testing.assert_allclose(found["forward"], network.unpack(synapses)["forward"], rtol=1e-8, atol=1e-12)
