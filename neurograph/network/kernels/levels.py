"""A run of irregular levels as one scan over tiles of neurons, with a derivative of its own.

Tiles are updated in order; the step of a tile gathers what its neurons receive from signals that are final, updates them and
writes a window of as many rows as the largest tile has. A smaller tile's window reaches into rows that come later in the order:
they are overwritten when their turn comes. So every array stays as it is, without padding between the levels. By native code,
the last windows are pushed back inside the array and update some rows a second time, to the same values; gather tables cannot do
that, and the arrays have the rows of one more tile.

The derivative of a sweep is the opposite sweep over the transposed tables (its update the derivative of the update), and one
Hebbian product for the synapses: memory of a few numbers per neuron, and no scatter.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.network.kernels import native
from neurograph.network.kernels.base import Update, own_matrix
from neurograph.network.kernels.bilinear import accumulator, flow, mix_states, product, sum_states, with_derivative
from neurograph.network.kernels.gather import Gather, index_table, materialise, padded, pieces_sum
from neurograph.network.kernels.segment_sums import SegmentSums
from neurograph.network.kernels.sparse import Sparse
from neurograph.network.plan import Block
from neurograph.network.plan.tables import UNROLL_GPU, make_table, tile_groups

__all__ = ["Levels", "Sweep"]

# Pieces of a tile's tables: a step of a scan pays for each of them with a call, and the compiler with a loop.
MAX_PIECES = 2


@dataclass(frozen=True)
class Levels:
    """A scanned stage of `neurons` neurons in tiles of at most `tile` rows; `synapses` is its block as a plain one."""

    neurons: int
    tile: int
    synapses: Gather | Sparse | SegmentSums

    @staticmethod
    def build(
        block: Block, neurons: int, maker: type[Gather] | type[Sparse] | type[SegmentSums]
    ) -> tuple[Levels, dict[str, Any]]:
        """The stage and its tables: tiles in both directions, and those of the whole block (by `maker`) for its product."""
        native = maker is Sparse
        source, target, bounds = np.asarray(block.source), np.asarray(block.target), np.asarray(block.tiles)
        size = np.diff(bounds)
        tile = int(size.max())
        synapses, whole = maker.build(source, target, neurons, neurons)
        tables: dict[str, Any] = {"whole": whole}
        for name, descending in (("along", False), ("against", True)):
            if native:
                whole["bounds"] = _level_bounds(source, target, bounds).astype(np.int32)
                tables[name] = [_spans(bounds, tile, neurons, descending)]
            else:
                ends = (source, target) if descending else (target, source)
                tables[name] = _tiles(*ends, bounds, size, tile, descending)
        return Levels(neurons, tile, synapses), tables

    @property
    def margin(self) -> int:
        """Rows that arrays have beyond the neurons."""
        return 0 if isinstance(self.synapses, Sparse) else self.tile


def _level_bounds(source: np.ndarray, target: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Where runs of tiles start that do not depend on each other, [runs + 1]: one call goes from run to run."""
    latest = np.full(len(bounds) - 1, -1)
    np.maximum.at(latest, np.searchsorted(bounds, target, side="right") - 1, source)
    starts = [0]
    for start, sender in zip(bounds[:-1].tolist(), latest.tolist(), strict=True):
        if sender >= starts[-1]:
            starts.append(start)
    return np.array([*starts, bounds[-1]])


def _spans(bounds: np.ndarray, tile: int, neurons: int, descending: bool) -> dict[str, Any]:
    """In the order of the sweep: `start` [tiles] of every window, and `span` [tiles, 3], it and the rows to sum (native.tile)."""
    first, last = bounds[:-1], bounds[1:]
    if descending:
        start = np.maximum(last - tile, 0)
        span = np.stack([start, first, start + tile], axis=1)[::-1]
    else:
        start = np.minimum(first, neurons - tile)
        span = np.stack([start, start, last], axis=1)
    return {"start": np.asarray(span[:, 0], np.int32), "span": np.asarray(span, np.int32)}


