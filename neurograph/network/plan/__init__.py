"""`Plan`: how a topology is executed, decided once on the host from the graph alone. NumPy only.

Neurons are renumbered into *stages*, arrays of neurons that are updated together by the same function; stages are grouped into
*phases*, which follow one another (the levels of an acyclic graph), or repeat for some ticks (cycles), or hold a whole run of
irregular levels that one native call, or one scan, updates tile by tile. Synapses are cut into *blocks* between two stages:

- `dense`: every sender meets every receiver: one matrix product;
- `masked`: dense enough that a product with zeros beats gathering;
- `diagonal`: one-to-one: an elementwise product;
- `gather`: the rest, gathered row by row;
- `levels`: all synapses inside such a run.

Synapses of a matrix are all of one sort: own numbers, shared numbers (one per group) or fixed values; gathers mix them.
"""

from neurograph.network.plan.compile import compile_plan
from neurograph.network.plan.model import FIXED, OWN, SHARED, Block, Phase, Plan, Stage

__all__ = ["FIXED", "OWN", "SHARED", "Block", "Phase", "Plan", "Stage", "compile_plan"]
