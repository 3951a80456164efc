"""How activity flows along synapses: the fast kernel, run from a `Plan`.

A kernel offers two primitives, and everything that a genome does is written in terms of them:

- `aggregate`: z_j = sum over the synapses that arrive at j of w * signal (Eqs. 5 and 6: the same function, ends swapped);
- `correlate`: sum over the batch of one number at a synapse's sender times one at its receiver (Eq. 7).

Inside, arrays are [states, neurons of a stage, batch]: batch innermost was measured fastest (benchmarks/).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.plan import OWN, SHARED, Block, Plan, SparseEdges
from neurograph.types import Weights

__all__ = ["BlockKernel", "Kernel"]

Signals = Sequence[jax.Array | None]

FORWARD, BACKWARD = "forward", "backward"
ALL, INTERNAL, EXTERNAL = "all", "internal", "external"

# Rows of a gather table are padded to the next of these widths; wider rows to a multiple of 16.
WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# Columns of a gather table that are unrolled; beyond, a loop keeps the program short.
UNROLL = 16
# Synapses whose Hebbian product is taken at once: their gathered ends then stay in the cache.
CHUNK = 2048


class Kernel:
    """What every kernel offers. A pytree: `tables` (index arrays) are its leaves, the plan is static.

    Subclasses: `BlockKernel` here, `ReferenceKernel` in reference.py; both are tested against each other.
    """

    name = "abstract"

    def __init__(self, plan: Plan, tables: Any):
        self.plan, self.tables = plan, tables

    def tree_flatten(self):
        return (self.tables,), _Static(self.plan)

    @classmethod
    def tree_unflatten(cls, aux: _Static, children):
        return cls(aux.plan, children[0])

    # -- storage ---------------------------------------------------------------------------------------------------------

    def pack(self, edges: jax.Array, bias: jax.Array | None) -> Weights:
        """[E, channels] in topology order (and bias [n, channels], forward direction only) to stored numbers."""
        raise NotImplementedError

    def unpack(self, weights: Weights) -> tuple[jax.Array, jax.Array]:
        """The inverse of `pack`: [E, channels] with fixed synapses at their value, and bias [n, channels], 0 where none."""
        raise NotImplementedError

    # -- primitives ------------------------------------------------------------------------------------------------------

    def aggregate(
        self, direction: str, stage: int, weights: Weights, signals: Signals, part: str = ALL, *, square: bool = False
    ) -> jax.Array | None:
        """Inflow into one stage [states, neurons, batch], or None where no synapse of that part arrives there.

        Args:
          direction: "forward" (along the synapses) or "backward" (against them).
          stage: the receiving stage.
          weights: stored numbers of that direction.
          signals: one array [states, neurons, batch] per stage; only the senders' are read.
          part: "all", or in cyclic phases "internal" (from the same phase) and "external" (from the others).
          square: use the squares of the weights (norms, Oja).
        """
        raise NotImplementedError

    def correlate(self, at_senders: Signals, at_receivers: Signals) -> Weights:
        """For each stored number, sum over its synapses and the batch of at_senders * at_receivers; no bias.

        Args:
          at_senders, at_receivers: per stage [channels, neurons, batch].
        """
        raise NotImplementedError

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
        return jnp.where(shared, taken, 0 if own is None else own)

    def bias_store(
        self, values: Sequence[jax.Array | None], *, reduce: bool
    ) -> tuple[tuple[jax.Array | None, ...], jax.Array | None]:
        """Per-stage values [channels, neurons] to stored biases; groups take the sum of their members, or their first one."""
        own, members, groups, neurons = [], [], [], []
        for info, value in zip(self.plan.stages, values, strict=True):
            shared = info.bias_group >= 0
            mask = info.bias & ~shared
            own.append(None if value is None or not mask.any() else value if mask.all() else jnp.where(mask, value, 0))
            if shared.any() and value is not None:
                members.append(value[:, np.flatnonzero(shared).astype(np.int32)])
                groups.append(info.bias_group[shared])
                neurons.append(info.neurons[shared])
        if not members:
            return tuple(own), None
        gathered, group = jnp.concatenate(members, axis=1), np.concatenate(groups)
        if reduce:
            return tuple(own), _reduce_groups(gathered, group)
        by = np.argsort(np.concatenate(neurons)).astype(np.int32)  # the first in topology order, on every plan
        return tuple(own), gathered[:, by[_first_members(group[by])]]

    def bias_unpack(self, weights: Weights) -> jax.Array:
        """[n, channels] in topology order."""
        plan, columns = self.plan, []
        some = jax.tree.leaves(weights)[0]
        for stage, info in enumerate(plan.stages):
            value = self.bias_values(weights, stage)
            columns.append(jnp.zeros((some.shape[0], info.size), some.dtype) if value is None else value)
        return jnp.concatenate(columns, axis=1).T[plan.rank]

    def bias_pack(self, bias: jax.Array) -> tuple[tuple[jax.Array | None, ...], jax.Array | None]:
        """[n, channels] in topology order to stored biases; values where no bias exists are dropped."""
        values = [
            jnp.where(info.bias[:, None], bias[info.neurons], 0).T if info.bias.any() else None for info in self.plan.stages
        ]
        return self.bias_store(values, reduce=False)


class _Static:
    """A plan as static data of a pytree: equal when the topology's content and the plan's cut are."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.key = (plan.digest, len(plan.blocks))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.key == other.key


