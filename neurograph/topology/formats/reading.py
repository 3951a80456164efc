"""Columns of a file or a networkx graph, read as a topology: every fault with its place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neurograph.documents import suggestion
from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import GRAPH_KEYS, Column, Table
from neurograph.topology.formats.options import Keys, Options
from neurograph.topology.formats.parsing import as_bool, as_finite, as_int, as_label, numbered, short
from neurograph.topology.graph import Topology
from neurograph.topology.validate import Flaw, InvalidGraph, name_flaws, settling

__all__ = ["role_names", "topology_of"]


class _Reading:
    """Turns a table into a topology, gathering every fault on the way."""

    def __init__(self, table: Table, options: Options):
        self.table, self.options = table, options
        self.faults: list[tuple[str, str, int]] = []  # message, kind, index
        self.n = len(table.names)
        self.graph: dict[str, Any] = {}  # graph attributes that are given, by our names
        keys = Keys(GRAPH_KEYS)
        for name, value in table.graph.items():
            key = keys[name]
            if key is None or value is None or (isinstance(value, str) and not value):
                continue
            if key in self.graph:
                self.fault(f"the graph attribute {key} is given twice, in two cases of letters.")
            self.graph[key] = value

    def fault(self, message: str, kind: str = "", index: int = -1) -> None:
        self.faults.append((message, kind, index))

    def stop(self) -> None:
        """Raises the faults found, with the file's lines if there is a file."""
        if not self.faults:
            return
        if not self.table.path:
            raise InvalidGraph([Flaw(message) for message, _, _ in self.faults])
        raise SpecError(
            [Fault(text, self.table.path, self.table.locate(kind, i) if kind else None) for text, kind, i in self.faults]
        )

    def name(self, kind: str, i: int) -> str:
        names = self.table.names
        if kind == "node":
            return f"neuron {short(names[i])}"
        source, target = (
            names[ends[i]] if isinstance(ends, np.ndarray) else ends[i] for ends in (self.table.sources, self.table.targets)
        )
        return f"synapse {short(source)} -> {short(target)}"

    # ---- columns

    def given(self, kind: str, key: str, blank: bool = False) -> Column:
        """An attribute where it is given: None and empty text are not; with `blank`, text of blanks alone is not, either."""
        column = (self.table.nodes if kind == "node" else self.table.edges).get(key)
        if column is None:
            return Column()
        texts = [value for value in column.values if type(value) is str]
        absent = type(None) in set(map(type, column.values)) or "" in texts or (blank and any(map(str.isspace, texts)))
        if not absent:
            return column
        keep = [
            i
            for i, value in enumerate(column.values)
            if value is not None and not (type(value) is str and not (value.strip() if blank else value))
        ]
        return Column([column.at[i] for i in keep], [column.values[i] for i in keep])

    def values(self, kind: str, key: str, parse: Callable[[Any], Any], expected: str) -> tuple[list[int], list[Any]]:
        """Places and parsed values of an attribute; the first three wrong ones are faults."""
        column = self.given(kind, key, blank=parse is not as_label)
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
        if isinstance(column.values, np.ndarray):
            array = column.values.astype(np.float64)
            return (column.at, array) if np.isfinite(array).all() else self.values(kind, key, as_finite, "a finite number")
        types = set(map(type, column.values))
        if types <= {float, int} or (types == {str} and "_" not in "".join(column.values)):
            try:
                array = np.array(column.values, np.float64)
            except (ValueError, OverflowError):
                array = np.array([np.nan])
            if np.isfinite(array).all():
                return column.at, array
        return self.values(kind, key, as_finite, "a finite number")

    def labels(self, kind: str, key: str) -> tuple[list[int], list[str]]:
        """Like `values` for text or whole numbers, as text; 1 and "1" of one column would be the same, which is a fault."""
        at, labels = self.values(kind, key, as_label, "text or an integer")
        column = self.given(kind, key)
        if at and len({isinstance(value, str) for value in column.values}) == 2:
            kinds: dict[str, bool] = {}
            for i, label, value in zip(at, labels, column.values):
                if kinds.setdefault(label, isinstance(value, str)) != isinstance(value, str):
                    self.fault(f"{self.name(kind, i)}: {key} {label} is a number here and text elsewhere.", kind, i)
                    break
        return at, labels

    # ---- the topology

    def role_names(self, role: str) -> list[str]:
        """The names of the inputs or outputs; raises TopologyError with every fault found."""
        index = {name: i for i, name in enumerate(self.table.names)}
        ends = [self.ends(index, names, end) for names, end in ((self.table.sources, "source"), (self.table.targets, "target"))]
        rule, given = getattr(self.options, f"{role}s"), getattr(self.table, f"{role}s")
        found = self.role(role, rule, given, index, *ends)
        self.stop()
        return [self.table.names[i] for i in found]

    def topology(self) -> Topology:
        """The topology; raises SpecError or TopologyError with every fault found."""
        table = self.table
        self.options.limits.check(neurons=self.n, synapses=len(table.sources), what=table.path or "the graph")
        for flaw in name_flaws(table.names):  # first, because other messages use these names
            self.fault(flaw.message, "node", flaw.index)
        self.stop()
        index = {name: i for i, name in enumerate(table.names)}
        senders, receivers = self.ends(index, table.sources, "source"), self.ends(index, table.targets, "target")
        synapses = {"senders": senders, "receivers": receivers, **self.synapses(len(senders))}
        inputs = self.role("input", self.options.inputs, table.inputs, index, senders, receivers)
        outputs = self.role("output", self.options.outputs, table.outputs, index, senders, receivers)
        neurons = self.neurons(inputs)
        order = self.order(len(senders))
        settings = self.settings()
        self.stop()
        synapses = {name: array[order] for name, array in synapses.items()}
        try:
            return Topology(tuple(table.names), inputs=inputs, outputs=outputs, **synapses, **neurons, **settings)
        except InvalidGraph as error:
            if not table.path:
                raise
            raise self.located(error, np.arange(len(senders))[order]) from error

    def synapses(self, count: int) -> dict[str, np.ndarray]:
        """The attributes of synapses: `fixed`, `weight` and `group`, [E] each."""
        fixed, weight, group = np.zeros(count, bool), np.full(count, np.nan), np.full(count, -1, np.int64)
        at, values = self.values("edge", "fixed", as_bool, "true or false")
        fixed[at] = values
        if key := self.options.weight:
            at, values = self.numbers("edge", key)
            weight[at] = values if self.options.signs == "kept" else np.abs(values)
            if key != "weight" and not len(at) and not self.faults:
                self.fault(f"weight: no synapse has the attribute {key!r}.")
        at, values = self.labels("edge", "group")
        group[at] = numbered(values)
        return {"fixed": fixed, "weight": weight, "group": group}

    def neurons(self, inputs: np.ndarray) -> dict[str, Any]:
        """The attributes of neurons, [n] each, and the populations."""
        bias_group, population = np.full(self.n, -1, np.int64), np.full(self.n, -1, np.int64)
        at, values = self.labels("node", "bias_group")
        bias_group[at] = numbered(values)
        shapes = self.populations()
        at, values = self.labels("node", "population")
        names = list(shapes) if shapes else list(dict.fromkeys(values))
        number = {name: i for i, name in enumerate(names)}
        for i in [i for i, name in zip(at, values) if name not in number][:3]:
            self.fault(f"{self.name('node', i)}: its population is not in the graph's `populations`.", "node", i)
        population[at] = [number.get(name, -1) for name in values]
        bias = np.ones(self.n, bool)
        bias[inputs] = False
        at, values = self.values("node", "bias", as_bool, "true or false")
        bias[at] = values
        return {
            "bias": bias,
            "bias_group": bias_group,
            "population": population,
            "population_names": tuple(names),
            "population_shapes": tuple(shapes.values()),
        }

    def located(self, error: InvalidGraph, order: np.ndarray) -> SpecError:
        """The faults of a graph with their lines in the file; `order` are the file's places of the synapses."""
        place = {"neuron": "node", "synapse": "edge"}
        for problem in error.problems:
            kind = place.get(problem.kind, "")
            self.fault(problem.message, kind, int(order[problem.index]) if kind == "edge" else problem.index)
        try:
            self.stop()
        except SpecError as found:
            return found
        raise error

    def ends(self, index: dict[str, int], names: Any, end: str) -> np.ndarray:
        """Neuron indices of the names at one end of the synapses, [E] int32."""
        if isinstance(names, np.ndarray):
            return names
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
        text = self.graph.get("populations")
        if text is None:
            return {}
        try:
            value = json.loads(text) if isinstance(text, str) else text
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, Mapping) or not all(
            isinstance(name, str)
            and isinstance(shape, (list, tuple))
            and shape
            and all(type(size) is int and 0 < size < 2**31 for size in shape)
            for name, shape in value.items()
        ):
            self.fault(f'the graph attribute populations is {short(text)}; expected JSON such as {{"hidden": [8, 8]}}.')
            return {}
        return {name: tuple(shape) for name, shape in value.items()}

    def order(self, e: int) -> np.ndarray | slice:
        """Synapse order: by the attribute `index` where it is given, else as in the file."""
        at, values = self.values("edge", "index", as_int, "an integer")
        if not at:
            return slice(None)
        if len(at) < e or len(set(values)) < e:
            self.fault("the synapses' attribute index orders them: expected one for every synapse, each another.")
            return slice(None)
        rank = np.empty(e, np.int64)
        rank[at] = values
        return np.argsort(rank, kind="stable")

    def settings(self) -> dict[str, Any]:
        """The attributes of the whole graph; the caller's options come before the file's attributes."""
        graph, options = self.graph, self.options
        found: dict[str, Any] = {"schedule": options.schedule or str(graph.get("schedule", "levels"))}
        found["ticks"] = 1 if options.ticks is None else options.ticks
        if options.ticks is None and options.schedule != "levels":
            found["ticks"] = self.setting("ticks", _tick_number, "an integer, or settle", 1)
        for key in ("tolerance", "damping"):
            found[key] = 0.0 if options.schedule == "levels" else self.setting(key, as_finite, "a finite number", 0.0)
        found["ticks"], found["tolerance"] = settling(found["ticks"], found["tolerance"])
        found["outputs_may_project"] = options.outputs_may_project
        if options.outputs_may_project is None:
            found["outputs_may_project"] = self.setting("outputs_may_project", as_bool, "true or false", False)
        return found | {key: self.setting(key, as_label, "text", "") for key in ("title", "description")}

    def setting(self, key: str, parse: Callable[[Any], Any], expected: str, default: Any) -> Any:
        """One parsed graph attribute; a wrong one is a fault."""
        if key not in self.graph:
            return default
        try:
            return parse(self.graph[key])
        except (ValueError, TypeError, OverflowError):
            self.fault(f"the graph attribute {key} is {short(self.graph[key])}; expected {expected}.")
            return default

    # ---- roles

    def role(
        self,
        role: str,
        rule: Any,
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
            self.fault(f"{role}s: got {short(rule)}; expected a list of names, sources, sinks, or ATTRIBUTE=VALUE.")
            return np.empty(0, np.int64)
        found = []
        for name in rule:
            if str(name) in index:
                found.append(index[str(name)])
            else:
                self.fault(f"{role}s: there is no neuron {short(str(name))}{suggestion(str(name), index)}")
                break
        return np.array(found, np.int64)

    def matching(self, role: str, rule: Mapping[str, Any]) -> np.ndarray:
        """Neuron indices of those whose attributes have the values of `rule`, compared as text."""
        found = np.ones(self.n, bool)
        for key, wanted in rule.items():
            column = self.given("node", key)
            has = np.zeros(self.n, bool)
            has[[i for i, value in zip(column.at, column.values) if str(value) == str(wanted)]] = True
            found &= has
        if not found.any():
            said = " and ".join(f"{short(key)[1:-1]} = {short(str(value))[1:-1]}" for key, value in rule.items())
            seen = {short(str(v))[1:-1] for key in rule for v in self.given("node", key).values[:10_000]}
            some = f"; seen: {', '.join(sorted(seen)[:8])}" if seen else "; no neuron has that attribute"
            self.fault(f"{role}s: no neuron has {said}{some}.")
        return np.flatnonzero(found)

    def marked(self, role: str) -> np.ndarray:
        """Neuron indices of those whose attribute `role` is `role`, in the order of the attribute `position`."""
        column = self.given("node", "role")
        found = [i for i, value in zip(column.at, column.values) if isinstance(value, str) and value == role]
        strange = [
            (i, v) for i, v in zip(column.at, column.values) if not isinstance(v, str) or v not in ("input", "output", "hidden")
        ]
        if strange:
            i, value = strange[0]
            message = f"{self.name('node', i)}: role is {short(value)}; allowed: input, output, hidden."
            if (message, "node", i) not in self.faults:
                self.fault(message, "node", i)
        elif not found:
            self.fault(
                f"no neuron has the role {role!r}: give {role}s (in Python, or by --{role}s), as names or by a rule, "
                f"{'sources' if role == 'input' else 'sinks'} or ATTRIBUTE=VALUE."
            )
        rank = dict(zip(*self.values("node", "position", as_int, "an integer"))) if "position" in self.table.nodes else {}
        places = [rank[i] for i in found if i in rank]
        if places and (len(places) < len(found) or len(set(places)) < len(found)):
            self.fault(f"the attribute position orders the {role}s: expected one for every {role}, each another.")
        return np.array(sorted(found, key=lambda i: rank.get(i, 0)), np.int64)


def topology_of(table: Table, options: Options) -> Topology:
    """The topology that a table describes.

    Raises:
      SpecError: (for files, with lines) or TopologyError: with every fault found.
    """
    return _Reading(table, options).topology()


def role_names(table: Table, options: Options, role: str) -> list[str]:
    """The names of a table's inputs or outputs, in their order; `role` is "input" or "output".

    Raises:
      TopologyError: nothing says who they are, or a name is that of no neuron.
    """
    return _Reading(table, options).role_names(role)


def _tick_number(value: Any) -> int | str:
    return value if value == "settle" else as_int(value)
