"""Documents that people write: YAML with line numbers, JSON, faults with their place, and "did you mean".

YAML is read as a tree whose every node knows its line and column, so that no file can hang or exhaust the machine.

The tree is built from PyYAML's events rather than by `yaml.load` or `yaml.compose`: those recurse (deep nesting overflows the C
stack) and keep the last of two equal keys. Scalars follow the YAML 1.2 core schema, because the 1.1 rules surprise: here `1e-3`
is a number, `no` is text, `010` is text and only true/false are booleans.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from neurograph.errors import Fault, NeurographError, SpecError

__all__ = [
    "Node",
    "Source",
    "closest",
    "fault_message",
    "kind_of",
    "named_file",
    "parse_json",
    "parse_yaml",
    "scalar",
    "shown",
    "suggestion",
]

MAX_DEPTH = 40
MAX_NODES = 3_000_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL: dict[str, Any] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf"], float("inf")),
    "-.inf": float("-inf"),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
}


@dataclass(slots=True)
class Node:
    """One YAML node: `value` is a scalar, a list of nodes or a dict of nodes; `keys` holds the places of a dict's keys."""

    value: Any
    line: int
    column: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1  # nodes in this subtree, aliases written out

    def plain(self) -> Any:
        """The same as plain Python data."""
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        return self.value

    def find(self, path: tuple[Any, ...], *, key: bool = False) -> tuple[int, int]:
        """Line and column of what `path` leads to, or of the last node on the way that exists; `key` asks for its key instead."""
        node = self
        for i, step in enumerate(path):
            value = node.value
            if isinstance(value, dict) and step in value:
                if key and i == len(path) - 1:
                    return node.keys[step]
                node = value[step]
            elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
                node = value[step]
            else:
                break
        return node.line, node.column


class WrittenInt(int):
    """An integer whose text in the file is another than Python's, such as +1: as a name, it is that text."""

    written: str


def scalar(text: str) -> Any:
    """Value of an unquoted scalar by the YAML 1.2 core schema; numbers with leading zeros stay text."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    if len(text) <= 40:
        if _INT.fullmatch(text):
            number = int(text)
            if text == str(number):
                return number
            signed = WrittenInt(number)
            signed.written = text
            return signed
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


class _Builder:
    """Puts events together without recursion; raises SpecError at the first thing that breaks the tree, gathers the others."""

    def __init__(self, path: str):
        self.path = path
        self.faults: list[Fault] = []
        self.stack: list[tuple[Node, str | None, tuple[int, int] | None, str | None]] = []
        self.key: str | None = None  # key waiting for its value
        self.key_place: tuple[int, int] | None = None
        self.anchors: dict[str, Node | None] = {}
        self.root: Node | None = None
        self.count = 0

    def fault(self, message: str, mark: Any) -> Fault:
        return Fault(message, self.path, mark.line + 1, mark.column + 1)

    def stop(self, message: str, mark: Any) -> None:
        raise SpecError([*self.faults, self.fault(message, mark)])

    def add(self, node: Node, mark: Any) -> None:
        self.count += node.size
        if self.count > MAX_NODES:
            self.stop(
                f"more than {MAX_NODES:,} values once aliases are written out; for large graphs use GraphML, JSON or CSV.", mark
            )
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1][0]
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif self.key is None:
            if isinstance(node.value, (dict, list)):
                self.stop("a key must be text, not a list or a mapping.", mark)
            self.key, self.key_place = str(node.value), (node.line, node.column)
            if self.key in parent.value:
                line = parent.keys[self.key][0]
                self.faults.append(self.fault(f"key {self.key!r} is given twice; the first is on line {line}.", mark))
            return
        else:
            if self.key not in parent.value:  # of two equal keys, the first is looked at
                parent.value[self.key] = node
                parent.keys[self.key] = self.key_place or (node.line, node.column)
            self.key = None
        parent.size += node.size

    def feed(self, event: yaml.Event) -> None:
        mark = event.start_mark
        if getattr(event, "tag", None) is not None and event.tag != "!":  # type: ignore[attr-defined]
            self.stop(f"tag {event.tag!r}: tags are not allowed.", mark)  # type: ignore[attr-defined]
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.style is None or event.style == ""
            is_key = bool(self.stack) and isinstance(self.stack[-1][0].value, dict) and self.key is None
            value = scalar(event.value) if plain and not is_key else event.value
            node = Node(value, mark.line + 1, mark.column + 1)
            if anchor:
                self.anchors[anchor] = node
            self.add(node, mark)
        elif isinstance(event, yaml.AliasEvent):
            node = self.anchors.get(anchor or "", None)
            if node is None:
                known = anchor in self.anchors
                self.stop(f"alias *{anchor} {'stands inside what it names' if known else 'names nothing'}.", mark)
            else:
                self.add(node, mark)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(self.stack) >= MAX_DEPTH:
                self.stop(f"nested deeper than {MAX_DEPTH} levels.", mark)
            is_map = isinstance(event, yaml.MappingStartEvent)
            if is_map and self.stack and isinstance(self.stack[-1][0].value, dict) and self.key is None:
                self.stop("a key must be text, not a list or a mapping.", mark)
            node = Node({} if is_map else [], mark.line + 1, mark.column + 1)
            self.stack.append((node, self.key, self.key_place, anchor))
            self.key = None
            if anchor:
                self.anchors[anchor] = None  # until it is complete
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            node, self.key, self.key_place, anchor = self.stack.pop()
            self.count -= node.size - 1  # its parts were counted before
            if anchor:
                self.anchors[anchor] = node
            self.add(node, mark)


def parse_yaml(text: str, path: str) -> Node:
    """The single document in `text`.

    Raises:
      SpecError: not YAML (with the place), more than one document or none, duplicate keys (all of them), tags, aliases that
        contain themselves or blow up, nesting beyond 40 levels.
    """
    builder = _Builder(path)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    builder.stop("a second document begins here; one file describes one graph.", event.start_mark)
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        context = f" ({error.context})" if error.context else ""
        raise SpecError([Fault(f"not valid YAML: {error.problem}{context}.", path, line, column)]) from error
    except yaml.reader.ReaderError as error:
        place = error.position if isinstance(error.position, int) else 0
        line = text.count("\n", 0, place) + 1
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "\0")
        raise SpecError([Fault(f"not valid YAML: the character U+{code:04X} is not allowed.", path, line)]) from error
    except yaml.YAMLError as error:
        raise SpecError([Fault(f"not valid YAML: {error}.", path)]) from error
    if builder.root is None:
        raise SpecError([Fault("the file is empty.", path)])
    if builder.faults:
        raise SpecError(builder.faults)
    return builder.root


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`, save that a whole number which no float holds is infinite, as 1e999 is: whoever asks for finite numbers
    gets an answer and no OverflowError.

    Raises:
      ValueError, RecursionError: see `json.loads`.
    """
    return json.loads(text, parse_int=_whole)


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= 308 else float(digits)


