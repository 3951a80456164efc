"""Tasks from tables: CSV and Parquet files, data frames; what is no number is refused, or encoded by choice."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.documents import closest
from neurograph.errors import MissingExtraError, TaskError
from neurograph.tasks.arrays import ArrayTask
from neurograph.tasks.columns import check_choices, encode, read_column
from neurograph.tasks.own_data import existing_file, from_arrays, located, some_text
from neurograph.tasks.rows import check_labels, finite_numbers, tidy_labels

__all__ = ["from_csv", "from_frame", "from_parquet"]


def from_csv(
    path: str | os.PathLike[str],
    label: str | Sequence[str] = "label",
    delimiter: str = ",",
    drop: str | Sequence[str] | None = None,
    categories: str | Mapping[str, str] | None = None,
    dates: str | None = None,
    **options: Any,
) -> ArrayTask:
    """A task from a CSV file with a header: column `label` holds the classes, all others are inputs.

    Blanks at the ends of a cell do not count. Labels are integers if all are written as such (7, not 007), else names. A number
    is missing where its cell is empty, NA, N/A, NaN, null, None or ?; in columns of text these, unless empty, are text.

    Args:
      path: of the file.
      label: title of the column of labels; with `target="number"` also several, in a list.
      delimiter: between cells.
      drop: columns to leave out.
      categories: what is made of columns of text: "one_hot", an input per text, or "ordinal", its place in their sorted order;
        or a mapping of columns ({"zip": "one_hot"}), which may hold numbers too. Without a choice text is an error.
      dates: "number" makes days since 1970 (UTC) of columns of dates (2024-01-31, with or without a time). Without it dates are
        an error.
      options: of `from_arrays`, such as target and missing.

    Raises:
      TaskError: with file, line and column: a cell that is no finite number or beyond float32, a row of another length, an empty
        label; columns of text or dates, and missing values, for which no choice is made.

    Examples:
      >>> from pathlib import Path
      >>> import neurograph as ng
      >>> _ = Path("flowers.csv").write_text("width,colour,kind\\n" + "0.1,red,iris\\n,blue,rose\\n" * 10)
      >>> ng.get_task("csv:flowers.csv label=kind categories=one_hot missing=mean")
      <ArrayTask csv:flowers.csv: 3 inputs, 2 outputs, 2 classes>
    """
    file = existing_file(path)
    labels, delimiter = _labels(label), some_text("delimiter", delimiter or ",")
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise TaskError(f"delimiter: got {delimiter!r}; expected one character.")
    rows = lambda: closing(_lines(file, delimiter, labels))  # noqa: E731
    table = None
    if not drop and not isinstance(categories, Mapping):
        with rows() as some:
            table = _read_numbers(some, labels)
    if table is None:
        with rows() as some:
            table = _read_cells(some)
    columns, lines = table
    if not lines:
        raise TaskError(f"{file}: it has a header and no rows.")
    place = lambda row: f"{file}:{lines[row]}"  # noqa: E731
    choices: dict[str, Any] = {"drop": drop, "categories": categories, "dates": dates, "options": {"name": file.stem, **options}}
    return located(file, lambda: _from_columns(columns, labels, place, marks=True, **choices))


def from_parquet(
    path: str | os.PathLike[str],
    label: str | Sequence[str] = "label",
    drop: str | Sequence[str] | None = None,
    categories: str | Mapping[str, str] | None = None,
    dates: str | None = None,
    **options: Any,
) -> ArrayTask:
    """A task from a Parquet file with a label column. Options: `from_csv`.

    The index of a pandas frame that was written to the file is no column, as in `from_frame`.

    Raises:
      TaskError: as `from_frame`.
      MissingExtraError: pyarrow is not installed.
    """
    file = existing_file(path)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "tables", f"reading {file}") from error
    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise TaskError(f"{file}: no readable Parquet file ({error}).") from error
    index = {name for name in (table.schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)}
    labels = _labels(label)
    columns = [
        (name, table.column(i).to_numpy()) for i, name in enumerate(table.column_names) if name in labels or name not in index
    ]
    choices: dict[str, Any] = {"drop": drop, "categories": categories, "dates": dates, "options": {"name": file.stem, **options}}
    return located(file, lambda: _from_columns(columns, labels, **choices))


def from_frame(
    frame: Any,
    label: str | Sequence[str] = "label",
    drop: str | Sequence[str] | None = None,
    categories: str | Mapping[str, str] | None = None,
    dates: str | None = None,
    **options: Any,
) -> ArrayTask:
    """A task from a pandas frame (or anything with `columns` and `frame[column]`) with a label column. Options: `from_csv`.

    Categories of pandas keep their order.

    Raises:
      TaskError: no such column, two of one name, columns of text or dates and missing values for which no choice is made, or any
        fault that `from_arrays` finds.

    Examples:
      >>> import pandas
      >>> import neurograph as ng
      >>> frame = pandas.DataFrame({"width": [0.1, 0.9] * 10, "kind": ["iris", "rose"] * 10})
      >>> ng.from_frame(frame, label="kind").class_names
      ('iris', 'rose')
      >>> ng.from_frame(frame, label="width", target="number", categories="one_hot")
      <ArrayTask frame: 2 inputs, 1 outputs, regression>
    """
    names = getattr(frame, "column_names", getattr(frame, "columns", None))  # the former in pyarrow
    if names is None or not hasattr(frame, "__getitem__"):
        raise TaskError(f"from_frame: got {type(frame).__name__}; expected a data frame.")
    names = list(names)
    _check_columns([str(name) for name in names])
    columns = [(str(name), frame[name]) for name in names]
    choices: dict[str, Any] = {"drop": drop, "categories": categories, "dates": dates, "options": {"name": "frame", **options}}
    return _from_columns(columns, _labels(label), **choices)


def _from_columns(
    columns: Sequence[tuple[str, Any]],
    labels: Sequence[str],
    place: Callable[[int], str] = "row {}".format,
    *,
    marks: bool = False,
    drop: Any,
    categories: Any,
    dates: Any,
    options: dict[str, Any],
) -> ArrayTask:
    """A task from columns with their titles; `labels` are those of targets, `marks` as in `read_column`."""
    names = [name for name, _ in columns]
    if not marks:
        _check_columns(names)
    _check_labels(names, labels)
    numeric, dropping = options.get("target") == "number", options.get("missing") == "drop"
    chosen, left_out = check_choices(categories, dates, drop, [name for name in names if name not in labels])
    listed = chosen if isinstance(chosen, Mapping) else {}
    targets = [(name, values) for name, values in columns if name in labels]
    inputs = [
        read_column(name, values, place, as_text=name in listed, marks=marks)
        for name, values in columns
        if name not in labels and name not in left_out
    ]
    if not inputs:
        raise TaskError(f"drop: leaves no column besides {', '.join(map(repr, labels))}.")
    x = encode(inputs, chosen, dates, options.get("missing"))
    if numeric:
        return from_arrays(x, _numbers(targets, place, marks, dropping), **options)
    if len(labels) > 1:
        raise TaskError(f"label: got {len(labels)} columns; classes have one (target=number takes several).")
    ((name, values),) = targets
    known = _tidied(values, name, place) if marks else values
    if not dropping:
        known = check_labels(known, lambda row: f"{place(row)}: column {name!r}", f"column {name!r}")
    return from_arrays(x, known, **options)


def _numbers(targets: Sequence[tuple[str, Any]], place: Callable[[int], str], marks: bool, dropping: bool) -> np.ndarray:
    """The targets of a regression, [rows, outputs] float64."""
    found = [read_column(name, values, place, marks=marks) for name, values in targets]
    for column in found:
        if column.kind != "number":
            raise TaskError(f"column {column.name!r} holds {column.kind}s; expected numbers, as target=number says.")
        gone = np.flatnonzero(column.missing)
        if len(gone) and not dropping:
            where = f"{place(int(gone[0]))}: column {column.name!r}"
            raise TaskError(f"{where}: the target is missing ({len(gone)} are); missing=drop leaves such rows out.")
    return np.stack([column.values for column in found], axis=1)


def _tidied(labels: Sequence[str], name: str, place: Callable[[int], str]) -> np.ndarray:
    """Labels as written in a file: integers if all are, else names; None where missing."""
    there = [label for label in labels if label]
    different = set(there)
    if len(different) > 20 and 4 * len(different) > len(there) and all(map(_is_fraction, different)):
        raise TaskError(
            f"{place(0)}: column {name!r}: got {there[0]}; expected class numbers or names (target=number is for regression)."
        )
    tidy = tidy_labels(there)
    if len(there) == len(labels):
        return tidy
    found = np.full(len(labels), None, object)
    found[[bool(label) for label in labels]] = tidy.tolist()
    return found


def _is_fraction(text: str) -> bool:
    try:
        return float(text) is not None and not text.lstrip("-").isdecimal()
    except ValueError:
        return False


def _lines(file: Path, delimiter: str, labels: Sequence[str]) -> Generator[tuple[int, list[str]], None, None]:
    """The header of a CSV file, then its rows, each with the number of its last line.

    Raises:
      TaskError: no readable file, no header, no column of labels, or a row of another length.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
            header = [title.strip() for title in next(reader, [])]
            if not header:
                raise TaskError(f"{file}: it is empty; expected a header and rows.")
            _check_labels(header, labels, f"{file}: ")
            yield 1, header
            for cells in reader:
                if len(cells) not in (0, len(header)):
                    raise TaskError(f"{file}:{reader.line_num}: {len(cells)} cells; the header has {len(header)}.")
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TaskError(f"{file}: no readable CSV file ({error}).") from error


