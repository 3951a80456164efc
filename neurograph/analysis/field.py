"""`UpdateField`: one learning step in full batch as a vector field on the synapses, with its Jacobian.

The vector holds STORED numbers: symmetric twins, the states of a single-state synapse and the members of a group count once;
fixed synapses and absent biases do not count, nor do backward synapses that the rule holds fixed. Everything is float64 on the
reference kernel, which differentiates in forward mode.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int

from neurograph.errors import NeurographError
from neurograph.genome import Genome
from neurograph.genome.rule import Rule
from neurograph.network.network import Network
from neurograph.network.state import Synapses
from neurograph.topology.graph import Topology

__all__ = ["MEMORY", "AnalysisError", "Place", "UpdateField", "as_float64", "float64", "places_of", "require_memory"]

MEMORY = 2**30
"""Bytes that a tool may use for its largest arrays, by default."""


class AnalysisError(NeurographError, ValueError):
    """An analysis that cannot be made; the message says why, and what is allowed."""


def float64() -> AbstractContextManager[Any]:
    """Returns a context in which JAX computes with 64-bit numbers."""
    if not hasattr(jax, "enable_x64"):  # older JAX
        import jax.experimental as home
    else:
        home = jax
    manager: Any = getattr(home, "enable_x64")  # noqa: B009 - one of the two lacks it
    return manager(True)


def as_float64(tree: Any) -> Any:
    """Returns the same pytree with float64 leaves, inside `float64()`."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), tree)


@dataclass(frozen=True)
class Place:
    """One stored number.

    Attributes:
      direction: forward, backward or bias.
      level: of its receiving neuron.
      name: "sender->receiver", of a group's first member; "1" is the constant neuron.
      receiver, sender: indices of neurons.
      channel: of the synapse.
      members: how many synapses share it.
    """

    direction: str
    level: int
    name: str
    receiver: int
    sender: int
    channel: int
    members: int = 1


def places_of(network: Network) -> list[Place | None]:
    """Returns the place of each number of `ravel_pytree(Synapses(forward, backward))`; None for storage that no synapse uses.

    Found by packing the synapses' own numbers, so that it holds for any kernel's storage.
    """
    topology, rule = network.topology, network.rule
    n, edges, k = topology.num_neurons, topology.num_synapses, rule.states
    if not edges:
        return []

    def packed(forward: np.ndarray, bias: np.ndarray) -> np.ndarray:
        twin = None if rule.symmetric else -forward
        synapses = network.pack(forward, twin, bias)
        return np.asarray(ravel_pytree(Synapses(synapses.forward, synapses.backward))[0])

    # Which number: 1 + edge (negative: its backward twin) and 1 + edges + neuron (a bias); 0 is storage without use.
    with float64():
        ids = packed(
            np.repeat(np.arange(1.0, edges + 1)[:, None], k, 1), np.repeat(np.arange(edges + 1.0, edges + n + 1)[:, None], k, 1)
        )
        channels = np.abs(packed(np.tile(np.arange(1.0, k + 1), (edges, 1)), np.tile(np.arange(1.0, k + 1), (n, 1))))
    names, found = topology.names, []
    for value, channel in zip(ids.astype(int), channels.astype(int) - 1):
        if value == 0 or (value > edges and not topology.bias[value - edges - 1]):
            found.append(None)
        elif value > edges:
            j = value - edges - 1
            members = 1 if topology.bias_group[j] < 0 else int((topology.bias_group == topology.bias_group[j]).sum())
            found.append(Place("bias", int(topology.levels[j]), f"1->{names[j]}", j, n, channel, members))
        else:
            e = abs(value) - 1
            i, j = int(topology.senders[e]), int(topology.receivers[e])
            members = 1 if topology.group[e] < 0 else int((topology.group == topology.group[e]).sum())
            direction = "forward" if value > 0 else "backward"
            still = topology.fixed[e] or (value < 0 and rule.backward_synapses == "fixed")
            found.append(
                None if still else Place(direction, int(topology.levels[j]), f"{names[i]}->{names[j]}", j, i, channel, members)
            )
    return found