def _tiles(targets, sources, bounds, size, tile, descending) -> list[dict[str, Any]]:
    """Groups of consecutive tiles, in the order of the sweep, that share the shape of their tables."""
    count = len(size)
    tile_of = np.repeat(np.arange(count), size)
    # A descending window ends with its tile, so that what it writes too much lies below; arrays have a tile more in front.
    first = bounds[:-1] if not descending else bounds[1:] - tile
    row = np.arange(len(tile_of)) - first[tile_of]
    shift = tile if descending else 0
    degree = np.bincount(tile_of[targets] * tile + row[targets], minlength=count * tile).reshape(count, tile)
    groups = []
    for a, b in tile_groups(degree):
        mine = (tile_of[targets] >= a) & (tile_of[targets] < b)
        chosen = np.flatnonzero(mine)
        if len(chosen):
            table = make_table(targets[chosen], sources[chosen] + shift, tile_of - a, row, b - a, tile, MAX_PIECES)
            group = index_table(table)
            names = np.append(chosen, len(targets)).astype(np.int32)  # slots of the group to slots of the block
            group["slots"] = [names[p.slots] for p in table.pieces]
        else:
            group: dict[str, Any] = {"sources": [], "slots": []}
        group["start"] = np.asarray(first[a:b] + shift, np.int32)
        group["size"] = np.asarray(size[a:b], np.int32)
        groups.append(jax.tree.map(lambda x: x[::-1], group) if descending else group)
    return groups[::-1] if descending else groups


