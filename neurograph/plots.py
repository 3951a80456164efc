"""Figures of a report, by matplotlib. Every function takes plain data and returns a `Figure`; nothing global is touched.

Colours are Okabe and Ito's, which colour-blind readers tell apart; markers differ as well. Bands are quartiles over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from neurograph.experiments.transfer.results import GENOME, Row, aggregate, best_baselines, label

__all__ = ["comparison_figure", "difference_map", "learning_figure", "rivals_figure", "training_figure"]

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


def _figure(height: float, rows: int = 1, width: float = WIDTH, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, 1, squeeze=False, **options)[:, 0]


def _numbers(values: Any) -> np.ndarray:
    """A list with None among its numbers as a float array with NaN."""
    return np.array([math.nan if v is None else v for v in values], float)


def _column(records: Sequence[Row], name: str) -> np.ndarray:
    """[records, genomes]; shorter rows are filled with NaN."""
    rows = [_numbers(record[name]) for record in records]
    width = max(map(len, rows))
    return np.stack([np.pad(row, (0, width - len(row)), constant_values=math.nan) for row in rows])


def training_figure(
    records: Sequence[Row],
    validations: Sequence[Row],
    *,
    selected: int | None = None,
    chance: float | None = None,
    evolved: bool = False,
) -> Figure:
    """Loss and accuracy of every genome over the meta-steps, and their median where there are several.

    Args:
      records: of metrics.jsonl, with "step", "loss" and "accuracy" (lists, one number or None per genome).
      validations: {"step", "accuracy"}: accuracies on validation data.
      selected: the genome that was taken in the end; its line is drawn strong.
      chance: accuracy of the commonest answer, drawn as a dotted line.
      evolved: the records tell of generations: "loss" and "accuracy" of their median, "best_loss" and "best_accuracy".
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(5.4, 2, sharex=True)
        for axis, name in zip(axes, ("loss", "accuracy")):
            usable = [record for record in records if record.get(name)]
            if usable:
                steps, values = [record["step"] for record in usable], _column(usable, name)
                for genome in range(values.shape[1]):
                    strong = genome == selected
                    axis.plot(
                        steps,
                        values[:, genome],
                        color=COLOURS[genome % len(COLOURS)],
                        linewidth=1.8 if strong else 1.1,
                        alpha=0.95 if strong or values.shape[1] < 5 else 0.6,
                        label="median of the generation" if evolved else _genome_name(genome, strong, values.shape[1]),
                    )
                if values.shape[1] > 2:
                    middle = np.nanmedian(np.where(np.isfinite(values).any(1, keepdims=True), values, 0), axis=1)
                    axis.plot(steps, middle, color=GREY, linewidth=1.2, linestyle="--", label="median")
            fittest = [record for record in records if record.get(f"best_{name}")]
            if fittest:
                best = _column(fittest, f"best_{name}")[:, 0]
                axis.plot([r["step"] for r in fittest], best, color=COLOURS[1], linewidth=1.2, linestyle="--", label="fittest")
            axis.set_ylabel(f"{'query loss' if name == 'loss' else 'query accuracy'}")
        _log_if_wide(axes[0])
        validations = [record for record in validations if record.get("accuracy")]
        if validations:
            values = _column(validations, "accuracy")
            for genome in range(values.shape[1]):
                axes[1].plot(
                    [record["step"] for record in validations],
                    values[:, genome],
                    MARKERS[genome % len(MARKERS)],
                    color=COLOURS[genome % len(COLOURS)],
                    markeredgecolor="white",
                    markersize=6,
                    label="validation data" if genome == 0 else None,
                )
        if chance is not None:
            axes[1].axhline(chance, color=GREY, linestyle=":", linewidth=1.2, label="commonest answer")
        axes[1].set_xlabel("meta-step")
        axes[1].set_ylim(top=min(1.02, axes[1].get_ylim()[1]))
        axes[1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        if axes[1].get_legend_handles_labels()[0]:
            figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figure


def _genome_name(genome: int, chosen: bool, count: int) -> str | None:
    """Its entry in a legend that has room for it."""
    return f"genome {genome}{' (chosen)' if chosen else ''}" if count <= 8 else None


def _log_if_wide(axis: Any) -> None:
    values = np.concatenate([line.get_ydata() for line in axis.lines]) if axis.lines else np.zeros(0)
    finite = np.asarray(values, float)[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() / finite.min() > 8:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[-1] in "25" else ""))
        axis.tick_params(axis="y", which="minor", labelsize=8)


