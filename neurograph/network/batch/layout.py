"""A topology as index tables of a size class: NumPy only, a few milliseconds a graph, nothing compiled."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from neurograph.network.batch.sizes import SizeClass, bands, chunk_of, class_plan, pairs, parts_of
from neurograph.topology.graph import Topology

__all__ = ["FIXED", "OWN", "SHARED", "TILE", "layout"]

OWN, SHARED, FIXED = 1, 2, 3
# Rows that a sweep over an acyclic band updates at once.
TILE = 16


def layout(topology: Topology, size: SizeClass) -> dict[str, Any]:
    """Tables of one graph; positions are those of the class: inputs, hidden neurons band by band, outputs.

    Returns:
      neurons, rank: [neurons] topology index of every position and its inverse; beyond the graph's own they pair what is left.
      count: [] the graph's own number of neurons; ticks, damping: [].
      at: [synapses] where a synapse lies among the numbers of all matrices, one after another; beyond the graph's own, past
        their end.
      sort: [synapses] 0 (none), OWN, SHARED or FIXED; weight: [synapses] the topology's values, NaN where none.
      senders, receivers: [synapses] positions; arriving, leaving: [neurons] 1 / sqrt(number of synapses), at positions.
      tiles: per acyclic band, see `_tile_tables`.
      bias: [neurons] bool, bias_group [neurons], level, population [neurons], at positions.
      group: [synapses], members [groups, members] as `at`, first in topology order first.
      bias_members [bias_groups, bias_members] positions.
      outputs: [outputs] where each output stands among those of all stages of outputs.
    """
    n, edges = topology.num_neurons, topology.num_synapses
    hidden_band = np.zeros(n, int) if size.schedule == "synchronous" else bands(topology)
    hidden = np.ones(n, bool)
    hidden[topology.inputs] = hidden[topology.outputs] = False
    rank = np.full(size.neurons, -1)
    sends = np.isin(topology.outputs, topology.senders) & bool(size.sending)
    tiles: dict[str, dict[str, Any]] = {}
    place, outputs, before = np.zeros(n, int), 0, 0  # of outputs, among all outputs' positions
    for part in parts_of(size):
        if part.kind == "input":
            mine = topology.inputs
        elif part.kind == "output":
            mine = topology.outputs[~sends if part.band is None else sends & (hidden_band[topology.outputs] == part.band)]
            place[mine] = outputs + np.arange(len(mine))
            outputs += part.count
        else:
            mine = np.flatnonzero(hidden & (hidden_band == part.band))
            if part.count and size.schedule != "synchronous" and part.band is not None and part.band % 2 == 0:
                mine, bounds = _in_tiles(topology, mine)
                tiles[str(part.band)] = _tile_tables(topology, mine, bounds, part.count)
        rank[mine] = before + np.arange(len(mine))
        before += part.count
    free = np.setdiff1d(np.arange(size.neurons), rank[:n])
    rank[n:] = free
    neurons = np.empty(size.neurons, int)
    neurons[rank] = np.arange(size.neurons)

    position = rank[:n]
    senders, receivers = position[topology.senders], position[topology.receivers]
    beyond = size.numbers
    at = np.full(size.synapses, beyond)
    at[:edges] = _places(size, receivers, senders)
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
        "ticks": np.asarray(topology.ticks, np.int32),
        "damping": np.asarray(topology.damping, float),
        "at": at.astype(np.int32),
        "sort": sort,
        "weight": weight,
        "senders": _filled(size.synapses, senders, 0).astype(np.int32),
        "receivers": _filled(size.synapses, receivers, size.inputs).astype(np.int32),
        "arriving": np.where(real, 1 / np.sqrt(np.maximum(arriving, 1))[own], 1.0),
        "leaving": np.where(real, 1 / np.sqrt(np.maximum(leaving, 1))[own], 1.0),
        "tiles": tiles,
        "bias": real & topology.bias[own],
        "bias_group": np.where(real, _dense(bias_group)[own], -1).astype(np.int32),
        "bias_members": _members(bias_group, position, (size.bias_groups, size.bias_members), size.neurons),
        "group": _filled(size.synapses, _dense(group), -1).astype(np.int32),
        "members": _members(group, at[:edges], (size.groups, size.members), beyond),
        "level": np.where(real, topology.levels[own], 0).astype(np.int32),
        "population": np.where(real, topology.population[own], -1).astype(np.int32),
        "outputs": place[topology.outputs].astype(np.int32),
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


def _places(size: SizeClass, receivers: np.ndarray, senders: np.ndarray) -> np.ndarray:
    """Where synapses between positions lie among the numbers of all matrices."""
    plan = class_plan(size)
    start, first = 0, {}
    for receiver, sender in pairs(size):
        first[receiver, sender] = start
        start += plan.stages[receiver].size * plan.stages[sender].size
    of, offsets = plan.stage_of, plan.offsets
    table = np.full((len(plan.stages), len(plan.stages)), -(1 << 40))
    for pair, begin in first.items():
        table[pair] = begin
    width = np.array([stage.size for stage in plan.stages])
    r, s = of[receivers], of[senders]
    return table[r, s] + (receivers - offsets[r]) * width[s] + senders - offsets[s]


def _tile_tables(topology: Topology, neurons: np.ndarray, bounds: np.ndarray, rows: int) -> dict[str, Any]:
    """Tables of an acyclic band of so many padded rows, in the order in which a pass visits its tiles.

    Returns:
      count: [] of tiles.
      along, against: of a forward and of a backward pass, `start` [rows], the first row of a tile's window of `TILE` rows, and
        `chunks` [rows, 2], the first and one past the last chunk of senders (backward: of receivers) that those of the window's
        rows need which are then final.
    """
    height, chunk = min(TILE, rows), chunk_of(rows)
    place = np.full(topology.num_neurons, -1)
    place[neurons] = np.arange(len(neurons))
    s, r = place[topology.senders], place[topology.receivers]
    both = (s >= 0) & (r >= 0)
    s, r = s[both], r[both]
    tables: dict[str, Any] = {"count": np.asarray(len(bounds) - 1, np.int32)}
    first, last = bounds[:-1], bounds[1:]
    for name, starts, here, there in (
        ("along", np.minimum(first, rows - height), r, s),
        ("against", np.maximum(last - height, 0), s, r),
    ):
        low, high = np.full(rows, rows), np.zeros(rows, int)
        np.minimum.at(low, here, there)
        np.maximum.at(high, here, there + 1)
        start, chunks = np.zeros(rows, np.int32), np.zeros((rows, 2), np.int32)
        for tile, at in enumerate(starts):
            final = slice(at, last[tile]) if name == "along" else slice(first[tile], at + height)
            number = tile if name == "along" else len(starts) - 1 - tile
            start[number] = at
            if high[final].any():
                chunks[number] = low[final].min() // chunk, -(-high[final].max() // chunk)
        tables[name] = {"start": start, "chunks": chunks}
    return tables


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
