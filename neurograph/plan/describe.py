"""What a plan costs, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurograph.plan.model import Block, Plan

__all__ = ["BlockCost", "block_costs"]

_WHY = {
    "dense": "every sender meets every receiver: one matrix product",
    "masked": "dense enough that a product with zeros beats gathering",
    "diagonal": "one to one: elementwise",
    "batched": "equal small complete groups: one batched product",
    "conv": "equal groups with shared numbers: one product over positions",
    "gather": "irregular: gathered row by row",
    "levels": "irregular levels: one scan over tiles of neurons",
}


@dataclass(frozen=True)
class BlockCost:
    """One block: names of its ends, synapses, predicted multiply-adds per sample of a step and bytes of synapses and tables."""

    kind: str
    source: str
    target: str
    synapses: int
    operations: int
    bytes: int
    why: str


def block_costs(plan: Plan, states: int = 2, itemsize: int = 4) -> list[BlockCost]:
    """Costs in the order of the sweep.

    Args:
      states: k of the rule.
      itemsize: bytes per number.
    """

    def end(stage: int) -> str:
        return f"{plan.stages[stage].kind} {stage} ({plan.stages[stage].size})"

    def cost(block: Block) -> BlockCost:
        places = block.edges.size
        inputs = plan.stages[block.source_stage].kind == "input"
        passes = (2 if inputs else 3) - (block.sort == "fixed")
        tables = 0 if block.kind in ("dense", "masked", "diagonal") else 20 * places
        why = _WHY[block.kind]
        if block.kind == "levels" and block.tiles is not None:
            why += f" ({block.levels} levels in {len(block.tiles) - 1} tiles of up to {int(np.diff(block.tiles).max())})"
        elif block.kind == "masked":
            why += f" ({block.synapses / places:.0%} filled)"
        size = places * states * itemsize + (tables if block.kind != "levels" else 2 * tables)
        return BlockCost(
            block.kind, end(block.source_stage), end(block.target_stage), block.synapses, places * states * passes, size, why
        )

    ordered = sorted(plan.blocks, key=lambda b: (b.target_stage, b.source_stage, b.kind))
    return [cost(block) for block in ordered]
