"""`Plan`: how a topology is executed, decided once on the host from the graph alone. NumPy only.

Neurons are renumbered into *stages*, arrays of neurons that are updated together by the same function; stages are grouped into
*phases*, which follow one another (the levels of an acyclic graph) or repeat for some ticks (cycles). Synapses are cut into
*blocks* between two stages:

- `dense`: every sender meets every receiver: one matrix product;
- `masked`: dense enough that a product with zeros beats gathering;
- `diagonal`: one-to-one: an elementwise product;
- `sparse`: the rest, gathered.

Synapses of a block are all of one sort: own numbers, shared numbers (one per group) or fixed values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from neurograph.errors import PlanError
from neurograph.topology.graph import Topology

__all__ = ["Block", "Phase", "Plan", "Stage", "compile_plan"]

IntArray = np.ndarray
Index = slice | IntArray

# A dense block must have this many synapses and at least two ends on both sides; below, a gather costs less than a call.
MIN_DENSE = 32
# Remaining synapses between two stages become a product with zeros from this share on: measured on CPU, a gathered
# multiply-add costs three to four times one inside a matrix product.
MIN_DENSITY = 0.25
# More blocks than this cost more compile time than they save; the smallest are gathered instead.
MAX_BLOCKS = 192

OWN, SHARED, FIXED = "own", "shared", "fixed"
_SORTS = (OWN, SHARED, FIXED)


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
    """Stages that see the same past. `ticks` > 1 or `cyclic`: updated that often, each time from the previous tick."""

    stages: tuple[int, ...]
    ticks: int = 1
    cyclic: bool = False


@dataclass(frozen=True)
class Block:
    """Synapses between two stages.

    `dense`, `masked`: `edges` is [receivers, senders] of topology synapse indices, -1 where a masked block has none.
    `diagonal`: `edges` is [m], sender i of `source` meets receiver i of `target`.
    `source`, `target`: positions within the stage, a slice or an index array. `internal`: both stages share a cyclic phase.
    """

    kind: str
    sort: str
    source_stage: int
    target_stage: int
    source: Index
    target: Index
    edges: IntArray
    internal: bool = False


@dataclass(frozen=True)
class SparseEdges:
    """Remaining synapses of one sort, in order (target stage, receiver, sender): positions are global, in plan order."""

    sort: str
    senders: IntArray
    receivers: IntArray
    edges: IntArray


@dataclass(frozen=True, eq=False)
class Plan:
    """See the module. `order[p]` is the topology index of the neuron at plan position p, `rank` its inverse."""

    topology: Topology
    stages: tuple[Stage, ...]
    phases: tuple[Phase, ...]
    blocks: tuple[Block, ...]
    sparse: tuple[SparseEdges, ...]
    order: IntArray
    rank: IntArray
    offsets: IntArray  # [stages + 1] plan position at which each stage starts
    stage_of: IntArray = field(repr=False)  # [n] stage of the neuron at plan position p
    group: IntArray = field(repr=False)  # [E] in topology order: dense id of the shared number, -1 for own and fixed

    @property
    def digest(self) -> str:
        return self.topology.digest

    @property
    def dense_share(self) -> float:
        """Share of the synapses that run inside blocks."""
        total = self.topology.num_synapses
        return 1.0 - sum(len(s.edges) for s in self.sparse) / total if total else 1.0

    @property
    def phase_of_stage(self) -> IntArray:
        out = np.zeros(len(self.stages), int)
        for number, phase in enumerate(self.phases):
            out[list(phase.stages)] = number
        return out


def compile_plan(topology: Topology, *, blocks: bool = True) -> Plan:
    """Make the plan of a topology; the same topology (by content) gives the same cached plan.

    Args:
      topology: names, edges, roles and schedule.
      blocks: False leaves every synapse to the sparse remainder.

    Raises:
      PlanError: the schedule cannot run on this graph.
    """
    return _compile(_ByDigest(topology), blocks)


class _ByDigest:
    """Hash a topology by content for the cache."""

    def __init__(self, topology: Topology):
        self.topology = topology

    def __hash__(self) -> int:
        return hash(self.topology.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and self.topology.digest == other.topology.digest


@lru_cache(maxsize=64)
def _compile(key: _ByDigest, blocks: bool) -> Plan:
    topology = key.topology
    senders, receivers = topology.senders.astype(np.int64), topology.receivers.astype(np.int64)
    phase_of, phase_ticks, phase_cyclic = _phases(topology)
    sort = np.where(topology.fixed, 2, np.where(topology.group >= 0, 1, 0))
    groups = _complete_groups(topology, phase_of, sort) if blocks else np.full(len(senders), -1)

    stage_neurons, stage_kinds, stage_phase = _stages(topology, phase_of, groups)
    order = np.concatenate(stage_neurons) if stage_neurons else np.zeros(0, np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in stage_neurons])]).astype(np.int64)
    stage_of = np.repeat(np.arange(len(stage_neurons)), np.diff(offsets))

    plan_s, plan_r = rank[senders], rank[receivers]
    cut: list[Block] = []
    left = np.ones(len(senders), bool)
    if blocks:
        builder = _Cutter(plan_s, plan_r, stage_of, offsets, sort, stage_phase, phase_cyclic, cut, left)
        builder.cut_groups(groups)
        builder.cut_remainder()
    sparse = []
    for number, name in enumerate(_SORTS):
        chosen = np.flatnonzero(left & (sort == number))
        if len(chosen):
            by = np.lexsort((plan_s[chosen], plan_r[chosen]))
            chosen = chosen[by]
            sparse.append(SparseEdges(name, _int32(plan_s[chosen]), _int32(plan_r[chosen]), _int32(chosen)))

    phases = []
    for number in range(len(phase_ticks)):
        members = tuple(np.flatnonzero(np.asarray(stage_phase) == number).tolist())
        if members:
            phases.append(Phase(members, phase_ticks[number], phase_cyclic[number]))
    bias_group = _dense_ids(topology.bias_group, topology.bias)
    stages = tuple(
        Stage(kind, _int32(neurons), topology.bias[neurons], _int32(bias_group[neurons]))
        for kind, neurons in zip(stage_kinds, stage_neurons, strict=True)
    )
    group = _dense_ids(topology.group, ~topology.fixed)
    return Plan(
        topology, stages, tuple(phases), tuple(cut), tuple(sparse), _int32(order), _int32(rank), offsets, stage_of, _int32(group)
    )


def _int32(values: IntArray) -> IntArray:
    """Index arrays that JAX takes as they are, whether or not 64-bit types are enabled."""
    return values.astype(np.int32)


def _dense_ids(group: IntArray, used: IntArray) -> IntArray:
    """Group ids of the used members renumbered 0..G-1; -1 elsewhere."""
    out = np.full(len(group), -1, np.int64)
    chosen = used & (group >= 0)
    out[chosen] = np.unique(group[chosen], return_inverse=True)[1]
    return out


def _phases(topology: Topology) -> tuple[IntArray, list[int], list[bool]]:
    """Phase of every neuron, and each phase's ticks and whether it is cyclic. Phase 0 is the inputs."""
    n = topology.num_neurons
    is_input = np.zeros(n, bool)
    is_input[topology.inputs] = True
    if topology.schedule == "synchronous":
        return np.where(is_input, 0, 1), [1, int(topology.ticks)], [False, True]
    level = np.asarray(topology.levels).astype(np.int64).copy()
    cyclic = np.zeros(n, bool)
    if topology.schedule == "mixed":
        components = np.asarray(topology.components)
        cyclic = np.bincount(components, minlength=components.max(initial=0) + 1)[components] > 1
        cyclic[topology.senders[topology.senders == topology.receivers]] = True
    elif topology.schedule != "levels":
        raise PlanError(f"schedule: got {topology.schedule!r}; allowed: levels, synchronous, mixed")
    # A hidden neuron without incoming synapses has the inputs' level but must be computed (bias) before its receivers.
    level = np.where(is_input, 0, level + 1)
    # Outputs that project nowhere may all wait for the end: one stage instead of one per level.
    projects = np.zeros(n, bool)
    projects[topology.senders] = True
    outputs = np.zeros(n, bool)
    outputs[topology.outputs] = True
    level[outputs & ~projects] = level.max(initial=0) + 1
    key = level * 2 + cyclic
    present, phase_of = np.unique(key, return_inverse=True)
    return phase_of, [int(topology.ticks) if p % 2 else 1 for p in present], [bool(p % 2) for p in present]


