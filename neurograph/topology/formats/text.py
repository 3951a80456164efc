"""GML, JSON node-link and CSV edge lists."""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
import re
from operator import itemgetter
from typing import Any

from neurograph.documents import parse_yaml
from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import Column, Table
from neurograph.topology.formats.reading import Options

__all__ = ["CSV_MARK", "read_csv", "read_gml", "read_json"]

CSV_MARK = "# neurograph "
MAX_DEPTH = 60

# One match is a whole plain edge (the bulk of a large file), `key value`, `key [`, `]` or a comment. Quantifiers are possessive,
# so that no text makes it slow.
_GML = re.compile(
    r"\s*+(?:edge\s*+\[\s*+source\s++(-?\d++)\s++target\s++(-?\d++)\s*+(?:weight\s++([-+.\d][-+.\w]*+)\s*+)?\]"
    r'|([A-Za-z]\w*+)\s*+("[^"]*+"|\[|[-+.\w]++)|(\])|#[^\n]*+(?=\n|\Z))\s*+'
)


def _column(columns: dict[str, Column], key: str, at: int, value: Any) -> None:
    column = columns.get(key)
    if column is None:
        column = columns[key] = Column()
    column.at.append(at)
    column.values.append(value)


def _line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def read_gml(text: str, path: str, options: Options) -> Table:
    """A GML file as a table; neurons are called by their label, or by their id if there are no labels.

    Raises:
      SpecError: with the line: not GML, undirected, nodes without id, edges without ends.
    """
    table = Table([], [], [], path=path)
    places: dict[str, list[int]] = {"node": [], "edge": []}
    names: dict[str, str] = {}  # id -> name
    node_keys, edge_keys = options.node_keys(), options.edge_keys()
    weighted = "weight" in edge_keys
    plain = Column()  # weights of plain edges
    at, weights = plain.at, plain.values
    stack: list[str] = []
    current: dict[str, str] = {}
    here = 0
    directed: str | None = None

    def fail(message: str, place: int) -> None:
        raise SpecError([Fault(message, path, _line_of(text, place))])

    position, limits, seen, find = 0, options.limits, False, _GML.match
    while match := find(text, position):
        position = match.end()
        source, target, weight, key, value, closing = match.groups()
        if source is not None and len(stack) == 1 and stack[0] == "graph":
            places["edge"].append(match.start(1))
            if weight is not None and weighted:
                at.append(len(table.sources))
                weights.append(weight)
            table.sources.append(source)
            table.targets.append(target)
        elif source is not None:
            fail("an edge outside of graph [ ... ].", match.start(1))
        elif value == "[":
            stack.append(key)
            if len(stack) > MAX_DEPTH:
                fail(f"nested deeper than {MAX_DEPTH} lists.", match.start(4))
            if len(stack) == 2 and stack[0] == "graph" and key in ("node", "edge"):
                current, here = {}, match.start(4)
            elif stack == ["graph"]:
                if seen:
                    fail("a second graph; one file holds one graph.", match.start(4))
                seen = True
        elif key is not None:
            if len(stack) == 2:
                if key in current:
                    fail(f"key {key!r} is given twice in one {stack[-1]}.", match.start(4))
                current[key] = value
            elif len(stack) == 1 and stack[0] == "graph":
                if key == "directed":
                    directed = value
                else:
                    table.graph[key] = _gml_value(value)
        elif closing is not None:
            if not stack:
                fail("a ] without its [.", match.start(6))
            kind = stack.pop()
            if stack != ["graph"]:
                continue
            if kind == "edge":
                try:
                    table.sources.append(current["source"])
                    table.targets.append(current["target"])
                except KeyError as error:
                    fail(f"an edge without {error.args[0]}.", here)
                places["edge"].append(here)
                if len(current) > 2:
                    for name in edge_keys:
                        if name in current:
                            _column(table.edges, name, len(table.sources) - 1, _gml_value(current[name]))
            elif kind == "node":
                if "id" not in current:
                    fail("a node without id.", here)
                identifier = current["id"]
                name = str(_gml_value(current.get("label", identifier)))
                if identifier in names:
                    fail(f"the id {identifier} is given twice.", here)
                names[identifier] = name
                table.names.append(name)
                places["node"].append(here)
                for name in node_keys:
                    if name in current:
                        _column(table.nodes, name, len(table.names) - 1, _gml_value(current[name]))
            if not len(table.sources) % 65536:
                limits.check(neurons=len(table.names), synapses=len(table.sources), what=path)
    if position != len(text):
        rest = text[position : position + 30].strip().split("\n")[0]
        fail(f"not valid GML near {rest!r}.", min(position + len(text[position:]) - len(text[position:].lstrip()), len(text)))
    if stack:
        fail(f"the file ends inside {stack[-1]} [.", len(text))
    if not seen:
        fail("not GML: there is no graph [ ... ] in it.", 0)
    if directed != "1":
        fail(f"directed is {directed or 'not given, which means 0'}; only directed graphs (directed 1) can be read.", 0)
    if plain.at:
        other = table.edges.get("weight", Column())
        table.edges["weight"] = Column(plain.at + other.at, plain.values + other.values)
    for ends in (table.sources, table.targets):
        try:
            ends[:] = map(names.__getitem__, ends)
        except KeyError:
            ends[:] = [names.get(identifier, f"id {identifier}") for identifier in ends]
    table.locate = lambda kind, index: _line_of(text, places[kind][index]) if 0 <= index < len(places[kind]) else None
    return table


