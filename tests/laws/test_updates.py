"""Laws: updates have a known size, traces are decaying sums, what is off has no effect, meta-gradients are derivatives."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import rest_is_thorough
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

import neurograph as ng
from neurograph.experiments.folder.checkpoint import load_checkpoint, save_checkpoint
from neurograph.network.state import SCALARS
from neurograph.testing import random_genome, rules
from neurograph.testing.comparing import relative, steps
from neurograph.testing.graphs import random_synapses, random_topology, small

pytestmark = pytest.mark.usefixtures("x64")

NAMES = ("forward", "backward", "bias")


def few(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


def graph(seed: int, cyclic: bool, **more) -> ng.Topology:
    kind = {"cyclic": True, "schedule": "mixed", "ticks": 2, "projecting": True} if cyclic else {}
    return random_topology(seed, max_hidden=2, **kind, **more)


def start(topology: ng.Topology, rule: ng.Rule, seed: int) -> dict:
    """Arguments of `pack`, with traces where the rule keeps them."""
    arrays = random_synapses(topology, rule.states, seed, single=rule.single_state_synapses)
    if rule.symmetric:
        arrays["backward"] = None
    if rule.synapse_trace:
        kept = random_synapses(topology, rule.states, seed + 1, single=rule.single_state_synapses)
        arrays["traces"] = {name: kept[name] for name in NAMES if arrays[name] is not None}
    return arrays


def data(topology: ng.Topology, seed: int, number: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(number, 3, len(topology.inputs)))
    return xs, rng.choice([-1.0, 1.0], (number, 3, len(topology.outputs)))


# ---- updates of known size


def lengths(t: ng.Topology, found: dict) -> dict[str, np.ndarray]:
    """[n, k] by direction: the length of the free numbers that arrive at a neuron, of updates by `pack`'s names."""
    square = {name: np.zeros((t.num_neurons, found["forward"].shape[-1])) for name in ("forward", "backward")}
    free = np.flatnonzero(~t.fixed)
    np.add.at(square["forward"], t.receivers[free], found["forward"][free] ** 2)
    np.add.at(square["backward"], t.senders[free], found["backward"][free] ** 2)
    square["forward"] += found["bias"] ** 2 * t.bias[:, None]
    return {name: np.sqrt(value) for name, value in square.items()}


@pytest.mark.thorough
@pytest.mark.parametrize("kernel", rest_is_thorough(["auto", "reference"], "auto"))
@few(2)
@given(seed=st.integers(0, 2**31 - 1), cyclic=st.booleans(), pick=st.data())
def test_the_update_of_every_neuron_is_as_long_as_the_error_says(kernel, seed, cyclic, pick):
    t = graph(seed, cyclic, fixed=True)
    rule = pick.draw(rules(len(t.outputs), stored=False))
    options = {"oja": "none", "oja_scale": 1.0, "saturation": "none", "saturation_eps": 0.0}
    options |= {"forward_synapse_update": False, "reset_states": True, "supervise_every": 1, "backward_synapses": "learned"}
    rule = rule.replace(**options)
    # With nothing kept, the new synapses are the update.
    genome = random_genome(rule.states, seed).replace(synapse_keep=0.0, update_power=1.0, error_power=1.0, depth_power=0.0)
    eta, arrays, (xs, ys) = abs(float(genome.synapse_update)), start(t, rule, seed), data(t, seed)

    def run(**changes) -> dict:
        return jax.device_get(steps(ng.Network(t, rule.replace(**changes), kernel=kernel), genome, arrays, xs, ys))

    found, plain = run(update_normalization="neuron"), run(update_normalization="none")
    fed = plain
    if rule.normalize_outputs and rule.backward_normalization == "derivative":  # e is taken before the derivative
        fed = run(update_normalization="none", backward_normalization="none")
    error = fed["states.feedback"][0][:, t.outputs, 1]
    if rule.feedback == "labels":
        error = plain["outputs"][0] - ys[0]
    e = np.sqrt(np.mean(error**2))
    products = lengths(t, {name: plain[name][0] / eta for name in NAMES})
    for direction, ours in lengths(t, {name: found[name][0] for name in NAMES}).items():
        if direction == "backward" and rule.symmetric:
            continue
        h = products[direction]
        np.testing.assert_allclose(ours, eta * e * h / (h + 1e-10), rtol=1e-9, atol=1e-14)
        assert (h > 1e-6).any()


