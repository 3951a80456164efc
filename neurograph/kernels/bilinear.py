"""Blocks that are bilinear maps with their own derivatives: `flow` along and against synapses, and the `product` of both ends.

The three are closed under differentiation: the derivative of a flow is the opposite flow and a product, that of a product is two
flows. No derivative scatters, and none keeps messages; rules call the functions themselves, so that they differentiate again.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp

__all__ = ["Bilinear", "accumulator", "flow", "mix_states", "product", "take"]

# Up to this many states a mixture is written out term by term: it then joins the loop of its neighbours, where a product of so
# few rows costs a call of its own and a pass over the states.
MAX_TERMS = 8


class Bilinear(Protocol):
    """Static part of a block; `tables` holds its index arrays.

    `raw_flow(tables, against, values, signal, start)`: [channels or 1, *], [k, neurons, batch] -> [k, neurons, batch], where
    `start` [k, neurons, batch or 1] (or None) is what it begins with;
    `raw_product(tables, pre, post)`: sum over the batch of pre at senders times post at receivers, [k, *].
    """

    def raw_flow(
        self, tables: Any, against: bool, values: jax.Array, signal: jax.Array, start: jax.Array | None = None
    ) -> jax.Array: ...

    def raw_product(self, tables: Any, pre: jax.Array, post: jax.Array) -> jax.Array: ...


def accumulator(dtype: Any) -> Any:
    """The type that sums are taken in: float32 for 16-bit types, else the same."""
    return jnp.float32 if jnp.finfo(dtype).bits == 16 else dtype


def mix_states(matrix: jax.Array, state: jax.Array) -> jax.Array:
    """out^c = sum_d matrix[c, d] state^d on [states, neurons, batch]; a matrix [c, d, neurons] gives every neuron its own."""
    matrix = matrix.astype(state.dtype)
    if matrix.ndim == 3:
        return jnp.einsum("cdn,dnb->cnb", matrix, state)
    return jnp.einsum("cd,dnb->cnb", matrix, state) if matrix.shape[1] > MAX_TERMS else _mix(matrix, state)


def _terms(matrix: jax.Array, state: jax.Array) -> jax.Array:
    total = matrix[:, 0, None, None] * state[:1]
    for d in range(1, matrix.shape[1]):
        total = total + matrix[:, d, None, None] * state[d : d + 1]
    return total


@jax.custom_jvp
def _mix(matrix: jax.Array, state: jax.Array) -> jax.Array:
    return _terms(matrix, state)


@_mix.defjvp
def _mix_jvp(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    # The derivative by the matrix is a sum over all neurons and samples: as the transpose of a product it is a product too;
    # written out term by term it would be a chain of scalar additions.
    (matrix, state), (d_matrix, d_state) = primals, tangents
    return _terms(matrix, state), jnp.einsum("cd,dnb->cnb", d_matrix, state) + _terms(matrix, d_state)


def take(signal: jax.Array, index: jax.Array) -> jax.Array:
    """signal[:, index] for indices that are known to be in range (axis 1)."""
    return signal.at[:, index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def flow(
    block: Bilinear, tables: Any, against: bool, values: jax.Array, signal: jax.Array, start: jax.Array | None = None
) -> jax.Array:
    """`start` plus the inflow along synapses, or against them."""

    @jax.custom_vjp
    def run(tables, values, signal, start):
        return block.raw_flow(tables, against, values, signal, start)

    def forward(tables, values, signal, start):
        return flow(block, tables, against, values, signal, start), (tables, values, signal, start)

    def backward(saved, inflow):
        tables, values, signal, start = saved
        ends = (inflow, signal) if against else (signal, inflow)
        change = product(block, tables, *ends)
        if values.shape[0] == 1 and change.shape[0] > 1:
            change = jnp.sum(change, axis=0, keepdims=True)
        d_start = None
        if start is not None:
            d_start = inflow if start.shape == inflow.shape else jnp.sum(inflow, axis=2, keepdims=True)
        return None, change.astype(values.dtype), flow(block, tables, not against, values, inflow), d_start

    run.defvjp(forward, backward)
    return run(tables, values, signal, start)


def product(block: Bilinear, tables: Any, pre: jax.Array, post: jax.Array) -> jax.Array:
    """Sum over the batch of pre at every synapse's sender times post at its receiver."""

    @jax.custom_vjp
    def run(tables, pre, post):
        return block.raw_product(tables, pre, post)

    def forward(tables, pre, post):
        return product(block, tables, pre, post), (tables, pre, post)

    def backward(saved, change):
        tables, pre, post = saved
        return None, flow(block, tables, True, change, post), flow(block, tables, False, change, pre)

    run.defvjp(forward, backward)
    return run(tables, pre, post)
