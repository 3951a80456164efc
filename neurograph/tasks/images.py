"""Crop, resize and turn images, many at once, in NumPy."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from neurograph.errors import TaskError

__all__ = ["crop_center", "pair", "resize", "resize_weights"]

_CHUNK = 4096


def pair(argument: str, value: Any) -> tuple[int, int] | None:
    """An option that is one integer (a square) or (height, width); None stays None.

    Raises:
      TaskError: anything else, or numbers outside 1..4096.
    """
    if value is None:
        return None
    parts = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(parts) != 2 or any(isinstance(p, bool) or not isinstance(p, (int, np.integer)) or not 1 <= p <= 4096 for p in parts):
        raise TaskError(f"{argument}: got {value!r}; expected an integer or a pair [height, width], each from 1 to 4096.")
    return int(parts[0]), int(parts[1])


def crop_center(images: np.ndarray, crop: tuple[int, int] | None) -> np.ndarray:
    """The central `crop` of images [N, H, W, ...]; a view.

    Raises:
      TaskError: the crop is larger than the images.
    """
    if crop is None:
        return images
    height, width = images.shape[1:3]
    if crop[0] > height or crop[1] > width:
        raise TaskError(f"crop: got {crop[0]}x{crop[1]}, but the images are {height}x{width}.")
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    return images[:, top : top + crop[0], left : left + crop[1]]


@lru_cache(maxsize=32)
def resize_weights(source: int, target: int, antialias: bool = True) -> np.ndarray:
    """[target, source] float32 rows that sum to 1: linear interpolation at half-pixel centres.

    With `antialias` the triangle is widened by the reduction, so that every source pixel counts; this is what Pillow's bilinear
    filter, `jax.image.resize` and `tf.image.resize(antialias=True)` compute.
    """
    ratio = source / target
    support = max(ratio, 1.0) if antialias else 1.0
    centers = (np.arange(target) + 0.5) * ratio - 0.5
    distance = np.abs(
        np.arange(source) - np.clip(centers, 0 if not antialias else None, source - 1 if not antialias else None)[:, None]
    )
    weights = np.maximum(0.0, 1.0 - distance / support)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize(images: np.ndarray, size: tuple[int, int] | None, *, antialias: bool = True) -> np.ndarray:
    """Images [N, H, W] or [N, H, W, C] uint8 to [N, h, w] or [N, h, w, C] uint8, bilinear, rounded to the nearest."""
    if size is None or images.shape[1:3] == size:
        return images
    down, across = resize_weights(images.shape[1], size[0], antialias), resize_weights(images.shape[2], size[1], antialias)
    result = np.empty((len(images), *size, *images.shape[3:]), np.uint8)
    for first in range(0, len(images), _CHUNK):
        block = images[first : first + _CHUNK].astype(np.float32)
        planes = block if block.ndim == 3 else np.moveaxis(block, 3, 1)
        planes = down @ planes @ across.T
        block = planes if block.ndim == 3 else np.moveaxis(planes, 1, 3)
        result[first : first + _CHUNK] = np.clip(np.rint(block), 0, 255)
    return result