@few(3)
@given(seed=st.integers(0, 2**31 - 1), scale=st.sampled_from([-2.0, 0.5, 30.0]))
def test_the_size_of_the_feedback_does_not_change_the_direction(kernel, seed, scale):
    t = graph(seed, False, shared=True)
    genome, rule = ng.backprop_genome(0.1, activation="sigmoid")
    genome = genome.replace(synapse_keep=0.0)
    network = ng.Network(t, rule.replace(update_normalization="neuron"), kernel=kernel)
    arrays, (xs, ys) = start(t, rule, seed), data(t, seed)
    once = steps(network, genome, arrays, xs, ys)
    outputs = once["outputs"]
    far = steps(network, genome, arrays, xs, outputs - scale * (outputs - ys))  # feedback is linear in the error
    mixed = steps(network, genome.replace(post_transform=scale * genome.post_transform), arrays, xs, ys)
    still = genome.replace(error_power=0.0)
    alike = steps(network, still, arrays, xs, ys), steps(network, still, arrays, xs, outputs - scale * (outputs - ys))
    for name in ("forward", "bias"):
        assert relative(far[name], scale * once[name]) < 1e-5, name  # as long as the error, and no longer
        assert relative(mixed[name], np.sign(scale) * once[name]) < 1e-5, name
        assert relative(alike[1][name], np.sign(scale) * alike[0][name]) < 1e-5, name


def test_the_size_falls_with_depth(kernel):
    t = small()
    genome, rule = ng.backprop_genome(0.1)
    genome = genome.replace(synapse_keep=0.0)
    network, arrays, (xs, ys) = (
        ng.Network(t, rule.replace(update_normalization="neuron"), kernel=kernel),
        start(t, rule, 0),
        data(t, 0),
    )
    shallow, deep = (steps(network, genome.replace(depth_power=d), arrays, xs, ys)["forward"] for d in (0.0, 2.0))
    assert relative(deep * t.walk_length**2, shallow) < 1e-12


# ---- what is switched off


@pytest.mark.thorough
@few(2)
@given(seed=st.integers(0, 2**31 - 1), cyclic=st.booleans(), pick=st.data())
def test_what_is_switched_off_has_no_effect(kernel, seed, cyclic, pick):
    t = graph(seed, cyclic, fixed=True, shared=True)
    rule = pick.draw(rules(len(t.outputs), stored=False))
    rule = rule.replace(update_normalization="none", synapse_trace=False, reset_states=True)
    rule = rule.replace(learned_damping=False, cycle_fading=False, self_gating=False)
    off = {"update_power": 0.0, "error_power": 0.0, "depth_power": 0.0, "trace_keep": 0.0, "damping": 0.0, "cycle_keep": 1.0}
    off |= dict.fromkeys(("keep_gating", "update_gating"), jnp.zeros((rule.states, rule.states)))
    genome, arrays, (xs, ys) = random_genome(rule.states, seed).replace(**off), start(t, rule, seed), data(t, seed, 2)

    def run(topology=t, **changes) -> dict:
        return jax.device_get(steps(ng.Network(topology, rule.replace(**changes), kernel=kernel), genome, arrays, xs, ys))

    plain = run()
    sized, traced, damped = run(update_normalization="neuron"), run(synapse_trace=True), run(learned_damping=True)
    faded, gated = run(cycle_fading=True), run(self_gating=True)
    for name, value in plain.items():
        assert relative(traced[name], value) < 1e-11, name  # another program: the compiler may round otherwise
        assert relative(sized[name], value) < 1e-11, name
        assert relative(damped[name], value) < 1e-11, name
        assert relative(faded[name], value) < 1e-11, name
        assert relative(gated[name], value) < 1e-11, name
    if cyclic:
        never, at_once = run(t.replace(tolerance=1e-300)), run(t.replace(tolerance=1e300))
        first = run(t.replace(ticks=1))
        for name, value in plain.items():
            assert relative(never[name], value) < 1e-11, name
            assert relative(at_once[name], first[name]) < 1e-11, name


