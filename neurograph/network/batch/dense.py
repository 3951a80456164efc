"""The kernel of a size class: synapses are one matrix [receivers, senders] under a mask, and which synapses there are, and in
which order acyclic neurons are visited, is data. Tables of one graph are those of layout.py, unfolded once per call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import jax
import jax.numpy as jnp

from neurograph.genome.rule import Rule
from neurograph.network.batch.layout import FIXED, OWN, SHARED, TILE
from neurograph.network.batch.sizes import SizeClass, chunk_of, class_plan, pairs, parts_of
from neurograph.network.kernels.base import ALL, BACKWARD, EXTERNAL, FINAL, INTERNAL, Kernel, Signals, Update, own_matrix
from neurograph.network.kernels.bilinear import Multiples, flow, mix_states, product, sum_states, whole, with_derivative
from neurograph.network.kernels.rows import Ends
from neurograph.network.plan.model import Plan
from neurograph.network.state import SCALARS, Synapses, Weights

__all__ = ["DenseKernel", "packed_shapes"]

# A product with a slice costs so many times what it costs as a part of one with the whole: slices are copied first.
SLICE_COST = 2


@jax.tree_util.register_pytree_node_class
class DenseKernel(Kernel):
    """Stored numbers: in `Weights.blocks` one matrix [channels, receivers, senders] per pair of stages, zero where there is no
    own synapse; one number per group in `Weights.shared`."""

    name = "dense"

    def __init__(self, size: SizeClass, tables: dict[str, jax.Array]):
        self.size, self.tables = size, tables

    @property
    def plan(self) -> Plan:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The class's plan, with the places of this graph's neurons in its topology: data."""
        plan = class_plan(self.size)
        if not isinstance(self.tables, dict):  # a transformation's stand-in
            return plan
        neurons, offsets = self.tables["neurons"], plan.offsets
        stages = tuple(_with(stage, neurons=neurons[a:b]) for stage, a, b in zip(plan.stages, offsets, offsets[1:], strict=False))
        return _with(plan, stages=stages, order=neurons, rank=self.tables["rank"])

    @classmethod
    def of(cls, size: SizeClass, tables: dict[str, Any]) -> Self:
        """The kernel of one graph, its masks unfolded from the tables of `layout`."""
        at, tables = tables["at"], dict(tables)
        sort = jnp.zeros(size.numbers, jnp.int8).at[at].set(tables["sort"], mode="drop")
        tables["own"] = _cut(size, sort == OWN)
        if size.fixed:
            fixed = jnp.where(tables["sort"] == FIXED, tables["weight"], 0)
            tables["fixed"] = _cut(size, jnp.zeros(size.numbers, fixed.dtype).at[at].set(fixed, mode="drop"))
        if size.groups:
            tables["shared"] = _cut(size, sort == SHARED)
            tables["group_of"] = _cut(size, jnp.zeros(size.numbers, jnp.int32).at[at].set(tables["group"], mode="drop"))
        return cls(size, tables)

    def tree_flatten(self):
        return (self.tables,), self.size

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Self:
        return cls(aux, children[0])

    # -- storage ---------------------------------------------------------------------------------------------------------

    def pack(self, edges: jax.Array, bias: jax.Array | None) -> Weights:
        """[synapses, channels] in topology order, and bias [neurons, channels]: both with what padding there is at their end."""
        size, tables, values = self.size, self.tables, edges.T
        flat = jnp.zeros((len(values), size.numbers), values.dtype).at[:, tables["at"]].set(values, mode="drop")
        shared = _filled(flat, tables["members"][:, 0]) if size.groups else None
        own_bias, shared_bias = (None,) * len(self.plan.stages), None
        if bias is not None:
            own_bias, shared_bias = self.bias_pack(bias)
        return Weights(self._own(_cut(size, flat)), values[:, :0], shared, own_bias, shared_bias)

    def unpack(self, weights: Weights) -> tuple[jax.Array, jax.Array]:
        """The inverse of `pack`, zero in the padding."""
        values = [self._values(pair, weights) for pair in range(len(pairs(self.size)))]
        flat = jnp.concatenate([value.reshape(len(value), -1) for value in values], axis=1)
        return _filled(flat, self.tables["at"]).T, self.bias_unpack(weights)

    def _own(self, matrices: Sequence[jax.Array]) -> tuple[jax.Array, ...]:
        return tuple(jnp.where(mask, matrix, 0) for mask, matrix in zip(self.tables["own"], matrices, strict=True))

    def _values(self, pair: int, weights: Weights) -> jax.Array:
        """[channels, receivers, senders] of a pair of stages, shared and fixed synapses in place, zero where there is none."""
        tables, own = self.tables, weights.blocks[pair]
        assert own is not None
        fixed = tables["fixed"][pair].astype(own.dtype) if self.size.fixed else jnp.zeros((), own.dtype)
        # The zeros elsewhere are no synapses: whoever differentiates must not find a gradient there.
        values = jnp.where(tables["own"][pair], own, fixed)
        if weights.shared is not None:
            values = jnp.where(tables["shared"][pair], weights.shared[:, tables["group_of"][pair]], values)
        return values

    def bias_values(self, weights: Weights, stage: int) -> jax.Array | None:
        own = weights.bias[stage]
        if own is None:
            return None
        mask, group = self._of_stage("bias", stage), self._of_stage("bias_group", stage)
        own = jnp.where(mask, own, 0)
        if weights.shared_bias is None:
            return own
        return jnp.where(group >= 0, weights.shared_bias[:, jnp.maximum(group, 0)], own)

    def bias_store(
        self, values: Sequence[jax.Array | None], *, reduce: bool
    ) -> tuple[tuple[jax.Array | None, ...], jax.Array | None]:
        own = [
            None if v is None else jnp.where(self._of_stage("bias", s) & (self._of_stage("bias_group", s) < 0), v, 0)
            for s, v in enumerate(values)
        ]
        if not self.size.bias_groups:
            return tuple(own), None
        some = next(v for v in values if v is not None)
        every = jnp.concatenate(
            [jnp.zeros((len(some), info.size), some.dtype) if v is None else v for info, v in zip(self.plan.stages, values)],
            axis=1,
        )
        members = self.tables["bias_members"]
        members = members if reduce else members[:, :1]
        return tuple(own), jnp.sum(_filled(every, members), axis=2)

    def bias_pack(self, bias: jax.Array) -> tuple[tuple[jax.Array | None, ...], jax.Array | None]:
        values = [None if info.kind == "input" else bias[info.neurons].T for info in self.plan.stages]
        return self.bias_store(values, reduce=False)

    def _of_stage(self, table: str, stage: int) -> jax.Array:
        offsets = class_plan(self.size).offsets
        return self.tables[table][offsets[stage] : offsets[stage + 1]]

    # -- primitives ------------------------------------------------------------------------------------------------------

    def mixed(self, matrix: jax.Array, state: jax.Array) -> Any:
        if state.shape[0] == 1 and matrix.ndim == 2:
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
        start: jax.Array | None = None,
    ) -> jax.Array | None:
        plan, against, total = class_plan(self.size), direction == BACKWARD, start
        phase = plan.phase_of_stage
        for number, (receiver, sender) in enumerate(pairs(self.size)):
            here, other = (sender, receiver) if against else (receiver, sender)
            internal = bool(phase[receiver] == phase[sender])
            # The synapses within an acyclic band are its sweep's.
            swept = self._swept(receiver, sender) and part != FINAL and not square
            if here != stage or swept or (part in (INTERNAL, EXTERNAL) and internal != (part == INTERNAL)):
                continue
            values = self._values(number, weights)
            inflow = _flow(values * values if square else values, signals[other], against)
            total = inflow if total is None else total + inflow
        return total

    def correlate(self, at_senders: Signals, at_receivers: Signals, known: dict[int, jax.Array] | None = None) -> Weights:
        matrices = []
        for receiver, sender in pairs(self.size):
            pre: Any = at_senders[sender]
            post: Any = whole(at_receivers[receiver])  # pyright: ignore[reportArgumentType]  # all are there
            if self._swept(receiver, sender):
                matrices.append(product(*self._band(receiver), whole(pre), post))
            elif isinstance(pre, Multiples):
                matrices.append(pre.times(jnp.einsum("krb,sb->krs", post, pre.value)))
            else:
                matrices.append(jnp.einsum("krb,ksb->krs", post, pre))
        shared, some = None, matrices[0]
        if self.size.groups:
            flat = jnp.concatenate([matrix.reshape(len(matrix), -1) for matrix in matrices], axis=1)
            shared = jnp.sum(_filled(flat, self.tables["members"]), axis=2)
        return Weights(self._own(matrices), some[:, 0, :0], shared, (None,) * len(class_plan(self.size).stages))

    def _swept(self, receiver: int, sender: int) -> bool:
        plan = class_plan(self.size)
        return receiver == sender and plan.phases[plan.phase_of_stage[receiver]].scanned

    def _band(self, stage: int) -> tuple[Band, Any]:
        rows = class_plan(self.size).stages[stage].size
        part = [part for part in parts_of(self.size) if part.count][stage]
        return Band(rows), self.tables["tiles"][str(part.band)]

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
        external = self.aggregate(direction, stage, weights, signals, EXTERNAL, start=start)
        dtype = jax.tree.leaves((weights, rows))[0].dtype
        external = jnp.zeros(shape, dtype) if external is None else jnp.broadcast_to(external, shape)
        values = self._values(pairs(self.size).index((stage, stage)), weights)
        return _sweep(*self._band(stage), direction == BACKWARD, update, values, matrix, params, external, rows)


