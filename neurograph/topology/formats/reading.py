"""Columns of a file or a networkx graph, read as a topology: every fault with its place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neurograph.documents import suggestion
from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import NODE_KEYS, Column, Table
from neurograph.topology.formats.parsing import as_bool, as_finite, as_int, as_label, numbered, short
from neurograph.topology.graph import Topology
from neurograph.topology.validate import DEFAULT_LIMITS, Flaw, InvalidGraph, Limits, settling

__all__ = ["Options", "Selector", "topology_of"]


Selector = str | Sequence[Any] | Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True)
class Options:
    """How to read a graph that is not a topology file of our own; see `load_topology`."""

    inputs: Selector = None
    outputs: Selector = None
    weight: str | None = "weight"
    schedule: str | None = None
    ticks: int | str | None = None
    outputs_may_project: bool | None = None
    limits: Limits = DEFAULT_LIMITS

    def node_keys(self) -> set[str]:
        """Node attributes that are looked at."""
        keys: set[str] = set(NODE_KEYS)
        for rule in (self.inputs, self.outputs):
            if isinstance(rule, Mapping):
                keys |= set(rule)
            elif isinstance(rule, str) and "=" in rule:
                keys.add(rule.split("=", 1)[0])
        return keys

    def edge_keys(self) -> set[str]:
        """Edge attributes that are looked at."""
        return {"fixed", "group", "index"} | ({self.weight} if self.weight else set())


class _Reading:
    """Turns a table into a topology, gathering every fault on the way."""

    def __init__(self, table: Table, options: Options):
        self.table, self.options = table, options
        self.faults: list[tuple[str, str, int]] = []  # message, kind, index
        self.n = len(table.names)

    def fault(self, message: str, kind: str = "", index: int = -1) -> None:
        self.faults.append((message, kind, index))

    def stop(self) -> None:
        """Raises what was found: with the file's lines if there is a file."""
        if not self.faults:
            return
        if not self.table.path:
            raise InvalidGraph([Flaw(message) for message, _, _ in self.faults])
        raise SpecError(
            [Fault(text, self.table.path, self.table.locate(kind, i) if kind else None) for text, kind, i in self.faults]
        )

    def name(self, kind: str, i: int) -> str:
        return (
            f"neuron {self.table.names[i]!r}"
            if kind == "node"
            else f"synapse {self.table.sources[i]!r} -> {self.table.targets[i]!r}"
        )

    def values(self, kind: str, key: str, parse: Callable[[Any], Any], expected: str) -> tuple[list[int], list[Any]]:
        """Places and parsed values of an attribute; the first three wrong ones are faults."""
        column = (self.table.nodes if kind == "node" else self.table.edges).get(key)
        if column is None:
            return [], []
        try:
            return column.at, [parse(value) for value in column.values]
        except (ValueError, TypeError, OverflowError):
            pass
        wrong = []
        for i, value in zip(column.at, column.values):
            try:
                parse(value)
            except (ValueError, TypeError, OverflowError):
                wrong.append((i, value))
        for number, (i, value) in enumerate(wrong[:3]):
            more = f" ({len(wrong) - 3:,} more like it)" if number == 2 and len(wrong) > 3 else ""
            self.fault(f"{self.name(kind, i)}: {key} is {short(value)}; expected {expected}.{more}", kind, i)
        return [], []

    def numbers(self, kind: str, key: str) -> tuple[list[int], Any]:
        """Like `values` for finite numbers; at once where all are sound, for there may be millions."""
        column = (self.table.nodes if kind == "node" else self.table.edges).get(key, Column())
        if set(map(type, column.values)) <= {str, float, int}:
            try:
                array = np.array(column.values, np.float64)
            except (ValueError, OverflowError):
                array = np.array([np.nan])
            if np.isfinite(array).all():
                return column.at, array
        return self.values(kind, key, as_finite, "a finite number")

    def topology(self) -> Topology:
        table, options = self.table, self.options
        options.limits.check(neurons=self.n, synapses=len(table.sources), what=table.path or "the graph")
        index = {name: i for i, name in enumerate(table.names)}
        senders, receivers = self.ends(index, table.sources, "source"), self.ends(index, table.targets, "target")
        e = len(senders)
        fixed, weight, group = np.zeros(e, bool), np.full(e, np.nan), np.full(e, -1, np.int64)
        at, values = self.values("edge", "fixed", as_bool, "true or false")
        fixed[at] = values
        if options.weight:
            at, values = self.numbers("edge", options.weight)
            weight[at] = values
        at, values = self.values("edge", "group", as_label, "text or an integer")
        group[at] = numbered(values)
        bias_group, population = np.full(self.n, -1, np.int64), np.full(self.n, -1, np.int64)
        at, values = self.values("node", "bias_group", as_label, "text or an integer")
        bias_group[at] = numbered(values)
        shapes = self.populations()
        at, values = self.values("node", "population", as_label, "text or an integer")
        population_names = list(shapes) if shapes else list(dict.fromkeys(values))
        number = {name: i for i, name in enumerate(population_names)}
        strange = [i for i, name in zip(at, values) if name not in number]
        for i in strange[:3]:
            self.fault(f"{self.name('node', i)}: its population is not in the graph's `populations`.", "node", i)
        population[at] = [number.get(name, -1) for name in values]
        inputs = self.role("input", options.inputs, table.inputs, index, senders, receivers)
        outputs = self.role("output", options.outputs, table.outputs, index, senders, receivers)
        bias = np.ones(self.n, bool)
        bias[inputs] = False
        at, values = self.values("node", "bias", as_bool, "true or false")
        bias[at] = values
        order = self.order(e)
        schedule, ticks, may_project = self.settings()
        tolerance, damping = self.number("tolerance"), self.number("damping")
        if schedule == "levels" and options.schedule == "levels":
            tolerance = damping = 0.0
        ticks, tolerance = settling(ticks, tolerance)
        self.stop()
        try:
            return Topology(
                names=tuple(table.names),
                senders=senders[order],
                receivers=receivers[order],
                inputs=inputs,
                outputs=outputs,
                bias=bias,
                fixed=fixed[order],
                weight=weight[order],
                group=group[order],
                bias_group=bias_group,
                population=population,
                population_names=tuple(population_names),
                population_shapes=tuple(shapes.values()) if shapes else (),
                schedule=schedule,
                ticks=ticks,
                outputs_may_project=may_project,
                tolerance=tolerance,
                damping=damping,
                title=str(table.graph.get("title", "")),
                description=str(table.graph.get("description", "")),
            )
        except InvalidGraph as error:
            if not table.path:
                raise
            place = {"neuron": "node", "synapse": "edge"}
            back = np.arange(e)[order]
            for problem in error.problems:
                kind = place.get(problem.kind, "")
                at_line = int(back[problem.index]) if kind == "edge" else problem.index
                self.fault(problem.message, kind, at_line)
            try:
                self.stop()
            except SpecError as told:
                raise told from error
            raise

    def ends(self, index: dict[str, int], names: list[str], end: str) -> np.ndarray:
        try:
            return np.fromiter(map(index.__getitem__, names), np.int32, len(names))
        except KeyError:
            unknown = [(e, name) for e, name in enumerate(names) if name not in index]
            for number, (e, name) in enumerate(unknown[:3]):
                more = f" ({len(unknown) - 3:,} more like it)" if number == 2 and len(unknown) > 3 else ""
                self.fault(f"synapse {e + 1}: its {end} {short(name)} is no neuron of the file.{more}", "edge", e)
            self.stop()
            raise

    def populations(self) -> dict[Any, tuple[int, ...]]:
        """Names and shapes from the graph attribute `populations`: JSON such as {"hidden": [8, 8], "output": [10]}."""
        text = self.table.graph.get("populations")
        if text in (None, ""):
            return {}
        expected = 'JSON such as {"hidden": [8, 8]}'
        try:
            value = json.loads(text) if isinstance(text, str) else text
        except (ValueError, RecursionError):
            value = None
        good = isinstance(value, Mapping) and all(
            isinstance(shape, (list, tuple)) and shape and all(type(size) is int and 0 < size < 2**31 for size in shape)
            for shape in value.values()
        )
        if not good:
            self.fault(f"the graph attribute populations is {short(text)}; expected {expected}.")
            return {}
        return {str(name): tuple(shape) for name, shape in value.items()}  # type: ignore[union-attr]

    def order(self, e: int) -> np.ndarray | slice:
        """Synapse order: by the attribute `index` where it is given, else as in the file."""
        at, values = self.values("edge", "index", as_int, "an integer")
        if not at:
            return slice(None)
        rank = np.full(e, np.iinfo(np.int64).max)
        rank[at] = values
        return np.argsort(rank, kind="stable")

    def settings(self) -> tuple[Any, int | str, bool]:
        graph, options = self.table.graph, self.options
        schedule = options.schedule or str(graph.get("schedule", "levels"))
        ticks, may = options.ticks, options.outputs_may_project
        try:
            stored = 1 if options.schedule == "levels" else graph.get("ticks", 1)
            stored = stored if stored == "settle" else as_int(stored)
            ticks = stored if ticks is None else ticks
        except (ValueError, TypeError):
            self.fault(f"the graph attribute ticks is {short(graph.get('ticks'))}; expected an integer, or settle.")
        try:
            may = as_bool(graph.get("outputs_may_project", False)) if may is None else may
        except (ValueError, TypeError):
            self.fault(
                f"the graph attribute outputs_may_project is {short(graph['outputs_may_project'])}; expected true or false."
            )
        return schedule, ticks or 1, bool(may)

    def number(self, key: str) -> float:
        """A graph attribute that is a number, 0 where it is not given."""
        try:
            return as_finite(self.table.graph.get(key, 0.0))
        except (ValueError, TypeError):
            self.fault(f"the graph attribute {key} is {short(self.table.graph.get(key))}; expected a finite number.")
            return 0.0

    # ---- roles

    def role(
        self,
        role: str,
        rule: Selector,
        given: list[str] | None,
        index: dict[str, int],
        senders: np.ndarray,
        receivers: np.ndarray,
    ) -> np.ndarray:
        """Neuron indices of the inputs or outputs, by rule, by the file's own list or by the attribute `role`."""
        if rule is None and given is not None:
            rule = given
        if rule is None:
            return self.marked(role)
        if isinstance(rule, Mapping):
            return self.matching(role, rule)
        if isinstance(rule, str):
            if rule in ("sources", "sinks"):
                into, outof = np.bincount(receivers, minlength=self.n) > 0, np.bincount(senders, minlength=self.n) > 0
                found = np.flatnonzero(outof & ~into if rule == "sources" else into & ~outof)
                if not len(found):
                    self.fault(f"{role}s: no neuron is one of the {rule} of this graph.")
                return found
            if "=" in rule:
                key, value = rule.split("=", 1)
                return self.matching(role, {key: value})
            self.fault(f"{role}s: got {rule!r}; expected a list of names, sources, sinks, or ATTRIBUTE=VALUE.")
            return np.empty(0, np.int64)
        found = []
        for name in rule:
            if str(name) in index:
                found.append(index[str(name)])
            else:
                self.fault(f"{role}s: there is no neuron {str(name)!r}{suggestion(str(name), index)}")
                break
        return np.array(found, np.int64)

    def matching(self, role: str, rule: Mapping[str, Any]) -> np.ndarray:
        found = np.ones(self.n, bool)
        for key, wanted in rule.items():
            column = self.table.nodes.get(key, Column())
            has = np.zeros(self.n, bool)
            has[[i for i, value in zip(column.at, column.values) if value == wanted or str(value) == str(wanted)]] = True
            found &= has
        if not found.any():
            said = " and ".join(f"{key} = {value}" for key, value in rule.items())
            seen = {str(v) for key in rule for v in self.table.nodes.get(key, Column()).values[:10_000]}
            some = f"; seen: {', '.join(sorted(seen)[:8])}" if seen else "; no neuron has that attribute"
            self.fault(f"{role}s: no neuron has {said}{some}.")
        return np.flatnonzero(found)

    def marked(self, role: str) -> np.ndarray:
        column = self.table.nodes.get("role", Column())
        found = [i for i, value in zip(column.at, column.values) if value == role]
        strange = [(i, v) for i, v in zip(column.at, column.values) if v not in ("input", "output", "hidden", "", None)]
        if strange and role == "input":
            i, value = strange[0]
            self.fault(f"{self.name('node', i)}: role is {short(value)}; allowed: input, output, hidden.", "node", i)
        elif not found and not strange:
            self.fault(
                f"no neuron has the role {role!r}: give {role}s (in Python, or by --{role}s), as names or by a rule, "
                f"{'sources' if role == 'input' else 'sinks'} or ATTRIBUTE=VALUE."
            )
        position = self.table.nodes.get("position")
        if position is None:
            return np.array(found, np.int64)
        at, values = self.values("node", "position", as_int, "an integer")
        rank = dict(zip(at, values))
        return np.array(sorted(found, key=lambda i: rank.get(i, 2**62)), np.int64)


def topology_of(table: Table, options: Options) -> Topology:
    """The topology that a table describes.

    Raises:
      SpecError: (for files, with lines) or TopologyError: with every fault found.
    """
    return _Reading(table, options).topology()
