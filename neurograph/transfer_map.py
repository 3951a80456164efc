"""Pictures of a transfer matrix, by matplotlib: the heat map, and learning curves of all cells."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.patches
import numpy as np
from matplotlib.figure import Figure

from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import aggregate, best_baselines
from neurograph.files import write_atomically
from neurograph.plots import COLOURS, GREY, MARKERS, STYLE

__all__ = ["curves_figure", "heat_map", "save_figures"]


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
