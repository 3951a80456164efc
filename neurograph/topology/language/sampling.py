"""Drawing pairs without replacement, seeded, in arrays."""

from __future__ import annotations

import numpy as np

__all__ = ["distinct", "distinct_rows", "ordered_pairs", "upper_pairs"]


def distinct(rng: np.random.Generator, total: int, count: int) -> np.ndarray:
    """`count` different integers below `total`, ascending, every set equally likely; memory in proportion to `count`."""
    if count > total // 2:
        if count == total:
            return np.arange(total)
        mask = np.ones(total, bool)
        mask[distinct(rng, total, total - count)] = False
        return np.flatnonzero(mask)
    chosen = np.empty(0, np.int64)
    while len(chosen) < count:
        more = rng.integers(total, size=(count - len(chosen)) + (count - len(chosen)) // 8 + 8)
        pool = np.concatenate([chosen, more])
        # keep the first of equal draws, in the order of drawing: the result stays uniform
        first = np.sort(np.unique(pool, return_index=True)[1])
        chosen = pool[first[:count]]
    return np.sort(chosen)


def distinct_rows(rng: np.random.Generator, rows: int, total: int, count: int) -> np.ndarray:
    """[rows, count] integers below `total`, different within a row, ascending."""
    if count * 4 > total:
        result = np.empty((rows, count), np.int64)
        step = max(1, 4_000_000 // max(total, 1))
        for start in range(0, rows, step):
            keys = rng.random((min(step, rows - start), total))
            result[start : start + step] = np.argpartition(keys, count - 1, axis=1)[:, :count]
        return np.sort(result, axis=1)
    result = np.sort(rng.integers(total, size=(rows, count)), axis=1)
    while True:
        again = np.flatnonzero((result[:, 1:] == result[:, :-1]).any(axis=1))
        if not len(again):
            return result
        result[again] = np.sort(rng.integers(total, size=(len(again), count)), axis=1)


def upper_pairs(codes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs i < j < n with the numbers `codes` when pairs are counted row by row; n up to 10^8."""
    codes = codes.astype(np.int64)
    # row i starts at i * (2n - i - 1) / 2; the root is off by one at most
    row = np.floor(((2 * n - 1) - np.sqrt((2.0 * n - 1) ** 2 - 8.0 * codes)) / 2).astype(np.int64)
    row = np.clip(row, 0, max(n - 2, 0))

    def start(i: np.ndarray) -> np.ndarray:
        return i * (2 * n - i - 1) // 2

    row -= start(row) > codes
    row += start(row + 1) <= codes
    return row, codes - start(row) + row + 1


def ordered_pairs(codes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs i != j with the numbers `codes`, counted row by row."""
    row, column = codes // (n - 1), codes % (n - 1)
    return row, column + (column >= row)
