"""From a description to a `Topology`."""

from __future__ import annotations

import itertools
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import numpy as np

from neurograph.documents import Source, suggestion
from neurograph.errors import Fault, SpecError, TopologyError
from neurograph.topology.graph import Topology
from neurograph.topology.language.builders import Builder, Canvas, Edges, Group
from neurograph.topology.language.spec import CellSpec, PopulationSpec, TopologySpec, validate_spec
from neurograph.topology.validate import DEFAULT_LIMITS, InvalidGraph, Limits, settling

__all__ = ["build_topology"]

MAX_CONNECTIONS = 1_000_000


def build_topology(
    spec: Mapping[str, Any] | TopologySpec, *, limits: Limits = DEFAULT_LIMITS, source: Source | None = None
) -> Topology:
    """The topology that a description stands for.

    Args:
      spec: what a YAML file holds, as plain Python data (connections may be `Builder` objects), or a `TopologySpec`.
      limits: how large the graph may become; checked before anything is allocated.
      source: where the description came from, for the places in messages.

    Raises:
      SpecError: with every fault found.

    Examples:
      >>> import neurograph as ng
      >>> ng.build_topology({"populations": {"in": 2, "out": 1}, "inputs": "in", "outputs": "out",
      ...                    "connections": [{"kind": "dense", "from": "in", "to": "out"}]})
      Topology(3 neurons, 2 synapses, 2 in, 1 out, levels)
    """
    source = source or Source()
    data: Any = spec
    if isinstance(spec, TopologySpec):
        data = {**spec.model_dump(by_alias=True, exclude_unset=True), "connections": list(spec.connections)}
    checked, builders, faults = validate_spec(data, source)
    if checked is None:
        raise SpecError(faults)
    return _Assembly(checked, builders, source, limits, faults).topology()


