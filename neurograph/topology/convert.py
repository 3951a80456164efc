"""networkx graphs to topologies and back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from neurograph.errors import TopologyError
from neurograph.topology.columns import Column, Table
from neurograph.topology.formats.options import Options, Selector
from neurograph.topology.formats.parsing import short
from neurograph.topology.formats.reading import role_names, topology_of
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
    attach: bool = False,
    signs: Literal["kept", "dropped"] = "kept",
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
      attach: takes any graph. Every neuron of `inputs` gets an input neuron of its own in front of it, "in:NAME", with one
        synapse to it, and every neuron of `outputs` an output neuron behind it, "out:NAME"; so edges into inputs and out of
        outputs are allowed, and a neuron may be among both. An edge of an undirected graph becomes a synapse each way, with the
        same attributes. A graph with cycles that names no schedule gets `mixed` with 12 ticks and damping 0.5, as the shipped
        ones have. The attribute index is not looked at.
      signs: of the given values: "kept", or "dropped", which gives every synapse the magnitude.

    Returns:
      The topology; `from_networkx(topology.to_networkx()) == topology`.

    Raises:
      TopologyError: the graph is undirected (without `attach`) or has faults, all of them listed.

    Examples:
      >>> import networkx as nx
      >>> import neurograph as ng
      >>> ng.from_networkx(nx.DiGraph([("a", "b"), ("b", "c")]), inputs="sources", outputs=["c"])
      Topology(3 neurons, 2 synapses, 1 in, 1 out, levels)
      >>> ng.from_networkx(nx.cycle_graph(5), inputs=[0, 1], outputs=[3], attach=True)
      Topology(8 neurons, 13 synapses, 2 in, 1 out, mixed x 12)
    """
    import networkx as nx  # a third of the time that a command on a YAML file would take

    options = Options(inputs, outputs, weight, schedule, ticks, outputs_may_project, limits, signs)
    if not isinstance(graph, nx.Graph):
        raise TopologyError(f"graph: got {type(graph).__name__}; expected a networkx.DiGraph.")
    if not isinstance(attach, bool):
        raise TopologyError(f"attach: got {short(attach)}; expected True or False.")
    if not graph.is_directed():
        if not attach:
            raise TopologyError("graph: it is undirected; attach=True, or graph.to_directed(), makes two synapses of every edge.")
        graph = graph.to_directed(as_view=True)
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
    if not attach:
        return topology_of(table, options)
    silent = options.schedule is None and "schedule" not in {key.lower() for key in table.graph if isinstance(key, str)}
    if silent and not nx.is_directed_acyclic_graph(graph):
        table.graph |= {"schedule": "mixed", "ticks": 12, "damping": 0.5}
    _attach(table, options)
    return topology_of(table, dataclasses.replace(options, inputs=None, outputs=None))


def _attach(table: Table, options: Options) -> None:
    """Puts neurons in front of those that are a table's inputs, and behind its outputs."""
    ends = {role: role_names(table, options, role) for role in ("input", "output")}
    for key in ("role", "position"):  # those of the neurons inside
        table.nodes.pop(key, None)
    table.edges.pop("index", None)
    table.inputs, table.outputs = [f"in:{name}" for name in ends["input"]], [f"out:{name}" for name in ends["output"]]
    table.names += [*table.inputs, *table.outputs]
    table.sources += [*table.inputs, *ends["output"]]
    table.targets += [*ends["input"], *table.outputs]