@jax.tree_util.register_pytree_node_class
class BlockKernel(Kernel):
    """Dense blocks as matrix products, one-to-one synapses elementwise, the sparse remainder as padded gathers."""

    name = "blocks"

    @classmethod
    def build(cls, plan: Plan) -> BlockKernel:
        tables: dict[str, Any] = {"fixed": _fixed_values(plan), "sparse": {}, "ends": {}}
        group = plan.group
        tables["groups"] = {
            "blocks": tuple(jnp.asarray(group[b.edges], jnp.int32) if b.sort == SHARED else None for b in plan.blocks),
            "sparse": tuple(jnp.asarray(group[s.edges], jnp.int32) if s.sort == SHARED else None for s in plan.sparse),
        }
        tables["masks"] = tuple(jnp.asarray(b.edges >= 0) if b.kind == "masked" else None for b in plan.blocks)
        for number, sparse in enumerate(plan.sparse):
            for direction in (FORWARD, BACKWARD):
                for key, value in _gather_tables(plan, sparse, direction).items():
                    tables["sparse"][_table_key(number, direction, *key)] = value
            if sparse.sort != "fixed":
                tables["ends"][str(number)] = _chunked_ends(sparse)
        return cls(plan, tables)

    def pack(self, edges: jax.Array, bias: jax.Array | None) -> Weights:
        plan, values = self.plan, edges.T
        blocks = []
        for block in plan.blocks:
            stored = values[:, np.maximum(block.edges, 0)] if block.sort == OWN else None
            blocks.append(jnp.where(block.edges >= 0, stored, 0) if stored is not None and block.kind == "masked" else stored)
        own = [s for s in plan.sparse if s.sort == OWN]
        group = plan.group
        shared_edges = np.flatnonzero(group >= 0)
        shared = values[:, shared_edges[_first_members(group[shared_edges])]] if len(shared_edges) else None
        own_bias, shared_bias = self.bias_pack(bias) if bias is not None else ((None,) * len(plan.stages), None)
        return Weights(tuple(blocks), values[:, own[0].edges] if own else None, shared, own_bias, shared_bias)

    def unpack(self, weights: Weights) -> tuple[jax.Array, jax.Array]:
        plan = self.plan
        some = jax.tree.leaves(weights)[0]
        out = jnp.zeros((some.shape[0], plan.topology.num_synapses), some.dtype)
        for number, block in enumerate(plan.blocks):
            value = jnp.broadcast_to(self._block_values(number, weights, some.dtype), (some.shape[0], *block.edges.shape))
            present = block.edges >= 0
            out = out.at[:, block.edges[present]].set(value[:, present])
        for number, sparse in enumerate(plan.sparse):
            out = out.at[:, sparse.edges].set(self._sparse_values(number, weights, some.dtype))
        return out.T, self.bias_unpack(weights)

    def _block_values(self, number: int, weights: Weights, dtype: Any) -> jax.Array:
        """[channels or 1, receivers, senders] or, for a diagonal block, [channels or 1, m]."""
        block = self.plan.blocks[number]
        if block.sort == OWN:
            return weights.blocks[number]
        if block.sort == SHARED:
            value = weights.shared[:, self.tables["groups"]["blocks"][number]]
        else:
            value = self.tables["fixed"]["blocks"][number].astype(dtype)[None]
        mask = self.tables["masks"][number]
        return value if mask is None else jnp.where(mask, value, 0)

    def _sparse_values(self, number: int, weights: Weights, dtype: Any) -> jax.Array:
        """[channels or 1, edges] of one sparse remainder."""
        sort = self.plan.sparse[number].sort
        if sort == OWN:
            return weights.sparse
        if sort == SHARED:
            return weights.shared[:, self.tables["groups"]["sparse"][number]]
        return self.tables["fixed"]["sparse"][number].astype(dtype)[None]

    def aggregate(
        self, direction: str, stage: int, weights: Weights, signals: Signals, part: str = ALL, *, square: bool = False
    ) -> jax.Array | None:
        plan, total = self.plan, None
        for number, block in enumerate(plan.blocks):
            source, target, here, there = (
                (block.source_stage, block.target_stage, block.target, block.source)
                if direction == FORWARD
                else (block.target_stage, block.source_stage, block.source, block.target)
            )
            if target != stage or part == (EXTERNAL if block.internal else INTERNAL):
                continue
            signal = _take(signals[source], there, plan.stages[source].size)
            values = self._block_values(number, weights, signal.dtype)
            inflow = _apply_block(block, values * values if square else values, signal, direction)
            total = _accumulate(total, inflow, here, plan.stages[stage].size)
        for number in range(len(plan.sparse)):
            table = self.tables["sparse"].get(_table_key(number, direction, stage, part))
            if table is None:
                continue
            total = self._gather(number, direction, stage, part, table, weights, signals, square, total)
        return total

    def _gather(self, number, direction, stage, part, table, weights, signals, square, total):
        stages = _source_stages(self.plan, self.plan.sparse[number], direction, stage, part)
        signal = jnp.concatenate([signals[s] for s in stages], axis=1) if len(stages) > 1 else signals[stages[0]]
        values = self._sparse_values(number, weights, signal.dtype)
        values = values * values if square else values
        rows = [
            _padded_gather(jnp.where(mask, values[:, edges], 0), signal, senders)
            for senders, edges, mask in zip(table["senders"], table["edges"], table["mask"], strict=True)
        ]
        inflow = (jnp.concatenate(rows, axis=1) if len(rows) > 1 else rows[0])[:, table["rows"]]
        return inflow if total is None else total + inflow

    def correlate(self, at_senders: Signals, at_receivers: Signals) -> Weights:
        plan, blocks, shared = self.plan, [], []
        for number, block in enumerate(plan.blocks):
            if block.sort == "fixed":
                blocks.append(None)
                continue
            pre = _take(at_senders[block.source_stage], block.source, plan.stages[block.source_stage].size)
            post = _take(at_receivers[block.target_stage], block.target, plan.stages[block.target_stage].size)
            if block.kind == "diagonal":
                product = jnp.sum(pre * post, axis=-1)
            else:
                product = jnp.einsum("krb,ksb->krs", post, pre)
            mask = self.tables["masks"][number]
            product = product if mask is None else jnp.where(mask, product, 0)
            if block.sort == OWN:
                blocks.append(product)
            else:
                present = block.edges >= 0
                shared.append((product[:, present], plan.group[block.edges[present]]))
                blocks.append(None)
        sparse = None
        for number, remainder in enumerate(plan.sparse):
            if remainder.sort == "fixed":
                continue
            pre, post = jnp.concatenate(at_senders, axis=1), jnp.concatenate(at_receivers, axis=1)
            product = _gathered_product(pre, post, *self.tables["ends"][str(number)])[:, : len(remainder.edges)]
            if remainder.sort == OWN:
                sparse = product
            else:
                shared.append((product, plan.group[remainder.edges]))
        reduced = None
        if shared:
            reduced = _reduce_groups(jnp.concatenate([p for p, _ in shared], axis=1), np.concatenate([g for _, g in shared]))
        return Weights(tuple(blocks), sparse, reduced, (None,) * len(plan.stages))


