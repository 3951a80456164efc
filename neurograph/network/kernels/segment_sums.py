"""Irregular synapses on a GPU: few launches, each of which reads a sender once per synapse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.network.kernels.bilinear import accumulator, take
from neurograph.network.kernels.gather import index_table, padded, pieces_sum
from neurograph.network.plan.tables import UNROLL, make_table

__all__ = ["SegmentSums"]


def _table(rows: np.ndarray, sources: np.ndarray, count: int) -> dict[str, Any]:
    """Padded gathers where every row is short; else synapses in order of rows, for a segment sum: "rows" tells which."""
    if np.bincount(rows, minlength=count).max(initial=0) <= UNROLL:
        return index_table(make_table(rows, sources, np.zeros(count, int), np.arange(count), 1, count), 0)
    by = np.argsort(rows, kind="stable")
    return {name: np.asarray(a, np.int32) for name, a in (("rows", rows[by]), ("sources", sources[by]), ("slots", by))}


@dataclass(frozen=True)
class SegmentSums:
    """`m` synapses from a stage of `senders` neurons to one of `receivers`; see `Bilinear`.

    Rows of up to 32 synapses are gathered, sorted by degree, and summed within one launch per piece; longer ones, whose gathers
    would be a loop, are one segment sum with sorted indices (`jax.ops.segment_sum`, which is jraph's). A product is one
    reduction over what both ends have.
    """

    m: int
    senders: int
    receivers: int

    @staticmethod
    def build(source: np.ndarray, target: np.ndarray, senders: int, receivers: int) -> tuple[SegmentSums, dict[str, Any]]:
        """The block and its tables: one by receiver, one by sender, and the ends of every synapse."""
        tables = {"along": _table(target, source, receivers), "against": _table(source, target, senders)}
        ends = {"source": np.asarray(source, np.int32), "target": np.asarray(target, np.int32)}
        return SegmentSums(len(source), senders, receivers), tables | ends

    def raw_flow(
        self, tables: Any, against: bool, values: jax.Array, signal: jax.Array, start: jax.Array | None = None
    ) -> jax.Array:
        table, rows = tables["against" if against else "along"], self.senders if against else self.receivers
        if "rows" not in table:
            inflow = pieces_sum(table, padded(values), signal, rows)
        else:
            dtype = accumulator(signal.dtype)
            messages = take(values, table["slots"])[:, :, None].astype(dtype) * take(signal, table["sources"]).astype(dtype)
            total = partial(
                jax.ops.segment_sum, num_segments=rows, indices_are_sorted=True, mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
            )
            inflow = jax.vmap(total, in_axes=(0, None))(messages, table["rows"]).astype(signal.dtype)
        return inflow if start is None else inflow + start

    def raw_product(self, tables: Any, pre: jax.Array, post: jax.Array) -> jax.Array:
        dtype = accumulator(pre.dtype)
        pre, post = take(pre, tables["source"]), take(post, tables["target"])
        return jnp.sum(pre.astype(dtype) * post.astype(dtype), axis=-1).astype(pre.dtype)
