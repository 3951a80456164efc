"""Figure 11: the data sets of images as pictures, at the resolutions of section 4.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.style import Picture, picture, short, styled
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Workbench
from neurograph.tasks import get_task
from neurograph.tasks.arrays import ArrayTask
from neurograph.tasks.tfds.stored import NotStored

__all__ = ["run"]

ACROSS, DOWN = 10, 4  # images of a panel, except where every class is shown
TILE, GAP = 140, 4  # pixels of an image of either resolution, and between images
CROP = {"crop": 20}  # section 4.2 crops MNIST before it shrinks it; for the others it says nothing


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Draws images of every class of the paper's sets at both resolutions, and names the sets that are not there."""
    if bench.scale == "smoke":
        there, missing = {"digits": {"8x8": get_task("digits")}}, {}
    else:
        there, missing = _found(bench.pick("", "omniglot/small", "omniglot"))
    if not there:
        raise next(iter(missing.values()))
    rows = [_row(name, size, task) for name, tasks in there.items() for size, task in tasks.items()]
    bench.csv("data.csv", rows)
    sheets = {name: {size: _sheet(task) for size, task in tasks.items()} for name, tasks in there.items()}
    bench.figure("figure.png", _figure(there, sheets))
    sizes = [row for row in rows if row["resolution"] in ("28x28", "8x8")]
    seen = "; ".join(
        f"{row['set']} {row['classes']} classes, {row['train']:,} training, {row['validation']:,} validation and {row['test']:,}"
        f" test images ({row['fewest']:,} to {row['most']:,} of a class in training)"
        for row in sizes
    )
    absent = f"; not on this machine: {', '.join(missing)}" if missing else "; none is missing"
    settings = (
        "The same training images at both resolutions, drawn once, a class per column (of the halves two columns per class; of"
        " EMNIST's 62 classes one image each, 0-9, A-Z, a-z; of Omniglot ten characters, whose training and test alphabets"
        " differ). 28x28: as they are, Omniglot's 105x105 shrunk. 10x10: MNIST and its halves cropped to 20x20 and shrunk, as in"
        " section 4.2; of the others the whole image shrunk, the choice here where the paper says nothing. Brightness is between"
        " the darkest and the brightest pixel of the images shown."
    )
    if bench.scale == "smoke":
        settings = "The embedded digits, which have one resolution."
    return [Finding("The image sets of the paper, at 10x10 and 28x28 pixels", seen + absent, None)], settings


def _found(omniglot: str) -> tuple[dict[str, dict[str, Any]], dict[str, NotStored]]:
    """Returns the sets that are there, {name: {resolution: task}}, and the faults of those that are not, by name."""
    halves = {f"MNIST {half} (half)": (f"mnist/{half}", CROP) for half in ("0-4", "5-9")}
    sets: dict[str, tuple[str, Mapping[str, int]]] = {"MNIST": ("mnist", CROP), **halves}
    sets |= {"Fashion-MNIST": ("fashion_mnist", {}), "EMNIST a-j": ("emnist/a-j", {}), "EMNIST": ("emnist/byclass", {})}
    sets |= {f"Omniglot{' (its two small sets)' * (omniglot != 'omniglot')}": (omniglot, {})}
    there: dict[str, dict[str, Any]] = {}
    missing: dict[str, NotStored] = {}
    for name, (task, crop) in sets.items():
        try:
            there[name] = {"10x10": get_task(task, size=10, **crop), "28x28": get_task(task, size=28)}
        except NotStored as fault:
            missing[name] = fault
    return there, missing


def _training(task: ArrayTask) -> tuple[np.ndarray, np.ndarray]:
    """Returns the training images [N, height, width] and their labels."""
    start, count = task.extent("train")
    part = slice(start, start + count)
    return np.asarray(task.data[part]).reshape(count, *(task.image_shape or ())[:2]), np.asarray(task.labels[part])


def _row(name: str, size: str, task: ArrayTask) -> Row:
    images, labels = _training(task)
    counts = np.unique(labels, return_counts=True)[1]
    row: Row = {"set": name, "resolution": size, "inputs": task.num_inputs, "classes": len(counts)}
    row |= {split: task.extent(split)[1] for split in ("train", "validation", "test")}
    row |= {"fewest": int(counts.min()), "most": int(counts.max())}
    return row | {"mean": float(images.mean()), "deviation": float(images.std())}


def _sheet(task: ArrayTask) -> np.ndarray:
    """Returns one image of many [height, width], NaN between them: one or two columns per class, or one image per class."""
    images, labels = _training(task)
    classes = np.unique(labels)
    random = np.random.default_rng(0)  # the same images at every resolution: rows and labels are in the same order
    if task.is_family:  # N-way: the classes of an episode
        classes = np.sort(random.choice(classes, min(ACROSS, len(classes)), replace=False))
    per_class = max(1, ACROSS // len(classes)) * DOWN if len(classes) <= ACROSS else 1
    chosen = [random.choice(np.flatnonzero(labels == one), per_class, replace=False) for one in classes]
    if per_class > 1:
        wide = per_class // DOWN
        order = np.concatenate([np.concatenate([one[row * wide : (row + 1) * wide] for one in chosen]) for row in range(DOWN)])
    else:
        order = np.concatenate(chosen)
    # Images of every resolution become tiles of about the same size, so that panels are alike.
    times = max(1, round(TILE / images.shape[1]))
    tiles = images[order].repeat(times, axis=1).repeat(times, axis=2)
    height, width = (side + GAP for side in tiles.shape[1:])
    sheet = np.full((-(-len(order) // ACROSS) * height - GAP, ACROSS * width - GAP), np.nan)
    for number, tile in enumerate(tiles):
        top, left = number // ACROSS * height, number % ACROSS * width
        sheet[top : top + len(tile), left : left + tile.shape[1]] = tile
    return sheet


@styled({"axes.grid": False})
def _figure(there: Mapping[str, Mapping[str, ArrayTask]], sheets: Mapping[str, Mapping[str, np.ndarray]]) -> Picture:
    """Draws a row per set and a column per resolution."""
    columns = max(len(one) for one in sheets.values())
    tall = [next(iter(one.values())) for one in sheets.values()]
    heights = [len(sheet) / sheet.shape[1] for sheet in tall]
    figure = picture(4.2 * columns + 0.2, sum(4.05 * height + 0.48 for height in heights))
    axes = figure.subplots(len(sheets), columns, squeeze=False, height_ratios=[height + 0.08 for height in heights])
    for row, (name, by_size) in zip(axes, sheets.items()):
        for axis, (size, sheet) in zip(row, by_size.items()):
            axis.set_facecolor("white")
            low, high = np.nanmin(sheet), np.nanmax(sheet)
            axis.imshow(sheet, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axis.set(xticks=(), yticks=())
            axis.set_frame_on(False)
            axis.set_title(f"{short(name)}, {size}", fontsize=9, loc="left", pad=3)
            _name_columns(axis, there[name][size], sheet)
    return figure


def _name_columns(axis: Any, task: ArrayTask, sheet: np.ndarray) -> None:
    """Writes the names of classes under their columns, if each has columns of its own and a short name."""
    names = list(task.class_names)
    if task.is_family or len(names) > ACROSS:
        return
    places = (np.arange(len(names)) + 0.5) * sheet.shape[1] / len(names)
    axis.set_xticks(places, [name.replace("/", "/\n").replace(" ", "\n") for name in names])
    axis.tick_params(length=0, labelsize=7 if max(map(len, names)) < 3 else 5.5, pad=1)
