"""Rows and labels of your own data, checked: what is missing, masked, no number or no label is refused with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Shaped, UInt8

from neurograph.errors import TaskError

__all__ = ["LARGEST", "check_bytes", "check_labels", "check_rows", "float32_column", "is_missing", "read_cells", "tidy_labels"]

LARGEST = float(np.finfo(np.float32).max)
"""The largest number that an input can have: they are float32."""

_MOST_BYTES = 4 << 30
_BEYOND = f"beyond float32, whose largest number is {LARGEST:.2g}"


def check_bytes(number: int, what: str) -> None:
    """Raises TaskError if `number` bytes are too many to be kept on the device."""
    if number > _MOST_BYTES:
        raise TaskError(
            f"{what}: {number / 1e9:.1f} GB; at most {_MOST_BYTES / 1e9:.1f} GB are kept resident. Use fewer or smaller rows."
        )


def is_missing(value: Any) -> bool:
    """True for None, empty text, NaN, NaT, pandas.NA and a masked value."""
    if value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return not value
    return isinstance(value, (float, np.floating, np.datetime64, np.timedelta64)) and bool(value != value)


# ---- inputs


def check_rows(x: Any, argument: str) -> UInt8[np.ndarray, " rows *inputs"] | Float32[np.ndarray, " rows *inputs"]:
    """Returns `x` as an array [N, ...] of uint8 or finite float32.

    Raises:
      TaskError: rows of unequal length, no numbers, values that are missing, masked, infinite or beyond float32, or columns whose
        differences float32 cannot hold; with the place.
    """
    if np.ma.is_masked(x):
        masked = np.argwhere(np.ma.getmaskarray(np.ma.asarray(x)))
        raise TaskError(f"{argument}{masked[0].tolist()}: is masked, so its value is missing ({len(masked)} are).")
    try:
        rows = np.asarray(x)
    except ValueError as error:
        raise TaskError(f"{argument}: its rows differ in length; expected an array [rows, inputs].") from error
    if rows.dtype.kind == "O":
        place = next((place for place, value in np.ndenumerate(rows) if is_missing(value)), None)
        if place is not None:
            raise TaskError(f"{argument}{list(place)}: a value is missing.")
    if rows.dtype.kind not in "buif":
        raise TaskError(f"{argument}: got {rows.dtype} values; expected numbers.")
    if rows.ndim < 2 or len(rows) == 0 or rows[0].size == 0:
        raise TaskError(f"{argument}: got shape {rows.shape}; expected [rows, inputs] or [rows, height, width(, channels)].")
    if rows.dtype == np.uint8:
        return rows
    check_bytes(rows.size * 4, argument)
    with np.errstate(over="ignore"):
        result = rows.astype(np.float32)
    bad = ~np.isfinite(result)
    if bad.any():
        place = [int(index) for index in np.argwhere(bad)[0]]
        got = rows[tuple(place)]
        why = _BEYOND if np.isfinite(got) else "expected finite numbers"
        raise TaskError(f"{argument}{place}: got {got}; {why} ({int(bad.sum())} are not).")
    if rows.ndim == 2:
        for column in _merged(rows):
            raise TaskError(_fine(f"{argument}, column {column}"))
    return result


def _merged(rows: np.ndarray) -> np.ndarray:
    """Columns of rows [N, inputs] whose values float64 tells apart but float32 does not, such as times in seconds since 1970."""
    if rows.dtype.itemsize <= 4 and rows.dtype.kind == "f":
        return np.empty(0, np.int64)
    values = rows.astype(np.float64)
    largest, deviation = np.abs(values).max(axis=0), values.std(axis=0)
    return np.flatnonzero((deviation > 64 * np.finfo(np.float64).eps * largest) & (largest * 2.0**-24 > 0.1 * deviation))


def _fine(where: str) -> str:
    return f"{where}: float32 cannot tell its values apart; subtract an offset that they have in common."


def float32_column(values: Any, name: str) -> Float32[np.ndarray, " rows"]:
    """Returns a column of a table as finite float32 [N].

    Raises:
      TaskError: with the column, and the row where there is one: no numbers, missing, infinite or beyond float32.
    """
    where = f"column {name!r}"
    if np.ma.is_masked(values):
        row = int(np.flatnonzero(np.ma.getmaskarray(np.ma.asarray(values)))[0])
        raise TaskError(f"{where}, row {row}: is masked, so its value is missing.")
    column = np.asarray(values)
    if column.ndim != 1:
        raise TaskError(f"{where} has shape {column.shape}; expected one number per row.")
    if column.dtype.kind == "O":
        column = _numbers(column, where)
    if column.dtype.kind not in "buif":
        raise TaskError(f"{where} holds {column.dtype}; expected numbers (drop it, or encode it).")
    with np.errstate(over="ignore"):
        result = column.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(result))
    if len(bad):
        got = column[bad[0]]
        why = f"got {got}; {_BEYOND}" if np.isfinite(got) else "missing or infinite"
        raise TaskError(f"{where}, row {bad[0]}: {why} ({len(bad)} such rows); expected finite numbers.")
    if len(column) and len(_merged(column[:, None])):
        raise TaskError(_fine(where))
    return result


def _numbers(column: np.ndarray, where: str) -> np.ndarray:
    numbers = np.empty(len(column), np.float64)
    for row, value in enumerate(column.tolist()):
        try:
            if isinstance(value, str) and not _is_plain(value):
                raise ValueError
            numbers[row] = np.nan if is_missing(value) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise TaskError(f"{where}, row {row}: got {value!r:.60}; expected numbers (drop the column, or encode it).") from None
    return numbers


def _is_plain(text: str) -> bool:
    """False for text that only Python reads as a number, such as 1_000."""
    return "_" not in text and text.isascii()


def read_cells(cells: list[str], names: list[str], where: str) -> Float64[np.ndarray, " cells"]:
    """Returns the cells of one line of a file as float64 numbers that float32 can hold.

    Raises:
      TaskError: the first cell that is no finite number, or beyond float32, with its column's name.
    """
    try:
        row = np.array(cells, np.float64)
        if (np.abs(row) <= LARGEST).all() and _is_plain("".join(cells)):
            return row
    except ValueError:
        pass
    numbers = []
    for name, cell in zip(names, cells):
        try:
            number = float(cell) if _is_plain(cell) else np.nan
        except ValueError:
            number = np.nan
        if not np.isfinite(number):
            got = repr(cell) if len(cell) <= 60 else f"{cell[:57]!r}..."
            raise TaskError(f"{where}: column {name!r}: got {got}; expected a finite number.")
        if abs(number) > LARGEST:
            raise TaskError(f"{where}: column {name!r}: got {cell}; {_BEYOND}.")
        numbers.append(number)
    return np.array(numbers)


# ---- labels


def check_labels(labels: Any, place: Callable[[int], str], argument: str) -> Shaped[np.ndarray, " rows"]:
    """Returns labels as an array [N] of text, integers or bools.

    Args:
      labels: an array, list or column.
      place: what to call a row in messages.
      argument: what to call the labels in messages.

    Raises:
      TaskError: not one label per row; one that is missing or masked, a fraction, or no text and no number; a number and a text
        that would have one name.
    """
    if np.ma.is_masked(labels):
        masked = np.flatnonzero(np.ma.getmaskarray(np.ma.asarray(labels)))
        raise TaskError(f"{place(int(masked[0]))}: is masked, so the label is missing ({len(masked)} are).")
    try:
        # NumPy would make text of the numbers in a list that also holds text
        values = np.asarray(labels) if hasattr(labels, "dtype") else np.asarray(labels, object)
    except ValueError as error:
        raise TaskError(f"{argument}: the labels differ in length; expected one label per row.") from error
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise TaskError(f"{argument}: got shape {values.shape}; expected one label per row (a class number or name).")
    if values.dtype.kind in "biu":
        return values
    gone = [row for row, value in enumerate(values.tolist()) if is_missing(value)]
    if gone:
        raise TaskError(f"{place(gone[0])}: the label is missing ({len(gone)} are).")
    if values.dtype.kind == "U":
        return values
    if values.dtype.kind not in "fO":
        raise TaskError(f"{argument}: got {values.dtype} labels; expected class numbers or names.")
    return _as_labels(values.tolist(), place)


def _as_labels(values: list[Any], place: Callable[[int], str]) -> np.ndarray:
    """Labels of any Python type: integers that fit in 64 bits, bools, else text."""
    plain: list[Any] = []
    kinds: dict[str, type] = {}  # name of a class -> what it is: str, bool or int
    for row, value in enumerate(values):
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            value = int(value)
        kind = next((known for known in (str, bool, int) if isinstance(value, known)), None)
        if kind is None and isinstance(value, (np.bool_, np.integer)):
            value = value.item()
            kind = type(value)
        if kind is None:
            raise TaskError(f"{place(row)}: got {value!r:.60}; expected class numbers or names (regression data is not read).")
        if kinds.setdefault(str(value), kind) is not kind:
            before = _KINDS[kinds[str(value)]]
            raise TaskError(f"{place(row)}: the label {value!r:.60} is {_KINDS[kind]} here and {before} elsewhere.")
        plain.append(value)
    found = set(kinds.values())
    if found == {int} and all(-(2**63) <= value < 2**63 for value in plain):
        return np.array(plain, np.int64)
    if found == {bool}:
        return np.array(plain, bool)
    return np.array([str(value) for value in plain])


_KINDS = {str: "text", bool: "true or false", int: "a number"}


def tidy_labels(labels: Iterable[str]) -> Shaped[np.ndarray, " rows"]:
    """Text labels as integers if all are, so that class 10 comes after class 9; 01 and 10**20 are none: they stay names."""
    labels = list(labels)
    if all(len(label) < 20 and label.lstrip("-").isdecimal() and label.count("-") < 2 for label in labels):
        numbers = [int(label) for label in labels]
        if [str(number) for number in numbers] == labels and all(-(2**63) <= number < 2**63 for number in numbers):
            return np.array(numbers, np.int64)
    return np.array(labels)
