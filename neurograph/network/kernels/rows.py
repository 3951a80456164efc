"""A run of irregular levels by one native call, with a derivative of its own.

Rows are taken one after another: neuron i receives z_i = start_i + sum_j w_ij s_j from rows that are final, has
u_i = keep offset_i + gate gain_i (inner z_i), becomes a_i = activation(u_i), and sends s_i = outer a_i + shift_i. What is None
drops out. The derivative by z is a sweep of the same form in the opposite order: inner and outer are transposed and change
places, and the gain takes in the slope of the activation. So derivatives of every order are native, with a few numbers per
neuron as memory.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.network.kernels import native
from neurograph.network.kernels.bilinear import flow, fused, mix_states, product, sum_states, with_derivative
from neurograph.network.kernels.sparse import Sparse

__all__ = ["Affine", "Ends", "Operands", "Rows", "learn_rows", "learns_on_the_way", "sweep_rows"]

# `learn_rows` spares visits to memory and costs arithmetic: it pays where states of more than so many bytes leave the caches,
# and few synapses arrive at a neuron.
LEARNING_BYTES, LEARNING_DEGREE = 8 << 20, 40


@dataclass(frozen=True)
class Affine:
    """An update as data: states = activation(keep * offset + gate * gain * z), every state for itself.

    `activation`: one of `native.ACTIVATIONS`; `keep`, `gate`: scalars; `offset`, `gain`: [k, neurons, batch], or None.
    """

    activation: str
    keep: jax.Array
    gate: jax.Array
    offset: jax.Array | None = None
    gain: jax.Array | None = None


@dataclass(frozen=True)
class Ends:
    """The ends of the synapses' products, which a sweep against the synapses may take on its way.

    `here` [k, k] mixes the states `before` [k, neurons, batch] (None: the sweep's own) at the senders of forward synapses;
    `there` [k, k] mixes the sweep's states at their receivers.
    """

    before: jax.Array | None
    here: jax.Array
    there: jax.Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["values", "others", "keep", "gate", "start", "inner", "outer", "offset", "gain", "shift"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Operands:
    """`values` [channels, m]; `others`: (values, signal [k, senders, batch]) of each further part; `keep`, `gate` scalars;
    `start` [k, neurons, batch or 1]; `inner`, `outer` [k, k]; `offset`, `gain`, `shift` [k, neurons, batch]."""

    values: jax.Array
    others: tuple[tuple[jax.Array, jax.Array], ...]
    keep: jax.Array
    gate: jax.Array
    start: jax.Array | None = None
    inner: jax.Array | None = None
    outer: jax.Array | None = None
    offset: jax.Array | None = None
    gain: jax.Array | None = None
    shift: jax.Array | None = None


@dataclass(frozen=True)
class Rows:
    """Static part: the synapses between the rows, further ones that arrive at them, and what is wanted beside the states."""

    synapses: Sparse
    others: tuple[Sparse, ...]
    against: bool
    activation: str
    shape: tuple[int, int, int]
    signals: bool = False
    inflows: bool = False


def _slope(activation: str, a: jax.Array) -> jax.Array | None:
    """Derivative of an activation, known from its result; None: 1."""
    if activation == "identity":
        return None
    slope = jnp.ones_like(a) if activation == "relu" else 1 - a * a
    return slope if activation == "tanh" else jnp.where(a > 0, slope, 0)


def _times(*factors: jax.Array | None) -> Any:
    """The product of those that are there, from left to right; None if there are none."""
    present = [factor for factor in factors if factor is not None]
    return reduce(operator.mul, present) if present else None


def _total(array: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sum(array, axis=1))  # neurons first: that adds vectors


def _ends(against: bool, signal: jax.Array, inflow: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the arrays at senders and at receivers, as `product` takes them."""
    return (inflow, signal) if against else (signal, inflow)


def _run(static: Rows, tables: Any, given: Operands) -> native.Run:
    way = "against" if static.against else "along"
    return native.Run(
        tables[0]["bounds"],
        tables[0][way],
        static.against,
        given.values,
        [(table[way], *other) for table, other in zip(tables[1], given.others, strict=True)],
        static.shape,
        static.activation,
        jnp.stack([given.keep, given.gate]),
    )


def sweep_rows(static: Rows, tables: Any, operands: Operands) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """Returns states, signals and inflows [k, neurons, batch], None where not wanted.

    Args:
      tables: of the synapses (`Levels.build`), and a tuple of the others'.
    """
    return with_derivative(partial(_swept, static), partial(_forward, static), partial(_backward, static))(tables, operands)


def _swept(static: Rows, tables: Any, given: Operands) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    arrays = given.start, given.inner, given.outer, given.offset, given.gain, given.shift
    wanted = {"signals": static.signals, "inflows": static.inflows}
    states, signals, inflows = native.sweep(_run(static, tables, given), *arrays, **wanted)
    return states, signals if static.signals else None, inflows if static.inflows else None


def _forward(static: Rows, tables: Any, given: Operands) -> tuple[Any, Any]:
    states, signals, inflows = sweep_rows(replace(static, signals=True, inflows=True), tables, given)
    wanted = states, signals if static.signals else None, inflows if static.inflows else None
    return wanted, (tables, given, states, signals, inflows)


def _backward(static: Rows, saved: Any, change: Any) -> tuple[None, Operands]:
    tables, given, states, signals, z = saved
    d_states = change[0]
    slope = _slope(static.activation, states)
    d_inner_z, d_z, arriving = _opposite(static, tables, given, slope, change)
    # With the derivative by every neuron's inflow known, the rest is elementwise, and products.
    _, pull_outer = jax.vjp(lambda m: states if m is None else mix_states(m, states), given.outer)
    received, pull_inner = jax.vjp(lambda m: z if m is None else mix_states(m, z), given.inner)
    d_u = _times(d_states + (arriving if given.outer is None else mix_states(given.outer.T, arriving)), slope)
    values = (given.values, *(other[0] for other in given.others))
    blocks, signal = (static.synapses, *static.others), (signals, *(other[1] for other in given.others))
    d_values = []
    for block, table, value, sent in zip(blocks, (tables[0], *tables[1]), values, signal, strict=True):
        found = product(block, table, *_ends(static.against, sent, d_z))
        d_values.append(sum_states(found) if value.shape[0] == 1 < found.shape[0] else found)
    d_others = tuple(
        (d_value, flow(block, table, not static.against, value, d_z))
        for d_value, block, table, value in zip(d_values[1:], static.others, tables[1], values[1:], strict=True)
    )
    found = Operands(
        d_values[0],
        d_others,
        jnp.zeros_like(given.keep) if given.offset is None else _total(d_u * given.offset),
        _total(_times(d_u, given.gain, received)),
        start=None if given.start is None else d_z if given.start.shape == d_z.shape else jnp.sum(d_z, axis=2, keepdims=True),
        inner=None if given.inner is None else pull_inner(d_inner_z)[0],
        outer=None if given.outer is None else pull_outer(arriving)[0],
        offset=None if given.offset is None else given.keep * d_u,
        gain=None if given.gain is None else _times(d_u, given.gate, received),
        shift=None if given.shift is None else arriving,
    )
    return None, found


def _opposite(static: Rows, tables: Any, given: Operands, slope: jax.Array | None, change: Any) -> tuple[Any, Any, Any]:
    """The sweep in the opposite order: derivatives by the mixed inflow (inner z), by the inflow, and by what neurons send."""
    d_states, d_signals, d_inflows = change
    gain, one = _times(slope, given.gain), jnp.ones_like(given.gate)
    opposite = Operands(
        given.values,
        (),
        one,
        given.gate,
        start=d_signals,
        inner=None if given.outer is None else given.outer.T,
        outer=None if given.inner is None else given.inner.T,
        offset=_times(d_states, given.gate, gain),
        gain=gain,
        shift=d_inflows,
    )
    apart = given.inner is not None or d_inflows is not None
    way = Rows(static.synapses, (), not static.against, "identity", static.shape, apart, True)
    d_inner_z, d_z, arriving = sweep_rows(way, (tables[0], ()), opposite)
    return d_inner_z, d_z if apart else d_inner_z, arriving


def learns_on_the_way(static: Rows, ends: Ends, dtype: Any) -> bool:
    """Whether `learn_rows` is possible, and faster than a sweep and a product."""
    possible = ends.here.shape == ends.there.shape == (2, 2) and static.shape[0] == 2
    size = int(np.prod(static.shape)) * jnp.dtype(dtype).itemsize
    return possible and size > LEARNING_BYTES and static.synapses.m < LEARNING_DEGREE * static.shape[1]


def learn_rows(static: Rows, tables: Any, operands: Operands, ends: Ends) -> tuple[jax.Array, jax.Array]:
    """States of `sweep_rows`, and the product [2, m] of the `ends` of its synapses, in one pass.

    It runs for two states, against the synapses, without inner, shift, signals and inflows.
    """

    def run(tables: Any, given: Operands, before: jax.Array | None, here: jax.Array, there: jax.Array) -> Any:
        arrays = given.start, given.outer, given.offset, given.gain, before, here, there
        return native.learn(_run(static, tables, given), *arrays)

    def apart(tables: Any, given: Operands, before: jax.Array | None, here: jax.Array, there: jax.Array) -> Any:
        states = sweep_rows(static, tables, given)[0]
        ends = mix_states(here, states if before is None else before), mix_states(there, states)
        return states, product(static.synapses, tables[0], *ends)

    return fused(run, apart, tables, operands, ends.before, ends.here, ends.there)
