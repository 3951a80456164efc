"""Columns of tables: numbers, text or dates; text and dates become numbers by choice, never by themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
from jaxtyping import Float64

from neurograph.documents import suggestion
from neurograph.errors import TaskError
from neurograph.tasks.rows import BEYOND, LARGEST, is_missing, is_plain, merged_columns, too_fine

__all__ = ["ENCODINGS", "Column", "check_choices", "encode", "read_column"]

Place = Callable[[int], str]
"""A row's number to its place in messages."""

ENCODINGS = ("one_hot", "ordinal")

MARKS = frozenset(["na", "n/a", "nan", "null", "none", "?"])
"""What files write for a missing number or date, in any case of the letters; in columns of text these are text."""

_LIKE_A_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(\D.*)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
      name: its title.
      kind: "number", "date" or "text".
      values: [rows] float64, NaN where missing: numbers, or days since 1970 in UTC; of text [rows] str, None where missing.
      place: what to call a row in messages.
      order: the different texts where the table says their order.
    """

    name: str
    kind: str
    values: np.ndarray
    place: Place
    order: tuple[str, ...] | None = None

    @property
    def missing(self) -> np.ndarray:
        """Where a value is missing, [rows] bool."""
        if self.kind == "text":
            return np.array([value is None for value in self.values.tolist()], bool)
        return np.isnan(self.values)


def read_column(name: str, values: Any, place: Place, *, as_text: bool = False, marks: bool = False) -> Column:
    """Reads a column: numbers (also those written as text), dates (also those written as text, in the form of ISO 8601), or text.

    Args:
      name: its title.
      values: [rows], an array, list or column of a frame.
      place: what to call a row in messages.
      as_text: whatever it holds is text.
      marks: whether `MARKS` stand for missing numbers and dates.

    Raises:
      TaskError: with the place: a value that is masked or infinite, beyond float32, of another kind than the others, or of none
        of these kinds; numbers that float32 cannot tell apart.
    """
    where = f"column {name!r}"
    if np.ma.is_masked(values):
        row = int(np.flatnonzero(np.ma.getmaskarray(np.ma.asarray(values)))[0])
        raise TaskError(f"{place(row)}: {where}: is masked, so its value is missing.")
    column = np.asarray(values)
    if column.ndim != 1:
        raise TaskError(f"{where} has shape {column.shape}; expected one value per row.")
    if column.dtype.kind not in "buifMOU":
        raise TaskError(f"{where} holds {column.dtype}; expected numbers, text or dates (or leave it out: drop=[{name}]).")
    if as_text:
        text = [None if is_missing(value) else str(value) for value in column.tolist()]
        return Column(name, "text", np.array(text, object), place, _order(values))
    if column.dtype.kind == "M":
        days = (column - np.datetime64(0, "D")) / np.timedelta64(1, "D")
        return _checked(Column(name, "date", np.where(np.isnat(column), np.nan, days), place), column)
    if column.dtype.kind in "buif":
        return _checked(Column(name, "number", column.astype(np.float64), place), column)
    return _of_objects(name, column.tolist(), place, marks, _order(values))


def _of_objects(name: str, values: list[Any], place: Place, marks: bool, order: tuple[str, ...] | None) -> Column:
    """The column of Python's objects, whose kind is that of all that are not missing."""
    read: list[Any] = [None if is_missing(value) else _read(value) for value in values]
    gone = [value is None or (marks and isinstance(value, str) and value.casefold() in MARKS) for value in read]
    kept = [row for row, lost in enumerate(gone) if not lost]
    numbers, dates, texts = ([row for row in kept if isinstance(read[row], kind)] for kind in (float, datetime, str))
    if strange := [row for row in kept if read[row] is ...]:
        raise TaskError(_got(name, place(strange[0]), repr(values[strange[0]]), "expected numbers, text or dates"))
    if texts and not numbers and not dates:
        if all(_LIKE_A_DATE.fullmatch(read[row]) for row in texts):
            hint = f"expected dates as 2024-01-31, or that with a time (if they are names: categories={{{name}: one_hot}})"
            raise TaskError(_got(name, place(texts[0]), repr(values[texts[0]]), hint))
        text = [value if isinstance(value, str) else None for value in read]
        return Column(name, "text", np.array(text, object), place, order)
    if dates and (numbers or texts):
        row = (numbers + texts)[0]
        raise TaskError(_got(name, place(row), repr(values[row]), f"expected a date, as in {len(dates)} other rows"))
    if texts:
        row, share = texts[0], f"{len(numbers)} of {len(values)} are numbers"
        hint = f"if all are names, categories={{{name}: one_hot}} reads them so"
        raise TaskError(_got(name, place(row), repr(values[row]), f"expected a finite number ({share}; {hint})"))
    if dates:
        days = [np.nan if lost else (value - _EPOCH).total_seconds() / 86400 for value, lost in zip(read, gone)]
        return _checked(Column(name, "date", np.array(days, np.float64), place), values)
    found = [np.nan if lost else value for value, lost in zip(read, gone)]
    return _checked(Column(name, "number", np.array(found, np.float64), place), values)


