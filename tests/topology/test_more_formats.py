"""Adjacency matrices, Matrix Market, plain edge lists, and any graph with inputs and outputs attached."""

from __future__ import annotations

import io
import json

import networkx as nx
import numpy as np
import pandas
import pytest
import scipy.io
import scipy.sparse

import neurograph as ng

MATRIX = np.array([[0, 0, 0.5, 0], [0, 0, -2.0, 1.5], [0, 0, 0, 3.0], [0, 0, 0, 0]])
NAMES = ["a", "b", "c", "d"]
ENDS = {"inputs": "sources", "outputs": "sinks"}


def edges(topology):
    """{(sender, receiver): weight} by name; NaN stands for none."""
    ends = zip(topology.senders.tolist(), topology.receivers.tolist(), topology.weight.tolist(), strict=True)
    return {(topology.names[i], topology.names[j]): weight for i, j, weight in ends}


def expected(names):
    return {(names[i], names[j]): MATRIX[i, j] for i, j in zip(*np.nonzero(MATRIX), strict=True)}


def write(path, form):
    sparse = scipy.sparse.coo_matrix(MATRIX)
    if form == "mtx":
        scipy.io.mmwrite(path, sparse)
    elif form == "dense mtx":
        scipy.io.mmwrite(path, MATRIX)
    elif form == "npy":
        np.save(path, MATRIX)
    elif form == "npz":
        np.savez(path, MATRIX)
    elif form == "sparse npz":
        scipy.sparse.save_npz(path, sparse.tocsr())
    elif form == "csv":
        pandas.DataFrame(MATRIX, NAMES, NAMES).to_csv(path)
    elif form == "csv of blanks":
        pandas.DataFrame(np.where(MATRIX, MATRIX, np.nan), NAMES, NAMES).to_csv(path, sep=";")
    else:
        graph = nx.DiGraph()
        graph.add_weighted_edges_from((NAMES[i], NAMES[j], float(MATRIX[i, j])) for i, j in zip(*np.nonzero(MATRIX), strict=True))
        writers = {"edgelist": nx.write_edgelist, "edges": nx.write_weighted_edgelist}
        writers |= {"graphml": nx.write_graphml, "gml": nx.write_gml, "gexf": nx.write_gexf}
        writers["json"] = lambda graph, path: path.write_text(json.dumps(nx.node_link_data(graph, edges="links")))
        writers["rows csv"] = lambda graph, path: nx.to_pandas_edgelist(graph).to_csv(path, index=False)
        writers["dot"] = lambda graph, path: path.write_text(
            "digraph {\n" + "".join(f"{a} -> {b} [weight={w}];\n" for a, b, w in graph.edges(data="weight")) + "}"
        )
        writers[form](graph, path)


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("mtx", "1234"),
        ("dense mtx", "1234"),
        ("npy", "0123"),
        ("npz", "0123"),
        ("sparse npz", "0123"),
        ("csv", "abcd"),
        ("csv of blanks", "abcd"),
        ("edgelist", "abcd"),
        ("edges", "abcd"),
        ("rows csv", "abcd"),
        ("graphml", "abcd"),
        ("gml", "abcd"),
        ("gexf", "abcd"),
        ("json", "abcd"),
        ("dot", "abcd"),
    ],
)
def test_a_matrix_is_a_graph_with_weights_and_signs_kept_or_dropped(form, names, tmp_path):
    path = tmp_path / f"graph.{form.split(' of')[0].split()[-1]}"
    write(path, form)
    topology = ng.load_topology(path, **ENDS)
    assert edges(topology) == expected(names)
    assert [topology.names[i] for i in topology.inputs] == [*names[:2]]
    assert [topology.names[i] for i in topology.outputs] == [names[3]]
    plain = ng.load_topology(path, weight=None, **ENDS)
    assert edges(plain).keys() == edges(topology).keys()
    assert np.isnan(plain.weight).all()
    unsigned = ng.load_topology(path, signs="dropped", **ENDS)
    assert edges(unsigned) == {pair: abs(weight) for pair, weight in expected(names).items()}


