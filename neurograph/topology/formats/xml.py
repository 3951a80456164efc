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
from neurograph.topology.columns import Column, Table
from neurograph.topology.formats.reading import Options

__all__ = ["read_gexf", "read_graphml"]

_CHUNK = 1 << 18
_EARLY = expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]


class _Stream:
    """Runs expat over a file and holds what the handlers of a format fill."""

    def __init__(self, path: Path, options: Options, lines: bool):
        self.path, self.options = path, options
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.lines: dict[str, list[int]] | None = {"node": [], "edge": []} if lines else None
        self.table = Table([], [], [], path=str(path))
        self.columns = {"node": self.table.nodes, "edge": self.table.edges}
        self.defaults: dict[tuple[str, str], str] = {}

    def fail(self, message: str) -> None:
        raise SpecError([Fault(message, str(self.path), self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)])

    def run(self, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None]) -> None:
        """Parses the whole file. Text comes to `self.parser.CharacterDataHandler` while that is set.

        Raises:
          SpecError: not well-formed, a document type declaration, or over the limits.
        """
        parser, limits = self.parser, self.options.limits

        def refuse(*_: Any) -> None:
            self.fail("document type and entity declarations are not allowed (a graph needs none).")

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    parser.Parse(chunk, False)
                    limits.check(neurons=len(self.table.names), synapses=len(self.table.sources), what=str(self.path))
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            what = "the file ends too early" if error.code == _EARLY else expat.errors.messages.get(error.code, str(error))
            raise SpecError([Fault(f"not valid XML: {what}.", str(self.path), error.lineno, error.offset + 1)]) from error
        except (UnicodeError, LookupError, ValueError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError([Fault(f"not valid XML: {error}.", str(self.path), parser.CurrentLineNumber)]) from error

    def require(self, attributes: dict[str, str], key: str, element: str) -> str:
        if key not in attributes:
            self.fail(f"<{element}> has no attribute {key}.")
        return attributes[key]

    def note(self, kind: str) -> None:
        if self.lines is not None:
            self.lines[kind].append(self.parser.CurrentLineNumber)

    def put(self, kind: str, index: int, key: str, value: str) -> None:
        """Stores an attribute of element `index`, the one opened last."""
        columns = self.columns[kind]
        column = columns.get(key)
        if column is None:
            column = columns[key] = Column()
        elif column.at[-1] == index:
            self.fail(f"the attribute {key} is given twice.")
        column.at.append(index)
        column.values.append(value)

    def fill(self) -> None:
        """Gives attributes with a default to the elements that lack them."""
        for (kind, key), value in self.defaults.items():
            count = len(self.table.names if kind == "node" else self.table.sources)
            column = self.columns[kind].setdefault(key, Column())
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
    table, parser, wanted = stream.table, stream.parser, {"node": options.node_keys(), "edge": options.edge_keys()}
    names, sources, targets = table.names, table.sources, table.targets
    keys: dict[str, dict[str, str]] = {"node": {}, "edge": {}, "graph": {}}  # key id -> attribute name, of those looked at
    same: dict[str, str] = {}  # one string object per name
    text: list[str] = []
    element = ""  # what is open: graph, node or edge
    key: str | None = None  # attribute whose text is being gathered
    declared: tuple[list[str], str] | None = None
    graphs, root = 0, False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal element, key, graphs, root
        if tag == "edge":
            if element != "graph":
                stream.fail("<edge> outside of <graph>.")
            try:
                source, target = attributes["source"], attributes["target"]
            except KeyError as error:
                stream.fail(f"<edge> has no attribute {error.args[0]}.")
                return
            if len(attributes) > 2 and attributes.get("directed", "true") not in ("true", "1"):
                stream.fail("an undirected edge; every synapse has a direction.")
            sources.append(same.setdefault(source, source))
            targets.append(same.setdefault(target, target))
            element = "edge"
            if lines:
                stream.note("edge")
        elif tag == "data":
            key = keys[element].get(attributes.get("key", "")) if element else None
            if key is not None:
                text.clear()
                parser.CharacterDataHandler = text.append
        elif tag == "node":
            if element != "graph":
                stream.fail("<node> outside of <graph>; nested graphs cannot be read.")
            element = "node"
            name = stream.require(attributes, "id", "node")
            names.append(same.setdefault(name, name))
            stream.note("node")
        elif tag == "key":
            declare(attributes)
        elif tag == "default":
            text.clear()
            parser.CharacterDataHandler = text.append
        elif tag == "graph":
            graphs += 1
            if graphs > 1:
                stream.fail("a second <graph>; one file holds one graph.")
            if attributes.get("edgedefault", "directed") != "directed":
                stream.fail(f"edgedefault is {attributes['edgedefault']!r}; only directed graphs can be read.")
            element = "graph"
        elif tag in ("hyperedge", "port", "locator"):
            stream.fail(f"<{tag}> cannot be read.")
        elif tag == "graphml":
            root = True
        elif ":" in tag:
            start(tag.rpartition(":")[2], attributes)
        elif not root:
            stream.fail(f"<{tag}> is not GraphML; expected <graphml>.")

    def declare(attributes: dict[str, str]) -> None:
        nonlocal declared
        identifier = stream.require(attributes, "id", "key")
        name, domain = attributes.get("attr.name", identifier), attributes.get("for", "all")
        kinds = [k for k in ("node", "edge", "graph") if domain in (k, "all") and (k == "graph" or name in wanted[k])]
        for kind in kinds:
            keys[kind][identifier] = name
        declared = kinds, name

    def end(tag: str) -> None:
        nonlocal element, key, declared
        if tag == "data":
            if key is not None:
                parser.CharacterDataHandler = None
                value = text[0] if len(text) == 1 else "".join(text)
                if element == "edge":
                    stream.put("edge", len(sources) - 1, key, value)
                elif element == "node":
                    stream.put("node", len(names) - 1, key, value)
                else:
                    table.graph[key] = value
                key = None
        elif tag == "edge" or tag == "node":
            element = "graph"
        elif tag == "graph":
            element = ""
        elif tag == "default":
            parser.CharacterDataHandler = None
            if declared:
                stream.defaults |= {(kind, declared[1]): "".join(text) for kind in declared[0] if kind != "graph"}
        elif tag == "key":
            declared = None
        elif ":" in tag:
            end(tag.rpartition(":")[2])

    stream.run(start, end)
    if not graphs:
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
    table, parser, wanted = stream.table, stream.parser, {"node": options.node_keys(), "edge": options.edge_keys()}
    names, sources, targets = table.names, table.sources, table.targets
    titles: dict[str, dict[str, str]] = {"node": {}, "edge": {}}  # attribute id -> title, of those looked at
    same: dict[str, str] = {}
    text: list[str] = []
    element, group, default_type = "", "node", "undirected"
    declared: tuple[str, str] | None = None
    graph, root, meta = False, False, False
    weighted = "weight" in wanted["edge"]

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal element, group, default_type, declared, graph, root, meta
        if tag == "edge":
            kind = attributes.get("type", default_type)
            if kind != "directed":
                stream.fail(f"an edge of type {kind!r}; every synapse has a direction.")
            try:
                source, target = attributes["source"], attributes["target"]
            except KeyError as error:
                stream.fail(f"<edge> has no attribute {error.args[0]}.")
                return
            sources.append(same.setdefault(source, source))
            targets.append(same.setdefault(target, target))
            element = "edge"
            if lines:
                stream.note("edge")
            if weighted and "weight" in attributes:
                stream.put("edge", len(sources) - 1, "weight", attributes["weight"])
        elif tag == "attvalue":
            title = titles[element].get(attributes.get("for", attributes.get("id", ""))) if element else None
            if title is not None:
                count = len(names if element == "node" else sources)
                stream.put(element, count - 1, title, stream.require(attributes, "value", "attvalue"))
        elif tag == "node":
            if element == "node":
                stream.fail("<node> inside <node>; hierarchies cannot be read.")
            element = "node"
            name = stream.require(attributes, "id", "node")
            names.append(same.setdefault(name, name))
            stream.note("node")
        elif tag == "attributes":
            group = attributes.get("class", "node")
        elif tag == "attribute":
            identifier = stream.require(attributes, "id", "attribute")
            title = attributes.get("title", identifier)
            if group in wanted and title in wanted[group]:
                titles[group][identifier] = title
                declared = (group, title)
        elif tag == "default" or (tag == "description" and meta):
            text.clear()
            parser.CharacterDataHandler = text.append
        elif tag == "graph":
            if graph:
                stream.fail("a second <graph>; one file holds one graph.")
            graph, default_type = True, attributes.get("defaultedgetype", "undirected")
        elif tag == "meta":
            meta = True
        elif tag == "gexf":
            root = True
        elif ":" in tag:
            start(tag.rpartition(":")[2], attributes)
        elif not root:
            stream.fail(f"<{tag}> is not GEXF; expected <gexf>.")

    def end(tag: str) -> None:
        nonlocal element, declared, meta
        if tag == "edge" or tag == "node":
            element = ""
        elif tag == "default":
            parser.CharacterDataHandler = None
            if declared:
                stream.defaults[declared] = "".join(text)
        elif tag == "attribute":
            declared = None
        elif tag == "description" and meta:
            parser.CharacterDataHandler = None
            about = "".join(text)
            try:
                value = json.loads(about)
            except (ValueError, RecursionError):
                value = {"description": " ".join(about.split())[:20_000]}
            table.graph |= value if isinstance(value, dict) else {}
        elif tag == "meta":
            meta = False
        elif ":" in tag:
            end(tag.rpartition(":")[2])

    stream.run(start, end)
    if not graph:
        raise SpecError([Fault("there is no <graph> in it.", str(path))])
    stream.fill()
    return stream
