"""`BlockKernel`: every block of the plan by the means that suit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neurograph.errors import PlanError
from neurograph.network.kernels.base import (
    ALL,
    BACKWARD,
    EXTERNAL,
    FINAL,
    FORWARD,
    INTERNAL,
    Kernel,
    Numbers,
    Signals,
    Update,
    first_members,
    namespace,
    own_matrix,
    reduce_groups,
)
from neurograph.network.kernels.bilinear import Mixture, Multiples, accumulator, flow, mix_states, mixed_product, product, whole
from neurograph.network.kernels.gather import Gather
from neurograph.network.kernels.levels import Levels, Sweep
from neurograph.network.kernels.rows import Ends, Operands, Rows, learn_rows, learns_on_the_way, sweep_rows
from neurograph.network.kernels.segment_sums import SegmentSums
from neurograph.network.kernels.sparse import Sparse
from neurograph.network.plan import FIXED, OWN, SHARED, Block, Plan
from neurograph.network.state import Weights

__all__ = ["BlockKernel"]

_MATRICES = ("dense", "masked", "diagonal")


class _Parts:
    """Static parts of a plan's blocks, and which blocks arrive at a stage: made once, kept with the plan."""

    def __init__(self, plan: Plan, parts: list[Any]):
        self.parts = parts
        self.arriving: dict[tuple[str, int], list[int]] = {}
        for number, block in enumerate(plan.blocks):
            if block.kind != "levels":
                self.arriving.setdefault((FORWARD, block.target_stage), []).append(number)
                self.arriving.setdefault((BACKWARD, block.source_stage), []).append(number)
        self.scanned = {block.target_stage: number for number, block in enumerate(plan.blocks) if block.kind == "levels"}


