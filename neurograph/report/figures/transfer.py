"""Figures of transfer tests: heat maps and learning curves of a run, of several runs and of a matrix."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import GENOME, Row, aggregate, best_baselines, label, score_name
from neurograph.files import write_atomically
from neurograph.report.figures.bands import accuracy_axis, band, chance_line, trained_lines
from neurograph.report.figures.heat_map import annotated_cells, colour_bar, name_cells
from neurograph.report.figures.style import COLOURS, GREY, Picture, legend_below, picture, rows_of_axes, short, styled

__all__ = [
    "curves_figure",
    "difference_limit",
    "difference_map",
    "heat_map",
    "learning_figure",
    "rivals_figure",
    "save_figures",
]

BEST = "best baseline"


def difference_limit(entries: Iterable[Row]) -> float | None:
    """Returns the end of a colour scale on which the "difference" of all entries has a place; None without differences."""
    found = [abs(entry["difference"]) for entry in entries if entry["difference"] is not None]
    return min(1.0, max(0.05, *found)) if found else None  # R^2 has no end below


def _texts(accuracy: np.ndarray, difference: np.ndarray, missing: str | None) -> list[list[str | None]]:
    """Returns what stands in the cells: the accuracy, below it the difference; `missing` where there is no accuracy."""
    words = [
        missing if not math.isfinite(value) else f"{value:.2f}" + (f"\n{against:+.2f}" if math.isfinite(against) else "")
        for value, against in zip(accuracy.flat, difference.flat)
    ]
    columns = accuracy.shape[1]
    return [words[i : i + columns] for i in range(0, len(words), columns)]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


@styled()
def heat_map(matrix: TransferMatrix, step: int | None = None, *, limit: float | None = None) -> Picture:
    """Draws genomes (and the best baseline) by topologies, one panel per task, after `step` learning steps.

    The number is the median test accuracy; below it, and as colour, its difference to the best baseline (without baselines the
    colour is the accuracy). Hatched: the widths do not fit, or the cell could not run.

    Args:
      limit: end of the scale of differences; default the largest one after `step`. Heat maps side by side share one.
    """
    step = matrix.shown_steps()[0] if step is None else step
    cells, tasks, names = matrix.cells(step), matrix.notes["tasks"], list(matrix.notes["topologies"])
    compared = any(cell["difference"] is not None for cell in cells)
    limit = (limit or difference_limit(cells)) if compared else None
    rows = [*matrix.genomes, *([BEST] if matrix.notes["baselines"] else [])]
    left = 0.085 * max(len(short(name)) for name in rows) + 0.3
    figure = picture(max(5.0, left + 1.25 + 0.78 * len(names)), len(tasks) * (0.55 + 0.5 * len(rows)) + 1.5)
    grid = figure.subplots(len(tasks), 1, squeeze=False, sharex=True)[:, 0]
    shown: Any = None
    for axis, task in zip(grid, tasks):
        accuracy, difference = np.full((2, len(rows), len(names)), math.nan)
        for cell in (cell for cell in cells if cell["task"] == task):
            row, column = matrix.genomes.index(cell["genome"]), names.index(cell["topology"])
            accuracy[row, column] = _number(cell["median"])
            difference[row, column] = _number(cell["difference"])
            if cell["baseline_median"] is not None:
                accuracy[-1, column] = cell["baseline_median"]
        values = difference if compared else accuracy
        shown = annotated_cells(axis, values, _texts(accuracy, difference, None), limit=limit)
        name_cells(axis, rows, names, slanted=True)
        axis.tick_params(labelsize=9)
        axis.set_title(short(task), fontsize=10, loc="left")
    words = f"median test {score_name(tasks, matrix.notes)} after {step} steps, {matrix.notes['seeds']} seeds"
    words += ";\nbelow and in colour: minus the best baseline's" if compared else ""
    figure.suptitle(words, fontsize=10, x=0.01, ha="left")
    colour_bar(figure, shown, list(grid), fraction=0.04).ax.tick_params(labelsize=8)
    return figure


@styled()
def difference_map(
    comparison: Sequence[Row],
    *,
    task: str | None = None,
    who: str = "the genome",
    other: str = "the best baseline",
    score: str = "accuracy",
) -> Picture:
    """Draws topologies by step counts: the genome's median test accuracy, coloured by its difference to the best baseline.

    Without baselines the colour is the accuracy itself. Several tasks are stacked, unless `task` names one. `who` and `other` are
    what the title calls them, and `score` what it calls the numbers.
    """
    cells = [row for row in comparison if task is None or row["task"] == task]
    tasks = list(dict.fromkeys(row["task"] for row in cells))
    names = list(dict.fromkeys((row["task"], row["topology"]) for row in cells))
    steps = sorted({row["step"] for row in cells})
    accuracy, difference = np.full((2, len(names), len(steps)), math.nan)
    for row in cells:
        place = names.index((row["task"], row["topology"])), steps.index(row["step"])
        accuracy[place], difference[place] = row["genome"]["median"], _number(row["difference"])
    limit = difference_limit(cells)
    figure, (axis,) = rows_of_axes(1.4 + 0.45 * len(names))
    values = accuracy if limit is None else difference
    shown = annotated_cells(axis, values, _texts(accuracy, difference, ""), limit=limit)
    name_cells(axis, [name if len(tasks) < 2 else f"{name}\n{where}" for where, name in names], list(map(str, steps)))
    axis.set_xlabel("learning steps")
    words = f"median test {score} of {short(who)}"
    words += "" if limit is None else f";\nbelow and in colour: minus that of {short(other)}"
    figure.suptitle(words, fontsize=10, x=0.01, ha="left")
    colour_bar(figure, shown, axis, fraction=0.05)
    return figure


def _best_line(axis: Any, best: Mapping[Any, Row], place: tuple[str, str], steps: Sequence[int], **look: Any) -> Any:
    """Joins the medians of the baselines that were best at each step count, if there are any; return the line or None."""
    points = [(i, best[*place, step]["median"]) for i, step in enumerate(steps) if (*place, step) in best]
    return axis.plot(*zip(*points), **({"color": GREY, "linestyle": "--", "linewidth": 1.3} | look))[0] if points else None


def _by_step(entries: Iterable[Row]) -> list[Row]:
    return sorted(entries, key=lambda entry: entry["step"])


@styled()
def curves_figure(matrix: TransferMatrix) -> Picture:
    """Draws test accuracy over learning steps, a panel per task and topology.

    Lines are medians with quartile bands of every genome, and the medians of the best baseline at each step count.
    """
    tasks, names, steps = matrix.notes["tasks"], list(matrix.notes["topologies"]), matrix.steps
    places = [(t, n) for t in tasks for n in names if any(r["task"] == t and r["topology"] == n for r in matrix.rows)]
    columns = min(4, max(1, len(places)))
    count = max(1, -(-len(places) // columns))
    best = best_baselines((row for row in matrix.rows if row["genome"] is None), matrix.chosen)
    entries = {name: aggregate(row for row in matrix.rows if row["genome"] == name) for name in matrix.genomes}
    figure = picture(max(4.5, 2.5 * columns), 2.1 * count + 0.8)
    axes = figure.subplots(count, columns, squeeze=False, sharex=True, sharey=True).ravel()
    lowest = _lowest(entry for table in entries.values() for entry in table)
    for axis in axes[len(places) :]:
        axis.set_visible(False)
    handles: dict[str, Any] = {}
    for axis, (task, name) in zip(axes, places):
        for number, (genome, table) in enumerate(entries.items()):
            if line := _by_step(entry for entry in table if (entry["task"], entry["topology"]) == (task, name)):
                handles[genome] = band(axis, [steps.index(entry["step"]) for entry in line], line, number)
        if joined := _best_line(axis, best, (name, task), steps):
            handles["best baseline at each step count"] = joined
        handles |= {line.get_label(): line for line in trained_lines(axis, matrix.trained_steps, steps)}
        if chance := chance_line(axis, matrix.notes["chance"].get(task), score_name([task], matrix.notes)):
            handles[chance.get_label()] = chance
        axis.set_title(short(name, 24) if len(tasks) == 1 else f"{short(name, 24)}\n{short(task, 24)}", fontsize=9)
        accuracy_axis(axis, steps, lowest)
        axis.tick_params(labelsize=8)
    for axis in axes[max(0, len(places) - columns) : len(places)]:  # the lowest of every column
        axis.set_xlabel("learning steps", fontsize=9)
        axis.tick_params(labelbottom=True)
    figure.supylabel(f"test {score_name(tasks, matrix.notes)}", fontsize=9)
    legend_below(figure, list(handles.values()), list(map(short, handles)))
    return figure


def save_figures(matrix: TransferMatrix, folder: Path | str, step: int | None = None) -> list[Path]:
    """Writes heat_map.png and curves.png into a folder and returns their paths."""
    paths = []
    for name, figure in (("heat_map.png", heat_map(matrix, step)), ("curves.png", curves_figure(matrix))):
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150)
        paths.append(Path(folder) / name)
        write_atomically(paths[-1], stream.getvalue())
    return paths


def _lowest(entries: Iterable[Row]) -> float:
    return min((entry["low"] for entry in entries), default=0.0)


def _one_place(entries: Sequence[Row], score: str) -> tuple[Picture, Any, list[int]]:
    """Returns a figure, its axis for scores over learning steps, and the step counts of the entries."""
    steps = sorted({entry["step"] for entry in entries})
    figure, (axis,) = rows_of_axes(3.9)
    accuracy_axis(axis, steps, _lowest(entries))
    axis.set_xlabel("learning steps")
    axis.set_ylabel(f"test {score}")
    return figure, axis, steps


@styled()
def learning_figure(
    rows: Sequence[Row],
    chosen: Sequence[Row],
    topology: str,
    task: str,
    *,
    chance: float | None = None,
    trained: int | None = None,
    score: str = "accuracy",
) -> Picture:
    """Draws test accuracy over learning steps on one topology: the genome beside the best baselines.

    Of every optimiser one setting is drawn, the one with the highest mean accuracy on validation data; at each step count its
    learning rate is the one chosen for so many steps. The dashed line may change its setting from point to point.

    Args:
      chance: accuracy of the commonest answer, a dotted line.
      trained: how many steps the genome was trained through, a vertical line.
      score: what the accuracies are called.
    """
    here = [row for row in rows if (row["topology"], row["task"]) == (topology, task)]
    table = aggregate(here)
    figure, axis, steps = _one_place(table, score)
    wanted = [GENOME, *_best_settings(chosen, topology, task)]
    lines = [_by_step(entry for entry in table if label(entry) == name) for name in wanted]
    for number, line in enumerate(line for line in lines if line):
        genome = line[0]["method"] == GENOME
        places = [steps.index(entry["step"]) for entry in line]
        look = {"markersize": 5, "linewidth": 2.4 if genome else 1.3, "zorder": 4 if genome else 3}
        band(axis, places, line, number, label=label(line[0]), **look)
    _best_line(axis, best_baselines(here, chosen), (topology, task), steps, label="best at each step count")
    chance_line(axis, chance, score)
    trained_lines(axis, {GENOME: trained}, steps)
    legend_below(figure, *axis.get_legend_handles_labels())
    return figure


def _best_settings(chosen: Sequence[Row], topology: str, task: str) -> list[str]:
    """Returns per optimiser the label of the setting with the highest mean validation accuracy over the step counts above 0."""
    scores: dict[str, dict[str, list[float]]] = {}
    for one in chosen:
        if (one["topology"], one["task"]) == (topology, task) and one["step"] > 0 and one.get("accuracy") is not None:
            scores.setdefault(one["method"], {}).setdefault(label(one), []).append(one["accuracy"])
    return [max(settings, key=lambda name: float(np.mean(settings[name]))) for settings in scores.values()]


@styled()
def rivals_figure(
    runs: Sequence[tuple[str, Sequence[Row], Sequence[Row]]],
    topology: str,
    task: str,
    *,
    chance: float | None = None,
    trained: Mapping[str, int | None] | None = None,
    score: str = "accuracy",
) -> Picture:
    """Draws test accuracy over learning steps on one topology: the genomes of several runs, dashed the best baseline of each.

    Args:
      runs: (label, rows, chosen) of their transfer tests.
      trained: by label, how many steps each was trained through.
      chance, score: as for `learning_figure`.
    """
    place = topology, task
    here = [(w, [r for r in rows if (r["topology"], r["task"]) == place], chosen) for w, rows, chosen in runs]
    figure, axis, steps = _one_place([entry for _, rows, _ in here for entry in aggregate(rows)], score)
    for number, (words, rows, chosen) in enumerate(here):
        line = _by_step(entry for entry in aggregate(rows) if entry["method"] == GENOME)
        band(axis, [steps.index(entry["step"]) for entry in line], line, number, label=words, markersize=5, linewidth=2)
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": ("--", "-.")[number % 2]}
        _best_line(axis, best_baselines(rows, chosen), place, steps, label=f"{short(words)}, baseline", **look)
    trained_lines(axis, trained or {}, steps)
    chance_line(axis, chance, score)
    legend_below(figure, *axis.get_legend_handles_labels())
    return figure
