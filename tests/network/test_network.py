"""`Network`: what goes in, what comes out, what is refused, and every transformation of JAX."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import KERNELS

import neurograph as ng
from neurograph.testing import random_genome
from neurograph.testing.comparing import relative
from neurograph.testing.graphs import batch, random_synapses, random_topology, small

NORMALISED = ng.Rule(forward_activation="tanh", backward_activation="tanh", normalization="batch")


@pytest.fixture(scope="module")
def net(kernel):
    return ng.Network(small(), NORMALISED, kernel=kernel)


@pytest.fixture(scope="module")
def genome():
    return random_genome(2, 0)


@pytest.fixture(scope="module")
def synapses(net, genome):
    return net.init(genome, key=jax.random.key(0))


def leaves_equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


# ---- step, trace, unroll, predict are one thing


def test_step_trace_and_unroll_agree(net, genome, synapses):
    x, y = batch(net.topology)
    trace = net.trace(genome, synapses, x, y)
    learned, outputs = net.step(genome, synapses, x, y)
    assert relative(outputs, trace.outputs) < 1e-6
    assert relative(net.unpack(learned)["forward"], net.unpack(trace.synapses)["forward"]) < 1e-6
    again, second = net.step(genome, learned, -x, y)
    last, both = net.unroll(genome, synapses, np.stack([x, -x]), np.stack([y, y]))
    assert relative(both, np.stack([outputs, second])) < 1e-5
    assert relative(net.unpack(last)["forward"], net.unpack(again)["forward"]) < 1e-5
    assert relative(net.predict(genome, synapses, x), outputs) < 1e-6


def test_what_a_trace_holds(net, genome, synapses):
    t, (x, y) = net.topology, batch(net.topology)
    trace = net.trace(genome, synapses, x, y)
    x, y = x.astype(np.float32), y.astype(np.float32)
    assert trace.forward.shape == trace.feedback.shape == trace.backward.shape == (4, 7, 2)
    assert trace.outputs.shape == (4, 2)
    for states in (trace.forward, trace.feedback, trace.backward):  # inputs stay clamped all through the step
        assert np.array_equal(states[:, t.inputs, 0], x)
        assert not states[:, t.inputs, 1].any()
    assert np.array_equal(trace.outputs, trace.forward[:, t.outputs, 0])
    assert np.array_equal(trace.feedback[:, t.outputs, 0], trace.outputs)
    assert np.array_equal(trace.feedback[:, t.outputs, 1], y)
    assert np.array_equal(trace.backward[:, t.outputs], trace.feedback[:, t.outputs])
    assert np.array_equal(trace.feedback[:, 2:5], trace.forward[:, 2:5])
    assert not np.array_equal(trace.backward[:, 2:5], trace.feedback[:, 2:5])


# ---- pack, unpack, init


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("single", [False, True], ids=["multi", "single"])
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_unpack_inverts_pack(name, symmetric, single):
    topology = random_topology(11, fixed=True, shared=True)
    rule = ng.Rule(states=3, symmetric=symmetric, single_state_synapses=single)
    network = ng.Network(topology, rule, kernel=name)
    arrays = {k: v.astype(np.float32) for k, v in random_synapses(topology, 3, 0, single=single).items()}
    packed = network.pack(arrays["forward"], None if symmetric else arrays["backward"], arrays["bias"])
    out = network.unpack(packed)
    for direction in ("forward", "backward", "bias"):
        expected = arrays["forward" if symmetric and direction == "backward" else direction]
        assert np.array_equal(out[direction], expected), direction
        assert out[direction].dtype == np.float32


def test_packing_keeps_fixed_values_takes_first_members_and_drops_absent_biases(kernel):
    fixed = np.arange(8) == 1
    topology = small(
        fixed=fixed,
        weight=np.where(fixed, 0.25, np.nan),
        group=[0, -1, -1, 0, -1, -1, 0, -1],
        bias=[False, False, True, False, True, True, True],
        bias_group=[-1, -1, -1, -1, 0, -1, 0],
    )
    network = ng.Network(topology, ng.Rule(), kernel=kernel)
    out = network.unpack(network.pack(np.arange(16.0).reshape(8, 2), bias=np.arange(14.0).reshape(7, 2)))
    forward = np.arange(16.0).reshape(8, 2)
    forward[1], forward[[3, 6]] = 0.25, forward[0]
    assert np.array_equal(out["forward"], forward)
    assert np.array_equal(out["bias"], [[0, 0], [0, 0], [4, 5], [0, 0], [8, 9], [10, 11], [8, 9]])


def test_without_biases_pack_gives_zeros(net):
    assert not net.unpack(net.pack(np.ones((8, 2))))["bias"].any()


def test_one_channel_is_enough_for_single_state_synapses(kernel):
    network = ng.Network(small(), ng.Rule(states=3, single_state_synapses=True), kernel=kernel)
    out = network.unpack(network.pack(np.arange(8.0)[:, None]))
    assert out["forward"].shape == (8, 3)
    assert np.array_equal(out["forward"][:, 2], np.arange(8.0))


@pytest.mark.parametrize("rule", [ng.Rule(symmetric=False), ng.Rule(initial_distribution="uniform", initial_deviation="fan_in")])
def test_the_same_key_draws_the_same_synapses_on_every_kernel(rule, genome):
    topology = random_topology(5, fixed=True, shared=True)
    drawn = []
    for name in KERNELS:
        network = ng.Network(topology, rule, kernel=name)
        drawn.append(network.unpack(network.init(genome, key=jax.random.key(3))))
    for other in drawn[1:]:
        assert all(np.array_equal(drawn[0][direction], other[direction]) for direction in drawn[0])
    other = network.unpack(network.init(genome, key=jax.random.key(4)))
    assert not np.array_equal(drawn[0]["forward"], other["forward"])


@pytest.mark.parametrize("name", KERNELS)
def test_arrays_are_moved_by_numpy_as_by_compiled_programs(name, genome):
    network = ng.Network(random_topology(5, fixed=True, shared=True), ng.Rule(symmetric=False, synapse_trace=True), kernel=name)
    synapses = network.init(genome, key=jax.random.key(3))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(synapses))
    same = jax.tree.map(np.array_equal, synapses, jax.jit(lambda: network.init(genome, key=jax.random.key(3)))())
    assert all(jax.tree.leaves(same))
    arrays, compiled = network.unpack(synapses), jax.jit(network.unpack)(synapses)
    assert list(arrays) == ["forward", "backward", "bias", "forward_trace", "backward_trace", "bias_trace"]
    assert all(isinstance(arrays[key], jax.Array) and np.array_equal(arrays[key], compiled[key]) for key in arrays)
    given = {key: np.arange(float(value.size)).reshape(value.shape) for key, value in arrays.items() if "trace" not in key}
    same = jax.tree.map(np.array_equal, network.pack(**given), jax.jit(lambda given: network.pack(**given))(given))
    assert all(jax.tree.leaves(same))


def test_a_fresh_network_compiles_its_draws_and_its_step_alone(genome, caplog):
    topology = random_topology(6)
    x, y = (np.ones((3, len(ends))) for ends in (topology.inputs, topology.outputs))
    jax.clear_caches()
    with jax.log_compiles(True):
        network = ng.Network(topology, ng.Rule())
        network.unpack(network.step(genome, network.init(genome, key=jax.random.key(3)), x, y)[0])
    compiled = [record.getMessage().split()[4] for record in caplog.records if "Finished XLA compilation" in record.getMessage()]
    assert {"jit(_drawn)", "jit(_jit_step)"} <= {*compiled}
    assert len(compiled) <= 6, compiled  # two sizes of draws, and the key


@pytest.mark.parametrize("settings", [{}, {"jax_threefry_partitionable": False}, {"jax_default_prng_impl": "rbg"}])
def test_draws_are_those_of_jax_for_the_number_of_synapses(settings, genome):
    topology = random_topology(5)
    before = {name: getattr(jax.config, name) for name in settings}
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        key, network = jax.random.key(3), ng.Network(topology, ng.Rule())
        drawn = network.unpack(network.init(genome, key=key))["forward"]
        wanted = jax.random.normal(jax.random.split(key, 3)[0], (topology.num_synapses, 2)) * genome.initial_deviation
        np.testing.assert_allclose(drawn, wanted, rtol=1e-6)
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def test_initial_deviations(kernel):
    dense = [(i, 30 + j) for i in range(30) for j in range(40)] + [(30 + j, 70) for j in range(40)]
    topology = ng.Topology(tuple(map(str, range(71))), *np.array(dense).T, range(30), [70])
    genome = ng.Genome.from_arrays(initial_deviation=0.7)

    def drawn(**options):
        network = ng.Network(topology, ng.Rule(symmetric=False, **options), kernel=kernel)
        return jax.device_get(network.unpack(network.init(genome, key=jax.random.key(0))))

    by_genome = drawn()
    assert by_genome["forward"].std() == pytest.approx(0.7, rel=0.05)
    assert by_genome["backward"].std() == pytest.approx(0.7, rel=0.05)
    assert abs(np.corrcoef(by_genome["forward"].ravel(), by_genome["backward"].ravel())[0, 1]) < 0.1
    assert np.abs(drawn(initial_distribution="uniform")["forward"]).max() <= 0.7 * 3**0.5
    scaled = drawn(initial_deviation="fan_in")
    assert scaled["forward"][:1200].std() == pytest.approx(31**-0.5, rel=0.05)  # thirty senders and the bias
    assert scaled["forward"][1200:].std() == pytest.approx(41**-0.5, rel=0.3)
    assert scaled["backward"][1200:].std() == pytest.approx(1.0, rel=0.3)  # one output sends back to each hidden neuron


def test_given_weights_are_where_learning_starts(kernel, genome):
    topology = small(weight=[0.5, *[np.nan] * 7])
    network = ng.Network(topology, ng.Rule(), kernel=kernel)
    synapses = network.init(genome, key=jax.random.key(0))
    forward = network.unpack(synapses)["forward"]
    assert (forward[0] == 0.5).all()
    learned, _ = network.step(genome, synapses, *batch(topology))
    assert (network.unpack(learned)["forward"][0] != 0.5).all()


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "asymmetric"])
def test_a_network_without_any_number_to_learn_still_runs(name, symmetric):
    topology = ng.Topology(("x", "y"), [0], [1], [0], [1], bias=[False, False], fixed=[True], weight=[0.5])
    genome = ng.Genome.from_arrays()
    network = ng.Network(topology, ng.Rule(symmetric=symmetric, output_activation="identity", oja="weights"), kernel=name)
    synapses = network.init(genome, key=jax.random.key(0))
    learned, outputs = network.step(genome, synapses, [[2.0]], [[1.0]])
    assert outputs.tolist() == [[1.0]]
    assert network.unpack(learned)["forward"].tolist() == [[0.5, 0.5]]


# ---- options of the step that have a test of their own


def test_statistics_freeze_normalisation(net, genome, synapses):
    x, _ = batch(net.topology, 16)
    statistics = net.statistics(genome, synapses, x)
    whole = net.predict(genome, synapses, x)
    assert relative(net.predict(genome, synapses, x, statistics=statistics), whole) < 1e-6
    one = net.predict(genome, synapses, x[:1], statistics=statistics)
    assert relative(one, whole[:1]) < 1e-5
    assert relative(net.predict(genome, synapses, x[:1]), whole[:1]) > 1e-2  # a batch of one has no spread


def test_statistics_freeze_cyclic_networks_too(kernel, genome):
    topology = random_topology(3, cyclic=True, schedule="mixed", ticks=3)
    network = ng.Network(topology, NORMALISED.replace(normalize_outputs=True), kernel=kernel)
    synapses = network.init(genome.replace(initial_deviation=0.5), key=jax.random.key(0))
    x, _ = batch(topology, 8)
    statistics = network.statistics(genome, synapses, x)
    whole = network.predict(genome, synapses, x)
    assert relative(network.predict(genome, synapses, x[:2], statistics=statistics), whole[:2]) < 1e-4


def test_supervision_only_on_some_steps(kernel, genome):
    rule = NORMALISED.replace(supervise_every=3)
    network = ng.Network(small(), rule, kernel=kernel)
    synapses = network.init(genome, key=jax.random.key(0))
    x, y = batch(network.topology)
    for index in range(4):
        trace = network.trace(genome, synapses, x, y, index=index)
        learned = not leaves_equal(trace.synapses, synapses)
        assert learned == (index % 3 == 0)
        assert np.array_equal(trace.backward, trace.forward) != learned
    _, outputs = network.unroll(genome, synapses, np.stack([x] * 5), np.stack([y] * 5))
    changed = [not np.array_equal(a, b) for a, b in itertools.pairwise(outputs)]
    assert changed == [True, False, False, True]


def test_states_carry_over_when_not_reset(kernel, genome):
    network = ng.Network(small(), NORMALISED.replace(reset_states=False), kernel=kernel)
    x, y = batch(network.topology)
    start = network.init(genome, key=jax.random.key(0))
    assert start.neurons is None  # states of zero
    first = network.trace(genome, start, x, y)
    second = network.trace(genome, first.synapses, x, y)
    same_synapses = network.unpack(first.synapses)
    packed = network.pack(same_synapses["forward"], bias=same_synapses["bias"], neurons=first.backward)
    assert relative(network.trace(genome, packed, x, y).forward, second.forward) < 1e-5
    fresh = network.pack(same_synapses["forward"], bias=same_synapses["bias"])
    assert relative(network.trace(genome, fresh, x, y).forward, second.forward) > 1e-3
    _, outputs = network.unroll(genome, start, np.stack([x, x]), np.stack([y, y]))
    assert relative(outputs, np.stack([first.outputs, second.outputs])) < 1e-5


def test_carried_states_of_another_batch_size_are_refused(kernel, genome):
    network = ng.Network(small(), NORMALISED.replace(reset_states=False), kernel=kernel)
    learned, _ = network.step(genome, network.init(genome, key=jax.random.key(0)), *batch(network.topology, 4))
    expected = "x: got 3 rows, but the carried states have 4; start at rest from dataclasses.replace(synapses, neurons=None)"
    for call in (
        lambda x, y: network.step(genome, learned, x, y),
        lambda x, y: network.trace(genome, learned, x, y),
        lambda x, y: network.unroll(genome, learned, x[None], y[None]),
        lambda x, y: network.predict(genome, learned, x),
        lambda x, y: network.statistics(genome, learned, x),
    ):
        with pytest.raises(ng.ShapeError) as caught:
            call(*batch(network.topology, 3))
        assert str(caught.value) == expected


NOISY = NORMALISED.replace(noise=0.3, normalization="none")


def noisy(topology: ng.Topology, kernel: str, key):
    genome = random_genome(2, 0)
    network = ng.Network(topology, NOISY, kernel=kernel)
    synapses = network.init(genome, key=jax.random.key(0))
    return network.trace(genome, synapses, *batch(topology), key=key)


@pytest.mark.thorough
def test_noise_follows_the_key_and_not_the_kernel():
    topology = random_topology(2, cyclic=True, schedule="mixed", ticks=2)
    traces = [noisy(topology, name, jax.random.key(1)) for name in KERNELS]
    for other in traces[1:]:
        assert relative(other.forward, traces[0].forward) < 1e-5
        assert relative(other.backward, traces[0].backward) < 1e-5
    assert leaves_equal(noisy(topology, "blocks", jax.random.key(1)), traces[0])
    assert relative(noisy(topology, "blocks", jax.random.key(2)).forward, traces[0].forward) > 1e-2


def test_noise_has_its_deviation_everywhere(kernel):
    hidden = 50
    edges = [(0, 1 + i) for i in range(hidden)] + [(1 + i, 1 + hidden) for i in range(hidden)]
    topology = ng.Topology(tuple(map(str, range(hidden + 2))), *np.array(edges).T, [0], [hidden + 1])
    linear = {f"{name}_activation": "identity" for name in ("forward", "backward", "output")}
    network = ng.Network(topology, ng.Rule(noise=0.3, **linear), kernel=kernel)
    genome = ng.Genome.from_arrays(neuron_keep=0.0)
    synapses = network.pack(np.zeros((2 * hidden, 2)))  # nothing but noise arrives
    trace = network.trace(genome, synapses, np.zeros((40, 1)), np.zeros((40, 1)), key=jax.random.key(0))
    forward, backward = (np.asarray(states[:, 1 : hidden + 1]) for states in (trace.forward, trace.backward))
    for drawn in (forward, backward):
        assert drawn.std() == pytest.approx(0.3, rel=0.05)
        assert len(np.unique(drawn)) > 0.99 * drawn.size  # no number is used twice
    assert abs(np.corrcoef(forward.ravel(), backward.ravel())[0, 1]) < 0.1


def test_steps_of_an_unroll_have_noise_of_their_own(kernel, genome):
    network = ng.Network(small(), NOISY.replace(supervise_every=100), kernel=kernel)
    synapses = network.init(genome, key=jax.random.key(0))
    x, y = batch(network.topology)
    _, outputs = network.unroll(genome, synapses, np.stack([x] * 4), np.stack([y] * 4), key=jax.random.key(0))
    assert relative(outputs[2], outputs[1]) > 1e-3
    assert relative(outputs[3], outputs[2]) > 1e-3


def test_noise_needs_a_key_and_prediction_has_none(kernel, genome):
    network = ng.Network(small(), NOISY, kernel=kernel)
    synapses = network.init(genome, key=jax.random.key(0))
    x, y = batch(network.topology)
    for call in (network.step, network.trace):
        with pytest.raises(
            ng.ShapeError, match=r"^key: the rule has noise, so every step needs a PRNG key; expected key=\.\.\.$"
        ):
            call(genome, synapses, x, y)
    with pytest.raises(ng.ShapeError, match=r"^key: the rule has noise"):
        network.unroll(genome, synapses, x[None], y[None])
    quiet = ng.Network(small(), NOISY.replace(noise=0.0), kernel=kernel)
    assert relative(network.predict(genome, synapses, x), quiet.predict(genome, synapses, x)) < 1e-6


# ---- JAX


def test_populations_by_vmap(net, synapses):
    x, y = batch(net.topology)
    genomes = [random_genome(2, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *genomes)

    def learn(genome, key):
        drawn = net.init(genome, key=key)
        learned, _ = net.unroll(genome, drawn, x[None], y[None])
        return net.predict(genome, learned, x), net.unpack(learned)["forward"]

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(learn))(stacked, keys)
    for number, genome in enumerate(genomes):
        alone = learn(genome, keys[number])
        assert relative(together[0][number], alone[0]) < 1e-5
        assert relative(together[1][number], alone[1]) < 1e-5


def test_gradients_of_everything(net, genome, synapses):
    x, y = batch(net.topology)

    def loss(genome, synapses, x):
        trace = net.trace(genome, synapses, x, y)
        return jnp.sum(net.predict(genome, trace.synapses, x) ** 2) + jnp.sum(trace.backward**2)

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(genome, synapses, jnp.asarray(x))
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert all(any(leaf.any() for leaf in jax.tree.leaves(part)) for part in gradients)


def test_gradients_stay_finite_where_nothing_moves(kernel):
    """Zero synapses, zero inputs, a batch of one: square roots and divisions of the step must have finite slopes there."""
    rule = NORMALISED.replace(synapse_normalization="in_pass", oja="weights", saturation="tanh")
    network = ng.Network(small(), rule, kernel=kernel)

    def loss(genome):
        learned, outputs = network.step(genome, network.pack(np.zeros((8, 2))), np.zeros((1, 2)), np.ones((1, 2)))
        return jnp.sum(outputs) + jnp.sum(network.predict(genome, learned, np.zeros((1, 2))))

    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(random_genome(2, 0))))


def test_a_network_is_a_pytree_that_compiles_once(net, genome, synapses):
    traced = []

    @jax.jit
    def predict(network, x):
        traced.append(1)
        return network.predict(genome, synapses, x)

    x, _ = batch(net.topology)
    equal = ng.Network(small(), NORMALISED, kernel=net.kernel_name)
    assert np.array_equal(predict(net, x), predict(equal, x))
    assert len(traced) == 1  # a network of the same content is the same to jit
    flat, structure = jax.tree.flatten(net)
    back = jax.tree.unflatten(structure, flat)
    assert (back.rule, back.topology) == (net.rule, net.topology)
    assert np.array_equal(back.predict(genome, synapses, x), net.predict(genome, synapses, x))
    predict(ng.Network(small(), NORMALISED.replace(output_activation="identity"), kernel=net.kernel_name), x)
    assert len(traced) == 2


def test_numbers_and_types(kernel, genome):
    network = ng.Network(small(), ng.Rule(), kernel=kernel)
    x, y = batch(network.topology)
    whole = network.pack(np.ones((8, 2), int), bias=np.ones((7, 2), int))
    learned, outputs = network.step(genome, whole, x.round().astype(int).tolist(), y.astype(int).tolist())
    assert outputs.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(learned)} == {np.dtype(np.float32)}


def test_step_does_not_change_what_it_is_given(net, genome, synapses):
    before = jax.tree.map(np.array, (genome, synapses))
    net.step(genome, synapses, *batch(net.topology))
    assert leaves_equal(before, (genome, synapses))


def test_repr_tells_the_size(net):
    assert repr(net) == f"Network(7 neurons, 8 synapses, states=2, kernel={net.kernel_name!r})"


def test_the_same_key_gives_the_same_numbers_in_another_process():
    code = """
import sys, jax, numpy as np, neurograph as ng
edges = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)]
rule = ng.Rule(noise=0.1, normalization="batch")
network = ng.Network(ng.Topology(tuple("abcd"), *np.array(edges).T, [0], [3]), rule, kernel="auto")
keys = jax.random.split(jax.random.key(5), 3)
genome = ng.Genome.random(keys[0], rule)
x = np.linspace(-1, 1, 6).reshape(2, 3, 1)
synapses, outputs = network.unroll(genome, network.init(genome, key=keys[1]), x, np.sign(x), key=keys[2])
numbers = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves((synapses, outputs))).hex()
"""
    there = subprocess.run([sys.executable, "-c", f"{code}print(numbers)"], capture_output=True, text=True, check=True).stdout
    here: dict[str, Any] = {}
    exec(code, here)
    assert there.strip() == here["numbers"]
    assert len(there) > 100
