"""Edge lists: CSV with a header and a row per synapse, or lines of two names as networkx writes them."""

from __future__ import annotations

import ast
import csv
import io
import itertools
import json
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, NoReturn

from neurograph.errors import Fault, SpecError
from neurograph.topology.columns import Column, Table
from neurograph.topology.formats.options import Options
from neurograph.topology.formats.parsing import as_finite, short

__all__ = ["CSV_MARK", "read_csv", "read_edge_lines"]

CSV_MARK = "# neurograph "

_ENDS = (("source", "from", "sender", "pre"), ("target", "to", "receiver", "post"))
_CHUNK = 65536


def read_csv(text: str, path: str, options: Options) -> Table:
    """Returns an edge list as a table.

    The header has source and target (or from/to, sender/receiver, pre/post) and, if wanted, weight, fixed, group and index, in
    any case of letters. Columns may be separated by commas, semicolons or tabs. Blanks at the ends of a cell do not count.
    Neurons are numbered as they first appear.

    The first line may be a comment of ours, `# neurograph {...}`, with everything that an edge list has no room for; then names
    are exactly those in the cells. Other lines with # before the header are skipped.

    Raises:
      SpecError: with the line of the file: no header, rows of another length, an undirected edge, a broken comment.
    """
    return _EdgeList(text, path, options).read()


def read_edge_lines(text: str, path: str, options: Options) -> Table:
    """Returns lines of `source target`, `source target weight` or `source target {'weight': 0.5, ...}` as a table.

    It is what `networkx.write_edgelist` and `write_weighted_edgelist` write. Names have no blanks; `#` begins a comment. Neurons
    are numbered as they first appear.

    Raises:
      SpecError: with the line: fewer than two names, or more than names and a weight or attributes.
    """
    table = Table([], [], [], path=path)
    keys, lines = options.edge_keys(), []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split(None, 2)
        if not words:
            continue
        if len(words) == 1:
            raise SpecError([Fault(f"got {short(line.strip())}; expected source and target with blanks between.", path, number)])
        at = len(lines)
        lines.append(number)
        table.sources.append(words[0])
        table.targets.append(words[1])
        for name, value in _edge_attributes(words[2].strip() if len(words) == 3 else "", path, number).items():
            key = keys[name]
            if key is not None and not table.edges.setdefault(key, Column()).put(at, value):
                raise SpecError([Fault(f"{key} is given twice, in two cases of letters.", path, number)])
        if at % _CHUNK == 0:
            options.limits.check(neurons=0, synapses=at, what=path)
    table.names = list(dict.fromkeys(itertools.chain.from_iterable(zip(table.sources, table.targets))))
    first = {
        name: number
        for number, ends in zip(reversed(lines), zip(reversed(table.sources), reversed(table.targets)))
        for name in ends
    }
    table.locate = lambda kind, index: lines[index] if kind == "edge" else first[table.names[index]]
    return table


def _edge_attributes(text: str, path: str, line: int) -> dict[Any, Any]:
    """Returns what follows the names of a line: nothing, a weight, or the attributes of an edge."""
    if not text:
        return {}
    try:
        return {"weight": as_finite(text)}
    except (ValueError, OverflowError):
        pass
    try:
        found = ast.literal_eval(text) if text.startswith("{") and len(text) < 10_000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SpecError(
            [Fault(f"got {short(text)} after the names; expected a finite weight, or attributes in braces.", path, line)]
        )
    return found


