"""Colours, markers and settings of every figure."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

__all__ = ["COLOURS", "GREY", "MARKERS", "STYLE", "WIDTH", "rows_of_axes"]


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


GREY = "#595959"


WIDTH = 5.4  # inches: legible when a phone scales it to 360 points


STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollars
}


def rows_of_axes(height: float, rows: int = 1, width: float = WIDTH, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, 1, squeeze=False, **options)[:, 0]
