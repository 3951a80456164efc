"""The data set that comes with scikit-learn: the offline default."""

from __future__ import annotations

import numpy as np

from neurograph.tasks.arrays import ArrayTask
from neurograph.tasks.build import Classes, array_task, carve

__all__ = ["digits"]


def digits(
    classes: Classes = None,
    ways: int | None = None,
    normalize: str = "standard",
    validation: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
) -> ArrayTask:
    """1,797 handwritten digits of 8x8 pixels in 17 shades (the UCI optical recognition test set), 64 inputs.

    There is no official split; of every class a fifth is test and a fifth of the rest validation, the same rows in every process.
    """
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    rows, labels = np.asarray(pixels, np.uint8), np.asarray(targets, np.int64)
    keep, held = carve(labels, test, split_seed, "test")
    train, cut = carve(labels[keep], validation, split_seed, "validation")
    places = {"train": keep[train], "validation": keep[cut], "test": held}
    parts = {split: (rows[place], labels[place]) for split, place in places.items()}
    names = [str(digit) for digit in range(10)]
    return array_task(
        "digits", parts, names, classes=classes, ways=ways, image_shape=(8, 8), normalize=normalize, limits=(0.0, 16.0)
    )
