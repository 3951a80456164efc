"""The measured nervous system: numbers of the publication, roles, reach, and the script that makes the files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jax
import networkx as nx
import numpy as np
import pytest

import neurograph as ng
from neurograph.report.figures.layout import population_layout

FOLDER = Path(__file__).parents[2] / "topologies"
NAMES = ("celegans", "celegans_readout")
RULE = ng.Rule(forward_activation="tanh", output_activation="identity", initial_deviation="fan_in")


@pytest.fixture
def make(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import make_celegans

    return make_celegans


def as_networkx_reads(name: str) -> nx.DiGraph:
    """The file by another reader than ours."""
    return nx.read_graphml(FOLDER / f"{name}.graphml")


def inputs_of(graph: nx.DiGraph) -> set[str]:
    return {name for name, role in graph.nodes(data="role") if role == "input"}


@pytest.mark.parametrize("name", NAMES)
def test_the_worm_is_whole(name):
    """279 neurons and 2,194 connections, as published, of which those into the clamped inputs are left out."""
    graph = as_networkx_reads(name)
    assert not graph.is_multigraph()
    assert graph.is_directed()
    worm = graph.subgraph([name for name in graph if not name.startswith("readout.")])
    kinds = Counter(kind for _, kind in worm.nodes(data="population"))
    assert kinds == {"sensory": 83, "inter": 81, "motor": 115}
    assert worm.number_of_nodes() == 279
    assert worm.number_of_edges() == 2194 - 265
    assert nx.number_of_selfloops(worm) == 0
    assert sum(worm.has_edge(b, a) for a, b in worm.edges) == 2 * 153
    assert len(max(nx.strongly_connected_components(worm), key=len)) == 175
    for left in (name for name in worm if name.endswith("L") and name not in ("AVL", "DVL")):  # the worm has two sides
        assert f"{left[:-1]}R" in worm


def test_known_circuits():
    """Textbook wiring: who commands locomotion, and the way of thermotaxis."""
    graph = as_networkx_reads("celegans")
    hubs = sorted(graph, key=lambda name: -graph.in_degree(name))[:7]
    assert {name[:3] for name in hubs} == {"AVA", "AVB", "AVD", "AVE"}  # command interneurons
    for pair in ("AFDL AIYL", "AIYL AIZL", "AIZL RIAL", "ASHL AVAL", "ASHR AVAR", "AVAL VA8", "AVAL DA5", "PVCL VB8"):
        assert graph.has_edge(*pair.split()), pair
    assert not graph.has_edge("AIYL", "AFDL")


def test_the_two_files_differ_in_their_outputs_alone():
    plain, readout = (as_networkx_reads(name) for name in NAMES)
    extra = set(readout) - set(plain)
    assert len(extra) == 10
    assert set(plain) < set(readout)
    assert inputs_of(plain) == inputs_of(readout)
    added = set(readout.edges) - set(plain.edges)
    assert set(plain.edges) < set(readout.edges)
    motor = {name for name, kind in plain.nodes(data="population") if kind == "motor"}
    assert added == {(source, target) for source in motor for target in extra}


@pytest.mark.parametrize("name", NAMES)
def test_roles(name):
    t = ng.load_topology(FOLDER / f"{name}.graphml")
    kind = np.array(t.population_names)[t.population]
    assert (len(t.inputs), len(t.outputs), t.schedule, t.ticks, t.damping) == (64, 10, "mixed", 12, 0.5)
    assert set(kind[t.inputs]) == {"sensory"}
    assert set(kind[t.outputs]) == {"readout" if name == "celegans_readout" else "motor"}
    graph = t.to_networkx()
    if name == "celegans":  # no other motor neuron hears more
        heard = {motor: graph.in_degree(motor) for motor in np.array(t.names)[kind == "motor"].tolist()}
        assert min(heard[t.names[i]] for i in t.outputs) >= sorted(heard.values())[-10]
        assert any(graph.out_degree(t.names[i]) for i in t.outputs)
    longest = max(
        nx.single_source_shortest_path_length(graph, t.names[i])[t.names[o]]
        for i in t.inputs.tolist()
        for o in t.outputs.tolist()
    )
    assert longest == (4 if name == "celegans" else 3)


@pytest.mark.thorough
def test_every_input_reaches_every_output_within_the_ticks(x64):
    t = ng.load_topology(FOLDER / "celegans.graphml")
    genome = ng.Genome.random(jax.random.key(0), RULE)

    def silent(ticks: int) -> int:
        """How many pairs of an input and an output there are where the output does not feel the input."""
        network = ng.Network(t.with_schedule("mixed", ticks), RULE)
        synapses = network.init(genome, key=jax.random.key(1))
        x = jax.random.normal(jax.random.key(2), (1, 64))
        slope = jax.jacobian(lambda x: network.predict(genome, synapses, x)[0])(x)
        return int((np.asarray(slope) == 0).sum())

    assert silent(4) == 0
    assert silent(3) > 0


def test_the_script_reads_what_the_tables_say(make, tmp_path):
    (tmp_path / "cells.csv").write_text(
        "Cell name,Type,Name details\n"
        'ASHL,"Amphid, nociceptive",x\nALML,Mechanosensory,x\nAVAL,Layer 1 interneuron,x\n'
        'RIML,"Layer 1 interneuron; motorneuron in White et al., 1986",x\nRIPL,Linker to pharynx,x\n'
        'SIBDL,"Sublateral motor neuron; interneuron in White et al., 1986",x\nVA1,Ventral cord motor neuron,x\n'
        "MDL01,Head muscle,x\n"
    )
    kinds = make.read_kinds(tmp_path / "cells.csv")
    sensory, inter, motor = ({name for name, k in kinds.items() if k == kind} for kind in make.KINDS)
    assert (sensory, inter, motor) == ({"ASHL", "ALML"}, {"AVAL", "RIML", "RIPL"}, {"SIBDL", "VA1"})
    rows = [
        ("ASHL", "AVAL", "S", 2.0),
        ("ashl", "AVAL", "Sp", 1.0),  # the same pair
        ("AVAL", "ASHL", "Rp", 3.0),  # the other end's view of it
        ("AVAL", "VA01", "Sp", 1.0),
        ("VA01", "AVAL", "S", 1.0),
        ("AVAL", "ASHL", "S", 1.0),  # into an input
        ("AVAL", "RIML", "EJ", 4.0),  # a gap junction
        ("VA01", "NMJ", "NMJ", 5.0),  # onto muscle
    ]
    worm = make.wiring(rows, kinds)
    assert set(worm.edges) == {("ASHL", "AVAL"), ("AVAL", "VA1"), ("VA1", "AVAL"), ("AVAL", "ASHL")}
    t = make.celegans(worm)
    pairs = {(t.names[i], t.names[j]) for i, j in zip(t.senders, t.receivers)}
    assert pairs == {("ASHL", "AVAL"), ("AVAL", "VA1"), ("VA1", "AVAL")}
    assert ([t.names[i] for i in t.inputs], [t.names[i] for i in t.outputs]) == (["ASHL"], ["VA1"])
    assert "the 1 pairs that lead into them are left out" in t.description
    assert len(make.celegans(worm, readout=True).outputs) == 10
    with pytest.raises(KeyError, match="RMGL"):
        make.wiring([("RMGL", "AVAL", "S", 1.0)], kinds)


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_as_the_script_makes_them(make, name):
    """The tables are not shipped; from the wiring in the file itself, the script chooses the same outputs and the same order."""
    t = ng.load_topology(FOLDER / f"{name}.graphml")
    graph = t.to_networkx()
    assert "2,194 directed pairs" in t.description
    assert "the 265 pairs that lead into them are left out" in t.description
    worm = nx.DiGraph()
    worm.add_nodes_from((n, {"kind": kind}) for n, kind in graph.nodes(data="population") if kind != "readout")
    worm.add_edges_from((a, b) for a, b in graph.edges if b in worm)
    again = make.celegans(nx.DiGraph(worm), readout=name == "celegans_readout")
    assert {again.names[i] for i in again.outputs} == {t.names[i] for i in t.outputs}
    assert again.names == t.names


def test_the_picture_tells_inputs_and_outputs_within_a_kind():
    boxes, links = population_layout(ng.load_topology(FOLDER / "celegans.graphml"))
    assert [(box.name, box.label, box.role) for box in boxes] == [
        ("sensory", "83, 64 in", "input"),
        ("inter", "81", "hidden"),
        ("motor", "115, 10 out", "output"),
    ]
    assert sum(int(link.label.split()[0]) for link in links) == 1929
