"""GML, read by one regular expression: lists `key [ ... ]` of pairs `key value`."""

from __future__ import annotations

import html
import re
from typing import Any, NoReturn

from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import GRAPH_KEYS, Column, Table
from neurograph.topology.formats.options import Keys, Options
from neurograph.topology.formats.parsing import short

__all__ = ["read_gml"]

MAX_DEPTH = 60

# One match is a whole plain edge (the bulk of a large file), `key value`, `key [`, `]` or a comment. Quantifiers are possessive,
# so that no text makes it slow.
_GML = re.compile(
    r"\s*+(?:edge\s*+\[\s*+source\s++(-?\d++)\s++target\s++(-?\d++)\s*+(?:weight\s++([-+.\d][-+.\w]*+)\s*+)?\]"
    r'|([A-Za-z]\w*+)\s*+("[^"]*+"|\[|[-+.\w]++)|(\])|#[^\n]*+(?=\n|\Z))\s*+'
)
_ENTITY = re.compile(r"&#?\w+;")


def read_gml(text: str, path: str, options: Options) -> Table:
    """Returns a GML file as a table; neurons are called by their label, or by their id if there are no labels.

    Raises:
      SpecError: with the line: not GML, undirected, nodes without id, edges without ends, two values where one is needed.
    """
    return _Gml(text, path, options).read()


