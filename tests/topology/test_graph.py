"""`Topology` against networkx: levels, components, cycles, reachability; content, limits and messages."""

from __future__ import annotations

import dataclasses
import pickle
from unittest import mock

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurograph.errors import TopologyError
from neurograph.testing import topologies
from neurograph.topology import Topology, load_topology, structure
from neurograph.topology.summary import dense_share, estimate, headline, summarize

ANY = st.booleans().flatmap(lambda cyclic: topologies(cyclic=cyclic, attributes=True))


def digraph(t: Topology) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(t.num_neurons))
    graph.add_edges_from(zip(t.senders.tolist(), t.receivers.tolist()))
    return graph


@settings(max_examples=80, deadline=None)
@given(topology=ANY)
def test_structure_agrees_with_networkx(topology):
    graph = digraph(topology)
    parts = {frozenset(part) for part in nx.strongly_connected_components(graph)}
    ours = {frozenset(np.flatnonzero(topology.components == c).tolist()) for c in range(topology.components.max() + 1)}
    assert ours == parts
    assert topology.is_acyclic == nx.is_directed_acyclic_graph(graph)
    condensed = nx.condensation(graph)
    for level, generation in enumerate(nx.topological_generations(condensed)):
        # generations are by longest path, as levels are
        for part in generation:
            assert set(topology.levels[list(condensed.nodes[part]["members"])]) == {level}
    reached = set(topology.inputs.tolist()).union(*(nx.descendants(graph, i) for i in topology.inputs.tolist()))
    leading = set(topology.outputs.tolist()).union(*(nx.ancestors(graph, i) for i in topology.outputs.tolist()))
    assert set(np.flatnonzero(topology.unreachable)) == set(graph) - reached
    assert set(np.flatnonzero(topology.dead_end)) == set(graph) - leading
    lengths = nx.multi_source_dijkstra_path_length(graph, topology.inputs.tolist())
    distance = structure.distances(topology.num_neurons, topology.senders, topology.receivers, topology.inputs)
    assert distance.tolist() == [lengths.get(i, -1) for i in range(topology.num_neurons)]