@jax.tree_util.register_pytree_node_class
class BlockKernel(Kernel):
    """Dense blocks as matrix products, one-to-one synapses elementwise, the rest by native code or as padded gathers.

    Stored numbers: `Weights.blocks` has an array in the shape of the block's edges for every block with own numbers (of a
    gather: [channels, own synapses]), `Weights.shared` one number per group.
    """

    name = "blocks"
    moves_numpy = True

    @classmethod
    def build(cls, plan: Plan) -> BlockKernel:
        tables, weight = [], np.asarray(plan.topology.weight)
        for block, part in zip(plan.blocks, cls._built(plan).parts, strict=True):
            table: dict[str, Any] = {"part": part[1]} if part is not None else {}
            if block.kind in ("gather", "levels"):
                own, shared, _ = block.counts
                if shared:
                    table["group"] = np.asarray(plan.group[block.edges[own : own + shared]], np.int32)
                if block.counts[2]:
                    table["fixed"] = weight[block.edges[own + shared :]]
            else:
                if block.sort == SHARED:
                    table["group"] = np.where(block.edges >= 0, plan.group[block.edges], 0).astype(np.int32)
                if block.sort == FIXED:
                    table["fixed"] = np.where(block.edges >= 0, weight[block.edges], 0)
            if block.kind == "masked":
                table["mask"] = block.edges >= 0
            tables.append(table)
        return cls(plan, jax.device_put(tables))

    @staticmethod
    def _built(plan: Plan) -> _Parts:
        """(static part, tables) of every block that is no plain matrix; cached on the plan."""
        known = plan.__dict__.get("_parts")
        if known is None:
            parts: list[Any] = []
            maker = Sparse if plan.native else SegmentSums if plan.gpu else Gather
            for block in plan.blocks:
                ends = plan.stages[block.source_stage].size, plan.stages[block.target_stage].size
                if block.kind == "gather":
                    part = maker.build(np.asarray(block.source), np.asarray(block.target), *ends)
                elif block.kind == "levels":
                    part = Levels.build(block, ends[0], maker)
                else:
                    part = None
                # Placed at once: `jnp.asarray` compiles a program for every new shape.
                parts.append(part and (part[0], jax.device_put(part[1])))
            known = _Parts(plan, parts)
            object.__setattr__(plan, "_parts", known)
        return known

    @property
    def _parts(self) -> _Parts:
        return self._built(self.plan)

    # -- storage ---------------------------------------------------------------------------------------------------------

    def pack(self, edges: Float[Numbers, "synapses states"], bias: Float[Numbers, "neurons states"] | None) -> Weights:
        values: Any = edges.T
        plan, xp = self.plan, namespace(edges)
        blocks = []
        for block in plan.blocks:
            if block.kind in ("gather", "levels"):
                blocks.append(values[:, block.edges[: block.counts[0]]] if block.counts[0] else None)
            elif block.sort == OWN:
                stored = values[:, np.maximum(block.edges, 0)]
                blocks.append(xp.where(block.edges >= 0, stored, 0) if (block.edges < 0).any() else stored)
            else:
                blocks.append(None)
        shared_edges = np.flatnonzero(plan.group >= 0)
        shared = values[:, shared_edges[first_members(plan.group[shared_edges])]] if len(shared_edges) else None
        own_bias, shared_bias = self.bias_pack(bias) if bias is not None else ((None,) * len(plan.stages), None)
        return Weights(tuple(blocks), values[:, :0], shared, own_bias, shared_bias)

    def unpack(self, weights: Weights) -> tuple[Float[Numbers, "synapses states"], Float[Numbers, "neurons states"]]:
        some = jax.tree.leaves(weights)[0]
        xp, values, edges = namespace(some), [], []
        for number, block in enumerate(self.plan.blocks):
            value = xp.broadcast_to(self._values(number, weights, some.dtype), (some.shape[0], *block.edges.shape))
            present = block.edges >= 0
            values.append(value[:, present])
            edges.append(block.edges[present])
        place = np.empty(self.plan.topology.num_synapses, np.int32)
        if edges:
            place[np.concatenate(edges)] = np.arange(len(place))
        ordered = xp.concatenate(values, axis=1)[:, place] if edges else xp.zeros((some.shape[0], 0), some.dtype)
        return ordered.T, self.bias_unpack(weights)

    def _values(self, number: int, weights: Weights, dtype: Any) -> jax.Array:
        """[channels or 1, ...] in the shape of the block's edges."""
        block = self.plan.blocks[number]
        table: dict[str, Any] = self.tables[number]
        own: Any = weights.blocks[number] if weights.blocks else None
        shared: Any = weights.shared
        if (xp := namespace(jax.tree.leaves(weights)[0])) is np:
            table = {name: np.asarray(table[name]) for name in ("group", "fixed", "mask") if name in table}
        if block.kind in ("gather", "levels"):
            parts = [own] if block.counts[0] else []
            if block.counts[1]:
                parts.append(shared[:, table["group"]])
            if block.counts[2]:
                parts.append(table["fixed"].astype(dtype)[None])
            channels = max(p.shape[0] for p in parts)
            parts = [xp.broadcast_to(p, (channels, p.shape[1])) for p in parts]
            return xp.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        if block.sort == OWN:
            value = own
        else:
            value = shared[:, table["group"]] if block.sort == SHARED else table["fixed"].astype(dtype)[None]
        # The places of a masked block without a synapse are zero, and whoever differentiates must not find a gradient there.
        return xp.where(table["mask"], value, 0) if "mask" in table else value

    # -- primitives ------------------------------------------------------------------------------------------------------

    def mixed(self, matrix: jax.Array, state: jax.Array) -> Any:
        ours = type(self).aggregate is BlockKernel.aggregate and type(self).correlate is BlockKernel.correlate
        if ours and state.shape[0] == 1 and matrix.ndim == 2:  # a kernel made of this one takes arrays
            return Multiples(matrix[:, 0], state[0])
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
        numbers = self._arriving(direction, stage, part)
        if (square or part == FINAL) and stage in self._parts.scanned:
            numbers = [*numbers, self._parts.scanned[stage]]
        elif stage in self._parts.scanned and part == ALL:
            raise PlanError(f"stage {stage} is scanned: its own levels are updated by sweep_levels; ask for part='external'")
        return self._inflow(numbers, direction, stage, weights, signals, square=square, start=start)

    def _arriving(self, direction: str, stage: int, part: str) -> list[int]:
        """Blocks that arrive at a stage, but for its own levels."""
        without = {ALL: None, FINAL: None, EXTERNAL: True, INTERNAL: False}[part]
        return [n for n in self._parts.arriving.get((direction, stage), []) if self.plan.blocks[n].internal is not without]

    def _inflow(
        self,
        numbers: Sequence[int],
        direction: str,
        stage: int,
        weights: Weights,
        signals: Signals,
        *,
        square: bool = False,
        start: jax.Array | None = None,
    ) -> jax.Array | None:
        plan, total, against = self.plan, start, direction == BACKWARD
        for number in numbers:
            block = plan.blocks[number]
            source, here, there = (
                (block.target_stage, block.source, block.target) if against else (block.source_stage, block.target, block.source)
            )
            signal: Any = signals[source]
            values = self._values(number, weights, signal.dtype)
            values = values * values if square else values
            if block.kind in _MATRICES:
                signal = _take(signal, there, plan.stages[source].size)
                total = _accumulate(total, _apply_matrix(block, values, signal, against), here, plan.stages[stage].size)
                continue
            static, tables = self._parts.parts[number][0], self.tables[number]["part"]
            if block.kind == "levels":
                static, tables = static.synapses, tables["whole"]
            if not against:
                static, tables, signal = _sending(static, tables, signal)
            total = flow(static, tables, against, values, whole(signal), total)
        return total

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
        arriving, against = self._arriving(direction, stage, EXTERNAL), direction == BACKWARD
        number, dtype = self._parts.scanned.get(stage), jax.tree.leaves((weights, rows))[0].dtype
        natively = number is not None and self.plan.native and matrix is not None and jnp.finfo(dtype).bits >= 32
        affine = update.affine(params, rows) if natively and hasattr(update, "affine") else None
        if affine is not None:
            return self._sweep_rows(direction, stage, weights, signals, affine, matrix, start, shape, arriving, ends)
        external = self._inflow(arriving, direction, stage, weights, signals, start=start)
        external = jnp.zeros(shape, dtype) if external is None else jnp.broadcast_to(external, shape)
        if number is None:  # levels of neurons that only meet through other stages, such as a cycle between them
            states, record = update(params, rows, external)
            return states, mix_states(own_matrix(rows, states.shape[0]) if matrix is None else matrix, states), record
        static = self._parts.parts[number][0]
        values = self._values(number, weights, dtype)
        tables = self.tables[number]["part"]
        return Sweep(static, against, update)(tables, values, matrix, params, external, rows)

    def _sweep_rows(self, direction, stage, weights, signals, affine, matrix, start, shape, arriving, ends):
        """`sweep_levels` by one native call; irregular synapses from other stages are summed by it, too."""
        against, number = direction == BACKWARD, self._parts.scanned[stage]
        apart = [n for n in arriving if not isinstance(self._parts.parts[n] and self._parts.parts[n][0], Sparse)]
        others = [n for n in arriving if n not in apart]
        source = lambda n: self.plan.blocks[n].target_stage if against else self.plan.blocks[n].source_stage  # noqa: E731
        # Signals are written out if a later stage of this pass reads most of them, and else made where they are asked for.
        moving = ("hidden",) if against else ("hidden", "output")
        read = any(
            source(n) == stage and self.plan.stages[block.source_stage if against else block.target_stage].kind in moving
            for n, block in enumerate(self.plan.blocks)
            if block.kind != "levels" and (against or self._parts.parts[n] is None or not _few(self._parts.parts[n][0]))
        )
        values = self._values(number, weights, jax.tree.leaves(weights)[0].dtype)
        matrix = matrix.astype(values.dtype)
        given = Operands(
            values,
            tuple((self._values(n, weights, values.dtype), whole(signals[source(n)])) for n in others),
            affine.keep.astype(values.dtype),
            affine.gate.astype(values.dtype),
            start=self._inflow(apart, direction, stage, weights, signals, start=start),
            outer=matrix,
            offset=affine.offset,
            gain=affine.gain,
        )
        parts, static = self._parts.parts, self._parts.parts[number][0].synapses
        tables = self.tables[number]["part"]["whole"], tuple(self.tables[n]["part"] for n in others)
        rows = Rows(static, tuple(parts[n][0] for n in others), against, affine.activation, shape, signals=read)
        if ends is not None and against and not read and learns_on_the_way(rows, ends, values.dtype):
            before = None if ends.before is None else ends.before.astype(values.dtype)
            ends = Ends(before, ends.here.astype(values.dtype), ends.there.astype(values.dtype))
            states, change = learn_rows(rows, tables, given, ends)
            return states, Mixture(matrix, states), {"change": change}
        states, sent, _ = sweep_rows(rows, tables, given)
        return states, Mixture(matrix, states) if sent is None else sent, {}

    def correlate(
        self, at_senders: Signals, at_receivers: Signals, known: dict[int, Float[jax.Array, "states synapses"]] | None = None
    ) -> Weights:
        plan, blocks = self.plan, []
        shared: list[tuple[jax.Array, np.ndarray]] = []
        for number, block in enumerate(plan.blocks):
            blocks.append(None)
            mixed = block.kind in ("gather", "levels")
            if block.sort == FIXED or (mixed and not sum(block.counts[:2])):
                continue
            if block.kind == "levels" and known and block.target_stage in known:
                change = known[block.target_stage]
            else:
                change = self._product(number, block, at_senders[block.source_stage], at_receivers[block.target_stage])
            if mixed:
                own, also, _ = block.counts
                if own:
                    blocks[-1] = change[:, :own]
                if also:
                    shared.append((change[:, own : own + also], plan.group[block.edges[own : own + also]]))
            elif block.sort == OWN:
                mask = self.tables[number].get("mask")
                blocks[-1] = change if mask is None else jnp.where(mask, change, 0)
            else:
                present = block.edges >= 0
                shared.append((change[:, present], plan.group[block.edges[present]]))
        reduced = None
        if shared:
            reduced = reduce_groups(jnp.concatenate([p for p, _ in shared], axis=1), np.concatenate([g for _, g in shared]))
        some: Any = at_receivers[-1]
        nothing = jnp.zeros((some.shape[0], 0), some.dtype)
        return Weights(tuple(blocks), nothing, reduced, (None,) * len(plan.stages))

    def _product(self, number: int, block: Block, pre: Any, post: Any) -> jax.Array:
        if block.kind in _MATRICES:
            pre = _take(pre, block.source, self.plan.stages[block.source_stage].size)
            post = _take(post, block.target, self.plan.stages[block.target_stage].size)
            if block.kind == "diagonal":
                return jnp.sum(whole(pre) * post, axis=-1)
            dtype = accumulator(pre.dtype)
            if isinstance(pre, Multiples):
                return pre.times(jnp.einsum("krb,sb->krs", post, pre.value, preferred_element_type=dtype)).astype(pre.dtype)
            return jnp.einsum("krb,ksb->krs", post, pre, preferred_element_type=dtype).astype(pre.dtype)
        static, tables = self._parts.parts[number][0], self.tables[number]["part"]
        if block.kind == "levels":
            static, tables = static.synapses, tables["whole"]
        static, tables, pre = _sending(static, tables, pre)
        if isinstance(post, Mixture) and isinstance(static, Sparse):
            return mixed_product(static, tables, whole(pre), post)
        return product(static, tables, whole(pre), whole(post))