def _window(array: jax.Array, start: jax.Array, rows: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(array, start, rows, axis=1)


def _write(array: jax.Array, rows: jax.Array, start: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(array, rows.astype(array.dtype), start, axis=1)


def _matrix_of(matrix: jax.Array | None, rows: Any, states: int) -> jax.Array | None:
    """The matrix that turns states into signals: common, every neuron's own, or None where signals are the states."""
    if matrix is None and isinstance(rows, dict) and "matrix" in rows:
        return own_matrix(rows, states)
    return matrix


@dataclass(frozen=True)
class Sweep:
    """One pass over a scanned stage, and its derivative. `against`: in descending order; `update`: see `Kernel.sweep_levels`."""

    stage: Levels
    against: bool
    update: Update

    def __call__(
        self, tables: dict[str, Any], values: jax.Array, matrix: jax.Array | None, params: Any, external: jax.Array, rows: Any
    ) -> tuple[jax.Array, jax.Array, Any]:
        """States, signals and record of all neurons, see `Kernel.sweep_levels`.

        Args:
          tables: `Levels.build`'s.
          values: [channels, m] in the order of the block.
          matrix: [states, states]; without it, and where the rows bring none along, the signals are the states.
          params, rows: for the update.
          external: [states, neurons, batch], what inflow begins with.
        """
        run = with_derivative(
            lambda *operands: self._tiles(*operands),
            lambda *operands: self._forward(*operands),
            lambda saved, change: self._backward(saved, change),
        )
        return run(tables, values, matrix, params, external, rows)

    def _way(self, tables: dict[str, Any]) -> Any:
        return tables["against" if self.against else "along"]

    def _pad(self, array: jax.Array, value: float) -> jax.Array:
        margin = self.stage.margin
        sides = (margin, 0) if self.against else (0, margin)
        return jnp.pad(array, ((0, 0), sides, (0, 0)), constant_values=value) if margin else array

    def _crop(self, array: Any) -> jax.Array:
        if not self.stage.margin:
            return array
        return array[:, self.stage.margin :] if self.against else array[:, : self.stage.neurons]

    def _step(self, matrix: jax.Array | None, params: Any, rows: Any, z: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
        """States, signals and record of some neurons, given their inflow."""
        # Barriers: the compiler would otherwise compute a sum of gathers again in each of its consumers.
        state, record = self.update(params, rows, jax.lax.optimization_barrier(z))
        state = jax.lax.optimization_barrier(state)
        matrix = _matrix_of(matrix, rows, z.shape[0])
        return state, state if matrix is None else mix_states(matrix, state), record

    def _inflow(self, tables: dict[str, Any], values: jax.Array, outer: jax.Array) -> Callable[[Any, jax.Array], jax.Array]:
        """A function of a tile's tables and all signals: what the tile's neurons receive, [states, tile, batch]."""
        tile, dtype = self.stage.tile, outer.dtype
        if self.stage.margin:
            held = padded(values)

            def gathered(group: Any, signals: jax.Array) -> jax.Array:
                ours = _window(outer, group["start"], tile)
                # A GPU's compiler needs no help, and would wait for the host at every loop that is never entered.
                if isinstance(self.stage.synapses, SegmentSums):
                    return pieces_sum(group, held, signals, tile, unroll=UNROLL_GPU) + ours
                return materialise(pieces_sum(group, held, signals, tile, group["size"]) + ours, group["size"])

            return gathered
        exact, table = accumulator(dtype), self._way(tables["whole"])
        held, start = values.astype(exact), outer.astype(exact)
        return lambda group, signals: native.tile(group["span"], tile, table, held, signals, start).astype(dtype)

    def _tiles(self, tables, values, matrix, params, external, rows) -> tuple[jax.Array, jax.Array, Any]:
        """The scan. Its carry: signals, states (None where they are the signals) and record of all neurons."""
        stage, dtype = self.stage, external.dtype
        # What a neuron brings along is 1 in the margin: its update must be finite, whatever it divides by.
        outer, brought = self._pad(external, 0.0), jax.tree.map(lambda a: self._pad(a, 1.0), rows)
        inflow = self._inflow(tables, values, outer)
        plain = _matrix_of(matrix, rows, external.shape[0]) is None

        def body(carry, group):
            signals, states, records = carry
            at = group["start"]
            z = inflow(group, signals)
            mine = jax.tree.map(lambda a: _window(a, at, stage.tile), brought)
            state, signal, record = self._step(matrix, params, mine, z)
            states = None if plain else _write(states, state, at)
            records = jax.tree.map(lambda full, part: _write(full, part, at), records, record)
            return (_write(signals, signal, at), states, records), None

        piece = jax.tree.map(lambda a: jax.eval_shape(lambda a: a[:, : stage.tile], a), (brought, outer))
        state, signal, record = jax.eval_shape(self._step, matrix, params, *piece)
        number = itertools.count()

        def array(like, dtype=None):
            shape, dtype = (like.shape[0], stage.neurons + stage.margin, like.shape[2]), dtype or like.dtype
            return jnp.zeros(shape, dtype) if stage.margin else native.empty(shape, dtype, next(number), external)

        exact = None if stage.margin else accumulator(dtype)
        carry = array(signal, exact), None if plain else array(state), jax.tree.map(array, record)
        for group in self._way(tables):
            carry, _ = jax.lax.scan(body, carry, group)
        signals, states, records = carry
        signals = self._crop(signals).astype(dtype)
        return signals if plain else self._crop(states), signals, jax.tree.map(self._crop, records)

    def _forward(self, tables, values, matrix, params, external, rows) -> tuple[Any, Any]:
        def noting(params, rows, z):
            """The update, with the inflow in its record: the derivative needs it."""
            state, record = self.update(params, rows, z)
            return state, (record, z)

        out = Sweep(self.stage, self.against, noting)(tables, values, matrix, params, external, rows)
        states, signals, (record, inflows) = out
        return (states, signals, record), (tables, values, matrix, params, rows, inflows, signals)

    def _adjoint(self, params: Any, rows: Any, arriving: jax.Array) -> tuple[jax.Array, dict]:
        """The derivative of a tile's update as the update of the opposite sweep, whose states are derivatives by inflow."""
        mine, z, d_state, d_record = rows
        matrix, shared = _matrix_of(params[0], mine, z.shape[0]), params[1]
        # Mixing by the transpose, written out: the transpose of a mixture would be reductions, a call each for every tile.
        d_state = d_state + (arriving if matrix is None else mix_states(jnp.swapaxes(matrix, 0, 1), arriving))
        _, pull = jax.vjp(lambda z: self.update(shared, mine, z), z)
        return pull((d_state, d_record))[0], {}

    def _backward(self, saved: Any, change: Any) -> tuple[Any, ...]:
        tables, values, matrix, params, rows, inflows, signals = saved
        d_state, d_signal, d_record = change
        opposite, brought = Sweep(self.stage, not self.against, self._adjoint), (rows, inflows, d_state, d_record)
        d_inflow = opposite(tables, values, None, (matrix, params), d_signal, brought)[0]
        # With the derivative by every neuron's inflow known, what is common to all needs no scan.
        synapses, whole = self.stage.synapses, tables["whole"]
        arriving = d_signal + flow(synapses, whole, not self.against, values, d_inflow)
        _, pull = jax.vjp(lambda matrix, params, rows: self._step(matrix, params, rows, inflows), matrix, params, rows)
        d_matrix, d_params, d_rows = pull((d_state, arriving, d_record))
        ends = (d_inflow, signals) if self.against else (signals, d_inflow)
        d_values = product(synapses, whole, *ends)
        if values.shape[0] == 1 and d_values.shape[0] > 1:
            d_values = sum_states(d_values)
        return None, d_values.astype(values.dtype), d_matrix, d_params, d_inflow, d_rows
