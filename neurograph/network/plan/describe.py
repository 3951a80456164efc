"""The cost of a plan, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurograph.network.plan.cut import least_filled
from neurograph.network.plan.groups import MIN_DENSE
from neurograph.network.plan.model import Block, Plan
from neurograph.network.plan.tables import UNROLL

__all__ = ["BlockCost", "block_costs"]

# Bytes of index tables per synapse: padded gathers hold a sender and a slot both ways and a way back; native rows a sender both
# ways and one slot.
_TABLES, _TABLES_NATIVE = 20, 12


@dataclass(frozen=True)
class BlockCost:
    """One block: its level (or first to last), names of its ends, synapses, predicted multiply-adds per sample of a step, and
    bytes of synapses and tables."""

    level: str
    kind: str
    source: str
    target: str
    synapses: int
    operations: int
    bytes: int
    why: str


def block_costs(plan: Plan, states: int = 2, itemsize: int = 4) -> list[BlockCost]:
    """Costs in the order of the forward sweep.

    Args:
      states: k of the rule.
      itemsize: bytes per number.
    """
    depth = [1] * len(plan.phases)
    for block in plan.blocks:
        if block.kind == "levels":
            depth[int(plan.phase_of_stage[block.target_stage])] = block.levels
    first = np.concatenate([[0], np.cumsum(depth)])

    def level(stage: int) -> str:
        phase = int(plan.phase_of_stage[stage])
        low, high = int(first[phase]), int(first[phase + 1]) - 1
        return str(low) if low == high else f"{low}-{high}"

    def end(stage: int) -> str:
        return f"{plan.stages[stage].kind} {stage} ({plan.stages[stage].size})"

    def cost(block: Block) -> BlockCost:
        places = block.edges.size
        inputs = plan.stages[block.source_stage].kind == "input"
        passes = (2 if inputs else 3) - (block.sort == "fixed")
        gathered = block.kind in ("gather", "levels")
        tables = 0
        if gathered:
            tables = _TABLES_NATIVE if plan.native else 2 * _TABLES if block.kind == "levels" else _TABLES
        kind = f"native {'rows' if block.kind == 'gather' else 'levels'}" if gathered and plan.native else block.kind
        ends = end(block.source_stage), end(block.target_stage)
        size = places * (states * itemsize + tables)
        operations = places * states * passes
        return BlockCost(level(block.target_stage), kind, *ends, block.synapses, operations, size, _why(plan, block))

    ordered = sorted(plan.blocks, key=lambda b: (b.target_stage, b.source_stage, b.kind))
    return [cost(block) for block in ordered]


def _why(plan: Plan, block: Block) -> str:
    """Why a block runs as it does, with the numbers that decided."""
    if block.kind == "dense":
        return "{}x{}: every sender meets every receiver: one matrix product".format(*block.edges.shape)
    if block.kind == "diagonal":
        return "one to one: elementwise"
    least = float(least_filled(block.edges.size, plan.native, plan.gpu))
    if block.kind == "masked":
        return f"{block.synapses / block.edges.size:.0%} filled, at least {least:.0%}: a product with zeros beats gathering"
    if block.kind == "levels" and block.tiles is not None:
        tiles = np.diff(block.tiles)
        scan = f"one scan over {len(tiles)} tiles of up to {tiles.max()} rows"
        how = f"one native call a pass, or {scan} (as the rule allows)" if plan.native else f"{scan}, gathered"
        return f"{block.levels} irregular levels: {how}"
    how = "rows summed by native code" if plan.native else "gathered row by row"
    if plan.gpu:
        wide = [way for way, end in (("in", block.target), ("out", block.source)) if np.bincount(np.asarray(end)).max() > UNROLL]
        how = "gathered over rows sorted by degree"
        how += f"; segment sums for rows of more than {UNROLL} synapses ({' and '.join(wide)})" if wide else ""
    if not plan.options[0]:
        return f"products are switched off: {how}"
    if block.synapses < MIN_DENSE:
        return f"fewer than {MIN_DENSE} synapses: {how}"
    places = len(np.unique(np.asarray(block.source))) * len(np.unique(np.asarray(block.target)))
    share, least = block.synapses / places, float(least_filled(places, plan.native, plan.gpu))
    if share < least:
        return f"{share:.0%} filled, less than {least:.0%}: {how}"
    return f"{share:.0%} filled, but of several sorts or one of too many blocks: {how}"