class _Assembly:
    """Collects neurons, then synapses, remembering which part of the file each came from."""

    def __init__(
        self, spec: TopologySpec, builders: Mapping[tuple[Any, ...], Builder], source: Source, limits: Limits, faults: list[Fault]
    ):
        self.spec, self.builders, self.source, self.limits = spec, builders, source, limits
        self.faults = faults  # connections that are wrong in form have no builder; the others are still tried
        self.groups: dict[str, Group] = {}  # populations, explicit neurons and cells, by name
        self.populations: list[tuple[Group, PopulationSpec, tuple[Any, ...]]] = []
        self.cells: list[list[dict[str, Group]]] = []  # for every cell and copy, its populations by their short names
        self.parts: list[tuple[tuple[Any, ...], Edges]] = []
        self.shared_biases: list[tuple[Group, int]] = []
        self.size = 0

    def fault(self, message: str, at: tuple[Any, ...], *, key: bool = False) -> None:
        self.faults.append(self.source.fault(message, at, key=key))

    def stop(self) -> None:
        raise SpecError(sorted(self.faults, key=lambda f: (f.line or 0, f.column or 0)))

    def topology(self) -> Topology:
        known = len(self.faults)
        self.lay_out()
        if len(self.faults) > known:
            self.stop()
        self.connect()
        inputs, outputs = self.role("inputs"), self.role("outputs")
        if self.faults:
            self.stop()
        names = self.names()
        bias, bias_group = self.biases(inputs)
        population, shapes = self.memberships()
        ticks, tolerance = settling(self.spec.ticks, self.spec.tolerance)
        try:
            return Topology(
                names=names,
                inputs=inputs,
                outputs=outputs,
                bias=bias,
                bias_group=bias_group,
                population=population,
                population_names=tuple(group.name for group, _, _ in self.populations),
                population_shapes=shapes,
                schedule=self.spec.schedule,
                ticks=ticks,
                tolerance=tolerance,
                damping=self.spec.damping,
                outputs_may_project=self.spec.outputs_may_project,
                title=self.spec.title,
                description=self.spec.description,
                **self.synapses(),
            )
        except InvalidGraph as error:
            raise SpecError(self.locate(error)) from error

    # ---- neurons

    def lay_out(self) -> None:
        """Gives every population and explicit neuron its range of indices."""
        steps = sum(cell.repeat * len(cell.connections) for cell in self.spec.cells)
        if steps > MAX_CONNECTIONS:
            self.fault(f"the cells would make {steps:,} connections; at most {MAX_CONNECTIONS:,} are allowed.", ("cells",))
            return
        populations: list[tuple[str, PopulationSpec, tuple[Any, ...]]] = [
            (name, population, ("populations", name)) for name, population in self.spec.populations.items()
        ]
        total = sum(self.size_of(population) for _, population, _ in populations) + len(self.spec.neurons)
        total += sum(cell.repeat * sum(map(self.size_of, cell.populations.values())) for cell in self.spec.cells)
        try:
            self.limits.check(neurons=total)
        except TopologyError as error:
            self.fault(str(error), ("populations",))
            return
        for name, population, at in populations:
            if population.members is None:
                self.add_population(name, population, at)
        for i, cell in enumerate(self.spec.cells):
            self.add_cell(cell, i)
        first = self.size
        for i, neuron in enumerate(self.spec.neurons):
            if neuron.name in self.groups:
                self.fault(f"the name {neuron.name!r} is already taken.", ("neurons", i))
            self.groups.setdefault(neuron.name, Group(neuron.name, first + i, (1,)))
        self.size += len(self.spec.neurons)
        for name, population, at in populations:
            if population.members is not None:
                self.add_members(name, population, at)
        # populations appear in the order of the file, whether they have members or not
        order = {name: i for i, name in enumerate(self.spec.populations)}
        self.populations.sort(key=lambda item: order.get(item[0].name, len(order)))

    @staticmethod
    def size_of(population: PopulationSpec) -> int:
        if population.members is not None:
            return 0
        size = 1
        for length in population.shape or [population.size or 0]:
            size *= length
        return size

    def add_population(self, name: str, population: PopulationSpec, at: tuple[Any, ...]) -> Group:
        group = Group(name, self.size, tuple(population.shape or [population.size or 0]))
        if name in self.groups:
            self.fault(f"the name {name!r} is already taken.", at, key=True)
        self.groups[name] = group
        self.populations.append((group, population, at))
        self.size += group.size
        return group

    def add_cell(self, cell: CellSpec, number: int) -> None:
        copies = []
        for copy in range(1, cell.repeat + 1):
            at = ("cells", number, "populations")
            local: dict[str, Group] = {}
            for name, population in cell.populations.items():
                if population.members is not None:
                    self.fault("populations of a cell cannot have members.", (*at, name))
                    return
                local[name] = self.add_population(f"{cell.name}{copy}.{name}", population, (*at, name))
            copies.append(local)
        self.cells.append(copies)
        if cell.name in self.groups:
            self.fault(f"the name {cell.name!r} is already taken.", ("cells", number, "name"))
        self.groups[cell.name] = copies[-1][cell.output]

    def add_members(self, name: str, population: PopulationSpec, at: tuple[Any, ...]) -> None:
        members = population.members or []
        explicit = {neuron.name: i for i, neuron in enumerate(self.spec.neurons)}
        for i, member in enumerate(members):
            if member not in explicit:
                hint = suggestion(member, explicit)
                self.fault(f"{member!r} is not one of the file's `neurons`{hint}", (*at, "members", i))
                return
        starts = [self.groups[member].start for member in members]
        if any(a >= b for a, b in itertools.pairwise(starts)):
            self.fault("members must stand in the order of `neurons`, each once.", (*at, "members"))
        else:
            group = Group(name, starts[0], tuple(population.shape or [len(members)]))
            self.populations.append((group, population, at))
            if group.size != len(members):
                self.fault(f"the shape {group.shape} has {group.size} places for {len(members)} members.", (*at, "shape"))
            if starts[-1] - starts[0] == len(starts) - 1:
                # connections may use it if it is one range; a neuron of the same name goes first
                self.groups.setdefault(name, group)

    def names(self) -> tuple[str, ...]:
        names: list[str] = [""] * self.size
        for group, population, _ in self.populations:
            if population.members is None:
                places = itertools.product(*[[f".{i}" for i in range(length)] for length in group.shape])
                names[group.start : group.start + group.size] = [group.name + "".join(place) for place in places]
        start = self.size - len(self.spec.neurons)
        names[start:] = [neuron.name for neuron in self.spec.neurons]
        return tuple(names)

    def biases(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[n] bool bias and [n] int64 bias groups."""
        bias, group, used = np.ones(self.size, bool), np.full(self.size, -1), 0
        given = np.zeros(self.size, bool)  # the file itself asks for this bias
        channels = {target.name: (target, count) for target, count in self.shared_biases}
        for target, population, _ in self.populations:
            if population.members is not None:
                continue
            here = slice(target.start, target.start + target.size)
            bias[here] = population.bias is not False
            given[here] = population.bias not in (None, False)
            count = channels.get(target.name, (target, 0))[1]
            if population.bias == "per_channel":
                count = target.shape[-1]
            elif population.bias == "single":
                count = 1
            if count and population.bias not in (False, "per_neuron"):
                group[here] = used + np.arange(target.size) % count
                used += count
        ids: dict[str, int] = {}
        start = self.size - len(self.spec.neurons)
        for i, neuron in enumerate(self.spec.neurons):
            given[start + i] = neuron.bias is True or neuron.bias_group is not None
            bias[start + i] = neuron.bias is not False
            if neuron.bias_group is not None:
                group[start + i] = ids.setdefault(neuron.bias_group, used + len(ids))
        without = np.zeros(self.size, bool)
        without[inputs] = True
        without &= ~given  # an input that asks for a bias is a fault, which Topology finds
        bias[without], group[without] = False, -1
        return bias, group

    def memberships(self) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
        population = np.full(self.size, -1)
        for i, (group, spec, _) in enumerate(self.populations):
            if spec.members is None:
                population[group.start : group.start + group.size] = i
            else:
                population[[self.groups[member].start for member in spec.members]] = i
        return population, tuple(group.shape for group, _, _ in self.populations)

    # ---- synapses

    def connect(self) -> None:
        """Runs every builder, in the order of the file: top-level connections, cells copy by copy, explicit synapses."""
        used, ordinal = 0, 0
        jobs: list[tuple[tuple[Any, ...], Mapping[str, Group]]] = [
            (("connections", i), self.groups) for i in range(len(self.spec.connections))
        ]
        for number, cell in enumerate(self.spec.cells):
            if cell.from_ not in self.groups:
                hint = suggestion(cell.from_, self.groups)
                self.fault(f"there is no population {cell.from_!r}{hint}", ("cells", number, "from"))
                continue
            previous = self.groups[cell.from_]
            for local in self.cells[number]:
                scope = ChainMap({**local, "previous": previous}, self.groups)
                jobs += [(("cells", number, "connections", i), scope) for i in range(len(cell.connections))]
                previous = local[cell.output]
        failed = set()
        for at, scope in jobs:
            canvas = Canvas(scope, (self.spec.seed, ordinal), self.limits, used)
            ordinal += 1
            if at in failed or at not in self.builders:  # a cell's connection fails in every copy: once is enough
                continue
            try:
                edges = self.builders[at].build(canvas)
                self.limits.check(synapses=used + len(edges.senders))
            except TopologyError as error:
                failed.add(at)
                self.fault(str(error), at)
                continue
            used += len(edges.senders)
            self.parts.append((at, edges))
            if edges.shared_biases is not None:
                self.shared_biases.append(edges.shared_biases)
        self.explicit()

    def explicit(self) -> None:
        index = self.neuron_index() if self.spec.synapses else {}
        ends: list[list[int]] = [[], []]
        for i, synapse in enumerate(self.spec.synapses):
            for key, name, side in (("from", synapse.from_, ends[0]), ("to", synapse.to, ends[1])):
                if name not in index and len(self.faults) < 100:
                    hint = suggestion(name, index)
                    at: tuple[Any, ...] = ("synapses", i)
                    at += (key,)
                    self.fault(f"there is no neuron {name!r}{hint}", at)
                side.append(index.get(name, 0))
        if self.spec.synapses:
            ids: dict[str, int] = {}
            group = [-1 if s.group is None else ids.setdefault(s.group, len(ids)) for s in self.spec.synapses]
            weight = [np.nan if s.weight is None else s.weight for s in self.spec.synapses]
            fixed = np.array([s.fixed for s in self.spec.synapses], bool)
            self.parts.append(
                (("synapses",), Edges(np.array(ends[0]), np.array(ends[1]), np.array(weight, float), fixed, np.array(group)))
            )

    def neuron_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names())}

    def synapses(self) -> dict[str, np.ndarray]:
        """The five arrays of `Topology`, all parts one after the other."""
        count = [len(edges.senders) for _, edges in self.parts]
        total = sum(count)
        arrays = {
            "senders": np.empty(total, np.int32),
            "receivers": np.empty(total, np.int32),
            "weight": np.full(total, np.nan),
            "fixed": np.zeros(total, bool),
            "group": np.full(total, -1, np.int64),
        }
        start, used = 0, 0
        for (_, edges), length in zip(self.parts, count):
            here = slice(start, start + length)
            start += length
            arrays["senders"][here], arrays["receivers"][here] = edges.senders, edges.receivers
            if edges.weight is not None:
                arrays["weight"][here] = edges.weight
            arrays["fixed"][here] = edges.fixed
            if edges.group is not None and length:
                group = np.asarray(edges.group)
                arrays["group"][here] = np.where(group < 0, -1, group + used)
                used += int(group.max()) + 1
        return arrays

    def role(self, key: str) -> np.ndarray:
        """Neuron indices of `inputs` or `outputs`."""
        found: list[np.ndarray] = []
        members = {group.name: spec.members for group, spec, _ in self.populations if spec.members is not None}
        index: dict[str, int] | None = None
        for i, name in enumerate(getattr(self.spec, key)):
            if name in self.groups:
                found.append(self.groups[name].indices)
            elif name in members:
                found.append(np.array([self.groups[member].start for member in members[name] or []]))
            else:
                index = self.neuron_index() if index is None else index
                if name in index:
                    found.append(np.array([index[name]]))
                else:
                    hint = suggestion(name, self.groups)
                    self.fault(f"there is no population or neuron {name!r}{hint}", (key, i))
        return np.concatenate(found) if found else np.empty(0, int)

    # ---- where in the file

    def locate(self, error: InvalidGraph) -> list[Fault]:
        """The faults of a graph, each with the place of the population, neuron, connection or synapse it belongs to."""
        bounds = np.cumsum([len(edges.senders) for _, edges in self.parts])
        faults = []
        for problem in error.problems:
            at: tuple[Any, ...] = ()
            if problem.kind == "synapse":
                part = int(np.searchsorted(bounds, problem.index, side="right"))
                at, edges = self.parts[part]
                if at == ("synapses",):
                    at = (*at, problem.index - int(bounds[part]) + len(edges.senders))
            elif problem.kind == "neuron":
                start = self.size - len(self.spec.neurons)
                if problem.index >= start:
                    at = ("neurons", problem.index - start)
                else:
                    at = next(
                        at for g, s, at in self.populations if s.members is None and g.start <= problem.index < g.start + g.size
                    )
            faults.append(self.source.fault(problem.message, at))
        return sorted(faults, key=lambda f: (f.line or 0, f.column or 0))
