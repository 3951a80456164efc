"""A graph file is read as it stands or refused: no name, weight, direction or attribute is changed, dropped or guessed."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import neurograph as ng
from neurograph.topology import Limits, Topology, build_topology, from_networkx, load_topology, save_topology

CASES = Path(__file__).parents[1] / "cases"
NAN = float("nan")


def read(path: Path, **options) -> Topology:
    return load_topology(path, **{"inputs": "sources", "outputs": "sinks", **options})


@pytest.fixture
def write(tmp_path):
    def put(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        return tmp_path / name

    return put


@pytest.mark.parametrize(
    ("file", "names", "weight"),
    [
        ("csv_spaces.csv", ["a", "b", "c"], [0.5, 0.25]),
        ("csv_padded_names.csv", ["I1L", "I2L", "I3"], [10, 3, 2]),
        ("csv_gephi_directed.csv", ["a", "b", "c"], [0.5, 2.0]),
        ("gml_list_attribute.gml", ["a", "b"], [NAN]),
        ("gml_list_edge.gml", ["a", "b"], [0.5]),
        ("json_nan_unrelated.json", ["a", "b"], [NAN]),
        ("json_title_null.json", ["a", "b"], [NAN]),
        ("json_null_attr.json", ["a", "b"], [NAN]),
        ("json_sched_null.json", ["a", "b"], [NAN]),
        ("graphml_empty_data.graphml", ["n0", "n1", "n2"], [NAN, 2]),
        ("graphml_graphtool.graphml", ["n0", "n1"], [3.0]),
        ("json_tuple_ids.json", ["(0, 0)", "(0, 1)", "(1, 1)"], [NAN, NAN]),
    ],
)
def test_files_from_practice_are_read(file, names, weight):
    t = read(CASES / file)
    assert list(t.names) == names
    np.testing.assert_array_equal(t.weight, weight)
    assert (t.title, t.description, t.schedule, t.ticks) == ("", "", "levels", 1)
    assert t.population_names == ()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("csv_empty_source.csv", r"csv_empty_source\.csv:3: .*name is empty"),
        ("csv_line_number.csv", r"csv_line_number\.csv:6: synapse 'c' -> 'd': weight is 'x'"),
        ("gml_empty_label.gml", r"gml_empty_label\.gml:3: .*name is empty"),
        ("gml_label_mixed.gml", r"gml_label_mixed\.gml:1: .*two neurons are named '6'"),
    ],
)
def test_files_from_practice_are_refused_with_the_line(file, message):
    with pytest.raises(ng.errors.SpecError, match=message) as caught:
        read(CASES / file)
    assert "sources" not in str(caught.value)
    assert "sinks" not in str(caught.value)


WRONG_SELECTORS = [0, 1.5, lambda node: node == 0, ng, b"ab", {0}, {}, {"role": None}]


@pytest.mark.parametrize("wrong", WRONG_SELECTORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("argument", ["inputs", "outputs"])
def test_a_selector_of_the_wrong_kind_is_refused_by_name(argument, wrong):
    graph = nx.DiGraph([(0, 1), (1, 2)])
    with pytest.raises(ng.TopologyError, match=f"^{argument}: got"):
        from_networkx(graph, **{"inputs": [0], "outputs": [2], argument: wrong})
    assert from_networkx(graph, inputs=iter([0]), outputs=np.array([2])).num_neurons == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 3}, "^weight: got 3"),
        ({"weight": "group"}, "^weight: the attribute 'group'"),
        ({"weight": "wieght"}, "no synapse has the attribute 'wieght'"),
        ({"schedule": "layers"}, "^schedule: got 'layers'"),
        ({"ticks": 2.7, "schedule": "synchronous"}, "^ticks: got 2.7"),
        ({"ticks": 0, "schedule": "synchronous"}, "ticks: got 0"),
        ({"outputs_may_project": "false"}, "^outputs_may_project: got 'false'"),
        ({"limits": 5}, "^limits: got int"),
    ],
)
def test_options_of_the_wrong_kind_are_refused_by_name(options, message):
    graph = nx.DiGraph([(0, 1), (1, 2)])
    with pytest.raises(ng.TopologyError, match=message):
        from_networkx(graph, **{"inputs": [0], "outputs": [2], **options})
    with pytest.raises(ng.TopologyError, match=message):
        read(CASES / "csv_spaces.csv", **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": "abc"}, "^names: got str"),
        ({"names": {"a", "b", "c"}}, "^names: got set"),
        ({"population_names": "p", "population": [0, 0, 0]}, "^population_names: got str"),
        ({"population_shapes": 3}, "^population_shapes: got int"),
        ({"population_names": ("p",), "population": [0, 0, 0], "population_shapes": ((1.5, 2),)}, "^population_shapes: got"),
        ({"ticks": 2.5, "schedule": "mixed"}, "^ticks: got 2.5"),
        ({"outputs_may_project": "no"}, "^outputs_may_project: got 'no'"),
        ({"senders": {0, 1}}, "^senders: got set"),
        ({"weight": np.ma.masked_array([1.0, 2.0], [False, True])}, r"^weight\[1\]: is masked"),
    ],
)
def test_a_topology_takes_nothing_of_the_wrong_kind(changes, message):
    good = {"names": ("a", "b", "c"), "senders": [0, 1], "receivers": [1, 2], "inputs": [0], "outputs": [2]}
    assert Topology(**good | {"weight": np.ma.masked_array([1.0, 2.0], [False, False])}).weight.tolist() == [1, 2]
    with pytest.raises(ng.TopologyError, match=message):
        Topology(**good | changes)


def test_limits_and_paths_of_the_wrong_kind_are_refused_by_name(tmp_path):
    with pytest.raises(ng.TopologyError, match=r"neurons=.*expected a number"):
        Limits(neurons="many")  # type: ignore[arg-type]
    with pytest.raises(ng.TopologyError, match=r"^path: got int"):
        load_topology(5)  # type: ignore[arg-type]
    with pytest.raises(ng.TopologyError, match=r"^path: got NoneType"):
        save_topology(load_topology("tiny"), None)  # type: ignore[arg-type]
    with pytest.raises(ng.TopologyError, match=r"^topology: got dict"):
        save_topology({}, tmp_path / "graph.json")  # type: ignore[arg-type]


NODES = '<node id="a"/><node id="b"/>'


def node_link(link: dict | None = None, ids: tuple = ("a", "b"), **parts) -> str:
    """A JSON file of two neurons and a synapse, which stands on the second line."""
    edge = {"source": ids[0], "target": ids[-1], **(link or {})}
    return json.dumps({**parts, "nodes": [{"id": name} for name in ids]})[:-1] + f', "links": [\n{json.dumps(edge)}]}}'


def graphml(
    edge: str = "", graph: str = "", direction: str = 'edgedefault="directed"', domain: str = "edge", key: str = "/>"
) -> str:
    keys = f'<key id="w" for="{domain}" attr.name="Weight"{key}<key id="n" for="node" attr.name="colour"/>'
    nodes = '<node id="a"><data key="n">red</data></node><node id="b"/>'
    return f'<graphml>{keys}<graph {direction}>{graph}{nodes}<edge source="a" target="b">{edge}</edge></graph></graphml>'


def gexf(edge: str = "", mode: str = "static", head: str = "") -> str:
    graph = f'<graph defaultedgetype="directed" mode="{mode}">'
    return f'<gexf>{graph}{head}{NODES}<edge source="a" target="b">{edge}</edge></graph></gexf>'


def gml(edge: str = "", graph: str = "directed 1") -> str:
    nodes = 'node [ id 0 label "a" ] node [ id 1 label "b" ]'
    return f"graph [ {graph} {nodes}\nedge [ source 0 target 1 {edge} ] ]"


ONE, TWO = '<data key="w">1</data>', '<data key="w">2</data>'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("type.csv", "source,target,type\na,b,Directed\nb,c,Undirected\n", r"type.csv:3: an undirected edge"),
        ("quotes.csv", 'source,target\na,"b"c\n', "not valid CSV"),
        ("twice.csv", "source,target,Weight,weight\na,b,1,2\n", "names a column twice"),
        ("rows.csv", 'source,target\n"a\nb",c\nd\n', r"rows.csv:4: a row of 1 values"),
        ("control.csv", "source,target\na,b\nb,c\x07\n", r"control.csv:3: .*control character"),
        ("number.csv", "source,target,weight\na,b,1_000\n", "weight is '1_000'"),
        ("index.csv", "source,target,index\na,b,0\nb,c,\n", "index orders them"),
        ("index.csv", "source,target,index\na,b,0\nb,c,0\n", "index orders them"),
        ("inner.gml", gml("weight [ x 1 ]"), r"inner.gml:2: weight of the edge is a list"),
        ("twice.gml", gml("weight 1 weight 2"), r"twice.gml:2: key 'weight' is given twice"),
        ("twice.gml", gml(graph="directed 1 directed 0"), "'directed' is given twice"),
        ("nan.json", node_link({"weight": NAN}), r"nan.json:2: .*weight is nan"),
        ("nan.json", node_link(ids=(NAN, "b")), "expected a mapping with an id"),
        ("ticks.json", node_link(graph={"ticks": float("inf")}), "ticks is inf"),
        ("title.json", node_link(graph={"title": ["x"]}), "title is"),
        ("graph.json", node_link(graph=[["a", 1], 5]), "attributes of the graph"),
        ("link.json", node_link({"directed": False}), "undirected link"),
        ("names.json", node_link(ids=(1, "1")), "two neurons are named '1'"),
        ("both.json", node_link({"weight": 1, "Weight": 2}), "given twice"),
        ("mode.graphml", graphml(direction=""), "no attribute edgedefault"),
        ("key.graphml", graphml('<data key="v">1</data>'), "not declared"),
        ("key.graphml", graphml(ONE + TWO), "given twice"),
        ("key.graphml", graphml(ONE, domain="node"), "not for <edge>"),
        ("time.gexf", gexf(mode="dynamic"), "changes in time"),
        ("value.gexf", gexf('<attvalue for="0" value="1"/>'), "not declared"),
    ],
)
def test_what_would_be_guessed_is_refused(write, name, text, message):
    with pytest.raises(ng.errors.SpecError, match=message):
        read(write(name, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.csv", 'source, target, Weight, note, note\n\n"a", "b", 1.5, x, y\n   \n'),
        ("plain.csv", "Source;TARGET;WEIGHT\r\na;b;1.5\r\n"),
        ("plain.gml", gml("Weight 1.5 note 1 note 2", graph="directed 1 comment 1 comment 2")),
        ("plain.json", node_link({"Weight": 1.5, "fixed": ""}, directed=None, graph=None)),
        ("plain.graphml", graphml('<data key="w">1.5</data>', graph='<data key="n">red</data>')),
        ("plain.graphml", graphml('<data key="w"/>', key="><default>1.5</default></key>")),
        (
            "plain.gexf",
            gexf(
                '<attvalue for="0" value="1.5"/>', head='<attributes class="edge"><attribute id="0" title="WEIGHT"/></attributes>'
            ),
        ),
    ],
)
def test_what_does_not_matter_is_no_fault(write, name, text):
    t = read(write(name, text))
    assert (t.names, t.weight.tolist(), t.fixed.tolist()) == (("a", "b"), [1.5], [False])


def test_names_in_gml_change_by_whole_entities_only(write):
    path = write(
        "names.gml", 'graph [ directed 1 node [ id 0 label "R&D &copy &#233;&amp;" ] node [ id 1 ] edge [ source 0 target 1 ] ]'
    )
    assert read(path).names == ("R&D &copy é&", "1")


def test_our_own_edge_lists_keep_blanks_in_names(tmp_path):
    t = Topology((" a", "b ", '"c"'), [0, 1], [1, 2], [0], [2])
    save_topology(t, tmp_path / "graph.csv")
    assert load_topology(tmp_path / "graph.csv") == t


def test_a_description_in_gexf_that_is_json_is_a_description(write):
    head = "<gexf><meta><description>{}</description></meta>"
    body = f'<graph defaultedgetype="directed">{NODES}<edge source="a" target="b"/></graph></gexf>'
    assert read(write("graph.gexf", head.format("42") + body)).description == "42"
    assert len(read(write("graph.gexf", head.format("word " * 9000) + body)).description) == 5 * 9000 - 1


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({0: {"role": "input"}, 2: {"role": "ouput"}}, "role is 'ouput'"),
        ({0: {"population": 1}, 1: {"population": "1"}}, "population 1 is a number here and text elsewhere"),
        ({0: {"bias": True, "Bias": False}}, "bias is given twice"),
    ],
)
def test_attributes_of_networkx_are_not_guessed(attributes, message):
    graph = nx.DiGraph([(0, 1), (1, 2)])
    nx.set_node_attributes(graph, attributes)
    with pytest.raises(ng.TopologyError, match=message):
        from_networkx(graph, inputs=[0], outputs=None if "ouput" in message else [2])


def test_positions_order_all_inputs_or_none():
    graph = nx.DiGraph([("a", "c"), ("b", "c")])
    nx.set_node_attributes(graph, {"a": {"role": "input", "position": 0}, "b": {"role": "input"}, "c": {"role": "output"}})
    with pytest.raises(ng.TopologyError, match="position orders the inputs"):
        from_networkx(graph)
    graph.nodes["b"]["position"] = 0
    with pytest.raises(ng.TopologyError, match="position orders the inputs"):
        from_networkx(graph)
    graph.nodes["b"]["position"] = -1
    assert from_networkx(graph).inputs.tolist() == [2, 0]


def test_null_and_empty_are_not_given_in_yaml(write):
    text = """
    title:
    description: ""
    seed: null
    schedule:
    ticks:
    outputs_may_project: null
    cells:
    neurons: [+1, -0, {name: 1, bias: null, bias_group: ""}]
    inputs: [+1]
    outputs: [1]
    synapses: [[+1, -0, null], {from: -0, to: 1, weight: +2, group: "", fixed: null}]
    """
    t = load_topology(write("graph.yaml", text))
    assert t.names == ("+1", "-0", "1")
    np.testing.assert_array_equal(t.weight, [NAN, 2])
    assert (t.group < 0).all()
    assert not t.fixed.any()


@pytest.mark.parametrize(
    "neurons", [[{"name": "a", "bias_group": "g"}, "b"], [{"name": "a", "bias": True}, "b"]], ids=["bias_group", "bias"]
)
def test_a_bias_that_an_input_asks_for_is_refused(neurons):
    with pytest.raises(ng.errors.SpecError, match=r"input neuron 'a' has a bias|has a bias group but no bias"):
        build_topology({"neurons": neurons, "inputs": "a", "outputs": "b", "synapses": [["a", "b"]]})


@pytest.mark.parametrize("bias", [True, "single", "per_channel"])
def test_a_bias_that_an_input_population_asks_for_is_refused(bias):
    spec = {"populations": {"x": {"size": 2, "bias": bias}, "y": 1}, "inputs": "x", "outputs": "y"}
    with pytest.raises(ng.errors.SpecError, match=r"input neuron 'x.0' has a bias"):
        build_topology({**spec, "connections": [{"kind": "dense", "from": "x", "to": "y"}]})


def test_weights_of_a_yaml_file_are_its_own():
    with pytest.raises(ng.TopologyError, match="states its own weights"):
        load_topology("tiny", weight=None)


def test_a_name_may_be_a_number_that_no_float_holds(tmp_path):
    path, name = tmp_path / "g.json", "9" * 400
    nodes = f'[{{"id": {name}, "role": "input"}}, {{"id": "b", "role": "output"}}]'
    path.write_text(f'{{"directed": true, "nodes": {nodes}, "links": [{{"source": {name}, "target": "b"}}]}}')
    assert ng.load_topology(path).names == (name, "b")
    path.write_text(path.read_text().replace(f'"source": {name}', '"source": 1e999'))
    with pytest.raises(ng.SpecError):
        ng.load_topology(path)