class _EdgeList:
    """Reads one file, a part of the rows at a time."""

    def __init__(self, text: str, path: str, options: Options):
        self.text, self.path, self.options = text, path, options
        self.table = Table([], [], [], path=path)
        self.start, self.line = 0, 1  # where the header begins
        self.mark = 0  # line of our own comment
        self.delimiter = ","
        self.width = 0
        self.ends: list[int] = []
        self.wanted: dict[str, int] = {}
        self.directions: list[int] = []  # columns that may call an edge undirected
        self.lines: list[int] = []  # of the rows, made when one is asked for

    def fail(self, message: str, line: int | None) -> NoReturn:
        raise SpecError([Fault(message, self.path, line)])

    def reader(self) -> Any:
        """Returns a reader of the header and the rows."""
        rest = io.StringIO(self.text[self.start :] if self.start else self.text, newline="")
        return csv.reader(rest, delimiter=self.delimiter, strict=True, skipinitialspace=not self.mark)

    def read(self) -> Table:
        """Returns the whole file as a table."""
        self.comments()
        stop = self.text.find("\n", self.start) + 1
        header = self.text[self.start : stop or len(self.text)]
        self.delimiter = max(",;\t", key=header.count)
        reader = self.reader()
        try:
            self.header([name.strip() for name in next(reader, [])])
            self.rows(reader)
        except csv.Error as error:
            self.fail(f"not valid CSV: {error}.", self.line + max(0, reader.line_num - 1))
        table = self.table
        if not self.mark:
            # senders and receivers take turns, so that neurons come in the order of reading
            table.names = list(dict.fromkeys(itertools.chain.from_iterable(zip(table.sources, table.targets))))
        table.locate = self.locate
        return table

    def comments(self) -> None:
        """Skips comments and blank lines in front of the header, and takes in our own."""
        text = self.text
        while text.startswith("#", self.start) or text.startswith(("\n", "\r\n"), self.start):
            stop = text.find("\n", self.start)
            stop = len(text) if stop < 0 else stop
            if text.startswith(CSV_MARK, self.start):
                if self.mark:
                    self.fail(f"the comment `{CSV_MARK}{{...}}` is given twice.", self.line)
                self.mark = self.line
                self.comment(text[self.start + len(CSV_MARK) : stop])
            self.start, self.line = stop + 1, self.line + 1

    def comment(self, text: str) -> None:
        """Takes in neurons, roles and their attributes from the JSON behind the mark."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        parts = data if isinstance(data, dict) else {}
        lists = [parts.get(key) for key in ("neurons", "inputs", "outputs")]
        attributes, graph = parts.get("attributes", {}), parts.get("graph", {})
        if (
            not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
            or not (isinstance(graph, dict) and isinstance(attributes, dict))
            or not all(isinstance(values, dict) and values.keys() <= set(lists[0] or ()) for values in attributes.values())
        ):
            self.fail(f"the comment `{CSV_MARK}{{...}}` is damaged.", self.line)
        table = self.table
        table.names, table.inputs, table.outputs = lists  # type: ignore[assignment]
        table.graph = graph
        index = {name: i for i, name in enumerate(table.names)}
        for key, values in attributes.items():
            table.nodes[key] = Column([index[name] for name in values], list(values.values()))

    def header(self, header: list[str]) -> None:
        """Finds the columns that are looked at."""
        lower = [name.lower() for name in header]
        self.width = len(header)
        for known in _ENDS:
            ends = [i for i, name in enumerate(lower) if name in known]
            if len({lower[i] for i in ends}) < len(ends):
                self.fail(f"the header names a column twice: {', '.join(header)}.", self.line)
            if len(ends) != 1:
                shown = ", ".join(header)[:60] or "nothing"
                self.fail(
                    f"the header is {shown}; expected the columns source and target, and if needed weight, fixed, group.",
                    self.line,
                )
            self.ends.append(ends[0])
        keys = self.options.edge_keys()
        weight = self.options.weight
        if weight and weight not in header and lower.count(weight.lower()) == 1:
            keys[header[lower.index(weight.lower())]] = weight
        for i, name in enumerate(header):
            key = keys[name]
            if i in self.ends or key is None:
                continue
            if key in self.wanted:
                self.fail(f"the header names a column twice: {', '.join(header)}.", self.line)
            self.wanted[key] = i
        self.directions = [i for i, name in enumerate(lower) if name in ("type", "directed")]

    def rows(self, reader: Iterator[list[str]]) -> None:
        """Adds all synapses and their attributes."""
        table, done = self.table, 0
        same: dict[str, str] = {name: name for name in table.names}
        while chunk := list(itertools.islice(reader, _CHUNK)):
            if set(map(len, chunk)) != {self.width}:
                chunk = self.complete(chunk, done)
            for names, column in zip((table.sources, table.targets), self.ends):
                cells = map(itemgetter(column), chunk)
                names += [same.setdefault(name, name) for name in (cells if self.mark else map(str.strip, cells))]
            for name, column in self.wanted.items():
                values = [value.strip() for value in map(itemgetter(column), chunk)]
                found = table.edges.setdefault(name, Column())
                found.at += range(done, done + len(values))
                found.values += values
            for column in self.directions:
                for i, row in enumerate(chunk, done):
                    if row[column].strip().lower() in ("undirected", "mutual", "false"):
                        self.fail("an undirected edge; every synapse has a direction.", self.locate("edge", i))
            done += len(chunk)
            self.options.limits.check(neurons=len(same), synapses=done, what=self.path)

    def complete(self, chunk: list[list[str]], done: int) -> list[list[str]]:
        """Returns the rows without blank lines; any other row has the length of the header."""
        rows = []
        for row in chunk:
            if len(row) == self.width:
                rows.append(row)
            elif any(row) or len(row) > 1:
                line = self.locate("edge", done + len(rows))
                self.fail(f"a row of {len(row)} values; the header has {self.width}.", line)
        return rows

    def locate(self, kind: str, index: int) -> int | None:
        """Returns the line on which a row begins, or on which a neuron is first named."""
        if kind == "node" and self.mark:
            return self.mark
        if not self.lines:
            self.lines = list(self.row_lines())
        if kind == "node":
            name = self.table.names[index]
            index = next(i for i, ends in enumerate(zip(self.table.sources, self.table.targets)) if name in ends)
        return self.lines[index] if 0 <= index < len(self.lines) else None

    def row_lines(self) -> Iterator[int]:
        reader, before = self.reader(), 0
        try:
            for number, row in enumerate(reader):
                if number and (any(row) or len(row) > 1):
                    yield self.line + before
                before = reader.line_num
        except csv.Error:  # it stands behind the rows that are asked for
            return