@lru_cache(maxsize=256)
def packed_shapes(size: SizeClass, rule: Rule, graphs: int) -> Synapses:
    """The synapses of `graphs` graphs of a class as shapes alone, without carried states."""
    stages, k = class_plan(size).stages, rule.synapse_channels

    def shape(*sizes: int) -> Any:
        return jax.ShapeDtypeStruct((graphs, k, *sizes), jnp.float32)

    def weights(biases: bool) -> Weights:
        blocks = tuple(shape(stages[receiver].size, stages[sender].size) for receiver, sender in pairs(size))
        own = tuple(shape(info.size) if biases and info.kind != "input" else None for info in stages)
        shared = shape(size.groups) if size.groups else None
        return Weights(blocks, shape(0), shared, own, shape(size.bias_groups) if biases and size.bias_groups else None)

    forward, backward = weights(True), None if rule.symmetric else weights(False)
    twins = {"forward": forward} | ({} if backward is None else {"backward": backward})
    averages = {"forward": forward} | {name: jax.ShapeDtypeStruct((graphs,), jnp.float32) for name in SCALARS}
    kept = {"traces": twins if rule.synapse_trace else None, "averages": averages if rule.synapse_average else None}
    return Synapses(forward, backward, **kept)


def _cut(size: SizeClass, flat: jax.Array) -> tuple[jax.Array, ...]:
    """The numbers of all matrices, [..., numbers], as one [..., receivers, senders] per pair of stages."""
    stages, found, start = class_plan(size).stages, [], 0
    for receiver, sender in pairs(size):
        shape = stages[receiver].size, stages[sender].size
        found.append(flat[..., start : start + shape[0] * shape[1]].reshape(*flat.shape[:-1], *shape))
        start += shape[0] * shape[1]
    return tuple(found)


