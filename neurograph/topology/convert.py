"""networkx graphs to topologies and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neurograph.errors import TopologyError
from neurograph.topology.columns import Column, Table
from neurograph.topology.formats.parsing import short
from neurograph.topology.formats.reading import Options, Selector, topology_of
from neurograph.topology.validate import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from neurograph.topology.graph import Topology

__all__ = [
    "from_networkx",
]


def from_networkx(
    graph: Any,
    *,
    inputs: Selector = None,
    outputs: Selector = None,
    weight: str | None = "weight",
    schedule: str | None = None,
    ticks: int | None = None,
    outputs_may_project: bool | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Topology:
    """A topology from a directed networkx graph.

    Node attributes that are understood: role ("input", "output", "hidden"), position (order among inputs or outputs), bias,
    bias_group, population. Edge attributes: weight, fixed, group, index (synapse order). Graph attributes: schedule, ticks,
    outputs_may_project, title, description, populations. Neurons are called `str(node)`.

    Args:
      graph: a `networkx.DiGraph`, or a `MultiDiGraph` without parallel edges.
      inputs, outputs: who they are, if not by the attribute `role`: a list of nodes (its order is the order of the columns of x
        and y), "sources", "sinks", "ATTRIBUTE=VALUE" or {attribute: value, ...}.
      weight: edge attribute with given values; None: all synapses are drawn at initialisation.
      schedule, ticks, outputs_may_project: instead of what the graph's attributes say.
      limits: how large the graph may be.

    Returns:
      The topology; `from_networkx(topology.to_networkx()) == topology`.

    Raises:
      TopologyError: the graph is undirected or has faults, all of them listed.

    Examples:
      >>> import networkx as nx
      >>> import neurograph as ng
      >>> ng.from_networkx(nx.DiGraph([("a", "b"), ("b", "c")]), inputs="sources", outputs=["c"])
      Topology(3 neurons, 2 synapses, 1 in, 1 out, levels)
    """
    import networkx as nx  # a third of the time that a command on a YAML file would take

    options = Options(inputs, outputs, weight, schedule, ticks, outputs_may_project, limits)
    if not isinstance(graph, nx.Graph):
        raise TopologyError(f"graph: got {type(graph).__name__}; expected a networkx.DiGraph.")
    if not graph.is_directed():
        raise TopologyError("graph: it is undirected; graph.to_directed() makes two synapses of every edge.")
    limits.check(neurons=graph.number_of_nodes(), synapses=graph.number_of_edges())
    names = {node: str(node) for node in graph}
    table = Table(list(names.values()), [], [], graph=dict(graph.graph))
    wanted = options.node_keys()
    for i, (node, data) in enumerate(graph.nodes(data=True)):
        for key, value in data.items():
            name = wanted[key]
            if name is not None and not table.nodes.setdefault(name, Column()).put(i, value):
                raise TopologyError(f"node {short(names[node])}: {name} is given twice, in two cases of letters.")
    wanted = options.edge_keys()
    for i, (source, target, data) in enumerate(graph.edges(data=True)):
        table.sources.append(names[source])
        table.targets.append(names[target])
        for key, value in data.items():
            name = wanted[key]
            if name is not None and not table.edges.setdefault(name, Column()).put(i, value):
                edge = f"{short(names[source])} -> {short(names[target])}"
                raise TopologyError(f"edge {edge}: {name} is given twice, in two cases of letters.")
    return topology_of(table, options)
