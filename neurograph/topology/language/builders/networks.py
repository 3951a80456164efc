"""Kinds that wire one population to itself: the graphs of network science, a ring, a grid, blocks."""

from __future__ import annotations

import itertools
import math
import random
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from neurograph.errors import TopologyError
from neurograph.topology.language import sampling
from neurograph.topology.language.builders.base import Canvas, Edges, Within, register_builder

__all__ = ["BarabasiAlbert", "ErdosRenyi", "Grid", "Ring", "StochasticBlock", "WattsStrogatz"]

# networkx has generators of such graphs. Ours stay: at 100,000 edges, read as arrays, its took 12 times as long for erdos_renyi,
# 13 for watts_strogatz, 4 for barabasi_albert and 3 (sparse: 69) for stochastic_block (medians of 3 on a busy machine); its
# Barabasi-Albert and Watts-Strogatz graphs have other distributions; and shipped graphs are these kinds with a seed.

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Oriented(Within):
    direction: Literal["forward", "random", "both"] = Field(
        "forward", description="forward: from lower to higher index, acyclic; random: either way; both: there and back"
    )

    def orient(self, low: np.ndarray, high: np.ndarray, rng: np.random.Generator, start: int) -> Edges:
        """Synapses for the undirected edges low - high (low < high), ordered by sender and receiver."""
        if self.direction == "both":
            low, high = np.concatenate([low, high]), np.concatenate([high, low])
        elif self.direction == "random":
            flip = rng.random(len(low)) < 0.5
            low, high = np.where(flip, high, low), np.where(flip, low, high)
        order = np.lexsort((high, low))
        return self.edges(start + low[order], start + high[order])

    @property
    def copies(self) -> int:
        """Synapses per undirected edge."""
        return 2 if self.direction == "both" else 1


class _Seeded(_Oriented):
    seed: Seed | None = Field(None, description="its own seed instead of one derived from the file's")

    def generator(self, canvas: Canvas) -> np.random.Generator:
        return canvas.rng if self.seed is None else np.random.default_rng(self.seed)


@register_builder
class ErdosRenyi(_Seeded):
    """Every pair with one probability; forward makes an irregular acyclic graph, random or both a cyclic one."""

    kind: Literal["erdos_renyi"] = "erdos_renyi"
    density: Probability = Field(description="probability of each pair")

    def build(self, canvas: Canvas) -> Edges:
        group, rng = self.members(canvas), self.generator(canvas)
        total = group.size * (group.size - 1) // 2
        count = int(rng.binomial(total, self.density))
        canvas.reserve(count * self.copies)
        low, high = sampling.upper_pairs(sampling.distinct(rng, total, count), group.size)
        return self.orient(low, high, rng, group.start)


