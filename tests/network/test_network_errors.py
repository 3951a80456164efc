"""What `Network` refuses, word for word."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import neurograph as ng
from neurograph.testing import random_genome
from neurograph.testing.graphs import batch, small


@pytest.fixture(scope="module")
def net(kernel):
    return ng.Network(small(), ng.Rule(), kernel=kernel)


@pytest.fixture(scope="module")
def genome():
    return random_genome(2, 0)


@pytest.fixture(scope="module")
def synapses(net, genome):
    return net.init(genome, key=jax.random.key(0))


def refusal(error, call, *args, **kwargs) -> str:
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"forward": np.ones((7, 2))}, "forward: got shape [7, 2]; expected [8, 2]"),
        ({"forward": np.ones((8, 1))}, "forward: got shape [8, 1]; expected [8, 2]"),
        ({"forward": 1.0}, "forward: got shape []; expected [8, 2]"),
        ({"forward": np.ones((8, 2)), "bias": np.ones((8, 2))}, "bias: got shape [8, 2]; expected [7, 2]"),
        (
            {"forward": np.ones((8, 2)), "backward": np.ones((8, 2))},
            "backward: the rule is symmetric, so backward synapses are the forward ones; expected None",
        ),
        (
            {"forward": np.ones((8, 2)), "neurons": np.ones((4, 7, 2))},
            "neurons: the rule has reset_states: true, so no states are carried over; expected None",
        ),
        ({"forward": "w"}, "forward: cannot be read as an array; expected real numbers of shape [8, 2]"),
        ({"forward": [[1, 2], [3]]}, "forward: cannot be read as an array; expected real numbers of shape [8, 2]"),
        ({"forward": np.ones((8, 2), np.complex64)}, "forward: got complex64; expected real numbers of shape [8, 2]"),
    ],
)
def test_pack_refuses(net, arrays, expected):
    assert refusal(ng.ShapeError, net.pack, **arrays) == expected


def test_pack_refuses_states_of_another_shape(kernel):
    network = ng.Network(small(), ng.Rule(reset_states=False), kernel=kernel)
    text = refusal(ng.ShapeError, network.pack, np.ones((8, 2)), neurons=np.ones((4, 6, 2)))
    assert text == "neurons: got shape [4, 6, 2]; expected [batch, 7, 2]"


def test_pack_needs_backward_synapses_where_the_rule_has_them(kernel):
    network = ng.Network(small(), ng.Rule(symmetric=False), kernel=kernel)
    text = refusal(ng.ShapeError, network.pack, np.ones((8, 2)))
    assert text == "backward: the rule has symmetric: false; expected an array of shape [8, 2]"


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (np.ones((4, 3)), np.ones((4, 2)), "x: got shape [4, 3]; expected [batch, 2] (2 inputs)"),
        (np.ones(2), np.ones((4, 2)), "x: got shape [2]; expected [batch, 2] (2 inputs)"),
        (np.ones((4, 2)), np.ones((4, 1)), "y: got shape [4, 1]; expected [batch, 2] (2 outputs)"),
        (np.ones((4, 2)), np.ones((3, 2)), "x and y: got [4] and [3] rows; expected equal"),
        (np.ones((0, 2)), np.ones((0, 2)), "x: got shape [0, 2]; expected at least one row"),
        ("x", np.ones((4, 2)), "x: cannot be read as an array; expected real numbers of shape [batch, 2]"),
    ],
)
def test_step_refuses(net, genome, synapses, x, y, expected):
    for call in (net.step, net.trace):
        assert refusal(ng.ShapeError, call, genome, synapses, x, y) == expected


def test_unroll_and_predict_refuse(net, genome, synapses):
    x, y = batch(net.topology)
    text = refusal(ng.ShapeError, net.unroll, genome, synapses, x, y[None])
    assert text == "x: got shape [4, 2]; expected [steps, batch, 2] (2 inputs)"
    text = refusal(ng.ShapeError, net.unroll, genome, synapses, x[None], np.stack([y, y]))
    assert text == "x and y: got [1, 4] and [2, 4] rows; expected equal"
    assert (
        refusal(ng.ShapeError, net.predict, genome, synapses, x[:, :1]) == "x: got shape [4, 1]; expected [batch, 2] (2 inputs)"
    )


def test_a_genome_of_other_states_is_refused(net, synapses):
    x, y = batch(net.topology)
    for call in (net.step, net.trace):
        text = refusal(ng.ShapeError, call, random_genome(3, 0), synapses, x, y)
        assert text == "genome: has 3 states; the rule says states: 2"
    assert refusal(ng.ShapeError, net.init, random_genome(3, 0), key=jax.random.key(0)).startswith("genome: has 3 states")


def test_synapses_of_another_network_are_refused_by_every_call(net, genome, synapses):
    """Another graph of as many inputs and outputs; also where they are tracers, whose shapes are known."""
    x, y = batch(net.topology)
    topology = ng.Topology(("a", "b", "h", "y", "z"), [0, 1, 2, 2], [2, 2, 3, 4], [0, 1], [3, 4])
    other = ng.Network(topology, ng.Rule(), kernel=net.kernel_name).init(genome, key=jax.random.key(0))
    fault = "synapses: they are not this network's: "
    calls = {
        "step": lambda given: net.step(genome, given, x, y),
        "trace": lambda given: net.trace(genome, given, x, y),
        "unroll": lambda given: net.unroll(genome, given, x[None], y[None]),
        "predict": lambda given: net.predict(genome, given, x),
        "statistics": lambda given: net.statistics(genome, given, x),
        "unpack": net.unpack,
    }
    for call in calls.values():
        assert refusal(ng.ShapeError, call, other).startswith(fault)
        assert refusal(ng.ShapeError, jax.jit(call), other).startswith(fault)
        assert refusal(ng.ShapeError, call, {"forward": synapses}) == (
            "synapses: got dict; expected packed synapses, as `init` and `pack` return them"
        )


def test_synapses_of_another_kernel_or_rule_are_refused(genome):
    topology, key = small(), jax.random.key(0)

    def made(kernel: str = "gather", **options):
        network = ng.Network(topology, ng.Rule(**options), kernel)
        return network, network.init(genome, key=key)

    network, synapses = made()
    for options in ({"kernel": "reference"}, {"symmetric": False}, {"synapse_trace": True}, {"single_state_synapses": True}):
        other, theirs = made(**options)
        assert "not this network's" in refusal(ng.ShapeError, network.unpack, theirs), options
        text = refusal(ng.ShapeError, other.unpack, synapses)
        assert "not this network's" in text, options
        assert options != {"symmetric": False} or "backward.blocks[0] has no array, expected [2, " in text
    # Types may differ, and lists stand for tuples.
    network.unpack(jax.tree.map(lambda leaf: leaf.astype(np.float16), synapses))
    listed = dataclasses.replace(synapses.forward, blocks=[*synapses.forward.blocks])
    network.unpack(dataclasses.replace(synapses, forward=listed))


def test_carried_states_of_another_network_are_refused(genome, kernel):
    x, y = batch(small())
    network = ng.Network(small(), ng.Rule(reset_states=False), kernel)
    carried = network.step(genome, network.init(genome, key=jax.random.key(0)), x, y)[0]
    assert network.predict(genome, carried, x).shape == y.shape
    wrong = dataclasses.replace(carried, neurons=carried.neurons[1:])
    assert "neurons has stages of" in refusal(ng.ShapeError, network.predict, genome, wrong, x)


def test_the_case_from_practice():
    file, x = ng.load_genome_file("functions"), np.ones((4, 2), np.float32)
    synapses = ng.Network(ng.load_topology("tiny"), file.rule).init(file.genome, key=jax.random.key(0))
    for other in (
        ng.Network(ng.load_topology("mlp_2d"), file.rule),
        ng.Network(ng.load_topology("tiny"), file.rule, "reference"),
    ):
        assert "synapses" in refusal(ng.ShapeError, other.predict, file.genome, synapses, x)


def test_an_unknown_kernel_is_refused():
    text = refusal(ng.PlanError, ng.Network, small(), ng.Rule(), kernel="quick")
    assert text == f"kernel: got 'quick'; allowed: {', '.join(ng.network.KERNELS)}"


@pytest.mark.parametrize(
    ("fields", "options", "expected"),
    [
        (
            {"group": [0, 0, -1, -1, -1, -1, -1, -1]},
            {"synapse_normalization": "stored"},
            "synapse_normalization: stored gives every receiving neuron its own length, which the topology's shared synapses "
            "(1 group) cannot have; use in_pass",
        ),
        (
            {"bias_group": [-1, -1, 0, 0, 1, 1, -1]},
            {"synapse_normalization": "stored"},
            "synapse_normalization: stored gives every receiving neuron its own length, which the topology's shared biases "
            "(2 groups) cannot have; use in_pass",
        ),
    ],
)
def test_rules_that_the_topology_makes_meaningless(fields, options, expected):
    assert refusal(ng.PlanError, ng.Network, small(**fields), ng.Rule(**options)) == expected


def test_softmax_needs_two_outputs():
    topology = ng.Topology(("x", "y"), [0], [1], [0], [1])
    text = refusal(ng.PlanError, ng.Network, topology, ng.backprop_genome(loss="softmax_cross_entropy")[1])
    assert text == "feedback: softmax_cross_entropy needs at least two outputs; the topology has one (use mse or labels)"
