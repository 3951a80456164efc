"""The input of all peers: a graph cut into levels, and the same numbers for everyone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.workloads import Workload
from neurograph.topology import Topology

__all__ = ["ETA", "STEPS", "Case", "Level", "Run", "make_case"]

ETA = 1e-3  # update gate of synapses
STEPS = 10  # of the meta-gradient


@dataclass(frozen=True)
class Level:
    """Neurons that are updated together: `rows` [r]; `edges` [m] arrive at them, sorted by target, edge i at rows[row[i]]."""

    rows: np.ndarray
    edges: np.ndarray
    row: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """[r + 1]: where the edges of each row begin, as in a CSR matrix."""
        return np.searchsorted(self.row, np.arange(len(self.rows) + 1)).astype(np.int32)


@dataclass(frozen=True)
class Case:
    """`weights` [E, k] in topology order; `matrices` [4, k, k]: forward, backward, pre and post, each times a state vector;
    `x` [STEPS + 1, B, inputs], `y` [STEPS + 1, B, outputs]: the first batch is that of the single step, the last the query."""

    workload: Workload
    topology: Topology
    weights: np.ndarray
    matrices: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def states(self) -> int:
        return self.workload.states

    @property
    def batch(self) -> int:
        return self.workload.batch

    @property
    def shared(self) -> bool:
        return bool((self.topology.group >= 0).any())

    @property
    def cyclic(self) -> bool:
        return self.topology.schedule == "synchronous"

    @cached_property
    def inner(self) -> np.ndarray:
        """[n] bool: neither input nor output: what the backward pass updates."""
        inner = np.ones(self.topology.num_neurons, bool)
        inner[self.topology.inputs] = inner[self.topology.outputs] = False
        return inner

    @cached_property
    def forward(self) -> list[Level]:
        return self._levels(self.topology.receivers, np.arange(self.topology.num_synapses), 1)

    @cached_property
    def backward(self) -> list[Level]:
        return self._levels(self.topology.senders, np.flatnonzero(self.inner[self.topology.senders]), -1)

    def _levels(self, targets: np.ndarray, edges: np.ndarray, sign: int) -> list[Level]:
        """The levels of a pass; of a graph whose neurons are updated all at once, one, as often as there are ticks."""
        level = sign * np.asarray(self.topology.levels)[targets[edges]].astype(np.int64) * (not self.cyclic)
        edges = edges[np.lexsort((targets[edges], level))]
        level = np.sort(level)
        # Hidden neurons at which nothing arrives are updated, too: with the first level.
        alone = np.setdiff1d(np.flatnonzero(self.inner), targets[edges])
        levels = []
        for part in np.split(edges, np.flatnonzero(np.diff(level)) + 1):
            rows = np.union1d(targets[part], [] if levels else alone).astype(np.int32)
            levels.append(Level(rows, part, np.searchsorted(rows, targets[part]).astype(np.int32)))
        return levels * self.topology.ticks

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of a step: each synapse forward, in the product of its ends, and backward where its sender is hidden."""
        t = self.topology
        return int(t.num_synapses + self.inner[t.senders].sum() + (~t.fixed).sum()) * self.states * self.batch


@dataclass
class Run:
    """One peer on one case, ready to be timed.

    Attributes:
      step: does one step and blocks until it is done; the same input every time.
      weights: from what `step` gives to the learned weights [E, k] in topology order (of a gradient: [4, k, k] of the matrices).
      compile_seconds: tracing and compiling; None where the peer compiles nothing.
      bytes: temporary memory of the compiled program; None where there is none: then the resident set is watched.
    """

    step: Callable[[], Any]
    weights: Callable[[Any], np.ndarray]
    compile_seconds: float | None = None
    bytes: int | None = None


def make_case(workload: Workload, seed: int = 0, deviation: float = 0.1) -> Case:
    """Seeded numbers for a workload; `deviation` of the weights: small enough that states neither die out nor saturate."""
    topology, k = workload.topology(), workload.states
    random = np.random.default_rng(seed)
    draw = lambda *shape: random.standard_normal(shape, np.float32)  # noqa: E731
    weights = deviation * draw(topology.num_synapses, k)
    given = np.isfinite(topology.weight)
    weights[given] = topology.weight[given, None]
    if (topology.group >= 0).any():
        group, first = np.unique(topology.group, return_index=True)
        weights = np.where(topology.group[:, None] >= 0, weights[first[np.searchsorted(group, topology.group)]], weights)
    matrices = 0.4 * draw(4, k, k)
    x, y = draw(STEPS + 1, workload.batch, len(topology.inputs)), draw(STEPS + 1, workload.batch, len(topology.outputs))
    return Case(workload, topology, weights.astype(np.float32), matrices, x, np.sign(y))
