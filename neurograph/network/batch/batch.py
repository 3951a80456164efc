"""`NetworkBatch`: many topologies under one rule, in as many compiled programs as there are size classes."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import PlanError, ShapeError
from neurograph.genome import AnyGenome, Genome, LayeredGenome
from neurograph.genome.layers import OTHERS
from neurograph.genome.rule import Rule
from neurograph.network.batch.dense import DenseKernel
from neurograph.network.batch.layout import FIXED, layout
from neurograph.network.batch.sizes import SizeClass, chunk_of, class_plan, exact_sizes, join, padded
from neurograph.network.kernels import FORWARD
from neurograph.network.kernels.allocator import keep_freed_memory
from neurograph.network.network import find_faults, numbers
from neurograph.network.norms import frozen_norms
from neurograph.network.passes import clamped, output_values, sweep, with_states
from neurograph.network.state import Synapses, Trace, Weights
from neurograph.network.step import learning_step
from neurograph.network.wiring import StagedGenome, Wiring
from neurograph.topology.graph import Topology

__all__ = ["NetworkBatch"]

PackedBatch = tuple[Synapses, ...]  # one per size class, leaves lead with its graphs


@jax.tree_util.register_pytree_node_class
class NetworkBatch:
    """Topologies that run under one rule, as data of compiled programs: one for every size class, whatever the graphs.

    What it computes for a graph is what `Network` computes. A pytree whose leaves are index tables: passed to a function under
    `jax.jit`, other graphs of the same size classes (and as many of each) do not compile it again; inside, what names neurons
    (`pack`, `unpack`) is not at hand.

    Wherever a genome is taken, one whose leaves lead with the graphs, [G, ...], gives every graph its own. A `key` is split:
    graph g of G has `jax.random.split(key, G)[g]`; an array of G typed keys is taken as it is.

    Args:
      topologies: G graphs. Those with fewer inputs or outputs than others leave the last columns of x and y unread, and theirs
        of the results are zero.
      rule: the options of the learning step.
      sizes: the size classes to use, each graph in the first that holds it, so that graphs drawn later find a program there;
        None: made for these graphs.
      side_by_side: run graphs of a class in one vectorised program instead of one after another; None: on all but CPUs.

    Raises:
      PlanError: no topology, one that no given class holds, outputs with outgoing synapses under a schedule other than
        synchronous, or options of the rule that a topology makes meaningless.
    """

    def __init__(
        self,
        topologies: Sequence[Topology],
        rule: Rule,
        *,
        sizes: SizeClass | Sequence[SizeClass] | None = None,
        side_by_side: bool | None = None,
    ):
        self.topologies: tuple[Topology, ...] | None = tuple(topologies)
        self.rule = rule
        exact = [exact_sizes(topology) for topology in self.topologies]
        self._refuse(exact)
        if jax.default_backend() == "cpu":
            keep_freed_memory()
        self.side_by_side = jax.default_backend() != "cpu" if side_by_side is None else side_by_side
        chosen = _made_for(exact) if sizes is None else _given(exact, [sizes] if isinstance(sizes, SizeClass) else list(sizes))
        self.classes: tuple[SizeClass, ...] = tuple(dict.fromkeys(chosen))
        groups = [[g for g, size in enumerate(chosen) if size == own] for own in self.classes]
        self.tables: tuple[dict[str, Any], ...] = tuple(
            _stacked([self._layout(self.topologies[g], size) for g in group])
            for size, group in zip(self.classes, groups, strict=True)
        )
        # Which graphs each class has, and where each graph stands in their sequence; None where that is the given order.
        self.index: tuple[jax.Array, ...] | None = None
        self.order: jax.Array | None = None
        if len(groups) > 1:
            self.index = tuple(jnp.asarray(group, jnp.int32) for group in groups)
            self.order = jnp.asarray(np.argsort(np.concatenate(groups)), jnp.int32)
        self._fitting: set[Any] = set()

    def _refuse(self, exact: list[SizeClass]) -> None:
        assert self.topologies is not None
        faults = [] if exact else ["topologies: got none; expected at least one"]
        for g, (topology, size) in enumerate(zip(self.topologies, exact, strict=True)):
            name = f"topology {g}" + (f" ({topology.title!r})" if topology.title else "")
            faults += [f"{name}: {fault}" for fault in find_faults(topology, self.rule, None)]
            if size.projecting and size.schedule != "synchronous":
                faults.append(f"{name}: outputs have outgoing synapses, which needs schedule: synchronous here; use Network")
        if faults:
            raise PlanError("\n".join([*faults[:8], *([f"and {len(faults) - 8} more"] if len(faults) > 8 else [])]))

    def _layout(self, topology: Topology, size: SizeClass) -> dict[str, Any]:
        tables = layout(topology, size)
        names = np.array([*map(_name_number, topology.population_names), 0], np.int32)
        walk = np.log(topology.walk_length) if self.rule.update_normalization == "neuron" else 0.0
        return tables | {"population": names[tables["population"]], "log_walk_length": np.asarray(walk)}

    def __repr__(self) -> str:
        return f"NetworkBatch({len(self)} graphs in {len(self.classes)} size classes, states={self.rule.states})"

    def __len__(self) -> int:
        """G, the number of graphs."""
        return sum(len(tables["count"]) for tables in self.tables)

    def tree_flatten(self):
        return (self.tables, self.index, self.order), (self.rule, self.classes, self.side_by_side)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Self:
        batch = object.__new__(cls)
        batch.rule, batch.classes, batch.side_by_side = aux
        batch.tables, batch.index, batch.order = children
        batch.topologies, batch._fitting = None, set()
        return batch

    # -- what it is ------------------------------------------------------------------------------------------------------------

    @property
    def sizes(self) -> list[SizeClass]:
        """The size class of every graph."""
        sequence = [size for size, tables in zip(self.classes, self.tables, strict=True) for _ in range(len(tables["count"]))]
        return sequence if self.order is None else [sequence[place] for place in np.asarray(self.order)]

    @property
    def padding(self) -> np.ndarray:
        """[G] multiply-adds of a pass over those that the graph's own neurons would take: 1 is no padding."""
        found = []
        for topology, size in zip(self._known(), self.sizes, strict=True):
            exact = exact_sizes(topology)
            found.append(size.numbers / exact.numbers)
        return np.array(found)

    def describe(self) -> str:
        """One line per size class: its graphs, its sizes, what padding costs, and the share of the matrix that is synapses."""
        lines, sizes, padding = [], self.sizes, self.padding
        for size in self.classes:
            mine = [g for g, other in enumerate(sizes) if other == size]
            filled = np.mean([self._known()[g].num_synapses for g in mine]) / size.numbers
            lines.append(
                f"{len(mine)} graph{'s' if len(mine) > 1 else ''}: {size}; {padding[mine].mean():.2f} times the multiply-adds of"
                f" unpadded rows, {100 * filled:.0f} % of the matrix are synapses"
            )
        return "\n".join(lines)

    def _known(self) -> tuple[Topology, ...]:
        if self.topologies is None:
            raise PlanError("the topologies are not at hand inside a transformed function: call this on the NetworkBatch itself")
        return self.topologies

    # -- synapses --------------------------------------------------------------------------------------------------------------

    def init(self, genome: AnyGenome, *, key: jax.Array) -> PackedBatch:
        """Draw fresh synapses: for every graph those that `Network.init` draws with the graph's own key.

        Raises:
          PlanError: `jax_threefry_partitionable` is off: a draw would then depend on how many are drawn.
        """
        self._check_genome(genome)
        if not jax.config.jax_threefry_partitionable:  # pyright: ignore[reportAttributeAccessIssue]
            raise PlanError('init: needs jax.config.update("jax_threefry_partitionable", True), which is the default of JAX')
        # Two programs: in one, the compiler would round the product with the deviation otherwise.
        return _jit_init(self, genome, _jit_draw(self, jax.tree.leaves(genome)[0].dtype, key))

    def pack(self, arrays: Sequence[Mapping[str, Any]]) -> PackedBatch:
        """Arrays of every graph in its topology's order to packed synapses.

        Args:
          arrays: per graph what `Network.pack` takes by name: `forward`, and where the rule says so `backward`, `bias`,
            `neurons` (all graphs or none, of one batch size), `traces`.

        Raises:
          ShapeError: a wrong number of graphs, wrong names or shapes, a backward array that the rule does not have (or lacks).
        """
        topologies = self._known()
        if len(arrays) != len(topologies):
            raise ShapeError(f"arrays: got those of {len(arrays)} graphs; expected {len(topologies)}")
        checked = [_checked(f"graph {g}", a, t, self.rule) for g, (a, t) in enumerate(zip(arrays, topologies, strict=True))]
        if len(found := {row["neurons"].shape[0] if "neurons" in row else None for row in checked}) > 1:
            raise ShapeError(f"neurons: got batches of {found}; expected states of every graph, of one batch size, or of none")
        packed = []
        for number, size in enumerate(self.classes):
            mine = range(len(topologies)) if self.index is None else np.asarray(self.index[number])
            rows = [_padded_rows(checked[g], size) for g in mine]
            packed.append(_jit_pack(self.rule, size, self.tables[number], jax.tree.map(lambda *each: jnp.stack(each), *rows)))
        return tuple(packed)

    def unpack(self, synapses: PackedBatch) -> list[dict[str, jax.Array]]:
        """Packed synapses to a list of what `Network.unpack` gives, one per graph."""
        topologies, found = self._known(), []
        for size, tables, own in zip(self.classes, self.tables, synapses, strict=True):
            arrays = jax.device_get(_jit_unpack(self.rule, size, tables, own))
            found += [jax.tree.map(lambda leaf, i=i: leaf[i], arrays) for i in range(len(tables["count"]))]
        order = range(len(found)) if self.order is None else np.asarray(self.order)
        out = []
        for topology, place in zip(topologies, order, strict=True):
            length = lambda name, t=topology: t.num_neurons if name.startswith("bias") else t.num_synapses  # noqa: E731
            out.append({name: value[: length(name)] for name, value in found[place].items()})
        return out

    # -- the door --------------------------------------------------------------------------------------------------------------

    def step(self, genome: AnyGenome, synapses: PackedBatch, x: Any, y: Any, *, index: Any = 0, key: jax.Array | None = None):
        """One learning step of every graph on a batch of its own.

        Args:
          genome: the learned numbers.
          synapses: packed.
          x: [G, B, n_in]; y: [G, B, n_out], +1 / -1 (or targets, for feedback: mse).
          index: number of the step, for `supervise_every`.
          key: for `noise`.

        Returns:
          `(synapses, outputs)`: updated synapses and the predictions before the update, [G, B, n_out].

        Raises:
          ShapeError: x or y do not fit.
        """
        x, y = self._check_call(genome, synapses, x, y, key)
        return _jit_step(self, genome, synapses, x, y, index, key)

    def trace(
        self, genome: AnyGenome, synapses: PackedBatch, x: Any, y: Any, *, index: Any = 0, key: jax.Array | None = None
    ) -> Trace:
        """The same step, with the states of all neurons after each phase, [G, B, n, k]: n of the largest graph, zero beyond a
        graph's own. See `Trace`; `settling` is one list per size class, whose leaves lead with its graphs."""
        x, y = self._check_call(genome, synapses, x, y, key)
        return _jit_trace(self, genome, synapses, x, y, index, key)

    def unroll(
        self,
        genome: AnyGenome,
        synapses: PackedBatch,
        xs: Any,
        ys: Any,
        *,
        index: Any = 0,
        key: jax.Array | None = None,
        checkpoint: bool = True,
    ):
        """Steps on xs [G, U, B, n_in], ys [G, U, B, n_out] in turn.

        Args:
          index: number of the first step, for `supervise_every` and noise.
          key: for `noise`.
          checkpoint: recompute each step when differentiating instead of keeping its states.

        Returns:
          `(synapses, outputs)`: after the last step, and every step's prediction [G, U, B, n_out].
        """
        xs, ys = self._check_call(genome, synapses, xs, ys, key, lead="steps, ")
        return _jit_unroll(self, genome, synapses, xs, ys, index, key, checkpoint)

    def predict(self, genome: AnyGenome, synapses: PackedBatch, x: Any, *, statistics: Any = None) -> jax.Array:
        """Forward pass only, without noise: state 0 of the outputs, [G, B, n_out].

        Args:
          statistics: frozen moments from `statistics`; default: this batch's.
        """
        x, _ = self._check_call(genome, synapses, x, None, None, noise=False)
        return _jit_predict(self, genome, synapses, x, statistics)

    def statistics(self, genome: AnyGenome, synapses: PackedBatch, x: Any) -> Any:
        """Mean and variance of every pre-activation over a batch, to freeze for `predict` (normalization: batch)."""
        x, _ = self._check_call(genome, synapses, x, None, None, noise=False)
        return _jit_statistics(self, genome, synapses, x)

    def _check_genome(self, genome: AnyGenome) -> None:
        if genome.states != self.rule.states:
            raise ShapeError(f"genome: has {genome.states} states; the rule says states: {self.rule.states}")
        lead = _leads(genome)
        if lead is not None and lead != len(self):
            raise ShapeError(f"genome: its leaves lead with {lead} graphs; expected {len(self)}, or one genome for all")
        if not isinstance(genome, LayeredGenome) or self.topologies is None or (genome.by, genome.names) in self._fitting:
            return
        for topology in self.topologies:
            genome.layer_of(topology)  # raises before anything is compiled
        self._fitting.add((genome.by, genome.names))

    def _check_call(
        self, genome: AnyGenome, synapses: PackedBatch, x: Any, y: Any, key: Any, *, lead: str = "", noise: bool = True
    ) -> tuple[jax.Array, Any]:
        self._check_genome(genome)
        if noise and self.rule.noise and key is None:
            raise ShapeError("key: the rule has noise, so every step needs a PRNG key; expected key=...")
        widths = max(size.inputs for size in self.classes), max(size.outputs for size in self.classes)
        arrays = []
        for name, value, width in (("x", x, widths[0]), ("y", y, widths[1])):
            if value is None:
                continue
            expected = f"[{len(self)} graphs, {lead}batch, {width}]"
            value = numbers(name, value, expected)
            if value.ndim != (4 if lead else 3) or value.shape[-1] != width or value.shape[0] != len(self) or not value.shape[-2]:
                raise ShapeError(f"{name}: got shape {list(value.shape)}; expected {expected}, the batch not empty")
            arrays.append(value)
        if len(arrays) > 1 and arrays[0].shape[:-1] != arrays[1].shape[:-1]:
            raise ShapeError(
                f"x and y: got {list(arrays[0].shape[:-1])} and {list(arrays[1].shape[:-1])} graphs and rows; expected equal"
            )
        for own in synapses:
            if not self.rule.reset_states and own.neurons is not None and own.neurons[0].shape[-1] != arrays[0].shape[-2]:
                raise ShapeError(
                    f"x: got {arrays[0].shape[-2]} rows, but the carried states have {own.neurons[0].shape[-1]}; start at rest"
                    " from dataclasses.replace(synapses, neurons=None) of every size class"
                )
        return arrays[0], arrays[1] if len(arrays) > 1 else None