@settings(max_examples=80, deadline=None)
@given(topology=ANY)
def test_small_graphs_are_searched_as_large_ones_are(topology):
    """In Python, and by SciPy."""
    edges = topology.num_neurons, topology.senders, topology.receivers

    def results():
        count, component = structure.strong_components(*edges)
        roots = topology.inputs, topology.outputs[:1], topology.inputs[:0]
        return [[count], component, *(f(*edges, r) for f in (structure.reachable, structure.distances) for r in roots)]

    small = results()
    with mock.patch.object(structure, "_SMALL_GRAPH", -1):
        for ours, theirs in zip(small, results(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=60, deadline=None)
@given(topology=topologies(cyclic=True))
def test_the_cycle_that_is_named_exists(topology):
    cycle = topology.find_cycle()
    assert bool(cycle) != topology.is_acyclic
    pairs = {(topology.names[i], topology.names[j]) for i, j in zip(topology.senders, topology.receivers)}
    assert all((a, b) in pairs for a, b in zip(cycle, cycle[1:] + cycle[:1]))
    assert len(set(cycle)) == len(cycle)
    if cycle:
        with pytest.raises(TopologyError, match="acyclic graph") as caught:
            topology.with_schedule("levels")
        assert all(repr(name) in str(caught.value) for name in cycle[:6])
    else:
        assert topology.with_schedule("levels").schedule == "levels"


@settings(max_examples=40, deadline=None)
@given(topology=ANY, data=st.data())
def test_content_decides_equality(topology, data):
    same = dataclasses.replace(topology, title="another", description="words")
    assert same == topology
    assert hash(same) == hash(topology)
    assert pickle.loads(pickle.dumps(topology)) == topology
    if topology.num_synapses > 1:
        order = data.draw(st.permutations(range(topology.num_synapses)))
        arrays = {name: getattr(topology, name)[order] for name in ("senders", "receivers", "weight", "fixed", "group")}
        assert (topology.replace(**arrays) == topology) == (list(order) == sorted(order))


def test_digest_is_stable():
    t = Topology(names=("a", "b"), senders=[0], receivers=[1], inputs=[0], outputs=[1])
    assert t.digest == "d52f8e4fd0656593d56fe592ff031808bce874c41cfcc9c1622018d55a1fe768"
    assert t != t.replace(weight=[0.5])
    assert t == t.replace(weight=np.array([np.frombuffer(b"\1\0\0\0\0\0\xf8\x7f", np.float64)[0]]))  # any NaN is the same


def test_arrays_are_copies_and_read_only():
    senders = np.array([0, 1])
    t = Topology(names=("a", "b", "c"), senders=senders, receivers=[1, 2], inputs=[0], outputs=[2])
    senders[0] = 1
    assert t.senders.tolist() == [0, 1]
    with pytest.raises(ValueError, match="read-only"):
        t.senders[0] = 2
    with pytest.raises(ValueError, match="read-only"):
        pickle.loads(pickle.dumps(t)).bias[0] = True
    with pytest.raises(dataclasses.FrozenInstanceError):
        t.ticks = 2
    assert t.senders.dtype == np.int32
    assert t.weight.dtype == np.float64
    assert t.bias.tolist() == [False, True, True]


def test_groups_are_numbered_by_first_appearance():
    base = {"names": ("a", "b", "c"), "senders": [0, 0, 1], "receivers": [1, 2, 2], "inputs": [0], "outputs": [2]}
    t = Topology(**base, group=[7, -3, 2], bias_group=[-1, 5, 5])
    assert t.group.tolist() == [0, -1, 1]
    assert t.bias_group.tolist() == [-1, 0, 0]
    assert t == Topology(**base, group=[0, -1, 9], bias_group=[-1, 0, 0])


ABC = {"names": ("a", "b", "c"), "senders": [0, 1], "receivers": [1, 2], "inputs": [0], "outputs": [2]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("a", "b", "b")}, r"names\[2\]: two neurons are named 'b'"),
        ({"names": ("a", "b", "")}, r"names\[2\]: a neuron's name is empty"),
        ({"names": ("a", "b", "c\n")}, r"names\[2\]: 'c\\n' contains the control character U\+000A"),
        ({"names": ("a", "b", "c" * 1001)}, r"names\[2\]: has 1,001 characters; at most 1,000 are allowed"),
        ({"names": ("a", "b", 3)}, r"names\[2\]: got int; expected text"),
        ({"names": ()}, "the graph has no neurons"),
        ({"senders": [0, 42]}, r"senders\[1\]: 42 is out of range; allowed 0 to 2 \(3 neurons\)"),
        ({"receivers": [1, -1]}, r"receivers\[1\]: -1 is out of range"),
        ({"receivers": [1, 2, 2]}, "receivers: got 3 values; expected 2, one per synapse"),
        ({"receivers": [1.0, 2.0]}, r"receivers: got shape \(2,\) of float64; expected one dimension of integers"),
        ({"receivers": [1, 2**40]}, "receivers: values must fit in 32 bits"),
        ({"receivers": "bc"}, "receivers: got str; expected a sequence"),
        ({"bias": [True]}, "bias: got 1 values; expected 3, one per neuron"),
        ({"bias": [True, True, True]}, "input neuron 'a' has a bias; inputs are clamped to x"),
        ({"senders": [0, 0], "receivers": [2, 2]}, "synapse 'a' -> 'c' is given twice"),
        ({"receivers": [1, 0]}, "synapse 'b' -> 'a' leads into an input neuron"),
        ({"receivers": [1, 1]}, "self-loop, 'b' -> 'b'"),
        ({"senders": [1, 1], "receivers": [1, 2], "schedule": "mixed"}, "output neuron 'c' cannot be reached from any input"),
        ({"outputs": [2, 1]}, "synapse 'b' -> 'c' leaves an output neuron; `outputs_may_project: true` allows it"),
        ({"outputs": [2, 2]}, "neuron 'c' is an output twice"),
        ({"outputs": [2, 0]}, "neuron 'a' is both an input and an output"),
        ({"inputs": []}, "the graph has no input neurons"),
        ({"outputs": [5]}, r"outputs\[0\]: 5 is out of range"),
        ({"fixed": [True, False]}, "synapse 'a' -> 'b' is fixed but has no weight"),
        ({"weight": [np.inf, 1.0]}, "synapse 'a' -> 'b': its weight is not finite"),
        ({"group": [0, 0], "weight": [1.0, 2.0]}, "synapse 'b' -> 'c' shares its number with others of its group but differs"),
        ({"bias_group": [0, -1, -1]}, "neuron 'a' has a bias group but no bias"),
        ({"population": [0, 0, 1], "population_names": ("p",)}, r"population\[2\]: 1 is out of range; allowed -1 to 0"),
        ({"population": [0, 0, 0], "population_names": ("p", "q")}, "population 'q' has no neurons"),
        ({"population": [0, 0, 1], "population_names": ("p", "p")}, "population 'p' is named twice"),
        (
            {"population": [0, 0, 0], "population_names": ("p",), "population_shapes": ((2, 2),)},
            r"population 'p' has 3 neurons but the shape \(2, 2\)",
        ),
        ({"schedule": "layers"}, "schedule: got 'layers'; allowed: levels, synchronous, mixed"),
        ({"ticks": 3}, 'ticks: got 3, but schedule "levels" has one'),
        ({"ticks": 0, "schedule": "mixed"}, "ticks: got 0; expected an integer from 1"),
        ({"title": 5}, "title: got int; expected text"),
    ],
)
def test_faults_are_named(changes, message):
    with pytest.raises(TopologyError, match=message):
        Topology(**(ABC | changes))


