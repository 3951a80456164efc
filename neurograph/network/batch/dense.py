"""The kernel of a size class: synapses are one matrix [receivers, senders] under a mask, and which synapses there are, and in
which order acyclic neurons are visited, is data. Tables of one graph are those of layout.py, unfolded once per call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp

from neurograph.network.batch.layout import FIXED, OWN, SHARED, TILE
from neurograph.network.batch.sizes import SizeClass, class_plan
from neurograph.network.kernels.base import ALL, BACKWARD, EXTERNAL, INTERNAL, Kernel, Signals, Update, own_matrix
from neurograph.network.kernels.bilinear import Multiples, mix_states, sum_states, whole
from neurograph.network.kernels.rows import Ends
from neurograph.network.plan.model import Plan
from neurograph.network.state import Weights

__all__ = ["DenseKernel"]


@jax.tree_util.register_pytree_node_class
class DenseKernel(Kernel):
    """Stored numbers: own synapses in `Weights.sparse`, [channels, receivers, senders], zero where there is none; one number per
    group in `Weights.shared`."""

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
        stages = tuple(
            _with(stage, neurons=neurons[a:b]) for stage, a, b in zip(plan.stages, offsets, offsets[1:], strict=False)
        )
        return _with(plan, stages=stages, order=neurons, rank=self.tables["rank"])

    @classmethod
    def of(cls, size: SizeClass, tables: dict[str, jax.Array]) -> Self:
        """The kernel of one graph, its masks unfolded from the tables of `layout`."""
        flat = size.receivers * size.senders
        shape = (size.receivers, size.senders)
        at = tables["at"]
        tables = dict(tables)
        sort = jnp.zeros(flat, jnp.int8).at[at].set(tables["sort"], mode="drop").reshape(shape)
        tables["own"] = sort == OWN
        if size.fixed:
            fixed = jnp.where(tables["sort"] == FIXED, tables["weight"], 0)
            tables["fixed"] = jnp.zeros(flat, fixed.dtype).at[at].set(fixed, mode="drop").reshape(shape)
        if size.groups:
            tables["shared"] = sort == SHARED
            tables["group_of"] = jnp.zeros(flat, jnp.int32).at[at].set(tables["group"], mode="drop").reshape(shape)
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
        matrix = jnp.zeros((len(values), size.receivers * size.senders), values.dtype)
        matrix = matrix.at[:, tables["at"]].set(values, mode="drop")
        shared = None
        if size.groups:
            shared = matrix.at[:, tables["members"][:, 0]].get(mode="fill", fill_value=0)
        own = jnp.where(tables["own"], matrix.reshape(-1, size.receivers, size.senders), 0)
        own_bias, shared_bias = (None,) * len(self.plan.stages), None
        if bias is not None:
            own_bias, shared_bias = self.bias_pack(bias)
        return Weights((), own, shared, own_bias, shared_bias)

    def unpack(self, weights: Weights) -> tuple[jax.Array, jax.Array]:
        """The inverse of `pack`, zero in the padding."""
        matrix = self._values(weights)
        edges = matrix.reshape(len(matrix), -1).at[:, self.tables["at"]].get(mode="fill", fill_value=0)
        return edges.T, self.bias_unpack(weights)

    def _values(self, weights: Weights) -> jax.Array:
        """[channels, receivers, senders] with shared and fixed synapses in place, zero elsewhere."""
        tables, own = self.tables, weights.sparse
        assert own is not None
        fixed = tables["fixed"].astype(own.dtype) if self.size.fixed else jnp.zeros((), own.dtype)
        # The zeros elsewhere are no synapses: whoever differentiates must not find a gradient there.
        values = jnp.where(tables["own"], own, fixed)
        if weights.shared is not None:
            values = jnp.where(tables["shared"], weights.shared[:, tables["group_of"]], values)
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
        return tuple(own), jnp.sum(every.at[:, members].get(mode="fill", fill_value=0), axis=2)

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

    def _sources(self, direction: str, stage: int, part: str) -> list[int]:
        """Stages from which synapses may arrive at one, but for an acyclic band's own."""
        plan, found = class_plan(self.size), []
        phase = plan.phase_of_stage
        for other in range(len(plan.stages)):
            sender, receiver = (stage, other) if direction == BACKWARD else (other, stage)
            internal = bool(phase[sender] == phase[receiver])
            if plan.stages[receiver].kind == "input" or (plan.stages[sender].kind == "output" and not self.size.projecting):
                continue
            if phase[sender] > phase[receiver] or (internal and not plan.phases[phase[stage]].cyclic):
                continue
            if part == ALL or internal == (part == INTERNAL):
                found.append(other)
        return found

    def _block(self, values: jax.Array, receiver: int, sender: int) -> jax.Array:
        """What the synapses from one stage to another are in the matrix."""
        offsets, inputs = class_plan(self.size).offsets, self.size.inputs
        rows = slice(offsets[receiver] - inputs, offsets[receiver + 1] - inputs)
        return values[:, rows, offsets[sender] : offsets[sender + 1]]

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
        against, total = direction == BACKWARD, start
        values = self._values(weights)
        values = values * values if square else values
        plan, sources = class_plan(self.size), self._sources(direction, stage, part)
        if square and plan.phases[plan.phase_of_stage[stage]].scanned:
            sources = [*sources, stage]
        for other in sources:
            block = self._block(values, *((other, stage) if against else (stage, other)))
            inflow = _flow(block, signals[other], against)
            total = inflow if total is None else total + inflow
        return total

    def correlate(self, at_senders: Signals, at_receivers: Signals, known: dict[int, jax.Array] | None = None) -> Weights:
        plan, size = class_plan(self.size), self.size
        senders = [whole(a) for a, info in zip(at_senders, plan.stages) if size.projecting or info.kind != "output"]
        receivers = [whole(a) for a, info in zip(at_receivers, plan.stages) if info.kind != "input"]
        pre, post = jnp.concatenate(senders, axis=1), jnp.concatenate(receivers, axis=1)
        change = jnp.einsum("krb,ksb->krs", post, pre)
        shared = None
        if size.groups:
            flat = change.reshape(len(change), -1)
            shared = jnp.sum(flat.at[:, self.tables["members"]].get(mode="fill", fill_value=0), axis=2)
        return Weights((), jnp.where(self.tables["own"], change, 0), shared, (None,) * len(plan.stages))

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
        block = self._block(self._values(weights), stage, stage)
        band = [number for number, rows in enumerate(self.size.hidden) if rows][stage - 1]
        tiles = self.tables["tiles"][band], self.tables["tile_count"][band]
        return _sweep(tiles, direction == BACKWARD, update, block, matrix, params, external, rows)


