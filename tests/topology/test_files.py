"""Every file format holds everything: what is written reads back equal."""

from __future__ import annotations

import inspect
import json

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurograph.testing import topologies
from neurograph.topology import FORMATS, from_networkx, load_topology, save_topology

ANY = st.booleans().flatmap(lambda cyclic: topologies(cyclic=cyclic, attributes=True, wild_names=True))


@pytest.mark.parametrize("ending", FORMATS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topology=ANY)
def test_a_round_trip_through_a_file_loses_nothing(tmp_path, ending, topology):
    path = tmp_path / f"graph{ending}"
    save_topology(topology, path)
    again = load_topology(path)
    assert again == topology
    assert (again.title, again.description) == (topology.title, topology.description)


@settings(max_examples=100, deadline=None)
@given(topology=ANY)
def test_a_round_trip_through_networkx_loses_nothing(topology):
    again = from_networkx(topology.to_networkx())
    assert again == topology
    assert (again.title, again.description) == (topology.title, topology.description)


@pytest.mark.parametrize("ending", [".graphml", ".gml", ".gexf"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topology=st.booleans().flatmap(lambda cyclic: topologies(cyclic=cyclic, attributes=True)))
def test_what_networkx_writes_reads_back(tmp_path, ending, topology):
    path, graph = tmp_path / f"graph{ending}", topology.to_networkx()
    {".graphml": nx.write_graphml, ".gml": nx.write_gml, ".gexf": nx.write_gexf}[ending](graph, path)
    if ending != ".gexf":
        assert load_topology(path) == topology
        return
    # networkx stores no graph attributes in GEXF: the schedule has to be said, populations have the order of their neurons
    again = load_topology(path, schedule=topology.schedule, ticks=topology.ticks)
    names = ("names", "senders", "receivers", "inputs", "outputs", "bias", "fixed", "group", "bias_group")
    assert all(list(getattr(again, name)) == list(getattr(topology, name)) for name in names)
    assert again.weight.tobytes() == topology.weight.tobytes()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topology=topologies(attributes=True))
def test_what_we_write_networkx_reads(tmp_path, topology):
    save_topology(topology, tmp_path / "graph.graphml")
    assert from_networkx(nx.read_graphml(tmp_path / "graph.graphml")) == topology
    save_topology(topology, tmp_path / "graph.gml")
    assert from_networkx(nx.read_gml(tmp_path / "graph.gml")) == topology
    save_topology(topology, tmp_path / "graph.json")
    newer = {"edges": "links"} if "edges" in inspect.signature(nx.node_link_graph).parameters else {}  # since networkx 3.4
    assert from_networkx(nx.node_link_graph(json.loads((tmp_path / "graph.json").read_text()), **newer)) == topology
