"""Irregular synapses: padded gathers row by row, and the Hebbian product over the same tables."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.network.kernels.bilinear import accumulator, take
from neurograph.network.plan.tables import CHUNK, UNROLL, GatherTable, make_table

__all__ = ["Gather", "index_table", "materialise", "padded", "pieces_sum"]

# The batch is summed in this many lanes: a sum over all of it at once is a chain of dependent additions.
LANES = 8
# Lanes of the batch that are multiplied in one expression; a larger batch is taken in parts.
MAX_TERMS = 32


def index_table(table: GatherTable, tile: int | None = None) -> dict[str, Any]:
    """Index arrays of a table: of one tile, or all of them with the tile leading."""
    pick = (lambda a: a) if tile is None else (lambda a: a[tile])
    out: dict[str, Any] = {"sources": [pick(p.sources) for p in table.pieces], "slots": [pick(p.slots) for p in table.pieces]}
    if table.place is not None:
        out["place"], out["order"] = pick(table.place), pick(table.order)
    return out


def _piece_sum(values: jax.Array, signal: jax.Array, sources: jax.Array, dtype: Any, unroll: int) -> jax.Array:
    """sum_d values[:, r, d] * signal[:, sources[r, d]]: values [channels, rows, width] -> [states, rows, batch]."""
    rows, width = sources.shape

    def columns(total: Any, value: jax.Array, source: jax.Array, number: int) -> Any:
        for d in range(number):
            part = value[:, :, d, None].astype(dtype) * take(signal, source[:, d]).astype(dtype)
            total = part if total is None else total + part
        return total

    if width <= unroll:
        return columns(None, values, sources, width)
    cut = (
        values.reshape(values.shape[0], rows, width // CHUNK, CHUNK).transpose(2, 0, 1, 3),
        sources.reshape(rows, width // CHUNK, CHUNK).transpose(1, 0, 2),
    )
    start = jnp.zeros((max(signal.shape[0], values.shape[0]), rows, signal.shape[2]), dtype)
    return jax.lax.scan(lambda total, piece: (columns(total, *piece, CHUNK), None), start, cut)[0]


def materialise(array: jax.Array, never: jax.Array) -> jax.Array:
    """The same array, computed here and once. `never`: an integer that is not negative, which the compiler cannot know.

    XLA on CPU drops optimization barriers before it fuses, and a loop over few rows that has sums of gathers fused into it
    runs ten times slower; a loop that is never entered cannot be fused through.
    """
    return jax.lax.while_loop(lambda c: c[0] < 0, lambda c: (c[0] + 1, -c[1]), (never, array))[1]


def pieces_sum(
    table: dict[str, Any],
    values: jax.Array,
    signal: jax.Array,
    rows: int,
    never: jax.Array | None = None,
    unroll: int = UNROLL,
) -> jax.Array:
    """Inflow [states, rows, batch] of one tile; `values` [channels, m + 1] ends with a zero for empty slots.

    `never`: see `materialise`; None where the compiler needs no help. `unroll`: wider pieces are looped.
    """
    dtype = accumulator(signal.dtype)
    parts = [
        _piece_sum(take(values, slots), signal, sources, dtype, unroll)
        for sources, slots in zip(table["sources"], table["slots"], strict=True)
    ]
    if not parts:
        return jnp.zeros((signal.shape[0], rows, signal.shape[2]), signal.dtype)
    total = parts[0]
    if never is not None and (len(parts) > 1 or "place" in table):
        total = materialise(total, never)
    for part in parts[1:]:
        head = total[:, : part.shape[1]] + part
        total = head if head.shape == total.shape else jax.lax.dynamic_update_slice(total, head, (0, 0, 0))
        total = total if never is None else materialise(total, never)
    if total.shape[1] < rows:
        total = jnp.pad(total, ((0, 0), (0, rows - total.shape[1]), (0, 0)))
    total = total.astype(signal.dtype)
    return take(total, table["place"]) if "place" in table else total


def padded(values: jax.Array) -> jax.Array:
    """Values with one zero more, for holes."""
    return jnp.pad(values, ((0, 0), (0, 1)))


def _row_product(pre: jax.Array, post: jax.Array, sources: jax.Array) -> jax.Array:
    """[channels, rows, width]: sum over the batch of post[:, r] * pre[:, sources[r, d]]."""
    dtype = accumulator(pre.dtype)
    (channels, neurons, batch), (rows, width) = pre.shape, sources.shape
    if batch % LANES:
        pre, post = (jnp.pad(a, ((0, 0), (0, 0), (0, -batch % LANES))) for a in (pre, post))
    terms = pre.shape[2] // LANES
    pre, post = pre.reshape(channels, neurons, terms, LANES), post.reshape(channels, rows, terms, LANES)
    ones, sums = jnp.ones((LANES, 1), dtype), []
    for first in range(0, terms, MAX_TERMS):
        lanes = (
            post[:, :, None, j].astype(dtype) * take(pre[:, :, j], sources).astype(dtype)
            for j in range(first, min(first + MAX_TERMS, terms))
        )
        sums.append((reduce(operator.add, lanes).reshape(-1, LANES) @ ones).reshape(channels, rows, width))
    return reduce(operator.add, sums)


@dataclass(frozen=True)
class Gather:
    """`m` synapses from a stage of `senders` neurons to one of `receivers`; see `Bilinear`."""

    m: int
    senders: int
    receivers: int

    @staticmethod
    def build(source: np.ndarray, target: np.ndarray, senders: int, receivers: int) -> tuple[Gather, dict[str, Any]]:
        """The block and its tables: one by receiver, one by sender, and where each synapse's product stands."""
        along = make_table(target, source, np.zeros(receivers, int), np.arange(receivers), 1, receivers)
        against = make_table(source, target, np.zeros(senders, int), np.arange(senders), 1, senders)
        flat = np.concatenate([p.slots.reshape(-1) for p in along.pieces])
        back = np.empty(len(source), np.int32)
        real = flat < len(source)
        back[flat[real]] = np.flatnonzero(real)
        tables = {"along": index_table(along, 0), "against": index_table(against, 0), "back": back}
        return Gather(len(source), senders, receivers), tables

    def raw_flow(
        self, tables: Any, against: bool, values: jax.Array, signal: jax.Array, start: jax.Array | None = None
    ) -> jax.Array:
        rows = self.senders if against else self.receivers
        inflow = pieces_sum(tables["against" if against else "along"], padded(values), signal, rows)
        return inflow if start is None else inflow + start

    def raw_product(self, tables: Any, pre: jax.Array, post: jax.Array) -> jax.Array:
        table = tables["along"]
        ordered = take(post, table["order"]) if "order" in table else post
        parts = [
            _row_product(pre, ordered[:, : sources.shape[0]], sources).reshape(pre.shape[0], -1) for sources in table["sources"]
        ]
        flat = jnp.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return take(flat, tables["back"]).astype(pre.dtype)
