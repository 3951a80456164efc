"""A topology as index tables of a size class: NumPy only, a few milliseconds a graph, nothing compiled."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from neurograph.network.batch.sizes import SizeClass, bands
from neurograph.topology.graph import Topology

__all__ = ["FIXED", "OWN", "SHARED", "TILE", "layout"]

OWN, SHARED, FIXED = 1, 2, 3
# Rows that a sweep over an acyclic band updates at once.
TILE = 16


def layout(topology: Topology, size: SizeClass) -> dict[str, np.ndarray]:
    """Tables of one graph; positions are those of the class: inputs, hidden neurons band by band, outputs.

    Returns:
      neurons, rank: [neurons] topology index of every position and its inverse; beyond the graph's own they pair what is left.
      count: [] the graph's own number of neurons.
      at: [synapses] where a synapse lies in the flat matrix [receivers, senders]; beyond the graph's own, past its end.
      sort: [synapses] 0 (none), OWN, SHARED or FIXED; weight: [synapses] the topology's values, NaN where none.
      senders, receivers: [synapses] positions; arriving, leaving: [neurons] 1 / sqrt(number of synapses), at positions.
      tiles: [bands, most, 2] first and one past the last row of every tile of an acyclic band; tile_count: [bands].
      bias: [neurons] bool, bias_group [neurons], level, population [neurons], at positions.
      group: [synapses], members [groups, members] where in the flat matrix, first in topology order first.
      bias_members [bias_groups, bias_members] positions.
    """
    n, edges = topology.num_neurons, topology.num_synapses
    hidden_band = np.zeros(n, int) if size.schedule == "synchronous" else bands(topology)
    hidden = np.ones(n, bool)
    hidden[topology.inputs] = hidden[topology.outputs] = False
    offsets = np.cumsum([0, size.inputs, *size.hidden])
    rank = np.full(size.neurons, -1)
    rank[topology.inputs] = np.arange(size.inputs)
    rank[topology.outputs] = np.arange(size.outputs) + offsets[-1]
    most = max([*size.hidden, 1])
    tiles, tile_count = np.zeros((len(size.hidden), most, 2), np.int32), np.zeros(len(size.hidden), np.int32)
    for band, offset in enumerate(offsets[1:-1]):
        mine = np.flatnonzero(hidden & (hidden_band == band))
        if len(mine) and size.schedule != "synchronous" and band % 2 == 0:
            mine, bounds = _in_tiles(topology, mine)
            tile_count[band] = len(bounds) - 1
            tiles[band, : tile_count[band], 0], tiles[band, : tile_count[band], 1] = bounds[:-1], bounds[1:]
        rank[mine] = offset + np.arange(len(mine))
    free = np.setdiff1d(np.arange(size.neurons), rank[:n])
    rank[n:] = free
    neurons = np.empty(size.neurons, int)
    neurons[rank] = np.arange(size.neurons)

    position = rank[:n]
    senders, receivers = position[topology.senders], position[topology.receivers]
    at = np.full(size.synapses, size.receivers * size.senders)
    at[:edges] = (receivers - size.inputs) * size.senders + senders
    sort = np.zeros(size.synapses, np.int8)
    sort[:edges] = np.where(topology.fixed, FIXED, np.where(topology.group >= 0, SHARED, OWN))
    weight = _filled(size.synapses, topology.weight, np.nan)
    own = np.where(neurons < n, neurons, 0)
    real = neurons < n
    arriving = np.bincount(topology.receivers, minlength=n) + topology.bias
    leaving = np.bincount(topology.senders, minlength=n)
    group = np.where(topology.fixed, -1, topology.group)
    bias_group = np.where(topology.bias, topology.bias_group, -1)
    return {
        "neurons": neurons.astype(np.int32),
        "rank": rank.astype(np.int32),
        "count": np.asarray(n, np.int32),
        "at": at.astype(np.int32),
        "sort": sort,
        "weight": weight,
        "senders": _filled(size.synapses, senders, 0).astype(np.int32),
        "receivers": _filled(size.synapses, receivers, size.inputs).astype(np.int32),
        "arriving": np.where(real, 1 / np.sqrt(np.maximum(arriving, 1))[own], 1.0),
        "leaving": np.where(real, 1 / np.sqrt(np.maximum(leaving, 1))[own], 1.0),
        "tiles": tiles,
        "tile_count": tile_count,
        "bias": real & topology.bias[own],
        "bias_group": np.where(real, _dense(bias_group)[own], -1).astype(np.int32),
        "bias_members": _members(bias_group, position, (size.bias_groups, size.bias_members), size.neurons),
        "group": _filled(size.synapses, _dense(group), -1).astype(np.int32),
        "members": _members(group, at[:edges], (size.groups, size.members), size.receivers * size.senders),
        "level": np.where(real, topology.levels[own], 0).astype(np.int32),
        "population": np.where(real, topology.population[own], -1).astype(np.int32),
    }


def _filled(length: int, values: np.ndarray, fill: Any) -> np.ndarray:
    out = np.full(length, fill, np.result_type(values.dtype, type(fill)))
    out[: len(values)] = values
    return out


def _dense(group: np.ndarray) -> np.ndarray:
    """Ids of the groups that there are as 0, 1, ..., in order; -1 elsewhere."""
    return np.where(group >= 0, np.searchsorted(np.unique(group[group >= 0]), group), -1)


def _members(group: np.ndarray, place: np.ndarray, shape: tuple[int, int], beyond: int) -> np.ndarray:
    """`shape` int32: the places of every group's members, in the order of `group`; `beyond` where there are no more."""
    table = np.full(shape, beyond, np.int32)
    for row, number in enumerate(np.unique(group[group >= 0])):
        mine = place[group == number]
        table[row, : len(mine)] = mine
    return table


def _in_tiles(topology: Topology, neurons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order of the neurons of an acyclic band, and where tiles of at most `TILE` begin [tiles + 1]: synapses lead from tiles
    to later ones. Whoever starts the longest path goes first, so that tiles are few and full."""
    inside = np.zeros(topology.num_neurons, bool)
    inside[neurons] = True
    both = inside[topology.senders] & inside[topology.receivers]
    senders, receivers = topology.senders[both], topology.receivers[both]
    following: dict[int, list[int]] = {}
    for sender, receiver in zip(senders.tolist(), receivers.tolist()):
        following.setdefault(sender, []).append(receiver)
    height = dict.fromkeys(neurons.tolist(), 0)
    for neuron in neurons[np.argsort(-topology.levels[neurons], kind="stable")].tolist():
        if neuron in following:
            height[neuron] = 1 + max(height[receiver] for receiver in following[neuron])
    missing = dict(zip(neurons.tolist(), np.bincount(receivers, minlength=topology.num_neurons)[neurons].tolist()))
    ready = [(-height[neuron], neuron) for neuron, count in missing.items() if not count]
    heapq.heapify(ready)
    order: list[int] = []
    bounds = [0]
    while ready:
        tile = [heapq.heappop(ready)[1] for _ in range(min(TILE, len(ready)))]
        order += tile
        bounds.append(len(order))
        for neuron in tile:
            for receiver in following.get(neuron, ()):
                missing[receiver] -= 1
                if not missing[receiver]:
                    heapq.heappush(ready, (-height[receiver], receiver))
    return np.array(order, int), np.array(bounds)
