"""Figures in the paper's forms: curves with bands, and bars. All take entries of `summaries.summarize`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.style import COLOURS, GREY, MARKERS, STYLE

__all__ = ["curves", "median", "panels", "ranges"]


def panels(count: int, *, columns: int = 2, width: float = 4.2, height: float = 3.1, **options: Any) -> tuple[Figure, list[Any]]:
    """A figure of so many axes, in rows of at most `columns`; unused places are empty. `options` go to `Figure.subplots`."""
    columns = min(columns, count)
    rows = -(-count // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(5.0, width * columns), height * rows + 0.5), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, **options).ravel())
        for axis in axes[count:]:
            axis.set_visible(False)
    return figure, axes[:count]


def curves(
    axis: Any,
    lines: Mapping[str, Sequence[Row]],
    *,
    x: str = "step",
    title: str = "",
    xlabel: str = "learning steps",
    ylabel: str = "test accuracy",
    even: bool = True,
    chance: float | None = None,
    dashed: Sequence[str] = (),
) -> None:
    """Medians with quartile bands over `x`, a line per key of `lines`.

    Args:
      axis: to draw on.
      lines: entries of `summarize` by label; in any order.
      even: equal distances between the values of x, which are written below (they often double); else a linear axis.
      chance: accuracy of the commonest answer, a dotted line.
      dashed: labels drawn grey and dashed (baselines).
    """
    with matplotlib.rc_context(STYLE):
        ticks = sorted({row[x] for line in lines.values() for row in line})
        number = 0
        for label, line in lines.items():
            line = sorted(line, key=lambda row: row[x])
            places = [ticks.index(row[x]) if even else row[x] for row in line]
            plain = label in dashed
            colour = GREY if plain else COLOURS[number % len(COLOURS)]
            marker = None if plain else MARKERS[number % len(MARKERS)]
            number += not plain
            band = [row["low"] for row in line], [row["high"] for row in line]
            axis.fill_between(places, *band, color=colour, alpha=0.15, linewidth=0)
            style = ("--", "-.", ":")[list(dashed).index(label) % 3] if plain else "-"
            axis.plot(places, [row["median"] for row in line], style, marker=marker, ms=4, color=colour, lw=1.6, label=label)
        if chance is not None:
            axis.axhline(chance, color=GREY, linestyle=":", linewidth=1.1, label="commonest answer")
        if even:
            axis.set_xticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
        axis.set_title(title, fontsize=10, loc="left")
        axis.tick_params(labelsize=9)


def ranges(axis: Any, entries: Mapping[str, Row], *, title: str = "", xlabel: str = "test accuracy") -> None:
    """A row per entry of `summarize`, from the top: median (dot), quartiles (thick line), lowest to highest (thin line)."""
    with matplotlib.rc_context(STYLE):
        for place, row in enumerate(entries.values()):
            colour = COLOURS[place % len(COLOURS)]
            axis.plot([row["minimum"], row["maximum"]], [place, place], color=colour, lw=1.0)
            axis.plot([row["low"], row["high"]], [place, place], color=colour, lw=4.0, alpha=0.5, solid_capstyle="butt")
            axis.plot(row["median"], place, marker=MARKERS[place % len(MARKERS)], ms=6, color=colour)
        axis.set_yticks(range(len(entries)), list(entries))
        axis.set_ylim(len(entries) - 0.5, -0.5)
        axis.set_xlabel(xlabel)
        axis.set_title(title, fontsize=10, loc="left")
        axis.tick_params(labelsize=9)


def median(values: np.ndarray) -> np.ndarray:
    """[records] of [records, genomes]; NaN where no genome has a number."""
    fine = np.isfinite(values).any(axis=1)
    middle = np.full(len(values), math.nan)
    middle[fine] = np.nanmedian(values[fine], axis=1)
    return middle
