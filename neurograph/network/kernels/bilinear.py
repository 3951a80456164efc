"""Blocks that are bilinear maps with their own derivatives: `flow` along and against synapses, and the `product` of both ends.

The three are closed under differentiation: the derivative of a flow is the opposite flow and a product, that of a product is two
flows. No derivative scatters, and none keeps messages; rules call the functions themselves, so that they differentiate again, in
reverse mode and as often as asked for. Forward mode is refused by name (`with_derivative`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from neurograph.errors import PlanError

__all__ = [
    "FORWARD_MODE",
    "Bilinear",
    "Mixture",
    "Multiples",
    "accumulator",
    "batch_sum",
    "flow",
    "fused",
    "mix_states",
    "mixed_product",
    "product",
    "sum_states",
    "take",
    "whole",
    "with_derivative",
]

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
    """out^c = sum_d matrix[c, d] state^d on [states, neurons, batch]; a matrix [c, d, neurons] gives every neuron its own.

    States beyond those of `state` are zero: clamped neurons come without them.
    """
    matrix = matrix[:, : state.shape[0]].astype(state.dtype)
    if matrix.shape[1] > MAX_TERMS:
        return jnp.einsum("cdn,dnb->cnb" if matrix.ndim == 3 else "cd,dnb->cnb", matrix, state)
    return _mix.bind(matrix if matrix.ndim == 3 else matrix[:, :, None], state)


@dataclass(frozen=True)
class Multiples:
    """A signal [states, neurons, batch] whose states are multiples of one, factors[c] * value: what a clamped input sends.

    A product with it is one of `value`, which no copy per state is made of; the factors are applied to the result.
    """

    factors: jax.Array  # [states]
    value: jax.Array  # [neurons, batch]

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    def times(self, product: jax.Array) -> jax.Array:
        """[channels or 1, rows, columns], a product with `value`, times the factors: [states, rows, columns]."""
        if product.shape[0] == 1:
            return mix_states(self.factors[:, None], product)
        factors = self.factors.astype(product.dtype)[:, None, None, None]
        return _mix.bind(factors, product[:, None])[:, 0]


@dataclass(frozen=True)
class Mixture:
    """`mix_states(matrix, state)` that is not computed yet: a matrix [k, d] and states [d, neurons, batch]."""

    matrix: jax.Array
    state: jax.Array

    @property
    def dtype(self) -> Any:
        return self.state.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.matrix.shape[0], *self.state.shape[1:])

    def at(self, neurons: jax.Array) -> jax.Array:
        """[k, some, batch] of neurons in ascending order, none twice."""
        chosen = self.state.at[:, neurons].get(
            mode="promise_in_bounds", wrap_negative_indices=False, unique_indices=True, indices_are_sorted=True
        )
        return mix_states(self.matrix, chosen)


def whole(signal: jax.Array | Multiples | Mixture) -> jax.Array:
    """A signal as one array."""
    if isinstance(signal, Mixture):
        return mix_states(signal.matrix, signal.state)
    return mix_states(signal.factors[:, None], signal.value[None]) if isinstance(signal, Multiples) else signal


def sum_states(array: jax.Array) -> jax.Array:
    """Sum over the first, short axis, which stays; term by term: a reduction over so few takes 30 times as long on a CPU."""
    return sum((array[i : i + 1] for i in range(1, array.shape[0])), array[:1])


def batch_sum(signal: jax.Array | Mixture) -> jax.Array:
    """[states, neurons, batch] -> [states, neurons]."""
    if isinstance(signal, Mixture):
        return mix_states(signal.matrix, jnp.sum(signal.state, axis=2, keepdims=True))[:, :, 0]
    return signal.sum(axis=2)


# Mixing by terms, and its derivative by the matrix, are two primitives whose derivatives are each other: left to itself, the
# transpose of a mixture is a reduction over the few states, which takes 100 times as long as the mixture on a CPU.
#   mix:  [*, c, d, neurons or 1], [*, d, neurons, batch] -> [*, c, neurons, batch]
#   pair: [*, c, neurons, batch], [*, d, neurons, batch] -> [*, c, d, neurons], or [*, c, d, 1] if summed over neurons too


def _mix_terms(matrix: jax.Array, state: jax.Array) -> jax.Array:
    total = matrix[..., 0, :, None] * state[..., :1, :, :]
    for d in range(1, state.shape[-3]):
        total = total + matrix[..., d, :, None] * state[..., d : d + 1, :, :]
    return total


def _pair_sums(left: jax.Array, right: jax.Array, *, common: bool) -> jax.Array:
    dtype = accumulator(left.dtype)
    each = left.astype(dtype)[..., :, None, :, :] * right.astype(dtype)[..., None, :, :, :]
    # Neurons before the batch: the inner loop adds vectors.
    return (jnp.sum(jnp.sum(each, -2, keepdims=True), -1) if common else jnp.sum(each, -1)).astype(left.dtype)


def _primitive(name: str, run: Any, shape: Any) -> Primitive:
    primitive = Primitive(f"neurograph_{name}")
    primitive.def_impl(jax.jit(run, static_argnames=("common",) if name == "pair" else ()))
    primitive.def_abstract_eval(lambda a, b, **options: ShapedArray(shape(a.shape, b.shape, **options), a.dtype))
    mlir.register_lowering(primitive, mlir.lower_fun(run, multiple_results=False))

    def batched(operands, axes, **options):
        size = next(a.shape[axis] for a, axis in zip(operands, axes, strict=True) if axis is not None)
        front = [
            jnp.broadcast_to(a, (size, *a.shape)) if axis is None else jnp.moveaxis(a, axis, 0)
            for a, axis in zip(operands, axes, strict=True)
        ]
        return primitive.bind(*front, **options), 0

    batching.primitive_batchers[primitive] = batched
    return primitive


_mix = _primitive("mix", _mix_terms, lambda m, s: (*m[:-2], *s[-2:]))
_pair = _primitive("pair", _pair_sums, lambda a, b, common: (*a[:-2], b[-3], 1 if common else a[-2]))


def _transposed(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -3, -2)


ad.defbilinear(
    _mix,
    lambda change, matrix, state: _pair.bind(change, state, common=matrix.aval.shape[-1] == 1),
    lambda change, matrix, state: _mix.bind(_transposed(matrix), change),
)
ad.defbilinear(
    _pair,
    lambda change, left, right, common: _mix.bind(change, right),
    lambda change, left, right, common: _mix.bind(_transposed(change), left),
)


def take(signal: jax.Array, index: jax.Array) -> jax.Array:
    """signal[:, index] for indices that are known to be in range (axis 1)."""
    return signal.at[:, index].get(mode="promise_in_bounds", wrap_negative_indices=False)


# Functions with a derivative of their own have none in forward mode. JAX would say so of a function that its user does not know;
# so their operands first pass a primitive whose tangents can be transposed and nothing else: in reverse mode nobody asks for the
# tangents' values. It leaves no trace in a program, and none among what a derivative keeps.
FORWARD_MODE = (
    "this kernel has derivatives in reverse mode alone, of any order: jax.grad, jax.vjp, jax.jacrev. Take"
    " jax.jacrev(jax.grad(loss)) for jax.hessian, and jax.grad(lambda g: vdot(jax.grad(loss)(g), v)) for jax.jvp of a gradient;"
    ' or Network(..., kernel="reference"), which is slow and has both modes'
)


def _refuse(*_: Any, **__: Any) -> Any:
    raise PlanError(FORWARD_MODE)


_operands, _tangents = Primitive("neurograph_operands"), Primitive("neurograph_tangents")
for _one in (_operands, _tangents):
    _one.multiple_results = True
    _one.def_abstract_eval(lambda *shapes: shapes)
_operands.def_impl(lambda *operands: operands)
mlir.register_lowering(_operands, lambda context, *operands: operands)
batching.primitive_batchers[_operands] = lambda operands, axes: (_operands.bind(*operands), axes)
ad.primitive_jvps[_operands] = lambda primals, tangents: (primals, _tangents.bind(*map(ad.instantiate_zeros, tangents)))
_tangents.def_impl(_refuse)
mlir.register_lowering(_tangents, _refuse)
batching.primitive_batchers[_tangents] = _refuse
ad.primitive_jvps[_tangents] = _refuse
ad.primitive_transposes[_tangents] = lambda changes, *tangents: [
    change if ad.is_undefined_primal(tangent) else None for change, tangent in zip(changes, tangents, strict=True)
]


def with_derivative(run: Callable[..., Any], forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.custom_vjp` of a function of `(tables, *operands)`, whose forward mode is refused by a message of ours."""
    function = jax.custom_vjp(run)
    function.defvjp(forward, backward)

    def call(tables: Any, *operands: Any) -> Any:
        leaves, tree = jax.tree.flatten(operands)
        real = [number for number, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        for number, leaf in zip(real, _operands.bind(*(leaves[number] for number in real)), strict=True):
            leaves[number] = leaf
        return function(tables, *jax.tree.unflatten(tree, leaves))

    return call


def flow(
    block: Bilinear, tables: Any, against: bool, values: jax.Array, signal: jax.Array, start: jax.Array | None = None
) -> jax.Array:
    """`start` plus the inflow along synapses, or against them."""

    def run(tables, values, signal, start):
        return block.raw_flow(tables, against, values, signal, start)

    def forward(tables, values, signal, start):
        return flow(block, tables, against, values, signal, start), (tables, values, signal, start)

    def backward(saved, inflow):
        tables, values, signal, start = saved
        ends = (inflow, signal) if against else (signal, inflow)
        change = product(block, tables, *ends)
        if values.shape[0] == 1 and change.shape[0] > 1:
            change = sum_states(change)
        d_start = None
        if start is not None:
            d_start = inflow if start.shape == inflow.shape else jnp.sum(inflow, axis=2, keepdims=True)
        return None, change.astype(values.dtype), flow(block, tables, not against, values, inflow), d_start

    return with_derivative(run, forward, backward)(tables, values, signal, start)


def product(block: Bilinear, tables: Any, pre: jax.Array, post: jax.Array) -> jax.Array:
    """Sum over the batch of pre at every synapse's sender times post at its receiver."""

    def run(tables, pre, post):
        return block.raw_product(tables, pre, post)

    def forward(tables, pre, post):
        return product(block, tables, pre, post), (tables, pre, post)

    def backward(saved, change):
        tables, pre, post = saved
        return None, flow(block, tables, True, change, post), flow(block, tables, False, change, pre)

    return with_derivative(run, forward, backward)(tables, pre, post)


def fused(run: Callable[..., Any], composed: Callable[..., Any], tables: Any, *operands: Any) -> Any:
    """`run(tables, *operands)`, and where it is differentiated `composed`, which computes the same of parts that can be."""
    forward = lambda tables, *operands: jax.vjp(partial(composed, tables), *operands)  # noqa: E731
    return with_derivative(run, forward, lambda pull, change: (None, *pull(change)))(tables, *operands)


def mixed_product(block: Any, tables: Any, pre: jax.Array, post: Mixture) -> jax.Array:
    """`product` with a mixture at the receivers that is not written out, of a block whose `raw_product` takes one."""

    def run(tables, pre, matrix, state):
        return block.raw_product(tables, pre, state, matrix)

    def composed(tables, pre, matrix, state):
        return product(block, tables, pre, mix_states(matrix, state))

    return fused(run, composed, tables, pre, post.matrix, post.state)
