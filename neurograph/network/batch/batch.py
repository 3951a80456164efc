"""`NetworkBatch`: many topologies under one rule, in as many compiled programs as there are size classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from neurograph._lazy import from_above
from neurograph.errors import PlanError, SettlingWarning, ShapeError
from neurograph.genome import AnyGenome, LayeredGenome
from neurograph.genome.rule import Rule
from neurograph.network.batch import programs
from neurograph.network.batch.arrays import checked, padded_rows
from neurograph.network.batch.dense import packed_shapes
from neurograph.network.batch.graph import tables_of
from neurograph.network.batch.sizes import SizeClass, class_plan, exact_sizes, join, padded
from neurograph.network.kernels.allocator import keep_freed_memory
from neurograph.network.network import UNSETTLED, find_faults, numbers, unsettled
from neurograph.network.state import Synapses, Trace, check_synapses
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
      PlanError: no topology, one that no given class holds, or options of the rule that a topology makes meaningless.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file = ng.load_genome_file("functions")
      >>> batch = ng.NetworkBatch([ng.load_topology("mlp_2d_classes")] * 3, file.rule)
      >>> synapses = batch.init(file.genome, key=jax.random.key(0))
      >>> x, y = ng.get_task("xor").sample(jax.random.key(1), 96)
      >>> synapses, outputs = batch.step(file.genome, synapses, x.reshape(3, 32, 2), y.reshape(3, 32, 2))
      >>> outputs.shape  # [graphs, batch, outputs]
      (3, 32, 2)
      >>> len(batch.unpack(synapses))
      3
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
        self._refuse()
        if jax.default_backend() == "cpu":
            keep_freed_memory()
        self.side_by_side = jax.default_backend() != "cpu" if side_by_side is None else side_by_side
        chosen = _made_for(exact) if sizes is None else _given(exact, [sizes] if isinstance(sizes, SizeClass) else list(sizes))
        self.classes: tuple[SizeClass, ...] = tuple(dict.fromkeys(chosen))
        groups = [[g for g, size in enumerate(chosen) if size == own] for own in self.classes]
        self.tables: tuple[dict[str, Any], ...] = tuple(
            _stacked([tables_of(self.topologies[g], rule, size) for g in group])
            for size, group in zip(self.classes, groups, strict=True)
        )
        # Which graphs each class has, and where each graph stands in their sequence; None where that is the given order.
        self.index: tuple[jax.Array, ...] | None = None
        self.order: jax.Array | None = None
        if len(groups) > 1:
            self.index = tuple(jax.device_put(np.asarray(group, np.int32)) for group in groups)
            self.order = jax.device_put(np.argsort(np.concatenate(groups)).astype(np.int32))
        self._fitting: set[Any] = set()
        self._warned = False  # about ticks that have not settled

    def _refuse(self) -> None:
        assert self.topologies is not None
        faults = [] if self.topologies else ["topologies: got none; expected at least one"]
        for g, topology in enumerate(self.topologies):
            name = f"topology {g}" + (f" ({topology.title!r})" if topology.title else "")
            faults += [f"{name}: {fault}" for fault in find_faults(topology, self.rule, None)]
        if faults:
            raise PlanError("\n".join([*faults[:8], *([f"and {len(faults) - 8} more"] if len(faults) > 8 else [])]))

    def __repr__(self) -> str:
        return f"NetworkBatch({len(self)} graphs in {len(self.classes)} size classes, states={self.rule.states})"

    def _repr_html_(self) -> str:
        return from_above("report.notebook.network", "batch_html")(self)

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
        batch.topologies, batch._fitting, batch._warned = None, set(), False
        return batch

    def with_tables(self, tables: tuple[dict[str, Any], ...]) -> Self:
        """Other graphs of the same size classes, and as many of each: `tables` of another `NetworkBatch`."""
        return self.tree_unflatten((self.rule, self.classes, self.side_by_side), (tables, self.index, self.order))

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
        return programs.first_synapses(self, genome, programs.draws(self, jax.tree.leaves(genome)[0].dtype, key))

    def pack(self, arrays: Sequence[Mapping[str, Any]]) -> PackedBatch:
        """Arrays of every graph in its topology's order to packed synapses.

        Args:
          arrays: per graph what `Network.pack` takes by name: `forward`, and where the rule says so `backward`, `bias`,
            `neurons` (all graphs or none, of one batch size), `traces`, `averages`.

        Raises:
          ShapeError: a wrong number of graphs, wrong names or shapes, a backward array that the rule does not have (or lacks).
        """
        topologies = self._known()
        if len(arrays) != len(topologies):
            raise ShapeError(f"arrays: got those of {len(arrays)} graphs; expected {len(topologies)}")
        rows = [checked(f"graph {g}", a, t, self.rule) for g, (a, t) in enumerate(zip(arrays, topologies, strict=True))]
        if len(found := {row["neurons"].shape[0] if "neurons" in row else None for row in rows}) > 1:
            raise ShapeError(f"neurons: got batches of {found}; expected states of every graph, of one batch size, or of none")
        packed = []
        for number, size in enumerate(self.classes):
            mine = range(len(topologies)) if self.index is None else np.asarray(self.index[number])
            full = [padded_rows(rows[g], size) for g in mine]
            packed.append(
                programs.packed(self.rule, size, self.tables[number], jax.tree.map(lambda *each: jnp.stack(each), *full))
            )
        return tuple(packed)

    def unpack(self, synapses: PackedBatch) -> list[dict[str, jax.Array]]:
        """Packed synapses to a list of what `Network.unpack` gives, one per graph."""
        topologies, found = self._known(), []
        self._check_synapses(synapses)
        for size, tables, own in zip(self.classes, self.tables, synapses, strict=True):
            arrays = jax.device_get(programs.unpacked(self.rule, size, tables, own))
            found += [jax.tree.map(lambda leaf, i=i: leaf[i], arrays) for i in range(len(tables["count"]))]
        order = range(len(found)) if self.order is None else np.asarray(self.order)
        out = []
        for topology, place in zip(topologies, order, strict=True):
            length = lambda name, t=topology: t.num_neurons if name.startswith("bias") else t.num_synapses  # noqa: E731
            out.append({name: value[: length(name)] if value.ndim else value for name, value in found[place].items()})
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
          ShapeError: x or y do not fit, or the synapses are another batch's.
        """
        x, y = self._check_call(genome, synapses, x, y, key)
        watch = self._watches(genome, synapses, x)
        learned, outputs, settling = programs.steps(self, genome, synapses, x, y, index, key, watch)
        self._warn(settling)
        return learned, outputs

    def trace(
        self, genome: AnyGenome, synapses: PackedBatch, x: Any, y: Any, *, index: Any = 0, key: jax.Array | None = None
    ) -> Trace:
        """The same step, with the states of all neurons after each phase, [G, B, n, k]: n of the largest graph, zero beyond a
        graph's own. See `Trace`; `settling` is one list per size class, whose leaves lead with its graphs."""
        x, y = self._check_call(genome, synapses, x, y, key)
        return programs.traces(self, genome, synapses, x, y, index, key)

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
        watch = self._watches(genome, synapses, xs)
        learned, outputs, settling = programs.unrolls(self, genome, synapses, xs, ys, index, key, checkpoint, watch)
        self._warn(settling)
        return learned, outputs

    def _watches(self, *arguments: Any) -> bool:
        """Whether to find out how ticks settle: of classes with cycles, where no other program is being traced."""
        cyclic = any(phase.cyclic for size in self.classes for phase in class_plan(size).phases)
        return cyclic and not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((self, arguments)))

    def _warn(self, settling: list[list[tuple[jax.Array, jax.Array]]]) -> None:
        """Warn, once, where the last forward tick still moved a state of some graph far, and say of which."""
        if self._warned or not settling:
            return
        self._warned = True  # looked at once: later calls do not wait for their results
        each = []  # per class [2, graphs]: how far, after how many ticks
        for own, tables in zip(settling, self.tables, strict=True):
            each.append(np.max(own, axis=0) if own else np.zeros((2, len(tables["count"]))))
        moved, ticks = np.nan_to_num(np.concatenate(each, axis=1))
        if self.order is not None:
            moved, ticks = moved[np.asarray(self.order)], ticks[np.asarray(self.order)]
        far = np.flatnonzero(moved > UNSETTLED)
        if len(far):
            worst = int(moved.argmax())
            title = self.topologies[worst].title if self.topologies else ""
            name = f"graph {worst}" + (f" ({title!r})" if title else "")
            others = f" (and of {len(far) - 1} other graphs of {len(moved)})" if len(far) > 1 else ""
            text = unsettled(name, int(ticks[worst]), float(moved[worst]), others)
            warnings.warn(text, SettlingWarning, stacklevel=3)

    def predict(self, genome: AnyGenome, synapses: PackedBatch, x: Any, *, statistics: Any = None) -> jax.Array:
        """Forward pass only, without noise: state 0 of the outputs, [G, B, n_out].

        Args:
          statistics: frozen moments from `statistics`; default: this batch's.
        """
        x, _ = self._check_call(genome, synapses, x, None, None, noise=False)
        return programs.predictions(self, genome, synapses, x, statistics)

    def statistics(self, genome: AnyGenome, synapses: PackedBatch, x: Any) -> Any:
        """Mean and variance of every pre-activation over a batch, to freeze for `predict` (normalization: batch)."""
        x, _ = self._check_call(genome, synapses, x, None, None, noise=False)
        return programs.statistics(self, genome, synapses, x)

    def losses(
        self, function: Callable[..., tuple[jax.Array, Any]], genome: AnyGenome, arguments: Sequence[Any], *, tables: Any = None
    ) -> list[tuple[jax.Array, Any]]:
        """Any function of one graph, of every graph; differentiable by the genome with the memory of one graph.

        Args:
          function: `function(network, genome, argument)` returns `(loss, rest)`, a scalar and a pytree. The network is one graph,
            with `init`, `unroll`, `predict` and `rule` as `Network` has them. Derivatives are those of the losses by the genome:
            what the function closes over, its arguments and `rest` have none where graphs run in turn.
          genome: one for all graphs.
          arguments: per size class a pytree whose leaves lead with its graphs.
          tables: other graphs of the same size classes: `tables` of another `NetworkBatch`; default: these.

        Returns:
          Per size class `(losses, rest)`, leaves that lead with its graphs.

        Examples:
          >>> import jax
          >>> import neurograph as ng
          >>> file, task = ng.load_genome_file("functions"), ng.get_task("xor")
          >>> batch = ng.NetworkBatch([ng.load_topology("mlp_2d_classes")] * 2, file.rule)
          >>> def judged(network, genome, key):
          ...     return ng.meta_loss(network, genome, task.episode(key, 2, 32, 64), key=key)
          >>> loss = lambda genome: batch.losses(judged, genome, [jax.random.split(jax.random.key(0), 2)])[0][0].mean()
          >>> jax.grad(loss)(file.genome).synapse_update.shape
          ()
        """
        return programs.losses(self, function, genome, arguments, self.tables if tables is None else tables)

    def _check_genome(self, genome: AnyGenome) -> None:
        if genome.states != self.rule.states:
            raise ShapeError(f"genome: has {genome.states} states; the rule says states: {self.rule.states}")
        lead = programs.leads(genome)
        if lead is not None and lead != len(self):
            raise ShapeError(f"genome: its leaves lead with {lead} graphs; expected {len(self)}, or one genome for all")
        if not isinstance(genome, LayeredGenome) or self.topologies is None or (genome.by, genome.names) in self._fitting:
            return
        for topology in self.topologies:
            genome.layer_of(topology)  # raises before anything is compiled
        self._fitting.add((genome.by, genome.names))

    def _check_synapses(self, synapses: PackedBatch) -> None:
        if not isinstance(synapses, (tuple, list)):
            raise ShapeError(f"synapses: got {type(synapses).__name__}; expected a tuple, as `init` and `pack` return it")
        if len(synapses) != len(self.classes):
            raise ShapeError(
                f"synapses: they are not this batch's: those of {len(synapses)} size classes, expected {len(self.classes)}"
            )
        for own, size, tables in zip(synapses, self.classes, self.tables, strict=True):
            sizes = None if self.rule.reset_states else [stage.size for stage in class_plan(size).stages]
            check_synapses(own, packed_shapes(size, self.rule, len(tables["count"])), sizes, "batch")

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
        self._check_synapses(synapses)
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
    shape = lambda s: (s.inputs, s.outputs, s.hidden, s.schedule, s.tolerance, s.damped)  # noqa: E731
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


def _stacked(tables: list[dict[str, Any]]) -> dict[str, Any]:
    return jax.tree.map(lambda *leaves: jax.device_put(np.stack(leaves)), *tables)
