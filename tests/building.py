"""Short ways to build a graph around one connection, and to write one as DOT, which we only read."""

from __future__ import annotations

import numpy as np

from neurograph.topology import build_topology
from neurograph.topology.columns import table_of


def build(*connections, populations=None, **more):
    """A graph of the connections; outputs hear everything so that it is sound."""
    return build_topology(
        {"populations": populations, "inputs": "x", "outputs": "y", "connections": list(connections), "outputs_may_project": True}
        | more
    )


def within(connection, size, **more):
    """The pairs (i, j) that a kind makes inside one population."""
    populations = {"x": 1, "c": size, "y": 1}
    t = build(
        connection,
        {"kind": "dense", "from": "x", "to": "y"},
        populations=populations,
        schedule="synchronous",
        ticks=1,
        **more,
    )
    keep = t.receivers != t.num_neurons - 1
    return list(zip((t.senders[keep] - 1).tolist(), (t.receivers[keep] - 1).tolist())), t


def between(connection, source, target, **more):
    """The pairs (i, j) that a kind makes from one population to another, and the topology."""
    t = build(connection, populations={"x": source, "y": target}, **more)
    n = int(np.prod(source))
    return list(zip(t.senders.tolist(), (t.receivers - n).tolist())), t


def dot_text(topology):
    """A topology as Graphviz DOT; names and texts hold no backslash."""
    table = table_of(topology)

    def quoted(text):
        return '"' + str(text).replace('"', '\\"') + '"'

    def attributes(columns, i):
        found = {key: column.values[column.at.index(i)] for key, column in columns.items() if i in column.at}
        return f" [{', '.join(f'{key}={quoted(value)}' for key, value in found.items())}]" if found else ""

    lines = [f"{key}={quoted(value)};" for key, value in table.graph.items()]
    lines += [f"{quoted(name)}{attributes(table.nodes, i)};" for i, name in enumerate(table.names)]
    ends = zip(table.sources, table.targets)
    lines += [f"{quoted(a)} -> {quoted(b)}{attributes(table.edges, i)};" for i, (a, b) in enumerate(ends)]
    return "digraph {\n" + "\n".join(lines) + "\n}\n"