def test_all_faults_at_once_and_many_are_counted():
    with pytest.raises(TopologyError) as caught:
        Topology(names=("a", *"bcdefgh"), senders=[1] * 7, receivers=[0] * 7, inputs=[0], outputs=[7])
    lines = str(caught.value).splitlines()
    assert lines[2].endswith("(3 more like it)")  # parallel synapses
    assert lines[5].endswith("(4 more like it)")  # into an input
    assert len(lines) == 6


def test_what_is_allowed_on_purpose():
    loop = Topology(**(ABC | {"senders": [0, 1, 1], "receivers": [1, 2, 1], "schedule": "synchronous", "ticks": 3}))
    assert not loop.is_acyclic
    back = Topology(**(ABC | {"senders": [0, 1, 2], "receivers": [1, 2, 1], "schedule": "mixed", "outputs_may_project": True}))
    assert back.levels.tolist() == [0, 1, 1]
    assert loop.index("c") == 2
    with pytest.raises(TopologyError, match="there is no neuron 'z'"):
        loop.index("z")
    with pytest.raises(TopologyError, match="has no field 'colour'"):
        loop.replace(colour=1)
    with pytest.raises(TopologyError, match="schedule: got 'x'"):
        loop.with_schedule("x")


def test_deep_chains_and_large_graphs_are_quick():
    n = 200_000
    names = tuple(map(str, range(n)))
    chain = Topology(names=names, senders=np.arange(n - 1), receivers=np.arange(1, n), inputs=[0], outputs=[n - 1])
    assert chain.depth == n - 1
    ring = chain.replace(
        senders=np.append(chain.senders, n - 2),
        receivers=np.append(chain.receivers, 1),
        **dict.fromkeys(("fixed", "weight", "group")),
        schedule="mixed",
    )
    assert ring.depth == 2
    assert len(ring.find_cycle()) == n - 2


def test_summary_counts_what_is_stored():
    t = Topology(
        names=tuple("abcde"),
        senders=[0, 0, 1, 2, 1],
        receivers=[1, 2, 3, 3, 2],
        inputs=[0],
        outputs=[3],
        group=[0, 0, -1, -1, -1],
        fixed=[False, False, True, False, False],
        weight=[np.nan, np.nan, 1.0, np.nan, np.nan],
        bias_group=[-1, 0, 0, -1, -1],
    )
    cost = estimate(t, 4, 8)
    # synapses: one shared, two of their own; biases: one shared, two of their own
    assert cost["parameters"] == 4 * (1 + 2 + 1 + 2)
    assert cost["state_bytes"] == 4 * 4 * 8 * 5
    facts = summarize(t)
    assert facts["dead_names"] == ["e"]
    assert facts["isolated"] == facts["unreachable"] == facts["dead_ends"] == 1
    dense = Topology(names=tuple("abcd"), senders=[0, 0, 1, 1], receivers=[2, 3, 2, 3], inputs=[0, 1], outputs=[2, 3])
    assert dense_share(dense) == 1.0
    sparse = Topology(names=tuple("abcd"), senders=[0, 1, 1], receivers=[2, 2, 3], inputs=[0, 1], outputs=[2, 3])
    assert dense_share(sparse) == 0.0


def test_the_headline_names_cycles_and_dead_neurons():
    lines = {name: headline(load_topology(name)) for name in ("tiny", "ring")}
    assert lines["tiny"] == "8 neurons, 9 synapses, 2 in, 1 out, 4 levels, acyclic, 2 dead"
    assert lines["ring"] == "104 neurons, 2,280 synapses, 64 in, 10 out, 3 levels, 1 cyclic component (largest 30)"
    loop = Topology(
        ("a", "b"), senders=[0, 1], receivers=[1, 1], inputs=[0], outputs=[1], schedule="mixed", outputs_may_project=True
    )
    assert headline(loop) == "2 neurons, 2 synapses, 1 in, 1 out, 2 levels, 1 self-loop"


def test_too_few_ticks_are_noted():
    t = Topology(**(ABC | {"schedule": "synchronous", "ticks": 1}))
    assert any("output 'c' is 2 synapses from the nearest input" in note for note in summarize(t)["notes"])