def _hashes(count: int, seed: int) -> np.ndarray:
    """Fixed pseudo-random 64-bit numbers: sets are compared by the sum of their members'."""
    return np.random.default_rng(seed).integers(1, 2**63 - 1, count, dtype=np.int64).astype(np.uint64)


def _complete_groups(topology: Topology, phase_of: IntArray, sort: IntArray) -> IntArray:
    """For every synapse the complete bipartite group it belongs to, or -1.

    Receivers are grouped by their set of senders WITHIN one phase, population and sort: a skip connection that gives every
    receiver one private sender elsewhere does not hide the block.
    """
    senders, receivers = topology.senders.astype(np.int64), topology.receivers.astype(np.int64)
    if not len(senders):
        return np.zeros(0, np.int64)
    n = topology.num_neurons
    population = topology.population.astype(np.int64) + 1  # 0: in none
    _, source_class = np.unique(phase_of * (population.max(initial=0) + 1) + population, return_inverse=True)
    source_key = source_class[senders] * 3 + sort
    pair, pair_of = np.unique(receivers * (source_key.max() + 1) + source_key, return_inverse=True)
    with np.errstate(over="ignore"):
        digest = np.zeros(len(pair), np.uint64)
        np.add.at(digest, pair_of, _hashes(n, 1)[senders])
    count = np.bincount(pair_of)
    receiver, key = np.divmod(pair, source_key.max() + 1)
    bundle = np.stack([phase_of[receiver], population[receiver], key, count, digest.view(np.int64)], axis=1)
    _, group_of_pair = np.unique(bundle, axis=0, return_inverse=True)
    group_of_pair = group_of_pair.reshape(-1)
    width = np.bincount(group_of_pair)
    degree = np.zeros(len(width), np.int64)
    degree[group_of_pair] = count
    size = np.where((width >= 2) & (degree >= 2), width * degree, 0)
    size[size < MIN_DENSE] = 0
    if np.count_nonzero(size) > MAX_BLOCKS:
        size[size < np.sort(size)[-MAX_BLOCKS]] = 0
    return np.where(size > 0, np.arange(len(size)), -1)[group_of_pair][pair_of]


