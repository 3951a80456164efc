"""From arrays on the host to a task: checks, splits, class subsets, normalisation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import jax.numpy as jnp
import numpy as np

from neurograph.errors import TaskError
from neurograph.tasks.arrays import ArrayTask, WaysTask
from neurograph.tasks.base import SPLITS

__all__ = ["NORMALIZATIONS", "Classes", "Parts", "array_task", "carve", "regression_task", "select_classes", "stable_order"]

Classes = Sequence[int | str] | str | None
Parts = dict[str, tuple[np.ndarray, np.ndarray]]
"""Split -> its rows and the numbers of their classes, or their targets."""

NORMALIZATIONS: dict[str, str] = {
    "standard": "one mean and deviation over all inputs of the training split become 0 and 1",
    "per_input": "every input by its own mean and deviation over the training split; constant inputs become 0",
    "symmetric": "the range (of images 0..255, else of the training split) becomes [-1, 1]",
    "unit": "the range (of images 0..255, else of the training split) becomes [0, 1]",
    "none": "as it is",
}


def stable_order(count: int, seed: int) -> np.ndarray:
    """A pseudo-random order of 0..count-1 that no version of NumPy can change (SplitMix64 hashes, sorted). [count] int64."""
    with np.errstate(over="ignore"):
        value = np.arange(count, dtype=np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(value ^ (value >> np.uint64(31)), kind="stable")


def carve(labels: np.ndarray, fraction: float, seed: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows to keep and rows to cut, the same fraction of every class (rounded, at least one kept), the same in every process."""
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 <= fraction < 1:
        raise TaskError(f"{what}: got {fraction!r}; expected a number from 0 to below 1.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise TaskError(f"split_seed: got {seed!r}; expected an integer >= 0.")
    order = stable_order(len(labels), seed)
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, first, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(first, counts)
    cut = rank < np.repeat(np.minimum(np.rint(counts * fraction).astype(int), counts - 1), counts)
    # Back to the shuffled order, so that neither part is sorted by class.
    is_cut = np.zeros(len(labels), bool)
    is_cut[by_class[cut]] = True
    return order[~is_cut[order]], order[is_cut[order]]


def select_classes(classes: Classes, names: Sequence[str]) -> list[int]:
    """The indices that an option `classes` means: numbers, class names, or text such as "0-4" or "0-4,7" (numbers).

    Raises:
      TaskError: unknown class, the same class twice, or fewer than two.
    """
    if classes is None or (isinstance(classes, str) and not classes):
        return list(range(len(names)))
    index = {name: number for number, name in reversed(list(enumerate(names)))}
    if isinstance(classes, str):
        items = [item for part in classes.split(",") for item in _listed(part.strip(), index)]
    elif isinstance(classes, (bytes, Mapping, Set)) or not isinstance(classes, Iterable):
        raise TaskError(
            f'classes: got {type(classes).__name__}; expected a list of class numbers or names, in order, or text such as "0-4".'
        )
    else:
        items = list(classes)
    chosen = []
    for item in items:
        if isinstance(item, (int, np.integer)) and not isinstance(item, bool) and 0 <= item < len(names):
            if index.get(str(item), item) != item:
                raise TaskError(
                    f"classes: {item} is the number of class {names[item]!r}, and the name of class number {index[str(item)]}; "
                    f"say which by names, as a list of text such as [{str(item)!r}]."
                )
            chosen.append(int(item))
        elif isinstance(item, str) and item in index:
            chosen.append(index[item])
        else:
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise TaskError(f"classes: there is no class {item!r}; allowed: 0-{len(names) - 1} or the names {shown}.")
    if len(set(chosen)) < len(chosen):
        raise TaskError(f"classes: a class is named twice in {items!r}.")
    if len(chosen) < 2:
        raise TaskError(f"classes: got {len(chosen)}; a classification task needs at least 2.")
    return chosen


def _listed(part: str, index: Mapping[str, int]) -> list[int | str]:
    """The classes that a part of text such as "0-4,7,cat" means: a range, a number, or a name."""
    count = len(index)
    span = re.fullmatch(r"(\d{1,9})\s*-\s*(\d{1,9})", part)
    if span and part in index:
        raise TaskError(f"classes: {part!r} is a range of numbers, and the name of a class; give a list of numbers or of names.")
    if span:
        first, last = int(span[1]), int(span[2])
        return [last] if last >= count else list(range(first, last + 1))
    if re.fullmatch(r"[0-9]{1,9}", part) and (int(part) < count or part not in index):
        return [int(part)]
    return [part]


def _affine(train: np.ndarray, normalize: str, limits: tuple[float, float] | None) -> tuple[Any, Any]:
    """scale and shift of `data * scale + shift`, from the training split alone."""
    if normalize not in NORMALIZATIONS:
        raise TaskError(f"normalize: got {normalize!r}; allowed: {', '.join(NORMALIZATIONS)}.")
    if normalize in ("standard", "per_input"):
        axis = 0 if normalize == "per_input" else None
        if train.dtype == np.uint8:
            # Exact sums of bytes without a float copy of the whole split.
            total = train.sum(axis=axis, dtype=np.uint64).astype(np.float64)
            squares: Any = _sum_of_squares(train, axis)
            count = train.size if axis is None else len(train)
            mean = total / count
            deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        else:
            mean, deviation = train.mean(axis=axis, dtype=np.float64), train.std(axis=axis, dtype=np.float64)
        constant = deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-30)
        scale = np.where(constant, 0.0 if normalize == "per_input" else 1.0, 1.0 / np.where(constant, 1.0, deviation))
        return scale, -mean * scale
    if normalize == "none":
        return np.float64(1.0), np.float64(0.0)
    if limits is None:
        limits = (0.0, 255.0) if train.dtype == np.uint8 else (float(train.min()), float(train.max()))
    low, high = limits
    scale = 1.0 / (high - low) if high > low else 1.0
    return (
        (np.float64(scale), np.float64(-low * scale))
        if normalize == "unit"
        else (np.float64(2 * scale), np.float64(-2 * low * scale - 1))
    )