def _got(name: str, place: str, shown: Any, expected: str) -> str:
    text = str(shown)
    return f"{place}: column {name!r}: got {text if len(text) <= 60 else text[:57] + '...'}; {expected}."


def _read(value: Any) -> Any:
    """A float, a datetime in UTC, a str, or ... for anything else."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    if isinstance(value, str):
        text = value.strip()
        if is_plain(text):
            try:
                number = float(text)
                return value if number != number else number
            except ValueError:
                pass
        if text[:4].isdecimal():
            try:
                return _read(datetime.fromisoformat(text))
            except ValueError:
                pass
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return ...


def _order(values: Any) -> tuple[str, ...] | None:
    """The order of pandas' categories."""
    categories = getattr(getattr(values, "cat", None), "categories", None)
    return None if categories is None else tuple(str(one) for one in categories)


def _checked(column: Column, given: Sequence[Any] | np.ndarray) -> Column:
    """Raises TaskError for numbers that are infinite, or that float32 cannot hold or tell apart."""
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(np.abs(column.values) > LARGEST)
    if len(bad):
        row = int(bad[0])
        why = "expected a finite number" if np.isinf(column.values[row]) else BEYOND
        got = repr(given[row]) if isinstance(given[row], str) and np.isinf(column.values[row]) else given[row]
        more = f" ({len(bad)} such rows)" if len(bad) > 1 else ""
        raise TaskError(_got(column.name, column.place(row), got, f"{why}{more}"))
    narrow = isinstance(given, np.ndarray) and given.dtype.kind == "f" and given.dtype.itemsize <= 4
    if not narrow and len(merged_columns(column.values[:, None])):
        raise TaskError(too_fine(f"column {column.name!r}"))
    return column


# ---- text and dates as numbers


def check_choices(categories: Any, dates: Any, drop: Any, names: Sequence[str]) -> tuple[str | Mapping[str, str], list[str]]:
    """Returns `categories` and the columns of `drop` of tables whose columns have these names.

    Raises:
      TaskError: a choice that there is not, or a column that there is not.
    """
    if dates not in (None, "number"):
        raise TaskError(f"dates: got {dates!r}; expected number (days since 1970), or nothing.")
    chosen = {str(k): way for k, way in categories.items()} if isinstance(categories, Mapping) else categories or {}
    given = list(chosen.values()) if isinstance(chosen, Mapping) else [chosen]
    if strange := [one for one in given if one not in ENCODINGS]:
        ways = ", ".join(ENCODINGS)
        raise TaskError(f"categories: got {strange[0]!r}; expected one of {ways}, or a mapping of columns, {{colour: one_hot}}.")
    left_out = [str(one) for one in drop] if isinstance(drop, (list, tuple)) else [str(drop)] * bool(drop)
    for option, columns in (("categories", list(chosen) if isinstance(chosen, Mapping) else []), ("drop", left_out)):
        for column in columns:
            if column not in names:
                raise TaskError(f"{option}: there is no column {column!r}{suggestion(str(column), names)}")
    return chosen, left_out


