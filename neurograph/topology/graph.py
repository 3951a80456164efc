"""`Topology`: a directed graph of neurons and synapses, checked, frozen, NumPy only."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from jaxtyping import Bool, Float64, Int32

from neurograph._lazy import from_above
from neurograph.errors import TopologyError
from neurograph.topology import structure
from neurograph.topology.validate import SCHEDULES, InvalidGraph, find_problems, settling

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Topology", "as_switch", "as_ticks"]

_ARRAYS: Mapping[str, Any] = {
    "senders": np.int32,
    "receivers": np.int32,
    "inputs": np.int32,
    "outputs": np.int32,
    "bias": np.bool_,
    "fixed": np.bool_,
    "weight": np.float64,
    "group": np.int32,
    "bias_group": np.int32,
    "population": np.int32,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Topology:
    """A directed graph that can be a network: n neurons, E synapses, in the user's order.

    Only the first five fields must be given. Arrays are copied and made read-only; everything is checked on construction.
    Two topologies are equal if all but `title` and `description` agrees; `digest` is the hash of that content.

    Attributes:
      names: n unique neuron names; not empty, no control characters.
      senders, receivers: [E] int32 neuron indices; synapse e runs from senders[e] to receivers[e].
      inputs, outputs: int32 neuron indices; their ORDER is the order of the columns of x and y.
      bias: [n] bool; the neuron has a synapse from the constant neuron. Default: all but inputs. Always False for inputs.
      fixed: [E] bool; the synapse keeps its `weight` and gets no update. Default: none.
      weight: [E] float64; given value, NaN = drawn when synapses are initialised. Default: all NaN.
      group: [E] int32; -1 = a number of its own; synapses of one id share one stored number. Ids are renumbered 0..G-1 by first
        appearance, so that equal sharing is equal content. Members of a group agree on `fixed` and `weight`.
      bias_group: [n] int32; the same for biases, with ids of its own.
      population: [n] int32; index into population_names, -1 = in no population.
      population_names: unique names; every population has at least one neuron.
      population_shapes: one shape per population, such as (28, 28, 8): its neurons, in index order, fill it row by row.
      schedule: "levels" (acyclic graphs: neurons in order of their levels), "synchronous" (all at once, `ticks` times) or "mixed"
        (strongly connected components ticked, the rest levelled).
      ticks: 1 under "levels", else at least 1.
      tolerance: with a number above 0, ticks end as soon as none of them moves a state by more; `ticks` is then the most.
      damping: share of a neuron's last state that a tick keeps, from the second tick on; in [0, 1). The fixed point is the same.
      outputs_may_project: allows synapses out of output neurons.
      title, description: for people; not part of the content.

    Raises:
      TopologyError: with one line per fault: wrong shapes or indices, parallel synapses, a cycle under "levels" (one is named), a
        synapse into an input, an output that no path from an input reaches, an output with outgoing synapses.

    Examples:
      >>> import neurograph as ng
      >>> graph = ng.Topology(("a", "b", "c"), senders=[0, 1], receivers=[1, 2], inputs=[0], outputs=[2])
      >>> graph
      Topology(3 neurons, 2 synapses, 1 in, 1 out, levels)
      >>> graph.levels.tolist()
      [0, 1, 2]
    """

    names: tuple[str, ...]
    senders: Int32[np.ndarray, " synapses"]
    receivers: Int32[np.ndarray, " synapses"]
    inputs: Int32[np.ndarray, " inputs"]
    outputs: Int32[np.ndarray, " outputs"]
    bias: Bool[np.ndarray, " neurons"] = None  # type: ignore[assignment]
    fixed: Bool[np.ndarray, " synapses"] = None  # type: ignore[assignment]
    weight: Float64[np.ndarray, " synapses"] = None  # type: ignore[assignment]
    group: Int32[np.ndarray, " synapses"] = None  # type: ignore[assignment]
    bias_group: Int32[np.ndarray, " neurons"] = None  # type: ignore[assignment]
    population: Int32[np.ndarray, " neurons"] = None  # type: ignore[assignment]
    population_names: tuple[str, ...] = ()
    population_shapes: tuple[tuple[int, ...], ...] = ()
    schedule: Literal["levels", "synchronous", "mixed"] = "levels"
    ticks: int = 1
    outputs_may_project: bool = False
    tolerance: float = 0.0
    damping: float = 0.0
    title: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 - the one way to fill a frozen dataclass
        put("names", tuple(_as_list("names", self.names, "names")))
        n = len(self.names)
        for name in ("senders", "receivers", "inputs", "outputs"):
            put(name, _as_array(name, getattr(self, name), np.int32, None))
        edges = len(self.senders)
        if self.bias is None:
            bias = np.ones(n, bool)
            bias[self.inputs[(self.inputs >= 0) & (self.inputs < n)]] = False
            put("bias", bias)
        for name, length, fill in (
            ("receivers", edges, None),
            ("bias", n, None),
            ("fixed", edges, False),
            ("weight", edges, np.nan),
            ("group", edges, -1),
            ("bias_group", n, -1),
            ("population", n, -1),
        ):
            value = getattr(self, name)
            value = np.full(length, fill, _ARRAYS[name]) if value is None else _as_array(name, value, _ARRAYS[name], length)
            put(name, value)
        put("group", _renumber(self.group))
        put("bias_group", _renumber(self.bias_group))
        put("population_names", tuple(_as_list("population_names", self.population_names, "names")))
        shapes = tuple(map(_as_shape, _as_list("population_shapes", self.population_shapes, "shapes")))
        if not shapes and self.population_names and not (self.population >= len(self.population_names)).any():
            members = self.population[self.population >= 0]
            shapes = tuple((int(size),) for size in np.bincount(members, minlength=len(self.population_names)))
        put("population_shapes", shapes)
        put("ticks", as_ticks(self.ticks))
        for name in ("tolerance", "damping"):
            put(name, as_number(name, getattr(self, name)))
        put("outputs_may_project", as_switch("outputs_may_project", self.outputs_may_project))
        for name in _ARRAYS:
            getattr(self, name).flags.writeable = False
        problems = find_problems(cast(Any, self))  # to pyright, the fields of a frozen class are no attributes of a protocol
        if problems:
            raise InvalidGraph(problems)

    # ---- size and structure

    @property
    def num_neurons(self) -> int:
        """n, inputs and outputs included, the constant neuron not."""
        return len(self.names)

    @property
    def num_synapses(self) -> int:
        """E, synapses from the constant neuron not included (those are `bias.sum()`)."""
        return len(self.senders)

    @cached_property
    def _strong(self) -> tuple[int, np.ndarray]:
        count, component = structure.strong_components(self.num_neurons, self.senders, self.receivers)
        component.flags.writeable = False
        return count, component

    @property
    def components(self) -> Int32[np.ndarray, " neurons"]:
        """[n] int32: strongly connected component of every neuron, numbered by its first neuron."""
        return self._strong[1]

    @cached_property
    def is_acyclic(self) -> bool:
        """No cycle and no self-loop."""
        return self._strong[0] == self.num_neurons and not bool((self.senders == self.receivers).any())

    @cached_property
    def levels(self) -> Int32[np.ndarray, " neurons"]:
        """[n] int32: longest path from a neuron without incoming synapses (level 0); a component's neurons share one level."""
        count, component = self._strong
        level = structure.component_levels(count, component[self.senders], component[self.receivers])[component]
        level.flags.writeable = False
        return level

    @cached_property
    def walk_length(self) -> float:
        """D: expected number of synapses of a random walk from an output, against the synapses, to an input.

        The walk starts at any output and takes any synapse of those that come from neurons which inputs reach, all alike. Three
        for two hidden layers; where there are skips or cycles it is the mean over ways that feedback can go.
        """
        return structure.walk_length(self.num_neurons, self.senders, self.receivers, self.inputs, self.outputs, ~self.unreachable)

    @property
    def depth(self) -> int:
        """The highest level. An acyclic graph settles after as many ticks, or one more where a chain starts at a bias alone."""
        return int(self.levels.max())

    def find_cycle(self) -> list[str]:
        """Names along one short cycle, the first not repeated; empty if the graph is acyclic."""
        cycle = structure.cycle_within(self.num_neurons, self.senders, self.receivers, self.components)
        return [self.names[i] for i in cycle]

    @cached_property
    def unreachable(self) -> Bool[np.ndarray, " neurons"]:
        """[n] bool: no path from any input leads to the neuron. Such neurons still carry their bias."""
        return _frozen(~structure.reachable(self.num_neurons, self.senders, self.receivers, self.inputs))

    @cached_property
    def dead_end(self) -> Bool[np.ndarray, " neurons"]:
        """[n] bool: no path leads from the neuron to any output."""
        return _frozen(~structure.reachable(self.num_neurons, self.receivers, self.senders, self.outputs))

    @property
    def dead(self) -> Bool[np.ndarray, " neurons"]:
        """[n] bool: unreachable or dead-end; such a neuron passes nothing from the inputs to the outputs. Legal, and reported."""
        return self.unreachable | self.dead_end

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Index of the neuron called `name`.

        Raises:
          TopologyError: there is no such neuron.
        """
        try:
            return self._index[name]
        except KeyError:
            raise TopologyError(
                f"there is no neuron {name!r} (the graph has {self.num_neurons}, such as {self.names[0]!r})"
            ) from None

    # ---- identity

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the content: names, arrays, populations and schedule; the same on every machine."""
        hasher = hashlib.sha256(b"neurograph topology 1\n")

        def put(label: str, data: bytes) -> None:
            hasher.update(f"{label} {len(data)}\n".encode())
            hasher.update(data)

        put("names", "\0".join(self.names).encode())
        for name in _ARRAYS:
            array = getattr(self, name)
            if name == "weight":
                array = np.where(np.isnan(array), np.nan, array)  # one NaN of the many
            put(name, np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
        put("population_names", "\0".join(self.population_names).encode())
        put("population_shapes", repr(self.population_shapes).encode())
        put("schedule", f"{self.schedule} {self.ticks} {self.outputs_may_project}".encode())
        if self.tolerance or self.damping:  # not before: graphs without them keep the digests that files of older versions hold
            put("settling", f"{self.tolerance!r} {self.damping!r}".encode())
        return hasher.hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Topology) else NotImplemented

    def __hash__(self) -> int:
        return int(self.digest[:15], 16)

    def __repr__(self) -> str:
        title = f"{self.title!r}, " if self.title else ""
        ticks = "" if self.schedule == "levels" else f" x {'up to ' if self.tolerance else ''}{self.ticks}"
        return (
            f"Topology({title}{self.num_neurons} neurons, {self.num_synapses} synapses, "
            f"{len(self.inputs)} in, {len(self.outputs)} out, {self.schedule}{ticks})"
        )

    def _repr_html_(self) -> str:
        return from_above("report.notebook.graph", "topology_html")(self)

    def draw(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        view: Literal["boxes", "matrix", "histograms", "nodes", "all"] = "boxes",
        detail: Literal["auto", "neurons", "populations"] = "auto",
    ) -> Any:
        """Draws the graph, as `neurograph topology draw` does, and saves the picture if a path is given.

        Args:
          path: ends in .svg, .png or .pdf; an SVG has at most 1 MB.
          view: "boxes", "matrix" (adjacency in plan order), "histograms" (degrees and levels), "nodes" (up to 160 neurons),
            or "all".
          detail: of the boxes: every neuron, or a box per population; auto takes boxes above 60 neurons or 300 synapses.

        Returns:
          A `matplotlib.figure.Figure` that belongs to no window; a notebook shows it.

        Raises:
          TopologyError: an unknown ending, view or detail, a file that cannot be written, or too many neurons to draw each.

        Examples:
          >>> import neurograph as ng
          >>> figure = ng.load_topology("small_world").draw("small_world.svg", view="matrix")
          >>> [axes.get_xlabel() for axes in figure.axes if axes.get_label() == "matrix"]
          ['to']
        """
        return from_above("report.figures.topology", "draw_topology")(self, path, detail=detail, view=view)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _ARRAYS:
            getattr(self, name).flags.writeable = False

    # ---- the same graph otherwise

    def replace(self, **changes: Any) -> Topology:
        """A copy with some fields changed, checked again."""
        unknown = set(changes) - {field.name for field in dataclasses.fields(self)}
        if unknown:
            raise TopologyError(f"a Topology has no field {sorted(unknown)[0]!r}")
        return dataclasses.replace(self, **changes)

    def with_schedule(
        self,
        schedule: Literal["levels", "synchronous", "mixed"],
        ticks: int | Literal["settle"] = 1,
        *,
        tolerance: float = 0.0,
        damping: float = 0.0,
    ) -> Topology:
        """The same graph under another schedule.

        Args:
          ticks: a number, or "settle": until no state moves by more than the tolerance (1e-4 where none is given), at most 100.
          tolerance, damping: see `Topology`.

        Raises:
          TopologyError: the schedule is unknown, or the graph is cyclic and the schedule "levels", or a number is out of range.
        """
        if schedule not in SCHEDULES:
            raise TopologyError(f"schedule: got {schedule!r}; allowed: {', '.join(SCHEDULES)}.")
        ticks, tolerance = settling(ticks, tolerance)
        return self.replace(schedule=schedule, ticks=ticks, tolerance=tolerance, damping=damping)

    def to_networkx(self) -> nx.DiGraph:
        """A networkx.DiGraph with everything in its attributes; `from_networkx` of it is equal to this topology."""
        from neurograph.topology.columns import to_networkx

        return to_networkx(self)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def as_ticks(value: Any) -> int:
    """`value` as a number of ticks, or a TopologyError: a fraction is refused, not cut off."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TopologyError(f"ticks: got {value!r}; expected an integer from 1 to 1,000,000.")
    return int(value)


def as_number(name: str, value: Any) -> float:
    """`value` as a float, or a TopologyError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TopologyError(f"{name}: got {value!r}; expected a number.")
    return float(value)