def _made_for(exact: list[SizeClass]) -> list[SizeClass]:
    """The padded class of every graph; graphs that differ only in synapses, their sorts and the number of ticks share one."""
    alike: dict[Any, list[SizeClass]] = {}
    rounded = [padded(size) for size in exact]
    shape = lambda s: (s.inputs, s.outputs, s.hidden, s.schedule, s.tolerance, s.damping)  # noqa: E731
    for size in rounded:
        alike.setdefault(shape(size), []).append(size)
    joined = {key: join(sizes) for key, sizes in alike.items()}
    return [joined[shape(size)] for size in rounded]


def _given(exact: list[SizeClass], sizes: list[SizeClass]) -> list[SizeClass]:
    chosen = []
    for g, size in enumerate(exact):
        found = next((given for given in sizes if given.holds(size)), None)
        if found is None:
            raise PlanError(
                f"topology {g}: {size}, {size.synapses} synapses: none of the given size classes holds it:\n  "
                + "\n  ".join(f"{given}, {given.synapses} synapses" for given in sizes[:8])
            )
        chosen.append(found)
    return chosen


def _name_number(name: str) -> int:
    """A population's name as a number, so that names are data as well; 0 is no population."""
    return int(np.uint32(zlib.crc32(name.encode())).astype(np.int32))


