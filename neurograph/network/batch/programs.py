"""The programs of a `NetworkBatch`: what `Network` computes, for every graph of every size class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from neurograph.genome import AnyGenome, LayeredGenome
from neurograph.network.batch.graph import both_ways, drawn, first, laid_out, wiring_of
from neurograph.network.batch.layout import FIXED
from neurograph.network.batch.sizes import SizeClass, chunk_of
from neurograph.network.state import SCALARS, Synapses, Trace, Weights
from neurograph.network.step import forward_pass, learning_step, learning_steps

__all__ = [
    "draws",
    "first_synapses",
    "leads",
    "losses",
    "packed",
    "predictions",
    "statistics",
    "steps",
    "traces",
    "unpacked",
    "unrolls",
]

STATES = ("forward", "feedback", "backward")


# -- every graph ---------------------------------------------------------------------------------------------------------------


def leads(genome: AnyGenome) -> int | None:
    """Over how many graphs a genome's leaves lead, or None where it is one for all."""
    matrix = (genome.genomes if isinstance(genome, LayeredGenome) else genome).forward_transform
    return matrix.shape[0] if matrix.ndim > (3 if isinstance(genome, LayeredGenome) else 2) else None


def _each(batch: Any, run: Callable[..., Any], genome: Any, key: Any, synapses: Any, x: Any = None, y: Any = None) -> list[Any]:
    """Per size class `run(wiring, genome, key, synapses, x, y)` of its graphs, stacked.

    `synapses`: per class, or None; x and y lead with all graphs.
    """
    lead = None if genome is None else leads(genome)
    if key is not None and not (jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim):
        key = jax.random.split(key, len(batch))
    found = []
    for number, (size, tables) in enumerate(zip(batch.classes, batch.tables, strict=True)):
        pick = lambda leaf, number=number: leaf if batch.index is None else leaf[batch.index[number]]  # noqa: E731
        tables, tiles = dict(tables), tables["tiles"]
        del tables["tiles"]
        own = {
            "tables": tables,
            "synapses": None if synapses is None else synapses[number],
            "genome": None if lead is None else jax.tree.map(pick, genome),
            "key": None if key is None else pick(key),
            "x": None if x is None else pick(x)[..., : size.inputs],
            "y": None if y is None else pick(y)[..., : size.outputs],
        }

        def member(own: dict[str, Any], tiles: Any, size: SizeClass = size):
            tables = own["tables"] | {"tiles": tiles}
            local = laid_out(genome if own["genome"] is None else own["genome"], size, tables)
            return run(wiring_of(batch.rule, size, tables), local, own["key"], own["synapses"], own["x"], own["y"])

        if len(tables["count"]) == 1:
            alone = member(*jax.tree.map(lambda leaf: leaf[0], (own, tiles)))
            found.append(jax.tree.map(lambda leaf: leaf[None], alone))
        elif batch.side_by_side:
            tiles, axes = _common(tiles)
            found.append(jax.vmap(member, in_axes=(0, axes))(own, tiles))
        else:
            found.append(jax.lax.map(lambda both: member(*both), (own, tiles)))
    return found


