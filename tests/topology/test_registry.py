"""What builders share: biases, registration of new ones, limits, and messages about populations that do not fit."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from building import build

from neurograph.errors import SpecError, TopologyError
from neurograph.topology import BUILDERS, Builder, Edges, Limits, Projection, build_topology, register_builder
from neurograph.topology.language.builders import Dense


@pytest.mark.parametrize(
    ("bias", "has", "groups"),
    [
        (None, True, [-1] * 4),
        (True, True, [-1] * 4),
        (False, False, [-1] * 4),
        ("single", True, [0] * 4),
        ("per_channel", True, [0, 1, 0, 1]),
        ("per_neuron", True, [-1] * 4),
    ],
)
def test_biases_of_a_population(bias, has, groups):
    spec = {"shape": [2, 2]} | ({} if bias is None else {"bias": bias})
    t = build({"kind": "dense", "from": "x", "to": "y"}, populations={"x": 1, "y": spec})
    assert t.bias[1:].tolist() == [has] * 4
    assert t.bias_group[1:].tolist() == groups


def test_a_user_adds_a_builder_in_ten_lines():
    try:

        @register_builder
        class EveryOther(Projection):
            """One synapse from every second source."""

            kind: Literal["every_other"] = "every_other"
            step: int = 2

            def build(self, canvas):
                source, target = self.ends(canvas)
                chosen = np.arange(0, source.size, self.step)
                canvas.reserve(len(chosen))
                return self.edges(source.start + chosen, target.start + chosen % target.size)

        t = build({"kind": "every_other", "from": "x", "to": "y"}, populations={"x": 6, "y": 3})
        assert list(zip(t.senders.tolist(), t.receivers.tolist())) == [(0, 6), (2, 8), (4, 7)]
        assert build(EveryOther(from_="x", to="y", weight=2.0), populations={"x": 6, "y": 3}).weight.tolist() == [2, 2, 2]
    finally:
        BUILDERS.pop("every_other", None)


def test_registering_nonsense_is_refused():
    with pytest.raises(TopologyError, match="needs a field `kind"):

        @register_builder
        class NoKind(Builder):
            """Has no kind."""

            def build(self, canvas):
                return Edges(np.empty(0), np.empty(0))

    class NoWords(Dense):
        kind: Literal["silent"] = "silent"

    with pytest.raises(TopologyError, match="needs a docstring"):
        register_builder(NoWords)

    with pytest.raises(TopologyError, match="the kind 'dense' is taken by Dense"):

        @register_builder
        class Taken(Dense):
            """Another."""

    assert "silent" not in BUILDERS


def test_the_limit_comes_before_the_arrays():
    """Sizes that would need terabytes are refused at once; a raised limit lets a larger graph through."""
    absurd = 4_000_000
    kinds = [
        {"kind": "dense", "from": "x", "to": "c"},
        {"kind": "random", "from": "x", "to": "c", "density": 0.9},
        {"kind": "random", "from": "x", "to": "c", "in_degree": 500},
        {"kind": "highway", "from": "x", "to": ["c"]},
        {"kind": "local", "from": "c", "to": "c", "radius": 200000},
        {"kind": "erdos_renyi", "within": "c", "density": 0.5},
        {"kind": "watts_strogatz", "within": "c", "neighbours": 1000, "rewire": 0.1},
        {"kind": "barabasi_albert", "within": "c", "attach": 500},
        {"kind": "ring", "within": "c", "reach": 500},
        {"kind": "stochastic_block", "within": "c", "blocks": [absurd], "inside": 0.5, "between": 0.5},
        {"kind": "residual", "from": "x", "through": ["c"], "to": "y"},
    ]
    for connection in kinds:
        if connection["kind"] == "local":
            continue  # its tree of four million points takes seconds; see below
        with pytest.raises(SpecError, match="the limit is 50,000,000"):
            build(connection, populations={"x": 900_000, "c": absurd, "y": 1})
    with pytest.raises(SpecError, match="the limit is 50,000,000"):
        build({"kind": "local", "from": "x", "to": "y", "radius": 9000}, populations={"x": 9000, "y": 9000})
    with pytest.raises(SpecError, match="the limit is 50,000,000"):
        build({"kind": "convolution", "from": "x", "to": "y", "kernel": 9}, populations={"x": [900, 900, 1], "y": [900, 900, 5]})
    small = {
        "populations": {"x": 10, "y": 10},
        "inputs": "x",
        "outputs": "y",
        "connections": [{"kind": "dense", "from": "x", "to": "y"}],
    }
    with pytest.raises(SpecError, match="would have 100 synapses; the limit is 99"):
        build_topology(small, limits=Limits(synapses=99))
    with pytest.raises(SpecError, match="would have 20 neurons; the limit is 19"):
        build_topology(small, limits=Limits(neurons=19))
    assert build_topology(small, limits=Limits(20, 100)).num_synapses == 100


@pytest.mark.parametrize(
    ("connection", "populations", "message"),
    [
        (
            {"kind": "random", "from": "x", "to": "y", "in_degree": 5},
            {"x": 3, "y": 2},
            "in_degree is 5, but 'x' offers only 3 sources",
        ),
        ({"kind": "random", "from": "x", "to": "y"}, {"x": 3, "y": 2}, "give either density or in_degree"),
        ({"kind": "local", "from": "x", "to": "y", "radius": 1}, {"x": [3, 3], "y": 2}, "local needs grids of equal rank"),
        (
            {"kind": "local", "from": "x", "to": "y", "radius": 2, "wrap": True},
            {"x": [3, 3], "y": [3, 3]},
            "reaches round the whole grid",
        ),
        ({"kind": "ring", "within": "y", "reach": 3}, {"x": 1, "y": 3}, "goes round the whole ring of 3 neurons"),
        ({"kind": "watts_strogatz", "within": "y", "neighbours": 3, "rewire": 0}, {"x": 1, "y": 9}, "an even number below 9"),
        ({"kind": "barabasi_albert", "within": "y", "attach": 3}, {"x": 1, "y": 3}, "expected less than 3"),
        ({"kind": "grid", "within": "y", "wrap": True}, {"x": 1, "y": [2, 5]}, "wrap needs at least 3"),
        (
            {"kind": "stochastic_block", "within": "y", "blocks": [1, 1], "inside": 0, "between": 0},
            {"x": 1, "y": 3},
            "blocks add up to 2; 'y' has 3",
        ),
        (
            {"kind": "average_pool", "from": "x", "to": "y", "window": 2},
            {"x": [4, 4], "y": [3, 3]},
            r"gives \(2, 2, 1\); 'y' has the shape",
        ),
        ({"kind": "convolution", "from": "x", "to": "y", "kernel": 3}, {"x": 9, "y": 9}, "needs populations of 2 axes, or 3"),
        (
            {"kind": "convolution", "from": "x", "to": "y", "kernel": 9, "padding": "valid"},
            {"x": [4, 4], "y": [3, 3]},
            "the kernel is larger than the padded grid",
        ),
        ({"kind": "dense", "from": "x", "to": "y", "fixed": True}, {"x": 3, "y": 2}, "fixed synapses need a weight"),
    ],
)
def test_builders_say_what_does_not_fit(connection, populations, message):
    with pytest.raises(SpecError, match=message):
        build(connection, populations=populations)
