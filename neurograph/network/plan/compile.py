"""`compile_plan`: phases, stages and blocks of a topology."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from neurograph.errors import PlanError
from neurograph.network.plan.cut import Cutter, Positions
from neurograph.network.plan.groups import complete_groups
from neurograph.network.plan.locality import near_order
from neurograph.network.plan.model import IntArray, Phase, Plan, Stage
from neurograph.network.plan.segments import find_segments, order_segment
from neurograph.network.plan.stages import cut_stages, groups_worth_a_stage
from neurograph.topology.graph import Topology

__all__ = ["compile_plan"]

LEVELS = ("auto", "always", "never")


def compile_plan(
    topology: Topology, *, blocks: bool = True, levels: str = "auto", native: bool = False, gpu: bool = False
) -> Plan:
    """Make the plan of a topology; the same topology (by content) gives the same cached plan.

    Args:
      topology: names, edges, roles and schedule.
      blocks: False leaves every synapse to gathers.
      levels: runs of irregular levels become one scanned stage: "auto" (where unrolling them would cost too much to compile),
        "always" (from two levels on), "never".
      native: irregular synapses are to run by native code (kernels/native.py), which moves the thresholds.
      gpu: it is to run on a GPU, where every step of a scan starts kernels: scans take few steps of many rows, and irregular
        synapses run by the means of kernels/segment_sums.py. Not together with `native`.

    Raises:
      PlanError: an unknown option, or the schedule cannot run on this graph.

    Examples:
      >>> import neurograph as ng
      >>> plan = ng.compile_plan(ng.load_topology("mlp"))
      >>> [block.kind for block in plan.blocks]
      ['dense', 'dense', 'dense']
    """
    if levels not in LEVELS:
        raise PlanError(f"levels: got {levels!r}; allowed: {', '.join(LEVELS)}")
    if native and gpu:
        raise PlanError("native and gpu: native code runs on a CPU; expected at most one of them")
    return _compile(topology, blocks, levels, native, gpu)


@lru_cache(maxsize=64)
def _compile(topology: Topology, blocks: bool, levels: str, native: bool, gpu: bool) -> Plan:
    level_of, ticks, cyclic = _phases(topology)
    sort = np.where(topology.fixed, 2, np.where(topology.group >= 0, 1, 0))
    segments = find_segments(topology, level_of, np.asarray(cyclic), blocks=blocks, levels=levels, native=native, gpu=gpu)
    phase_of = segments.phase[level_of]  # a segment is one phase: that of its first level
    in_segment = segments.is_segment[phase_of]
    scanned = (phase_of[topology.senders] == phase_of[topology.receivers]) & in_segment[topology.receivers]
    groups = complete_groups(topology, phase_of, sort, scanned) if blocks else np.full(topology.num_synapses, -1)

    groups = groups_worth_a_stage(topology, phase_of, groups, in_segment)
    stages = cut_stages(topology, phase_of, groups, in_segment)
    neurons, kinds, stage_phase = stages.neurons, stages.kinds, stages.phases
    tiles: dict[int, tuple[IntArray, int]] = {}
    for number, phase in enumerate(stage_phase):
        if segments.is_segment[phase]:
            neurons[number], bounds, depth = order_segment(topology, neurons[number], level_of, native, gpu)
            tiles[number] = (bounds, depth)
    if native:
        neurons = near_order(topology, level_of, groups, neurons, kinds)
    positions = Positions(neurons, kinds, stage_phase, tiles)
    cutter = Cutter(topology, positions, sort, scanned, cyclic, native=native, gpu=gpu)
    if blocks:
        cutter.cut_groups(groups)
        cutter.cut_remainder()
    cutter.cut_gathers()

    phases = []
    for number in range(len(ticks)):
        members = tuple(np.flatnonzero(np.asarray(stage_phase) == number).tolist())
        if members:
            phases.append(Phase(members, ticks[number], cyclic[number], bool(segments.is_segment[number])))
    bias_group = _dense_ids(topology.bias_group, topology.bias)
    made = (
        Stage(kind, _int32(members), topology.bias[members], _int32(bias_group[members]))
        for kind, members in zip(kinds, neurons, strict=True)
    )
    return Plan(
        topology,
        tuple(made),
        tuple(phases),
        tuple(cutter.blocks),
        _int32(positions.order),
        _int32(positions.rank),
        positions.offsets,
        positions.stage_of,
        _int32(_dense_ids(topology.group, ~topology.fixed)),
        (blocks, levels, native, gpu),
    )


def _int32(values: IntArray) -> IntArray:
    """Index arrays that JAX takes as they are, whether or not 64-bit types are enabled."""
    return values.astype(np.int32)


def _dense_ids(group: IntArray, used: IntArray) -> IntArray:
    """Group ids of the used members renumbered 0..G-1; -1 elsewhere."""
    out = np.full(len(group), -1, np.int64)
    chosen = used & (group >= 0)
    if chosen.any():
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
