"""Medians and spreads over genomes and their test runs. Plain data, no JAX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import Row, best_baselines, five_numbers, interval, label, mark_best

__all__ = [
    "RECIPES",
    "at",
    "baseline_rows",
    "best_entries",
    "by_genome",
    "by_label",
    "range_of",
    "ranged",
    "summarize",
    "tested",
]

RECIPES = {
    "shipped": "The shipped recipe (start near backprop, four states, single-state symmetric synapses, neurons normalised over"
    " the batch, the softmax's error as feedback), not the paper's start and feedback.",
    "printed": "The recipe as printed (random starts, two states, a number per state of every synapse, hidden neurons normalised"
    " over the batch, labels as feedback, Adam at 0.0005, clip 10).",
}
"""For the settings of a reproduction that trains by one of them."""


def tested(matrix: TransferMatrix) -> list[Row]:
    """Returns the genomes' rows with "label" and "genome_seed" in place of "genome"."""
    found = []
    for row in matrix.rows:
        if row["genome"] is not None:
            name, _, seed = row["genome"].rpartition(" / ")
            keys = {"label": name, "genome_seed": int(seed), "topology": row["topology"], "task": row["task"]}
            found.append(keys | {key: row[key] for key in ("step", "seed", "accuracy", "loss", "failed")})
    return found


def best_entries(matrix: TransferMatrix, batch_norm: bool | None = None, methods: Sequence[str] | None = None) -> list[Row]:
    """Returns per topology, task and step the baseline that was best on validation data, an entry of `results.aggregate`.

    `batch_norm`: only of those with, or without it; `methods`: only of these optimisers.
    """
    chosen: Iterable[Row] = matrix.chosen
    if batch_norm is not None or methods is not None:
        among = (
            row for row in chosen if batch_norm in (None, row["batch_norm"]) and (methods is None or row["method"] in methods)
        )
        chosen = mark_best(among)
    return list(best_baselines((row for row in matrix.rows if row["genome"] is None), chosen).values())


def baseline_rows(matrix: TransferMatrix, batch_norm: bool | None = None) -> list[Row]:
    """Returns `best_entries` as entries of `summarize`: the label is "best baseline", "which" names it."""
    found = []
    for entry in best_entries(matrix, batch_norm):
        row: Row = {"label": "best baseline"} | {key: entry[key] for key in ("topology", "task", "step")}
        row |= {key: entry[key] for key in ("median", "low", "high", "minimum", "maximum", "failures")}
        found.append(row | {"runs": entry["seeds"], "genomes": 0, "which": f"{label(entry)}, {entry['learning_rate']:.3g}"})
    return found


def by_genome(rows: Iterable[Row], of: str = "accuracy") -> dict[str, dict[int, float]]:
    """Returns {label: {genome seed: mean over its rows}}, for comparisons whose sample are genomes, not runs of them."""
    groups: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        groups.setdefault(row["label"], {}).setdefault(row["genome_seed"], []).append(row[of])
    return {name: {seed: float(np.mean(found)) for seed, found in members.items()} for name, members in groups.items()}


def summarize(rows: Iterable[Row], by: Sequence[str] = ("label", "topology", "task", "step"), of: str = "accuracy") -> list[Row]:
    """Returns one entry per group: its keys and "median", "low", "high" (quartiles), "minimum", "maximum", "runs", "failures" and
    "genomes" (distinct genome seeds). Failed runs count with the accuracy of the answers they gave."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    table = []
    for group, members in groups.items():
        numbers = [row[of] for row in members if row[of] is not None and np.isfinite(row[of])]
        table.append(dict(zip(by, group)) | five_numbers(numbers))
        table[-1] |= {"runs": len(members), "failures": sum(bool(row.get("failed")) for row in members)}
        table[-1]["genomes"] = len({row.get("genome_seed") for row in members})
    return table


def ranged(row: Row, digits: int = 3) -> str:
    """Returns the median of an entry and its whole range, "0.850 (0.842 to 0.861)", or "lost"."""
    return "lost" if row.get("lost") else interval(row, ("minimum", "maximum"), to=" to ", digits=digits)


def range_of(numbers: Iterable[float], digits: int = 3) -> str:
    """Returns the median and the range of numbers as `ranged` writes them."""
    return ranged(five_numbers(numbers), digits)


def by_label(table: Iterable[Row], labels: Iterable[str]) -> dict[str, list[Row]]:
    """Returns the rows of every label, the lines of a figure; none where it has none."""
    rows = list(table)
    return {label: [row for row in rows if row["label"] == label] for label in labels}


def at(table: Iterable[Row], **keys: object) -> Row:
    """Returns the one entry of a summary with these keys.

    Raises:
      KeyError: none, or several.
    """
    found = [row for row in table if all(row.get(key) == value for key, value in keys.items())]
    if len(found) != 1:
        raise KeyError(f"{keys}: {len(found)} entries")
    return found[0]
