"""Finds complete bipartite groups: sets of receivers that have the same senders. NumPy only, one sort of the synapses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurograph.topology.graph import Topology

__all__ = ["MIN_DENSE", "Groups", "complete_groups", "hashes", "mix"]

IntArray = np.ndarray

# A dense block has this many synapses at least, and two ends on both sides; below, a gather costs less than a call.
MIN_DENSE = 32
# Single blocks above this number cost more compile time than they save: the smallest are gathered instead.
MAX_BLOCKS = 64
# Equal small blocks become one batched product from this many on, with this many receivers each: every gathered sender then
# serves that many multiply-adds.
MIN_BATCH, MIN_RECEIVERS = 4, 4
# Padding of unequal numbers of senders in a batched product may cost this factor.
MAX_PADDING = 1.5


@dataclass(frozen=True)
class Groups:
    """`of_edge` [E]: the group of every synapse or -1; `batch` [groups]: the batch of equal groups it belongs to, or -1."""

    of_edge: IntArray
    batch: IntArray

    @property
    def unit_of_edge(self) -> IntArray:
        """[E]: one id per single group and per batch, -1 elsewhere."""
        unit = np.where(self.batch >= 0, self.batch, np.arange(len(self.batch)) + self.batch.max(initial=-1) + 1)
        return np.where(self.of_edge >= 0, unit[self.of_edge], -1) if len(unit) else self.of_edge


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


def complete_groups(topology: Topology, phase_of: IntArray, sort: IntArray, scanned: IntArray, *, batched: bool) -> Groups:
    """Receivers with the same senders WITHIN one phase, population and sort.

    A skip connection that gives every receiver one private sender elsewhere does not hide the block.

    Args:
      phase_of: [n] phase of every neuron.
      sort: [E] 0 own, 1 shared, 2 fixed.
      scanned: [E] bool: synapses inside a scanned stage, which stay out of groups.
      batched: many equal small groups become one batched product; if not, they stay out of groups and are gathered.
    """
    edges = np.flatnonzero(~scanned)
    none = Groups(np.full(len(topology.senders), -1), np.zeros(0, np.int64))
    if not len(edges):
        return none
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
        return none
    bundle = mix(classes[receiver[wanted]], pair_key[wanted], count[wanted], digest[wanted])
    _, first, group_of_pair = np.unique(bundle, return_index=True, return_inverse=True)
    width, degree = np.bincount(group_of_pair), count[wanted][first]
    size = np.where(width >= 2, width * degree, 0)
    example = wanted[first]
    batch = _batches(classes[receiver[example]], pair_key[example], width, degree)
    single = np.where((batch < 0) & (size >= MIN_DENSE), size, 0)
    if np.count_nonzero(single) > MAX_BLOCKS:
        # Strictly larger: of very many equal ones none is kept, or they would cut the stages to pieces.
        single[single <= np.sort(single)[-MAX_BLOCKS]] = 0
    kept = (single > 0) | ((batch >= 0) & batched)
    batch = np.where(batched, batch, -1)
    number = np.cumsum(kept) - 1
    of_pair = np.full(len(count), -1)
    of_pair[wanted] = np.where(kept, number, -1)[group_of_pair]
    of_edge = np.full(len(topology.senders), -1)
    of_edge[edges[by]] = np.repeat(of_pair, count)
    return Groups(of_edge, batch[kept])


def _batches(target: IntArray, source: IntArray, width: IntArray, degree: IntArray) -> IntArray:
    """[groups]: id of the batched product that a group joins (same ends, same number of receivers), or -1."""
    fits = np.flatnonzero(width >= MIN_RECEIVERS)
    out = np.full(len(width), -1)
    if len(fits) < MIN_BATCH:
        return out
    _, kind = np.unique(mix(target[fits], source[fits], width[fits]), return_inverse=True)
    number = np.bincount(kind)
    most, total = np.zeros(len(number), np.int64), np.bincount(kind, degree[fits])
    np.maximum.at(most, kind, degree[fits])
    good = (number >= MIN_BATCH) & (most * number <= MAX_PADDING * total)
    # Groups that are large on their own are better off alone unless there are very many.
    mean = np.bincount(kind, width[fits] * degree[fits]) / number
    good &= (mean < 4096) | (number > 8)
    ids = np.where(good, np.cumsum(good) - 1, -1)
    out[fits] = ids[kind]
    return out
