"""Pytrees of the network. Shapes: k states (channels: 1 for single-state synapses), n neurons, E synapses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from neurograph._lazy import from_above
from neurograph.errors import ShapeError

__all__ = ["SCALARS", "Synapses", "Trace", "Weights", "check_synapses"]

SCALARS = ("steps", "error")  # of `Synapses.averages`, beside the weights


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Weights:
    """Stored numbers of one direction, in the order of a kernel. Leaves are floating-point arrays, channels first.

    `blocks` has one entry per block of the plan (None where its synapses are shared or fixed), `sparse` the remaining numbers
    [channels, edges] (there even if empty, so that channels and type are never lost), `shared` one number per group
    [channels, groups], `bias` one array per stage, `shared_bias` one number per bias group.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file = ng.load_genome_file("functions")
      >>> network = ng.Network(ng.load_topology("mlp_2d_classes"), file.rule)
      >>> synapses = network.init(file.genome, key=jax.random.key(0))
      >>> weights = synapses.forward
      >>> isinstance(weights, ng.Weights), sum(leaf.size for leaf in jax.tree.leaves(weights)) > network.topology.num_synapses
      (True, True)
    """

    blocks: tuple[Float[jax.Array, "channels ..."] | None, ...] = ()
    sparse: Float[jax.Array, "channels synapses"] | None = None
    shared: Float[jax.Array, "channels groups"] | None = None
    bias: tuple[Float[jax.Array, "channels _"] | None, ...] = ()
    shared_bias: Float[jax.Array, "channels bias_groups"] | None = None

    def __repr__(self) -> str:
        return f"Weights({_amount(self)})"

    def _repr_html_(self) -> str:
        return from_above("report.notebook.network", "synapses_html")(self)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Synapses:
    """The learned numbers of a network, packed in plan order: made by `Network.init` or `Network.pack`, read by `Network.unpack`.

    `backward` is None where the rule is symmetric. `neurons` holds the states carried from step to step, one array
    [states, neurons, batch] per stage, where the rule says `reset_states: false`; else it is None. `traces` holds the decaying
    sums of Hebbian products, "forward" and, of asymmetric rules, "backward", where the rule says `synapse_trace: true`.
    `averages` holds what predictions take in place of the forward synapses, "forward", how many learning steps that has seen,
    "steps", and the outputs' error at the very first, "error", where the rule says `synapse_average: true`.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file = ng.load_genome_file("functions")
      >>> network = ng.Network(ng.load_topology("mlp_2d_classes"), file.rule)
      >>> synapses = network.init(file.genome, key=jax.random.key(0))
      >>> synapses.backward is None  # a symmetric rule
      True
      >>> network.unpack(synapses)["forward"].shape == (network.topology.num_synapses, 2)
      True
    """

    forward: Weights
    backward: Weights | None = None
    neurons: tuple[Float[jax.Array, "states _ batch"], ...] | None = None
    traces: dict[str, Weights] | None = None
    averages: dict[str, Any] | None = None

    def __repr__(self) -> str:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return f"Synapses({'; '.join(f'{name} {_amount(part)}' for name, part in parts.items() if part is not None)})"

    def _repr_html_(self) -> str:
        return from_above("report.notebook.network", "synapses_html")(self)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trace:
    """Everything that one learning step computed.

    `forward`, `feedback`, `backward`: states of all neurons after each phase, [batch, neurons, states], topology order;
    `synapses`: packed, after the update; `outputs`: state 0 of the outputs after the forward pass, [batch, outputs];
    `settling`: "forward" and "backward", per cyclic phase how far its last tick moved a state, and how many ticks ran.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file = ng.load_genome_file("functions")
      >>> network = ng.Network(ng.load_topology("mlp_2d_classes"), file.rule)
      >>> synapses = network.init(file.genome, key=jax.random.key(0))
      >>> x, y = ng.get_task("xor").sample(jax.random.key(1), 8)
      >>> trace = network.trace(file.genome, synapses, x, y)
      >>> trace.forward.shape == (8, network.topology.num_neurons, 2)
      True
      >>> trace.outputs.shape
      (8, 2)
    """

    forward: Float[jax.Array, "batch neurons states"]
    feedback: Float[jax.Array, "batch neurons states"]
    backward: Float[jax.Array, "batch neurons states"]
    synapses: Synapses
    outputs: Float[jax.Array, "batch outputs"]
    settling: dict[str, list[tuple[Float[jax.Array, ""], Int[jax.Array, ""]]]]

    def __repr__(self) -> str:
        return f"Trace(states {_amount(self.forward)} in each of 3 phases; {self.synapses!r})"


def _amount(tree: Any) -> str:
    """Returns how many numbers of which type the leaves hold: of arrays, tracers and shapes alike; else what the leaves are."""
    leaves = jax.tree.leaves(tree)
    kinds = sorted({str(getattr(leaf, "dtype", type(leaf).__name__)) for leaf in leaves})
    if not all(hasattr(leaf, "shape") for leaf in leaves):
        return f"{len(leaves):,} leaves of {', '.join(kinds)}"
    return f"{sum(math.prod(leaf.shape) for leaf in leaves):,} numbers{' of ' * bool(kinds)}{', '.join(kinds)}"


def check_synapses(given: Any, expected: Synapses, stages: Sequence[int] | None, whose: str = "network") -> None:
    """Refuses synapses that another network has made: of another structure, or other shapes. Types are not compared.

    Args:
      given: what a caller passed as packed synapses; values, or tracers.
      expected: leaves have the `shape` that they ought to have; `neurons` is not looked at.
      stages: sizes of the stages whose states are carried over, or None where none are.
      whose: what makes such synapses, in words.

    Raises:
      ShapeError: names the first array that does not fit.
    """
    if not isinstance(given, Synapses):
        raise ShapeError(f"synapses: got {type(given).__name__}; expected packed synapses, as `init` and `pack` return them")
    stored = replace(given, neurons=None)
    (leaves, structure), (wanted, right) = jax.tree.flatten(stored), jax.tree.flatten(expected)
    fault = None
    if structure != right or [getattr(leaf, "shape", ()) for leaf in leaves] != [leaf.shape for leaf in wanted]:
        fault = _difference(stored, expected)
    elif stages is not None and given.neurons is not None:
        found = [size for leaf in given.neurons for size in np.shape(leaf)[-2:-1]]
        if found != [*stages]:
            fault = f"neurons has stages of {_listed(found)} neurons, expected {_listed(stages)}"
    if fault:
        raise ShapeError(
            f"synapses: they are not this {whose}'s: {fault}. Another graph, rule or kernel has made them. `init` and `pack` make"
            f" this {whose}'s; what `unpack` of another kernel returns, `pack` takes"
        )


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes[:8])) + (", ..." if len(sizes) > 8 else "")


def _difference(given: Synapses, expected: Synapses) -> str | None:
    """Says where two trees differ first."""
    found, wanted = (
        {jax.tree_util.keystr(path).lstrip("."): [*np.shape(leaf)] for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (given, expected)
    )
    for path in {**wanted, **found}:
        here, there = found.get(path), wanted.get(path)
        if here != there:
            return f"{path} has {'no array' if here is None else f'shape {here}'}, expected {'none' if there is None else there}"
    return None
