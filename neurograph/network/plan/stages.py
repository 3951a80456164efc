"""Cuts the phases of a plan into stages: neurons that are updated together and read by the same products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurograph.network.plan.groups import hashes, mix
from neurograph.topology.graph import Topology

__all__ = ["Stages", "cut_stages", "groups_worth_a_stage"]

IntArray = np.ndarray

# A class of hidden neurons that meet the same dense groups becomes a stage of its own from this size on.
MIN_STAGE = 8
# Every stage costs compile time. Where a phase has more hidden ones than this, a group that cuts it must have so many synapses,
# and so many neurons at both ends: measured on a CPU, smaller products side by side are no faster than gathers.
FEW_STAGES, MIN_CUT, MIN_SIDE = 4, 4096, 32
# A phase has at most so many: the smaller groups that cut it are gathered instead.
MAX_STAGES = 8


@dataclass(frozen=True)
class Stages:
    """`neurons`, `kinds`, `phases` of every stage: topology indices, "input", "hidden" or "output", and number of the phase."""

    neurons: list[IntArray]
    kinds: list[str]
    phases: list[int]

    def hidden(self, phases: int) -> IntArray:
        """[phases]: how many hidden stages each has."""
        return np.bincount([p for p, kind in zip(self.phases, self.kinds, strict=True) if kind == "hidden"], minlength=phases)


def groups_worth_a_stage(topology: Topology, phase_of: IntArray, groups: IntArray, in_segment: IntArray) -> IntArray:
    """`groups` [E] without those that cut a phase into stages and save less than a stage costs: their synapses are in none (-1).

    A layer that chooses two of six inputs has fifteen groups, a stage for each, and products too small to gain anything.

    Args:
      phase_of: [n] phase of every neuron.
      groups: [E] group of every synapse, or -1.
      in_segment: [n] bool: neurons of scanned phases.
    """
    phases = int(phase_of.max()) + 1
    inside = np.flatnonzero(groups >= 0)
    crowded = lambda groups: cut_stages(topology, phase_of, groups, in_segment).hidden(phases)  # noqa: E731
    if not len(inside) or not (many := crowded(groups) > FEW_STAGES).any():
        return groups
    hidden = np.ones(topology.num_neurons, bool)
    hidden[topology.inputs] = hidden[topology.outputs] = False
    number = int(groups.max()) + 1
    synapses = np.bincount(groups[inside], minlength=number)
    first = np.zeros(number, np.int64)
    first[groups[inside]] = inside
    cuts, side = np.zeros(number, bool), np.full(number, topology.num_neurons)
    for ends in (topology.senders, topology.receivers):
        met = np.unique(groups[inside] * topology.num_neurons + ends[inside]) // topology.num_neurons
        size, phase = np.bincount(met, minlength=number), phase_of[ends[first]]
        side = np.minimum(side, size)
        # Of inputs and outputs there is one stage, whatever meets them.
        cuts |= hidden[ends[first]] & many[phase] & (size < np.bincount(phase_of[hidden], minlength=phases)[phase])
    kept = ~(cuts & ((synapses < MIN_CUT) | (side < MIN_SIDE)))
    while (crowded(np.where(kept[groups] & (groups >= 0), groups, -1)) > MAX_STAGES).any():
        cutting = np.flatnonzero(kept & cuts)
        if not len(cutting):
            break
        kept[cutting[np.argsort(synapses[cutting], kind="stable")][: -(-len(cutting) // 2)]] = False
    return np.where(kept[groups] & (groups >= 0), groups, -1)


def cut_stages(topology: Topology, phase_of: IntArray, groups: IntArray, in_segment: IntArray) -> Stages:
    """Inputs and outputs in their given order, hidden neurons by the dense groups that they touch."""
    n = topology.num_neurons
    signature = np.zeros(n, np.uint64)
    inside = np.flatnonzero(groups >= 0)
    if len(inside):
        count = int(groups.max()) + 1
        for ends, seed in ((topology.senders, 2), (topology.receivers, 3)):
            key = ends[inside].astype(np.int64) * count + groups[inside]
            key.sort()
            touched = key[np.flatnonzero(np.diff(key, prepend=-1))]
            with np.errstate(over="ignore"):
                np.add.at(signature, touched // count, hashes(count, seed)[touched % count])
    kind = np.full(n, 1)
    kind[topology.inputs], kind[topology.outputs] = 0, 2
    given = np.zeros(n, np.int64)  # order within inputs and outputs
    given[topology.inputs] = np.arange(len(topology.inputs))
    given[topology.outputs] = np.arange(len(topology.outputs))
    signature[(kind != 1) | in_segment] = 0
    # Hidden classes in order of first appearance, so that the user's order survives; small ones join one remainder.
    _, first, label = np.unique(mix(phase_of, kind, signature), return_index=True, return_inverse=True)
    small = (np.bincount(label) < MIN_STAGE) & (kind[first] == 1)
    label = np.where(small[label], phase_of * 3 + kind + len(first), label)
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
    return Stages(neurons, kinds, phases)
