"""Figures of meta-training, of one run and of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.bands import band, chance_line, limit_scores, median
from neurograph.report.figures.style import COLOURS, GREY, MARKERS, Picture, legend_below, rows_of_axes, short, styled

__all__ = ["bands_figure", "comparison_figure", "training_figure"]


def _numbers(values: Any) -> np.ndarray:
    """Returns a list with None among its numbers as a float array with NaN."""
    return np.array([math.nan if v is None else v for v in values], float)


def _column(records: Sequence[Row], name: str) -> np.ndarray:
    """Returns the lists called `name` as [records, genomes]; shorter rows are filled with NaN."""
    rows = [_numbers(record[name]) for record in records]
    width = max(map(len, rows))
    return np.stack([np.pad(row, (0, width - len(row)), constant_values=math.nan) for row in rows])


@styled()
def training_figure(
    records: Sequence[Row],
    validations: Sequence[Row],
    *,
    selected: int | None = None,
    chance: float | None = None,
    evolved: bool = False,
    score: str = "accuracy",
) -> Picture:
    """Draws loss and score of every genome over the meta-steps, and their median where there are several.

    Args:
      records: of metrics.jsonl, with "step", "loss" and "accuracy" (lists, one number or None per genome).
      validations: {"step", "accuracy"}: accuracies on validation data.
      selected: the genome that was taken in the end; its line is drawn strong.
      chance: accuracy of the commonest answer, drawn as a dotted line.
      evolved: the records are generations: "loss" and "accuracy" of their median, "best_loss" and "best_accuracy".
      score: what the accuracies are called.
    """
    figure, axes = rows_of_axes(5.4, 2, sharex=True)
    for axis, name in zip(axes, ("loss", "accuracy")):
        usable = [record for record in records if record.get(name)]
        if usable:
            _genome_lines(axis, [record["step"] for record in usable], _column(usable, name), selected, evolved)
        fittest = [record for record in records if record.get(f"best_{name}")]
        if fittest:
            best = _column(fittest, f"best_{name}")[:, 0]
            axis.plot([r["step"] for r in fittest], best, color=COLOURS[1], linewidth=1.2, linestyle="--", label="fittest")
        axis.set_ylabel(f"query {score if name == 'accuracy' else name}")
    validations = [record for record in validations if record.get("accuracy")]
    if validations:
        steps, values = [record["step"] for record in validations], _column(validations, "accuracy")
        for genome in range(values.shape[1]):
            look = {"color": COLOURS[genome % len(COLOURS)], "markeredgecolor": "white", "markersize": 6}
            words = "validation data" if genome == 0 else None
            axes[1].plot(steps, values[:, genome], MARKERS[genome % len(MARKERS)], label=words, **look)
    chance_line(axes[1], chance, score)
    _finish(figure, axes, "meta-step", columns=3)
    return figure


def _genome_lines(axis: Any, steps: Sequence[int], values: np.ndarray, selected: int | None, evolved: bool) -> None:
    count = values.shape[1]
    for genome in range(count):
        strong = genome == selected
        axis.plot(
            steps,
            values[:, genome],
            color=COLOURS[genome % len(COLOURS)],
            linewidth=1.8 if strong else 1.1,
            alpha=0.95 if strong or count < 5 else 0.6,
            label="median of the generation" if evolved else _genome_name(genome, strong, count),
        )
    if count > 2:
        axis.plot(steps, median(values), color=GREY, linewidth=1.2, linestyle="--", label="median")


def _finish(figure: Picture, axes: Any, xlabel: str, *, columns: int) -> None:
    """Scales and labels the axes of loss and score, and adds the legend."""
    _log_if_wide(axes[0])
    axes[1].set_xlabel(xlabel)
    limit_scores([axes[1]])
    axes[1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    legend_below(figure, *axes[1].get_legend_handles_labels(), columns=columns)


def _genome_name(genome: int, chosen: bool, count: int) -> str | None:
    """Returns its entry in the legend; None where there are too many."""
    return f"genome {genome}{' (chosen)' if chosen else ''}" if count <= 8 else None


def _log_if_wide(axis: Any) -> None:
    values = np.concatenate([line.get_ydata() for line in axis.lines]) if axis.lines else np.zeros(0)
    finite = np.asarray(values, float)[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() / finite.min() > 8:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[-1] in "25" else ""))
        axis.tick_params(axis="y", which="minor", labelsize=8)


@styled()
def comparison_figure(
    runs: Sequence[tuple[str, Sequence[Row], Sequence[Row], int | None]], *, over: str = "step", score: str = "accuracy"
) -> Picture:
    """Draws the meta-training of several runs on the same axes, a colour each.

    Args:
      runs: (label, records, validations, chosen genome) as for `training_figure`; the chosen genome is drawn strong, or the
        median where none was chosen; all others pale.
      over: "step", or "seconds" for the time that the records hold.
      score: what the accuracies are called.
    """
    figure, axes = rows_of_axes(5.4, 2, sharex=True)
    for axis, name in zip(axes, ("loss", "accuracy")):
        for number, (words, records, validations, chosen) in enumerate(runs):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            usable = [record for record in records if record.get(name) and over in record]
            clock = {record["step"]: record[over] for record in usable}
            if usable:
                at, values = [record[over] for record in usable], _column(usable, name)
                if values.shape[1] > 1:
                    axis.plot(at, values, color=colour, linewidth=0.9, alpha=0.3)
                axis.plot(at, _strong(values, chosen), color=colour, linewidth=1.8, label=short(words))
            judged = [record for record in validations if record.get(name) and record["step"] in clock]
            if judged:
                at, points = [clock[record["step"]] for record in judged], _strong(_column(judged, name), chosen)
                look = {"color": colour, "markeredgecolor": "white", "markersize": 7}
                axis.plot(at, points, marker, label=f"{short(words)}, validation", **look)
        axis.set_ylabel(f"query {score if name == 'accuracy' else name}")
    _finish(figure, axes, "meta-step" if over == "step" else "seconds of meta-training", columns=2)
    return figure


@styled()
def bands_figure(
    groups: Mapping[str, Sequence[tuple[Sequence[Row], Sequence[Row], int | None]]], *, score: str = "accuracy"
) -> Picture:
    """Draws the meta-training of groups of runs on the same axes: a median line per group over a band from its lowest run to its
    highest.

    Args:
      groups: by label, (records, validations, chosen genome) of each run, as for `comparison_figure`. A run counts with its
        chosen genome, or with the median of its genomes where none was chosen.
      score: what the accuracies are called.
    """
    figure, axes = rows_of_axes(7.2, 3, sharex=True)
    panels = (("loss", False, "query loss"), ("accuracy", False, f"query {score}"), ("accuracy", True, f"validation {score}"))
    for axis, (name, judged, words) in zip(axes, panels):
        for number, (label, runs) in enumerate(groups.items()):
            look: dict[str, Any] = {} if judged else {"marker": None}
            if line := _over_runs([(validations if judged else records, chosen) for records, validations, chosen in runs], name):
                band(axis, [row["step"] for row in line], line, number, label=label, **look)
        axis.set_ylabel(words)
    _log_if_wide(axes[0])
    for axis in axes[1:]:
        limit_scores([axis])
    axes[-1].set_xlabel("meta-step")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    labels = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    legend_below(figure, [*labels.values()], [*labels])
    return figure


def _over_runs(runs: Sequence[tuple[Sequence[Row], int | None]], name: str) -> list[Row]:
    """Returns per meta-step the median, lowest and highest of the runs that have a number there."""
    found: dict[float, list[float]] = {}
    for records, chosen in runs:
        usable = [record for record in records if record.get(name)]
        if usable:
            for record, value in zip(usable, _strong(_column(usable, name), chosen)):
                found.setdefault(record["step"], []).append(value)
    line = []
    for step, values in sorted(found.items()):
        if finite := [value for value in values if math.isfinite(value)]:
            line.append({"step": step, "median": float(np.median(finite)), "low": min(finite), "high": max(finite)})
    return line


def _strong(values: np.ndarray, chosen: int | None) -> np.ndarray:
    """Returns the column of the chosen genome, or the median where none was chosen."""
    return values[:, chosen] if chosen is not None and chosen < values.shape[1] else median(values)