class Source:
    """Where a description came from; makes faults out of paths such as ("connections", 2, "from")."""

    def __init__(self, path: str = "", tree: Node | None = None):
        self.path, self.tree = path, tree

    def fault(self, message: str, at: tuple[Any, ...] = (), *, key: bool = False) -> Fault:
        line, column = self.tree.find(at, key=key) if self.tree else (None, None)
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:60]}" for step in at).lstrip(".")
        return Fault(message, self.path or "topology", line, column, where)


def closest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that is most like `name`, in any case of its letters; None if none is near."""
    names = {known.lower(): known for known in list(allowed)[:2000] if len(known) <= 64}
    close = difflib.get_close_matches(name[:64].lower(), names, 1)
    return names[close[0]] if close else None


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean 'x'?`, or what is allowed."""
    names = [str(known) for known in allowed]
    if close := closest(name, names):
        return f"; did you mean {close!r}?"
    if not names:
        return "; there are none."
    if len(names) > 32 or sum(map(len, names)) > 600:
        return f"; allowed: {', '.join(known[:40] for known in names[:6])}, ... ({len(names):,} in all)."
    return f"; allowed: {', '.join(names)}."


def named_file(
    name: str | os.PathLike[str],
    shipped: Mapping[str, Path],
    kind: str,
    error: type[NeurographError],
    beside: Path | None = None,
) -> Path:
    """The file that a name stands for.

    A name with a folder or an ending is a file, never a shipped one. Any other is a file if there is one, else a shipped one.

    Args:
      name: as given by a user.
      shipped: files that come with neurograph, by their names.
      kind: what is sought, for messages: "topology", "genome", "experiment".
      error: raised where there is no such file.
      beside: a folder in which relative paths are looked up as well, after the current one.
    """
    path, text = Path(name), os.fspath(name)[:200]
    named = not path.suffix and path.name == os.fspath(name)
    if "\0" in text:
        raise error(f"{text!r}: cannot be read (a NUL in its name).")
    try:
        for place in (path, *([beside / path] if beside else [])):
            if place.is_file() or (place.exists() and not named):
                return place
    except OSError as fault:
        raise error(f"{text}: cannot be read ({fault.strerror}).") from fault
    if named and path.name in shipped:
        return shipped[path.name]
    if named:
        raise error(f"{text}: no such file, and no shipped {kind} of that name{suggestion(path.name, shipped)}")
    close = closest(path.stem, shipped)
    raise error(f"{text}: there is no such file{f'; did you mean the shipped {close!r}?' if close else '.'}")


def fault_message(detail: Any) -> str:
    """A detail of a pydantic ValidationError in the words of this project: what was got, what is expected."""
    kind, got, context = detail["type"], shown(detail["input"]), detail.get("ctx", {})
    if kind == "value_error":
        text = str(context.get("error", detail["msg"])).rstrip(".")
        return f"got {got}; {text}." if text.startswith("expected") else f"{text}."
    bound = next((context[key] for key in ("gt", "ge", "lt", "le") if key in context), None)
    number = "an integer" if isinstance(bound, int) else "a number"
    expected = {
        "int_type": "an integer",
        "int_from_float": "an integer",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "string_too_short": "a name that is not empty",
        "string_too_long": f"at most {context.get('max_length')} characters",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
        "too_short": f"at least {context.get('min_length')} value(s)",
        "too_long": f"at most {context.get('max_length')} values",
        "literal_error": f"one of {context.get('expected')}",
        "greater_than": f"{number} > {bound}",
        "greater_than_equal": f"{number} >= {bound}",
        "less_than": f"{number} < {bound}",
        "less_than_equal": f"{number} <= {bound}",
    }.get(kind)
    if expected is None:
        return f"got {got}; {detail['msg'][:1].lower()}{detail['msg'][1:]}."
    hint = ""
    if kind in ("int_type", "float_type") and isinstance(detail["input"], str):
        hint = " without quotes" if _is_number(detail["input"]) else ""
    if kind == "bool_type" and isinstance(detail["input"], str) and detail["input"].lower() in ("yes", "no", "on", "off"):
        hint = " (yes, no, on and off are text)"
    return f"got {got}; expected {expected}{hint}."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def shown(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return kind_of(value)
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > 10**20:
        return f"a number of {len(str(abs(value))[:4000])} digits" if abs(value) < 10**4000 else "an enormous number"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind_of(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else shown(value)
