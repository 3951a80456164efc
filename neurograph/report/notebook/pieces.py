"""Lines, tables and coloured cells: every text is cut and escaped, every table has a bounded number of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from neurograph.report.html import escape

__all__ = ["MOST_ROWS", "coloured", "cut", "head_of", "line", "more", "row_of", "table"]

MOST_ROWS = 40
LONGEST = 500  # characters of a text in a cell

NEGATIVE, POSITIVE = (230, 97, 1), (94, 60, 153)  # as in the pictures: orange negative, purple positive
CELL = "padding:2px 6px;text-align:right"


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def line(text: str) -> str:
    return f"<div>{escape(cut(text))}</div>"


def more(count: int, what: str) -> str:
    return line(f"and {count:,} more {what}") if count > 0 else ""


def head_of(names: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<th>{escape(cut(name))}</th>' for name in names)}</tr>"


def row_of(texts: Iterable[str]) -> str:
    return "".join(f"<td>{escape(cut(text))}</td>" for text in texts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return f"<table>{head_of(head)}{''.join(f'<tr>{row_of(row)}</tr>' for row in rows)}</table>"


def coloured(text: str, value: float | None, limit: float) -> str:
    """Returns a cell whose colour tells the value, white for zero; None and NaN have no colour."""
    if value is None or not math.isfinite(value):
        return f'<td style="{CELL}">{escape(cut(text))}</td>'
    share = min(1.0, abs(value) / limit)
    red, green, blue = (round(255 + share * (end - 255)) for end in (POSITIVE if value > 0 else NEGATIVE))
    ink = "#fff" if share > 0.65 else "#000"
    return f'<td style="{CELL};background:rgb({red},{green},{blue});color:{ink}">{escape(cut(text))}</td>'
