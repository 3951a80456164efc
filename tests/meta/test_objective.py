"""Learner and gradient meta-learning: what is computed, not how well it learns (that is measured, see the README)."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurograph as ng
from neurograph.learning.inner_loop import Problem, accuracy, learning_curve, meta_loss, query_loss
from neurograph.meta import GradientOptimizer, Objective, best_member, screen, select, start_genomes
from neurograph.meta.population import evaluate, member
from neurograph.tasks.build import array_task

RULE = ng.Rule(states=2, normalization="batch", batch_reduction="mean", initial_deviation="fan_in", output_activation="identity")


@functools.cache
def topology(hidden: int = 6, outputs: int = 2) -> ng.Topology:
    return ng.build_topology(
        {
            "populations": {"input": 2, "hidden": hidden, "output": outputs},
            "inputs": "input",
            "outputs": "output",
            "connections": [
                {"kind": "dense", "from": "input", "to": "hidden"},
                {"kind": "dense", "from": "hidden", "to": "output"},
            ],
        }
    )


@functools.cache
def objective(kernel: str, **options) -> Objective:
    problems = (
        Problem(ng.Network(topology(), RULE, kernel), ng.get_task("and")),
        Problem(ng.Network(topology(), RULE, kernel), ng.get_task("xor")),
        Problem(ng.Network(topology(4), RULE, kernel), ng.get_task("circle")),
    )
    return Objective(problems, steps=3, batch_size=8, query_size=16, **options)


def population(count: int = 3) -> ng.Genome:
    return start_genomes("near_backprop", count, RULE, key=jax.random.key(0), synapse_update=0.3)


def test_meta_loss_is_learning_then_a_query(kernel: str):
    problem = objective(kernel).problems[0]
    genome = member(population(), 0)
    episode = problem.task.episode(jax.random.key(1), 3, 8, 16)
    loss, metrics = meta_loss(problem.network, genome, episode, key=jax.random.key(2))
    synapses = problem.network.init(genome, key=jax.random.split(jax.random.key(2))[0])
    for x, y in zip(*episode.support, strict=True):
        synapses, _ = problem.network.step(genome, synapses, x, y)
    outputs = problem.network.predict(genome, synapses, episode.query.x)
    logits, targets = np.asarray(outputs), (np.asarray(episode.query.y) + 1) / 2
    by_hand = -np.mean(np.sum(targets * (logits - np.log(np.exp(logits).sum(1, keepdims=True))), axis=1))
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(logits.argmax(1) == targets.argmax(1)), rtol=1e-6)


def test_one_output_is_judged_by_its_sign_and_squared_error():
    outputs, y = jnp.asarray([[0.5], [-2.0], [0.1]]), jnp.asarray([[1.0], [1.0], [-1.0]])
    np.testing.assert_allclose(accuracy(outputs, y), 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(query_loss(outputs, y), (0.25 + 9 + 1.21) / 3, rtol=1e-6)


def test_fewer_steps_by_a_traced_number_are_fewer_steps(kernel: str):
    problem, genome = objective(kernel).problems[0], member(population(), 0)
    episode = problem.task.episode(jax.random.key(1), 4, 8, 16)
    shorter = episode._replace(support=type(episode.support)(episode.support.x[:2], episode.support.y[:2]))

    @jax.jit
    def both(steps):
        run = lambda g: meta_loss(problem.network, g, episode, key=jax.random.key(2), steps=steps)[0]  # noqa: E731
        return jax.value_and_grad(run)(genome)

    expected = jax.value_and_grad(lambda g: meta_loss(problem.network, g, shorter, key=jax.random.key(2))[0])(genome)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), both(2), expected)


MORE = [pytest.param(2, [1, 2], marks=pytest.mark.thorough), pytest.param(3, [1, 3], marks=pytest.mark.thorough)]


@pytest.mark.thorough
@pytest.mark.parametrize(("steps", "counted"), [(4, [1, 3, 4]), *MORE])
def test_judged_at_is_the_mean_of_the_queries_that_an_episode_reaches(steps: int, counted: list[int]):
    problem, genome = objective("auto").problems[0], member(population(), 0)
    episode = problem.task.episode(jax.random.key(1), 4, 8, 16)

    def graded(**options):
        run = lambda g, steps: meta_loss(problem.network, g, episode, key=jax.random.key(2), steps=steps, **options)  # noqa: E731
        return jax.jit(jax.value_and_grad(run, has_aux=True))

    (loss, metrics), slope = graded(judged_at=(1, 3, 9))(genome, steps)
    one_by_one = [graded()(genome, end) for end in counted]
    np.testing.assert_allclose(loss, np.mean([value for (value, _), _ in one_by_one]), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], np.mean([m["accuracy"] for (_, m), _ in one_by_one]), rtol=1e-5)
    slopes = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *[own for _, own in one_by_one])
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6), slope, slopes)


def test_objective_is_the_mean_over_problems_and_replicas(kernel: str):
    genome, key = member(population(), 0), jax.random.key(5)
    loss, metrics = objective(kernel)(genome, key)
    assert metrics["loss"].shape == (3,)
    np.testing.assert_allclose(loss, metrics["loss"].mean(), rtol=1e-6)
    for number, problem in enumerate(objective(kernel).problems):
        data, init = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, number), 0))
        alone, _ = meta_loss(problem.network, genome, problem.task.episode(data, 3, 8, 16), key=init)
        np.testing.assert_allclose(metrics["loss"][number], alone, rtol=1e-4)
    twice, _ = dataclasses.replace(objective(kernel), replicas=2)(genome, key)
    assert float(twice) != float(loss)


@pytest.mark.thorough
def test_advance_is_adam_on_the_clipped_meta_gradient(kernel: str, x64):
    # In float64: the first step of Adam divides a gradient by itself, which magnifies the rounding of small entries.
    settings, genomes = GradientOptimizer(learning_rate=0.01, clip=0.1), population(2)
    assert genomes.forward_transform.dtype == np.float64
    judged = dataclasses.replace(objective(kernel), problems=objective(kernel).problems[1:])
    state, record = settings.advance(judged, settings.init(genomes, key=jax.random.key(7)), 1)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(7), 0), 2)
    transform = optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.01))
    exact = jax.jit(jax.value_and_grad(judged, has_aux=True))
    for index in range(2):
        genome = member(genomes, index)
        (loss, _), gradient = exact(genome, keys[index])
        updates, _ = transform.update(gradient, transform.init(genome))
        expected = optax.apply_updates(genome, updates)
        moved = member(state.genomes, index)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6), moved, expected)
        np.testing.assert_allclose(record["loss"][0, index], loss, rtol=1e-4)
    assert int(state.step) == 1


@pytest.mark.thorough
def test_what_is_not_finite_is_skipped_and_counted(kernel: str):
    settings, genomes = GradientOptimizer(), population(2)
    broken = dataclasses.replace(genomes, synapse_update=genomes.synapse_update.at[1].set(jnp.inf))
    state = settings.init(broken, key=jax.random.key(0))
    state, _ = settings.advance(objective(kernel), state, 2)
    assert state.skipped.tolist() == [0, 2]
    assert not np.array_equal(state.genomes.forward_transform[0], genomes.forward_transform[0])
    np.testing.assert_array_equal(state.genomes.forward_transform[1], genomes.forward_transform[1])


@pytest.mark.thorough
def test_meta_steps_in_one_call_or_several_are_the_same(kernel: str):
    settings, genomes = GradientOptimizer(final_learning_rate=1e-3, decay_steps=4), population(2)
    start = settings.init(genomes, key=jax.random.key(3))
    whole, _ = settings.advance(objective(kernel), start, 4)
    half, _ = settings.advance(objective(kernel), start, 2)
    parts, _ = settings.advance(objective(kernel), half, 2)
    jax.tree.map(np.testing.assert_array_equal, parts.genomes, whole.genomes)


@pytest.mark.thorough
def test_screening_keeps_the_best_and_selection_copies_the_best(kernel: str):
    genomes = start_genomes("random", 6, RULE, key=jax.random.key(1))
    scores = evaluate(objective(kernel), genomes, jax.random.key(2), 1)
    kept = screen(objective(kernel), genomes, 2, key=jax.random.key(2))
    best_two = np.argsort(scores["loss"].mean(axis=1))[:2]
    np.testing.assert_array_equal(kept.forward_transform, genomes.forward_transform[best_two])
    made_up = {"loss": np.array([[1.0], [0.5], [np.nan], [2.0]]), "accuracy": np.array([[0.6], [0.9], [0.99], [0.2]])}
    assert best_member(made_up) == 1  # the third is better but its loss is not finite
    state, parents = select(jnp.arange(4), made_up, 2)
    assert parents == [0, 1, 1, 1]
    assert state.tolist() == [0, 1, 1, 1]
    with pytest.raises(ng.GenomeError, match="none of 2 genomes has a finite loss"):
        best_member({"loss": np.full((2, 1), np.nan), "accuracy": np.zeros((2, 1))})


def test_learning_curve_is_the_query_after_each_number_of_steps(kernel: str):
    problem, genome, key = objective(kernel).problems[0], member(population(), 0), jax.random.key(4)
    curve = learning_curve(problem, genome, key=key, at=(0, 1, 3), batch_size=8, query_size=16)
    data_key, init_key, _ = jax.random.split(key, 3)
    (xs, ys), query = problem.task.episode(data_key, 3, 8, 16, "train", "test")
    synapses, losses = problem.network.init(genome, key=init_key), []
    for step in range(4):
        losses.append(float(query_loss(problem.network.predict(genome, synapses, query.x), query.y)))
        if step < 3:
            synapses, _ = problem.network.step(genome, synapses, xs[step], ys[step])
    np.testing.assert_allclose(curve["loss"], [losses[0], losses[1], losses[3]], rtol=1e-4)
    with pytest.raises(ng.ShapeError, match="ascending"):
        learning_curve(problem, genome, key=key, at=(3, 1), batch_size=8)


def test_states_that_are_not_reset_are_carried_through_every_loop(kernel: str):
    rule = RULE.replace(reset_states=False, normalization="none")
    problem = Problem(ng.Network(topology(), rule, kernel), ng.get_task("and"))
    genome = ng.Genome.near_backprop(jax.random.key(0), rule, neuron_keep=0.5, synapse_update=0.1)
    curve = learning_curve(problem, genome, key=jax.random.key(1), at=(0, 2), batch_size=16, query_size=24)
    episode = problem.task.episode(jax.random.key(2), 2, 16, 24)
    loss, _ = meta_loss(problem.network, genome, episode, key=jax.random.key(3), steps=jnp.asarray(2))
    whole, _ = meta_loss(problem.network, genome, episode, key=jax.random.key(3))
    assert np.isfinite(curve["loss"]).all()
    np.testing.assert_allclose(loss, whole, rtol=1e-5)


def test_a_problem_that_does_not_fit_is_named():
    with pytest.raises(ng.ShapeError, match=r"task 'digits' has 64 inputs and 10 outputs; the topology .* has 2 and 2"):
        Problem(ng.Network(topology(), RULE), ng.get_task("digits"))
    with pytest.raises(ng.GenomeError, match="start: got 'nowhere'; allowed: near_backprop, random"):
        start_genomes("nowhere", 2, RULE, key=jax.random.key(0))


@pytest.mark.thorough
def test_problems_of_different_depth_and_data_are_one_meta_batch(kernel: str):
    def layers(*sizes: int) -> ng.Topology:
        names = [f"p{number}" for number in range(len(sizes))]
        connections = [{"kind": "dense", "from": a, "to": b} for a, b in itertools.pairwise(names)]
        populations = dict(zip(names, sizes, strict=True))
        return ng.build_topology(
            {"populations": populations, "inputs": names[0], "outputs": names[-1], "connections": connections}
        )

    places = [("digits", (64, 4, 10)), ("digits", (64, 4, 4, 4, 10)), ("xor", (2, 3, 2))]
    problems = tuple(Problem(ng.Network(layers(*sizes), RULE, kernel), ng.get_task(task)) for task, sizes in places)
    mixed = Objective(problems, steps=2, batch_size=8, query_size=16, replicas=2)
    genome, key = member(population(), 0), jax.random.key(3)
    loss, metrics = mixed(genome, key)
    assert metrics["loss"].shape == (3,)
    np.testing.assert_allclose(loss, metrics["loss"].mean(), rtol=1e-6)
    runs = []
    for replica in range(2):
        data, init = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 1), replica))
        episode = problems[1].task.episode(data, 2, 8, 16)
        runs.append(float(meta_loss(problems[1].network, genome, episode, key=init)[0]))
    np.testing.assert_allclose(metrics["loss"][1], np.mean(runs), rtol=1e-4)


@pytest.mark.thorough
def test_tasks_whose_splits_hold_other_classes_are_learned_where_they_are_judged():
    """Omniglot's alphabets: an episode cannot take its support from one split and its query from another."""
    rng = np.random.default_rng(0)
    parts = {
        split: (rng.normal(size=(40, 2)).astype(np.float32), np.arange(40) % 4 + 4 * place)
        for place, split in enumerate(("train", "validation", "test"))
    }
    task = array_task("letters", parts, [f"letter {n}" for n in range(12)], ways=2, own_classes=True)
    problem = Problem(ng.Network(topology(), RULE), task)
    judged = Objective((problem,), steps=3, batch_size=8, query_size=16, query_split="validation")
    there = dataclasses.replace(judged, split="validation", query_split=None)
    trained = dataclasses.replace(judged, query_split=None)
    genome, key = member(population(1), 0), jax.random.key(1)
    assert judged(genome, key)[0] == there(genome, key)[0]
    assert judged(genome, key)[0] != trained(genome, key)[0]
