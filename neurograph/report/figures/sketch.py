"""Samples of a task as text, for the terminal; no matplotlib is loaded."""

from __future__ import annotations

import jax
import numpy as np

from neurograph.tasks.arrays import ArrayTask
from neurograph.tasks.base import Task, decode_labels

__all__ = ["MOST_CLASSES", "PER_CLASS", "by_class", "sketch"]


_SHADES = " .:-=+*#%@"


PER_CLASS = 8


MOST_CLASSES = 12


def by_class(task: Task, key: jax.Array, split: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Returns images [classes, examples, num_inputs] scaled to 0..1, how many of each class are real, and class titles."""
    task = task.instance(key, split)
    x, y = task.sample(key, max(512, 40 * task.num_classes), split)
    rows, labels = np.asarray(x), np.asarray(decode_labels(y))
    if isinstance(task, ArrayTask):
        # Back to the stored units; a constant input has no scale and stays 0.
        scale = np.asarray(task.scale)
        rows = np.where(scale == 0, 0.0, (rows - np.asarray(task.shift)) / np.where(scale == 0, 1.0, scale))
        low, high = rows.min(), rows.max()
    else:
        low, high = -1.0, 1.0
    classes = range(min(task.num_classes, MOST_CLASSES))
    grid = np.zeros((len(classes), PER_CLASS, task.num_inputs), np.float32)
    counts = np.zeros(len(classes), int)
    for index in classes:
        chosen = rows[labels == index]
        chosen = chosen[np.sort(np.unique(chosen, axis=0, return_index=True)[1])][:PER_CLASS]
        grid[index, : len(chosen)] = (chosen - low) / max(high - low, 1e-9)
        counts[index] = len(chosen)
    titles = [task.class_names[index] if task.class_names else f"way {index}" for index in classes]
    return grid, counts, titles


def sketch(task: Task, key: jax.Array, split: str = "train", width: int = 100) -> str:
    """Returns a few samples in plain characters, at most `width` columns; empty for tables."""
    if task.image_shape is not None and task.num_classes:
        return _sketch_images(task, key, split, width)
    if task.num_inputs == 2 and task.num_classes:
        return _sketch_points(task, key, split)
    return ""


def _sketch_images(task: Task, key: jax.Array, split: str, width: int) -> str:
    grid, _, titles = by_class(task, key, split)
    height, across = (task.image_shape or (1, 1))[:2]
    # A character is twice as high as it is wide; large images are thinned to about 14 rows.
    step = max(1, round(height / 14))
    tiles = []
    for images in grid:
        picture = images[0].reshape(height, across, -1).mean(axis=2)
        picture = picture[: height // step * step, : across // step * step]
        picture = picture.reshape(height // step, step, across // step, step).mean(axis=(1, 3))
        tiles.append(["".join(_SHADES[min(int(value * len(_SHADES)), len(_SHADES) - 1)] * 2 for value in row) for row in picture])
    wide = len(tiles[0][0]) + 2
    per_line = max(1, min(len(tiles), width // wide))
    lines: list[str] = []
    for first in range(0, min(len(tiles), 2 * per_line), per_line):
        some = tiles[first : first + per_line]
        lines.append("".join(title[: wide - 1].ljust(wide) for title in titles[first : first + per_line]).rstrip())
        lines.extend("  ".join(rows).rstrip() for rows in zip(*some))
    return "\n".join(lines)


def _sketch_points(task: Task, key: jax.Array, split: str) -> str:
    across, down = 48, 22
    problem, own = jax.random.split(key)
    x, y = task.instance(problem, split).sample(own, 4000, split)
    points, labels = np.asarray(x), np.asarray(decode_labels(y))
    low, high = points.min(axis=0), points.max(axis=0)
    place = ((points - low) / (high - low) * [across - 1e-3, down - 1e-3]).astype(int)
    votes = np.zeros((down, across, task.num_classes), int)
    np.add.at(votes, (down - 1 - place[:, 1], place[:, 0], labels), 1)
    marks = np.array(list("·#" if task.num_classes == 2 else "0123456789abcdefghijklmnopqrstuvwxyz"))
    winner = marks[np.argmax(votes, axis=2) % len(marks)]
    text = np.where(votes.sum(axis=2) > 0, winner, " ")
    return "\n".join("".join(row).rstrip() for row in text)
