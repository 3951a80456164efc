"""Graph algorithms on index arrays: components, levels, reachability, one short cycle. No Python loop over synapses.

All functions take `n` neurons and `senders`, `receivers` of shape [E] (integers in 0..n-1). A graph of 1,000,000 synapses takes
well under a second in each of them, deep chains included.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["adjacency", "component_levels", "cycle_within", "distances", "reachable", "strong_components", "walk_length"]

# A frontier below this size is walked neuron by neuron: on a chain, array calls of one element each would cost seconds.
_SMALL_FRONTIER = 24
# Graphs up to this many synapses are searched in Python: SciPy is faster, but its import takes longer than that.
_SMALL_GRAPH = 20_000


def adjacency(n: int, senders: np.ndarray, receivers: np.ndarray) -> csr_array:
    """Sparse [n, n] matrix with a one for every synapse sender -> receiver (parallel ones merged)."""
    from scipy.sparse import csr_array

    ones = np.ones(len(senders), np.int8)
    matrix = csr_array((ones, (senders.astype(np.int32), receivers.astype(np.int32))), shape=(n, n))
    matrix.data[:] = 1  # merged duplicates may have wrapped round to zero
    return matrix


def strong_components(n: int, senders: np.ndarray, receivers: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of strongly connected components and the component [n] int32 of every neuron, numbered by first neuron."""
    if len(senders) <= _SMALL_GRAPH:
        with contextlib.suppress(ValueError):
            component_levels(n, senders, receivers)
            return n, np.arange(n, dtype=np.int32)  # acyclic: every neuron is a component
    from scipy.sparse.csgraph import connected_components

    count, labels = connected_components(adjacency(n, senders, receivers), directed=True, connection="strong")
    first = np.full(count, n, np.int64)
    np.minimum.at(first, labels, np.arange(n))
    rank = np.empty(count, np.int32)
    rank[np.argsort(first)] = np.arange(count, dtype=np.int32)
    return int(count), rank[labels]