def _stacked(tables: list[dict[str, Any]]) -> dict[str, Any]:
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *tables)


def _checked(where: str, arrays: Mapping[str, Any], topology: Topology, rule: Rule) -> dict[str, Any]:
    """One graph's arrays for `pack`, all there that the rule asks for, single-state synapses as one channel."""
    n, edges, k = topology.num_neurons, topology.num_synapses, rule.states
    shapes = {"forward": (edges, k), "backward": (edges, k), "bias": (n, k)}
    given = {name: value for name, value in arrays.items() if value is not None}
    allowed = (*shapes, "neurons", "traces")
    if unknown := [name for name in given if name not in allowed]:
        raise ShapeError(f"{where}: {unknown[0]!r} is no array of synapses; allowed: {', '.join(allowed)}")
    for name, option, refused in (
        ("backward", "symmetric: true, so backward synapses are the forward ones", rule.symmetric),
        ("neurons", "reset_states: true, so no states are carried over", rule.reset_states),
        ("traces", "synapse_trace: false, so synapses keep no traces", not rule.synapse_trace),
    ):
        if refused and name in given:
            raise ShapeError(f"{where}: {name}: the rule has {option}; expected None")
    if missing := [name for name in ("forward", *([] if rule.symmetric else ["backward"])) if name not in given]:
        raise ShapeError(f"{where}: {missing[0]}: expected an array of shape [{edges}, {k}]")

    def edge_arrays(prefix: str, given: Mapping[str, Any], dtype: Any) -> dict[str, jax.Array]:
        found = {}
        for name, shape in shapes.items():
            if name == "backward" and rule.symmetric:
                continue
            value = numbers(prefix + name, given.get(name, np.zeros(shape)), str(list(shape)))
            if value.shape != shape and not (rule.single_state_synapses and value.shape == (shape[0], 1)):
                raise ShapeError(f"{where}: {prefix}{name}: got shape {list(value.shape)}; expected {list(shape)}")
            dtype = jnp.result_type(value.dtype, jnp.float32) if dtype is None else dtype
            found[name] = value.astype(dtype)[:, : rule.synapse_channels]
        return found

    found: dict[str, Any] = edge_arrays("", given, None)
    dtype = found["forward"].dtype
    if rule.synapse_trace:
        found["traces"] = edge_arrays("traces: ", given.get("traces", {}), dtype)
    if "neurons" in given:
        value = numbers("neurons", given["neurons"], f"[batch, {n}, {k}]").astype(dtype)
        if value.ndim != 3 or value.shape[1:] != (n, k):
            raise ShapeError(f"{where}: neurons: got shape {list(value.shape)}; expected [batch, {n}, {k}]")
        found["neurons"] = value
    return found


