"""Ordinary networks against hand-written ones, the backprop genome and NumPy loops; the choice of learning rates."""

from __future__ import annotations

import dataclasses
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import rest_is_thorough

import neurograph as ng
from neurograph.learning import baselines, tuning
from neurograph.learning.baselines import (
    Setting,
    baseline_curves,
    init_parameters,
    learning_rates,
    ordinary_network,
    predict,
    train_step,
)
from neurograph.learning.inner_loop import Problem, learning_curve
from neurograph.learning.trial import Trial
from neurograph.learning.tuning import choose_learning_rates, tuned_baselines


def layered(*sizes: int, **fields) -> ng.Topology:
    start = np.concatenate([[0], np.cumsum(sizes)])
    ends = [np.meshgrid(np.arange(start[i], start[i + 1]), np.arange(start[i + 1], start[i + 2])) for i in range(len(sizes) - 1)]
    senders, receivers = (np.concatenate([e[side].ravel() for e in ends]) for side in (0, 1))
    n = int(start[-1])
    names = tuple(f"n{i}" for i in range(n))
    return ng.Topology(names, senders, receivers, np.arange(sizes[0]), np.arange(n - sizes[-1], n), **fields)


def everything(outputs: int) -> ng.Topology:
    """A random acyclic graph with skips, shared and fixed synapses, and biases that are own, shared or missing."""
    rng = np.random.default_rng(outputs)
    inputs, hidden, depth = 3, 8, 2
    n, first_out = inputs + hidden + outputs, inputs + hidden
    level = np.concatenate([np.zeros(inputs), 1 + np.arange(hidden) % depth, np.full(outputs, depth + 1)])
    senders, receivers = np.nonzero(level[:, None] < level)
    kept = (rng.random(len(senders)) < 0.6) | (senders == 0)
    senders, receivers = senders[kept], receivers[kept]
    sort = rng.integers(3, size=len(senders))
    bias = (np.arange(n) >= inputs) & (rng.random(n) < 0.7)
    return ng.Topology(
        tuple(f"n{i}" for i in range(n)),
        senders,
        receivers,
        np.arange(inputs),
        np.arange(first_out, n),
        bias=bias,
        fixed=sort == 1,
        weight=np.where(sort == 1, rng.normal(size=len(senders)), np.nan),
        group=np.where(sort == 2, rng.integers(4, size=len(senders)), -1),
        bias_group=np.where(bias & (rng.random(n) < 0.5), rng.integers(2, size=n), -1),
    )


def random_batch(topology: ng.Topology, rows: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    outputs = len(topology.outputs)
    labels = rng.integers(max(outputs, 2), size=rows)
    y = 2.0 * (labels[:, None] == np.arange(outputs)) - 1 if outputs > 1 else 2.0 * labels[:, None] - 1
    return rng.normal(size=(rows, len(topology.inputs))), y


def random_synapses(topology: ng.Topology, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(topology.num_synapses, 2)), rng.normal(size=(topology.num_neurons, 2))


def descended(topology: ng.Topology, activation: str, rate: float, kernel: str = "auto") -> dict:
    """Synapses after one SGD step, in topology order, from `random_synapses`."""
    network = ordinary_network(topology, kernel)
    forward, bias = random_synapses(topology)
    parameters = dataclasses.replace(
        init_parameters(network, Setting("sgd", activation), key=jax.random.key(0)),
        weights=network.pack(forward, bias=bias).forward,
    )
    optimizer = optax.sgd(rate)

    @jax.jit
    def step(parameters, x, y):
        return train_step(network, optimizer, activation, parameters, optimizer.init(parameters), x, y)[0]

    after = step(parameters, *random_batch(topology))
    return network.unpack(ng.Synapses(after.weights))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("activation", "outputs"), [("relu", 3), ("tanh", 1)])