def test_gates_open_and_close_by_the_neurons_own_states(kernel):
    """Far from 0 the update gate of both states is 2 eta where state 0 is positive, and shut where it is negative."""
    t, size = ng.mlp(2, 6, 2), 1e6
    rule = ng.Rule(forward_activation="tanh", backward_activation="tanh", self_gating=True)
    genome, arrays = random_genome(2, 0).replace(neuron_keep=0.0), start(t, rule, 0)
    x, y = (array[0] for array in data(t, 0, 1))
    network = ng.Network(t, rule, kernel=kernel)
    opened, constant = (
        network.trace(genome.replace(update_gating=jnp.asarray(gating)), network.pack(**arrays), x, y)
        for gating in ([[size, 0.0], [size, 0.0]], jnp.zeros((2, 2)))
    )
    hidden = slice(2, 8)
    u, positive = jnp.arctanh(constant.backward[:, hidden]), constant.forward[:, hidden, :1] > 0
    assert 0 < positive.mean() < 1
    assert relative(opened.forward, constant.forward) < 1e-12  # from rest, gates are as they were
    assert relative(opened.backward[:, hidden], jnp.where(positive, jnp.tanh(2 * u), 0)) < 1e-12


# ---- meta-gradients

ALL = ng.Rule(
    forward_activation=ng.with_derivative("tanh"),
    backward_activation="identity",
    output_activation=ng.with_derivative("identity"),
    backward_update="multiplicative_second_state",
    feedback="mse",
    normalization="batch",
    backward_normalization="derivative",
    normalize_outputs=True,
    synapse_normalization="in_pass",
    synapse_derivative=True,
    rescale=True,
    oja="weights",
    saturation="tanh",
    forward_synapse_update=True,
    update_normalization="neuron",
    synapse_trace=True,
    learned_damping=True,
    cycle_fading=True,
    self_gating=True,
)
EDGES = [(0, 2), (1, 2), (0, 3), (1, 3), (2, 4), (3, 4), (2, 5), (1, 5)]
BACK = [(3, 3), (3, 2), (2, 3)]


def two_hidden(edges: list, **more) -> ng.Topology:
    return ng.Topology(tuple("abcdef"), *np.array(edges).T, [0, 1], [4, 5], **more)


GRAPHS = {
    "levels": two_hidden(EDGES),
    "damped": two_hidden([*EDGES, *BACK], schedule="mixed", ticks=3, damping=0.3),
    "settling": two_hidden([*EDGES, *BACK], schedule="mixed", ticks=100, tolerance=0.01, damping=0.3),
}
GRAPHS["thresholds"] = GRAPHS["damped"]
LATE = {"bias_after_normalization": True, "synapse_normalization": "none", "synapse_derivative": False, "rescale": False}


@pytest.mark.parametrize("name", rest_is_thorough(GRAPHS, slow=("levels", "settling")))
def test_meta_gradients_are_derivatives(name):
    topology, rule = GRAPHS[name], ALL.replace(oja="printed") if name == "damped" else ALL
    rule = rule.replace(**LATE) if name == "thresholds" else rule
    rng = np.random.default_rng(6)
    arrays = start(topology, rule, 6)
    xs, ys = rng.normal(size=(3, 5, 2)), rng.choice([-1.0, 1.0], (3, 5, 2))
    genome = random_genome(2, 6)
    network = ng.Network(topology, rule)

    def loss(genome: ng.Genome) -> jax.Array:
        synapses, outputs = network.unroll(genome, network.pack(**arrays), xs[:2], ys[:2])
        logits = network.predict(genome, synapses, xs[2])
        return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, ys[2] > 0)) + jnp.mean(outputs**2)

    def ticks(genome: ng.Genome) -> list[jax.Array]:
        """How many ran, forward and back, in both steps."""
        synapses, found = network.pack(**arrays), []
        for x, y in zip(xs[:2], ys[:2], strict=True):
            trace = network.trace(genome, synapses, x, y)
            synapses = trace.synapses
            found += [count for _, count in (*trace.settling["forward"], *trace.settling["backward"])]
        return found

    flat, back = ravel_pytree(genome)
    ours = ravel_pytree(jax.jit(jax.grad(loss))(genome))[0]
    width = 3e-5  # differences of fourth order, as in test_descent.py
    moved = jnp.concatenate([flat + move * width * jnp.eye(len(flat)) for move in (-2, -1, 1, 2)])
    values = jax.jit(jax.vmap(lambda vector: loss(back(vector))))(moved).reshape(4, -1)
    differences = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * width)
    if name != "levels":
        counts = jax.jit(jax.vmap(lambda vector: ticks(back(vector))))(moved)
        for count in counts:
            assert (count == count[0]).all()  # else the loss would jump
        assert name != "settling" or all(3 < count[0] < 100 for count in counts)
    assert relative(ours, differences) < 1e-7
    felt = back(differences != 0)
    idle = {"initial_deviation", "backward_scale", "backward_shift"}
    idle |= {"damping", "cycle_keep", "neuron_keep", "update_gating"} if name == "levels" else set()
    idle |= {"rescale"} if name == "thresholds" else set()
    idle |= {"average_power", "average_keep"}  # the rule has no averages: see the next test
    assert {field for field, leaf in vars(felt).items() if not jnp.any(leaf)} == idle


