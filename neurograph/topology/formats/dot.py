"""Graphviz DOT, read token by token.

pydot, by which networkx reads it, takes 4 ms an edge, gives no lines, reads the 1e5 of `weight=1e5` as 1, and passes over what
stands behind the first graph.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import NoReturn

from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import GRAPH_KEYS, Column, Table
from neurograph.topology.formats.options import Keys, Options
from neurograph.topology.formats.parsing import short

__all__ = ["read_dot"]

MAX_DEPTH = 60

# What is between tokens, then one token. Quantifiers are possessive, so that no text makes it slow.
_TOKEN = re.compile(
    r"(?:\s++|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/|^\#[^\n]*+)*+"
    r"(?:(?P<word>[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*+|-?(?:\.\d++|\d++(?:\.\d*+)?)(?![\w.]))"
    r'|(?P<quoted>"(?:[^"\\]|\\.)*+")|(?P<mark>->|--|[][{};,=:+<])|(?P<end>\Z))',
    re.MULTILINE | re.DOTALL | re.ASCII,
)
# The bulk of a large file: an edge of two neurons, with no attribute or a weight.
_ID = r"(?:(?!(?i:strict|graph|digraph|node|edge|subgraph)\b)[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*+|\d++(?=[\s;-])|"
_PLAIN = re.compile(
    rf'({_ID}"[^"\\]*+"))\s*+->\s*+({_ID}"[^"\\]*+"))\s*+(?:\[weight=(?:"([^"\\]*+)"|(-?\d++(?:\.\d*+)?))\]\s*+)?;\s*+', re.ASCII
)
_BLANK = re.compile(r"(?:\s++|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/|^\#[^\n]*+)*+", re.MULTILINE)
_ESCAPE = re.compile(r'\\(\\|"|\r?\n)')
_BRACKET = re.compile("[<>]")
_KEYWORDS = ("strict", "graph", "digraph", "node", "edge", "subgraph")
_COMPASS = ("n", "ne", "e", "se", "s", "sw", "w", "nw", "c", "_")


def read_dot(text: str, path: str, options: Options) -> Table:
    """Returns a Graphviz DOT file as a table; neurons are called by their ID and numbered as they first appear.

    Attributes that `node [...]` and `edge [...]` set hold for what follows them in their subgraph, as in Graphviz. Edges between
    subgraphs lead from each neuron of the one to each of the other. Labels, styles, compass points and the membership in
    subgraphs do not matter.

    Raises:
      SpecError: with the line: not DOT, undirected, an edge whose `dir` is not forward, a port of a record, HTML as a name, two
        values where one is needed, a subgraph that is given twice.
    """
    return _Dot(text, path, options).read()


@dataclasses.dataclass
class _Scope:
    """The attributes that new neurons and edges of a subgraph get, and its neurons, in order."""

    node: dict[str, str]
    edge: dict[str, str]
    members: dict[int, None]
    depth: int


class _Dot:
    """Reads one file by recursive descent: a method per rule of the grammar, which leaves at the token behind it."""

    def __init__(self, text: str, path: str, options: Options):
        self.text, self.path, self.options = text, path, options
        self.table = Table([], [], [], path=path)
        self.wanted = {"node": options.node_keys(), "edge": options.edge_keys(), "graph": Keys(GRAPH_KEYS)}
        self.index: dict[str, int] = {}  # of neurons
        self.inherited: dict[int, dict[str, str]] = {}  # attributes that neurons have from the scope they begin in
        self.own: dict[int, dict[str, str]] = {}
        self.places: dict[str, list[int]] = {"node": [], "edge": []}
        self.subgraphs: set[str] = set()
        self.kind, self.token = "", ""  # "word" (not quoted), "quoted", "html", "mark" or "end"
        self.here, self.position = 0, 0  # where the token begins, and what follows it

    def fail(self, message: str, place: int | None = None) -> NoReturn:
        raise SpecError([Fault(message, self.path, self.line(self.here if place is None else place))])

    def line(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1

    # ---- tokens

    def advance(self) -> None:
        """Goes on to the next token."""
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            blank = _BLANK.match(self.text, self.position)
            self.here = blank.end() if blank else self.position
            near = self.text[self.here : self.here + 30].split("\n")[0]
            number = near[:1] in "-.0123456789" and re.match(r"-?[\w.]+", near)
            self.fail(f"not valid DOT near {near!r}{': a number such as 1e-3 stands in quotes' if number else ''}.")
        self.kind, self.here, self.position = str(match.lastgroup), match.start(match.lastgroup or 0), match.end()
        self.token = match[self.kind]
        if self.kind == "quoted":
            self.token = _ESCAPE.sub(_unescaped, self.token[1:-1]) if "\\" in self.token else self.token[1:-1]
        elif self.token == "<" and self.kind == "mark":
            self.html()

    def html(self) -> None:
        """Goes to the > that closes the < of the token."""
        open_ones = 0
        for match in _BRACKET.finditer(self.text, self.here):
            open_ones += 1 if match[0] == "<" else -1
            if not open_ones:
                self.kind, self.token, self.position = "html", self.text[self.here : match.end()], match.end()
                return
        self.fail("a < without its >.")

    def marked(self, *marks: str) -> bool:
        return self.kind == "mark" and self.token in marks

    def keyword(self) -> str:
        """The keyword that the token is, in small letters; "" for none."""
        return word if self.kind == "word" and (word := self.token.lower()) in _KEYWORDS else ""

    def expect(self, mark: str) -> None:
        if not self.marked(mark):
            self.fail(f"not valid DOT near {self.shown()}; expected {mark}")
        self.advance()

    def shown(self) -> str:
        return "the end of the file" if self.kind == "end" else short(self.token)

    def identifier(self, what: str, html: bool = False) -> str:
        """An ID: a word, a number, quoted text or several with + between, or with `html` HTML."""
        if self.kind == "html" and not html:
            self.fail(f"HTML as {what}; expected text.")
        if self.kind in ("mark", "end") or self.keyword():
            self.fail(f"not valid DOT near {self.shown()}; expected {what}.")
        kind, text = self.kind, self.token
        self.advance()
        while kind == "quoted" and self.marked("+"):
            self.advance()
            if self.kind != "quoted":
                self.fail(f"not valid DOT near {self.shown()}; expected text in quotes behind the +.")
            text += self.token
            self.advance()
        return text

    # ---- the grammar

    def read(self) -> Table:
        """Returns the whole file as a table."""
        self.advance()
        if self.keyword() == "strict":
            self.advance()
        if self.keyword() == "graph":
            self.fail("it is an undirected graph; only directed ones (digraph) can be read.")
        if self.keyword() != "digraph":
            self.fail(f"not DOT: begins with {self.shown()}; expected digraph {{ ... }}")
        self.advance()
        if not self.marked("{"):
            self.identifier("a name or {", html=True)
        self.expect("{")
        self.statements(_Scope({}, {}, {}, 1))
        if self.kind != "end":
            self.fail(f"{self.shown()} behind the end of the graph; one file holds one graph.")
        self.fill()
        return self.table

    def statements(self, scope: _Scope) -> None:
        """The statements of a graph and the } behind them."""
        while not self.marked("}"):
            if self.kind == "end":
                self.fail("the file ends inside { ... }")
            if not scope.edge and self.plain_edges(scope):
                continue
            self.statement(scope)
            if self.marked(";"):
                self.advance()
        self.advance()

    def plain_edges(self, scope: _Scope) -> bool:
        """Reads the plain edges that come next; whether there was one."""
        table, places, begun, wanted = self.table, self.places["edge"], self.here, self.wanted["edge"]["weight"] is not None
        weights, here = table.edges.setdefault("weight", Column()), begun
        while match := _PLAIN.match(self.text, here):
            source, target, quoted, weight = match.groups()
            at = len(places)
            for ends, name, group in ((table.sources, source, 1), (table.targets, target, 2)):
                name = name[1:-1] if name[0] == '"' else name
                if self.index.get(name) not in scope.members:
                    self.node(name, scope, match.start(group))
                ends.append(name)
            if wanted and (weight := weight or quoted) is not None:
                weights.at.append(at)
                weights.values.append(weight)
            places.append(here)
            here = match.end()
            if not at % 65536:
                self.options.limits.check(neurons=len(table.names), synapses=at, what=self.path)
        if here > begun:
            self.position = here
            self.advance()
        return here > begun

    def statement(self, scope: _Scope) -> None:
        keyword, place = self.keyword(), self.here
        if keyword in ("graph", "node", "edge"):
            self.advance()
            if not self.marked("["):
                self.fail(f"not valid DOT near {self.shown()}; expected [ behind {keyword}.")
            found = self.attributes(keyword)
            if keyword == "graph":
                self.graph(scope, found, place)
            elif keyword == "node":
                scope.node = scope.node | found
            else:
                scope.edge = scope.edge | found
            return
        if keyword == "subgraph" or self.marked("{"):
            ends = self.subgraph(scope)
        else:
            name = self.identifier("a neuron")
            if self.marked("="):
                self.advance()
                found = self.looked_at("graph", name, place)
                self.graph(scope, found, place)
                return
            ends = [self.node(self.ported(name), scope, place)]
            if not self.marked("->", "--"):
                found = self.attributes("node")
                self.keep("node", self.own.setdefault(ends[0], {}) if found else {}, found, place)
                return
        if self.marked("->", "--"):
            self.edges(ends, scope, place)

    def subgraph(self, outer: _Scope) -> list[int]:
        """Returns the neurons of a subgraph."""
        if self.keyword() == "subgraph":
            self.advance()
            if not self.marked("{"):
                place, name = self.here, self.identifier("a name or {", html=True)
                if name in self.subgraphs:
                    self.fail(f"the subgraph {short(name)} is given twice.", place)
                self.subgraphs.add(name)
        if outer.depth >= MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} graphs.")
        self.expect("{")
        scope = _Scope(outer.node, outer.edge, {}, outer.depth + 1)
        self.statements(scope)
        outer.members |= scope.members
        return list(scope.members)

    def edges(self, ends: list[int], scope: _Scope, place: int) -> None:
        """The rest of `a -> b -> c [...]`, whose ends may be subgraphs."""
        chain = [ends]
        while self.marked("->", "--"):
            if self.token == "--":
                self.fail("-- is an edge without direction; expected ->")
            self.advance()
            start = self.here
            if self.keyword() == "subgraph" or self.marked("{"):
                chain.append(self.subgraph(scope))
            else:
                chain.append([self.node(self.ported(self.identifier("a neuron")), scope, start)])
        attributes = scope.edge | self.attributes("edge")
        if (way := attributes.pop("dir", "")) not in ("", "forward"):
            self.fail(f"an edge whose dir is {short(way)}; expected forward (a synapse leads along its ->).", place)
        table = self.table
        for sources, targets in itertools.pairwise(chain):
            at, count = len(table.sources), len(sources) * len(targets)
            if at // 65536 < (at + count) // 65536:
                self.options.limits.check(neurons=len(table.names), synapses=at + count, what=self.path)
            names = table.names
            table.sources += [names[i] for i in sources for _ in targets]
            table.targets += [names[j] for _ in sources for j in targets]
            self.places["edge"] += [place] * count
            for key, value in attributes.items():
                column = table.edges.setdefault(key, Column())
                column.at += range(at, at + count)
                column.values += [value] * count

    def ported(self, name: str) -> str:
        """`name`, behind which a compass point may stand: it says where a line is drawn to."""
        while self.marked(":"):
            self.advance()
            place, port = self.here, self.identifier("a compass point")
            if port not in _COMPASS:
                self.fail(f"the port {short(port)} of {short(name)}; expected a neuron, which has no parts.", place)
        return name

    def node(self, name: str, scope: _Scope, place: int) -> int:
        """Returns the number of a neuron; a new one gets the attributes of the scope."""
        i = self.index.setdefault(name, len(self.index))
        if i == len(self.table.names):
            self.table.names.append(name)
            self.places["node"].append(place)
            if scope.node:
                self.inherited[i] = scope.node
            if not i % 65536:
                self.options.limits.check(neurons=i, what=self.path)
        scope.members[i] = None
        return i

    # ---- attributes

    def attributes(self, kind: str) -> dict[str, str]:
        """Those of the lists `[key=value, ...]` that are looked at, by our names."""
        found: dict[str, str] = {}
        while self.marked("["):
            self.advance()
            while not self.marked("]"):
                place, key = self.here, self.identifier("an attribute")
                self.expect("=")
                self.keep(kind, found, self.looked_at(kind, key, place), place)
                if self.marked(",", ";"):
                    self.advance()
            self.advance()
        return found

    def looked_at(self, kind: str, key: str, place: int) -> dict[str, str]:
        """The value that the token is, by our name; nothing where the key is not looked at."""
        value_kind, value = self.kind, self.identifier("a value", html=True)
        name = "dir" if (kind, key) == ("edge", "dir") else self.wanted[kind][key]
        if name is None:
            return {}
        if value_kind == "html":
            self.fail(f"{key} of {'an' if kind == 'edge' else 'a'} {kind} is HTML; expected text or a number.", place)
        return {name: value}

    def keep(self, kind: str, known: dict[str, str], found: dict[str, str], place: int) -> None:
        """Adds attributes to those known; another value for one is a fault."""
        for key, value in found.items():
            if known.setdefault(key, value) != value:
                self.fail(f"{key} of one {kind} is given twice: {short(known[key])} and {short(value)}.", place)

    def graph(self, scope: _Scope, found: dict[str, str], place: int) -> None:
        """Takes in attributes of the graph."""
        if found and scope.depth > 1:
            self.fail(f"{', '.join(found)} of a subgraph; it belongs to the whole digraph.", place)
        self.keep("graph", self.table.graph, found, place)

    def fill(self) -> None:
        """Puts the attributes of neurons into columns."""
        for i in sorted({*self.inherited, *self.own}):
            for key, value in (self.inherited.get(i, {}) | self.own.get(i, {})).items():
                self.table.nodes.setdefault(key, Column()).put(i, value)
        places = self.places
        self.table.locate = lambda kind, i: self.line(places[kind][i]) if 0 <= i < len(places[kind]) else None


def _unescaped(match: re.Match[str]) -> str:
    """What a backslash and the character behind it stand for: a quote, nothing (a broken line), or themselves."""
    return {'"': '"', "\\": "\\\\"}.get(match[1], "")
