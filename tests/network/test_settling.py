"""Whether ticks have settled: what a trace tells of it, and the warning."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
from neurograph.errors import SettlingWarning
from neurograph.testing.comparing import relative

LOOP = ng.Topology(tuple("abcde"), [0, 1, 2, 3, 2], [2, 3, 3, 2, 4], [0, 1], [4], schedule="mixed", ticks=4)  # type: ignore[arg-type]
GENOME, RULE = ng.backprop_genome(0.0, activation="identity")
X, Y = np.ones((2, 2), np.float32), np.ones((2, 1), np.float32)


def given(topology: ng.Topology = LOOP, weight: float = 1.0) -> tuple[ng.Network, ng.Synapses]:
    """Two neurons that send each other what they have, times the weight."""
    network = ng.Network(topology, RULE)
    return network, network.pack(np.full((5, 1), weight, np.float32))


def told(call) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in found if one.category is SettlingWarning]


# With all weights 1 states are 1, 2, 3, 4 after the four ticks: the last one moves them by 1.
MESSAGE = "after 4 ticks the states of this graph's cycles have not settled: the last tick moved one by 1, so"


def test_ticks_that_have_not_settled_are_warned_of_once_per_network():
    network, synapses = given()
    (message,) = told(lambda: network.step(GENOME, synapses, X, Y))
    assert message.startswith(MESSAGE)
    assert not told(lambda: network.step(GENOME, synapses, X, Y))
    other, synapses = given()
    assert told(lambda: other.unroll(GENOME, synapses, X[None], Y[None]))[0].startswith(MESSAGE)


def test_no_warning_where_ticks_settle():
    small = given(weight=0.3)
    assert not told(lambda: small[0].step(GENOME, small[1], X, Y))
    settling = given(LOOP.with_schedule("mixed", "settle"), weight=0.5)
    assert not told(lambda: settling[0].step(GENOME, settling[1], X, Y))
    network = ng.Network(ng.load_topology("mlp_2d_classes"), RULE)
    synapses = network.init(GENOME, key=jax.random.key(0))
    assert not told(lambda: network.step(GENOME, synapses, X, np.ones((2, 2))))


def test_no_warning_inside_a_program_of_the_user():
    network, synapses = given()
    assert not told(lambda: jax.jit(lambda s: network.step(GENOME, s, X, Y)[1])(synapses))
    assert not told(lambda: jax.grad(lambda g: network.unroll(g, synapses, X[None], Y[None])[1].sum())(GENOME))
    assert told(lambda: network.step(GENOME, synapses, X, Y))  # nothing has been used up


def test_a_trace_tells_how_ticks_settled():
    network, synapses = given()
    trace = network.trace(GENOME, synapses, X, Y)
    assert [(float(moved), int(count)) for moved, count in trace.settling["forward"]] == [(1.0, 4)]
    assert [int(count) for _, count in trace.settling["backward"]] == [4]
    np.testing.assert_array_equal(trace.forward[:, 2:4, 0], 4)

    # With half of the weight a state moves by 2^-t in tick t, which the tolerance compares; both passes alike.
    network, synapses = given(LOOP.replace(ticks=50, tolerance=0.01), 0.5)
    settling = network.trace(GENOME, synapses, X, Y).settling
    assert [(float(moved), int(count)) for moved, count in settling["forward"]] == [(2.0**-7, 7)]
    ((moved, count),) = settling["backward"]
    assert moved <= 0.01
    assert 1 < count < 50


def test_a_trace_without_feedback_has_no_backward_ticks():
    network = ng.Network(LOOP, RULE.replace(supervise_every=2))
    synapses = network.pack(np.full((5, 1), 0.5, np.float32))
    counts = [[int(c) for _, c in network.trace(GENOME, synapses, X, Y, index=i).settling["backward"]] for i in (0, 1)]
    assert counts == [[4], [0]]


def test_acyclic_graphs_have_nothing_to_settle():
    network = ng.Network(ng.load_topology("mlp_2d_classes"), RULE)
    trace = network.trace(GENOME, network.init(GENOME, key=jax.random.key(0)), X, np.ones((2, 2)))
    assert trace.settling == {"forward": [], "backward": []}


def test_damped_ticks_are_those_of_the_topology_and_of_the_genome(x64):
    """The first tick is taken whole; then a state keeps the share 1 - (1 - d) (1 - d') of what it was."""
    network = ng.Network(LOOP.replace(damping=0.5), RULE.replace(learned_damping=True))
    genome = GENOME.astype(jnp.float64).replace(damping=0.2)
    states = network.trace(genome, network.pack(np.ones((5, 1))), X, Y).forward[0, 2:4, 0]
    expected = 1.0
    for _ in range(3):
        expected = 0.6 * expected + 0.4 * (1 + expected)
    assert relative(states, np.full(2, expected)) < 1e-12


@pytest.mark.parametrize("schedule", ["mixed", "synchronous"])
def test_feedback_fades_where_neurons_of_a_cycle_give_it_on(schedule, x64):
    """What the output sends does not fade: of d and d', d = 0.5 + 0.5 keep d' and d' = 0.5 keep d."""
    for keep in (1.0, 0.3, 0.0):
        network = ng.Network(LOOP.replace(schedule=schedule, ticks=60), RULE.replace(cycle_fading=True))
        genome = GENOME.astype(jnp.float64).replace(cycle_keep=keep)
        fed = network.trace(genome, network.pack(np.full((5, 1), 0.5)), X, Y).backward[0, 2:, 1]
        turned = 0.5 / (1 - 0.25 * keep**2)
        assert relative(fed / fed[-1], [turned, 0.5 * keep * turned, 1.0]) < 1e-12


def test_what_settles_stands_at_the_same_point_damped_or_not(x64):
    outputs = []
    for damping in (0.0, 0.5, 0.9):
        network = ng.Network(LOOP.replace(ticks=2000, damping=damping), RULE)
        outputs.append(network.trace(GENOME.astype(jnp.float64), network.pack(np.full((5, 1), 0.5)), X, Y).backward)
    for other in outputs[1:]:
        assert relative(other, outputs[0]) < 1e-12
    assert np.any(outputs[0])


def test_a_batch_warns_once_and_says_of_which_graph():
    loops = [LOOP, LOOP.replace(title="restless"), LOOP]
    batch = ng.NetworkBatch(loops, RULE)
    synapses = batch.pack([{"forward": np.full((5, 1), weight, np.float32)} for weight in (0.3, 1.0, 0.9)])
    x, y = np.stack([X] * 3), np.stack([Y] * 3)
    (message,) = told(lambda: batch.step(GENOME, synapses, x, y))
    assert message.startswith(
        MESSAGE.replace("this graph's cycles", "graph 1 ('restless')'s cycles (and of 1 other graphs of 3)")
    )
    assert not told(lambda: batch.step(GENOME, synapses, x, y))
    assert not told(lambda: jax.jit(lambda s: ng.NetworkBatch(loops, RULE).step(GENOME, s, x, y)[1])(synapses))