def _padded_rows(arrays: dict[str, Any], size: SizeClass) -> dict[str, Any]:
    """`_checked` arrays with as many synapses and neurons as the class has."""
    found: dict[str, Any] = {}
    for name, value in arrays.items():
        if name == "traces":
            found[name] = _padded_rows(value, size)
        elif name == "neurons":
            found[name] = jnp.pad(value, ((0, 0), (0, size.neurons - value.shape[1]), (0, 0)))
        else:
            found[name] = jnp.pad(value, ((0, (size.neurons if name == "bias" else size.synapses) - len(value)), (0, 0)))
    return found


# -- one graph -----------------------------------------------------------------------------------------------------------------


class _Graph(Wiring):
    """One graph of a class."""

    @property
    def log_walk_length(self) -> jax.Array:
        return self.kernel.tables["log_walk_length"]

    @property
    def tick_limit(self) -> jax.Array:
        return self.kernel.tables["ticks"]


def _wiring(rule: Rule, size: SizeClass, tables: dict[str, Any]) -> _Graph:
    """What the mathematics read of one graph."""
    wiring = _Graph()
    wiring.topology, wiring.rule, wiring.kernel_name, wiring.precision = class_plan(size).topology, rule, "dense", None
    wiring.kernel = DenseKernel.of(size, tables)
    wiring.plan = wiring.kernel.plan
    return wiring


