"""Mixtures of states and their derivatives against einsum: values, both modes, second order, under vmap, in every type."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neurograph.network.kernels.bilinear import Multiples, mix_states, sum_states, whole


def _einsum(matrix: jax.Array, state: jax.Array) -> jax.Array:
    return jnp.einsum("cdn,dnb->cnb" if matrix.ndim == 3 else "cd,dnb->cnb", matrix, state)


def _given(own: bool, outputs: int = 3, states: int = 4, neurons: int = 5, batch: int = 6) -> tuple[jax.Array, ...]:
    random = np.random.default_rng(neurons)
    matrix = (outputs, states, neurons) if own else (outputs, states)
    shapes = matrix, (states, neurons, batch), (outputs, neurons, batch)
    return tuple(jnp.asarray(random.standard_normal(shape)) for shape in shapes)


def _close(ours: object, theirs: object, bound: float = 1e-12) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=bound, atol=bound)


@pytest.mark.parametrize(("own", "neurons"), [(False, 5), (True, 5), (False, 1), (True, 1)])
def test_derivatives_of_all_orders_are_those_of_einsum(own: bool, neurons: int) -> None:
    with jax.enable_x64(True):
        matrix, state, weight = _given(own, neurons=neurons)

        def everything(mix):
            loss = lambda m, s: jnp.sum(weight * jnp.tanh(mix(m, s)))  # noqa: E731
            slope = lambda m, s: jnp.sum(jax.grad(loss)(m, s) ** 2) + jnp.sum(jax.grad(loss, 1)(m, s) ** 3)  # noqa: E731
            forward = jax.jvp(mix, (matrix, state), (jnp.cos(matrix), jnp.cos(state)))
            third = jax.jvp(jax.grad(slope, (0, 1)), (matrix, state), (matrix, state))
            return mix(matrix, state), forward, jax.grad(loss, (0, 1))(matrix, state), third

        _close(jax.jit(lambda: everything(mix_states))(), jax.jit(lambda: everything(_einsum))(), 1e-10)


@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None), (1, 2)])
def test_vmap_and_gradients_through_it(axes: tuple) -> None:
    with jax.enable_x64(True):
        matrix, state, weight = _given(False)
        stacked = [
            a if axis is None else jnp.stack([a, 2 * a, a - 1], axis=axis) for a, axis in zip((matrix, state), axes, strict=True)
        ]

        def everything(mix):
            loss = lambda m, s: jnp.sum(weight * jnp.sin(mix(m, s)))  # noqa: E731
            over = jax.vmap(loss, axes)
            total = lambda m, s: jnp.sum(over(m, s) ** 2)  # noqa: E731
            return over(*stacked), jax.grad(total, (0, 1))(*stacked), jax.vmap(jax.grad(loss, (0, 1)), axes)(*stacked)

        _close(jax.jit(lambda: everything(mix_states))(), jax.jit(lambda: everything(_einsum))(), 1e-10)


def test_gradients_of_16_bit_states_are_summed_in_32_bits() -> None:
    ones = jnp.ones((2, 40, 128), jnp.bfloat16)
    change = jax.grad(lambda m: jnp.sum(mix_states(m, ones).astype(jnp.float32)))(jnp.ones((2, 2), jnp.bfloat16))
    assert change.dtype == jnp.bfloat16
    assert (change == 40 * 128).all()  # sums in bfloat16 stop at 256


def test_sum_of_states() -> None:
    array = jnp.arange(24.0).reshape(3, 8)
    np.testing.assert_array_equal(sum_states(array), jnp.sum(array, axis=0, keepdims=True))
    np.testing.assert_array_equal(sum_states(array[:1]), array[:1])


@pytest.mark.parametrize("own", [False, True])
def test_states_that_are_not_given_are_zero(own: bool, x64) -> None:
    matrix, state, _ = _given(own)
    _close(mix_states(matrix, state[:2]), _einsum(matrix, state.at[2:].set(0)))


def test_products_with_multiples_of_one_state(x64) -> None:
    """Values and derivatives are those of the signal written out."""
    random = np.random.default_rng(0)
    factors, value, synapses = (jnp.asarray(random.standard_normal(shape)) for shape in ((3,), (5, 7), (3, 4, 5)))

    def derivatives(run, channels):
        def loss(*given):
            return jnp.sum(jnp.sin(run(*given)))

        return jax.value_and_grad(loss, argnums=(0, 1, 2))(factors, value, synapses[:channels])

    def ours(factors, value, synapses):
        return Multiples(factors, value).times(jnp.einsum("krs,sb->krb", synapses, value))

    def written_out(factors, value, synapses):
        signal = whole(Multiples(factors, value))
        return jnp.einsum("krs,ksb->krb", jnp.broadcast_to(synapses, (3, 4, 5)), signal)

    for channels in (1, 3):
        _close(derivatives(ours, channels), derivatives(written_out, channels), 1e-11)
