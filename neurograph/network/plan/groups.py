"""Complete bipartite groups: sets of receivers that have the same senders. NumPy only, one sort of the synapses."""

from __future__ import annotations

import numpy as np

from neurograph.topology.graph import Topology

__all__ = ["MIN_DENSE", "complete_groups", "hashes", "mix"]

IntArray = np.ndarray

# A dense block has this many synapses at least, and two ends on both sides; below, a gather costs less than a call.
MIN_DENSE = 32
# Single blocks above this number cost more compile time than they save: the smallest are gathered instead.
MAX_BLOCKS = 64
# Groups of this many receivers and more are a family if there are this many of them between the same two ends: the positions of
# a convolution or of a locally connected map.
MIN_FAMILY, MIN_RECEIVERS = 4, 4
# The largest group of a family has at most this many times the senders of the mean one (borders cut windows).
MAX_UNEQUAL = 1.5


def hashes(count: int, seed: int) -> np.ndarray:
    """Fixed pseudo-random 64-bit numbers: sets are compared by the sum of their members'."""
    return np.random.default_rng(seed).integers(1, 2**63 - 1, count, dtype=np.int64).astype(np.uint64)


def mix(*columns: IntArray) -> np.ndarray:
    """One 64-bit hash per row of equally long integer columns."""
    total = np.zeros(len(columns[0]), np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            total = (total ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            total ^= total >> np.uint64(29)
    return total


def complete_groups(
    topology: Topology, phase_of: IntArray, sort: IntArray, scanned: IntArray, *, families: bool = False
) -> IntArray:
    """[E]: the group of every synapse, or -1: receivers with the same senders WITHIN one phase, population and sort.

    A skip connection that gives every receiver one private sender elsewhere does not hide the group. Many equal small groups
    (convolutions, locally connected maps) are a family: gathering them was measured faster on a CPU than any product.

    Args:
      phase_of: [n] phase of every neuron.
      sort: [E] 0 own, 1 shared, 2 fixed.
      scanned: [E] bool: synapses inside a scanned stage, which stay out of groups.
      families: a family counts as one group; if False, its synapses are in none.
    """
    edges = np.flatnonzero(~scanned)
    of_edge = np.full(len(topology.senders), -1)
    if not len(edges):
        return of_edge
    senders, receivers = topology.senders[edges].astype(np.int64), topology.receivers[edges].astype(np.int64)
    population = topology.population.astype(np.int64) + 1  # 0: in none
    classes = phase_of * (population.max(initial=0) + 1) + population
    _, source_class = np.unique(classes, return_inverse=True)
    key = source_class[senders] * 3 + sort[edges]
    keys = int(key.max()) + 1
    full = receivers * keys + key
    by = np.argsort(full, kind="stable")
    starts = np.flatnonzero(np.diff(full[by], prepend=-1))
    count = np.diff(np.append(starts, len(by)))
    receiver, pair_key = np.divmod(full[by[starts]], keys)
    with np.errstate(over="ignore"):
        digest = np.add.reduceat(hashes(topology.num_neurons, 1)[senders[by]], starts)
    wanted = np.flatnonzero(count >= 2)  # a receiver with one sender is no matrix
    if not len(wanted):
        return of_edge
    bundle = mix(classes[receiver[wanted]], pair_key[wanted], count[wanted], digest[wanted])
    _, first, group_of_pair = np.unique(bundle, return_index=True, return_inverse=True)
    width, degree = np.bincount(group_of_pair), count[wanted][first]
    size = np.where(width >= 2, width * degree, 0)
    example = wanted[first]
    family = _families(classes[receiver[example]], pair_key[example], width, degree)
    single = np.where((family < 0) & (size >= MIN_DENSE), size, 0)
    if np.count_nonzero(single) > MAX_BLOCKS:
        # Strictly larger: of very many equal ones none is kept, or they would cut the stages to pieces.
        single[single <= np.sort(single)[-MAX_BLOCKS]] = 0
    number = np.where(single > 0, np.cumsum(single > 0) - 1, -1)
    if families:
        number = np.where(family >= 0, family + number.max(initial=-1) + 1, number)
    of_pair = np.full(len(count), -1)
    of_pair[wanted] = number[group_of_pair]
    of_edge[edges[by]] = np.repeat(of_pair, count)
    return of_edge


def _families(target: IntArray, source: IntArray, width: IntArray, degree: IntArray) -> IntArray:
    """[groups]: id of the family that a group belongs to (same ends, same number of receivers), or -1."""
    fits = np.flatnonzero(width >= MIN_RECEIVERS)
    out = np.full(len(width), -1)
    if len(fits) < MIN_FAMILY:
        return out
    _, kind = np.unique(mix(target[fits], source[fits], width[fits]), return_inverse=True)
    number = np.bincount(kind)
    most, total = np.zeros(len(number), np.int64), np.bincount(kind, degree[fits])
    np.maximum.at(most, kind, degree[fits])
    good = (number >= MIN_FAMILY) & (most * number <= MAX_UNEQUAL * total)
    # Groups that are large on their own are better off alone unless there are very many.
    mean = np.bincount(kind, width[fits] * degree[fits]) / number
    good &= (mean < 4096) | (number > 8)
    ids = np.where(good, np.cumsum(good) - 1, -1)
    out[fits] = ids[kind]
    return out