def _staged(genome: Any, size: SizeClass, tables: dict[str, Any]) -> Any:
    """The genome; one of layers laid out by the stages of the class, where a neuron's layer is data."""
    if not isinstance(genome, LayeredGenome):
        return genome
    plan, stages = class_plan(size), []
    if genome.by == "population":
        layer = jnp.full_like(tables["population"], genome.names.index(OTHERS) if OTHERS in genome.names else 0)
        for number, name in enumerate(genome.names):
            layer = jnp.where(tables["population"] == _name_number(name), number, layer)
    else:
        layer = jnp.minimum(tables["level"], len(genome.names) - 1)
    for stage, info in enumerate(plan.stages):
        if genome.by == "role":
            one: Any = genome.names.index(info.kind)
        else:
            one = 0 if genome.by == "depth" and info.kind == "input" else None
        if one is not None:
            stages.append(jax.tree.map(lambda leaf, i=one: leaf[i], genome.genomes))
        else:
            mine = layer[plan.offsets[stage] : plan.offsets[stage + 1]]
            stages.append(jax.tree.map(lambda leaf, mine=mine: jnp.moveaxis(leaf[mine], 0, -1), genome.genomes))
    return StagedGenome(tuple(stages))


def _draws(rule: Rule, size: SizeClass, dtype: Any, key: jax.Array) -> list[jax.Array]:
    """The numbers that `Network.init` draws, before they are scaled: of a draw, the first do not depend on how many follow."""
    counts = size.synapses, size.synapses, size.neurons
    found = []
    for own, count in zip(jax.random.split(key, 3), counts, strict=True):
        shape = (count, rule.synapse_channels)
        if rule.initial_distribution == "normal":
            found.append(jax.random.normal(own, shape, dtype))
        else:
            found.append(jax.random.uniform(own, shape, dtype, minval=-(3**0.5), maxval=3**0.5))
    return found


