"""GraphML and GEXF, read as a stream by expat: no tree in memory, no entity ever expanded.

A document type declaration is refused before anything in it is read: it is where entity definitions, and with them "billion
laughs" and external files, come from. GraphML and GEXF need none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn
from xml.parsers import expat

from neurograph.documents import shown
from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import GRAPH_KEYS, Column, Table
from neurograph.topology.formats.options import Keys, Options

__all__ = ["read_gexf", "read_graphml"]

_CHUNK = 1 << 18
_EARLY = expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]


class _Document:
    """Reads one file: a format has a method `start_ELEMENT` and `end_ELEMENT` for every element that it looks at."""

    format: ClassVar[str]
    root: ClassVar[str]

    def __init__(self, path: Path, options: Options, lines: bool):
        self.path, self.options = path, options
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.lines: dict[str, list[int]] | None = {"node": [], "edge": []} if lines else None
        self.table = Table([], [], [], path=str(path))
        self.names, self.sources, self.targets = self.table.names, self.table.sources, self.table.targets
        self.columns = {"node": self.table.nodes, "edge": self.table.edges}
        self.wanted = {"node": options.node_keys(), "edge": options.edge_keys(), "graph": Keys(GRAPH_KEYS)}
        self.defaults: dict[tuple[str, str], str] = {}
        self.same: dict[str, str] = {}  # one string object per name
        self.text: list[str] = []
        self.element = ""  # the open one: graph, node or edge
        self.graphs, self.rooted = 0, False
        self.starts = self.handlers("start_")
        self.ends = self.handlers("end_")

    def handlers(self, prefix: str) -> dict[str, Callable[..., None]]:
        return {name.removeprefix(prefix): getattr(self, name) for name in dir(self) if name.startswith(prefix)}

    def fail(self, message: str) -> NoReturn:
        raise SpecError([Fault(message, str(self.path), self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)])

    # ---- the stream

    def read(self) -> None:
        """Parses the whole file.

        Raises:
          SpecError: not well-formed, a document type declaration, not of this format, or over the limits.
        """
        parser, limits, path = self.parser, self.options.limits, str(self.path)
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = self.refuse
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    parser.Parse(chunk, False)
                    limits.check(neurons=len(self.names), synapses=len(self.sources), what=path)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            what = "the file ends too early" if error.code == _EARLY else expat.errors.messages.get(error.code, str(error))
            raise SpecError([Fault(f"not valid XML: {what}.", path, error.lineno, error.offset + 1)]) from error
        except (UnicodeError, LookupError, ValueError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError([Fault(f"not valid XML: {error}.", path, parser.CurrentLineNumber)]) from error
        if not self.graphs:
            raise SpecError([Fault("there is no <graph> in it.", path)])
        self.fill()

    def refuse(self, *_: Any) -> None:
        self.fail("document type and entity declarations are not allowed (a graph needs none).")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        handler = self.starts.get(tag)
        if handler is not None:
            handler(attributes)
        elif ":" in tag:
            self.start(tag.rpartition(":")[2], attributes)
        elif tag == self.root:
            self.rooted = True
        elif not self.rooted:
            self.fail(f"<{tag}> is not {self.format}; expected <{self.root}>.")

    def end(self, tag: str) -> None:
        handler = self.ends.get(tag)
        if handler is not None:
            handler()
        elif ":" in tag:
            self.end(tag.rpartition(":")[2])

    # ---- for the handlers

    def require(self, attributes: dict[str, str], key: str, element: str) -> str:
        if key not in attributes:
            self.fail(f"<{element}> has no attribute {key}.")
        return attributes[key]

    def listen(self) -> None:
        """Gathers the text of the element that has just started."""
        self.text.clear()
        self.parser.CharacterDataHandler = self.text.append

    def heard(self) -> str:
        """Returns the text gathered since `listen`."""
        self.parser.CharacterDataHandler = None
        return "".join(self.text)

    def add_node(self, attributes: dict[str, str]) -> None:
        name = self.require(attributes, "id", "node")
        self.names.append(self.same.setdefault(name, name))
        self.element = "node"
        if self.lines is not None:
            self.lines["node"].append(self.parser.CurrentLineNumber)

    def add_edge(self, attributes: dict[str, str]) -> None:
        try:
            source, target = attributes["source"], attributes["target"]
        except KeyError as error:
            self.fail(f"<edge> has no attribute {error.args[0]}.")
        self.sources.append(self.same.setdefault(source, source))
        self.targets.append(self.same.setdefault(target, target))
        self.element = "edge"
        if self.lines is not None:
            self.lines["edge"].append(self.parser.CurrentLineNumber)

    def put(self, kind: str, key: str, value: str) -> None:
        """Stores an attribute of the open element; an empty one is not given."""
        if not value:
            return
        if kind == "graph":
            if key in self.table.graph:
                self.fail(f"the attribute {key} is given twice.")
            self.table.graph[key] = value
            return
        columns = self.columns[kind]
        column = columns.get(key)
        if column is None:
            column = columns[key] = Column()
        if not column.put(len(self.names if kind == "node" else self.sources) - 1, value):
            self.fail(f"the attribute {key} is given twice.")

    def default(self, kind: str, key: str, value: str) -> None:
        """Keeps the value of the elements that lack an attribute."""
        if value and self.defaults.setdefault((kind, key), value) != value:
            self.fail(f"the attribute {key} has two defaults.")

    def fill(self) -> None:
        """Gives attributes with a default to the elements that lack them."""
        for (kind, key), value in self.defaults.items():
            if kind == "graph":
                self.table.graph.setdefault(key, value)
                continue
            count = len(self.names if kind == "node" else self.sources)
            column = self.columns[kind].setdefault(key, Column())
            have = dict(zip(column.at, column.values))
            column.at, column.values = list(range(count)), [have.get(i, value) for i in range(count)]


def _table(form: type[_Document], path: Path, options: Options) -> Table:
    """Reads without line numbers, which cost time; where a table turns out faulty, reads again to find them."""

    def read(lines: bool) -> _Document:
        document = form(path, options, lines)
        document.read()
        return document

    table = read(False).table
    found: list[dict[str, list[int]]] = []

    def locate(kind: str, index: int) -> int | None:
        if not found:
            found.append(read(True).lines or {})
        lines = found[0].get(kind, [])
        return lines[index] if 0 <= index < len(lines) else None

    table.locate = locate
    return table


def read_graphml(path: Path, options: Options) -> Table:
    """Returns a GraphML file as a table; neurons are called by their id.

    Raises:
      SpecError: with line and column: not XML, not GraphML, undirected, nested graphs, hyperedges or ports.
    """
    return _table(_GraphML, path, options)


class _GraphML(_Document):
    format, root = "GraphML", "graphml"

    def __init__(self, path: Path, options: Options, lines: bool):
        super().__init__(path, options, lines)
        # element -> key id -> attribute, None if it is not looked at
        self.keys: dict[str, dict[str, str | None]] = {"node": {}, "edge": {}, "graph": {}}
        self.declared: dict[str, str] = {}  # key id -> attribute name, of all elements
        self.open_key: tuple[list[str], str] | None = None  # elements and name of the declaration being read
        self.attribute: str | None = None  # whose text is being gathered

    def start_edge(self, attributes: dict[str, str]) -> None:
        if self.element != "graph":
            self.fail("<edge> outside of <graph>.")
        if len(attributes) > 2 and attributes.get("directed", "true") not in ("true", "1"):
            self.fail("an undirected edge; every synapse has a direction.")
        self.add_edge(attributes)

    def end_edge(self) -> None:
        self.element = "graph"

    def start_node(self, attributes: dict[str, str]) -> None:
        if self.element != "graph":
            self.fail("<node> outside of <graph>; nested graphs cannot be read.")
        self.add_node(attributes)

    end_node = end_edge

    def start_data(self, attributes: dict[str, str]) -> None:
        if not self.element:
            return
        identifier = attributes.get("key", "")
        try:
            self.attribute = self.keys[self.element][identifier]
        except KeyError:
            self.attribute = self.stray(self.element, identifier)
        if self.attribute is not None:
            self.listen()

    def stray(self, element: str, identifier: str) -> None:
        """Refuses data whose key is not declared for its element, unless an attribute of that name does not matter."""
        if identifier not in self.declared:
            self.fail(f"<data> of the key {shown(identifier)}, which is not declared before it.")
        name = self.declared[identifier]
        if self.wanted[element][name] is not None:
            self.fail(f"<data> of the key {shown(identifier)}, which is declared, but not for <{element}>.")
        self.keys[element][identifier] = None

    def end_data(self) -> None:
        if self.attribute is not None:
            self.put(self.element, self.attribute, self.heard())
            self.attribute = None

    def start_key(self, attributes: dict[str, str]) -> None:
        identifier = self.require(attributes, "id", "key")
        name, domain = attributes.get("attr.name", identifier), attributes.get("for", "all")
        if identifier in self.declared:
            self.fail(f"the key {shown(identifier)} is declared twice.")
        self.declared[identifier] = name
        kinds = [kind for kind in self.keys if domain in (kind, "all")]
        for kind in kinds:
            self.keys[kind][identifier] = self.wanted[kind][name]
        self.open_key = kinds, name

    def end_key(self) -> None:
        self.open_key = None

    def start_default(self, attributes: dict[str, str]) -> None:
        self.listen()

    def end_default(self) -> None:
        value = self.heard()
        kinds, name = self.open_key or ((), "")
        for kind in kinds:
            key = self.wanted[kind][name]
            if key is not None:
                self.default(kind, key, value)

    def start_graph(self, attributes: dict[str, str]) -> None:
        self.graphs += 1
        if self.graphs > 1:
            self.fail("a second <graph>; one file holds one graph.")
        direction = self.require(attributes, "edgedefault", "graph")
        if direction != "directed":
            self.fail(f"edgedefault is {shown(direction)}; only directed graphs can be read.")
        self.element = "graph"

    def end_graph(self) -> None:
        self.element = ""

    def start_hyperedge(self, attributes: dict[str, str]) -> None:
        self.fail("<hyperedge> cannot be read.")

    def start_port(self, attributes: dict[str, str]) -> None:
        self.fail("<port> cannot be read.")

    def start_locator(self, attributes: dict[str, str]) -> None:
        self.fail("<locator> cannot be read.")


def read_gexf(path: Path, options: Options) -> Table:
    """Returns a GEXF file as a table; neurons are called by their id. Our graph attributes stand as JSON in <meta><description>.

    Raises:
      SpecError: with line and column: not XML, not GEXF, undirected, nested nodes, a graph that changes in time.
    """
    return _table(_GEXF, path, options)


class _GEXF(_Document):
    format, root = "GEXF", "gexf"

    def __init__(self, path: Path, options: Options, lines: bool):
        super().__init__(path, options, lines)
        # element -> attribute id -> attribute, None if it is not looked at
        self.titles: dict[str, dict[str, str | None]] = {"node": {}, "edge": {}}
        self.group, self.direction, self.meta = "node", "undirected", False
        self.open_attribute: tuple[str, str] | None = None
        self.weighted = self.wanted["edge"]["weight"] is not None

    def start_edge(self, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", self.direction)
        if kind != "directed":
            self.fail(f"an edge of type {shown(kind)}; every synapse has a direction.")
        self.add_edge(attributes)
        if self.weighted and "weight" in attributes:
            self.put("edge", "weight", attributes["weight"])

    def end_edge(self) -> None:
        self.element = ""

    def start_node(self, attributes: dict[str, str]) -> None:
        if self.element == "node":
            self.fail("<node> inside <node>; hierarchies cannot be read.")
        self.add_node(attributes)

    end_node = end_edge

    def start_attvalue(self, attributes: dict[str, str]) -> None:
        if not self.element:
            return
        identifier = attributes.get("for", attributes.get("id", ""))
        if identifier not in self.titles[self.element]:
            self.fail(f"<attvalue> of the attribute {shown(identifier)}, which is not declared for <{self.element}>.")
        title = self.titles[self.element][identifier]
        if title is not None:
            self.put(self.element, title, self.require(attributes, "value", "attvalue"))

    def start_attributes(self, attributes: dict[str, str]) -> None:
        self.group = attributes.get("class", "node")

    def start_attribute(self, attributes: dict[str, str]) -> None:
        if self.group not in self.titles:
            return
        identifier = self.require(attributes, "id", "attribute")
        if identifier in self.titles[self.group]:
            self.fail(f"the attribute {shown(identifier)} is declared twice.")
        title = self.titles[self.group][identifier] = self.wanted[self.group][attributes.get("title", identifier)]
        if title is not None:
            self.open_attribute = (self.group, title)

    def end_attribute(self) -> None:
        self.open_attribute = None

    def start_default(self, attributes: dict[str, str]) -> None:
        self.listen()

    def end_default(self) -> None:
        value = self.heard()
        if self.open_attribute:
            self.default(*self.open_attribute, value)

    def start_description(self, attributes: dict[str, str]) -> None:
        if self.meta:
            self.listen()

    def end_description(self) -> None:
        if not self.meta:
            return
        about = self.heard()
        try:
            value = json.loads(about)
        except (ValueError, RecursionError):
            value = None
        self.table.graph |= value if isinstance(value, dict) else {"description": " ".join(about.split())}

    def start_graph(self, attributes: dict[str, str]) -> None:
        self.graphs += 1
        if self.graphs > 1:
            self.fail("a second <graph>; one file holds one graph.")
        if attributes.get("mode", "static") != "static":
            self.fail(f"the graph's mode is {shown(attributes['mode'])}; a graph that changes in time cannot be read.")
        self.direction = attributes.get("defaultedgetype", "undirected")

    def start_meta(self, attributes: dict[str, str]) -> None:
        self.meta = True

    def end_meta(self) -> None:
        self.meta = False
