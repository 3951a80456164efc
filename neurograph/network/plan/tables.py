"""Gather tables: which neurons and which synapses meet in every row, padded as little as a static shape allows. NumPy only.

Rows of a table are sorted by degree, longest first, and cut into *pieces*: piece p covers columns c_p to c_{p+1} of the rows that
are long enough to have them. A table may hold many *tiles* of equally many rows that share one set of pieces: steps of a scan.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

__all__ = ["GatherTable", "Piece", "cut_pieces", "make_table", "tile_groups"]

IntArray = np.ndarray

# Pieces of a table: each is one more loop to compile, and saves the padding between the rows it holds.
MAX_PIECES = 4
# Slots of padding that are cheaper than one more piece (compile time, and one more pass over the result).
PIECE_COST = 48
# Columns are unrolled up to this width; wider pieces are multiples of CHUNK and looped.
UNROLL, CHUNK = 32, 8
# On a GPU a step of such a loop is a launch, and so wider pieces are unrolled, too.
UNROLL_GPU = 128


@dataclass(frozen=True)
class Piece:
    """`sources`, `slots`: [tiles, rows, width]. Position of the sending neuron, and of the synapse (the count m marks a hole)."""

    sources: IntArray
    slots: IntArray


@dataclass(frozen=True)
class GatherTable:
    """`pieces` over rows in order of degree; `place` [tiles, rows] finds the row of each target, or None where they agree.

    `order` is its inverse: the target of each row.
    """

    pieces: tuple[Piece, ...]
    place: IntArray | None
    order: IntArray | None

    @property
    def slots(self) -> int:
        """Multiply-adds per state and batch entry, padding included."""
        return sum(piece.slots.size for piece in self.pieces)


def cut_pieces(profile: IntArray, max_pieces: int = MAX_PIECES) -> list[tuple[int, int, int, int]]:
    """The pieces that cover a descending profile of row lengths at the least cost.

    Returns:
      (rows, first column, one past the last, padded width) of each.
    """
    longest = int(profile[0]) if len(profile) else 0
    if not longest:
        return []
    # Candidate cuts: every row length that occurs, thinned out; wide ones rounded up to whole chunks.
    lengths = np.unique(profile[profile > 0])
    lengths = np.where(lengths > UNROLL, -(-lengths // CHUNK) * CHUNK, lengths)
    cuts = np.unique(np.concatenate([[0], lengths]))
    if len(cuts) > 40:
        cuts = np.unique(cuts[np.linspace(0, len(cuts) - 1, 40).round().astype(int)])
    rows = np.array([np.count_nonzero(profile > c) for c in cuts])
    best = np.full((max_pieces + 1, len(cuts)), np.inf)
    back = np.zeros((max_pieces + 1, len(cuts)), int)
    best[:, 0] = 0.0
    for used in range(1, max_pieces + 1):
        for j in range(1, len(cuts)):
            width = cuts[j] - cuts[:j]
            width = np.where(width > UNROLL, -(-width // CHUNK) * CHUNK, width)
            cost = best[used - 1, :j] + rows[:j] * width + PIECE_COST + 0.01 * rows[0] * cuts[-1]
            back[used, j] = int(np.argmin(cost))
            best[used, j] = cost[back[used, j]]
    used, j, out = int(np.argmin(best[:, -1])), len(cuts) - 1, []
    while j:
        i = int(back[used, j])
        width = int(cuts[j] - cuts[i])
        out.append((int(rows[i]), int(cuts[i]), int(cuts[j]), -(-width // CHUNK) * CHUNK if width > UNROLL else width))
        used, j = used - 1, i
    return out[::-1]


def make_table(
    targets: IntArray, sources: IntArray, tile: IntArray, row: IntArray, tiles: int, rows: int, max_pieces: int = MAX_PIECES
) -> GatherTable:
    """A table from synapses i: `targets[i]` lies in row `row[targets[i]]` of tile `tile[targets[i]]`.

    Args:
      targets, sources: [m] positions.
      tile, row: by position of a target.
      tiles, rows: how many there are.
    """
    count = len(targets)
    where = tile[targets].astype(np.int64) * rows + row[targets]
    by = np.argsort(where, kind="stable")
    degree = np.bincount(where, minlength=tiles * rows)
    starts = np.concatenate([[0], np.cumsum(degree)])[:-1]
    degree, starts = degree.reshape(tiles, rows), starts.reshape(tiles, rows)
    order = np.argsort(-degree, axis=1, kind="stable")
    degree, starts = np.take_along_axis(degree, order, 1), np.take_along_axis(starts, order, 1)
    pieces = []
    for used, first, stop, width in cut_pieces(degree.max(axis=0), max_pieces):
        column = first + np.arange(width)
        real = column < np.minimum(degree[:, :used, None], stop)
        at = np.minimum(starts[:, :used, None] + column, count - 1)
        slots = np.where(real, by[at], count)
        # A hole reads the row's own last sender: a row that is in the cache already.
        safe = np.clip(np.minimum(at, (starts + np.maximum(degree, 1) - 1)[:, :used, None]), 0, count - 1)
        pieces.append(Piece(sources[by[safe]].astype(np.int32), slots.astype(np.int32)))
    if (order == np.arange(rows)).all():
        return GatherTable(tuple(pieces), None, None)
    place = np.argsort(order, axis=1).astype(np.int32)
    return GatherTable(tuple(pieces), place, order.astype(np.int32))


def tile_groups(degree: IntArray, max_groups: int = 3) -> list[tuple[int, int]]:
    """Runs of consecutive tiles that share their pieces: `degree` is [tiles, rows], the result [(first, last + 1)]."""
    tiles = len(degree)
    ordered = -np.sort(-degree, axis=1)
    grid = np.unique(np.linspace(0, tiles, min(tiles, 24) + 1).round().astype(int))
    peaks = [ordered[a:b].max(axis=0) for a, b in itertools.pairwise(grid)]
    number = len(peaks)
    cost = np.full((number, number + 1), np.inf)
    for i in range(number):
        peak = peaks[i]
        for j in range(i + 1, number + 1):
            peak = np.maximum(peak, peaks[j - 1])
            cost[i, j] = peak.sum() * (grid[j] - grid[i])
    total = float(cost[0, number])
    best = [(total, [(0, number)])]
    for groups in range(2, max_groups + 1):
        table = np.full((groups + 1, number + 1), np.inf)
        back = np.zeros((groups + 1, number + 1), int)
        table[0, 0] = 0
        for g in range(1, groups + 1):
            for j in range(1, number + 1):
                options = table[g - 1, :j] + cost[:j, j]
                back[g, j] = int(np.argmin(options))
                table[g, j] = options[back[g, j]]
        spans, j = [], number
        for g in range(groups, 0, -1):
            i = int(back[g, j])
            spans.append((i, j))
            j = i
        best.append((float(table[groups, number]), spans[::-1]))
    # Another group is another loop to compile: it must save a tenth of the work.
    chosen = best[0]
    for option in best[1:]:
        if option[0] < 0.9 * chosen[0]:
            chosen = option
    return [(int(grid[i]), int(grid[j])) for i, j in chosen[1] if j > i]