def _gml_value(value: str) -> Any:
    if value[0] == '"':
        value = value[1:-1]
        return html.unescape(value) if "&" in value else value
    return value


def read_json(text: str, path: str, options: Options) -> Table:
    """A JSON node-link file as a table; the synapses stand under `links` or `edges`.

    Raises:
      SpecError: with the line where one can be told: not JSON, duplicate keys, undirected, nodes without id, links without ends.
    """
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            twice.append(next(key for key in keys if keys.count(key) > 1))
        return found

    def constant(name: str) -> Any:
        raise SpecError([Fault(f"not valid JSON: {name} is no number.", path)])

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise SpecError(
            [Fault(f"not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}.", path, error.lineno, error.colno)]
        ) from error
    except RecursionError as error:
        raise SpecError([Fault("not a graph: nested too deep.", path)]) from error
    except ValueError as error:
        raise SpecError([Fault(f"not valid JSON: {error}.", path)]) from error
    tree: list[Any] = []

    def place(*at: Any) -> int | None:
        """Line of a value: JSON is YAML, so its tree tells; not for files too large for that."""
        if not tree:
            try:
                tree.append(parse_yaml(text, path) if len(text) < 20_000_000 else None)
            except SpecError:
                tree.append(None)
        return tree[0].find(at)[0] if tree[0] is not None else None

    def fail(message: str, *at: Any) -> None:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).lstrip(".")
        raise SpecError([Fault(message, path, place(*at), where=where)])

    if twice:
        if len(text) < 20_000_000:
            parse_yaml(text, path)  # the same fault, with its lines
        raise SpecError([Fault(f"key {twice[0]!r} is given twice.", path)])
    if not isinstance(data, dict):
        fail("expected a mapping with nodes and links (or edges).")
    key = "links" if "links" in data else "edges"
    if "links" in data and "edges" in data:
        fail("both links and edges are given; expected one of them.")
    for name in ("nodes", key):
        if not isinstance(data.get(name), list):
            fail(f"missing the list {name!r}." if name not in data else f"{name} is no list.", *([name] if name in data else []))
    if data.get("directed", True) is not True:
        fail("directed is not true; only directed graphs can be read.", "directed")
    graph = data.get("graph", {})
    if isinstance(graph, list):  # an old form: pairs of key and value
        graph = {str(pair[0]): pair[1] for pair in graph if isinstance(pair, list) and len(pair) == 2}
    table = Table([], [], [], graph=graph if isinstance(graph, dict) else {}, path=path)
    options.limits.check(neurons=len(data["nodes"]), synapses=len(data[key]), what=path)
    wanted = options.node_keys()
    for i, node in enumerate(data["nodes"]):
        if not isinstance(node, dict) or not _is_name(node.get("id")):
            fail("expected a mapping with an id (text or a number).", "nodes", i)
        table.names.append(str(node["id"]))
        if len(node) > 1:
            for name, value in node.items():
                if name in wanted:
                    _column(table.nodes, name, i, value)
    wanted = options.edge_keys()
    for i, edge in enumerate(data[key]):
        if not isinstance(edge, dict) or not (_is_name(edge.get("source")) and _is_name(edge.get("target"))):
            fail("expected a mapping with source and target (text or numbers).", key, i)
        table.sources.append(str(edge["source"]))
        table.targets.append(str(edge["target"]))
        if len(edge) > 2:
            for name, value in edge.items():
                if name in wanted:
                    _column(table.edges, name, i, value)
    table.locate = lambda kind, index: place("nodes" if kind == "node" else key, index)
    return table