def _initial(wiring: Wiring, genome: Any, drawn: list[jax.Array]) -> Synapses:
    """`Network.init` from its draws."""
    kernel, rule = wiring.kernel, wiring.rule
    tables, dtype = kernel.tables, drawn[0].dtype

    def scaled(values: jax.Array, at: jax.Array, scale: jax.Array) -> jax.Array:
        if rule.initial_deviation != "genome":
            return values * scale.astype(dtype)[at][:, None]
        if isinstance(genome, Genome):
            return values * genome.initial_deviation.astype(dtype)
        pairs = zip(genome.stages, wiring.plan.stages, strict=True)
        each = [jnp.broadcast_to(own.initial_deviation, (info.size,)) for own, info in pairs]
        return values * jnp.concatenate(each).astype(dtype)[at][:, None]

    def given(values: jax.Array) -> jax.Array:
        known = jnp.isfinite(tables["weight"])
        return jnp.where(known[:, None], jnp.where(known, tables["weight"], 0).astype(dtype)[:, None], values)

    forward = given(scaled(drawn[0], tables["receivers"], tables["arriving"]))
    bias = scaled(drawn[2], tables["rank"], tables["arriving"])
    backward = None if rule.symmetric else kernel.pack(given(scaled(drawn[1], tables["senders"], tables["leaving"])), None)
    packed = kernel.pack(forward, bias), backward
    traces = jax.tree.map(jnp.zeros_like, _directions(*packed)) if rule.synapse_trace else None
    return Synapses(*packed, None, traces)