def test_meta_gradients_flow_through_averages():
    topology, rule = small(), ng.Rule(feedback="mse", synapse_average=True, single_state_synapses=True)
    genome, rng = random_genome(2, 6), np.random.default_rng(6)
    network, arrays = ng.Network(topology, rule), start(topology, rule, 6)
    xs, y = rng.normal(size=(3, 5, len(topology.inputs))), rng.choice([-1.0, 1.0], (1, 5, len(topology.outputs)))
    xs[1:] = xs[:1]  # one batch twice

    def loss(power: jax.Array, keep: jax.Array) -> jax.Array:
        own = genome.replace(average_power=power, average_keep=keep, synapse_update=jnp.asarray(-0.01))
        synapses, _ = network.unroll(own, network.pack(**arrays), xs[:2], jnp.repeat(y, 2, axis=0))
        return jnp.mean(network.predict(own, synapses, xs[2]) ** 2)

    for at, felt in (((2.0, 0.9), 0), ((2.0, 0.1), 1)):  # (p + 1) / (t + p) = 3 / 4 at the second step: above 0.1, below 0.9
        at = tuple(jnp.asarray(value) for value in at)
        ours = jax.grad(loss, argnums=(0, 1))(*at)
        moved = [tuple(v + 1e-4 * sign * (n == felt) for n, v in enumerate(at)) for sign in (1, -1)]
        difference = (loss(*moved[0]) - loss(*moved[1])) / 2e-4
        assert abs(difference) > 1e-9
        assert relative(ours[felt], difference) < 1e-5
        assert ours[1 - felt] == 0


# ---- synapses with memory


@few(3)
@given(seed=st.integers(0, 2**31 - 1), symmetric=st.booleans())
def test_a_trace_is_the_decaying_sum_of_what_single_steps_give(kernel, seed, symmetric):
    t = graph(seed, False, shared=True, fixed=True)
    rule = ng.Rule(symmetric=symmetric, synapse_trace=True, forward_synapse_update=True)
    genome, (xs, ys) = random_genome(2, seed), data(t, seed, 3)
    network = ng.Network(t, rule, kernel=kernel)
    synapses = network.pack(**start(t, rule, seed))
    kappa = float(genome.trace_keep)
    before = network.unpack(synapses)
    expected = {name: kappa**3 * before[f"{name}_trace"] for name in NAMES}
    for index in range(3):
        empty = replace(synapses, traces=jax.tree.map(jnp.zeros_like, synapses.traces))
        single = network.unpack(network.step(genome.replace(trace_keep=0.0), empty, xs[index], ys[index])[0])
        for name in NAMES:
            expected[name] += kappa ** (2 - index) * single[f"{name}_trace"]
        synapses = network.step(genome, synapses, xs[index], ys[index])[0]
    found = network.unpack(synapses)
    for name in NAMES:
        assert relative(found[f"{name}_trace"], expected[name]) < 1e-12, name
    assert not np.any(found["forward_trace"][t.fixed])


