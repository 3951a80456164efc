"""Which kernel `auto` takes on a GPU: a rule over plans, from launches and bytes. NumPy only.

A launch is a kernel that the device starts: one for every matrix product, fused sum of gathers, segment sum and update of a
stage; a loop starts those of its body in every step. The rule has not been checked on a GPU: LAUNCH, RATE and FLOPS are
assumptions about one of a data centre, and what a program really starts is the compiler's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurograph.network.plan.compile import compile_plan
from neurograph.network.plan.model import Block, IntArray, Plan
from neurograph.network.plan.tables import CHUNK, UNROLL, UNROLL_GPU, cut_pieces
from neurograph.topology.graph import Topology

__all__ = ["BATCH", "COPIES", "FIXED", "FLOPS", "LAUNCH", "RATE", "STATES", "STEP", "UPDATE"]
__all__ += ["Cost", "choose", "cost_on_gpu", "plan_of"]

# Seconds of a launch; bytes per second that gathers and copies move; operations per second of products.
LAUNCH, RATE, FLOPS = 5e-6, 2e12, 2e13
STATES, BATCH = 2, 128  # what `auto` reckons with: it does not know the batch
# Launches beside sums: of every stage and tick of a pass (update, mixing, loop over ticks), of a step of a scan (update, writes,
# loop), and of a learning step (clamping, feedback). Beside what `benchmarks.launches` counts in programs: 0.6 to 1.2 times.
UPDATE, STEP, FIXED = 4, 3, 10
# How often a pass reads or writes the states of a stage beside sums: inflow, states and signals.
COPIES = 4


@dataclass(frozen=True)
class Cost:
    """What a learning step takes on a GPU by this rule: kernels started, bytes moved, multiply-adds of products with their zeros,
    and the share of synapses in products."""

    launches: int
    bytes: int
    operations: int
    dense_share: float

    @property
    def seconds(self) -> float:
        """All launches one after another, all bytes and all operations at the rates assumed."""
        return self.launches * LAUNCH + self.bytes / RATE + 2 * self.operations / FLOPS


def choose(topology: Topology, states: int = STATES, batch: int = BATCH) -> tuple[str, Mapping[str, Cost]]:
    """The kernel that takes least time on a GPU, and the costs of all that were compared, by name.

    `blocks`: complete groups as products, the rest by gathers and segment sums, runs of many irregular levels scanned. `gather`:
    no products (where there are any). `levels`: every run of hidden levels scanned (where there is one).

    Args:
      topology: the graph.
      states: k; batch: rows of a step.
    """
    first = plan_of(topology, "blocks")
    names = ["blocks", *(["gather"] if first.dense_share else [])]
    names += ["levels"] if sum(not phase.cyclic for phase in first.phases) > 3 else []
    costs = {name: cost_on_gpu(plan_of(topology, name), states, batch) for name in names}
    return min(costs, key=lambda name: costs[name].seconds), costs


def plan_of(topology: Topology, name: str) -> Plan:
    """The plan of one of `choose`'s names."""
    options = {"blocks": {}, "gather": {"blocks": False}, "levels": {"levels": "always"}}[name]
    return compile_plan(topology, gpu=True, **options)


def cost_on_gpu(plan: Plan, states: int = STATES, batch: int = BATCH, itemsize: int = 4) -> Cost:
    """Launches and bytes of one learning step: forward pass, backward pass and synapse update.

    Args:
      plan: one made with `gpu=True`.
      states: k; batch: rows; itemsize: bytes per number.
    """
    launches, moved, operations = FIXED, 0, 0
    row = states * batch * itemsize  # what a neuron has
    phase_of = plan.phase_of_stage
    steps = {int(phase_of[b.target_stage]): len(b.tiles) - 1 for b in plan.blocks if b.kind == "levels" and b.tiles is not None}
    for number, phase in enumerate(plan.phases):
        for stage in phase.stages:
            kind, size = plan.stages[stage].kind, plan.stages[stage].size
            for _ in range((kind != "input") + (kind == "hidden")):  # forward, and back
                launches += phase.ticks * (UPDATE + STEP * steps.get(number, 0))
                moved += phase.ticks * COPIES * size * row
    for block in plan.blocks:
        backwards = plan.stages[block.source_stage].kind == "hidden"
        ends = (block.source, block.source_stage), (block.target, block.target_stage)
        for against in (False, True) if backwards else (False,):
            receiver = block.source_stage if against else block.target_stage
            ticks = plan.phases[phase_of[receiver]].ticks if block.internal else 1
            if block.kind == "levels":
                starts = (len(block.tiles) - 1) * _tile_launches(block, against)  # type: ignore[arg-type]
            elif block.kind == "gather":
                starts = _row_launches(_degrees(block, against))
            else:
                starts = 1
            launches += ticks * starts
            moved += ticks * _bytes(block, ends, plan, row, states * itemsize)
            operations += ticks * states * batch * (block.edges.size if block.kind in ("dense", "masked") else 0)
        if block.sort != "fixed":
            launches += 2  # the product of both ends, and the synapses' update
            moved += 2 * row * block.synapses if block.kind in ("gather", "levels") else row * sum(map(_length, ends))
            moved += 3 * states * itemsize * block.edges.size
            operations += states * batch * (block.edges.size if block.kind in ("dense", "masked") else 0)
    return Cost(int(launches), int(moved), int(operations), plan.dense_share)


def _length(end: tuple[slice | IntArray, int]) -> int:
    index = end[0]
    return index.stop - index.start if isinstance(index, slice) else len(index)


def _bytes(block: Block, ends, plan: Plan, row: int, numbers: int) -> int:
    """Bytes of one flow: a gather reads a sender and two indices for every synapse; a product reads both sides once."""
    if block.kind in ("gather", "levels"):
        target = plan.stages[block.target_stage].size
        return block.synapses * (row + numbers + 8) + target * row
    return row * sum(map(_length, ends)) + numbers * block.edges.size


def _degrees(block: Block, against: bool) -> IntArray:
    return np.bincount(np.asarray(block.source if against else block.target))


def _row_launches(degree: IntArray) -> int:
    """Of a block's rows: one per piece of short rows and one that puts them in order, or a segment sum and its start."""
    if degree.max(initial=0) > UNROLL:
        return 2
    return _pieces(-np.sort(-degree), 4) + 1


def _tile_launches(block: Block, against: bool) -> int:
    """Of a scan's step: its pieces, of which wide ones are loops."""
    bounds = np.asarray(block.tiles)
    degree = _degrees(block, against)
    degree = np.concatenate([degree, np.zeros(bounds[-1] - len(degree), int)])
    size = np.diff(bounds)
    profile = np.zeros(int(size.max()), int)
    for first, count in zip(bounds[:-1].tolist(), size.tolist(), strict=True):
        profile[:count] = np.maximum(profile[:count], -np.sort(-degree[first : first + count]))
    return _pieces(profile, 2)


def _pieces(profile: IntArray, most: int) -> int:
    return sum(1 if width <= UNROLL_GPU else 2 * -(-width // CHUNK) for *_, width in cut_pieces(profile, most))