def _few(static: Any) -> bool:
    return isinstance(static, Sparse) and static.few is not None


def _sending(static: Any, tables: Any, signal: Any) -> tuple[Any, Any, Any]:
    """A block and what its senders send: of a mixture only those that have synapses, where they are few."""
    if isinstance(signal, Mixture) and _few(static):
        return static.few, tables["few"], signal.at(tables["few"]["index"])
    return static, tables, signal


def _take(signal: Any, index: slice | np.ndarray, size: int) -> Any:
    if isinstance(signal, Mixture):
        signal = whole(signal)
    if isinstance(signal, Multiples):
        return Multiples(signal.factors, _take(signal.value[None], index, size)[0])
    if isinstance(index, slice):
        return signal if (index.start, index.stop) == (0, size) else signal[:, index]
    return signal[:, index]


def _accumulate(total: jax.Array | None, inflow: jax.Array, index: slice | np.ndarray, size: int) -> jax.Array:
    if isinstance(index, slice) and (index.start, index.stop) == (0, size):
        return inflow if total is None else total + inflow
    shape = (inflow.shape[0], size, inflow.shape[2])
    total = jnp.zeros(shape, inflow.dtype) if total is None else jnp.broadcast_to(total, shape)
    return total.at[:, index].add(inflow, unique_indices=True)


def _apply_matrix(block: Block, values: jax.Array, signal: Any, against: bool) -> jax.Array:
    if block.kind == "diagonal":
        return values[:, :, None] * whole(signal)
    dtype = accumulator(signal.dtype)
    if isinstance(signal, Multiples):
        names = "krs,rb->ksb" if against else "krs,sb->krb"
        return signal.times(jnp.einsum(names, values, signal.value, preferred_element_type=dtype)).astype(signal.dtype)
    if values.shape[0] == 1:  # one number for all states: one matrix product over states and batch together
        product = jnp.einsum("rs,krb->ksb" if against else "rs,ksb->krb", values[0], signal, preferred_element_type=dtype)
    else:
        product = jnp.einsum("krs,krb->ksb" if against else "krs,ksb->krb", values, signal, preferred_element_type=dtype)
    return product.astype(signal.dtype)
