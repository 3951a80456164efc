"""GraphML and GEXF, read as a stream by expat: no tree in memory, no entity ever expanded.

A document type declaration is refused before anything in it is read: it is where entity definitions, and with them "billion
laughs" and external files, come from. GraphML and GEXF need none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from neurograph.errors import Fault, SpecError
from neurograph.topology.table import Column, Options, Table

__all__ = ["read_gexf", "read_graphml"]

MAX_DEPTH = 60
_CHUNK = 1 << 18


class _Stream:
    """Runs expat over a file and calls `start(tag, attributes)`, `end(tag)` and, inside `self.capture`, gathers text."""

    def __init__(self, path: Path, options: Options, lines: bool):
        self.path, self.options = path, options
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.lines: dict[str, list[int]] | None = {"node": [], "edge": []} if lines else None
        self.text: list[str] | None = None  # text is kept only while this is a list
        self.depth = 0
        self.table = Table([], [], [], path=str(path))
        self.defaults: dict[tuple[str, str], str] = {}

    def fail(self, message: str) -> None:
        raise SpecError([Fault(message, str(self.path), self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)])

    def run(self, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None]) -> None:
        """Parses the whole file.

        Raises:
          SpecError: not well-formed, a document type declaration, nested too deep, or over the limits.
        """
        parser, limits = self.parser, self.options.limits

        def opened(tag: str, attributes: dict[str, str]) -> None:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                self.fail(f"nested deeper than {MAX_DEPTH} elements.")
            start(tag.rpartition(":")[2] if ":" in tag else tag, attributes)

        def closed(tag: str) -> None:
            self.depth -= 1
            end(tag.rpartition(":")[2] if ":" in tag else tag)

        def characters(data: str) -> None:
            if self.text is not None:
                self.text.append(data)

        def refuse(*_: Any) -> None:
            self.fail("document type and entity declarations are not allowed (a graph needs none).")

        parser.StartElementHandler, parser.EndElementHandler = opened, closed
        parser.CharacterDataHandler = characters
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    parser.Parse(chunk, False)
                    limits.check(neurons=len(self.table.names), synapses=len(self.table.sources), what=str(self.path))
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            what = expat.errors.messages.get(error.code, str(error))
            raise SpecError([Fault(f"not valid XML: {what}.", str(self.path), error.lineno, error.offset + 1)]) from error
        except (UnicodeError, LookupError) as error:
            raise SpecError([Fault(f"not valid XML: {error}.", str(self.path), parser.CurrentLineNumber)]) from error

    def require(self, attributes: dict[str, str], key: str, element: str) -> str:
        if key not in attributes:
            self.fail(f"<{element}> has no attribute {key}.")
        return attributes[key]

    def note(self, kind: str) -> None:
        if self.lines is not None:
            self.lines[kind].append(self.parser.CurrentLineNumber)

    def put(self, kind: str, key: str, value: str) -> None:
        """Stores an attribute of the element that was opened last."""
        table = self.table
        if kind == "graph":
            table.graph[key] = value
            return
        columns, count = (table.nodes, len(table.names)) if kind == "node" else (table.edges, len(table.sources))
        column = columns.setdefault(key, Column())
        if column.at and column.at[-1] == count - 1:
            self.fail(f"the attribute {key} is given twice.")
        column.at.append(count - 1)
        column.values.append(value)

    def fill(self) -> None:
        """Gives attributes with a default to the elements that lack them."""
        for (kind, key), value in self.defaults.items():
            columns, count = (
                (self.table.nodes, len(self.table.names)) if kind == "node" else (self.table.edges, len(self.table.sources))
            )
            column = columns.setdefault(key, Column())
            have = dict(zip(column.at, column.values))
            column.at, column.values = list(range(count)), [have.get(i, value) for i in range(count)]


def _with_lines(read: Callable[[Path, Options, bool], _Stream], path: Path, options: Options) -> Table:
    """Reads without line numbers, which cost time; a table that turns out faulty reads again to find them."""
    table = read(path, options, False).table
    found: list[dict[str, list[int]]] = []

    def locate(kind: str, index: int) -> int | None:
        if not found:
            found.append(read(path, options, True).lines or {})
        lines = found[0].get(kind, [])
        return lines[index] if 0 <= index < len(lines) else None

    table.locate = locate
    return table


def read_graphml(path: Path, options: Options) -> Table:
    """A GraphML file as a table.

    Raises:
      SpecError: with line and column: not XML, not GraphML, undirected, nested graphs, hyperedges or ports.
    """
    return _with_lines(_graphml, path, options)


def _graphml(path: Path, options: Options, lines: bool) -> _Stream:
    stream = _Stream(path, options, lines)
    table, wanted = stream.table, {"node": options.node_keys(), "edge": options.edge_keys()}
    names, sources, targets = table.names, table.sources, table.targets
    keys: dict[tuple[str, str], str] = {}  # (node | edge | graph, key id) -> attribute name, for those that are looked at
    same: dict[str, str] = {}  # one string object per name
    open_: dict[str, Any] = {"element": None, "key": None, "declared": None, "graphs": 0, "root": False}

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "edge":
            if open_["element"] != "graph":
                stream.fail("<edge> outside of <graph>.")
            if attributes.get("directed", "true") not in ("true", "1"):
                stream.fail("an undirected edge; every synapse has a direction.")
            open_["element"] = "edge"
            source, target = stream.require(attributes, "source", "edge"), stream.require(attributes, "target", "edge")
            sources.append(same.setdefault(source, source))
            targets.append(same.setdefault(target, target))
            stream.note("edge")
        elif tag == "data":
            key = keys.get((open_["element"] or "", attributes.get("key", "")))
            if key is not None:
                open_["key"], stream.text = key, []
        elif tag == "node":
            if open_["element"] != "graph":
                stream.fail("<node> outside of <graph>; nested graphs cannot be read.")
            open_["element"] = "node"
            name = stream.require(attributes, "id", "node")
            names.append(same.setdefault(name, name))
            stream.note("node")
        elif tag == "key":
            declare(attributes)
        elif tag == "default":
            stream.text = []
        elif tag == "graph":
            open_["graphs"] += 1
            if open_["graphs"] > 1:
                stream.fail("a second <graph>; one file holds one graph.")
            if attributes.get("edgedefault", "directed") != "directed":
                stream.fail(f"edgedefault is {attributes['edgedefault']!r}; only directed graphs can be read.")
            open_["element"] = "graph"
        elif tag in ("hyperedge", "port", "locator"):
            stream.fail(f"<{tag}> cannot be read.")
        elif tag == "graphml":
            open_["root"] = True
        elif not open_["root"]:
            stream.fail(f"<{tag}> is not GraphML; expected <graphml>.")

    def declare(attributes: dict[str, str]) -> None:
        identifier = stream.require(attributes, "id", "key")
        name = attributes.get("attr.name", identifier)
        domain = attributes.get("for", "all")
        open_["declared"] = [kind for kind in ("node", "edge", "graph") if domain in (kind, "all")], name
        for kind in open_["declared"][0]:
            if kind == "graph" or name in wanted[kind]:
                keys[kind, identifier] = name

    def end(tag: str) -> None:
        if tag == "data":
            if stream.text is not None:
                stream.put(open_["element"] or "graph", open_["key"], "".join(stream.text))
                stream.text = None
        elif tag in ("edge", "node"):
            open_["element"] = "graph"
        elif tag == "graph":
            open_["element"] = None
        elif tag == "default" and stream.text is not None and open_["declared"]:
            for kind in open_["declared"][0]:
                if kind != "graph" and open_["declared"][1] in wanted[kind]:
                    stream.defaults[kind, open_["declared"][1]] = "".join(stream.text)
            stream.text = None
        elif tag == "key":
            open_["declared"] = None

    stream.run(start, end)
    if not open_["graphs"]:
        raise SpecError([Fault("there is no <graph> in it.", str(path))])
    stream.fill()
    return stream


def read_gexf(path: Path, options: Options) -> Table:
    """A GEXF file as a table; neurons are called by their id. Our own graph attributes stand as JSON in <meta><description>.

    Raises:
      SpecError: with line and column: not XML, not GEXF, undirected, nested nodes.
    """
    return _with_lines(_gexf, path, options)


def _gexf(path: Path, options: Options, lines: bool) -> _Stream:
    stream = _Stream(path, options, lines)
    table, wanted = stream.table, {"node": options.node_keys(), "edge": options.edge_keys()}
    titles: dict[tuple[str, str], str] = {}
    same: dict[str, str] = {}
    open_: dict[str, Any] = {
        "element": None,
        "class": None,
        "declared": None,
        "graph": False,
        "root": False,
        "meta": False,
        "default": "",
    }

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "edge":
            kind = attributes.get("type", open_["default"])
            if kind != "directed":
                stream.fail(f"an edge of type {kind!r}; every synapse has a direction.")
            open_["element"] = "edge"
            source, target = stream.require(attributes, "source", "edge"), stream.require(attributes, "target", "edge")
            table.sources.append(same.setdefault(source, source))
            table.targets.append(same.setdefault(target, target))
            stream.note("edge")
            if "weight" in attributes and "weight" in wanted["edge"]:
                stream.put("edge", "weight", attributes["weight"])
        elif tag == "attvalue":
            kind = open_["element"]
            title = titles.get((kind or "", attributes.get("for", attributes.get("id", ""))))
            if title is not None and kind is not None:
                stream.put(kind, title, stream.require(attributes, "value", "attvalue"))
        elif tag == "node":
            if open_["element"] == "node":
                stream.fail("<node> inside <node>; hierarchies cannot be read.")
            open_["element"] = "node"
            name = stream.require(attributes, "id", "node")
            table.names.append(same.setdefault(name, name))
            stream.note("node")
        elif tag == "attributes":
            open_["class"] = attributes.get("class", "node")
        elif tag == "attribute":
            title = attributes.get("title", stream.require(attributes, "id", "attribute"))
            kind = open_["class"]
            if kind in wanted and title in wanted[kind]:
                titles[kind, attributes["id"]] = title
                open_["declared"] = (kind, title)
        elif tag == "default":
            stream.text = []
        elif tag == "graph":
            if open_["graph"]:
                stream.fail("a second <graph>; one file holds one graph.")
            open_["graph"] = True
            open_["default"] = attributes.get("defaultedgetype", "undirected")
        elif tag == "meta":
            open_["meta"] = True
        elif tag == "description" and open_["meta"]:
            stream.text = []
        elif tag == "gexf":
            open_["root"] = True
        elif not open_["root"]:
            stream.fail(f"<{tag}> is not GEXF; expected <gexf>.")

    def end(tag: str) -> None:
        if tag in ("node", "edge"):
            open_["element"] = None
        elif tag == "default" and stream.text is not None:
            if open_["declared"]:
                stream.defaults[open_["declared"]] = "".join(stream.text)
            stream.text = None
        elif tag == "attribute":
            open_["declared"] = None
        elif tag == "meta":
            open_["meta"] = False
        elif tag == "description" and stream.text is not None:
            try:
                value = json.loads("".join(stream.text))
                table.graph |= value if isinstance(value, dict) else {}
            except (ValueError, RecursionError):
                table.graph["description"] = " ".join("".join(stream.text).split())
            stream.text = None

    stream.run(start, end)
    if not open_["graph"]:
        raise SpecError([Fault("there is no <graph> in it.", str(path))])
    stream.fill()
    return stream
