"""Random permutations that are evaluated only where they are needed.

An episode wants some hundred distinct rows out of tens of thousands. Sorting random keys for all rows would cost more than the
learning; here the permutation is a keyed bijection, computed for the wanted positions alone.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["permute"]

_ROUNDS = 64


def _mix(value: jax.Array) -> jax.Array:
    """Avalanche of 32 bits (the finalizer of MurmurHash3)."""
    value = (value ^ (value >> 16)) * jnp.uint32(0x85EBCA6B)
    value = (value ^ (value >> 13)) * jnp.uint32(0xC2B2AE35)
    return value ^ (value >> 16)


# Compiled by itself, so that calls outside of a jitted function do not compile the loop again.
@jax.jit
def permute(key: jax.Array, positions: Any, size: Any, stream: Any = 0) -> jax.Array:
    """Where a random permutation of 0..size-1 sends `positions`: distinct positions give distinct results.

    Args:
      key: PRNG key that selects the permutation.
      positions: [...] int32 in 0..size-1.
      size: number of elements, up to 2**31 - 1; may be an array that broadcasts against `positions` (each its own domain).
      stream: integers that broadcast alike; each value is an independent permutation.

    Returns:
      int32 in 0..size-1, shape of `positions`.

    Source: the swap-or-not shuffle of Hoang, Morris and Rogaway, "An enciphering scheme based on a card shuffle", CRYPTO 2012:
    each round pairs x with K - x (mod size) and swaps the pair if a keyed hash of it says so, a bijection for any size.
    """
    positions = jnp.asarray(positions, jnp.int32)
    size = jnp.asarray(size, jnp.int32)
    lane: jax.Array = _mix(jnp.asarray(stream, jnp.uint32) * jnp.uint32(0x9E3779B9) + jnp.uint32(0x7F4A7C15))
    seeds = jax.random.bits(key, (_ROUNDS, 2), jnp.uint32)

    def swap(x: jax.Array, seed: jax.Array) -> tuple[jax.Array, None]:
        # A fraction of 24 bits times the size: uniform enough for K, whose exact law only has to be spread out.
        fraction = (_mix(lane ^ seed[0]) >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)
        pivot = jnp.minimum((fraction * size.astype(jnp.float32)).astype(jnp.int32), size - 1)
        partner = pivot - x
        partner = jnp.where(partner < 0, partner + size, partner)
        pair = jnp.maximum(x, partner).astype(jnp.uint32)
        return jnp.where(_mix(pair ^ _mix(lane + seed[1])) >> 31 == 1, partner, x), None

    shape = jnp.broadcast_shapes(positions.shape, size.shape, lane.shape)
    return jax.lax.scan(swap, jnp.broadcast_to(positions, shape), seeds)[0]
