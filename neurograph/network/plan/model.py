"""The parts of a plan: frozen NumPy data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int

from neurograph.topology.graph import Topology

__all__ = ["FIXED", "OWN", "SHARED", "Block", "Index", "IntArray", "Phase", "Plan", "Stage"]

IntArray = np.ndarray
Index = slice | IntArray

OWN, SHARED, FIXED = "own", "shared", "fixed"


@dataclass(frozen=True)
class Stage:
    """Neurons updated together: `kind` is input, hidden or output; `neurons` are topology indices, in plan order."""

    kind: str
    neurons: IntArray
    bias: IntArray  # bool: has a bias synapse
    bias_group: IntArray  # -1, or the id of the shared bias

    @property
    def size(self) -> int:
        return len(self.neurons)


@dataclass(frozen=True)
class Phase:
    """Stages that see the same past.

    `cyclic`: updated `ticks` times, each time from the previous tick. `scanned`: the one stage holds many levels, which are
    updated one after another by a native call or a scan; its block of kind "levels" says how.
    """

    stages: tuple[int, ...]
    ticks: int = 1
    cyclic: bool = False
    scanned: bool = False


@dataclass(frozen=True)
class Block:
    """Synapses between two stages; `edges` are topology synapse indices, -1 where a matrix has none.

    `dense`, `masked`: `edges` is [receivers, senders]; `source`, `target` are positions within the stage, slice or array.
    `diagonal`: `edges` is [m], sender i of `source` meets receiver i of `target`.
    `gather`, `levels`: `edges`, `source`, `target` are [m], own numbers first, then shared, then fixed: `counts` of each.
    `levels`: both ends in one scanned stage, whose tiles (rows updated at once) start at `tiles` [number + 1].
    `internal`: both stages share a cyclic phase.
    """

    kind: str
    sort: str
    source_stage: int
    target_stage: int
    source: Index
    target: Index
    edges: IntArray
    internal: bool = False
    counts: tuple[int, int, int] = (0, 0, 0)
    tiles: IntArray | None = None
    levels: int = 1

    @cached_property
    def synapses(self) -> int:
        """How many synapses the block holds."""
        return int(np.count_nonzero(self.edges >= 0))


@dataclass(frozen=True, eq=False)
class Plan:
    """How a topology runs: stages, phases and blocks (see the package).

    `order[p]` is the topology index of the neuron at plan position p, `rank` its inverse.

    Examples:
      >>> import neurograph as ng
      >>> plan = ng.compile_plan(ng.load_topology("mlp"))
      >>> [stage.size for stage in plan.stages]
      [64, 64, 64, 10]
      >>> plan.dense_share  # of all synapses, those in matrix products
      1.0
    """

    topology: Topology
    stages: tuple[Stage, ...]
    phases: tuple[Phase, ...]
    blocks: tuple[Block, ...]
    order: Int[np.ndarray, " neurons"]
    rank: Int[np.ndarray, " neurons"]
    offsets: Int[np.ndarray, " stages_and_end"]  # plan position at which each stage starts
    stage_of: Int[np.ndarray, " neurons"] = field(repr=False)  # stage of the neuron at plan position p
    group: Int[np.ndarray, " synapses"] = field(repr=False)  # in topology order: dense id of the shared number, -1: own, fixed
    options: tuple[bool, str, bool, bool] = (True, "auto", False, False)

    def __repr__(self) -> str:
        sizes = f"{len(self.stages):,} stages, {len(self.phases):,} phases, {len(self.blocks):,} blocks"
        return f"Plan({sizes} of {self.topology!r})"

    @property
    def digest(self) -> str:
        return self.topology.digest

    @property
    def native(self) -> bool:
        """Whether irregular synapses are to run by native code."""
        return self.options[2]

    @property
    def gpu(self) -> bool:
        """Whether it is to run on a GPU."""
        return self.options[3]

    @property
    def dense_share(self) -> float:
        """Share of the synapses that run as products, not as gathers."""
        total = self.topology.num_synapses
        return 1.0 - sum(b.synapses for b in self.blocks if b.kind in ("gather", "levels")) / total if total else 1.0

    @cached_property
    def phase_of_stage(self) -> IntArray:
        out = np.zeros(len(self.stages), int)
        for number, phase in enumerate(self.phases):
            out[list(phase.stages)] = number
        return out
