"""Neurons, synapses and their attributes as columns: the one form that all graph files and networkx graphs pass through."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import networkx as nx


__all__ = ["EDGE_KEYS", "GRAPH_KEYS", "NODE_KEYS", "Column", "Table", "table_of", "to_networkx"]

NODE_KEYS = ("role", "position", "bias", "bias_group", "population")
EDGE_KEYS = ("weight", "fixed", "group", "index")
GRAPH_KEYS = ("schedule", "ticks", "tolerance", "damping", "outputs_may_project", "title", "description", "populations")


@dataclasses.dataclass
class Column:
    """Values of one attribute where it is given: `values[i]` belongs to element `at[i]`. Of numbers, both may be arrays."""

    at: Any = dataclasses.field(default_factory=list)
    values: Any = dataclasses.field(default_factory=list)

    def put(self, at: int, value: Any) -> bool:
        """Adds the value of element `at`, the last so far; False, and nothing done, if it has one already."""
        if self.at and self.at[-1] == at:
            return False
        self.at.append(at)
        self.values.append(value)
        return True


@dataclasses.dataclass
class Table:
    """A graph as it stands in a file. `locate(kind, index)` gives the line of a "node" or "edge", if the format has lines.

    `sources`, `targets`: names; of a format that numbers its neurons, arrays of their indices.
    """

    names: list[str]
    sources: Any
    targets: Any
    nodes: dict[str, Column] = dataclasses.field(default_factory=dict)
    edges: dict[str, Column] = dataclasses.field(default_factory=dict)
    graph: dict[str, Any] = dataclasses.field(default_factory=dict)
    path: str = ""
    locate: Callable[[str, int], int | None] = lambda kind, index: None
    inputs: list[str] | None = None  # given by the format itself (CSV), in order
    outputs: list[str] | None = None


def table_of(topology: Any) -> Table:
    """Everything in a `Topology` as columns; only what differs from the defaults, so that files stay short."""
    t = topology
    is_input = np.zeros(t.num_neurons, bool)
    is_input[t.inputs] = True
    nodes: dict[str, Column] = {}
    role = {**dict.fromkeys(t.inputs.tolist(), "input"), **dict.fromkeys(t.outputs.tolist(), "output")}
    nodes["role"] = Column(sorted(role), [role[i] for i in sorted(role)])
    places = {}
    for indices in (t.inputs, t.outputs):
        if (np.diff(indices) < 0).any():
            places |= {int(i): place for place, i in enumerate(indices)}
    _put(nodes, "position", sorted(places), [places[i] for i in sorted(places)])
    unbiased = np.flatnonzero(~t.bias & ~is_input).tolist()
    _put(nodes, "bias", unbiased, [False] * len(unbiased))
    _put(nodes, "bias_group", *_given(t.bias_group, t.bias_group >= 0))
    at, values = _given(t.population, t.population >= 0)
    _put(nodes, "population", at, [t.population_names[i] for i in values])
    edges: dict[str, Column] = {}
    _put(edges, "weight", *_given(t.weight, ~np.isnan(t.weight)))
    _put(edges, "fixed", *_given(t.fixed, t.fixed))
    _put(edges, "group", *_given(t.group, t.group >= 0))
    if (np.diff(t.senders) < 0).any():  # networkx keeps edges by sender: another order has to be written down
        _put(edges, "index", list(range(t.num_synapses)), list(range(t.num_synapses)))
    graph: dict[str, Any] = {}
    if t.schedule != "levels":
        graph |= {"schedule": t.schedule, "ticks": t.ticks}
        graph |= {name: getattr(t, name) for name in ("tolerance", "damping") if getattr(t, name)}
    if t.outputs_may_project:
        graph["outputs_may_project"] = True
    if t.title:
        graph["title"] = t.title
    if t.description:
        graph["description"] = t.description
    if t.population_names:
        graph["populations"] = json.dumps(dict(zip(t.population_names, t.population_shapes)), ensure_ascii=False)
    names = list(t.names)
    sources, targets = ([names[i] for i in ends.tolist()] for ends in (t.senders, t.receivers))
    return Table(names, sources, targets, nodes, edges, graph)


def _put(columns: dict[str, Column], key: str, at: list[int], values: list[Any]) -> None:
    if at:
        columns[key] = Column(at, values)


def _given(array: np.ndarray, mask: np.ndarray) -> tuple[list[int], list[Any]]:
    return np.flatnonzero(mask).tolist(), array[mask].tolist()


def to_networkx(topology: Any) -> nx.DiGraph:
    """Everything in a topology as a `networkx.DiGraph` whose attributes any networkx writer can store."""
    table = table_of(topology)
    import networkx as nx

    graph = nx.DiGraph()
    graph.graph.update(table.graph)
    graph.add_nodes_from(table.names)
    graph.add_edges_from(zip(table.sources, table.targets))
    for key in NODE_KEYS:
        column = table.nodes.get(key, Column())
        for i, value in zip(column.at, column.values):
            graph.nodes[table.names[i]][key] = value
    for key in EDGE_KEYS:
        column = table.edges.get(key, Column())
        for i, value in zip(column.at, column.values):
            graph[table.sources[i]][table.targets[i]][key] = value
    return graph