def test_signs_of_a_networkx_graph_and_of_what_states_its_own_weights():
    graph = nx.DiGraph([("a", "b")])
    graph.edges["a", "b"]["strength"] = -2
    ends = {"inputs": ["a"], "outputs": ["b"], "weight": "strength"}
    assert ng.from_networkx(graph, **ends).weight.tolist() == [-2]
    assert ng.from_networkx(graph, signs="dropped", **ends).weight.tolist() == [2]
    with pytest.raises(ng.TopologyError, match="signs: got 'no'; allowed: kept, dropped"):
        ng.from_networkx(graph, signs="no", **ends)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ng.TopologyError, match="states its own weights; signs cannot be dropped"):
        ng.load_topology("tiny", signs="dropped")


def test_truth_values_and_patterns_have_no_weights(tmp_path):
    np.save(tmp_path / "graph.npy", MATRIX != 0)
    scipy.io.mmwrite(tmp_path / "graph.mtx", scipy.sparse.coo_matrix(MATRIX), field="pattern")
    for name in ("graph.npy", "graph.mtx"):
        topology = ng.load_topology(tmp_path / name, **ENDS)
        assert topology.num_synapses == 4
        assert np.isnan(topology.weight).all()


def test_edge_lines_may_have_attributes_and_comments(tmp_path):
    path = tmp_path / "graph.edgelist"
    path.write_text(
        "# made by hand\na c {'weight': 0.5, 'group': 'x', 'colour': 'red'}\n\nb c {'weight': 0.5, 'group': 'x'}  # shared\nc d\n"
    )
    topology = ng.load_topology(path, **ENDS)
    assert topology.group.tolist() == [0, 0, -1]
    assert edges(topology)["b", "c"] == 0.5


MTX = "%%MatrixMarket matrix coordinate"


def lines(*rows):
    return "\n".join(rows).encode()


def archive(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mtx", b"hello", "not a Matrix Market file"),
        (
            "a.mtx",
            lines(f"{MTX} real symmetric", "2 2 1", "2 1 1"),
            "symmetric: its edges have no direction",
        ),
        ("a.mtx", lines(f"{MTX} real general", "2 3 1", "2 1 1"), "is 2 x 3; expected a square one"),
        ("a.mtx", lines(f"{MTX} complex general", "2 2 1", "2 1 1 1"), "are complex; expected real"),
        ("a.mtx", lines(f"{MTX} real general", "2 2 2", "2 1 1"), "not a Matrix Market file"),
        ("a.npz", archive(a=MATRIX, b=MATRIX), "holds a 4x4, b 4x4; expected one square matrix"),
        ("a.npz", archive(a=MATRIX, names=np.array(NAMES)), "holds a 4x4, names 4; expected one square matrix"),
        ("a.npz", archive(a=MATRIX.astype(object)), "not a NumPy file of numbers"),
        ("a.npz", archive(a=MATRIX * 1j), "holds complex128 numbers; expected real ones"),
        ("a.npz", b"PK\x03\x04 damaged", "not a NumPy file of numbers"),
        ("a.npy", b"\x93NUMPY", "not a NumPy file of numbers"),
        ("a.csv", lines(",a,b", "a,0,1"), r"a\.csv:2: has 1 rows; the header names 2 neurons"),
        ("a.csv", lines(",a,b", "b,0,1", "a,0,0"), r"a\.csv:2: a row of neuron 'b'; expected 'a', as in the header"),
        ("a.csv", lines(",a,b", "a,0,1", "b,0"), r"a\.csv:3: a row of 2 values; the header has 3"),
        ("a.csv", lines(",a,b", "a,0,one", "b,0,0"), r"a\.csv:2: from 'a' to 'b': got 'one'; expected a finite number"),
        ("a.csv", lines(",a,b", "a,0,inf", "b,0,0"), r"a\.csv:2: from 'a' to 'b': got 'inf'"),
        ("a.edgelist", lines("a b", "c"), r"a\.edgelist:2: got 'c'; expected source and target"),
        ("a.edgelist", lines("a b c d"), r"a\.edgelist:1: got 'c d' after the names; expected a finite weight"),
        ("a.edgelist", lines("a b {'weight': 1, 'Weight': 2}"), "weight is given twice"),
        ("a.edgelist", lines("a b", "a b"), r"a\.edgelist:2: .*twice|a\.edgelist:2: .*parallel"),
        ("a.edgelist", lines("a b {'fixed': 'maybe'}"), r"a\.edgelist:1: synapse 'a' -> 'b': fixed is 'maybe'"),
    ],
)
def test_what_is_no_matrix_and_no_edge_is_refused_with_its_place(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ng.TopologyError, match=f"(?s){message}"):
        ng.load_topology(path, **ENDS)


