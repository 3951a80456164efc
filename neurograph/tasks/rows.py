"""Rows and labels of your own data, checked: what is missing, masked, no number or no label is refused with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Shaped, UInt8

from neurograph.errors import TaskError

__all__ = [
    "BEYOND",
    "LARGEST",
    "check_bytes",
    "check_labels",
    "check_rows",
    "check_targets",
    "complete_rows",
    "finite_numbers",
    "is_missing",
    "is_plain",
    "merged_columns",
    "tidy_labels",
    "too_fine",
]

LARGEST = float(np.finfo(np.float32).max)
"""The largest number that an input can have: they are float32."""

_MOST_BYTES = 4 << 30
BEYOND = f"beyond float32, whose largest number is {LARGEST:.2g}"

_CHOICE = "missing=drop leaves such rows out, missing=mean fills in means of the training rows"


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


def check_rows(
    x: Any, argument: str, gaps: bool = False
) -> UInt8[np.ndarray, " rows *inputs"] | Float32[np.ndarray, " rows *inputs"]:
    """Returns `x` as an array [N, ...] of uint8 or finite float32; with `gaps` NaN where a value is missing or masked.

    Raises:
      TaskError: rows of unequal length, no numbers, values that are missing, masked, infinite or beyond float32, or columns whose
        differences float32 cannot hold; with the place.
    """
    if not gaps and np.ma.is_masked(x):
        masked = np.argwhere(np.ma.getmaskarray(np.ma.asarray(x)))
        raise TaskError(f"{argument}{masked[0].tolist()}: is masked, so its value is missing ({len(masked)} are); {_CHOICE}.")
    try:
        rows = _with_gaps(x) if gaps else np.asarray(x)
    except ValueError as error:
        raise TaskError(f"{argument}: its rows differ in length; expected an array [rows, inputs].") from error
    if rows.dtype.kind == "O":
        place = next((place for place, value in np.ndenumerate(rows) if is_missing(value)), None)
        if place is not None:
            raise TaskError(f"{argument}{list(place)}: a value is missing; {_CHOICE}.")
    if rows.dtype.kind not in "buif":
        raise TaskError(f"{argument}: got {rows.dtype} values; expected numbers.")
    if rows.ndim < 2 or len(rows) == 0 or rows[0].size == 0:
        raise TaskError(f"{argument}: got shape {rows.shape}; expected [rows, inputs] or [rows, height, width(, channels)].")
    if rows.dtype == np.uint8:
        return rows
    check_bytes(rows.size * 4, argument)
    with np.errstate(over="ignore"):
        result = rows.astype(np.float32)
    bad = ~(np.isfinite(result) | np.isnan(result)) if gaps else ~np.isfinite(result)
    if bad.any():
        place = [int(index) for index in np.argwhere(bad)[0]]
        got = rows[tuple(place)]
        why = BEYOND if np.isfinite(got) else "expected finite numbers"
        choice = f"; {_CHOICE}" if np.isnan(got) else ""
        raise TaskError(f"{argument}{place}: got {got}; {why} ({int(bad.sum())} are not){choice}.")
    if rows.ndim == 2:
        for column in merged_columns(rows):
            raise TaskError(too_fine(f"{argument}, column {column}"))
    return result


def _with_gaps(x: Any) -> np.ndarray:
    """An array, of floats with NaN where a value is missing or masked."""
    if np.ma.is_masked(x):
        masked: Any = np.ma.asarray(x).astype(np.float64)
        return masked.filled(np.nan)
    rows = np.asarray(x)
    if rows.dtype.kind != "O":
        return rows
    gone = _missing(rows)
    if any(isinstance(value, str) and value for value in rows.ravel().tolist()):
        return rows  # text is no number
    with suppress(TypeError, ValueError):
        return np.where(gone, np.nan, rows).astype(np.float64)
    return rows


def _as_given(values: Any) -> np.ndarray:
    """An array; of a list an array of objects: NumPy would make text of the numbers in one that also holds text."""
    return np.asarray(values) if hasattr(values, "dtype") else np.asarray(values, object)


def _missing(values: np.ndarray) -> np.ndarray:
    """Where the values of an array are missing, in its shape, bool."""
    return np.array([is_missing(value) for value in values.ravel().tolist()], bool).reshape(values.shape)


def complete_rows(x: Any, labels: Any, argument: str) -> tuple[Any, Any]:
    """Returns the rows and labels of which nothing is missing or masked; of different numbers of rows all.

    Raises:
      TaskError: there is no such row.
    """
    try:
        rows = _with_gaps(x)
        values = _as_given(labels)
    except ValueError:
        return x, labels  # of unequal length, which is found later
    if rows.ndim < 1 or values.ndim < 1 or len(rows) != len(values):
        return x, labels
    gone = np.ma.getmaskarray(np.ma.asarray(labels)) if np.ma.is_masked(labels) else _missing(values)
    lost = gone.reshape(len(values), -1).any(axis=1)
    if rows.dtype.kind in "fO":
        gaps = np.isnan(rows) if rows.dtype.kind == "f" else _missing(rows)
        lost |= gaps.reshape(len(rows), -1).any(axis=1)
    if lost.all():
        raise TaskError(f"missing: drop leaves no row of {argument}: something is missing in each of its {len(rows)} rows.")
    return rows[~lost], values[~lost]


def merged_columns(rows: np.ndarray) -> np.ndarray:
    """Columns of rows [N, inputs] whose values float64 tells apart but float32 does not, such as times in seconds since 1970;
    NaN counts for nothing."""
    if rows.dtype.itemsize <= 4 and rows.dtype.kind == "f":
        return np.empty(0, np.int64)
    values = rows.astype(np.float64)
    there = ~np.isnan(values)
    if not there.all():
        means = np.where(there, values, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        values = np.where(there, values, means)
    largest, deviation = np.abs(values).max(axis=0, initial=0), values.std(axis=0)
    return np.flatnonzero((deviation > 64 * np.finfo(np.float64).eps * largest) & (largest * 2.0**-24 > 0.1 * deviation))


def too_fine(where: str) -> str:
    return f"{where}: float32 cannot tell its values apart; subtract an offset that they have in common."


def is_plain(text: str) -> bool:
    """False for text that only Python reads as a number, such as 1_000."""
    return "_" not in text and text.isascii()


def finite_numbers(cells: list[str]) -> Float64[np.ndarray, " cells"] | None:
    """Cells as float64 numbers; None unless all are finite numbers that float32 can hold."""
    try:
        row = np.array(cells, np.float64)
    except ValueError:
        return None
    return row if (np.abs(row) <= LARGEST).all() and is_plain("".join(cells)) else None


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
        gone = f"is masked, so the label is missing ({len(masked)} are)"
        raise TaskError(f"{place(int(masked[0]))}: {gone}; missing=drop leaves such rows out.")
    try:
        values = _as_given(labels)
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
        raise TaskError(f"{place(gone[0])}: the label is missing ({len(gone)} are); missing=drop leaves such rows out.")
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
            why = "expected class numbers or names (target=number is for regression)"
            raise TaskError(f"{place(row)}: got {value!r:.60}; {why}.")
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


def check_targets(targets: Any, place: Callable[[int], str], argument: str) -> Float64[np.ndarray, "rows outputs"]:
    """Returns the targets of a regression [N] or [N, outputs] as finite float64 [N, outputs].

    Args:
      targets: an array, list or column.
      place: what to call a row in messages.
      argument: what to call the targets in messages.

    Raises:
      TaskError: no numbers, or one that is missing, masked, infinite or beyond float32.
    """
    try:
        values = _with_gaps(targets if np.ma.is_masked(targets) else _as_given(targets))
    except ValueError as error:
        raise TaskError(f"{argument}: the targets differ in length; expected [rows] or [rows, outputs].") from error
    if values.dtype.kind == "O":
        row = next((row for row, value in enumerate(values) if not isinstance(value, (int, float, np.number))), 0)
        raise TaskError(f"{place(row)}: got {values[row]!r:.60}; expected a number (target=number).")
    if values.dtype.kind not in "buif":
        raise TaskError(f"{argument}: got {values.dtype} targets; expected numbers (target=number).")
    if values.ndim not in (1, 2) or values.size == 0:
        raise TaskError(f"{argument}: got shape {values.shape}; expected [rows] or [rows, outputs] (target=number).")
    values = values.astype(np.float64).reshape(len(values), -1)
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~(np.abs(values) <= LARGEST).all(axis=1))
    if len(bad):
        if np.isnan(values[bad[0]]).any():
            gone = int(np.isnan(values).any(axis=1).sum())
            raise TaskError(f"{place(int(bad[0]))}: the target is missing ({gone} are); missing=drop leaves such rows out.")
        raise TaskError(f"{place(int(bad[0]))}: got {values[bad[0]].max():g}; expected finite numbers that float32 can hold.")
    return values


def tidy_labels(labels: Iterable[str]) -> Shaped[np.ndarray, " rows"]:
    """Text labels as integers if all are, so that class 10 comes after class 9; 01 and 10**20 are none: they stay names."""
    labels = list(labels)
    if all(len(label) < 20 and label.lstrip("-").isdecimal() and label.count("-") < 2 for label in labels):
        numbers = [int(label) for label in labels]
        if [str(number) for number in numbers] == labels and all(-(2**63) <= number < 2**63 for number in numbers):
            return np.array(numbers, np.int64)
    return np.array(labels)