def _sum_of_squares(train: np.ndarray, axis: int | None) -> Any:
    # 256 squares of bytes sum to less than 2^24: exact in float32, and faster than any integer way.
    total = np.zeros(train.shape[1:], np.float64)
    for first in range(0, len(train), 256):
        block = train[first : first + 256].astype(np.float32)
        total += np.einsum("i...,i...->...", block, block)
    return total.sum() if axis is None else total


def array_task(
    name: str,
    parts: Parts,
    class_names: Sequence[str],
    *,
    classes: Classes = None,
    ways: int | None = None,
    own_classes: bool = False,
    image_shape: tuple[int, ...] | None = None,
    normalize: str = "standard",
    limits: tuple[float, float] | None = None,
) -> ArrayTask:
    """A task from checked host arrays.

    Args:
      name: for messages.
      parts: split -> (rows [N, num_inputs] uint8 or float32, labels [N] int indices into `class_names`); "train" is required.
      class_names: names of the labels.
      classes: subset of classes, in the order in which they become outputs.
      ways: draw this many classes for every episode.
      own_classes: with `ways`: the splits hold different classes (Omniglot's alphabets), not other rows of the same.
      image_shape: of one row.
      normalize: see `NORMALIZATIONS`.
      limits: least and greatest value that data can have, if not 0 and 255 (uint8) or what occurs (float32).

    Raises:
      TaskError: a class without training rows, rows of a class unknown to training, or wrong options.
    """
    chosen = select_classes(classes, class_names)
    if classes is not None:
        lookup = np.full(len(class_names), -1)
        lookup[chosen] = np.arange(len(chosen))
        parts = {split: _subset(rows, lookup[labels]) for split, (rows, labels) in parts.items()}
    names = tuple(class_names[index] for index in chosen)
    if not own_classes or ways is None:
        parts, names = _in_training(parts, names, classes)
    common = _resident(name, parts, image_shape, normalize, limits, np.int32, by_class=ways is not None)
    if ways is None:
        return ArrayTask(num_outputs=len(names), num_classes=len(names), class_names=names, **common)
    splits = [np.sort(parts[split][1]) if split in parts else np.zeros(0, np.int64) for split in SPLITS]
    pools = _pools(splits, [first for first, _ in common["extents"]], names, ways)
    return WaysTask(num_outputs=ways, num_classes=ways, **pools, **common)


def regression_task(
    name: str, parts: Parts, *, image_shape: tuple[int, ...] | None = None, normalize: str = "standard"
) -> ArrayTask:
    """A task of regression from checked host arrays: targets [N, outputs] float64, which are standardised by the training rows.

    Raises:
      TaskError: a target that is the same in all training rows, or wrong options.
    """
    targets = parts["train"][1]
    mean, deviation = targets.mean(axis=0), targets.std(axis=0)
    constant = np.flatnonzero(deviation <= 1e-12 * np.maximum(np.abs(mean), 1e-300))
    if len(constant):
        which = f" number {constant[0]}" if targets.shape[1] > 1 else ""
        raise TaskError(f"the target{which} is {mean[constant[0]]:g} in all training rows; there is nothing to learn.")
    standard = {split: (rows, (own - mean) / deviation) for split, (rows, own) in parts.items()}
    common = _resident(name, standard, image_shape, normalize, None, np.float32)
    units: dict[str, Any] = {
        "target_mean": jnp.asarray(mean, jnp.float32),
        "target_deviation": jnp.asarray(deviation, jnp.float32),
    }
    return ArrayTask(num_outputs=targets.shape[1], num_classes=0, **common, **units)


