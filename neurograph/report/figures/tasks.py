"""Pictures of a task's samples: a PNG, and a sketch for the terminal."""

from __future__ import annotations

import os

import jax
import numpy as np

from neurograph.errors import TaskError
from neurograph.report.figures.sketch import PER_CLASS, by_class
from neurograph.report.figures.style import COLOURS, Picture, picture, rows_of_axes, short, styled
from neurograph.tasks.arrays import WaysTask
from neurograph.tasks.base import Task, decode_labels

__all__ = [
    "draw_samples",
]

_POINTS = 1500


@styled({"axes.grid": False})
def draw_samples(task: Task, path: str | os.PathLike[str], key: jax.Array, split: str = "train") -> None:
    """Writes a PNG of samples: images in rows by class, functions of two variables as coloured points, six problems of a family.

    Raises:
      TaskError: the file cannot be written.
    """
    if task.image_shape is not None and task.num_classes:
        figure = _images(task, key, split)
    elif task.num_inputs == 2 and task.num_classes:
        figure = _points(task, key, split)
    elif task.num_inputs == 1:
        figure = _curves(task, key, split)
    else:
        figure = _columns(task, key, split)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise TaskError(f"{path}: the picture cannot be written ({error}).") from error


def _images(task: Task, key: jax.Array, split: str) -> Picture:
    problems = 3 if isinstance(task, WaysTask) and task.is_family else 1
    grids = [by_class(task, jax.random.fold_in(key, number), split) for number in range(problems)]
    rows = len(grids[0][0])
    figure = picture(5.2 * problems + 0.6, 0.62 * rows + 0.7)
    for number, (panel, (grid, counts, titles)) in enumerate(zip(figure.subfigures(1, problems, squeeze=False)[0], grids)):
        axes = panel.subplots(rows, PER_CLASS, squeeze=False)
        for row in range(rows):
            axes[row][0].set_ylabel(short(titles[row]), rotation=0, ha="right", va="center", fontsize=9)
            for column, axis in enumerate(axes[row]):
                axis.set_xticks([])
                axis.set_yticks([])
                axis.set_frame_on(False)
                if column < counts[row]:
                    axis.imshow(grid[row, column].reshape(task.image_shape), cmap="gray", vmin=0, vmax=1)
        if problems > 1:
            panel.suptitle(f"episode {number + 1}", fontsize=9)
    shown = f", the first {rows} of {task.num_classes} classes" if rows < task.num_classes else ""
    figure.suptitle(f"{short(task.name)}: {split}{shown}", fontsize=11)
    return figure


def _points(task: Task, key: jax.Array, split: str) -> Picture:
    panels = 6 if task.is_family else 1
    across = 3 if panels > 1 else 1
    down = -(-panels // across)
    figure = picture(3.2 * across + 0.4, 3.2 * down + 0.3)
    axes = figure.subplots(down, across, squeeze=False)
    for number, axis in enumerate(axes.flat):
        problem, own = jax.random.split(jax.random.fold_in(key, number))
        x, y = task.instance(problem, split).sample(own, _POINTS, split)
        labels = np.asarray(decode_labels(y))
        for index in range(task.num_classes):
            chosen = np.asarray(x)[labels == index]
            axis.plot(
                chosen[:, 0], chosen[:, 1], ".", ms=3, color=COLOURS[index % len(COLOURS)], label=short(task.class_names[index])
            )
        axis.set_aspect("equal", "datalim")
        axis.tick_params(labelsize=7)
        if panels > 1:
            axis.set_title(f"episode {number + 1}", fontsize=9)
    axes.flat[0].legend(fontsize=8, markerscale=3, loc="upper right")
    figure.suptitle(short(task.name), fontsize=11)
    return figure


def _curves(task: Task, key: jax.Array, split: str) -> Picture:
    figure, (axis,) = rows_of_axes(3.2, width=5)
    for number in range(6 if task.is_family else 1):
        problem, own = jax.random.split(jax.random.fold_in(key, number))
        x, y = task.instance(problem, split).sample(own, 300, split)
        order = np.argsort(np.asarray(x)[:, 0])
        axis.plot(np.asarray(x)[order, 0], np.asarray(y)[order, 0], ".", ms=3, label=f"episode {number + 1}")
    axis.legend(fontsize=8)
    axis.set_xlabel("x")
    axis.set_title(short(task.name), fontsize=11)
    return figure


def _columns(task: Task, key: jax.Array, split: str) -> Picture:
    """Draws samples in rows, sorted by class or by the first target, and inputs in columns."""
    x, y = task.sample(key, 200, split)
    labels = np.asarray(decode_labels(y) if task.num_classes else y[:, 0])
    order = np.argsort(labels, kind="stable")
    figure, (axis,) = rows_of_axes(4, width=6)
    limit = float(np.percentile(np.abs(np.asarray(x)), 99)) or 1.0
    shown = axis.imshow(np.asarray(x)[order], aspect="auto", cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
    if task.num_classes:
        counts = np.bincount(labels, minlength=task.num_classes)
        middles = np.cumsum(counts) - counts / 2
        axis.set_yticks(middles[counts > 0], [short(task.class_names[i]) for i in np.flatnonzero(counts)])
        for edge in np.cumsum(counts)[:-1]:
            axis.axhline(edge - 0.5, color="black", lw=0.5)
    else:
        axis.set_yticks([0, len(labels) - 1], [f"target {labels[order[row]]:.2g}" for row in (0, -1)])
    axis.set_xlabel("input")
    axis.set_title(f"{short(task.name)}: 200 samples of {split}, by {'class' if task.num_classes else 'target'}", fontsize=11)
    figure.colorbar(shown)
    return figure
