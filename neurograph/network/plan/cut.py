"""Cuts the synapses into blocks: complete groups, dense remainders, and gathers for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurograph.network.plan.groups import MIN_DENSE
from neurograph.network.plan.model import FIXED, OWN, SHARED, Block, Index, IntArray
from neurograph.topology.graph import Topology

__all__ = ["Cutter", "Positions", "least_filled"]

_SORTS = (OWN, SHARED, FIXED)

# Remaining synapses between two stages become a product with zeros from this share on: measured on CPU, a gathered
# multiply-add costs three to four times one inside a matrix product, a native one twice.
MIN_DENSITY, MIN_DENSITY_NATIVE = 0.25, 0.5
# On a GPU, by the rates that gpu.py assumes, a gathered synapse costs as much as 20 places of a product, in which it also saves
# launches; up to so many places, as their numbers take memory.
MIN_DENSITY_GPU, MAX_PLACES_GPU = 0.05, 1 << 22
# More such blocks than this cost more compile time than they save; the smallest are gathered instead.
MAX_BLOCKS = 64


@dataclass(frozen=True)
class Positions:
    """The positions of neurons in a plan: one stage after another.

    `neurons`, `kinds`, `phases`: of every stage, its topology indices, its kind and its phase. `tiles`: of scanned stages, where
    tiles start, and the number of levels.
    """

    neurons: list[IntArray]
    kinds: list[str]
    phases: list[int]
    tiles: dict[int, tuple[IntArray, int]]

    @cached_property
    def order(self) -> IntArray:
        """[n]: the topology index at every position."""
        return np.concatenate(self.neurons) if self.neurons else np.zeros(0, np.int64)

    @cached_property
    def rank(self) -> IntArray:
        """[n]: the position of every neuron."""
        rank = np.empty(len(self.order), np.int64)
        rank[self.order] = np.arange(len(self.order))
        return rank

    @cached_property
    def offsets(self) -> IntArray:
        """[stages + 1]: where stages start."""
        return np.concatenate([[0], np.cumsum([len(s) for s in self.neurons])]).astype(np.int64)

    @cached_property
    def stage_of(self) -> IntArray:
        """[n]: the stage at every position."""
        return np.repeat(np.arange(len(self.neurons)), np.diff(self.offsets))


class Cutter:
    """`blocks` grows; `left` is cleared where a synapse has found one.

    Args:
      topology: senders and receivers.
      positions: of the neurons.
      sort: [E] 0 own, 1 shared, 2 fixed.
      scanned: [E] bool: synapses inside a scanned stage.
      cyclic: [phases].
      native: irregular synapses run by native code; gpu: it is to run on a GPU.
    """

    def __init__(
        self,
        topology: Topology,
        positions: Positions,
        sort: IntArray,
        scanned: IntArray,
        cyclic: list[bool],
        *,
        native: bool,
        gpu: bool,
    ):
        self.plan_s, self.plan_r = positions.rank[topology.senders], positions.rank[topology.receivers]
        self.stage_s, self.stage_r = positions.stage_of[self.plan_s], positions.stage_of[self.plan_r]
        self.offsets, self.stage_phase, self.tiles = positions.offsets, positions.phases, positions.tiles
        self.stages = len(positions.neurons)
        self.sort, self.scanned, self.phase_cyclic = sort, scanned, cyclic
        self.native, self.gpu = native, gpu
        self.blocks: list[Block] = []
        self.left = np.ones(len(self.plan_s), bool)

    def _bundles(self, chosen: IntArray, key: IntArray) -> list[IntArray]:
        """`chosen` cut by equal keys, in order of key."""
        by = np.argsort(key, kind="stable")
        cuts = np.flatnonzero(np.diff(key[by])) + 1
        return np.split(chosen[by], cuts) if len(chosen) else []

    def _pair(self, chosen: IntArray) -> IntArray:
        return self.stage_r[chosen] * self.stages + self.stage_s[chosen]

    def cut_groups(self, groups: IntArray) -> None:
        """Dense blocks of complete groups."""
        chosen = np.flatnonzero(groups >= 0)
        for edges in self._bundles(chosen, groups[chosen] * self.stages**2 + self._pair(chosen)):
            self._matrix(edges)

    def cut_remainder(self) -> None:
        """One-to-one and nearly dense bundles of what is left."""
        chosen = np.flatnonzero(self.left & ~self.scanned)
        key = self._pair(chosen) * 3 + self.sort[chosen]
        bundles = [edges for edges in self._bundles(chosen, key) if len(edges) >= MIN_DENSE]
        # Few, large bundles become blocks; a deep irregular graph has thousands of small ones, which are gathered.
        worth = np.sort([len(edges) for edges in bundles])[-MAX_BLOCKS] if len(bundles) > MAX_BLOCKS else 0
        for edges in bundles:
            if len(edges) < worth:
                continue
            senders, receivers = _distinct(self.plan_s[edges]), _distinct(self.plan_r[edges])
            if len(edges) == senders == receivers:
                self._diagonal(edges)
            elif len(edges) >= least_filled(senders * receivers, self.native, self.gpu) * senders * receivers:
                self._matrix(edges)

    def cut_gathers(self) -> None:
        """Everything else: one block per pair of stages, and one per scanned stage."""
        chosen = np.flatnonzero(self.left)
        for edges in self._bundles(chosen, self._pair(chosen)):
            source, target, internal = self._ends(edges)
            edges = edges[np.lexsort((self.plan_s[edges], self.plan_r[edges], self.sort[edges]))]
            counts = np.bincount(self.sort[edges], minlength=3)
            ends = (self.plan_s[edges] - self.offsets[source]).astype(np.int32), self.plan_r[edges] - self.offsets[target]
            scanned = bool(self.scanned[edges[0]])
            tiles, levels = self.tiles[target] if scanned else (None, 1)
            self.blocks.append(
                Block(
                    "levels" if scanned else "gather",
                    "mixed",
                    source,
                    target,
                    ends[0],
                    ends[1].astype(np.int32),
                    edges.astype(np.int32),
                    internal,
                    tuple(counts.tolist()),
                    tiles,
                    levels,
                )
            )
            self.left[edges] = False

    def _ends(self, edges: IntArray) -> tuple[int, int, bool]:
        source, target = int(self.stage_s[edges[0]]), int(self.stage_r[edges[0]])
        phase = self.stage_phase[source]
        return source, target, bool(phase == self.stage_phase[target] and self.phase_cyclic[phase])

    def _matrix(self, edges: IntArray) -> None:
        source, target, internal = self._ends(edges)
        senders, column = np.unique(self.plan_s[edges], return_inverse=True)
        receivers, row = np.unique(self.plan_r[edges], return_inverse=True)
        table = np.full((len(receivers), len(senders)), -1, np.int32)
        table[row, column] = edges
        kind = "masked" if (table < 0).any() else "dense"
        where = _compact(senders - self.offsets[source]), _compact(receivers - self.offsets[target])
        self.blocks.append(Block(kind, _SORTS[self.sort[edges[0]]], source, target, *where, table, internal))
        self.left[edges] = False

    def _diagonal(self, edges: IntArray) -> None:
        source, target, internal = self._ends(edges)
        edges = edges[np.argsort(self.plan_r[edges], kind="stable")].astype(np.int32)
        where = _compact(self.plan_s[edges] - self.offsets[source]), _compact(self.plan_r[edges] - self.offsets[target])
        self.blocks.append(Block("diagonal", _SORTS[self.sort[edges[0]]], source, target, *where, edges, internal))
        self.left[edges] = False


def least_filled(places: int | IntArray, native: bool, gpu: bool) -> float | IntArray:
    """The share of a product's places that synapses must fill for it to beat gathering."""
    if gpu:
        return np.where(np.asarray(places) <= MAX_PLACES_GPU, MIN_DENSITY_GPU, MIN_DENSITY)
    return MIN_DENSITY_NATIVE if native else MIN_DENSITY


def _distinct(values: IntArray) -> int:
    low = int(values.min())
    return int(np.count_nonzero(np.bincount(values - low)))


def _compact(positions: IntArray) -> Index:
    """A slice where the positions are contiguous and ascending."""
    if len(positions) and positions[-1] - positions[0] + 1 == len(positions) and (np.diff(positions) == 1).all():
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions.astype(np.int32)