def _flow(block: jax.Array, signal: Any, against: bool) -> jax.Array:
    """[channels, receivers, senders] times [states, senders, batch], or backward times that of the receivers."""
    if isinstance(signal, Multiples):
        return signal.times(jnp.einsum("krs,rb->ksb" if against else "krs,sb->krb", block, signal.value))
    block = jnp.broadcast_to(block, (signal.shape[0], *block.shape[1:]))
    return jnp.einsum("krs,krb->ksb" if against else "krs,ksb->krb", block, signal)


def _sweep(
    tiles: tuple[jax.Array, jax.Array],
    against: bool,
    update: Update,
    values: jax.Array,
    matrix: jax.Array | None,
    params: Any,
    external: jax.Array,
    rows: Any,
) -> tuple[jax.Array, jax.Array, Any]:
    """See `Kernel.sweep_levels`: tile by tile, each a product of its rows with the signals of the whole band.

    A window of `TILE` rows may reach into the next tile, which overwrites that, or into one that is done, which is computed again
    from the same numbers.

    Args:
      tiles: first and one past the last row of every tile [most, 2], and how many there are [].
      values: [channels, receivers, senders] of the band's own synapses; external: [states, neurons, batch] inflow from elsewhere.
    """
    size = values.shape[1]
    height = min(TILE, size)

    def mixing(matrix, rows):
        """The matrix that turns states into signals: common, every neuron's own, or None where signals are the states."""
        if matrix is None and isinstance(rows, dict) and "matrix" in rows:
            return own_matrix(rows, external.shape[0])
        return matrix

    def step(matrix, params, rows, z):
        state, record = update(params, rows, z)
        matrix = mixing(matrix, rows)
        return state, state if matrix is None else mix_states(matrix, state), record

    def ahead(tiles, values, matrix, params, external, rows):
        bounds, count = tiles
        table = jnp.swapaxes(values, 1, 2) if against else values
        table = jnp.broadcast_to(table, (external.shape[0], size, size))

        def body(number, carry):
            signals, states, records = carry
            first, last = bounds[count - 1 - number if against else number]
            at = jnp.maximum(last - height, 0) if against else jnp.minimum(first, size - height)
            z = jnp.einsum("krs,ksb->krb", _window(table, at, height), signals) + _window(external, at, height)
            mine = jax.tree.map(lambda a: _window(a, at, height), rows)
            state, signal, record = step(matrix, params, mine, z)
            write = lambda full, part: jax.lax.dynamic_update_slice_in_dim(full, part, at, axis=1)  # noqa: E731
            return write(signals, signal), write(states, state), jax.tree.map(write, records, record)

        piece = jax.tree.map(lambda a: jax.eval_shape(lambda a: a[:, :height], a), (rows, external))
        shapes = jax.eval_shape(step, matrix, params, *piece)
        state, signal, record = jax.tree.map(lambda like: jnp.zeros((like.shape[0], size, like.shape[2]), like.dtype), shapes)
        signals, states, records = jax.lax.fori_loop(0, count, body, (signal, state, record))
        return states, signals, records

    @jax.custom_vjp
    def run(tiles, values, matrix, params, external, rows):
        return ahead(tiles, values, matrix, params, external, rows)

    def noting(params, rows, z):
        """The update, with the inflow in its record: the derivative needs it."""
        state, record = update(params, rows, z)
        return state, (record, z)

    def forward(tiles, values, matrix, params, external, rows):
        states, signals, (record, inflows) = _sweep(tiles, against, noting, values, matrix, params, external, rows)
        return (states, signals, record), (tiles, values, matrix, params, rows, inflows, signals)

    def adjoint(params, rows, arriving):
        """The derivative of a tile's update as the update of the opposite sweep, whose states are derivatives by inflow."""
        mine, z, d_state, d_record = rows
        matrix, shared = mixing(params[0], mine), params[1]
        d_state = d_state + (arriving if matrix is None else mix_states(jnp.swapaxes(matrix, 0, 1), arriving))
        _, pull = jax.vjp(lambda z: update(shared, mine, z), z)
        return pull((d_state, d_record))[0], {}

    def backward(saved, change):
        tiles, values, matrix, params, rows, inflows, signals = saved
        d_state, d_signal, d_record = change
        brought = rows, inflows, d_state, d_record
        d_inflow = _sweep(tiles, not against, adjoint, values, None, (matrix, params), d_signal, brought)[0]
        arriving = d_signal + _flow(values, d_inflow, not against)
        _, pull = jax.vjp(lambda matrix, params, rows: step(matrix, params, rows, inflows), matrix, params, rows)
        d_matrix, d_params, d_rows = pull((d_state, arriving, d_record))
        pre, post = (d_inflow, signals) if against else (signals, d_inflow)
        d_values = jnp.einsum("krb,ksb->krs", post, pre)
        if values.shape[0] == 1 and d_values.shape[0] > 1:
            d_values = sum_states(d_values)
        return None, d_values, d_matrix, d_params, d_inflow, d_rows

    run.defvjp(forward, backward)
    return run(tiles, values, matrix, params, external, rows)


def _window(array: jax.Array, start: jax.Array, rows: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(array, start, rows, axis=1)


def _with(record: Any, **changes: Any) -> Any:
    """`dataclasses.replace` without what a plan checks or caches."""
    new = object.__new__(type(record))
    new.__dict__.update(record.__dict__ | changes)
    return new