def encode(
    columns: Sequence[Column], categories: str | Mapping[str, str], dates: str | None, missing: str | None
) -> Float64[np.ndarray, "rows inputs"]:
    """Returns columns as inputs [rows, inputs] float64, NaN where a value is missing.

    A column of text becomes an input per text (one_hot), or the place of the text in their order (ordinal); dates are days.
    Texts are those of all rows, sorted, or in the order that the table says.

    Raises:
      TaskError: columns of text or dates that no choice is made for; text that names rows rather than kinds; values that are
        missing, without a choice.
    """
    ways = {c.name: categories if isinstance(categories, str) else categories.get(c.name) for c in columns if c.kind == "text"}
    text = [column for column in columns if column.kind == "text" and ways[column.name] is None]
    days = [column for column in columns if column.kind == "date" and dates is None]
    if text or days:
        raise TaskError(_unread(text, days))
    if missing is None and (lacking := [column for column in columns if column.missing.any()]):
        raise TaskError(_lacking(lacking))
    if missing == "mean" and (empty := [column.name for column in columns if column.missing.all()]):
        raise TaskError(f"missing: column {empty[0]!r} has no value at all, so no mean; leave it out: drop=[{empty[0]}].")
    inputs = [
        _encoded(column, ways[column.name] == "one_hot") if column.kind == "text" else column.values[:, None]
        for column in columns
    ]
    return np.concatenate(inputs, axis=1)


def _encoded(column: Column, one_hot: bool) -> Float64[np.ndarray, "rows codes"]:
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    known = _texts(column)
    options: dict[str, Any] = {"categories": [known], "dtype": np.float64}
    encoder: Any = OneHotEncoder(sparse_output=False, **options) if one_hot else OrdinalEncoder(**options)
    there = ~column.missing
    found = np.full((len(there), len(known) if one_hot else 1), np.nan)
    if there.any():
        found[there] = encoder.fit_transform(column.values[there][:, None])
    return found


def _texts(column: Column) -> list[str]:
    """The different texts of a column in their order."""
    there = {value for value in column.values.tolist() if value is not None}
    if len(there) > 20 and 2 * len(there) > len(column.values):
        raise TaskError(
            f"column {column.name!r}: its {len(column.values)} rows hold {len(there)} different texts, such as"
            f" {min(there)!r:.40}, which are no categories; leave it out: drop=[{column.name}]."
        )
    return sorted(there) if column.order is None else [one for one in column.order if one in there]


def _unread(text: Sequence[Column], days: Sequence[Column]) -> str:
    """The message about columns that are no numbers."""
    parts, choices = [], []
    if text:
        shown = [f"{column.name!r} ({_some(column)})" for column in text[:8]]
        parts.append(_holding(text, shown, "text"))
        choices.append(f"categories={' or '.join(ENCODINGS)}")
    if days:
        parts.append(_holding(days, [repr(column.name) for column in days[:8]], "dates"))
        choices.append("dates=number (days)")
    names = ", ".join(column.name for column in [*text, *days][:8])
    return f"{' and '.join(parts)}; expected numbers, or a choice: {', '.join(choices)}, or drop=[{names}] to leave out."


def _holding(columns: Sequence[Column], shown: Sequence[str], kind: str) -> str:
    many = len(columns) > 1
    return f"column{'s' * many} {', '.join(shown)}{', ...' * (len(columns) > 8)} hold{'s' * (not many)} {kind}"


def _some(column: Column) -> str:
    there = list(dict.fromkeys(value for value in column.values.tolist() if value is not None))
    return ", ".join(f"{value!r:.30}" for value in there[:3]) + (f", ... {len(there)} in all" if len(there) > 3 else "")


def _lacking(columns: Sequence[Column]) -> str:
    """The message about missing values."""
    counts = [int(column.missing.sum()) for column in columns]
    shown = []
    for column, count in zip(columns[:8], counts):
        shown.append(f"{column.name!r} ({count}, the first at {column.place(int(np.flatnonzero(column.missing)[0]))})")
    more = f", ... {len(columns)} columns in all" if len(columns) > 8 else ""
    values = "value is" if sum(counts) == 1 else "values are"
    return (
        f"{sum(counts)} {values} missing: {', '.join(shown)}{more}; expected a choice: missing=drop leaves such rows out,"
        " missing=mean fills in means of the training rows."
    )
