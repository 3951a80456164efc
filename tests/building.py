"""Short ways to build a graph around one connection."""

from __future__ import annotations

import numpy as np

from neurograph.topology import build_topology


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
