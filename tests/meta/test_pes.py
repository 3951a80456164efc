"""Long episodes in windows: what a window computes, and that PES estimates the gradient through all of them without bias."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
from neurograph.genome import effective_fields
from neurograph.learning.inner_loop import Problem, query_loss
from neurograph.meta import PES, GradientOptimizer, Objective, start_genomes
from neurograph.meta.population import member

RULE = ng.Rule(
    states=2,
    single_state_synapses=True,
    normalization="batch",
    batch_reduction="mean",
    initial_deviation="fan_in",
    forward_activation="tanh",
    backward_activation="tanh",
    output_activation="identity",
)


@functools.cache
def topology(hidden: int = 3) -> ng.Topology:
    return ng.build_topology(
        {
            "populations": {"input": 2, "hidden": hidden, "output": 2},
            "inputs": "input",
            "outputs": "output",
            "connections": [
                {"kind": "dense", "from": "input", "to": "hidden"},
                {"kind": "dense", "from": "hidden", "to": "output"},
            ],
        }
    )


def objective(steps: int = 6, truncation: int | None = 2, **options) -> Objective:
    problem = Problem(ng.Network(topology(), RULE), ng.get_task("xor"))
    return Objective((problem,), steps, **({"batch_size": 4, "query_size": 8, "truncation": truncation} | options))


def genomes(count: int = 1) -> ng.Genome:
    return start_genomes("near_backprop", count, RULE, key=jax.random.key(0), spread=0.2, synapse_update=0.5)


def windows_of(judged: Objective, genome: ng.Genome, key: jax.Array, count: int) -> list:
    """Losses of `count` windows from the beginning of an episode, and what is left."""
    learning, losses = judged.begin(genome), []
    for _ in range(count):
        loss, metrics, learning = judged.window(genome, learning, key)
        losses.append((loss, metrics))
    return [*losses, learning]


@pytest.mark.thorough
def test_windows_are_learning_that_goes_on_where_it_stopped(x64):
    judged, genome, key = objective(), member(genomes(), 0), jax.random.key(5)
    *windows, _ = windows_of(judged, genome, key, 4)
    problem = judged.problems[0]
    own = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, 0), 0), 1)
    instance_key, data_key, init_key, _ = jax.random.split(own, 4)
    task = problem.task.instance(instance_key)
    synapses = problem.network.init(genome, key=init_key)
    for number, (loss, metrics) in enumerate(windows[:3]):
        (xs, ys), query = task.episode(jax.random.fold_in(data_key, number), 2, 4, 8)
        for x, y in zip(xs, ys, strict=True):
            synapses, _ = problem.network.step(genome, synapses, x, y)
        expected = query_loss(problem.network.predict(genome, synapses, query.x), query.y)
        # loss: final counts the last window of an episode alone
        assert bool(metrics["counted"]) == (number == 2)
        np.testing.assert_allclose(loss, expected if number == 2 else 0, rtol=1e-7)
    all_count = dataclasses.replace(judged, loss="truncations")
    *others, _ = windows_of(all_count, genome, key, 4)
    np.testing.assert_allclose(others[2][0], windows[2][0], rtol=1e-7)
    assert float(others[3][0]) != float(others[0][0])  # the second episode has data of its own
    assert all(bool(metrics["counted"]) for _, metrics in others)


@pytest.mark.thorough
def test_shorter_episodes_by_a_traced_number(x64):
    judged, genome, key = objective(steps=8, loss="final"), member(genomes(), 0), jax.random.key(1)
    counted, learning = [], judged.begin(genome)
    run = jax.jit(judged.window)
    for _ in range(6):
        _, metrics, learning = run(genome, learning, key, 4)
        counted.append(bool(metrics["counted"]))
    assert counted == [False, True] * 3
    assert int(learning.episode[0]) == 3


@pytest.mark.thorough
def test_loss_after_every_step_is_their_mean(x64):
    problem, genome = objective().problems[0], member(genomes(), 0)
    judged = objective(steps=3, truncation=None, loss="steps")
    loss, metrics = jax.jit(judged)(genome, jax.random.key(2), 2)
    data, init = jax.random.split(jax.random.fold_in(jax.random.fold_in(jax.random.key(2), 0), 0))
    (xs, ys), query = problem.task.episode(data, 3, 4, 8)
    synapses, losses = problem.network.init(genome, key=jax.random.split(init)[0]), []
    for x, y in zip(xs[:2], ys[:2], strict=True):
        synapses, _ = problem.network.step(genome, synapses, x, y)
        losses.append(query_loss(problem.network.predict(genome, synapses, query.x), query.y))
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-6)
    last = objective(steps=3, truncation=None)
    np.testing.assert_allclose(metrics["accuracy"], last(genome, jax.random.key(2), 2)[1]["accuracy"])


def test_query_batches_are_judged_by_themselves(x64):
    problem, genome, key = objective().problems[0], member(genomes(), 0), jax.random.key(2)
    loss, _ = objective(truncation=None, query_batches=3)(genome, key)
    data, init = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 0), 0))
    (xs, ys), query = problem.task.episode(data, 6, 4, 24)
    synapses, _ = problem.network.unroll(genome, problem.network.init(genome, key=jax.random.split(init)[0]), xs, ys)
    parts = [slice(0, 8), slice(8, 16), slice(16, 24)]
    losses = [query_loss(problem.network.predict(genome, synapses, query.x[p]), query.y[p]) for p in parts]
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-6)


@pytest.mark.thorough
def test_a_truncated_gradient_is_that_of_its_window(x64):
    judged = objective(loss="truncations")
    settings = GradientOptimizer(learning_rate=1e-3)
    state = settings.init(genomes(), key=jax.random.key(3), objective=judged)
    before, _ = settings.advance(judged, state, 1)
    after, record = settings.advance(judged, before, 1)
    base = jax.random.fold_in(jax.random.key(3), 0)
    run = lambda g: judged.window(g, member(before.learning, 0), base)[0]  # noqa: E731
    gradient = jax.grad(run)(member(before.genomes, 0))
    size = np.sqrt(sum(np.sum(np.asarray(leaf) ** 2) for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(record["gradient_norm"][0, 0], size, rtol=1e-7)
    assert not np.array_equal(after.genomes.forward_transform, before.genomes.forward_transform)
    # where nothing counts nothing moves, not even by the momentum of Adam
    final = objective()
    state = settings.init(genomes(), key=jax.random.key(3), objective=final)
    moved, record = settings.advance(final, state, 2)
    np.testing.assert_array_equal(moved.genomes.forward_transform, state.genomes.forward_transform)
    assert np.isnan(record["loss"]).all()
    assert moved.skipped.tolist() == [0]


def estimates_and_exact(loss: str, pairs: int):
    """Per pair, over one episode at a fixed genome: PES, the same without its memory, and the exact gradient: [pairs, size]."""
    judged, genome = objective(loss=loss), genomes()
    fields = effective_fields(RULE)
    settings = PES(population=2 * pairs, sigma=1e-3, fields=fields)
    state = settings.init(genome, key=jax.random.key(11), objective=judged)
    state = dataclasses.replace(state, learning=dataclasses.replace(state.learning, window=state.learning.window * 0))
    windows = judged.steps // judged.stretch
    run = jax.jit(lambda state: settings.contributions(judged, state))

    def vectors(population: ng.Genome) -> np.ndarray:
        return np.concatenate([np.asarray(getattr(population, f), float).reshape(pairs, -1) for f in fields], axis=1)

    persistent, forgetful = 0.0, 0.0
    for _ in range(windows):
        without = dataclasses.replace(state, perturbation=jax.tree.map(jnp.zeros_like, state.perturbation))
        estimates, after, scores = run(state)
        persistent = persistent + vectors(estimates)
        forgetful = forgetful + vectors(run(without)[0])
        assert not scores["failed"].any()
        state = after
    data_key = jax.random.split(jax.random.key(11))[1]

    def whole(genome: ng.Genome, key: jax.Array) -> jax.Array:
        *parts, _ = windows_of(judged, genome, key, windows)
        return sum(value for value, _ in parts)

    keys = jax.vmap(lambda n: jax.random.fold_in(data_key, n))(jnp.arange(pairs))
    exact = jax.jit(jax.vmap(jax.grad(whole), (None, 0)))(member(genome, 0), keys)
    return persistent, forgetful, vectors(exact)


def mean_square_z(errors: np.ndarray) -> float:
    """Mean over entries of (mean error / its standard error)^2: about 1 if there is no bias."""
    spread = errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
    moving = spread > 1e-12
    return float(np.mean((errors.mean(axis=0)[moving] / spread[moving]) ** 2))


@pytest.mark.thorough
@pytest.mark.parametrize("loss", ["final", "truncations"])
def test_pes_is_unbiased_and_without_its_memory_it_is_not(loss: str, x64):
    """Over 2,000 pairs in float64. About 30 entries: the mean of their z^2 is near 1, and above 2 with probability < 1e-3."""
    persistent, forgetful, exact = estimates_and_exact(loss, 2000)
    assert mean_square_z(persistent - exact) < 2
    assert mean_square_z(forgetful - exact) > 4


@pytest.mark.thorough
def test_pes_moves_along_its_estimate_and_counts_what_diverged(x64):
    judged = objective(loss="truncations")
    settings = PES(population=6, sigma=0.05, fields=effective_fields(RULE), learning_rate=0.02)
    start = settings.init(genomes(2), key=jax.random.key(1), objective=judged)
    whole, record = settings.advance(judged, start, 4)
    half, _ = settings.advance(judged, start, 2)
    parts, _ = settings.advance(judged, half, 2)
    jax.tree.map(np.testing.assert_array_equal, parts.genomes, whole.genomes)
    assert record["loss"].shape == (4, 2)
    assert np.isfinite(record["gradient_norm"]).all()
    np.testing.assert_array_equal(whole.genomes.oja_multiplier, start.genomes.oja_multiplier)  # has no effect: not searched
    windows = np.asarray(start.learning.window)[0, :, 0, 0]
    assert windows.tolist() == [0, 1, 2]  # pairs end in turn
    broken = dataclasses.replace(start.genomes, synapse_update=start.genomes.synapse_update.at[1].set(jnp.inf))
    after, _ = settings.advance(judged, dataclasses.replace(start, genomes=broken), 2)
    assert after.skipped.tolist() == [0, 12]
    np.testing.assert_array_equal(after.genomes.forward_transform[1], broken.forward_transform[1])
    assert np.asarray(after.learning.fresh)[1].all()
    assert not np.asarray(after.learning.fresh)[0].any()


def test_without_truncation_a_window_is_an_episode_of_so_many_steps(x64):
    judged, genome, key = objective(truncation=None), member(genomes(), 0), jax.random.key(5)
    run = jax.jit(Objective.window)
    loss, metrics, learning = run(judged, genome, judged.begin(genome), key, 2)
    own = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, 0), 0), 1)
    _, data_key, init_key, _ = jax.random.split(own, 4)
    problem = judged.problems[0]
    (xs, ys), query = problem.task.episode(jax.random.fold_in(data_key, 0), 6, 4, 8)
    synapses, _ = problem.network.unroll(genome, problem.network.init(genome, key=init_key), xs[:2], ys[:2])
    expected = query_loss(problem.network.predict(genome, synapses, query.x), query.y)
    np.testing.assert_allclose(loss, expected, rtol=1e-10)
    assert metrics["counted"]
    assert judged.begins(learning, 2).all()


def test_what_makes_no_sense_is_named():
    with pytest.raises(ng.GenomeError, match="truncation: got 4; expected a divisor of steps: 6"):
        objective(truncation=4)
    with pytest.raises(ng.GenomeError, match="judged_at: says which queries count; expected no truncation and loss: final"):
        objective(truncation=None, loss="steps", judged_at=(1,))
    with pytest.raises(ng.GenomeError, match="loss: got 'last'; allowed: final, truncations, steps"):
        objective(loss="last")
    with pytest.raises(ng.GenomeError, match=r"population: 5, sigma: 0\.05; expected an even population"):
        PES(population=5)
    with pytest.raises(ng.GenomeError, match="synapse_updat: no array of a genome"):
        PES(fields=("synapse_updat",))