def component_levels(count: int, senders: np.ndarray, receivers: np.ndarray) -> np.ndarray:
    """Longest-path level [count] int32 of every node of a graph that is acyclic but for self-loops, which are ignored.

    Nodes without incoming edges have level 0. Kahn's algorithm, one array operation per level where levels are wide.

    Raises:
      ValueError: the graph has a cycle.
    """
    keep = senders != receivers
    senders, receivers = senders[keep], receivers[keep]
    order = np.argsort(senders, kind="stable")
    targets = receivers[order].astype(np.int64)
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(senders, minlength=count), out=starts[1:])
    missing = np.bincount(receivers, minlength=count).astype(np.int64)
    level = np.zeros(count, np.int32)
    frontier = np.flatnonzero(missing == 0)
    done, depth = len(frontier), 0
    # memory views read and write single elements several times faster than arrays do
    views: Any = map(memoryview, (targets, starts, missing, level))  # type: ignore[arg-type]
    targets_view, starts_view, missing_view, level_view = views
    while len(frontier):
        depth += 1
        if len(frontier) < _SMALL_FRONTIER:
            following: list[int] = []
            for node in frontier:
                for edge in range(starts_view[node], starts_view[node + 1]):
                    target = targets_view[edge]
                    left = missing_view[target] - 1
                    missing_view[target] = left
                    if not left:
                        level_view[target] = depth
                        following.append(target)
            frontier = following
        else:
            nodes = np.asarray(frontier)
            lengths = starts[nodes + 1] - starts[nodes]
            offsets = np.repeat(starts[nodes] - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
            reached = targets[offsets + np.arange(len(offsets))]
            touched, times = np.unique(reached, return_counts=True)
            missing[touched] -= times
            frontier = touched[missing[touched] == 0]
            level[frontier] = depth
            if len(frontier) < _SMALL_FRONTIER:
                frontier = frontier.tolist()
        done += len(frontier)
    if done != count:
        raise ValueError("the graph has a cycle")
    return level


def reachable(n: int, senders: np.ndarray, receivers: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """Mask [n] bool of the neurons that a path from any of `roots` leads to (the roots included)."""
    mask = np.zeros(n, bool)
    if len(senders) <= _SMALL_GRAPH:
        mask[list(_search(n, senders, receivers, roots))] = True
    elif len(roots):
        from scipy.sparse.csgraph import breadth_first_order

        # one virtual neuron in front of all roots makes it a single search
        graph = adjacency(n + 1, np.append(senders, np.full(len(roots), n)), np.append(receivers, roots))
        mask[breadth_first_order(graph, n, return_predecessors=False)[1:]] = True
    return mask


def _search(n: int, senders: np.ndarray, receivers: np.ndarray, roots: np.ndarray) -> dict[int, int]:
    """Neurons that a path from any of `roots` leads to, and over how many synapses."""
    following: list[list[int]] = [[] for _ in range(n)]
    for sender, receiver in zip(senders.tolist(), receivers.tolist()):
        following[sender].append(receiver)
    found = dict.fromkeys(np.asarray(roots).tolist(), 0)
    queue = list(found)
    for node in queue:  # grows as it is walked
        for target in following[node]:
            if target not in found:
                found[target] = found[node] + 1
                queue.append(target)
    return found


def distances(n: int, senders: np.ndarray, receivers: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """Number of synapses [n] int32 on the shortest path from any of `roots`; -1 where there is none."""
    distance = np.full(n, -1, np.int32)
    if not len(roots):
        return distance
    if len(senders) <= _SMALL_GRAPH:
        found = _search(n, senders, receivers, roots)
        distance[list(found)] = list(found.values())
        return distance
    from scipy.sparse.csgraph import breadth_first_order

    graph = adjacency(n + 1, np.append(senders, np.full(len(roots), n)), np.append(receivers, roots))
    order, predecessors = breadth_first_order(graph, n, return_predecessors=True)
    full = np.full(n + 1, -1, np.int64)
    full[n] = 0
    # breadth-first order is by distance, so it is found a whole ring at a time: ring boundaries are where predecessors move on
    position = np.empty(n + 1, np.int64)
    position[order] = np.arange(len(order))
    parent = position[predecessors[order[1:]]]
    start, stop, ring = 0, 1, 0
    while stop < len(order):
        ring += 1
        start, stop = stop, 1 + int(np.searchsorted(parent, stop))
        full[order[start:stop]] = ring
    distance[:] = np.where(full[:n] > 0, full[:n] - 1, -1)
    return distance


def cycle_within(n: int, senders: np.ndarray, receivers: np.ndarray, component: np.ndarray) -> list[int]:
    """Neurons of one short cycle, in order, the first not repeated; empty if there is none.

    It is a self-loop if there is one, else a shortest cycle through the first neuron that lies on any.
    """
    loops = np.flatnonzero(senders == receivers)
    if len(loops):
        return [int(senders[loops[0]])]
    sizes = np.bincount(component)
    on_cycle = np.flatnonzero(sizes[component] > 1)
    if not len(on_cycle):
        return []
    from scipy.sparse.csgraph import breadth_first_order

    start = int(on_cycle[0])
    inside = (component[senders] == component[start]) & (component[receivers] == component[start])
    order, predecessors = breadth_first_order(adjacency(n, senders[inside], receivers[inside]), start, return_predecessors=True)
    closing = set(senders[inside & (receivers == start)].tolist())
    node = next(int(i) for i in order if int(i) in closing)
    path = [node]
    while path[-1] != start:
        path.append(int(predecessors[path[-1]]))
    return path[::-1]


def walk_length(
    n: int, senders: np.ndarray, receivers: np.ndarray, inputs: np.ndarray, outputs: np.ndarray, reached: np.ndarray
) -> float:
    """Expected length of a random walk from the outputs against the synapses to the inputs, over senders that are `reached`.

    Lengths solve l_j = 1 + mean of l_i over the synapses i -> j, and l = 0 at inputs, here by repetition: that is exact after as
    many rounds as an acyclic graph has levels, and comes as near as float64 goes in cycles, which every walk leaves.
    """
    usable = reached[senders] & reached[receivers]
    senders, receivers = senders[usable], receivers[usable]
    count = np.maximum(np.bincount(receivers, minlength=n), 1)
    length, moving = np.zeros(n), reached.copy()
    moving[inputs] = False
    for _ in range(1_000_000):
        new = np.where(moving, 1 + np.bincount(receivers, length[senders], minlength=n) / count, 0)
        settled = np.allclose(new, length, rtol=1e-12, atol=0)
        length = new
        if settled:
            break
    return float(length[outputs].mean())