def test_one_step_of_sgd_is_one_step_of_the_backprop_genome(activation, outputs):
    """Skips, shared and fixed synapses, shared and missing biases among them."""
    topology = everything(outputs)
    one = len(topology.outputs) == 1
    rate = 0.05
    loss = "mse" if one else "softmax_cross_entropy"
    # 1/2 sum (h - y)^2 there, mean (h - y)^2 here: twice the slope.
    genome, rule = ng.backprop_genome(2 * rate if one else rate, activation=activation, loss=loss)
    network = ng.Network(topology, rule.replace(batch_reduction="mean"))
    forward, bias = random_synapses(topology)
    x, y = random_batch(topology)
    after, _ = network.step(genome, network.pack(forward, bias=bias), x, y)
    expected, found = network.unpack(after), descended(topology, activation, rate)
    for name in ("forward", "bias"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_one_step_of_sgd_is_jax_grad_of_a_dense_mlp(activation, kernel):
    topology = layered(5, 7, 6, 3)
    forward, bias = random_synapses(topology)
    start = [0, 5, 12, 18, 21]

    def matrices(edges):
        tables = []
        for a, b, c in zip(start, start[1:], start[2:]):
            table = np.zeros((b - a, c - b))
            for e, (i, j) in enumerate(zip(topology.senders, topology.receivers)):
                if a <= i < b:
                    table[i - a, j - b] = edges[e, 0]
            tables.append(table)
        return tables

    def loss(weights, x, y):
        h = x
        for number, (matrix, b) in enumerate(weights):
            h = h @ matrix + b
            if number < 2:
                h = jnp.tanh(h) if activation == "tanh" else jnp.maximum(h, 0)
        shifted = jax.nn.log_softmax(h)
        return -jnp.mean(jnp.sum(shifted * (y > 0), axis=1))

    biases = [bias[b:c, 0] for b, c in pairwise(start[1:])]
    weights = list(zip(matrices(forward), biases))
    slopes = jax.grad(loss)(weights, *random_batch(topology))
    found = descended(topology, activation, 0.3, kernel)
    for (matrix, b), (dm, db), new, first, last in zip(weights, slopes, matrices(found["forward"]), start[1:], start[2:]):
        np.testing.assert_allclose(new, matrix - 0.3 * dm, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found["bias"][first:last, 0], b - 0.3 * db, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("schedule", ["synchronous", "mixed"])
def test_cycles_are_ticked_from_zero(schedule, kernel):
    topology = ng.Topology(
        names=tuple("abcdef"),
        senders=[0, 1, 2, 3, 3, 2, 4],
        receivers=[2, 3, 3, 2, 4, 2, 5],
        inputs=[0, 1],
        outputs=[5],
        bias=[False, False, True, False, True, True],
        schedule=schedule,
        ticks=4,
    )
    forward, bias = random_synapses(topology)
    x, _ = random_batch(topology)
    network = ordinary_network(topology, kernel)
    parameters = init_parameters(network, Setting("sgd", "tanh"), key=jax.random.key(0))
    parameters = dataclasses.replace(parameters, weights=network.pack(forward, bias=bias).forward)
    table = np.zeros((6, 6))
    table[topology.receivers, topology.senders] = forward[:, 0]
    drive = np.where(topology.bias, bias[:, 0], 0)

    def settle(members, states, ticks):
        for _ in range(ticks):
            z = states @ table.T + drive
            states = states.copy()
            states[:, members] = np.where(np.array(members) == 5, z[:, members], np.tanh(z[:, members]))
        return states

    states = np.concatenate([x, np.zeros((len(x), 4))], axis=1)
    if schedule == "synchronous":
        states = settle([2, 3, 4, 5], states, 4)
    else:  # c and d are one cycle; e and f follow it
        states = settle([5], settle([4], settle([2, 3], states, 4), 1), 1)
    found = predict(network, parameters, jnp.asarray(x), "tanh")
    np.testing.assert_allclose(found, states[:, 5:], rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_batch_norm_normalises_hidden_neurons_only():
    topology = layered(3, 8, 2)
    network = ordinary_network(topology)
    parameters = jax.jit(partial(init_parameters, network, Setting("sgd", "relu", True)))(key=jax.random.key(4))
    rng = np.random.default_rng(0)
    scale, shift = rng.normal(size=8), rng.normal(size=8)
    fill = lambda old, new: tuple(None if a is None else jnp.asarray(new)[None, :, None] for a in old)  # noqa: E731
    parameters = dataclasses.replace(parameters, scale=fill(parameters.scale, scale), shift=fill(parameters.shift, shift))
    edges = network.unpack(ng.Synapses(parameters.weights))["forward"][:, 0]
    table = np.zeros((13, 13))
    table[topology.receivers, topology.senders] = edges
    x, _ = random_batch(topology, 20)
    z = x @ table[3:11, :3].T
    z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) * scale + shift
    expected = np.maximum(z, 0) @ table[11:, 3:11].T
    np.testing.assert_allclose(predict(network, parameters, jnp.asarray(x), "relu"), expected, rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_the_derivative_of_batch_norm_is_that_of_its_formula():
    def plain(z):
        centred = z - z.mean(axis=2, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(axis=2, keepdims=True) + 1e-5)

    rng = np.random.default_rng(0)
    scale = np.array([1.0, 1e-3, 0.0])[:, None]  # of the last, eps alone is under the root
    z, weight = jnp.asarray(rng.normal(size=(1, 3, 7)) * scale), rng.normal(size=(1, 3, 7))
    np.testing.assert_allclose(baselines._unit(z), plain(z), rtol=1e-12)
    found, wanted = (jax.grad(lambda z, f=f: (jnp.sin(f(z)) * weight).sum())(z) for f in (baselines._unit, plain))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert float(jnp.abs(wanted).max()) > 1


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("tanh", 1.0)])
def test_initial_weights_are_scaled_by_fan_in(activation, gain):
    topology = layered(50, 200, 40)
    network = ordinary_network(topology)
    parameters = init_parameters(network, Setting("sgd", activation), key=jax.random.key(0))
    arrays = network.unpack(ng.Synapses(parameters.weights))
    edges, hidden = np.asarray(arrays["forward"][:, 0]), topology.receivers < 250
    assert edges[hidden].var() == pytest.approx(gain / 50, rel=0.05)
    assert edges[~hidden].var() == pytest.approx(1 / 200, rel=0.05)
    assert not np.asarray(arrays["bias"]).any()


def given_weights(topology: ng.Topology) -> ng.Topology:
    """Every synapse starts at a given value and there are no biases: what a key draws does not matter."""
    weight = np.random.default_rng(3).normal(size=topology.num_synapses) / 2
    return topology.replace(weight=weight, bias=np.zeros(topology.num_neurons, bool))


def test_a_key_gives_the_batches_that_it_gives_a_genome():
    """From equal synapses SGD and the backprop genome then have equal learning curves."""
    topology = given_weights(layered(64, 12, 10))
    task = ng.get_task("digits")
    genome, rule = ng.backprop_genome(0.2, activation="tanh", loss="softmax_cross_entropy")
    rule = rule.replace(batch_reduction="mean")
    keys = jax.random.split(jax.random.key(5), 2)
    options = {"at": (0, 3), "batch_size": 16, "query_size": 64}
    problem = Problem(ordinary_network(topology), task)
    curves = baseline_curves(problem, Setting("sgd", "tanh"), [0.05, 0.2], keys=keys, judged_on="test", **options)
    assert curves.loss.shape == (2, 2, 2)
    for number, key in enumerate(keys):
        expected = learning_curve(Problem(ng.Network(topology, rule), task), genome, key=key, **options)
        np.testing.assert_allclose(curves.loss[1, number], expected["loss"], rtol=1e-4)
        np.testing.assert_allclose(curves.accuracy[1, number], expected["accuracy"], atol=0.02)
    assert np.abs(curves.loss[0] - curves.loss[1])[:, 1:].min() > 1e-3


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_shared_program_runs_each_optimizer(optimizer):
    topology = given_weights(layered(2, 4, 2))
    task, key = ng.get_task("xor"), jax.random.key(2)
    network = ordinary_network(topology)
    curves = baseline_curves(
        Problem(network, task), Setting(optimizer, "tanh"), [0.1], keys=key[None], at=(3,), batch_size=8, query_size=32
    )
    plain = {"sgd": optax.sgd(0.1), "momentum": optax.sgd(0.1, momentum=0.9), "adam": optax.adam(0.1)}[optimizer]
    data_key, init_key, _ = jax.random.split(key, 3)
    episode = task.episode(data_key, 3, 8, 32, "train", "validation")
    parameters = init_parameters(network, Setting(optimizer, "tanh"), key=init_key)
    memory = plain.init(parameters)
    step = jax.jit(partial(train_step, network, plain, "tanh"))
    for x, y in zip(*episode.support):
        parameters, memory = step(parameters, memory, x, y)
    outputs = predict(network, parameters, episode.query.x, "tanh")
    expected = optax.softmax_cross_entropy(outputs, (episode.query.y + 1) / 2).mean()
    np.testing.assert_allclose(curves.loss[0, 0, 0], expected, rtol=1e-5)


def small_problem(outputs: int = 2) -> Problem:
    return Problem(ordinary_network(layered(2, 6, outputs)), ng.get_task("xor").with_outputs(outputs))


def test_learning_rates_span_the_decades():
    rates = learning_rates(1e-3, 10)
    assert len(rates) == 9
    assert (rates[0], rates[2], rates[-1]) == (1e-3, 1e-2, 10.0)
    with pytest.raises(ng.ExperimentError, match="0 < low < high"):
        learning_rates(1, 0.1)


def test_a_best_rate_at_the_edge_extends_the_grid():
    trial, options = Trial((0, 8), 32, 128, validation_seeds=2), {"key": jax.random.key(0)}
    problem = Problem(ordinary_network(layered(64, 8, 10)), ng.get_task("digits"))
    setting = Setting("sgd", "tanh")
    stuck = choose_learning_rates(problem, trial, [setting], [1e-4, 1e-3], extensions=0, **options)
    assert [one.at_edge for one in stuck.chosen] == [False, True]
    assert (stuck.configurations, stuck.runs) == (2, 4)
    free = choose_learning_rates(problem, trial, [setting], [1e-4, 1e-3], extensions=2, **options)
    assert free.configurations > 2
    assert free.chosen[1].learning_rate > 1e-3
    assert free.chosen[1].accuracy > stuck.chosen[1].accuracy
    assert free.chosen[1].loss < stuck.chosen[1].loss


def test_failures_are_counted_and_never_chosen():
    choice = choose_learning_rates(
        small_problem(outputs=1),
        Trial((5,), 16, 64, validation_seeds=3),
        [Setting("sgd", "relu")],
        [0.1, 1e30],
        key=jax.random.key(0),
        extensions=0,
    )
    assert choice.failures == 3
    assert choice.chosen[0].learning_rate == pytest.approx(0.1)
    assert choice.chosen[0].failures == 0


def test_tuning_tests_once_per_setting_step_and_seed():
    choices = [Setting("sgd", "tanh"), Setting("adam", "tanh", True)]
    tuned = tuned_baselines(
        Problem(ordinary_network(layered(2, 6, 2)), ng.get_task("xor")),
        Trial((1, 6), 16, 128, seeds=3),
        settings=choices,
        rates=[0.01, 0.1, 1.0],
    )
    assert len(tuned.rows) == 2 * 2 * 3
    assert {one.step for one in tuned.choice.chosen if one.best} == {1, 6}
    assert sum(one.best for one in tuned.choice.chosen) == 2
    for one in tuned.choice.chosen:
        rows = [r for r in tuned.rows if (r["optimizer"], r["step"]) == (one.setting.optimizer, one.step)]
        assert {r["learning_rate"] for r in rows} == {one.learning_rate}
        assert sorted(r["seed"] for r in rows) == [0, 1, 2]


def test_a_rate_ends_where_it_is_told_to():
    run = partial(baseline_curves, small_problem(), Setting("adam"), [0.1, 1e30, 0.3], at=(0, 2, 4), batch_size=8, query_size=32)
    keys = jax.random.split(jax.random.key(0), 2)
    whole, some = run(keys=keys), run(keys=keys, until=[2, 2, 4])
    for name in ("loss", "accuracy"):
        full, part = getattr(whole, name), getattr(some, name)
        np.testing.assert_array_equal(part[:, :, :2], full[:, :, :2])
        np.testing.assert_array_equal(part[2], full[2])
        assert np.isnan(part[:2, :, 2]).all()
    assert whole.reached.all()
    np.testing.assert_array_equal(some.reached[:, 0, 2], [False, False, True])
    assert some.failed[1, :, 1].all()
    assert not some.failed[:, :, 2].any()


def test_halving_gives_the_best_of_the_rates_that_went_on():
    """Against a grid that is run whole and halved by hand: at step 1 all 9 rates, at 4 the better 5, at 9 the better 3."""
    problem, setting = Problem(ordinary_network(layered(2, 6, 2)), ng.get_task("xor")), Setting("sgd", "relu")
    rates = [float(rate) for rate in np.geomspace(1e-3, 30, 8)] + [1e30]
    trial, key = Trial((0, 1, 4, 9), 16, 64, validation_seeds=2), jax.random.key(3)
    grid = baseline_curves(problem, setting, rates, keys=jax.random.split(key, 2), at=trial.at, batch_size=16, query_size=64)
    hits = np.where(grid.failed, 0, grid.accuracy).mean(axis=1)
    loss = np.where(grid.failed, np.inf, grid.loss).mean(axis=1)
    going, wanted = list(range(9)), {0: rates[4]}
    for index, keep in ((1, 5), (2, 3), (3, 1)):
        order = sorted(going, key=lambda rate: (-hits[rate, index], loss[rate, index]))
        wanted[trial.at[index]], going = rates[order[0]], order[:keep]
    ran = []

    def counted(problem, setting, rates, *, until, **options):
        ran.append(dict(zip(rates, until, strict=True)))
        return baseline_curves(problem, setting, rates, until=until, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "baseline_curves", counted)
        halved = dataclasses.replace(trial, search="halving")
        choice = choose_learning_rates(problem, halved, [setting], rates, key=key, extensions=0)
    assert {one.step: one.learning_rate for one in choice.chosen} == {k: pytest.approx(v, rel=1e-5) for k, v in wanted.items()}
    assert [(len(each), {*each.values()}) for each in ran] == [(9, {1}), (5, {4}), (3, {9})]
    assert (choice.configurations, choice.failures) == (9, 2)
    assert dataclasses.replace(trial, search="grid") == trial
    with pytest.raises(ng.ExperimentError, match="search: got 'random'; allowed: grid, halving"):
        dataclasses.replace(trial, search="random")


def test_misuse_names_what_is_allowed():
    with pytest.raises(ng.ExperimentError, match="optimizer of a baseline: got 'rmsprop'; allowed: sgd, momentum, adam"):
        Setting("rmsprop")
    with pytest.raises(ng.ExperimentError, match="allowed: relu, tanh"):
        Setting("sgd", "gelu")
    options = {"keys": jax.random.key(0)[None], "batch_size": 4}
    with pytest.raises(ng.ExperimentError, match="numbers > 0"):
        baseline_curves(small_problem(), Setting(), [0.0], at=(1,), **options)
    with pytest.raises(ng.ExperimentError, match="step counts >= 0"):
        baseline_curves(small_problem(), Setting(), [0.1], at=(-1,), **options)
    for until in ([1], [1, 3]):
        with pytest.raises(ng.ExperimentError, match=r"until: got \[1.*one of the step counts \[1, 2\] for each of 2 rates"):
            baseline_curves(small_problem(), Setting(), [0.1, 1.0], at=(1, 2), until=until, **options)


@pytest.mark.thorough
@pytest.mark.parametrize("batch_norm", rest_is_thorough([False, True], False))
def test_irregular_graphs_with_scanned_levels_and_masked_blocks_give_the_reference_gradient(batch_norm: bool):
    """Scanned levels must take part, and the zeros of masked blocks must not learn."""
    topology = ng.load_topology(Path(__file__).parents[2] / "topologies" / "irregular_dag.yaml")
    x = jax.random.normal(jax.random.key(0), (8, 64))
    found = {}
    for kernel in ("auto", "levels", "reference"):
        network = ordinary_network(topology, kernel)
        setting = Setting("sgd", "tanh", batch_norm)
        parameters = init_parameters(network, setting, key=jax.random.key(1))
        run = jax.jit(jax.value_and_grad(lambda p, n=network: jnp.sum(predict(n, p, x, "tanh") ** 2)))
        loss, gradient = run(parameters)
        found[kernel] = loss, sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient))
        assert any(phase.scanned for phase in network.plan.phases) == (kernel != "reference")
    for kernel in ("auto", "levels"):
        np.testing.assert_allclose(found[kernel], found["reference"], rtol=1e-4)
