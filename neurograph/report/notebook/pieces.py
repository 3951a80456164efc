"""Lines, tables and coloured cells: every text is cut and escaped, every table has a bounded number of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from neurograph.report.html import Markup, part

__all__ = ["MOST_ROWS", "coloured", "cut", "line", "more", "side_by_side", "table"]

MOST_ROWS = 40
LONGEST = 500  # characters of a text in a cell

NEGATIVE, POSITIVE = (230, 97, 1), (94, 60, 153)  # as in the pictures: orange negative, purple positive

Cell = str | tuple[str, str]  # a text, or a text and its style


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def line(text: str) -> Markup:
    return part("line", cut(text), file="notebook.html")


def more(count: int, what: str) -> Markup:
    return line(f"and {count:,} more {what}") if count > 0 else Markup()


def side_by_side(parts: Sequence[Markup]) -> Markup:
    return part("side_by_side", parts, file="notebook.html")


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str = "", named: bool = False) -> Markup:
    """Returns a table; without texts in `head` it has no head row, and `named` makes the first cell of a row its name."""
    pairs = [[(cut(cell), "") if isinstance(cell, str) else (cut(cell[0]), cell[1]) for cell in row] for row in rows]
    return part("table", list(map(cut, head)), pairs, caption, named, file="notebook.html")


def coloured(text: str, value: float | None, limit: float) -> tuple[str, str]:
    """Returns a cell whose colour tells the value, white for zero; None and NaN have no colour."""
    style = "padding:2px 6px;text-align:right"
    if value is None or not math.isfinite(value):
        return text, style
    share = min(1.0, abs(value) / limit)
    red, green, blue = (round(255 + share * (end - 255)) for end in (POSITIVE if value > 0 else NEGATIVE))
    return text, f"{style};background:rgb({red},{green},{blue});color:{'#fff' if share > 0.65 else '#000'}"