@few(3)
@given(seed=st.integers(0, 2**31 - 1), symmetric=st.booleans())
def test_an_average_is_the_weighted_mean_of_what_was_learned_and_serves_predictions(kernel, seed, symmetric):
    t = graph(seed, False, shared=True, fixed=True)
    rule = ng.Rule(symmetric=symmetric, synapse_average=True)
    genome, (xs, ys) = random_genome(2, seed).replace(average_power=2.0, average_keep=0.7), data(t, seed, 9)
    network, plain = ng.Network(t, rule, kernel=kernel), ng.Network(t, rule.replace(synapse_average=False), kernel=kernel)
    given = {name: value for name, value in start(t, rule, seed).items() if name != "traces"}
    synapses, other = network.pack(**given), plain.pack(**given)
    assert network.unpack(synapses)["average_steps"] == 0
    weights, past = np.zeros(0), []
    for index in range(9):
        synapses, outputs = network.step(genome, synapses, xs[index], ys[index])
        other, theirs = plain.step(genome, other, xs[index], ys[index])
        np.testing.assert_array_equal(outputs, theirs)  # learning does not know of averages
        past.append(plain.unpack(other))
        count = float(synapses.averages["steps"])  # 1 again where the error is larger than at first: see the next test
        alpha = max(0.3, 3 / (count + 2))  # from the eighth step on 0.3
        weights = np.append(weights * (1 - alpha), alpha)
    found = network.unpack(synapses)
    assert found["average_steps"] == count
    for name in ("forward", "bias"):
        np.testing.assert_array_equal(found[name], past[-1][name])
        mean = sum(w * arrays[name] for w, arrays in zip(weights, past))
        assert relative(found[f"{name}_average"], mean) < 1e-12, name
    np.testing.assert_array_equal(found["forward_average"][t.fixed], found["forward"][t.fixed])
    averaged = {name: found[f"{name}_average"] for name in ("forward", "bias")}
    backward = None if symmetric else found["backward"]
    expected = plain.predict(genome, plain.pack(averaged["forward"], backward, averaged["bias"]), xs[0])
    assert relative(network.predict(genome, synapses, xs[0]), expected) < 1e-12
    again = network.pack(
        found["forward"], backward, found["bias"], averages=averaged | {name: found[f"average_{name}"] for name in SCALARS}
    )
    jax.tree.map(np.testing.assert_array_equal, again, synapses)
    left = replace(synapses, averages=None)  # left out: the synapses themselves
    np.testing.assert_array_equal(network.predict(genome, left, xs[0]), plain.predict(genome, other, xs[0]))
    resumed = network.unpack(network.step(genome, left, xs[0], ys[0])[0])
    assert resumed["average_steps"] == 1
    assert relative(resumed["forward_average"], resumed["forward"]) < 1e-12  # the first step counts alone


def test_an_average_weighs_early_steps_by_a_power_and_begins_anew_when_what_it_has_learned_is_wrong():
    file, task = ng.load_genome_file("universal"), ng.get_task("digits")
    network = ng.Network(ng.mlp(64, 16, 10), file.rule)
    genome = file.genome.replace(average_power=2.0, average_keep=1.0)
    synapses = network.init(genome, key=jax.random.key(0))
    (xs, ys), _ = task.episode(jax.random.key(1), steps=20, batch_size=64, query_size=64, split="train", query_split="validation")
    past = []
    for x, y in zip(xs, ys):
        synapses = network.step(genome, synapses, x, y)[0]
        past.append(synapses.forward.blocks[0])
    assert synapses.averages["steps"] == 20
    weights = np.arange(1, 21) * np.arange(2, 22)  # t (t + 1): t to the second power, but for the start
    mean = sum(w * block for w, block in zip(weights / weights.sum(), past))
    assert relative(synapses.averages["forward"].blocks[0], mean) < 1e-5
    first = float(synapses.averages["error"])
    moved = network.step(genome, synapses, xs[0], jnp.roll(ys[0], 1, axis=1))[0]  # every label is another
    assert (moved.averages["steps"], moved.averages["error"]) == (1, first)
    jax.tree.map(lambda a, w: np.testing.assert_allclose(a, w, rtol=1e-5), moved.averages["forward"], moved.forward)
    assert network.step(genome, synapses, xs[0], ys[0])[0].averages["steps"] == 21


