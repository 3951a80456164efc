"""The interface of kernels, and the parts that they share: biases, sums over groups of shared numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neurograph.network.kernels.bilinear import Mixture, Multiples, mix_states
from neurograph.network.kernels.rows import Ends
from neurograph.network.plan import Plan
from neurograph.network.state import Weights

__all__ = [
    "ALL",
    "BACKWARD",
    "EXTERNAL",
    "FINAL",
    "FORWARD",
    "INTERNAL",
    "Kernel",
    "Numbers",
    "Signals",
    "Update",
    "first_members",
    "namespace",
    "own_matrix",
    "reduce_groups",
]

# Per stage the signals that its neurons send, or None where no block reads them. `Mixture` and `Multiples`: see bilinear.py.
Signals = Sequence[Float[jax.Array, "states _ batch"] | Mixture | Multiples | None]
Numbers = jax.Array | np.ndarray
Update = Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]

FORWARD, BACKWARD = "forward", "backward"
ALL, INTERNAL, EXTERNAL, FINAL = "all", "internal", "external", "final"


class Kernel:
    """The interface of a kernel. A pytree: `tables` (index arrays) are its leaves, the plan is static.

    Subclasses: `BlockKernel` in blocks.py, `ReferenceKernel` in reference.py; both are tested against each other.
    """

    name = "abstract"
    # Whether `pack` and `unpack` take NumPy arrays, too, and give them back: JAX would compile a program for every graph.
    moves_numpy = False

    def __init__(self, plan: Plan, tables: Any):
        self.plan, self.tables = plan, tables

    def tree_flatten(self):
        return (self.tables,), Static(self.plan)

    @classmethod
    def tree_unflatten(cls, aux: Static, children):
        return cls(aux.plan, children[0])

    # -- storage ---------------------------------------------------------------------------------------------------------

    def pack(self, edges: Float[Numbers, "synapses states"], bias: Float[Numbers, "neurons states"] | None) -> Weights:
        """[E, channels] in topology order (and bias [n, channels], forward direction only) to stored numbers."""
        raise NotImplementedError

    def unpack(self, weights: Weights) -> tuple[Float[Numbers, "synapses states"], Float[Numbers, "neurons states"]]:
        """The inverse of `pack`: [E, channels] with fixed synapses at their value, and bias [n, channels], 0 where none."""
        raise NotImplementedError

    # -- primitives ------------------------------------------------------------------------------------------------------

    def mixed(self, matrix: jax.Array, state: jax.Array) -> Any:
        """Returns the mixed states (`mix_states`) that neurons send, in the form that this kernel's primitives take."""
        return mix_states(matrix, state)

    def aggregate(
        self,
        direction: str,
        stage: int,
        weights: Weights,
        signals: Signals,
        part: str = ALL,
        *,
        square: bool = False,
        start: Float[jax.Array, "states neurons #batch"] | None = None,
    ) -> Float[jax.Array, "states neurons #batch"] | None:
        """`start` plus the inflow into one stage [states, neurons, batch]; `start` alone where no synapse of that part arrives.

        Args:
          direction: "forward" (along the synapses) or "backward" (against them).
          stage: the receiving stage.
          weights: stored numbers of that direction.
          signals: one array [states, neurons, batch] per stage; only the senders' are read.
          part: "all", or in cyclic phases "internal" (from the same phase) and "external" (from the others); "final": all,
            of a scanned stage's own levels, too, whose signals are known by then.
          square: use the squares of the weights (norms, Oja).
          start: [states, neurons, batch or 1], or None for nothing.
        """
        raise NotImplementedError

    def correlate(
        self, at_senders: Signals, at_receivers: Signals, known: dict[int, Float[jax.Array, "states synapses"]] | None = None
    ) -> Weights:
        """For each stored number, sum over its synapses and the batch of at_senders * at_receivers; no bias.

        Args:
          at_senders, at_receivers: per stage [channels, neurons, batch]; a `Mixture` for stages that are `known`.
          known: of scanned stages, what `sweep_levels` has found already.
        """
        raise NotImplementedError

    def sweep_levels(
        self,
        direction: str,
        stage: int,
        weights: Weights,
        signals: Signals,
        update: Update,
        matrix: jax.Array | None,
        params: Any,
        start: jax.Array | None,
        shape: tuple[int, int, int],
        rows: Any,
        ends: Ends | None = None,
    ) -> tuple[jax.Array, Any, Any]:
        """One pass over a scanned stage: its levels one after another, in ascending or (backward) descending order.

        Args:
          stage: a stage whose phase is `scanned`.
          signals: of the other stages, as for `aggregate`.
          update: `update(params, rows, z) -> (states, record)`, elementwise over neurons (axis 1 of every array). If its method
            `affine(params, rows)` gives an `Affine`, that is the same without a record, and runs natively.
          matrix: [states, states]; a neuron's signal is the matrix times its states. None: every neuron brings its own along,
            as `rows["matrix"]`, [states * states, neurons, 1].
          params: arrays that all neurons share.
          start: what inflow begins with, [states, neurons, batch or 1], or None.
          shape: (states, neurons, batch) of the result.
          rows: pytree of what neurons bring along, each [*, neurons, batch or 1].
          ends: of a backward pass, what the synapses' update will be the product of. Where that costs least on the way, the
            record has it as `"change"`, for `correlate`.

        Returns:
          `(states, signals, record)` of all neurons of the stage; signals in a form that `aggregate` takes.
        """
        raise NotImplementedError(f"the {self.name} kernel has no scanned stages: make its plan with levels='never'")

    # -- what both kernels share: biases -----------------------------------------------------------------------------------

    def bias_values(self, weights: Weights, stage: int) -> jax.Array | None:
        """[channels, neurons] of a stage, 0 where a neuron has no bias; None where the whole stage has none."""
        info = self.plan.stages[stage]
        own = weights.bias[stage]
        shared = info.bias_group >= 0
        if weights.shared_bias is None or not shared.any():  # the backward direction has no biases
            return own
        taken = weights.shared_bias[:, np.where(shared, info.bias_group, 0).astype(np.int32)]
        if own is None and shared.all():
            return taken
        return namespace(taken).where(shared, taken, 0 if own is None else own)

    def bias_store(
        self, values: Sequence[jax.Array | None], *, reduce: bool
    ) -> tuple[tuple[jax.Array | None, ...], jax.Array | None]:
        """Per-stage values [channels, neurons] to stored biases; groups take the sum of their members, or their first one."""
        own, members, groups, neurons = [], [], [], []
        for info, value in zip(self.plan.stages, values, strict=True):
            shared = info.bias_group >= 0
            mask = info.bias & ~shared
            absent = value is None or not mask.any()
            own.append(None if absent else value if mask.all() else namespace(value).where(mask, value, 0))
            if shared.any() and value is not None:
                members.append(value[:, np.flatnonzero(shared).astype(np.int32)])
                groups.append(info.bias_group[shared])
                neurons.append(info.neurons[shared])
        if not members:
            return tuple(own), None
        gathered, group = namespace(members[0]).concatenate(members, axis=1), np.concatenate(groups)
        if reduce:
            return tuple(own), reduce_groups(gathered, group)
        by = np.argsort(np.concatenate(neurons)).astype(np.int32)  # the first in topology order, on every plan
        return tuple(own), gathered[:, by[first_members(group[by])]]

    def bias_unpack(self, weights: Weights) -> jax.Array:
        """[n, channels] in topology order."""
        plan, columns = self.plan, []
        some = jax.tree.leaves(weights)[0]
        xp = namespace(some)
        for stage, info in enumerate(plan.stages):
            value = self.bias_values(weights, stage)
            columns.append(xp.zeros((some.shape[0], info.size), some.dtype) if value is None else value)
        return xp.concatenate(columns, axis=1).T[plan.rank]

    def bias_pack(self, bias: Any) -> tuple[tuple[jax.Array | None, ...], jax.Array | None]:
        """[n, channels] in topology order to stored biases; values where no bias exists are dropped."""
        xp = namespace(bias)
        values = [xp.where(info.bias[:, None], bias[info.neurons], 0).T if info.bias.any() else None for info in self.plan.stages]
        return self.bias_store(values, reduce=False)