Table = tuple[list[tuple[str, Any]], list[int]]
"""Columns with their titles, and the line of every row."""


def _read_numbers(rows: Iterator[tuple[int, list[str]]], labels: Sequence[str]) -> Table | None:
    """A table whose inputs are all finite numbers, at once; None of any other."""
    _, titles = next(rows)
    inputs = [place for place, title in enumerate(titles) if title not in labels]
    found, lines = [], []
    targets: list[list[str]] = [[] for _ in titles]
    for line, cells in rows:
        numbers = finite_numbers([cells[place] for place in inputs])
        if numbers is None:
            return None
        found.append(numbers)
        lines.append(line)
        for place, title in enumerate(titles):
            if title in labels:
                targets[place].append(cells[place])
    values = np.stack(found) if found else np.zeros((0, len(inputs)))
    columns = {place: values[:, number] for number, place in enumerate(inputs)}
    return [(title, columns.get(place, targets[place])) for place, title in enumerate(titles)], lines


def _read_cells(rows: Iterator[tuple[int, list[str]]]) -> Table:
    """A table of text."""
    _, titles = next(rows)
    columns: list[list[str]] = [[] for _ in titles]
    lines = []
    for line, cells in rows:
        lines.append(line)
        for column, cell in zip(columns, cells):
            column.append(cell)
    return list(zip(titles, columns)), lines


def _check_columns(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise TaskError(f"column {twice!r} occurs {names.count(twice)} times; expected one column of a name.")


def _labels(label: Any) -> list[str]:
    """The titles of the columns of labels."""
    given = list(label) if isinstance(label, (list, tuple)) else ["label" if label is None or label == "" else label]
    names = [str(one) if type(one) is int else one for one in given]
    if strange := [one for one in names if not isinstance(one, str) or not one]:
        raise TaskError(f"label: got {strange[0]!r:.60}; expected the title of a column.")
    if not names or len(set(names)) < len(names):
        raise TaskError(f"label: got {names}; expected titles of columns, each once.")
    return names


def _check_labels(header: Sequence[str], labels: Sequence[str], where: str = "") -> None:
    for label in labels:
        if label not in header:
            close = closest(label, header)
            hint = f"did you mean {close!r}? " if close else ""
            there = ", ".join(header[:20]) or "none"
            raise TaskError(f"{where}there is no column {label!r} (option label); {hint}columns: {there}.")
        if header.count(label) > 1:
            raise TaskError(f"{where}column {label!r} occurs {header.count(label)} times.")
    if len(header) == len(labels):
        raise TaskError(f"{where}there is no column besides the label {labels[0]!r}.")