def test_attached_inputs_and_outputs_make_a_network_of_any_graph():
    graph = nx.DiGraph([("a", "b"), ("b", "a"), ("b", "c")])
    topology = ng.from_networkx(graph, inputs=["b", "a"], outputs=["a"], attach=True)
    assert edges(topology).keys() == {*graph.edges, ("in:b", "b"), ("in:a", "a"), ("a", "out:a")}
    assert [topology.names[i] for i in topology.inputs] == ["in:b", "in:a"]
    assert [topology.names[i] for i in topology.outputs] == ["out:a"]
    assert (topology.schedule, topology.ticks, topology.damping) == ("mixed", 12, 0.5)
    levels = ng.from_networkx(nx.DiGraph([("a", "b")]), inputs="sources", outputs="sinks", attach=True)
    assert levels.schedule == "levels"
    own = ng.from_networkx(graph, inputs=["a"], outputs=["c"], attach=True, schedule="synchronous", ticks=3)
    assert (own.schedule, own.ticks, own.damping) == ("synchronous", 3, 0.0)


def test_an_undirected_edge_is_a_synapse_each_way():
    graph = nx.Graph([("a", "b"), ("b", "c")])
    graph.edges["a", "b"]["weight"] = 0.25
    topology = ng.from_networkx(graph, inputs=["a"], outputs=["c"], attach=True)
    found = edges(topology)
    assert found["a", "b"] == found["b", "a"] == 0.25
    assert topology.num_synapses == 6
    for name in nx.karate_club_graph(), nx.les_miserables_graph():
        nodes = list(name)
        any_graph = ng.from_networkx(name, inputs=nodes[:5], outputs=nodes[-3:], weight=None, attach=True)
        assert any_graph.num_synapses == 2 * name.number_of_edges() + 8


def test_what_cannot_be_attached_is_said():
    graph = nx.path_graph(3)
    with pytest.raises(ng.TopologyError, match="it is undirected; attach=True, or graph"):
        ng.from_networkx(graph, inputs=[0], outputs=[2])
    with pytest.raises(ng.TopologyError, match="inputs: there is no neuron '7'"):
        ng.from_networkx(graph, inputs=[7], outputs=[2], attach=True)
    with pytest.raises(ng.TopologyError, match="no neuron has the role 'input'"):
        ng.from_networkx(graph, outputs=[2], attach=True)
    with pytest.raises(ng.TopologyError, match="attach: got 1; expected True or False"):
        ng.from_networkx(graph, inputs=[0], outputs=[2], attach=1)  # pyright: ignore[reportArgumentType]
    taken = nx.DiGraph([("a", "in:a")])
    with pytest.raises(ng.TopologyError, match="in:a"):
        ng.from_networkx(taken, inputs=["a"], outputs=["in:a"], attach=True)