def _common(tiles: dict[str, Any]) -> tuple[Any, Any]:
    """Tables of tiles for graphs that run side by side, and which of them lead with the graphs: how often a loop runs is the same
    for all. Further tiles of a graph that has fewer are its first row's again, which changes nothing."""
    shared, axes = {}, {}
    for band, table in tiles.items():
        shared[band] = {"count": jnp.max(table["count"])}
        axes[band] = {"count": None}
        for name in ("along", "against"):
            rows = table[name]["start"].shape[1]
            chunks = jnp.broadcast_to(jnp.array([0, rows // chunk_of(rows)], jnp.int32), (rows, 2))
            shared[band][name] = {"start": table[name]["start"], "chunks": chunks}
            axes[band][name] = {"start": 0, "chunks": None}
    return shared, axes


def losses(batch: Any, function: Callable[..., Any], genome: Any, arguments: Any, tables: Any) -> list[Any]:
    """See `NetworkBatch.losses`."""
    found = []
    for size, table, own in zip(batch.classes, tables, arguments, strict=True):
        table, tiles = dict(table), table["tiles"]
        del table["tiles"]

        def member(genome: Any, table: dict[str, Any], tiles: Any, own: Any, size: SizeClass = size) -> Any:
            table = table | {"tiles": tiles}
            return function(wiring_of(batch.rule, size, table), laid_out(genome, size, table), own)

        if batch.side_by_side:
            tiles, axes = _common(tiles)
            found.append(jax.vmap(member, in_axes=(None, 0, axes, 0))(genome, table, tiles, own))
        else:
            found.append(_in_turn(member, genome, (table, tiles, own)))
    return found


def _in_turn(function: Callable[..., Any], genome: Any, items: Any) -> Any:
    """`function(genome, *item)`, which is `(loss, rest)`, of one item after another, with the memory of one: the derivative of an
    item's loss by the genome is taken while it is at hand. Nothing else is differentiated."""

    @jax.custom_vjp
    def run(genome: Any, items: Any) -> Any:
        return jax.lax.map(lambda item: function(genome, *item), items)

    def forward(genome: Any, items: Any) -> Any:
        return jax.lax.map(lambda item: jax.value_and_grad(function, has_aux=True)(genome, *item), items)

    def backward(gradients: Any, change: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.tensordot(change[0], leaf, 1), gradients), None

    run.defvjp(forward, backward)
    return run(genome, items)


def _in_order(batch: Any, arrays: list[jax.Array], axes: tuple[int, ...] = (-1,)) -> jax.Array:
    """Classes' arrays as one that leads with the graphs in their order; `axes` are padded with zeros to the largest."""
    largest = {axis: max(a.shape[axis] for a in arrays) for axis in axes}
    full = []
    for array in arrays:
        widths = [(0, 0)] * array.ndim
        for axis, size in largest.items():
            widths[axis] = (0, size - array.shape[axis])
        full.append(jnp.pad(array, widths))
    together = jnp.concatenate(full) if len(full) > 1 else full[0]
    return together if batch.order is None else together[batch.order]


@partial(jax.jit, static_argnums=(1,))
def draws(batch, dtype, key):
    run = lambda wiring, genome, key, *_: drawn(batch.rule, wiring.kernel.size, dtype, key)  # noqa: E731
    return _each(batch, run, None, key, None)


@jax.jit
def first_synapses(batch, genome, drawn):
    return tuple(_each(batch, lambda wiring, genome, key, drawn, *_: first(wiring, genome, drawn), genome, None, drawn))


def _packed(kernel: Any, arrays: dict[str, jax.Array]) -> tuple[Weights, Weights | None]:
    backward = kernel.pack(arrays["backward"], None) if "backward" in arrays else None
    return kernel.pack(arrays["forward"], arrays["bias"]), backward


@partial(jax.jit, static_argnums=(0, 1))
def packed(rule, size, tables, arrays):
    def pack(both):
        tables, arrays = both
        wiring = wiring_of(rule, size, tables)
        neurons = wiring.inside(arrays["neurons"]) if "neurons" in arrays else None
        traces = both_ways(*_packed(wiring.kernel, arrays["traces"])) if "traces" in arrays else None
        own = arrays.get("averages")
        averages = own and {"forward": wiring.kernel.pack(own["forward"], own["bias"])} | {name: own[name] for name in SCALARS}
        return Synapses(*_packed(wiring.kernel, arrays), neurons, traces, averages)

    return jax.lax.map(pack, (tables, arrays))


@partial(jax.jit, static_argnums=(0, 1))
def unpacked(rule, size, tables, synapses):
    def unpack(both):
        tables, synapses = both
        kernel = wiring_of(rule, size, tables).kernel

        def arrays(forward: Weights, backward: Weights | None) -> dict[str, jax.Array]:
            values, bias = kernel.unpack(forward)
            return {"forward": values, "backward": values if backward is None else kernel.unpack(backward)[0], "bias": bias}

        found = arrays(synapses.forward, synapses.backward)
        if synapses.traces is not None:
            free = (tables["sort"] != FIXED)[:, None]
            traces = arrays(synapses.traces["forward"], synapses.traces.get("backward"))
            found |= {f"{name}_trace": value if name == "bias" else value * free for name, value in traces.items()}
        if synapses.averages is not None:
            averages = arrays(synapses.averages["forward"], None)
            found |= {f"{name}_average": averages[name] for name in ("forward", "bias")}
        if rule.single_state_synapses:
            found = {name: jnp.repeat(value, rule.states, axis=1) for name, value in found.items()}
        if synapses.averages is not None:
            found |= {f"average_{name}": synapses.averages[name] for name in SCALARS}
        return found

    return jax.lax.map(unpack, (tables, synapses))


@partial(jax.jit, static_argnums=(7,))
def steps(batch, genome, synapses, x, y, index, key, watch):
    def run(wiring, genome, key, synapses, x, y):
        return learning_step(wiring, genome, synapses, x, y, index, key, False, watch)

    return _learned(batch, _each(batch, run, genome, key, synapses, x, y))


def _learned(batch, found):
    """Synapses, outputs, and per class how its graphs settled, where that was watched."""
    outputs = _in_order(batch, [own[1] for own in found])
    return tuple(own[0] for own in found), outputs, [list(own[2]) for own in found if len(own) > 2]


@jax.jit
def traces(batch, genome, synapses, x, y, index, key):
    def run(wiring, genome, key, synapses, x, y):
        found = learning_step(wiring, genome, synapses, x, y, index, key, True)
        tables = wiring.kernel.tables
        real = (jnp.arange(tables["rank"].shape[0]) < tables["count"])[None, :, None]
        states = {name: jnp.where(real, getattr(found, name), 0) for name in STATES}
        return dataclasses.replace(found, **states)

    found = _each(batch, run, genome, key, synapses, x, y)
    forward, feedback, backward = (_in_order(batch, [getattr(t, name) for t in found], (-2,)) for name in STATES)
    settling = {name: [t.settling[name] for t in found] for name in ("forward", "backward")}
    outputs = _in_order(batch, [t.outputs for t in found])
    return Trace(forward, feedback, backward, tuple(t.synapses for t in found), outputs, settling)  # pyright: ignore[reportArgumentType]


@partial(jax.jit, static_argnums=(7, 8))
def unrolls(batch: Any, genome: Any, synapses: Any, xs: Any, ys: Any, index: Any, key: Any, checkpoint: bool, watch: bool):
    def run(wiring, genome, key, synapses, xs, ys):
        return learning_steps(wiring, genome, synapses, xs, ys, index, key, checkpoint, watch)

    return _learned(batch, _each(batch, run, genome, key, synapses, xs, ys))


@jax.jit
def predictions(batch, genome, synapses, x, statistics):
    def run(wiring, genome, key, both, x, y):
        return wiring.predict(genome, both[0], x, statistics=both[1])

    both = list(zip(synapses, [None] * len(batch.classes) if statistics is None else statistics, strict=True))
    return _in_order(batch, _each(batch, run, genome, None, both, x))


@jax.jit
def statistics(batch, genome, synapses, x):
    def run(wiring, genome, key, synapses, x, y):
        return forward_pass(wiring, genome, synapses, x).moments

    return tuple(_each(batch, run, genome, None, synapses, x))