def _stages(topology: Topology, phase_of: IntArray, groups: IntArray) -> tuple[list[IntArray], list[str], list[int]]:
    """Cut each phase into stages: inputs and outputs in their given order, hidden neurons by the dense groups they touch."""
    n = topology.num_neurons
    signature = np.zeros(n, np.uint64)
    inside = np.flatnonzero(groups >= 0)
    if len(inside):
        count = int(groups.max()) + 1
        for ends, seed in ((topology.senders, 2), (topology.receivers, 3)):
            touched = np.unique(ends[inside].astype(np.int64) * count + groups[inside])
            with np.errstate(over="ignore"):
                np.add.at(signature, touched // count, _hashes(count, seed)[touched % count])
    kind = np.full(n, 1)
    kind[topology.inputs], kind[topology.outputs] = 0, 2
    given = np.zeros(n, np.int64)  # order within inputs and outputs
    given[topology.inputs] = np.arange(len(topology.inputs))
    given[topology.outputs] = np.arange(len(topology.outputs))
    signature[kind != 1] = 0
    # Hidden classes in order of first appearance, so that the user's order survives; small ones join one remainder.
    bundle = np.stack([phase_of, kind, signature.view(np.int64)], axis=1)
    _, first, label = np.unique(bundle, axis=0, return_index=True, return_inverse=True)
    label = label.reshape(-1)
    small = (np.bincount(label) < 8) & (kind[first] == 1)
    remainder = phase_of * 3 + kind + len(first)
    label = np.where(small[label], remainder, label)
    stage_keys, first, label = np.unique(label, return_index=True, return_inverse=True)
    by = np.lexsort((first, kind[first], phase_of[first]))
    neurons, kinds, phases = [], [], []
    members = np.split(np.argsort(label, kind="stable"), np.cumsum(np.bincount(label, minlength=len(stage_keys)))[:-1])
    for stage in by:
        chosen = members[stage]
        role = int(kind[first[stage]])
        if role != 1:
            chosen = chosen[np.argsort(given[chosen], kind="stable")]
        neurons.append(chosen.astype(np.int64))
        kinds.append(("input", "hidden", "output")[role])
        phases.append(int(phase_of[first[stage]]))
    return neurons, kinds, phases


def _compact(positions: IntArray) -> Index:
    """A slice where the positions are contiguous and ascending."""
    if len(positions) and positions[-1] - positions[0] + 1 == len(positions) and (np.diff(positions) == 1).all():
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions.astype(np.int32)


class _Cutter:
    """Turns groups and dense remainders of edges into blocks; `left` is cleared where an edge has found one."""

    def __init__(self, plan_s, plan_r, stage_of, offsets, sort, stage_phase, phase_cyclic, cut, left):
        self.plan_s, self.plan_r, self.sort = plan_s, plan_r, sort
        self.stage_s, self.stage_r = stage_of[plan_s], stage_of[plan_r]
        self.offsets, self.cut, self.left = offsets, cut, left
        self.stage_phase, self.phase_cyclic = stage_phase, phase_cyclic
        self.stages = len(offsets) - 1

    def _bundles(self, chosen: IntArray, key: IntArray) -> list[IntArray]:
        """`chosen` cut by equal keys, in order of key."""
        by = np.argsort(key, kind="stable")
        cuts = np.flatnonzero(np.diff(key[by])) + 1
        return np.split(chosen[by], cuts) if len(chosen) else []

    def cut_groups(self, groups: IntArray) -> None:
        chosen = np.flatnonzero(groups >= 0)
        key = (groups[chosen] * self.stages + self.stage_s[chosen]) * self.stages + self.stage_r[chosen]
        for edges in self._bundles(chosen, key):
            self._matrix(edges, "dense")

    def cut_remainder(self) -> None:
        chosen = np.flatnonzero(self.left)
        key = (self.stage_r[chosen] * self.stages + self.stage_s[chosen]) * 3 + self.sort[chosen]
        count = np.bincount(np.unique(key, return_inverse=True)[1]) if len(key) else np.zeros(0)
        # Few, large bundles become blocks; a deep irregular graph has thousands of small ones, which are gathered.
        worth = np.sort(count)[-MAX_BLOCKS] if len(count) > MAX_BLOCKS else 0
        for edges in self._bundles(chosen, key):
            if len(edges) < max(MIN_DENSE, worth):
                continue
            senders, receivers = np.unique(self.plan_s[edges]), np.unique(self.plan_r[edges])
            if len(edges) == len(senders) == len(receivers):
                self._diagonal(edges)
            elif len(edges) >= MIN_DENSITY * len(senders) * len(receivers):
                self._matrix(edges, "masked")

    def _ends(self, edges: IntArray) -> tuple[int, int, bool]:
        source, target = int(self.stage_s[edges[0]]), int(self.stage_r[edges[0]])
        phase = self.stage_phase[source]
        return source, target, bool(phase == self.stage_phase[target] and self.phase_cyclic[phase])

    def _matrix(self, edges: IntArray, kind: str) -> None:
        source, target, internal = self._ends(edges)
        senders, column = np.unique(self.plan_s[edges], return_inverse=True)
        receivers, row = np.unique(self.plan_r[edges], return_inverse=True)
        table = np.full((len(receivers), len(senders)), -1, np.int64)
        table[row, column] = edges
        kind = "masked" if (table < 0).any() else "dense"
        where = _compact(senders - self.offsets[source]), _compact(receivers - self.offsets[target])
        self.cut.append(Block(kind, _SORTS[self.sort[edges[0]]], source, target, *where, _int32(table), internal))
        self.left[edges] = False

    def _diagonal(self, edges: IntArray) -> None:
        source, target, internal = self._ends(edges)
        edges = edges[np.argsort(self.plan_r[edges], kind="stable")]
        where = _compact(self.plan_s[edges] - self.offsets[source]), _compact(self.plan_r[edges] - self.offsets[target])
        self.cut.append(Block("diagonal", _SORTS[self.sort[edges[0]]], source, target, *where, _int32(edges), internal))
        self.left[edges] = False
