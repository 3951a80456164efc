"""Irregular synapses by native code: one compressed table by receiver, one by sender, over the same stored numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from neurograph.network.kernels import native
from neurograph.network.kernels.bilinear import accumulator

__all__ = ["Sparse"]

FEW = 4  # senders with synapses are a few where there are at least so many times as many in all


def _table(targets: np.ndarray, sources: np.ndarray, rows: int) -> dict[str, np.ndarray]:
    """Row pointers [rows + 1], senders [m] in order of rows, and slots [m] of the synapses' numbers (empty: in that order)."""
    by = np.argsort(targets, kind="stable")
    begin = np.concatenate([[0], np.cumsum(np.bincount(targets, minlength=rows))])
    slots = by if (np.diff(by) != 1).any() else by[:0]
    return {name: np.asarray(a, np.int32) for name, a in (("begin", begin), ("sources", sources[by]), ("slots", slots))}


@dataclass(frozen=True)
class Sparse:
    """`m` synapses from a stage of `senders` neurons to one of `receivers`; see `Bilinear`.

    `few`: the same synapses between those senders alone that have any, `tables["few"]["index"]`; None where that is most of them.
    """

    m: int
    senders: int
    receivers: int
    few: Sparse | None = None

    @staticmethod
    def build(source: np.ndarray, target: np.ndarray, senders: int, receivers: int) -> tuple[Sparse, dict[str, Any]]:
        tables: dict[str, Any] = {"along": _table(target, source, receivers), "against": _table(source, target, senders)}
        index = np.flatnonzero(np.bincount(source, minlength=senders))
        if len(index) * FEW > senders:
            return Sparse(len(source), senders, receivers), tables
        few, inner = Sparse.build(np.searchsorted(index, source), target, len(index), receivers)
        tables["few"] = inner | {"index": np.asarray(index, np.int32)}
        return Sparse(len(source), senders, receivers, few), tables

    def raw_flow(
        self, tables: Any, against: bool, values: jax.Array, signal: jax.Array, start: jax.Array | None = None
    ) -> jax.Array:
        dtype = accumulator(signal.dtype)
        table = tables["against" if against else "along"]
        start = None if start is None else start.astype(dtype)
        return native.flow(table, values.astype(dtype), signal.astype(dtype), start).astype(signal.dtype)

    def raw_product(self, tables: Any, pre: jax.Array, post: jax.Array, mixture: jax.Array | None = None) -> jax.Array:
        """`mixture` [k, d]: post is `mix_states(mixture, post)`, which is not written out."""
        dtype = accumulator(pre.dtype)
        mixture = None if mixture is None else mixture.astype(dtype)
        return native.product(tables["along"], pre.astype(dtype), post.astype(dtype), mixture).astype(pre.dtype)