# -- every graph ---------------------------------------------------------------------------------------------------------------


def _leads(genome: AnyGenome) -> int | None:
    """Over how many graphs a genome's leaves lead, or None where it is one for all."""
    matrix = (genome.genomes if isinstance(genome, LayeredGenome) else genome).forward_transform
    return matrix.shape[0] if matrix.ndim > (3 if isinstance(genome, LayeredGenome) else 2) else None


def _each(batch: NetworkBatch, run: Callable[..., Any], genome: Any, key: Any, synapses: Any, x: Any = None, y: Any = None):
    """Per size class `run(wiring, genome, key, synapses, x, y)` of its graphs, stacked.

    `synapses`: per class, or None; x and y lead with all graphs.
    """
    lead = None if genome is None else _leads(genome)
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
            local = _staged(genome if own["genome"] is None else own["genome"], size, tables)
            return run(_wiring(batch.rule, size, tables), local, own["key"], own["synapses"], own["x"], own["y"])

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


def _in_order(batch: NetworkBatch, arrays: list[jax.Array], axes: tuple[int, ...] = (-1,)) -> jax.Array:
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
def _jit_draw(batch, dtype, key):
    run = lambda wiring, genome, key, *_: _draws(batch.rule, wiring.kernel.size, dtype, key)  # noqa: E731
    return _each(batch, run, None, key, None)


@jax.jit
def _jit_init(batch, genome, drawn):
    return tuple(_each(batch, lambda wiring, genome, key, drawn, *_: _initial(wiring, genome, drawn), genome, None, drawn))


def _packed(kernel: Any, arrays: dict[str, jax.Array]) -> tuple[Weights, Weights | None]:
    backward = kernel.pack(arrays["backward"], None) if "backward" in arrays else None
    return kernel.pack(arrays["forward"], arrays["bias"]), backward


def _directions(forward: Weights, backward: Weights | None) -> dict[str, Weights]:
    return {"forward": forward} | ({} if backward is None else {"backward": backward})


@partial(jax.jit, static_argnums=(0, 1))
def _jit_pack(rule, size, tables, arrays):
    def pack(both):
        tables, arrays = both
        wiring = _wiring(rule, size, tables)
        neurons = wiring.inside(arrays["neurons"]) if "neurons" in arrays else None
        traces = _directions(*_packed(wiring.kernel, arrays["traces"])) if "traces" in arrays else None
        return Synapses(*_packed(wiring.kernel, arrays), neurons, traces)

    return jax.lax.map(pack, (tables, arrays))