class _Gml:
    """Reads one file: a handler per element, which are pairs of key and value and the two ends of a list."""

    def __init__(self, text: str, path: str, options: Options):
        self.text, self.path, self.options = text, path, options
        self.table = Table([], [], [], path=path)
        self.wanted = {"node": options.node_keys(), "edge": options.edge_keys(), "graph": Keys(GRAPH_KEYS)}
        self.needed = {"node": ("id", "label"), "edge": ("source", "target"), "graph": ("directed",)}
        self.places: dict[str, list[int]] = {"node": [], "edge": []}
        self.names: dict[str, str] = {}  # id -> name
        self.stack: list[str] = []
        self.current: dict[str, str] = {}  # what the open node or edge says
        self.here = 0  # where it begins
        self.directed: str | None = None
        self.seen = False

    def fail(self, message: str, place: int) -> NoReturn:
        raise SpecError([Fault(message, self.path, self.line(place))])

    def line(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1

    def read(self) -> Table:
        """Returns the whole file as a table."""
        text, table, stack, find, position = self.text, self.table, self.stack, _GML.match, 0
        edges, plain = self.places["edge"], Column()  # weights of plain edges
        weighted = self.options.weight == "weight"
        while match := find(text, position):
            position = match.end()
            source, target, weight, key, value, closing = match.groups()
            if source is not None:
                if stack != ["graph"]:
                    self.fail("an edge outside of graph [ ... ].", match.start(1))
                edges.append(match.start(1))
                if weight is not None and weighted:
                    plain.at.append(len(table.sources))
                    plain.values.append(weight)
                table.sources.append(source)
                table.targets.append(target)
            elif value == "[":
                self.open(key, match.start(4))
            elif key is not None:
                self.pair(key, value, match.start(4))
            elif closing is not None:
                self.close(match.start(6))
        self.finish(position)
        if plain.at:
            other = table.edges.get("weight", Column())
            table.edges["weight"] = Column(plain.at + other.at, plain.values + other.values)
        for ends in (table.sources, table.targets):
            try:
                ends[:] = map(self.names.__getitem__, ends)
            except KeyError:
                ends[:] = [self.names.get(identifier, f"id {identifier}") for identifier in ends]
        table.locate = lambda kind, i: self.line(self.places[kind][i]) if 0 <= i < len(self.places[kind]) else None
        return table

    def looked_at(self, kind: str, key: str) -> bool:
        """Whether anything depends on a key of a node, an edge or the graph; such a key has one plain value."""
        return key in self.needed[kind] or self.wanted[kind][key] is not None

    def level(self) -> str:
        """The element that a key belongs to: "graph", "node", "edge", or "" for those that do not matter."""
        if self.stack[:1] != ["graph"] or len(self.stack) > 2:
            return ""
        return self.stack[-1] if self.stack[-1] in self.wanted else ""

    def open(self, key: str, place: int) -> None:
        """Enters a list `key [`."""
        level = self.level()
        if level and key not in ("node", "edge") and self.looked_at(level, key):
            self.fail(f"{key} of the {level} is a list; expected one value.", place)
        self.stack.append(key)
        if len(self.stack) > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} lists.", place)
        if self.stack == ["graph"]:
            if self.seen:
                self.fail("a second graph; one file holds one graph.", place)
            self.seen = True
        elif self.stack in (["graph", "node"], ["graph", "edge"]):
            self.current, self.here = {}, place

    def pair(self, key: str, value: str, place: int) -> None:
        """Takes in `key value`. A key given several times is a list: no matter, unless it is looked at."""
        level = self.level()
        if not level:
            return
        if level == "graph":
            known = self.table.graph if key != "directed" else {key: self.directed} if self.directed is not None else {}
        else:
            known = self.current
        if key in known and self.looked_at(level, key):
            self.fail(f"key {key!r} is given twice in one {level}.", place)
        if level != "graph":
            self.current[key] = value
        elif key == "directed":
            self.directed = value
        else:
            self.table.graph[key] = _value(value)

    def close(self, place: int) -> None:
        """Leaves a list."""
        if not self.stack:
            self.fail("a ] without its [.", place)
        kind = self.stack.pop()
        if self.stack != ["graph"]:
            return
        if kind == "edge":
            self.edge()
        elif kind == "node":
            self.node()
        if not len(self.table.sources) % 65536:
            self.options.limits.check(neurons=len(self.table.names), synapses=len(self.table.sources), what=self.path)

    def edge(self) -> None:
        """Adds the edge that ends here."""
        current, table = self.current, self.table
        try:
            table.sources.append(current["source"])
            table.targets.append(current["target"])
        except KeyError as error:
            self.fail(f"an edge without {error.args[0]}.", self.here)
        self.places["edge"].append(self.here)
        if len(current) > 2:
            self.put("edge", table.edges, len(table.sources) - 1)

    def node(self) -> None:
        """Adds the node that ends here."""
        current, table = self.current, self.table
        if "id" not in current:
            self.fail("a node without id.", self.here)
        identifier = current["id"]
        if identifier in self.names:
            self.fail(f"the id {short(identifier)} is given twice.", self.here)
        name = self.names[identifier] = str(_value(current.get("label", identifier)))
        table.names.append(name)
        self.places["node"].append(self.here)
        self.put("node", table.nodes, len(table.names) - 1)

    def put(self, kind: str, columns: dict[str, Column], at: int) -> None:
        """Stores the attributes of the open element that are looked at."""
        wanted = self.wanted[kind]
        for key, value in self.current.items():
            name = wanted[key]
            if name is not None and not columns.setdefault(name, Column()).put(at, _value(value)):
                self.fail(f"{name} is given twice in one {kind}, in two cases of letters.", self.here)

    def finish(self, position: int) -> None:
        """Checks that the whole text was read and is a directed graph."""
        text = self.text
        if position != len(text):
            rest = text[position : position + 30].strip().split("\n")[0]
            blanks = len(text[position:]) - len(text[position:].lstrip())
            self.fail(f"not valid GML near {rest!r}.", min(position + blanks, len(text)))
        if self.stack:
            self.fail(f"the file ends inside {self.stack[-1]} [.", len(text))
        if not self.seen:
            self.fail("not GML: there is no graph [ ... ] in it.", 0)
        if self.directed != "1":
            said = short(self.directed)[1:-1] if self.directed is not None else "not given, which means 0"
            self.fail(f"directed is {said}; only directed graphs (directed 1) can be read.", 0)


def _value(value: str) -> Any:
    """The text of a value, without its quotes and with its entities replaced."""
    if value[0] != '"':
        return value
    value = value[1:-1]
    return _ENTITY.sub(lambda match: html.unescape(match[0]), value) if "&" in value else value