def test_averages_are_refused_where_the_rule_keeps_none_or_they_are_incomplete():
    t, network = small(), ng.Network(small(), ng.Rule(synapse_average=True))
    whole = {"forward": np.zeros((8, 2)), "bias": np.zeros((7, 2)), "steps": 3, "error": 0.5}
    with pytest.raises(ng.ShapeError, match="averages: the rule has synapse_average: false, so synapses keep no averages"):
        ng.Network(t, ng.Rule()).pack(np.zeros((8, 2)), averages=whole)
    for change, text in (
        ({"bias": np.zeros((3, 2))}, r"averages\['bias'\]: got shape \[3, 2\]; expected \[7, 2\]"),
        ({"steps": np.zeros(2)}, r"averages\['steps'\]: got shape \[2\]; expected one number"),
        ({"steps": None}, "averages: 'steps' is missing; expected forward, bias, steps and error, or None"),
    ):
        with pytest.raises(ng.ShapeError, match=text):
            network.pack(np.zeros((8, 2)), averages=whole | change)
        with pytest.raises(
            ng.ShapeError, match=text.replace(r"averages\['bias'\]", "graph 0: averages: bias").replace(r"\['steps'\]", ": steps")
        ):
            ng.NetworkBatch([t], network.rule).pack([{"forward": np.zeros((8, 2)), "averages": whole | change}])


def traced(symmetric: bool, single: bool) -> tuple[ng.Network, ng.Genome, ng.Synapses]:
    """A network after a step that left traces."""
    kept = {"synapse_trace": True, "synapse_average": True}
    rule = ng.Rule(symmetric=symmetric, single_state_synapses=single, update_normalization="neuron", **kept)
    t, genome = small(), random_genome(2, 0)
    network = ng.Network(t, rule)
    xs, ys = data(t, 0)
    return network, genome, network.step(genome, network.pack(**start(t, rule, 0)), xs[0], ys[0])[0]


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_traces_travel_with_the_synapses(tmp_path, symmetric, single):
    network, genome, synapses = traced(symmetric, single)
    arrays = network.unpack(synapses)
    names = [name for name in NAMES if name != "backward" or not symmetric]
    assert all(np.any(arrays[f"{name}_trace"]) for name in names)
    given = {name: arrays[name] for name in names} | {"traces": {name: arrays[f"{name}_trace"] for name in names}}
    averages = {name: arrays[f"{name}_average"] for name in ("forward", "bias")}
    again = network.pack(**given, averages=averages | {name: arrays[f"average_{name}"] for name in SCALARS})
    save_checkpoint(tmp_path / "c", synapses, config={})
    stored, _ = load_checkpoint(tmp_path / "c", network.init(genome, key=jax.random.key(0)), config={})
    for other in (again, stored):
        assert jax.tree.structure(other) == jax.tree.structure(synapses)
        jax.tree.map(np.testing.assert_array_equal, other, synapses)


def test_traces_are_refused_where_the_rule_keeps_none():
    t = small()
    with pytest.raises(ng.ShapeError, match="traces: the rule has synapse_trace: false, so synapses keep no traces"):
        ng.Network(t, ng.Rule()).pack(np.zeros((8, 2)), traces={"forward": np.zeros((8, 2))})
    with pytest.raises(ng.ShapeError, match=r"traces\['bias'\]: got shape \[3, 2\]; expected \[7, 2\]"):
        ng.Network(t, ng.Rule(synapse_trace=True)).pack(np.zeros((8, 2)), traces={"bias": np.zeros((3, 2))})


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_wider_synapses_keep_their_traces(symmetric, single):
    network, genome, synapses = traced(symmetric, single)
    wide_genome, wide_rule = ng.extend_genome(genome, network.rule, states=3)
    wide = ng.Network(network.topology, wide_rule)
    wider = ng.extend_synapses(network, wide, synapses, wide_genome, key=jax.random.key(0))
    old, new = network.unpack(synapses), wide.unpack(wider)
    for name in old:
        np.testing.assert_array_equal(new[name][:, :2] if old[name].ndim else new[name], old[name], name)
    if not single:
        assert not np.any(new["forward_trace"][:, 2:])  # new channels have nothing to remember
    xs, ys = data(network.topology, 5, 2)
    ours, theirs = (
        net.unpack(net.unroll(g, s, xs, ys)[0]) for net, g, s in ((wide, wide_genome, wider), (network, genome, synapses))
    )
    for name, value in theirs.items():
        assert relative(ours[name][:, :2] if value.ndim else ours[name], value) < 1e-9, name