@partial(jax.jit, static_argnums=(0, 1))
def _jit_unpack(rule, size, tables, synapses):
    def unpack(both):
        tables, synapses = both
        kernel = _wiring(rule, size, tables).kernel

        def arrays(forward: Weights, backward: Weights | None) -> dict[str, jax.Array]:
            values, bias = kernel.unpack(forward)
            return {"forward": values, "backward": values if backward is None else kernel.unpack(backward)[0], "bias": bias}

        found = arrays(synapses.forward, synapses.backward)
        if synapses.traces is not None:
            free = (tables["sort"] != FIXED)[:, None]
            traces = arrays(synapses.traces["forward"], synapses.traces.get("backward"))
            found |= {f"{name}_trace": value if name == "bias" else value * free for name, value in traces.items()}
        return {
            name: jnp.repeat(value, rule.states, axis=1) if rule.single_state_synapses else value for name, value in found.items()
        }

    return jax.lax.map(unpack, (tables, synapses))


@jax.jit
def _jit_step(batch, genome, synapses, x, y, index, key):
    def run(wiring, genome, key, synapses, x, y):
        return learning_step(wiring, genome, synapses, x, y, index, key, False)

    found = _each(batch, run, genome, key, synapses, x, y)
    return tuple(learned for learned, _ in found), _in_order(batch, [outputs for _, outputs in found])


@jax.jit
def _jit_trace(batch, genome, synapses, x, y, index, key):
    def run(wiring, genome, key, synapses, x, y):
        found = learning_step(wiring, genome, synapses, x, y, index, key, True)
        tables = wiring.kernel.tables
        real = (jnp.arange(tables["rank"].shape[0]) < tables["count"])[None, :, None]
        states = {name: jnp.where(real, getattr(found, name), 0) for name in ("forward", "feedback", "backward")}
        return dataclasses.replace(found, **states)

    found = _each(batch, run, genome, key, synapses, x, y)
    states = [_in_order(batch, [getattr(t, name) for t in found], (-2,)) for name in ("forward", "feedback", "backward")]
    settling = {name: [t.settling[name] for t in found] for name in ("forward", "backward")}
    return Trace(*states, tuple(t.synapses for t in found), _in_order(batch, [t.outputs for t in found]), settling)


@partial(jax.jit, static_argnums=(7,))
def _jit_unroll(batch: Any, genome: Any, synapses: Any, xs: Any, ys: Any, index: Any, key: Any, checkpoint: bool):
    def run(wiring, genome, key, synapses, xs, ys):
        def body(synapses: Any, inputs: Any) -> Any:
            index, x, y = inputs
            step_key = None if key is None else jax.random.fold_in(key, index)
            return learning_step(wiring, genome, synapses, x, y, index, step_key, False)

        body = jax.checkpoint(body) if checkpoint else body
        return jax.lax.scan(body, with_states(wiring, synapses, xs[0]), (index + jnp.arange(xs.shape[0]), xs, ys))

    found = _each(batch, run, genome, key, synapses, xs, ys)
    return tuple(learned for learned, _ in found), _in_order(batch, [outputs for _, outputs in found])


def _normed(wiring: Wiring, genome: Any, synapses: Synapses) -> Synapses:
    return frozen_norms(wiring, genome, synapses) if wiring.rule.synapse_normalization == "stored" else synapses


@jax.jit
def _jit_predict(batch, genome, synapses, x, statistics):
    def run(wiring, genome, key, both, x, y):
        synapses, frozen = both
        synapses = _normed(wiring, genome, synapses)
        states = clamped(wiring, synapses, x)
        return output_values(wiring, sweep(wiring, genome, synapses.forward, states, FORWARD, frozen=frozen).states)

    both = list(zip(synapses, [None] * len(batch.classes) if statistics is None else statistics, strict=True))
    return _in_order(batch, _each(batch, run, genome, None, both, x))


@jax.jit
def _jit_statistics(batch, genome, synapses, x):
    def run(wiring, genome, key, synapses, x, y):
        synapses = _normed(wiring, genome, synapses)
        return sweep(wiring, genome, synapses.forward, clamped(wiring, synapses, x), FORWARD).moments

    return tuple(_each(batch, run, genome, None, synapses, x))
