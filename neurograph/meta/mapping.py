"""Maps of functions of one genome over a population, its replicas and several devices, within a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Key, UInt32

from neurograph.errors import PlanError, ShapeError
from neurograph.network.memory import compiled_bytes, device_budget, measured_bytes, readable_bytes

__all__ = ["AXIS", "map_members", "population_map"]

AXIS = "members"  # of every mesh: it has one axis, the members of a population


def population_map(
    function: Callable[..., Any],
    genomes: Any,
    *,
    keys: Key[Array, " genomes *replicas"] | UInt32[Array, "genomes *replicas words"] | None = None,
    budget_bytes: int | None = None,
    chunk: int | None = None,
    member_bytes: int | None = None,
    devices: Sequence[Any] | None = None,
) -> Any:
    """Returns `function(genome, key)` of every member of a population, computed in chunks that fit the memory.

    On a CPU members run one after another: side by side they leave the cache, which costs more than the saved calls gain. On an
    accelerator as many run side by side as the budget allows. Results depend on the chunk by rounding alone. Outside of
    `jax.jit` the program is compiled here, kept for the same `function` object, and its memory checked before it runs; inside,
    it becomes part of the program that calls it.

    Args:
      function: a function of one member (and one key) that JAX can trace.
      genomes: pytree whose leaves lead with the population, [G, ...]: genomes, or tuples with the data of each.
      keys: PRNG keys [G], one each, or [G, R] for R replicas of every member; None: the function takes the genome alone.
      budget_bytes: memory that temporaries and results may take on one device; default: `device_budget`.
      chunk: members side by side on one device; default: chosen as above.
      member_bytes: memory of one member (`predicted_bytes`); default: found by compiling the function once, where a chunk has
        to be chosen.
      devices: `jax.Device`s, which share the members equally; default: no sharding. On a CPU with several cores,
        ask JAX for several devices before it starts: `jax.config.update("jax_num_cpu_devices", 2)`.

    Returns:
      The function's results, stacked: leaves [G, ...], or [G, R, ...] with replicas.

    Raises:
      ShapeError: leaves or keys that do not lead with one common G.
      PlanError: not even one member fits the budget, or the given chunk does not.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> rule, keys = ng.Rule(), jax.random.split(jax.random.key(0), 3)
      >>> genomes = jax.vmap(lambda key: ng.Genome.near_backprop(key, rule))(keys)
      >>> network = ng.Network(ng.load_topology("mlp_2d_classes"), rule)
      >>> batch = ng.get_task("xor").sample(keys[0], 32)
      >>> def judged(genome, key):
      ...     return ng.accuracy(network.predict(genome, network.init(genome, key=key), batch.x), batch.y)
      >>> ng.population_map(judged, genomes, keys=keys).shape
      (3,)
    """
    members, lead = _members(genomes, keys)
    count = int(np.prod(lead))
    devices = tuple(devices) if devices is not None and len(devices) > 1 else ()
    share = -(-count // max(len(devices), 1))
    if chunk is not None and chunk < 1:
        raise PlanError(f"chunk: got {chunk}; expected an integer > 0")
    platform = (devices[0] if devices else jax.local_devices()[0]).platform
    budget = device_budget(devices[0] if devices else None) if budget_bytes is None else budget_bytes
    size = chunk
    if size is None:
        if member_bytes is None and platform != "cpu":
            member_bytes = measured_bytes(function, *jax.tree.map(lambda leaf: leaf[0], members))
        fits = share if member_bytes is None else budget // max(member_bytes, 1)
        if not fits:
            raise PlanError(_too_large(member_bytes or 0, budget, 1))
        size = 1 if platform == "cpu" else _even(share, min(share, fits))
    size = min(size, share)
    if _tracing(members):  # no program of its own: it would keep the function, and with it values of the trace
        results = _mapped(function, size, devices, members)
    else:
        held = _Held(function)
        while True:
            used = _bytes_of_run(held, size, devices, members)
            if used <= budget:
                break
            if chunk is not None or size == 1:
                raise PlanError(_too_large(used, budget, size))
            size = _even(share, max(size // 2, 1))  # the prediction was too small
        results = _run(held, size, devices, members)
    return jax.tree.map(lambda leaf: leaf.reshape(*lead, *leaf.shape[1:]), results)


def _members(genomes: Any, keys: jax.Array | None) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Returns the arguments of every call, led by one axis of all members and replicas, and the shape of that axis."""
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(genomes)}
    if len(sizes) != 1 or 0 in sizes:
        shapes = sorted({str(list(np.shape(leaf))) for leaf in jax.tree.leaves(genomes)})
        raise ShapeError(f"genomes: leaves of shape {', '.join(shapes) or 'none'}; expected one leading population axis for all")
    (count,) = sizes
    if keys is None:
        return (genomes,), (count,)
    keys = jnp.asarray(keys)
    assert keys is not None  # asarray may give None in its type, for None
    typed = jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
    lead = keys.shape if typed else keys.shape[:-1]
    if len(lead) not in (1, 2) or lead[0] != count or 0 in lead:
        raise ShapeError(f"keys: {list(lead)} keys; expected [{count}] or [{count}, replicas]: one population of {count} genomes")
    if len(lead) == 2:
        genomes = jax.tree.map(lambda leaf: jnp.repeat(leaf, lead[1], axis=0), genomes)
    return (genomes, keys.reshape(-1, *keys.shape[len(lead) :])), lead


