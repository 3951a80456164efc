"""Pictures of a transfer matrix, by matplotlib: the heat map, and learning curves of all cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.patches
import numpy as np
from matplotlib.figure import Figure

from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import GENOME, Row, aggregate, best_baselines, label
from neurograph.files import write_atomically
from neurograph.report.figures.style import COLOURS, GREY, MARKERS, STYLE, rows_of_axes

__all__ = ["curves_figure", "difference_map", "heat_map", "learning_figure", "rivals_figure", "save_figures"]


def heat_map(matrix: TransferMatrix, step: int | None = None) -> Figure:
    """Genomes (and the best baseline) by topologies, one panel per task, after `step` learning steps.

    The number is the median test accuracy; below it, and as colour, its difference to the best baseline (without baselines the
    colour is the accuracy). Hatched: the widths do not fit, or the cell could not run.
    """
    step = matrix.shown_steps()[0] if step is None else step
    cells, tasks, names = matrix.cells(step), matrix.notes["tasks"], list(matrix.notes["topologies"])
    compared = any(cell["difference"] is not None for cell in cells)
    rows = [*matrix.genomes, *(["best baseline"] if matrix.notes["baselines"] else [])]
    differences = [abs(cell["difference"]) for cell in cells if cell["difference"] is not None]
    limit = max(0.05, *differences) if differences else 1.0
    left = 0.085 * max(map(len, rows)) + 0.3
    size = (max(5.0, left + 1.25 + 0.78 * len(names)), len(tasks) * (0.55 + 0.5 * len(rows)) + 1.5)
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(tasks), 1, squeeze=False, sharex=True)[:, 0]
        picture: Any = None
        for axis, task in zip(grid, tasks):
            accuracy, colour = np.full((2, len(rows), len(names)), math.nan)
            mine = [cell for cell in cells if cell["task"] == task]
            for cell in mine:
                place = rows.index(cell["genome"]), names.index(cell["topology"])
                if cell["median"] is not None:
                    accuracy[place] = cell["median"]
                    colour[place] = (
                        (cell["difference"] if cell["difference"] is not None else math.nan) if compared else cell["median"]
                    )
                if cell["baseline_median"] is not None:
                    accuracy[-1, place[1]] = cell["baseline_median"]
            edges = np.arange(len(names) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5
            low, scale = (-limit, "PuOr") if compared else (0, "cividis")
            picture = axis.pcolormesh(
                *edges, np.ma.masked_invalid(colour), cmap=scale, vmin=low, vmax=limit, edgecolors="white", lw=1
            )
            for (i, j), value in np.ndenumerate(accuracy):
                if not np.isfinite(value):
                    box = matplotlib.patches.Rectangle(
                        (j - 0.5, i - 0.5), 1, 1, fill=False, hatch="////", edgecolor="#d0d0d0", lw=0
                    )
                    axis.add_patch(box)
                    continue
                text = f"{value:.2f}" + (f"\n{colour[i, j]:+.2f}" if compared and np.isfinite(colour[i, j]) else "")
                dark = abs(colour[i, j]) > 0.65 * limit if compared else colour[i, j] < 0.5
                axis.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
            axis.set_ylim(len(rows) - 0.5, -0.5)
            axis.set_xlim(-0.5, len(names) - 0.5)
            axis.set_yticks(range(len(rows)), rows)
            axis.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
            axis.tick_params(length=0, labelsize=9)
            axis.spines[:].set_visible(False)
            axis.set_title(task, fontsize=10, loc="left")
        words = f"median test accuracy after {step} steps, {matrix.notes['seeds']} seeds"
        words += ";\nbelow and in colour: minus the best baseline's" if compared else ""
        figure.suptitle(words, fontsize=10, x=0.01, ha="left")
        bar = figure.colorbar(picture, ax=list(grid), fraction=0.04, pad=0.02)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(labelsize=8)
        return figure


def curves_figure(matrix: TransferMatrix) -> Figure:
    """Test accuracy over learning steps, a panel per task and topology: medians with quartile bands of every genome and of the
    best baseline at each step count."""
    tasks, names, steps = matrix.notes["tasks"], list(matrix.notes["topologies"]), matrix.steps
    places = [(t, n) for t in tasks for n in names if any(r["task"] == t and r["topology"] == n for r in matrix.rows)]
    columns = min(4, max(1, len(places)))
    count = max(1, -(-len(places) // columns))
    best = best_baselines((row for row in matrix.rows if row["genome"] is None), matrix.chosen)
    curves = {name: aggregate(row for row in matrix.rows if row["genome"] == name) for name in matrix.genomes}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(max(4.5, 2.5 * columns), 2.1 * count + 0.8), layout="constrained")
        axes = figure.subplots(count, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axis in axes[len(places) :]:
            axis.set_visible(False)
        handles: dict[str, Any] = {}
        for axis, (task, name) in zip(axes, places):
            for number, (genome, table) in enumerate(curves.items()):
                line = sorted((e for e in table if (e["task"], e["topology"]) == (task, name)), key=lambda e: e["step"])
                if not line:
                    continue
                at, colour = [steps.index(e["step"]) for e in line], COLOURS[number % len(COLOURS)]
                axis.fill_between(at, [e["low"] for e in line], [e["high"] for e in line], color=colour, alpha=0.18, lw=0)
                marker = MARKERS[number % len(MARKERS)]
                handles[genome] = axis.plot(at, [e["median"] for e in line], marker=marker, ms=4, color=colour, lw=1.8)[0]
            points = [(steps.index(s), best[name, task, s]["median"]) for s in steps if (name, task, s) in best]
            if points:
                handles["best baseline at each step count"] = axis.plot(*zip(*points), color=GREY, linestyle="--", lw=1.4)[0]
            chance = matrix.notes["chance"].get(task)
            if chance is not None:
                handles["commonest answer"] = axis.axhline(chance, color=GREY, linestyle=":", lw=1.1)
            axis.set_title(name if len(tasks) == 1 else f"{name}\n{task}", fontsize=9)
            axis.set_xticks(range(len(steps)), [str(step) for step in steps])
            axis.tick_params(labelsize=8)
            axis.set_ylim(0, 1.02)
        for axis in axes[max(0, len(places) - columns) : len(places)]:  # the lowest of every column
            axis.set_xlabel("learning steps", fontsize=9)
            axis.tick_params(labelbottom=True)
        figure.supylabel("test accuracy", fontsize=9)
        if handles:
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
        return figure


def save_figures(matrix: TransferMatrix, folder: Path | str, step: int | None = None) -> list[Path]:
    """Write heat_map.png and curves.png; returns the paths."""
    import io

    paths = []
    for name, figure in (("heat_map.png", heat_map(matrix, step)), ("curves.png", curves_figure(matrix))):
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=150)
        paths.append(Path(folder) / name)
        write_atomically(paths[-1], stream.getvalue())
    return paths


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
        figure, (axis,) = rows_of_axes(3.9)
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
        figure, (axis,) = rows_of_axes(1.4 + 0.45 * len(names))
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
        figure, (axis,) = rows_of_axes(3.9)
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