# -- blocks ----------------------------------------------------------------------------------------------------------------


def _take(signal: jax.Array, index: slice | np.ndarray, size: int) -> jax.Array:
    if isinstance(index, slice):
        return signal if (index.start, index.stop) == (0, size) else signal[:, index]
    return signal[:, index]


def _accumulate(total: jax.Array | None, inflow: jax.Array, index: slice | np.ndarray, size: int) -> jax.Array:
    if isinstance(index, slice) and (index.start, index.stop) == (0, size):
        return inflow if total is None else total + inflow
    if total is None:
        total = jnp.zeros((inflow.shape[0], size, inflow.shape[2]), inflow.dtype)
    return total.at[:, index].add(inflow)


def _apply_block(block: Block, values: jax.Array, signal: jax.Array, direction: str) -> jax.Array:
    if block.kind == "diagonal":
        return values[:, :, None] * signal
    if values.shape[0] == 1:  # one number for all states: one matrix product over states and batch together
        return jnp.einsum("rs,ksb->krb" if direction == FORWARD else "rs,krb->ksb", values[0], signal)
    return jnp.einsum("krs,ksb->krb" if direction == FORWARD else "krs,krb->ksb", values, signal)


# -- gathers ---------------------------------------------------------------------------------------------------------------


def _table_key(number: int, direction: str, stage: int, part: str) -> str:
    return f"{number}.{direction}.{stage}.{part}"


