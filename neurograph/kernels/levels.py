"""A run of irregular levels as one scan over tiles of neurons, with a derivative of its own.

Tiles are updated in order; the step of a tile gathers what its neurons receive from signals that are final, updates them and
writes a window of as many rows as the largest tile has. A smaller tile's window reaches into rows that come later in the order:
they are overwritten when their turn comes. So every array stays as it is, without padding between the levels.

The derivative of the sweep is the opposite sweep over the transposed tables, and one Hebbian product for the synapses: memory of
a few numbers per neuron, and no scatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.kernels.base import Update, own_matrix
from neurograph.kernels.bilinear import flow, mix_states, product
from neurograph.kernels.gather import Gather, device_table, materialise, padded, pieces_sum
from neurograph.plan import Block
from neurograph.plan.tables import make_table, tile_groups

__all__ = ["Levels", "sweep"]

# Pieces of a tile's tables: a step of a scan pays for each of them with a call, and the compiler with a loop.
MAX_PIECES = 2


@dataclass(frozen=True)
class Levels:
    """A scanned stage of `neurons` neurons in tiles of at most `tile` rows; `synapses` is its block as a plain gather."""

    neurons: int
    tile: int
    synapses: Gather

    @staticmethod
    def build(block: Block, neurons: int) -> tuple[Levels, dict[str, Any]]:
        """The stage and its tables: tiles in both directions, and those of the whole block for its product."""
        source, target, bounds = np.asarray(block.source), np.asarray(block.target), np.asarray(block.tiles)
        size = np.diff(bounds)
        tile = int(size.max())
        gather, whole = Gather.build(source, target, neurons, neurons)
        tables = {
            "whole": whole,
            "along": _tiles(target, source, bounds, size, tile, False),
            "against": _tiles(source, target, bounds, size, tile, True),
        }
        return Levels(neurons, tile, gather), tables


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
            group = device_table(table)
            names = np.append(chosen, len(targets)).astype(np.int32)  # slots of the group to slots of the block
            group["slots"] = [jnp.asarray(names[p.slots]) for p in table.pieces]
        else:
            group = {"sources": [], "slots": []}
        group["start"] = jnp.asarray(first[a:b] + shift, jnp.int32)
        group["size"] = jnp.asarray(size[a:b], jnp.int32)
        groups.append(jax.tree.map(lambda x: x[::-1], group) if descending else group)
    return groups[::-1] if descending else groups


def _window(array: jax.Array, start: jax.Array, rows: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(array, start, rows, axis=1)


def _write(array: jax.Array, rows: jax.Array, start: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(array, rows.astype(array.dtype), start, axis=1)


def sweep(
    stage: Levels,
    tables: dict[str, Any],
    against: bool,
    update: Update,
    values: jax.Array,
    matrix: jax.Array,
    params: Any,
    external: jax.Array,
    rows: Any,
) -> tuple[jax.Array, jax.Array, Any]:
    """See `Kernel.sweep_levels`; `values` [channels, m] in the order of the block, `external` [states, neurons, batch]."""
    tile, neurons = stage.tile, stage.neurons

    def pad(array: jax.Array, descending: bool, value: float) -> jax.Array:
        sides = (tile, 0) if descending else (0, tile)
        return jnp.pad(array, ((0, 0), sides, (0, 0)), constant_values=value)

    def crop(array: jax.Array, descending: bool) -> jax.Array:
        return array[:, tile:] if descending else array[:, :neurons]

    def step(matrix, params, rows, z):
        # Barriers: the compiler would otherwise compute a sum of gathers again in each of its consumers.
        state, record = update(params, rows, jax.lax.optimization_barrier(z))
        state = jax.lax.optimization_barrier(state)
        mixed = own_matrix(rows, state.shape[0]) if matrix is None else matrix
        return state, mix_states(mixed, state), record

    def empty(shapes: Any) -> Any:
        return jax.tree.map(lambda s: jnp.zeros((s.shape[0], neurons + tile, s.shape[2]), s.dtype), shapes)

    def ahead(tables, values, matrix, params, external, rows, keep_inflow):
        table = tables["against" if against else "along"]
        values = padded(values)
        # What a neuron brings along is 1 in the padding: its update must be finite, whatever it divides by.
        outer, brought = pad(external, against, 0.0), jax.tree.map(lambda a: pad(a, against, 1.0), rows)
        piece = jax.tree.map(lambda a: jax.eval_shape(lambda a: a[:, :tile], a), (brought, outer))
        state, signal, record = jax.eval_shape(step, matrix, params, *piece)
        start = (empty(signal), empty(state), empty(record), empty(piece[1]) if keep_inflow else None)

        def body(carry, group):
            signals, states, records, inflows = carry
            at = group["start"]
            z = pieces_sum(group, values, signals, tile, group["size"]) + _window(outer, at, tile)
            state, signal, record = step(matrix, params, jax.tree.map(lambda a: _window(a, at, tile), brought), z)
            write = lambda full, part: _write(full, part, at)  # noqa: E731
            inflows = write(inflows, z) if keep_inflow else None
            return (write(signals, signal), write(states, state), jax.tree.map(write, records, record), inflows), None

        for group in table:
            start, _ = jax.lax.scan(body, start, group)
        signals, states, records, inflows = start
        out = crop(states, against), crop(signals, against), jax.tree.map(lambda a: crop(a, against), records)
        return out, crop(inflows, against) if keep_inflow else None

    def back(tables, values, matrix, params, inflows, rows, change):
        """The opposite sweep; gives the derivative by inflow, matrix, params and rows."""
        descending = not against
        table = tables["against" if descending else "along"]
        d_state, d_signal, d_record = jax.tree.map(lambda a: pad(a, descending, 0.0), change)
        z, held = pad(inflows, descending, 0.0), padded(values)
        brought = jax.tree.map(lambda a: pad(a, descending, 1.0), rows)

        def body(d_inflow, group):
            at = group["start"]
            window = lambda array: _window(array, at, tile)  # noqa: E731
            arriving = materialise(pieces_sum(group, held, d_inflow, tile, group["size"]), group["size"])
            seeds = window(d_state), window(d_signal) + arriving, jax.tree.map(window, d_record)
            mine = jax.tree.map(window, brought)
            _, pull = jax.vjp(lambda z: step(matrix, params, mine, z), window(z))
            return _write(d_inflow, pull(seeds)[0], at), None

        d_inflow = jnp.zeros_like(z)
        for group in table:
            d_inflow, _ = jax.lax.scan(body, d_inflow, group)
        d_inflow = crop(d_inflow, descending)
        # With the derivative by every neuron's inflow known, what is common to all needs no scan.
        arriving = flow(stage.synapses, tables["whole"], descending, values, d_inflow)
        _, pull = jax.vjp(lambda matrix, params, rows: step(matrix, params, rows, inflows), matrix, params, rows)
        d_matrix, d_params, d_rows = pull((change[0], change[1] + arriving, change[2]))
        return d_inflow, d_rows, d_params, d_matrix

    @jax.custom_vjp
    def run(tables, values, matrix, params, external, rows):
        return ahead(tables, values, matrix, params, external, rows, False)[0]

    def forward(tables, values, matrix, params, external, rows):
        out, inflows = ahead(tables, values, matrix, params, external, rows, True)
        return out, (tables, values, matrix, params, rows, inflows, out[1])

    def backward(saved, change):
        tables, values, matrix, params, rows, inflows, signals = saved
        d_inflow, d_rows, d_params, d_matrix = back(tables, values, matrix, params, inflows, rows, change)
        ends = (d_inflow, signals) if against else (signals, d_inflow)
        d_values = product(stage.synapses, tables["whole"], *ends)
        if values.shape[0] == 1 and d_values.shape[0] > 1:
            d_values = jnp.sum(d_values, axis=0, keepdims=True)
        return None, d_values.astype(values.dtype), d_matrix, d_params, d_inflow, d_rows

    run.defvjp(forward, backward)
    return run(tables, values, matrix, params, external, rows)