def _resident(
    name: str,
    parts: Parts,
    image_shape: tuple[int, ...] | None,
    normalize: str,
    limits: tuple[float, float] | None,
    kind: Any,
    by_class: bool = False,
) -> dict[str, Any]:
    """The fields of an `ArrayTask` that hold its rows, split by split (`by_class`: each sorted), and their labels as `kind`."""
    scale, shift = _affine(parts["train"][0], normalize, limits)
    if not (np.isfinite(np.float32(scale)).all() and np.isfinite(np.float32(shift)).all()):
        raise TaskError(f"normalize: {normalize!r} would divide by a deviation or range that is too small for float32.")
    empty = tuple(array[:0] for array in parts["train"])
    splits = [parts.get(split, empty) for split in SPLITS]
    if by_class:
        splits = [(rows[order], labels[order]) for rows, labels in splits for order in [np.argsort(labels, kind="stable")]]
    sizes = [len(rows) for rows, _ in splits]
    firsts = [sum(sizes[:i]) for i in range(len(sizes))]
    return {
        "name": name,
        "num_inputs": math.prod(empty[0].shape[1:]),
        "image_shape": image_shape,
        "data": jnp.asarray(np.concatenate([rows for rows, _ in splits])),
        "labels": jnp.asarray(np.concatenate([labels for _, labels in splits]), kind),
        "scale": jnp.asarray(scale, jnp.float32),
        "shift": jnp.asarray(shift, jnp.float32),
        "extents": tuple(zip(firsts, sizes)),
    }


def _in_training(parts: Parts, names: tuple[str, ...], classes: Classes) -> tuple[Parts, tuple[str, ...]]:
    """The parts and names without classes that have no rows at all; every class of a split must have training rows."""
    present = set(np.unique(parts["train"][1]).tolist())
    for split, (_, labels) in parts.items():
        missing = [names[label] for label in np.unique(labels).tolist() if label not in present]
        if missing:
            raise TaskError(f"{split} split has rows of {', '.join(missing[:8])}, of which the training split has none.")
    absent = [names[label] for label in range(len(names)) if label not in present]
    if absent and classes is not None:
        raise TaskError(f"classes: the training split has no rows of {', '.join(absent[:8])}.")
    if absent:  # Numbers that the set declares but does not use, such as EMNIST's letter 0.
        lookup = np.full(len(names), -1)
        lookup[sorted(present)] = np.arange(len(present))
        parts = {split: (rows, lookup[labels]) for split, (rows, labels) in parts.items()}
        names = tuple(names[label] for label in sorted(present))
    if len(names) < 2:
        raise TaskError(f"all rows are of one class, {', '.join(names) or 'none'}; a classification task needs at least 2.")
    return parts, names


def _pools(labels: list[np.ndarray], firsts: list[int], names: Sequence[str], ways: int) -> dict[str, Any]:
    """The fields of a `WaysTask` that say where the rows of each class of each split lie; labels are sorted within a split."""
    pools: list[tuple[int, int]] = []
    starts: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    for split, here, first_row in zip(SPLITS, labels, firsts):
        _, first, number = np.unique(here, return_index=True, return_counts=True)
        _check_pool(split, names, here, number, ways)
        pools.append((sum(map(len, starts)), len(number)))
        starts.append(first + first_row)
        counts.append(number)
    filled = {tuple(np.unique(here)) for here in labels if len(here)}
    return {
        "starts": jnp.asarray(np.concatenate(starts), jnp.int32),
        "counts": jnp.asarray(np.concatenate(counts), jnp.int32),
        "pools": tuple(pools),
        "shared": len(filled) == 1,
    }


def _subset(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = labels >= 0
    return rows[keep], labels[keep]


def _check_pool(split: str, names: Sequence[str], labels: np.ndarray, counts: np.ndarray, ways: int) -> None:
    if isinstance(ways, bool) or not isinstance(ways, int) or ways < 2:
        raise TaskError(f"ways: got {ways!r}; expected an integer >= 2.")
    if len(counts) == 0:
        return
    if len(counts) < ways:
        raise TaskError(f"ways: got {ways}, but the {split} split has {len(counts)} classes.")
    if counts.min() < 2:
        lone = names[int(np.unique(labels)[counts.argmin()])]
        raise TaskError(f"{split} split has one row of class {lone}; with ways every class needs 2 (support and query).")