@register_builder
class WattsStrogatz(_Seeded):
    """Small world: a ring in which each neuron knows its neighbours, with a share of the edges led elsewhere."""

    kind: Literal["watts_strogatz"] = "watts_strogatz"
    neighbours: Annotated[int, Field(ge=2)] = Field(description="even; half of them on either side")
    rewire: Probability = Field(description="share of the edges whose far end is drawn anew")

    def build(self, canvas: Canvas) -> Edges:
        group, rng = self.members(canvas), self.generator(canvas)
        n, half = group.size, self.neighbours // 2
        if self.neighbours % 2 or self.neighbours >= n:
            raise TopologyError(
                f"neighbours is {self.neighbours}; expected an even number below {n} (the size of {group.name!r})."
            )
        canvas.reserve(n * half * self.copies)
        near = np.tile(np.arange(n), half)
        far = (near + np.repeat(np.arange(1, half + 1), n)) % n
        moving = rng.random(len(near)) < self.rewire
        if self.neighbours < n - 1:  # in a complete graph there is nowhere else to go
            for _ in range(100):
                if not moving.any():
                    break
                far[moving] = rng.integers(n, size=int(moving.sum()))
                low, high = np.minimum(near, far), np.maximum(near, far)
                # those that met an edge of their own or another's draw again; an edge that never moved stays
                order = np.lexsort((moving, high, low))
                same = (low[order][1:] == low[order][:-1]) & (high[order][1:] == high[order][:-1])
                again = near == far
                again[order[1:][same]] = True
                moving = again & moving
            if moving.any():  # almost complete graphs leave hardly any room: take any free pairs
                near, far = self._fill(rng, near, far, moving, n)
        return self.orient(np.minimum(near, far), np.maximum(near, far), rng, group.start)

    @staticmethod
    def _fill(
        rng: np.random.Generator, near: np.ndarray, far: np.ndarray, moving: np.ndarray, n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        settled = ~moving
        taken = np.zeros((n, n), bool)
        taken[np.minimum(near, far)[settled], np.maximum(near, far)[settled]] = True
        low, high = np.nonzero(np.triu(~taken, 1))
        chosen = sampling.distinct(rng, len(low), int(moving.sum()))
        return np.append(near[settled], low[chosen]), np.append(far[settled], high[chosen])


@register_builder
class BarabasiAlbert(_Seeded):
    """Scale-free: neurons join one by one and attach to those that already have many edges."""

    kind: Literal["barabasi_albert"] = "barabasi_albert"
    attach: Annotated[int, Field(ge=1)] = Field(description="edges that a newcomer brings")

    def build(self, canvas: Canvas) -> Edges:
        group, rng = self.members(canvas), self.generator(canvas)
        n, m = group.size, self.attach
        if m >= n:
            raise TopologyError(f"attach is {m}; expected less than {n} (the size of {group.name!r}).")
        canvas.reserve((n - m) * m * self.copies)
        draw = random.Random(int(rng.integers(2**62)))
        ends = list(range(m))  # every neuron as often as it has edges; the first m once
        low = np.empty((n - m) * m, np.int64)
        for newcomer in range(m, n):
            chosen: set[int] = set()
            while len(chosen) < min(m, 64):
                chosen.add(ends[int(draw.random() * len(ends))])
            while len(chosen) < m:  # many at a time; the last batch may bring too many
                batch = draw.choices(ends, k=2 * (m - len(chosen)))
                chosen |= set(itertools.islice(dict.fromkeys(end for end in batch if end not in chosen), m - len(chosen)))
            partners = sorted(chosen)
            low[(newcomer - m) * m : (newcomer - m + 1) * m] = partners
            ends += partners
            ends += [newcomer] * m
        return self.orient(low, np.repeat(np.arange(m, n), m), rng, group.start)


@register_builder
class Ring(Within):
    """Each neuron to the next ones around a circle; cyclic."""

    kind: Literal["ring"] = "ring"
    reach: Annotated[int, Field(ge=1)] = Field(1, description="how many of the following neurons")
    both_ways: bool = Field(False, description="also to the preceding ones")

    def build(self, canvas: Canvas) -> Edges:
        group = self.members(canvas)
        n = group.size
        if (2 * self.reach if self.both_ways else self.reach) >= n:
            raise TopologyError(f"reach {self.reach} goes round the whole ring of {n} neurons ({group.name!r}).")
        canvas.reserve(n * self.reach * (1 + self.both_ways))
        steps = np.arange(1, self.reach + 1)
        steps = np.concatenate([steps, -steps]) if self.both_ways else steps
        senders = np.repeat(np.arange(n), len(steps))
        return self.edges(group.start + senders, group.start + (senders + np.tile(steps, n)) % n)


@register_builder
class Grid(_Oriented):
    """Neighbours along the axes of the population's shape."""

    kind: Literal["grid"] = "grid"
    diagonal: bool = Field(False, description="also neighbours across corners")
    wrap: bool = Field(False, description="opposite borders touch")

    def build(self, canvas: Canvas) -> Edges:
        group = self.members(canvas)
        rank = len(group.shape)
        if rank > 4:
            raise TopologyError(f"grid knows up to 4 axes; {group.name!r} has the shape {group.shape}.")
        if self.wrap and min(group.shape) < 3:
            raise TopologyError(f"wrap needs at least 3 neurons along every axis; {group.name!r} has the shape {group.shape}.")
        steps = [step for step in np.ndindex((3,) * rank) if self.diagonal or sum(s != 1 for s in step) == 1]
        steps = [tuple(s - 1 for s in step) for step in steps]
        steps = [step for step in steps if step > (0,) * rank]  # each edge from one of its ends
        canvas.reserve(group.size * len(steps) * self.copies)
        cells = np.indices(group.shape).reshape(rank, -1)
        shape = np.array(group.shape)[:, None]
        low, high = [], []
        for step in steps:
            moved = cells + np.array(step)[:, None]
            inside = np.full(group.size, True) if self.wrap else ((moved >= 0) & (moved < shape)).all(axis=0)
            here = np.flatnonzero(inside)
            there = np.ravel_multi_index(tuple((moved % shape)[:, here]), group.shape)
            low.append(np.minimum(here, there))
            high.append(np.maximum(here, there))
        return self.orient(np.concatenate(low), np.concatenate(high), canvas.rng, group.start)


@register_builder
class StochasticBlock(_Seeded):
    """Communities: pairs within a block with one probability, between blocks with another."""

    kind: Literal["stochastic_block"] = "stochastic_block"
    blocks: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, max_length=1000, description="sizes, in neuron order")
    inside: Probability = Field(description="probability of a pair within a block")
    between: Probability = Field(description="probability of a pair across blocks")

    def build(self, canvas: Canvas) -> Edges:
        group, rng = self.members(canvas), self.generator(canvas)
        if sum(self.blocks) != group.size:
            raise TopologyError(f"the blocks add up to {sum(self.blocks):,}; {group.name!r} has {group.size:,} neurons.")
        starts = np.concatenate([[0], np.cumsum(self.blocks)])
        total_inside = sum(size * (size - 1) // 2 for size in self.blocks)
        total_between = math.comb(group.size, 2) - total_inside
        counts = int(rng.binomial(total_inside, self.inside)), int(rng.binomial(total_between, self.between))
        canvas.reserve(sum(counts) * self.copies)
        low, high = [], []
        # within: blocks one after the other in one row of codes; across: for each block, its pairs with all later neurons
        sizes = np.array(self.blocks, np.int64)
        for count, lengths, decode in (
            (counts[0], sizes * (sizes - 1) // 2, self._inside),
            (counts[1], sizes * (group.size - starts[1:]), self._across),
        ):
            codes = sampling.distinct(rng, int(lengths.sum()), count)
            bounds = np.concatenate([[0], np.cumsum(lengths)])
            for block in range(len(sizes)):
                part = codes[np.searchsorted(codes, bounds[block]) : np.searchsorted(codes, bounds[block + 1])] - bounds[block]
                if len(part):
                    i, j = decode(part, int(sizes[block]), int(group.size - starts[block + 1]))
                    low.append(starts[block] + i)
                    high.append(starts[block] + j)
        empty = np.empty(0, np.int64)
        return self.orient(np.concatenate([empty, *low]), np.concatenate([empty, *high]), rng, group.start)

    @staticmethod
    def _inside(codes: np.ndarray, size: int, later: int) -> tuple[np.ndarray, np.ndarray]:
        return sampling.upper_pairs(codes, size)

    @staticmethod
    def _across(codes: np.ndarray, size: int, later: int) -> tuple[np.ndarray, np.ndarray]:
        return codes // later, size + codes % later