def _part_of(plan: Plan, sparse: SparseEdges) -> np.ndarray:
    """True where both ends of an edge lie in the same cyclic phase."""
    phase = plan.phase_of_stage[plan.stage_of]
    cyclic = np.array([p.cyclic for p in plan.phases])
    return (phase[sparse.senders] == phase[sparse.receivers]) & cyclic[phase[sparse.receivers]]


def _select(plan: Plan, sparse: SparseEdges, direction: str, stage: int, part: str) -> np.ndarray:
    target = sparse.receivers if direction == FORWARD else sparse.senders
    chosen = plan.stage_of[target] == stage
    if part != ALL:
        internal = _part_of(plan, sparse)
        chosen &= internal if part == INTERNAL else ~internal
    return np.flatnonzero(chosen)


def _source_stages(plan: Plan, sparse: SparseEdges, direction: str, stage: int, part: str) -> list[int]:
    source = sparse.senders if direction == FORWARD else sparse.receivers
    return np.unique(plan.stage_of[source[_select(plan, sparse, direction, stage, part)]]).tolist()


def _width(degree: int) -> int:
    return next((w for w in WIDTHS if w >= degree), -(-degree // 16) * 16)


def _gather_tables(plan: Plan, sparse: SparseEdges, direction: str) -> dict[tuple[int, str], dict[str, Any]]:
    """Padded tables per receiving stage: which signal rows, and which edges, meet in every row."""
    target, source = (sparse.receivers, sparse.senders) if direction == FORWARD else (sparse.senders, sparse.receivers)
    parts = (ALL, INTERNAL, EXTERNAL) if any(p.cyclic for p in plan.phases) else (ALL,)
    tables = {}
    for stage, info in enumerate(plan.stages):
        for part in parts:
            chosen = _select(plan, sparse, direction, stage, part)
            if not len(chosen):
                continue
            stages = np.unique(plan.stage_of[source[chosen]])
            starts = np.cumsum([0, *[plan.stages[s].size for s in stages]])[:-1]
            shift = np.zeros(len(plan.stages), np.int64)
            shift[stages] = starts - plan.offsets[stages]
            rows, senders = target[chosen] - plan.offsets[stage], source[chosen] + shift[plan.stage_of[source[chosen]]]
            tables[(stage, part)] = _bucket(rows, senders, chosen, info.size)
    return tables


def _bucket(rows: np.ndarray, senders: np.ndarray, edges: np.ndarray, size: int) -> dict[str, Any]:
    degree = np.bincount(rows, minlength=size)
    by = np.argsort(rows, kind="stable")
    starts = np.concatenate([[0], np.cumsum(degree)])[:-1]
    width = np.array([_width(d) for d in range(max(degree.max(), 1) + 1)])[np.maximum(degree, 1)]
    out: dict[str, Any] = {"senders": [], "edges": [], "mask": []}
    members = []
    for w in np.unique(width):
        mine = np.flatnonzero(width == w)
        members.append(mine)
        column = np.arange(w)
        mask = column < degree[mine][:, None]
        place = by[np.minimum(starts[mine][:, None] + column, len(by) - 1)]
        out["senders"].append(jnp.asarray(np.where(mask, senders[place], 0), jnp.int32))
        out["edges"].append(jnp.asarray(np.where(mask, edges[place], 0), jnp.int32))
        out["mask"].append(jnp.asarray(mask))
    rows_order = np.empty(size, np.int64)
    rows_order[np.concatenate(members)] = np.arange(size)
    out["rows"] = jnp.asarray(rows_order, jnp.int32)
    return out


def _padded_gather(values: jax.Array, signal: jax.Array, senders: jax.Array) -> jax.Array:
    """sum_d values[:, r, d] * signal[:, senders[r, d]]: values [channels, rows, width] -> [states, rows, batch]."""
    width = senders.shape[1]
    if width <= UNROLL:
        total = values[:, :, 0, None] * signal[:, senders[:, 0]]
        for d in range(1, width):
            total = total + values[:, :, d, None] * signal[:, senders[:, d]]
        return total
    chunk = 8

    def body(total, piece):
        value, sender = piece
        for d in range(chunk):
            total = total + value[:, :, d, None] * signal[:, sender[:, d]]
        return total, None

    cut = (
        values.reshape(*values.shape[:2], width // chunk, chunk).transpose(2, 0, 1, 3),
        senders.reshape(-1, width // chunk, chunk).transpose(1, 0, 2),
    )
    start = jnp.zeros((signal.shape[0], senders.shape[0], signal.shape[2]), jnp.result_type(values, signal))
    return jax.lax.scan(body, start, cut)[0]


def _chunked_ends(sparse: SparseEdges) -> tuple[jax.Array, jax.Array]:
    """Both ends of every edge, [chunks, edges per chunk], padded with neuron 0."""
    size = min(CHUNK, len(sparse.edges))
    pad = -len(sparse.edges) % size
    return tuple(jnp.asarray(np.pad(a, (0, pad)).reshape(-1, size), jnp.int32) for a in (sparse.senders, sparse.receivers))


def _gathered_product(pre: jax.Array, post: jax.Array, senders: jax.Array, receivers: jax.Array) -> jax.Array:
    """[channels, padded edges]: batch sum of pre at the sender times post at the receiver, chunk by chunk."""

    def chunk(ends):
        return jnp.einsum("keb,keb->ke", pre[:, ends[0]], post[:, ends[1]])

    if senders.shape[0] == 1:
        return chunk((senders[0], receivers[0]))
    product = jax.lax.map(chunk, (senders, receivers))
    return product.transpose(1, 0, 2).reshape(pre.shape[0], -1)


# -- groups and fixed values -------------------------------------------------------------------------------------------------


def _first_members(group: np.ndarray) -> np.ndarray:
    return np.unique(group, return_index=True)[1].astype(np.int32)


def _reduce_groups(values: jax.Array, group: np.ndarray) -> jax.Array:
    """[channels, members] -> [channels, groups]: sums by gathers, not scatters, so that results repeat bit for bit."""
    count = np.bincount(group)
    by, width = np.argsort(group, kind="stable"), int(count.max())
    if width * len(count) > 4 * len(group):  # very unequal groups: padding would cost more than it saves
        return jax.ops.segment_sum(values.T, jnp.asarray(group), num_segments=len(count)).T
    starts = np.concatenate([[0], np.cumsum(count)])[:-1]
    mask = np.arange(width) < count[:, None]
    place = by[np.minimum(starts[:, None] + np.arange(width), len(by) - 1)].astype(np.int32)
    return jnp.sum(jnp.where(mask, values[:, place], 0), axis=-1)


def _fixed_values(plan: Plan) -> dict[str, tuple[jax.Array | None, ...]]:
    weight = np.asarray(plan.topology.weight)

    def values(part: Block | SparseEdges) -> jax.Array | None:
        return jnp.asarray(weight[part.edges]) if part.sort == "fixed" else None

    return {"blocks": tuple(map(values, plan.blocks)), "sparse": tuple(map(values, plan.sparse))}