def learning_figure(
    rows: Sequence[Row], chosen: Sequence[Row], topology: str, task: str, *, chance: float | None = None
) -> Figure:
    """Test accuracy over learning steps on one topology: the genome beside the best baselines.

    Of every optimiser one setting is drawn, the one with the highest mean accuracy on validation data; at each step count its
    learning rate is the one chosen for so many steps. The dashed line may change its setting from point to point.
    """
    here = [row for row in rows if (row["topology"], row["task"]) == (topology, task)]
    table = aggregate(here)
    with matplotlib.rc_context(STYLE):
        figure, (axis,) = _figure(3.9)
        steps = sorted({entry["step"] for entry in table})
        lines = [[entry for entry in table if entry["method"] == GENOME]]
        lines += [[e for e in table if label(e) == name] for name in _best_settings(chosen, topology, task)]
        for number, line in enumerate(line for line in lines if line):
            genome = line[0]["method"] == GENOME
            line.sort(key=lambda entry: entry["step"])
            colour = COLOURS[number % len(COLOURS)]
            at = [steps.index(entry["step"]) for entry in line]
            axis.fill_between(at, [e["low"] for e in line], [e["high"] for e in line], color=colour, alpha=0.18, linewidth=0)
            axis.plot(
                at,
                [entry["median"] for entry in line],
                marker=MARKERS[number % len(MARKERS)],
                color=colour,
                markersize=5,
                linewidth=2.4 if genome else 1.3,
                zorder=4 if genome else 3,
                label=label(line[0]),
            )
        best = best_baselines(here, chosen)
        points = [(steps.index(step), best[topology, task, step]["median"]) for step in steps if (topology, task, step) in best]
        if points:
            axis.plot(*zip(*points), color=GREY, linestyle="--", linewidth=1.2, label="best at each step count")
        if chance is not None:
            axis.axhline(chance, color=GREY, linestyle=":", linewidth=1.2, label="commonest answer")
        axis.set_xticks(range(len(steps)), [str(step) for step in steps])
        axis.set_xlabel("learning steps")
        axis.set_ylabel("test accuracy")
        axis.set_ylim(bottom=0, top=1.02)
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def _best_settings(chosen: Sequence[Row], topology: str, task: str) -> list[str]:
    """Per optimiser the label of the setting with the highest mean validation accuracy over the step counts above 0."""
    scores: dict[str, dict[str, list[float]]] = {}
    for one in chosen:
        if (one["topology"], one["task"]) == (topology, task) and one["step"] > 0 and one.get("accuracy") is not None:
            scores.setdefault(one["method"], {}).setdefault(label(one), []).append(one["accuracy"])
    return [max(settings, key=lambda name: float(np.mean(settings[name]))) for settings in scores.values()]


def difference_map(
    comparison: Sequence[Row], *, task: str | None = None, who: str = "the genome", other: str = "the best baseline"
) -> Figure:
    """Heat map, topologies by step counts: the genome's median test accuracy, coloured by its difference to the best baseline.

    Without baselines the colour is the accuracy itself. Several tasks are stacked, unless `task` names one. `who` and `other` are
    what the title calls them.
    """
    cells = [row for row in comparison if task is None or row["task"] == task]
    tasks = list(dict.fromkeys(row["task"] for row in cells))
    names = list(dict.fromkeys((row["task"], row["topology"]) for row in cells))
    steps = sorted({row["step"] for row in cells})
    accuracy = np.full((len(names), len(steps)), math.nan)
    difference = accuracy.copy()
    for row in cells:
        place = names.index((row["task"], row["topology"])), steps.index(row["step"])
        accuracy[place] = row["genome"]["median"]
        difference[place] = math.nan if row["difference"] is None else row["difference"]
    compared = bool(np.isfinite(difference).any())
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure, (axis,) = _figure(1.4 + 0.45 * len(names))
        if compared:
            limit = max(0.05, float(np.nanmax(np.abs(difference))))
            picture = _cells(axis, difference, "PuOr", -limit, limit)
            dark = np.abs(difference) > 0.65 * limit
        else:
            picture = _cells(axis, accuracy, "cividis", 0, 1)
            dark = accuracy < 0.5
        for i in range(len(names)):
            for j in range(len(steps)):
                if np.isfinite(accuracy[i, j]):
                    text = f"{accuracy[i, j]:.2f}" + (f"\n{difference[i, j]:+.2f}" if np.isfinite(difference[i, j]) else "")
                    axis.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark[i, j] else "black")
        axis.set_xticks(range(len(steps)), [str(step) for step in steps])
        axis.set_yticks(range(len(names)), [name if len(tasks) < 2 else f"{name}\n{where}" for where, name in names])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_xlabel("learning steps")
        bar = figure.colorbar(picture, ax=axis, fraction=0.05, pad=0.02)
        accuracy_words = f"median test accuracy of {who}"
        words = f"{accuracy_words};\nbelow and in colour: minus that of {other}" if compared else accuracy_words
        axis.set_title(words, fontsize=10, loc="left")
        bar.outline.set_visible(False)  # type: ignore[operator]
        return figure


