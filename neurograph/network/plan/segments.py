"""Which runs of levels are scanned, and in which order and in which tiles their neurons are updated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurograph.network.plan.cut import least_filled
from neurograph.topology.graph import Topology

__all__ = ["Segments", "find_segments", "order_segment"]

IntArray = np.ndarray

# Unrolled levels cost compile time per pair of levels that exchange synapses by gathers; up to this many pairs it is worth it.
MAX_PAIRS = 6
# A level is dense, and so not scanned, if half its arriving synapses fill the share of the pairs of levels they lie in that makes
# a product of them (cut.py), and there are this many of them: a product smaller than this is no faster than its gathers.
MIN_LEVEL = 1024
# A step of a scan costs about as much as this many slots of its tables (loop overhead against 128 multiply-adds x 2 states).
STEP_COST = 160
# The update of one row, in the same measure.
ROW_COST = 10
MAX_TILE = 512
# On a GPU a step of a scan is some five launches, each of which costs as much as moving 10 MB (gpu.py): the slots of so many
# bytes. Tables then have at most so many rows per neuron.
STEP_COST_GPU, MAX_PADDING = 50_000, 8


@dataclass(frozen=True)
class Segments:
    """`phase` [phases]: the phase that each joins (its own, or the first of its segment); `is_segment` [phases]."""

    phase: IntArray
    is_segment: IntArray


def find_segments(
    topology: Topology, phase_of: IntArray, cyclic: IntArray, *, blocks: bool, levels: str, native: bool, gpu: bool
) -> Segments:
    """Maximal runs of consecutive irregular levels of hidden neurons; see `compile_plan` for `levels`."""
    count = len(cyclic)
    own, no = np.arange(count), np.zeros(count, bool)
    if levels == "never" or topology.schedule == "synchronous" or count < 4:
        return Segments(own, no)
    hidden = np.ones(topology.num_neurons, bool)
    hidden[topology.inputs] = hidden[topology.outputs] = False
    only_hidden = np.bincount(phase_of, ~hidden, count) == 0
    size = np.bincount(phase_of, minlength=count)
    pair = phase_of[topology.senders].astype(np.int64) * count + phase_of[topology.receivers]
    pairs, edges = np.unique(pair, return_counts=True)
    source, target = pairs // count, pairs % count
    dense = np.zeros(count)
    if blocks and levels != "always":
        places = size[source] * size[target]
        filled = (edges >= least_filled(places, native, gpu) * places) & (edges >= MIN_LEVEL)
        dense = np.bincount(target, edges * filled, count) / np.maximum(np.bincount(target, edges, count), 1)
        grouped = _grouped_share(topology, phase_of, count)
        dense = np.maximum(dense, grouped)
    fits = only_hidden & ~cyclic & (dense < 0.5)
    phase, is_segment = own.copy(), no.copy()
    at = 0
    while at < count:
        stop = at
        while stop < count and fits[stop]:
            stop += 1
        if stop - at >= 2:
            inside = np.count_nonzero((source >= at) & (source < stop) & (target >= at) & (target < stop))
            if inside > MAX_PAIRS or levels == "always":
                phase[at:stop] = at
                is_segment[at] = True
        at = max(stop, at + 1)
    return Segments(phase, is_segment)


def _grouped_share(topology: Topology, phase_of: IntArray, count: int) -> IntArray:
    """[phases]: share of arriving synapses that lie in large complete groups or families of equal ones."""
    from neurograph.network.plan.groups import complete_groups

    sort = np.where(topology.fixed, 2, np.where(topology.group >= 0, 1, 0))
    unit = complete_groups(topology, phase_of, sort, np.zeros(topology.num_synapses, bool), families=True)
    target = phase_of[topology.receivers]
    total = np.maximum(np.bincount(target, minlength=count), 1)
    if unit.max(initial=-1) < 0:
        return np.zeros(count)
    large = np.bincount(unit[unit >= 0]) >= MIN_LEVEL
    good = (unit >= 0) & large[np.maximum(unit, 0)]
    return np.bincount(target, good, count) / total


def order_segment(
    topology: Topology, neurons: IntArray, level_of: IntArray, native: bool, gpu: bool
) -> tuple[IntArray, IntArray, int]:
    """Order of a segment's neurons, where its tiles start [tiles + 1], and its number of levels.

    Levels follow one another; a level is dealt into tiles of at most one size, such that long rows are spread over them.
    """
    level = level_of[neurons]
    inside = np.zeros(topology.num_neurons, bool)
    inside[neurons] = True
    both = inside[topology.senders] & inside[topology.receivers]
    degree = np.bincount(topology.receivers[both], minlength=topology.num_neurons)[neurons]
    by = np.lexsort((-degree, level))
    _, size = np.unique(level, return_counts=True)
    tile = _tile_size(size, 0.0 if native else max(float(degree.mean()), 1.0), gpu)
    number = -(-size // tile)
    starts = np.concatenate([[0], np.cumsum(size)])[:-1]
    # Deal the sorted rows of a level round its tiles; then rows of one tile are neighbours.
    position = np.arange(len(neurons)) - np.repeat(starts, size)
    dealt = np.lexsort((position, position % np.repeat(number, size), np.repeat(np.arange(len(size)), size)))
    counts = [(s + n - 1 - np.arange(n)) // n for s, n in zip(size, number, strict=True)]
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return neurons[by[dealt]], bounds, len(size)


def _tile_size(size: IntArray, degree: float, gpu: bool) -> int:
    """Rows per step: padding of small levels, which costs `degree` slots a row, against the number of steps."""
    widest = int(size.max())
    most = widest if gpu else MAX_TILE
    options = sorted({min(2**i, widest) for i in range(most.bit_length() + 1) if gpu or 2**i <= most})
    if gpu:
        options = [t for t in options if t == 1 or np.sum(-(-size // t)) * t <= MAX_PADDING * size.sum()]
    step = STEP_COST_GPU if gpu else STEP_COST
    cost = [np.sum(-(-size // t)) * (step + t * (ROW_COST + degree * 1.25)) for t in options]
    return options[int(np.argmin(cost))]