def _is_name(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


_ENDS = (("source", "from", "sender", "pre"), ("target", "to", "receiver", "post"))


def read_csv(text: str, path: str, options: Options) -> Table:
    """An edge list as a table: a header with source and target (or from/to, sender/receiver, pre/post), then a row per synapse.

    Columns may be separated by commas, semicolons or tabs. Neurons are numbered as they first appear, unless the first line is a
    comment of ours, `# neurograph {...}`, with everything that an edge list has no room for. Other lines with # before the header
    are skipped.

    Raises:
      SpecError: with the line: no header, rows of another length, a broken comment.
    """
    table = Table([], [], [], path=path)
    start, line = 0, 1
    while text.startswith("#", start) or text.startswith(("\n", "\r\n"), start):
        stop = text.find("\n", start)
        stop = len(text) if stop < 0 else stop
        if text.startswith(CSV_MARK, start):
            _csv_comment(text[start + len(CSV_MARK) : stop], table, path, line)
        start, line = stop + 1, line + 1
    header_text = text[start : (text.find("\n", start) + 1) or len(text)]
    delimiter = max(",;\t", key=header_text.count)
    reader = csv.reader(io.StringIO(text[start:] if start else text, newline=""), delimiter=delimiter, strict=True)

    def fail(message: str, at: int) -> None:
        raise SpecError([Fault(message, path, at)])

    given = bool(table.names)
    try:
        header = [name.strip() for name in next(reader, [])]
        lower = [name.lower() for name in header]
        if len(set(lower)) != len(lower):
            fail(f"the header names a column twice: {', '.join(header)}.", line)
        columns = []
        for known in _ENDS:
            ends = [lower.index(name) for name in known if name in lower]
            if len(ends) != 1:
                shown = ", ".join(header)[:60] or "nothing"
                fail(f"the header is {shown}; expected the columns source and target, and if needed weight, fixed, group.", line)
            columns.append(ends[0])
        wanted = {name: i for i, name in enumerate(header) if name in options.edge_keys() and i not in columns}
        same: dict[str, str] = {name: name for name in table.names}
        width, done = len(header), 0
        while chunk := list(itertools.islice(reader, 65536)):
            if set(map(len, chunk)) != {width}:
                chunk = _csv_rows(chunk, width, fail, line + 1 + done)
            for names, column in zip((table.sources, table.targets), columns):
                names += [same.setdefault(name, name) for name in map(itemgetter(column), chunk)]
            for name, column in wanted.items():
                values = list(map(itemgetter(column), chunk))
                found = table.edges.setdefault(name, Column())
                if all(values):
                    found.at += range(done, done + len(values))
                    found.values += values
                else:
                    found.at += [i for i, value in enumerate(values, done) if value]
                    found.values += [value for value in values if value]
            done += len(chunk)
            options.limits.check(neurons=len(same), synapses=done, what=path)
    except csv.Error as error:
        fail(f"not valid CSV: {error}.", line + max(0, reader.line_num - 1))
    if not given:
        # senders and receivers take turns, so that neurons come in the order of reading
        table.names = list(dict.fromkeys(itertools.chain.from_iterable(zip(table.sources, table.targets))))
    first = line
    table.locate = lambda kind, index: first + 1 + index if kind == "edge" else None
    return table


def _csv_rows(chunk: list[list[str]], width: int, fail: Any, line: int) -> list[list[str]]:
    for i, row in enumerate(chunk):
        if len(row) not in (0, width):
            fail(f"a row of {len(row)} values; the header has {width}.", line + i)
    return [row for row in chunk if row]  # blank lines are skipped


def _csv_comment(text: str, table: Table, path: str, line: int) -> None:
    """Fills neurons, roles and their attributes from the JSON behind the mark."""

    def fail() -> None:
        raise SpecError([Fault("the comment `# neurograph {...}` is damaged.", path, line)])

    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        fail()
        return
    lists = [data.get(key) if isinstance(data, dict) else None for key in ("neurons", "inputs", "outputs")]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        fail()
    attributes, graph = data.get("attributes", {}), data.get("graph", {})
    if not (isinstance(graph, dict) and isinstance(attributes, dict) and all(isinstance(v, dict) for v in attributes.values())):
        fail()
    table.names, table.inputs, table.outputs = lists  # type: ignore[assignment]
    table.graph = graph
    index = {name: i for i, name in enumerate(table.names)}
    for key, values in attributes.items():
        if any(name not in index for name in values):
            fail()
        table.nodes[key] = Column([index[name] for name in values], list(values.values()))