def _cells(axis: Any, values: np.ndarray, colours: str, low: float, high: float) -> Any:
    """Squares with the first row on top: drawn as shapes, not as an image, so that they stay sharp."""
    rows, columns = values.shape
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    picture = axis.pcolormesh(*edges, values, cmap=colours, vmin=low, vmax=high, edgecolors="white", linewidth=1)
    axis.set_ylim(rows - 0.5, -0.5)
    return picture


def comparison_figure(runs: Sequence[tuple[str, Sequence[Row], Sequence[Row], int | None]], *, over: str = "step") -> Figure:
    """Meta-training of several runs on the same axes, a colour each.

    Args:
      runs: (label, records, validations, chosen genome) as for `training_figure`; the chosen genome is drawn strong, or the
        median where none was chosen; all others pale.
      over: "step", or "seconds" for the time that the records tell.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(5.4, 2, sharex=True)
        for axis, name in zip(axes, ("loss", "accuracy")):
            for number, (words, records, validations, chosen) in enumerate(runs):
                colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
                usable = [record for record in records if record.get(name) and over in record]
                clock = {record["step"]: record[over] for record in usable}
                if usable:
                    at, values = [record[over] for record in usable], _column(usable, name)
                    strong = values[:, chosen] if chosen is not None and chosen < values.shape[1] else _median(values)
                    if values.shape[1] > 1:
                        axis.plot(at, values, color=colour, linewidth=0.9, alpha=0.3)
                    axis.plot(at, strong, color=colour, linewidth=1.8, label=words)
                judged = [record for record in validations if record.get(name) and record["step"] in clock]
                if judged:
                    values = _column(judged, name)
                    points = values[:, chosen] if chosen is not None and chosen < values.shape[1] else _median(values)
                    at = [clock[record["step"]] for record in judged]
                    axis.plot(
                        at, points, marker, color=colour, markeredgecolor="white", markersize=7, label=f"{words}, validation"
                    )
            axis.set_ylabel(f"query {name}")
        _log_if_wide(axes[0])
        axes[1].set_xlabel("meta-step" if over == "step" else "seconds of meta-training")
        axes[1].set_ylim(top=min(1.02, axes[1].get_ylim()[1]))
        axes[1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        if axes[1].get_legend_handles_labels()[0]:
            figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure


def _median(values: np.ndarray) -> np.ndarray:
    """[records] of [records, genomes]; NaN where no genome has a number."""
    fine = np.isfinite(values).any(axis=1)
    middle = np.full(len(values), math.nan)
    middle[fine] = np.nanmedian(values[fine], axis=1)
    return middle


def rivals_figure(
    runs: Sequence[tuple[str, Sequence[Row], Sequence[Row]]], topology: str, task: str, *, chance: float | None = None
) -> Figure:
    """Test accuracy over learning steps on one topology: the genomes of several runs, dashed the best baseline of each run.

    Args:
      runs: (label, rows, chosen) of their transfer tests.
    """
    place = topology, task
    here = [(w, [r for r in rows if (r["topology"], r["task"]) == place], chosen) for w, rows, chosen in runs]
    steps = sorted({row["step"] for _, rows, _ in here for row in rows})
    with matplotlib.rc_context(STYLE):
        figure, (axis,) = _figure(3.9)
        for number, (words, rows, chosen) in enumerate(here):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            line = sorted((e for e in aggregate(rows) if e["method"] == GENOME), key=lambda entry: entry["step"])
            at = [steps.index(entry["step"]) for entry in line]
            axis.fill_between(at, [e["low"] for e in line], [e["high"] for e in line], color=colour, alpha=0.18, linewidth=0)
            axis.plot(at, [e["median"] for e in line], marker=marker, color=colour, markersize=5, linewidth=2, label=words)
            best = best_baselines(rows, chosen)
            points = [(i, best[*place, step]["median"]) for i, step in enumerate(steps) if (*place, step) in best]
            if points:
                axis.plot(
                    *zip(*points), color=colour, linestyle=("--", "-.")[number % 2], linewidth=1.3, label=f"{words}, baseline"
                )
        if chance is not None:
            axis.axhline(chance, color=GREY, linestyle=":", linewidth=1.2, label="commonest answer")
        axis.set_xticks(range(len(steps)), [str(step) for step in steps])
        axis.set_xlabel("learning steps")
        axis.set_ylabel("test accuracy")
        axis.set_ylim(bottom=0, top=1.02)
        figure.legend(loc="outside lower center", ncols=2)
        return figure