def as_switch(name: str, value: Any) -> bool:
    """`value` as a bool, or a TopologyError: text such as "false" counts as true in Python."""
    if not isinstance(value, (bool, np.bool_)):
        raise TopologyError(f"{name}: got {value!r}; expected True or False.")
    return bool(value)


def _as_list(name: str, value: Any, expected: str) -> list[Any]:
    """The members of a sequence, or a TopologyError that names the argument: one text, a set and a mapping are none."""
    if isinstance(value, (str, bytes, Mapping, Set)):
        raise TopologyError(f"{name}: got {type(value).__name__}; expected a sequence of {expected}.")
    try:
        return list(value)
    except TypeError:
        raise TopologyError(f"{name}: got {type(value).__name__}; expected a sequence of {expected}.") from None


def _as_shape(value: Any) -> tuple[int, ...]:
    sizes = _as_list("population_shapes", value, "shapes such as (8, 8)")
    if any(isinstance(size, (bool, np.bool_)) or not isinstance(size, (int, np.integer)) for size in sizes):
        raise TopologyError(f"population_shapes: got {value!r}; expected shapes such as (8, 8).")
    return tuple(map(int, sizes))


def _as_array(name: str, value: Any, dtype: Any, length: int | None) -> np.ndarray:
    """A fresh 1-D array of `dtype`, or a TopologyError that names the argument."""
    if not isinstance(value, np.ndarray) and (isinstance(value, (str, bytes)) or not isinstance(value, Sequence)):
        value = _as_list(name, value, "numbers")
    if np.ma.is_masked(value):
        raise TopologyError(
            f"{name}[{int(np.flatnonzero(np.ma.getmaskarray(np.ma.asarray(value)))[0])}]: is masked; a value is missing."
        )
    try:
        array = np.asarray(value) if len(value) else np.empty(0, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise TopologyError(f"{name}: cannot be read as an array ({error}).") from error
    kinds = {"i": "iu", "b": "b", "f": "fiu"}[np.dtype(dtype).kind]
    if array.ndim != 1 or array.dtype.kind not in kinds:
        wanted = {"i": "integers", "b": "booleans", "f": "numbers"}[np.dtype(dtype).kind]
        raise TopologyError(f"{name}: got shape {array.shape} of {array.dtype}; expected one dimension of {wanted}.")
    if np.dtype(dtype).kind == "i" and len(array) and (int(array.min()) < -(2**31) or int(array.max()) >= 2**31):
        raise TopologyError(f"{name}: values must fit in 32 bits.")
    if length is not None and len(array) != length:
        per = "per neuron" if name in ("bias", "bias_group", "population") else "per synapse"
        raise TopologyError(f"{name}: got {len(array)} values; expected {length}, one {per}.")
    return array.astype(dtype)  # always a copy: the caller keeps theirs writeable


def _renumber(ids: np.ndarray) -> np.ndarray:
    """Group ids as 0..G-1 by first appearance; anything negative is -1."""
    member = ids >= 0
    if not member.any():
        return np.full(len(ids), -1, np.int32)
    _, first, inverse = np.unique(ids[member], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    result = np.full(len(ids), -1, np.int32)
    result[member] = rank[inverse]
    return result
