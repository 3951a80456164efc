"""JSON node-link files, as networkx and d3 write them."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from neurograph.documents import parse_yaml
from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import Column, Table
from neurograph.topology.formats.options import Keys, Options

__all__ = ["read_json"]

_LARGEST = 20_000_000  # characters; lines of faults are looked for in files up to this size


def read_json(text: str, path: str, options: Options) -> Table:
    """Returns a JSON node-link file as a table; the synapses stand under `links` or `edges`.

    Lists as names are what networkx writes of tuples. NaN and null are read: they matter only where a value is looked at.

    Raises:
      SpecError: with the line where it is known: not JSON, duplicate keys, undirected, nodes without id, links without ends.
    """
    return _NodeLink(text, path, options).read()


class _NodeLink:
    """Reads one file: its parts from the outside in."""

    def __init__(self, text: str, path: str, options: Options):
        self.text, self.path, self.options = text, path, options
        self.tree: list[Any] = []  # the document with lines, made when a line is asked for

    def place(self, *at: Any) -> int | None:
        """Returns the line of a value: JSON is YAML, so its tree has it; None in files too large for that."""
        if not self.tree:
            try:
                self.tree.append(parse_yaml(self.text, self.path) if len(self.text) < _LARGEST else None)
            except SpecError:
                self.tree.append(None)
        return self.tree[0].find(at)[0] if self.tree[0] is not None else None

    def fail(self, message: str, *at: Any) -> NoReturn:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).lstrip(".")
        raise SpecError([Fault(message, self.path, self.place(*at), where=where)])

    def parse(self) -> Any:
        """Returns the document as Python data; a key given twice in one mapping is a fault."""
        twice: list[str] = []

        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            if len(found) != len(pairs):
                keys = [key for key, _ in pairs]
                twice.append(next(key for key in keys if keys.count(key) > 1))
            return found

        try:
            data = json.loads(self.text, object_pairs_hook=unique)
        except json.JSONDecodeError as error:
            message = f"not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}."
            raise SpecError([Fault(message, self.path, error.lineno, error.colno)]) from error
        except RecursionError as error:
            raise SpecError([Fault("not a graph: nested too deep.", self.path)]) from error
        except ValueError as error:
            raise SpecError([Fault(f"not valid JSON: {error}.", self.path)]) from error
        if twice:
            if len(self.text) < _LARGEST:
                parse_yaml(self.text, self.path)  # the same fault, with its lines
            raise SpecError([Fault(f"key {twice[0]!r} is given twice.", self.path)])
        return data

    def read(self) -> Table:
        """Returns the whole file as a table."""
        data = self.parse()
        if not isinstance(data, dict):
            self.fail("expected a mapping with nodes and links (or edges).")
        key = "links" if "links" in data else "edges"
        if "links" in data and "edges" in data:
            self.fail("both links and edges are given; expected one of them.")
        for name in ("nodes", key):
            if name not in data:
                self.fail(f"missing the list {name!r}.")
            if not isinstance(data[name], list):
                self.fail(f"{name} is no list.", name)
        if data.get("directed") not in (None, True):
            self.fail("directed is not true; only directed graphs can be read.", "directed")
        self.options.limits.check(neurons=len(data["nodes"]), synapses=len(data[key]), what=self.path)
        table = Table([], [], [], graph=self.attributes(data.get("graph")), path=self.path)
        for i, node in enumerate(data["nodes"]):
            name = _name(node.get("id")) if isinstance(node, dict) else None
            if name is None:
                self.fail("expected a mapping with an id (text or a number).", "nodes", i)
            table.names.append(name)
        self.columns(table.nodes, data["nodes"], self.options.node_keys(), "nodes")
        self.links(table, data[key], key)
        table.locate = lambda kind, index: self.place("nodes" if kind == "node" else key, index)
        return table

    def attributes(self, graph: Any) -> dict[str, Any]:
        """Returns the attributes of the graph: a mapping, or in an old form a list of pairs."""
        if graph is None:
            return {}
        if isinstance(graph, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in graph):
            if len({str(name) for name, _ in graph}) < len(graph):
                self.fail("an attribute is given twice.", "graph")
            return {str(name): value for name, value in graph}
        if not isinstance(graph, dict):
            self.fail("expected a mapping with the attributes of the graph.", "graph")
        return graph

    def links(self, table: Table, links: list[Any], key: str) -> None:
        """Adds the synapses and their attributes."""
        for i, link in enumerate(links):
            ends = (_name(link.get("source")), _name(link.get("target"))) if isinstance(link, dict) else (None, None)
            if ends[0] is None or ends[1] is None:
                self.fail("expected a mapping with source and target (text or numbers).", key, i)
            if link.get("directed") not in (None, True):
                self.fail("an undirected link; every synapse has a direction.", key, i, "directed")
            table.sources.append(ends[0])
            table.targets.append(ends[1])
        self.columns(table.edges, links, self.options.edge_keys(), key)

    def columns(self, columns: dict[str, Column], elements: list[dict[str, Any]], wanted: Keys, part: str) -> None:
        """Stores the attributes that are looked at."""
        for i, element in enumerate(elements):
            for key, value in element.items():
                name = wanted[key]
                if name is not None and not columns.setdefault(name, Column()).put(i, value):
                    self.fail(f"{name} is given twice, in two cases of letters.", part, i)


def _name(value: Any) -> str | None:
    """Returns the name of a neuron: text, a finite number, or a list of such, which stands for a tuple; None if it is no name."""
    if isinstance(value, list):
        return str(_as_tuple(value)) if value and all(_name(part) is not None for part in value) else None
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))):
        return None
    return str(value)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