def require_memory(what: str, size: int, cost: Any, limit: int, places: Sequence[Place] = ()) -> None:
    """Refuses arrays that would not fit; the error names the size that would.

    Args:
      cost: `cost(size)` in bytes, growing with size.

    Raises:
      AnalysisError: `cost(size)` is above `limit`.
    """
    if cost(size) <= limit:
        return
    low, high = 0, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= limit else (low, middle)
    levels = sorted({p.level for p in places})
    counts = ", ".join(f"level:{level} has {sum(p.level == level for p in places):,}" for level in levels[:8])
    raise AnalysisError(
        f"{what}: {size:,} stored numbers need {_bytes(cost(size))}, the limit is {_bytes(limit)}; {low:,} numbers would fit. "
        f"Choose fewer (select, bias=False; {counts}{', ...' if len(levels) > 8 else ''}), a smaller topology, or raise the limit"
    )


def _bytes(count: float) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**28 else f"{count / 2**20:,.3g} MiB"


@dataclass(frozen=True)
class UpdateField:
    """The update g(w) = new minus old stored numbers of one step on the whole batch (x, y), for chosen numbers w.

    Build it with `UpdateField.build`. `base` are the synapses whose chosen numbers `places` are the vector's start; all others
    stay as they are in `base`. Every step is one from rest: states and traces that a rule carries over are empty, so that the
    update is a function of the synapses alone.
    """

    network: Network
    genome: Genome
    x: Float[np.ndarray, "B n_in"]
    y: Float[np.ndarray, "B n_out"]
    base: Synapses
    index: Int[np.ndarray, " N"]  # positions in the raveled base
    places: tuple[Place, ...]
    exact: bool  # the step itself returns the update: no digits are lost in new minus old

    @classmethod
    def build(
        cls,
        topology: Topology,
        rule: Rule,
        genome: Genome,
        x: Any,
        y: Any,
        *,
        key: jax.Array | None = None,
        synapses: dict[str, Any] | None = None,
        select: Sequence[str] = ("all",),
        bias: bool = True,
    ) -> UpdateField:
        """Returns the field at fresh synapses.

        Args:
          x, y: the whole batch, [B, n_in] and [B, n_out].
          key: draws the synapses; default key 0.
          synapses: arrays for `Network.pack` (forward, backward, bias) to start from instead.
          select: the union of "all", "forward", "backward", "level:L" (numbers whose receiver is at level L) and "name:PATTERN"
            (such as "name:x1->*"; shell wildcards).
          bias: count biases in.

        Raises:
          AnalysisError: noise in the rule, a selection of unknown form or of nothing.
        """
        if rule.noise:
            raise AnalysisError(
                f"noise: {rule.noise} makes the update random, so it has no Jacobian; expected a rule with noise: 0"
            )
        with float64():
            genome = as_float64(genome)
            network = Network(topology, rule, kernel="reference")
            if synapses is None:
                packed = network.init(genome, key=jax.random.key(0) if key is None else key)
            else:
                given: dict[str, Any] = {name: np.asarray(value, np.float64) for name, value in synapses.items()}
                packed = network.pack(**given)
            base = as_float64(Synapses(packed.forward, packed.backward))
            places = places_of(network)
            chosen = _chosen(places, select, bias)
            exact = rule.saturation == "none" and not rule.forward_synapse_update and rule.synapse_normalization != "stored"
            return cls(
                network,
                genome,
                np.asarray(x, np.float64),
                np.asarray(y, np.float64),
                base,
                np.asarray(chosen, np.int32),
                tuple(p for p in (places[i] for i in chosen) if p is not None),
                exact,
            )

    @property
    def size(self) -> int:
        """Returns N, the stored numbers of the vector."""
        return len(self.index)

    @property
    def start(self) -> Float[np.ndarray, " N"]:
        """Returns the chosen numbers of `base`."""
        with float64():
            return np.asarray(ravel_pytree(self.base)[0])[self.index]

    def synapses(self, w: Any) -> Synapses:
        """Returns `base` with the chosen numbers replaced."""
        with float64():
            flat, unravel = ravel_pytree(self.base)
            return unravel(flat.at[self.index].set(jnp.asarray(w, jnp.float64)))

    def moved(self, w: Any) -> UpdateField:
        """Returns the same field, starting at w."""
        return replace(self, base=self.synapses(w))

    def fresh(self, key: jax.Array) -> Float[np.ndarray, " N"]:
        """Returns the chosen numbers of freshly drawn synapses: another random state."""
        with float64():
            drawn = self.network.init(self.genome, key=key)
            return np.asarray(ravel_pytree(Synapses(drawn.forward, drawn.backward))[0])[self.index]

    def reordered(self, seed: int) -> UpdateField:
        """Returns the same field with the rows of the batch in another order: equal in exact arithmetic, not in rounding."""
        order = np.random.default_rng(seed).permutation(len(self.x))
        return replace(self, x=self.x[order], y=self.y[order])

    def _arguments(self) -> tuple[Any, ...]:
        genome = self.genome
        if self.exact:  # with f~ - 1 in place of f~ the new synapses are the update
            genome = replace(genome, synapse_keep=genome.synapse_keep - 1)
        return self.network, genome, self.x, self.y, self.base, self.index

    def __call__(self, w: Any) -> Float[np.ndarray, "*M N"]:
        """Returns the update at w [N], or at each of M rows of w [M, N]."""
        with float64():
            w = jnp.asarray(w, jnp.float64)
            found = _fields(self._arguments(), w if w.ndim > 1 else w[None], self.exact, self._chunk())
            return np.asarray(found if w.ndim > 1 else found[0])

    def jacobian(self, w: Any = None) -> Float[np.ndarray, "N N"]:
        """Returns d g_i / d w_j at w (default: start), by forward mode, some columns at a time."""
        with float64():
            w = self.start if w is None else w
            return np.asarray(_jacobian(self._arguments(), jnp.asarray(w, jnp.float64), self.exact, self._chunk())).T

    def _chunk(self) -> int:
        """Returns how many columns are computed at a time; one column keeps about four copies of messages and states."""
        topology, rule = self.network.topology, self.network.rule
        one = 32 * len(self.x) * rule.states * (topology.num_synapses + topology.num_neurons)
        return int(np.clip(2**27 // max(one, 1), 1, 64))


def _chosen(places: Sequence[Place | None], select: Sequence[str], bias: bool) -> list[int]:
    real = [(i, p) for i, p in enumerate(places) if p is not None]
    if not real:
        raise AnalysisError("the topology has no synapse that can change (none at all, or all are fixed)")
    if isinstance(select, str):
        select = (select,)
    keep: set[int] = set()
    levels = sorted({p.level for _, p in real})
    for item in select:
        kind, _, value = item.partition(":")
        if item == "all":
            found = [i for i, _ in real]
        elif item in ("forward", "backward"):
            found = [i for i, p in real if (p.direction == "backward") == (item == "backward")]
        elif kind == "level" and value.strip().isdigit():
            found = [i for i, p in real if p.level == int(value)]
        elif kind == "name" and value:
            found = [i for i, p in real if fnmatch.fnmatchcase(p.name, value)]
        else:
            raise AnalysisError(f"select: got {item!r}; allowed: all, forward, backward, level:NUMBER, name:PATTERN")
        if not found:
            hint = (
                f"levels with synapses: {', '.join(map(str, levels))}"
                if kind == "level"
                else f"names such as {real[0][1].name!r}"
            )
            raise AnalysisError(f"select: {item!r} matches no stored number; there are {hint}")
        keep.update(found)
    by = dict(real)
    chosen = [i for i in keep if bias or by[i].direction != "bias"]
    if not chosen:
        raise AnalysisError("select: only biases are chosen, and bias=False leaves them out; nothing remains")
    # Blocks that the eye finds: direction, then level, then receiver; a neuron's bias stands after its synapses.
    return sorted(chosen, key=lambda i: (by[i].direction == "backward", by[i].level, by[i].receiver, by[i].sender, by[i].channel))


def _field(arguments: tuple[Any, ...], exact: bool) -> Any:
    network, genome, x, y, base, index = arguments
    flat, unravel = ravel_pytree(base)

    def update(w: jax.Array) -> jax.Array:
        new = network.step(genome, unravel(flat.at[index].set(w)), x, y)[0]
        found = ravel_pytree(Synapses(new.forward, new.backward))[0][index]
        return found if exact else found - w

    return update


@partial(jax.jit, static_argnums=(2, 3))
def _fields(arguments: Any, ws: jax.Array, exact: bool, chunk: int) -> jax.Array:
    return jax.lax.map(_field(arguments, exact), ws, batch_size=min(chunk, ws.shape[0]))


@partial(jax.jit, static_argnums=(2, 3))
def _jacobian(arguments: Any, w: jax.Array, exact: bool, chunk: int) -> jax.Array:
    """Returns the transpose of the Jacobian."""
    update = _field(arguments, exact)

    def column(number: jax.Array) -> jax.Array:
        return jax.jvp(update, (w,), (jnp.zeros_like(w).at[number].set(1),))[1]

    return jax.lax.map(column, jnp.arange(w.shape[0]), batch_size=min(chunk, w.shape[0]))