def _even(count: int, most: int) -> int:
    """Returns the chunk of at most `most` whose last round is fullest, at no more rounds than needed."""
    return -(-count // -(-count // most))


def _too_large(used: int, budget: int, size: int) -> str:
    what = "one member" if size == 1 else f"a chunk of {size} members"
    remedy = f"a batch of at most {budget / used:.2g} times the size" if size == 1 else f"a chunk of {budget * size // used}"
    if size > 1 and not budget * size // used:
        remedy = f"a chunk of 1 with a batch of at most {budget * size / used:.2g} times the size"
    return f"{what} takes {readable_bytes(used)}, the budget is {readable_bytes(budget)}: would fit about {remedy}"


def _tracing(members: Any) -> bool:
    """Returns whether this call is part of a program that a caller compiles."""
    return any(isinstance(leaf, Tracer) for leaf in (*jax.tree.leaves(members), jnp.zeros(())))


class _Held:
    """A function as a static argument: the same object is the same program, however it compares."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def __hash__(self) -> int:
        return id(self.function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.function is other.function


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run(held: _Held, chunk: int, devices: tuple[Any, ...], members: tuple[Any, ...]) -> Any:
    return _mapped(held.function, chunk, devices, members)


def _mapped(function: Callable[..., Any], chunk: int, devices: tuple[Any, ...], members: tuple[Any, ...]) -> Any:
    run = partial(_chunks, function, chunk)
    if not devices:
        return run(members)
    return _shared(run, Mesh(np.array(devices), (AXIS,)), members)


# Memory per device, by program. Asking the compiler again costs as much as a small population's step.
_known_bytes: dict[Any, int] = {}


def _bytes_of_run(held: _Held, chunk: int, devices: tuple[Any, ...], members: tuple[Any, ...]) -> int:
    leaves, tree = jax.tree.flatten(members)
    kinds = tuple((a.shape, a.dtype, getattr(a, "weak_type", False), a.sharding) for a in map(jnp.asarray, leaves))
    key = held, chunk, devices, tree, kinds
    if key not in _known_bytes:
        used = compiled_bytes(_run.lower(held, chunk, devices, members).compile())
        if len(_known_bytes) >= 64:
            _known_bytes.clear()
        _known_bytes[key] = used // max(len(devices), 1)
    return _known_bytes[key]


def _shared(run: Callable[..., Any], mesh: Mesh, members: Any) -> Any:
    """Returns `run` of each device's share of the members; copies of the last fill up their number and are dropped."""
    count, axis = jax.tree.leaves(members)[0].shape[0], PartitionSpec(AXIS)
    # Members know nothing of each other: there is no replication to check.
    results = jax.shard_map(run, mesh=mesh, in_specs=axis, out_specs=axis, check_vma=False)(_padded(members, -count % mesh.size))
    return jax.tree.map(lambda leaf: leaf[:count], results)


def _padded(members: Any, extra: int) -> Any:
    """Returns the members and `extra` copies of the last one: every device and chunk gets equally many."""
    if not extra:
        return members
    return jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[-1:], extra, axis=0)]), members)


def _chunks(function: Callable[..., Any], chunk: int, members: tuple[Any, ...]) -> Any:
    count = jax.tree.leaves(members)[0].shape[0]
    if chunk == 1:
        return jax.lax.map(lambda args: function(*args), members)
    if chunk >= count:
        return jax.vmap(function)(*members)
    rounds = -(-count // chunk)
    # By hand: the batch_size of lax.map fails on arrays without elements, which packed synapses may have.
    cut = jax.tree.map(lambda leaf: leaf.reshape(rounds, chunk, *leaf.shape[1:]), _padded(members, rounds * chunk - count))
    results = jax.lax.map(lambda args: jax.vmap(function)(*args), cut)
    return jax.tree.map(lambda leaf: leaf.reshape(rounds * chunk, *leaf.shape[2:])[:count], results)


def map_members(function: Callable[[Any], Any], population: Any, mesh: Mesh | None = None) -> Any:
    """Returns `function` of every member, computed by the devices of a mesh that share the members, each as `population_map`.

    Args:
      function: a function of one member, traced once.
      population: a pytree whose leaves lead with the members [P, ...].
      mesh: from `device_mesh`. Copies of the last member fill up a population that does not divide, and are dropped.

    Returns:
      The results, leaves [P, ...].
    """
    if mesh is None:
        return population_map(function, population)
    return _shared(partial(population_map, function), mesh, population)
