"""Graphviz DOT: what its grammar says, what Graphviz means by it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from building import dot_text
from hypothesis import HealthCheck, assume, given, settings

import neurograph as ng
from neurograph.testing import topologies
from neurograph.topology.columns import table_of

ENDS = {"inputs": "sources", "outputs": "sinks"}


def load(folder, text, **options):
    path = folder / "graph.dot"
    path.write_text(text, encoding="utf-8")
    return ng.load_topology(path, **(options or ENDS))


def edges(topology):
    """{(sender, receiver): weight} by name; None stands for no weight."""
    ends = zip(topology.senders.tolist(), topology.receivers.tolist(), topology.weight.tolist(), strict=True)
    return {(topology.names[i], topology.names[j]): None if np.isnan(weight) else weight for i, j, weight in ends}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topology=topologies(attributes=True, wild_names=True))
def test_everything_in_a_topology_is_read_from_dot(tmp_path, topology):
    assume("\\" not in "".join([*topology.names, *map(str, table_of(topology).graph.values())]))  # DOT has no sign for one
    assert load(tmp_path, dot_text(topology), weight="weight") == topology


def test_what_networkx_writes(tmp_path):
    text = """strict digraph {
title="a b";
"x y" [role=input];
z;

"q\\"u\\o" [role=output];
"x y" -> z [weight="1e-05", fixed=True];
z -> "node" [weight="-25000000000.0"];
z -> "q\\"u\\o" [weight=0.1];
}
"""
    topology = load(tmp_path, text, weight="weight")
    assert topology.names == ("x y", "z", 'q"u\\o', "node")
    assert edges(topology) == {("x y", "z"): 1e-5, ("z", "node"): -2.5e10, ("z", 'q"u\\o'): 0.1}
    assert topology.fixed.tolist() == [True, False, False]
    assert topology.title == "a b"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a -> b -> c [weight=2]; d -> c", {("a", "b"): 2, ("b", "c"): 2, ("d", "c"): None}),
        ("a -> {b c} -> d", {("a", "b"): None, ("a", "c"): None, ("b", "d"): None, ("c", "d"): None}),
        ("subgraph cluster_x {a; b} -> c [weight=.5]", {("a", "c"): 0.5, ("b", "c"): 0.5}),
        ("{ {a; b} c } -> d", {("a", "d"): None, ("b", "d"): None, ("c", "d"): None}),
        ("a -> b; edge [weight=3]; b -> c; b -> d [weight=4]", {("a", "b"): None, ("b", "c"): 3, ("b", "d"): 4}),
        ("subgraph { edge [weight=3]; a -> b }; b -> c;", {("a", "b"): 3, ("b", "c"): None}),
        ('"a" + "b" -> c:n; c:sw -> d:_', {("ab", "c"): None, ("c", "d"): None}),
        ('1 -> -2.5; "1" -> .5', {("1", "-2.5"): None, ("1", ".5"): None}),
        ("a -> b [label=<<b>x</b>;]>, weight=1, dir=forward][color=red; penwidth=2]", {("a", "b"): 1}),
        ("graph [rankdir=LR] // x -> y\n/* y ->\n z */ a -> b\n# c -> d\nb -> e", {("a", "b"): None, ("b", "e"): None}),
        ('a -> "Node"; Nodes -> b; édge -> b', {("a", "Node"): None, ("Nodes", "b"): None, ("édge", "b"): None}),
        ('"two\\\n words" -> "C:\\\\x"', {("two words", "C:\\\\x"): None}),
        ("a->b;a->c[weight=-1];NODE [color=red] b->d", {("a", "b"): None, ("a", "c"): -1, ("b", "d"): None}),
    ],
)
def test_edges_are_those_of_graphviz(body, expected, tmp_path):
    assert edges(load(tmp_path, f"digraph G {{ {body} }}")) == expected


def test_attributes_of_neurons_hold_for_those_that_begin_behind_them(tmp_path):
    text = """digraph {
        early;
        subgraph cluster_in { node [role=input, shape=box]; a; early; b; c [role=hidden] }
        d; d [role=output];
        {a b} -> early -> d;
        c -> d;
    }"""
    topology = load(tmp_path, text, weight="weight")
    assert topology.names == ("early", "a", "b", "c", "d")
    assert [topology.names[i] for i in topology.inputs] == ["a", "b"]
    boxes = load(tmp_path, text.replace("role=input, ", ""), inputs="shape=box", outputs=["d"])
    assert [boxes.names[i] for i in boxes.inputs] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph { a -- b }", "graph.dot:1: it is an undirected graph; only directed ones"),
        ("digraph {\n a -> b\n b -- c }", "graph.dot:3: -- is an edge without direction"),
        ("digraph { a -> b [dir=both] }", "dir is 'both'; expected forward"),
        ("digraph { edge [dir=none]\n a -> b }", "graph.dot:2: an edge whose dir is 'none'"),
        ("digraph { a -> b; }\ndigraph { c -> d; }", "graph.dot:2: 'digraph' behind the end of the graph"),
        ("digraph { a -> b }}", "'}' behind the end of the graph"),
        (
            "digraph {\n a -> b [weight=1e5] }",
            r"graph.dot:2: not valid DOT near '1e5\] }': a number such as 1e-3 stands in quotes",
        ),
        ("digraph { a -> b [weight=1, weight=2] }", "weight of one edge is given twice: '1' and '2'"),
        ("digraph { a -> b [weight=1, Weight=2] }", "weight of one edge is given twice"),
        ("digraph { a -> b [weight=<1>] }", "weight of an edge is HTML"),
        ("digraph { a -> b [bold] }", r"not valid DOT near '\]'; expected ="),
        ("digraph { a -> b\n a -> b }", "graph.dot:2: synapse 'a' -> 'b' is given twice"),
        ("strict digraph { a -> b\n a -> b }", "graph.dot:2: synapse 'a' -> 'b' is given twice"),
        ("digraph { a:f1 -> b }", "the port 'f1' of 'a'"),
        ("digraph { <b>x</b> -> b }", "HTML as a neuron"),
        ("digraph { subgraph x {a} -> b; subgraph x {c} -> d }", "the subgraph 'x' is given twice"),
        ("digraph { subgraph { ticks=3; a } -> b }", "ticks of a subgraph; it belongs to the whole digraph"),
        ("digraph { a -> }", "not valid DOT near '}'; expected a neuron"),
        ("digraph { a -> b", "graph.dot:1: the file ends inside"),
        ('digraph { "a -> b }', "not valid DOT near '\"a -> b }'"),
        ("digraph { a [label=<b] }", "a < without its >"),
        ("digraph " + "{" * 100, "nested deeper than 60 graphs"),
        ("edges { a -> b }", "not DOT: begins with 'edges'"),
        ("", "not DOT: begins with the end of the file"),
        ('digraph { a -> "" }', "a neuron's name is empty"),
    ],
)
def test_what_would_be_changed_merged_or_guessed_is_refused(text, message, tmp_path):
    with pytest.raises(ng.SpecError, match=message):
        load(tmp_path, text)


def test_a_product_of_subgraphs_is_counted_before_it_is_made(tmp_path):
    many = " ".join(f"{{n{i}}}" for i in range(3000))
    with pytest.raises(ng.TopologyError, match="would have 9,000,000 synapses; the limit is 100,000"):
        load(tmp_path, f"digraph {{ {{{many}}} -> {{{many}}} }}", limits=ng.topology.Limits(10_000, 100_000))