def _filled(array: jax.Array, index: jax.Array) -> jax.Array:
    """array[:, index], 0 where an index lies beyond the end."""
    return array.at[:, index].get(mode="fill", fill_value=0)


def _flow(block: jax.Array, signal: Any, against: bool) -> jax.Array:
    """[channels, receivers, senders] times [states, senders, batch], or backward times that of the receivers."""
    if isinstance(signal, Multiples):
        return signal.times(jnp.einsum("krs,rb->ksb" if against else "krs,sb->krb", block, signal.value))
    block = jnp.broadcast_to(block, (signal.shape[0], *block.shape[1:]))
    return jnp.einsum("krs,krb->ksb" if against else "krs,ksb->krb", block, signal)


@dataclass(frozen=True)
class Band:
    """The synapses within an acyclic band of `rows` neurons, as products of tiles with chunks of senders; see `Bilinear`.

    A window of `TILE` rows may reach into the next tile, which overwrites that, or into one that is done, which is computed again
    from the same numbers. Chunks in which none of its rows has a synapse are left out.
    """

    rows: int

    @property
    def height(self) -> int:
        return min(TILE, self.rows)

    def visit(self, tables: Any, against: bool, tile: Callable[..., Any], carry: Any) -> Any:
        """`tile(first row, first chunk, end of chunks, carry)` of one after another, in the order of a pass."""
        table = tables["against" if against else "along"]

        def one(number, carry):
            return tile(table["start"][number], *table["chunks"][number], carry)

        return jax.lax.fori_loop(0, tables["count"], one, carry)

    def inflow(
        self, matrix: jax.Array, signals: jax.Array, at: jax.Array, low: jax.Array, high: jax.Array, start: jax.Array
    ) -> jax.Array:
        """`start` plus a window's inflow, [states, height, batch]; matrix: [states, rows, senders]."""
        chunk = chunk_of(self.rows)

        def add(number, total):
            part = jax.lax.dynamic_slice(matrix, (at * 0, at, number * chunk), (len(matrix), self.height, chunk))
            return total + jnp.einsum("krs,ksb->krb", part, _window(signals, number * chunk, chunk))

        def whole(start):
            return start + jnp.einsum("krs,ksb->krb", _window(matrix, at, self.height), signals)

        def parts(start):
            return jax.lax.fori_loop(low, high, add, start)

        return jax.lax.cond(SLICE_COST * (high - low) >= self.rows // chunk, whole, parts, start)

    def raw_flow(
        self, tables: Any, against: bool, values: jax.Array, signal: jax.Array, start: jax.Array | None = None
    ) -> jax.Array:
        shape = (signal.shape[0], self.rows, signal.shape[2])
        matrix = jnp.broadcast_to(jnp.swapaxes(values, 1, 2) if against else values, (shape[0], self.rows, self.rows))
        outer = jnp.zeros(shape, signal.dtype) if start is None else jnp.broadcast_to(start, shape)

        def tile(at, low, high, flowed):
            return _write(flowed, self.inflow(matrix, signal, at, low, high, _window(outer, at, self.height)), at)

        return self.visit(tables, against, tile, outer)

    def raw_product(self, tables: Any, pre: jax.Array, post: jax.Array) -> jax.Array:
        chunk = chunk_of(self.rows)

        def tile(at, low, high, found):
            mine = _window(post, at, self.height)

            def put(number, found):
                part = jnp.einsum("krb,ksb->krs", mine, _window(pre, number * chunk, chunk))
                return jax.lax.dynamic_update_slice(found, part, (at * 0, at, number * chunk))

            return jax.lax.fori_loop(low, high, put, found)

        def parts(pre, post):
            return self.visit(tables, False, tile, jnp.zeros((len(post), self.rows, self.rows), post.dtype))

        def whole(pre, post):
            return jnp.einsum("krb,ksb->krs", post, pre)

        chunks = tables["along"]["chunks"]
        number = jnp.sum(chunks[:, 1] - chunks[:, 0])
        return jax.lax.cond(SLICE_COST * self.height * chunk * number >= self.rows**2, whole, parts, pre, post)


def _sweep(
    band: Band,
    tables: Any,
    against: bool,
    update: Update,
    values: jax.Array,
    matrix: jax.Array | None,
    params: Any,
    external: jax.Array,
    rows: Any,
) -> tuple[jax.Array, jax.Array, Any]:
    """See `Kernel.sweep_levels`; values: [channels, receivers, senders], external: [states, neurons, batch] from elsewhere."""

    def mixing(matrix, rows):
        """The matrix that turns states into signals: common, every neuron's own, or None where signals are the states."""
        if matrix is None and isinstance(rows, dict) and "matrix" in rows:
            return own_matrix(rows, external.shape[0])
        return matrix

    def step(matrix, params, rows, z):
        state, record = update(params, rows, z)
        matrix = mixing(matrix, rows)
        return state, state if matrix is None else mix_states(matrix, state), record

    def ahead(tables, values, matrix, params, external, rows):
        table = jnp.swapaxes(values, 1, 2) if against else values
        table = jnp.broadcast_to(table, (external.shape[0], band.rows, band.rows))

        def tile(at, low, high, carry):
            signals, states, records = carry
            z = band.inflow(table, signals, at, low, high, _window(external, at, band.height))
            mine = jax.tree.map(lambda a: _window(a, at, band.height), rows)
            state, signal, record = step(matrix, params, mine, z)
            write = lambda full, part: _write(full, part, at)  # noqa: E731
            return write(signals, signal), write(states, state), jax.tree.map(write, records, record)

        piece = jax.tree.map(lambda a: jax.eval_shape(lambda a: a[:, : band.height], a), (rows, external))
        shapes = jax.eval_shape(step, matrix, params, *piece)
        state, signal, record = jax.tree.map(
            lambda like: jnp.zeros((like.shape[0], band.rows, like.shape[2]), like.dtype), shapes
        )
        signals, states, records = band.visit(tables, against, tile, (signal, state, record))
        return states, signals, records

    def noting(params, rows, z):
        """The update, with the inflow in its record: the derivative needs it."""
        state, record = update(params, rows, z)
        return state, (record, z)

    def forward(tables, values, matrix, params, external, rows):
        states, signals, (record, inflows) = _sweep(band, tables, against, noting, values, matrix, params, external, rows)
        return (states, signals, record), (tables, values, matrix, params, rows, inflows, signals)

    def adjoint(params, rows, arriving):
        """The derivative of a tile's update as the update of the opposite sweep, whose states are derivatives by inflow."""
        mine, z, d_state, d_record = rows
        matrix, shared = mixing(params[0], mine), params[1]
        d_state = d_state + (arriving if matrix is None else mix_states(jnp.swapaxes(matrix, 0, 1), arriving))
        _, pull = jax.vjp(lambda z: update(shared, mine, z), z)
        return pull((d_state, d_record))[0], {}

    def backward(saved, change):
        tables, values, matrix, params, rows, inflows, signals = saved
        d_state, d_signal, d_record = change
        brought = rows, inflows, d_state, d_record
        d_inflow = _sweep(band, tables, not against, adjoint, values, None, (matrix, params), d_signal, brought)[0]
        arriving = flow(band, tables, not against, values, d_inflow, d_signal)
        _, pull = jax.vjp(lambda matrix, params, rows: step(matrix, params, rows, inflows), matrix, params, rows)
        d_matrix, d_params, d_rows = pull((d_state, arriving, d_record))
        pre, post = (d_inflow, signals) if against else (signals, d_inflow)
        d_values = product(band, tables, pre, post)
        if values.shape[0] == 1 and d_values.shape[0] > 1:
            d_values = sum_states(d_values)
        return None, d_values, d_matrix, d_params, d_inflow, d_rows

    return with_derivative(ahead, forward, backward)(tables, values, matrix, params, external, rows)


def _window(array: jax.Array, start: jax.Array, rows: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(array, start, rows, axis=1)


def _write(array: jax.Array, rows: jax.Array, start: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(array, rows.astype(array.dtype), start, axis=1)


def _with(record: Any, **changes: Any) -> Any:
    """`dataclasses.replace` without what a plan checks or caches."""
    new = object.__new__(type(record))
    new.__dict__.update(record.__dict__ | changes)
    return new