class Static:
    """A plan as static data of a pytree: equal when the topology's content and the plan's options are."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.key = (plan.digest, plan.options)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self.key == other.key


def namespace(array: Any) -> Any:
    """`numpy` for a NumPy array, else `jax.numpy`."""
    return np if isinstance(array, np.ndarray) else jnp


def own_matrix(rows: Any, states: int) -> jax.Array:
    """[states, states, neurons]: what neurons bring along as `rows["matrix"]`."""
    return rows["matrix"].reshape(states, states, -1)


def first_members(group: np.ndarray) -> np.ndarray:
    return np.unique(group, return_index=True)[1].astype(np.int32)


def reduce_groups(values: jax.Array, group: np.ndarray) -> jax.Array:
    """[channels, members] -> [channels, groups]: sums by gathers, not scatters, so that results repeat bit for bit."""
    count = np.bincount(group)
    by, width = np.argsort(group, kind="stable"), int(count.max())
    if width * len(count) > 4 * len(group):  # very unequal groups: padding would cost more than it saves
        return jax.ops.segment_sum(values.T, jnp.asarray(group), num_segments=len(count)).T
    starts = np.concatenate([[0], np.cumsum(count)])[:-1]
    mask = np.arange(width) < count[:, None]
    place = by[np.minimum(starts[:, None] + np.arange(width), len(by) - 1)].astype(np.int32)
    return jnp.sum(jnp.where(mask, values[:, place], 0), axis=-1)
