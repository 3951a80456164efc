"""The order of neurons within their levels: rows that follow one another should have senders in common, and near each other.

Native code reads what senders send in the order of rows. Where a graph is local but its neurons are numbered at random,
every row then waits for the memory; see "The order of neurons" in docs/performance.md.
"""

from __future__ import annotations

import numpy as np

from neurograph.topology.graph import Topology

__all__ = ["near_order"]

IntArray = np.ndarray

# Smaller graphs stay in the second-level cache whatever their order is.
MIN_SYNAPSES = 1 << 16
# Another order must visit at most this share of the pages that the present one visits: of graphs without structure all are equal.
WORTH = 0.8
# Pages of so many neurons are counted, within runs of rows that have so many synapses; so many synapses are looked at.
PAGE, WINDOW, SAMPLE = 8, 4096, 1 << 15
# Stages of which a larger share of synapses lies in dense groups keep their order: products find their ends side by side.
GROUPED = 0.1


def near_order(
    topology: Topology, level_of: IntArray, groups: IntArray, neurons: list[IntArray], kinds: list[str]
) -> list[IntArray]:
    """Returns `neurons` of every stage, in an order that stays within stages and levels.

    It is the present order unless the given one, or that by first senders, visits far fewer pages.

    Args:
      level_of: [n] level of every neuron, ascending from stage to stage and within a stage.
      groups: [E] dense group of every synapse, or -1.
      neurons, kinds: of every stage, its neurons and its kind. Inputs and outputs stay where they are.
    """
    moved = np.asarray(kinds) == "hidden"
    if topology.num_synapses < MIN_SYNAPSES or not moved.any():
        return neurons
    stage_of = np.empty(topology.num_neurons, np.int64)
    stage_of[np.concatenate(neurons)] = np.repeat(np.arange(len(neurons)), [len(members) for members in neurons])
    grouped = groups >= 0
    if grouped.any():
        for ends in (topology.senders, topology.receivers):
            synapses = np.bincount(stage_of[ends], minlength=len(neurons))
            moved &= np.bincount(stage_of[ends[grouped]], minlength=len(neurons)) <= GROUPED * synapses

    def sorted_by(key: IntArray) -> list[IntArray]:
        return [m[np.lexsort((key[m], level_of[m]))] if moves else m for m, moves in zip(neurons, moved, strict=True)]

    orders = [neurons, sorted_by(np.arange(topology.num_neurons)), sorted_by(_first_senders(topology, level_of))]
    pages = [_pages(topology, np.concatenate(order)) for order in orders]
    best = int(np.argmin(pages))
    return orders[best] if pages[best] <= WORTH * pages[0] else neurons


def _first_senders(topology: Topology, level_of: IntArray) -> IntArray:
    """[n]: places, if level after level neurons are sorted by the place, from 0 to 1 in its own level, of their first sender.

    Neurons with many senders in common mostly have that one in common.
    """
    n = topology.num_neurons
    level = np.unique(level_of, return_inverse=True)[1]
    size = np.bincount(level)
    level = level.astype(np.min_scalar_type(len(size)))  # 8 and 16 bits are sorted in linear time
    starts = np.concatenate([[0], np.cumsum(size)])
    order = np.argsort(level, kind="stable")
    slot = np.empty(n, np.int64)
    slot[order] = np.arange(n)
    place = ((slot - starts[level] + 0.5) / size[level]).astype(np.float32)
    arriving = level[topology.receivers]
    by = np.argsort(arriving, kind="stable")
    senders, receivers = topology.senders[by], slot[topology.receivers[by]]
    ends = np.concatenate([[0], np.cumsum(np.bincount(arriving, minlength=len(size)))])
    for number in range(1, len(size)):
        edges, members = slice(ends[number], ends[number + 1]), order[starts[number] : starts[number + 1]]
        first = np.full(len(members), np.inf, np.float32)
        np.minimum.at(first, receivers[edges] - starts[number], place[senders[edges]])
        place[members[np.argsort(first, kind="stable")]] = (np.arange(len(members)) + 0.5) / len(members)
    return place


def _pages(topology: Topology, order: IntArray) -> float:
    """Mean number of pages of senders per synapse that runs of rows visit, of a sample of runs."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    degree = np.bincount(topology.receivers, minlength=len(order))[order]
    window = (np.cumsum(degree) - degree) // WINDOW
    chosen = window % max(topology.num_synapses // SAMPLE, 1) == 0
    edges = np.flatnonzero(chosen[rank][topology.receivers])
    visits = window[rank[topology.receivers[edges]]] * len(order) + rank[topology.senders[edges]] // PAGE
    return len(np.unique(visits)) / max(len(visits), 1)
