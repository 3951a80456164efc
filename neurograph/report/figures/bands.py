"""Curves with bands and bars, drawn from entries with "median", "low" and "high", as `aggregate` and `summarize` make them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.style import COLOURS, GREY, MARKERS, Picture, picture, short, styled

__all__ = ["accuracy_axis", "band", "chance_line", "curves", "limit_scores", "median", "panels", "ranges", "trained_lines"]


@styled()
def panels(count: int, *, columns: int = 2, width: float = 4.2, height: float = 3.1, **options: Any) -> tuple[Picture, list[Any]]:
    """Returns a figure and its axes, in rows of at most `columns`; unused places are empty. `options` go to `Figure.subplots`."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = picture(max(5.0, width * columns), height * rows + 0.5)
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).ravel())
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def band(axis: Any, places: Sequence[float], line: Sequence[Row], number: int, *, label: str = "", **options: Any) -> Any:
    """Draws the medians of a line at `places` over a band between low and high; return the line.

    Args:
      number: of the line, which chooses its colour and marker unless `options` do.
      options: of `Axes.plot`.
    """
    look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
    look |= {"linewidth": 1.8} | options
    low, high = ([row[end] for row in line] for end in ("low", "high"))
    axis.fill_between(places, low, high, color=look["color"], alpha=0.18, linewidth=0)
    return axis.plot(places, [row["median"] for row in line], label=short(label), **look)[0]


def chance_line(axis: Any, chance: float | None, score: str = "accuracy") -> Any:
    """Draws the accuracy of the commonest answer, if it is known, or of a regression R^2 of the mean; return the line or None."""
    if chance is None:
        return None
    label = f"chance: the {'mean' if score == 'R^2' else 'commonest'} answer"
    return axis.axhline(chance, color=GREY, linestyle=":", linewidth=1.2, label=label)


def trained_lines(axis: Any, trained: Mapping[str, int | None], steps: Sequence[float]) -> list[Any]:
    """Marks on an axis of `accuracy_axis` how many learning steps genomes were trained through, and returns the lines.

    Nothing marks a number that is unknown, or does not lie between the first and the last of the step counts.

    Args:
      trained: by the label of the genome; the legend names them where they differ.
    """
    lines = []
    for count in dict.fromkeys(trained.values()):
        if count is None or not steps[0] <= count <= steps[-1]:
            continue
        some = [short(name, 24) for name, one in trained.items() if one == count]
        label = f"trained through {count} step{'s' * (count != 1)}" + (f": {', '.join(some)}" if len(some) < len(trained) else "")
        place = float(np.interp(count, steps, range(len(steps))))
        lines.append(axis.axvline(place, color=GREY, linestyle=(0, (1, 2, 5, 2)), linewidth=1.2, label=label))
    return lines


def accuracy_axis(axis: Any, steps: Sequence[float], lowest: float = 0.0) -> None:
    """Scales an axis for accuracies at step counts that stand at equal distances (they often double).

    Args:
      lowest: of the values. R^2 may be below 0; the axis then begins there, or at -1.
    """
    axis.set_xticks(range(len(steps)), [f"{step:g}" for step in steps])
    axis.set_ylim(max(-1.0, min(0.0, 1.05 * lowest)), 1.02)


def limit_scores(axes: Sequence[Any]) -> None:
    """Gives axes of scores one range, that of all that is drawn, which ends at 1; below at -1, if R^2 goes on there and not all
    of it lies below."""
    low, high = (end(limit(axis) for axis in axes) for end, limit in ((min, lambda one: one.get_ylim()[0]), (max, _top)))
    largest = max(axis.dataLim.y1 for axis in axes)
    for axis in axes:
        axis.set_ylim(-1.0 if low < -1 < largest else low, min(1.02, high))


def _top(axis: Any) -> float:
    return axis.get_ylim()[1]


@styled()
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
    """Draws medians with quartile bands over `x`, a line per key of `lines`.

    Args:
      axis: to draw on.
      lines: entries of `summarize` by label; in any order.
      even: equal distances between the values of x, which are written below (they often double); else a linear axis.
      chance: accuracy of the commonest answer, a dotted line.
      dashed: labels drawn grey and dashed (baselines).
    """
    ticks = sorted({row[x] for line in lines.values() for row in line})
    number = 0
    for label, line in lines.items():
        line = sorted(line, key=lambda row: row[x])
        places = [ticks.index(row[x]) if even else row[x] for row in line]
        plain: dict[str, Any] = {}
        if label in dashed:
            style = ("--", "-.", ":")[list(dashed).index(label) % 3]
            plain = {"color": GREY, "marker": None, "linestyle": style}
        band(axis, places, line, number, label=label, linewidth=1.6, **plain)
        number += not plain
    chance_line(axis, chance)
    if even:
        axis.set_xticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.set_title(title, fontsize=10, loc="left")
    axis.tick_params(labelsize=9)


@styled()
def ranges(axis: Any, entries: Mapping[str, Row], *, title: str = "", xlabel: str = "test accuracy") -> None:
    """Draws a row per entry of `summarize`: median (dot), quartiles (thick line), lowest to highest (thin line)."""
    for place, row in enumerate(entries.values()):
        colour = COLOURS[place % len(COLOURS)]
        axis.plot([row["minimum"], row["maximum"]], [place, place], color=colour, lw=1.0)
        axis.plot([row["low"], row["high"]], [place, place], color=colour, lw=4.0, alpha=0.5, solid_capstyle="butt")
        axis.plot(row["median"], place, marker=MARKERS[place % len(MARKERS)], ms=6, color=colour)
    axis.set_yticks(range(len(entries)), [short(name) for name in entries])
    axis.set_ylim(len(entries) - 0.5, -0.5)
    axis.set_xlabel(xlabel)
    axis.set_title(title, fontsize=10, loc="left")
    axis.tick_params(labelsize=9)


def median(values: Float[np.ndarray, "records genomes"]) -> Float[np.ndarray, " records"]:
    """Returns the median over genomes of what is finite; NaN where no genome has a number."""
    fine = np.isfinite(values).any(axis=1)
    middle = np.full(len(values), math.nan)
    middle[fine] = np.nanmedian(values[fine], axis=1)
    return middle
