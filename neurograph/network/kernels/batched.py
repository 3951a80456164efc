"""Many equal small complete groups as one batched product, and convolutions as one product over positions and batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.network.kernels.bilinear import accumulator, take
from neurograph.network.kernels.gather import device_table, pieces_sum
from neurograph.network.plan import Block
from neurograph.network.plan.tables import make_table

__all__ = ["Batched"]


@dataclass(frozen=True)
class Batched:
    """`groups` of `width` receivers and `degree` senders each; see `Bilinear`.

    `shared`: the numbers [channels, width, degree] serve all groups (a convolution's kernel), else [channels, groups, width,
    degree]. `straight`: the receivers are the whole target stage in order, so that spreading is a reshape. `holes`: some group
    has fewer senders.
    """

    groups: int
    width: int
    degree: int
    senders: int
    receivers: int
    shared: bool
    straight: bool
    holes: bool

    @staticmethod
    def build(block: Block, senders: int, receivers: int) -> tuple[Batched, dict[str, Any]]:
        groups, width, degree = block.edges.shape
        source, target = np.asarray(block.source), np.asarray(block.target)
        real = source >= 0
        flat = target.reshape(-1)
        straight = len(flat) == receivers and bool((flat == np.arange(receivers)).all())
        slots = np.flatnonzero(real.reshape(-1))
        onto = make_table(source.reshape(-1)[slots], slots, np.zeros(senders, int), np.arange(senders), 1, senders)
        tables: dict[str, Any] = {
            "source": jnp.asarray(np.maximum(source, 0), jnp.int32),
            "onto": device_table(onto, 0),
            "ones": jnp.asarray(np.append(np.ones(len(slots)), 0.0)[None], jnp.float32),
            "target": jnp.asarray(target, jnp.int32),
            "mask": jnp.asarray(real),
        }
        if not straight:
            back = np.full(receivers, -1, np.int64)
            back[flat] = np.arange(len(flat))
            tables["back"], tables["covered"] = jnp.asarray(np.maximum(back, 0), jnp.int32), jnp.asarray(back >= 0)
        return Batched(groups, width, degree, senders, receivers, block.shared is not None, straight, not real.all()), tables

    def _pulled(self, tables: Any, signal: jax.Array) -> jax.Array:
        """Senders of every group, [k, groups, degree, batch]; holes are zero."""
        pulled = take(signal, tables["source"])
        return jnp.where(tables["mask"][None, :, :, None], pulled, 0) if self.holes else pulled

    def _rows(self, tables: Any, signal: jax.Array) -> jax.Array:
        """Receivers of every group, [k, groups, width, batch]."""
        if self.straight:
            return signal.reshape(signal.shape[0], self.groups, self.width, signal.shape[2])
        return take(signal, tables["target"])

    def raw_flow(
        self, tables: Any, against: bool, values: jax.Array, signal: jax.Array, start: jax.Array | None = None
    ) -> jax.Array:
        inflow = self._flow(tables, against, values, signal)
        return inflow if start is None else inflow + start

    def _flow(self, tables: Any, against: bool, values: jax.Array, signal: jax.Array) -> jax.Array:
        dtype = accumulator(signal.dtype)
        single = values.shape[0] == 1
        values = values[0] if single else values
        k, batch = max(signal.shape[0], values.shape[0] if not single else 1), signal.shape[2]
        kernel = ("" if single else "k") + ("rs" if self.shared else "grs")
        if against:
            rows = self._rows(tables, signal)
            moved = jnp.einsum(f"{kernel},kgrb->kgsb", values, rows, preferred_element_type=dtype).astype(signal.dtype)
            ones = tables["ones"].astype(signal.dtype)
            return pieces_sum(tables["onto"], ones, moved.reshape(k, -1, batch), self.senders)
        pulled = self._pulled(tables, signal)
        moved = jnp.einsum(f"{kernel},kgsb->kgrb", values, pulled, preferred_element_type=dtype).astype(signal.dtype)
        moved = moved.reshape(k, -1, batch)
        if self.straight:
            return moved
        return jnp.where(tables["covered"][None, :, None], take(moved, tables["back"]), 0)

    def raw_product(self, tables: Any, pre: jax.Array, post: jax.Array) -> jax.Array:
        pulled, rows = self._pulled(tables, pre), self._rows(tables, post)
        out = "krs" if self.shared else "kgrs"
        product = jnp.einsum(f"kgrb,kgsb->{out}", rows, pulled, preferred_element_type=accumulator(pre.dtype))
        return product.astype(pre.dtype)
