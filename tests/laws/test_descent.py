"""Laws: gradient descent is one genome, names do not matter, ticks settle to levels, meta-gradients are derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import KERNELS, rest_is_thorough
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

import neurograph as ng
from neurograph.genome import effective_fields
from neurograph.testing import (
    assert_fixed_point_gradient,
    assert_gradient_descent,
    assert_permutation_invariant,
    random_genome,
    rules,
)
from neurograph.testing.comparing import relative, relative_norm, steps
from neurograph.testing.descent import Descent
from neurograph.testing.graphs import random_synapses, random_topology, settling_ticks


def few(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


# ---- Eqs. 1-4: the backprop genome is gradient descent

ACTIVATIONS = ("tanh", "sigmoid", "identity", "relu", "swish", "gelu")
RATE = 0.05
SCALE, SHIFT, LENGTH = 1.3, 0.2, 0.8


def descended(plain: Descent, arrays: dict, xs, ys) -> tuple[np.ndarray, np.ndarray]:
    """Plain SGD by optax: the first update, and the sum of all of them."""
    optimizer = optax.sgd(RATE)
    parameters = start = plain.free({name: value[:, :1] for name, value in arrays.items()})  # one number for both states
    state, gradient, first = optimizer.init(parameters), jax.jit(jax.grad(plain.acyclic_loss)), None
    for x, y in zip(xs, ys):
        updates, state = optimizer.update(gradient(parameters, x, y), state)
        parameters = optax.apply_updates(parameters, updates)
        first = first or updates
    first, last, start = (vector(plain, plain.whole(free)) for free in (first, parameters, start))
    return first, last - start


def vector(plain: Descent, arrays: dict, *step: int) -> np.ndarray:
    """The number of every synapse and bias that learns, members of a group repeated."""
    return np.concatenate([np.asarray(arrays[name])[(*step, ...)][plain.heads[name] >= 0, 0] for name in ("forward", "bias")])


DESCENTS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "activation": st.sampled_from(["tanh", "sigmoid", *ACTIVATIONS]),
        "output_activation": st.sampled_from(["tanh", "sigmoid", *ACTIVATIONS]),
        "loss": st.sampled_from(["mse", "softmax_cross_entropy"]),
        "shared": st.booleans(),
        "fixed": st.booleans(),
    }
)
# By batch and weight normalization.
NORMALIZED = st.tuples(st.sampled_from(["none", "hidden", "all"]), st.booleans()).filter(lambda n: n != ("none", False))


def check_descent(case: dict, kernel: str, dtype: str, one_step: float, ten_steps: float) -> None:
    loss, names = case["loss"], {name: case[name] for name in ("activation", "output_activation")}
    rng = np.random.default_rng(case["seed"])
    topology = random_topology(case["seed"], min_outputs=2 if loss != "mse" else 1, shared=case["shared"], fixed=case["fixed"])
    arrays = random_synapses(topology, 2, case["seed"], single=True)
    outputs = len(topology.outputs)
    xs = rng.normal(size=(10, 4, len(topology.inputs))).astype(dtype)
    if loss == "mse":
        ys = rng.normal(size=(10, 4, outputs)).astype(dtype)
    else:
        ys = (2 * np.eye(outputs)[rng.integers(outputs, size=(10, 4))] - 1).astype(dtype)
    arrays = {name: arrays[name].astype(dtype) for name in ("forward", "bias")}
    normalized, weights = case.get("normalized", ("none", False))
    genome, rule = ng.backprop_genome(
        RATE, loss=loss, dtype=dtype, normalization="none" if normalized == "none" else "batch", **names
    )
    late = normalized != "none" and not weights and case["seed"] % 2 == 1
    rule = rule.replace(normalize_outputs=normalized == "all", bias_after_normalization=late)
    if weights:
        rule = rule.replace(synapse_normalization="in_pass", rescale=True, synapse_derivative=True)
    moments = {"forward_scale": jnp.full(2, SCALE, dtype), "forward_shift": jnp.full(2, SHIFT, dtype)}
    genome = genome.replace(rescale=jnp.asarray(LENGTH, dtype), **moments)
    plain = Descent(topology, rule, genome, loss)
    first, total = descended(plain, arrays, xs, ys)
    network = ng.Network(topology, rule, kernel=kernel)
    # With nothing kept, the new synapses ARE the update: no digits are lost in new minus old ones.
    ours = jax.device_get(steps(network, genome.replace(synapse_keep=jnp.zeros((), dtype)), arrays, xs, ys))
    assert ours["forward"].dtype == dtype
    if dtype == "float32":  # the gradient itself is rounded, and where terms nearly cancel, by more than one_step
        with jax.enable_x64(True):
            exact, _ = descended(plain, *jax.tree.map(lambda a: a.astype("float64"), (arrays, xs, ys)))
        one_step += 4 * relative_norm(first, exact)
    if normalized != "none" or weights:
        # A neuron that hardly varies over the batch is blown up, and with it the rounding of its inflow. Feedback that
        # normalization makes orthogonal to the senders leaves rounding alone: the terms of its sums say how much.
        near, _ = descended(plain, arrays, xs * (1 + 1e-15 * rng.choice([-1, 1], xs.shape)), ys)
        states = np.abs(ours["states.backward"][0])
        terms = RATE * np.linalg.norm(np.sum(states[:, topology.senders, 0] * states[:, topology.receivers, 1], axis=0))
        one_step = one_step * max(1, terms / max(np.linalg.norm(first), 1e-30)) + 20 * relative_norm(near, first)
    assert relative_norm(vector(plain, ours, 0), first) < one_step
    assert (ours["forward"][0][topology.fixed] == topology.weight[topology.fixed, None].astype(dtype)).all()
    if np.isfinite(ten_steps):
        ours = jax.device_get(steps(network, genome, arrays, xs, ys))
        change = vector(plain, ours, -1)
        if not np.isfinite(total).all():  # at this rate descent leaves the numbers, and so must we
            assert not np.isfinite(change).all()
            return
        assert relative_norm(change - vector(plain, arrays), total) < ten_steps


DIVERGES = {"activation": "identity", "output_activation": "identity", "loss": "mse", "shared": False, "fixed": False}


# Ten steps: rounding of 1e-16 grows along a trajectory by a factor that has no bound (two trajectories that start next to each
# other part, here as for any two ways to sum). Over 120 graphs drawn like these the differences were: one step at most 1.3e-15
# (float32: 4.0e-7), ten steps 2.5e-16 in the median and at most 1.7e-13. 1e-8 leaves room for a much worse graph and is still far
# below what a wrong term would give.
@pytest.mark.parametrize("name", rest_is_thorough(KERNELS, "native", slow=("gather", "levels")))
@few(3)
@given(case=DESCENTS)
@example(case={"seed": 6401876, **DIVERGES})
def test_the_backprop_genome_is_gradient_descent(name, case):
    with jax.enable_x64(True):
        check_descent(case, name, "float64", 1e-12, 1e-8)


NEARLY_CANCELS = {"activation": "relu", "output_activation": "swish", "loss": "mse", "shared": False, "fixed": False}


@pytest.mark.thorough
@few(3)
@given(case=DESCENTS)
@example(case={"seed": 354597, **NEARLY_CANCELS})
def test_the_backprop_genome_is_gradient_descent_in_float32(kernel, case):
    check_descent(case, kernel, "float32", 2e-6, np.inf)


# The derivatives of batch and of weight normalization, hidden neurons alone or outputs as well.
@pytest.mark.parametrize("name", rest_is_thorough(KERNELS, "native", slow=("gather", "levels")))
@few(3)
@given(case=DESCENTS, normalized=NORMALIZED)
def test_it_is_gradient_descent_through_normalization(name, case, normalized):
    with jax.enable_x64(True):
        check_descent(case | {"normalized": normalized}, name, "float64", 1e-10, np.inf)


@pytest.mark.slow
@few(100)
@given(case=DESCENTS, normalized=NORMALIZED, name=st.sampled_from(KERNELS))
def test_descent_through_normalization_many(name, case, normalized):
    with jax.enable_x64(True):
        check_descent(case | {"normalized": normalized}, name, "float64", 1e-10, np.inf)


@pytest.mark.slow
@few(100)
@given(case=DESCENTS, name=st.sampled_from(KERNELS))
def test_gradient_descent_many(name, case):
    check_descent(case, name, "float32", 2e-6, np.inf)
    with jax.enable_x64(True):
        check_descent(case, name, "float64", 1e-12, 1e-8)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("cyclic", rest_is_thorough([False, True], False), ids=["levels", "mixed"])
@pytest.mark.parametrize("outputs", [False, True], ids=["hidden", "all"])
def test_biases_after_normalization_learn_by_descent(cyclic, outputs, kernel):
    """They are the learned shift of batch normalization; before it they have no effect and no gradient."""
    ticked = {"cyclic": True, "schedule": "mixed", "ticks": 300} if cyclic else {}
    topology = random_topology(3, fixed=True, shared=True, min_outputs=2, **ticked)
    genome, rule = ng.backprop_genome(RATE, loss="softmax_cross_entropy", normalization="batch")
    rule = rule.replace(normalize_outputs=outputs)
    late = rule.replace(bias_after_normalization=True)
    assert_gradient_descent(topology, late, genome, kernel=kernel)
    arrays = random_synapses(topology, 2, 0, single=True) | {"backward": None}
    x, y = np.random.default_rng(0).normal(size=(1, 9, len(topology.inputs))), np.ones((1, 9, len(topology.outputs)))
    change = {}
    for name, one in (("before", rule), ("after", late)):
        found = steps(ng.Network(topology, one, kernel=kernel), genome, arrays, x, y)["bias"][-1] - arrays["bias"]
        change[name] = np.abs(found[topology.bias & ~np.isin(np.arange(topology.num_neurons), topology.outputs)]).max()
    assert change["before"] < 1e-12
    assert change["after"] > 1e-4


# ---- cycles: the gradient at the fixed point (Almeida 1987, Pineda 1987)


@pytest.mark.parametrize("name", rest_is_thorough(KERNELS, "reference", slow=("gather", "levels")))
@few(3)
@given(
    seed=st.integers(0, 2**32 - 1),
    activation=st.sampled_from(["tanh", "sigmoid", "swish"]),
    loss=st.sampled_from(["mse", "softmax_cross_entropy"]),
    schedule=st.sampled_from(["mixed", "synchronous"]),
    damping=st.sampled_from([0.0, 0.5]),
)
def test_it_is_the_gradient_at_the_fixed_point_of_a_cycle(name, seed, activation, loss, schedule, damping):
    t = random_topology(seed, cyclic=True, schedule=schedule, min_outputs=2).replace(damping=damping)
    assert_fixed_point_gradient(t, activation=activation, loss=loss, kernel=name, seed=seed)


# ---- names do not matter


@pytest.mark.thorough
@few(3)
@given(seed=st.integers(0, 2**32 - 1), cyclic=st.booleans(), data=st.data())
def test_relabelling_permutes_the_result_and_nothing_else(kernel, seed, cyclic, data):
    kind = {"cyclic": True, "schedule": "mixed", "ticks": 2, "max_hidden": 2} if cyclic else {}
    t = random_topology(seed, fixed=True, shared=True, projecting=cyclic, **kind)
    assert_permutation_invariant(t, data.draw(rules(len(t.outputs), stored=False)), kernel=kernel, seed=seed)


# ---- ticks settle to levels


@pytest.mark.thorough
@few(3)
@given(seed=st.integers(0, 2**32 - 1), extra=st.integers(0, 2), data=st.data())
def test_synchronous_ticks_equal_levels_once_settled(kernel, x64, seed, extra, data):
    levels = random_topology(seed, fixed=True, shared=True)
    ticked = levels.with_schedule("synchronous", settling_ticks(levels) + extra)
    rule = data.draw(rules(len(levels.outputs), stored=False))
    options = {"normalization": "none", "normalize_outputs": False, "backward_update": "additive", "reset_states": True}
    options |= {"bias_after_normalization": False}
    options |= {"backward_normalization": "auto", "learned_damping": False}  # damped ticks only come near
    options |= {"cycle_fading": False}  # ticks of a whole graph are one phase, in which all feedback fades
    options |= {"self_gating": False}  # gates would see the states of the tick before
    rule = rule.replace(**options)
    genome = random_genome(rule.states, seed).replace(neuron_keep=0.0)
    rng = np.random.default_rng(seed)
    arrays = random_synapses(levels, rule.states, seed, single=rule.single_state_synapses)
    arrays |= {"backward": None if rule.symmetric else arrays["backward"]}
    xs, ys = rng.normal(size=(2, 3, len(levels.inputs))), rng.choice([-1.0, 1.0], (2, 3, len(levels.outputs)))
    ours, theirs = (steps(ng.Network(t, rule, kernel=kernel), genome, arrays, xs, ys) for t in (ticked, levels))
    for name in theirs:
        assert relative(ours[name], theirs[name]) < 1e-9, name


def test_too_few_ticks_do_not_equal_levels(kernel, x64):
    """The condition of the law above is needed: one tick less, and the end of the longest path has not heard of the input."""
    chain = ng.Topology(("x", "a", "b", "y"), [0, 1, 2], [1, 2, 3], [0], [3])
    genome, rule = ng.backprop_genome()
    arrays = random_synapses(chain, 2, 0, single=True) | {"backward": None}
    x, y = np.ones((1, 1, 1)), np.ones((1, 1, 1))
    runs = [
        steps(ng.Network(t, rule, kernel=kernel), genome.replace(neuron_keep=0.0), arrays, x, y)["outputs"]
        for t in (chain, chain.with_schedule("synchronous", 3), chain.with_schedule("synchronous", 2))
    ]
    assert relative(runs[1], runs[0]) < 1e-12
    assert relative(runs[2], runs[0]) > 1e-3


# ---- meta-gradients

SMOOTH = ng.Rule(
    forward_activation="tanh",
    backward_activation="tanh",
    output_activation="identity",
    symmetric=False,
    normalization="batch",
    oja="weights",
    synapse_normalization="in_pass",
    rescale=True,
    saturation="tanh",
    forward_synapse_update=True,
)


def feed_forward() -> ng.Topology:
    """Large enough for a dense block, with a skip."""
    dense = [(i, 4 + j) for i in range(4) for j in range(8)]
    return ng.Topology(tuple(map(str, range(14))), *np.array([*dense, (4, 12), (5, 12), (9, 13), (0, 13)]).T, range(4), [12, 13])


def cyclic() -> ng.Topology:
    edges = [(0, 2), (1, 2), (0, 3), (1, 3), (2, 4), (3, 4), (2, 5), (1, 5), (3, 3), (3, 2), (2, 3)]
    return ng.Topology(tuple("abcdef"), *np.array(edges).T, [0, 1], [4, 5], schedule="mixed", ticks=2)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("topology", "others"),
    [
        pytest.param(feed_forward(), [("blocks", False), ("gather", True), ("reference", False)], id="levels"),
        pytest.param(cyclic(), [("levels", True)], marks=pytest.mark.slow, id="mixed"),
    ],
)
def test_meta_gradients_are_derivatives(topology, others, x64):
    rng = np.random.default_rng(0)
    arrays = random_synapses(topology, 2, 0)
    xs, ys = rng.normal(size=(3, 5, len(topology.inputs))), rng.choice([-1.0, 1.0], (3, 5, 2))
    genome = random_genome(2, 0)

    def loss(genome, network, checkpoint):
        synapses, outputs = network.unroll(genome, network.pack(**arrays), xs[:2], ys[:2], checkpoint=checkpoint)
        logits = network.predict(genome, synapses, xs[2])
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, ys[2] > 0)) + jnp.mean(outputs**2)

    def gradient(kernel, checkpoint):
        network = ng.Network(topology, SMOOTH, kernel=kernel)
        return ravel_pytree(jax.jit(jax.grad(lambda genome: loss(genome, network, checkpoint)))(genome))[0]

    ours = gradient("blocks", True)
    for kernel, checkpoint in others:
        assert relative(gradient(kernel, checkpoint), ours) < 1e-10, (kernel, checkpoint)

    # Central differences of fourth order: normalisation over five samples is steep in places, hence so small a width.
    flat, back = ravel_pytree(genome)
    network, width = ng.Network(topology, SMOOTH, kernel="blocks"), 3e-5
    many = jax.jit(jax.vmap(lambda vector: loss(back(vector), network, True)))
    at = {move: many(flat + move * width * jnp.eye(len(flat))) for move in (-2, -1, 1, 2)}
    differences = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * width)
    assert relative(ours, differences) < 1e-8
    felt = back(differences != 0)
    used = set(effective_fields(SMOOTH)) - {"initial_deviation"}  # the synapses are given, so nothing is drawn
    assert {name for name, leaf in vars(felt).items() if jnp.any(leaf)} == used
