"""Medians and spreads over genomes and their test runs. Plain data, no JAX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from neurograph.matrix_results import TransferMatrix
from neurograph.results import Row, best_baselines, label

__all__ = ["RECIPE", "at", "baseline_rows", "by_genome", "spread", "summarize", "tested", "told"]

RECIPE = (
    "The shipped recipe (start near backprop, four states, single-state symmetric synapses, neurons normalised over the batch,"
    " the softmax's error as feedback), not the paper's start and feedback."
)
"""For the settings of a reproduction that trains by it."""


def tested(matrix: TransferMatrix) -> list[Row]:
    """The genomes' rows with "label" and "genome_seed" in place of "genome"."""
    found = []
    for row in matrix.rows:
        if row["genome"] is not None:
            name, _, seed = row["genome"].rpartition(" / ")
            keys = {"label": name, "genome_seed": int(seed), "topology": row["topology"], "task": row["task"]}
            found.append(keys | {key: row[key] for key in ("step", "seed", "accuracy", "loss", "failed")})
    return found


def baseline_rows(matrix: TransferMatrix, batch_norm: bool | None = None) -> list[Row]:
    """Per topology, task and step the baseline that was best on validation data, as an entry of `summarize`; its label is
    "best baseline", "which" says what it is. `batch_norm`: only of those with, or without it."""
    chosen: Iterable[Row] = matrix.chosen
    if batch_norm is not None:
        ranked: dict[tuple, Row] = {}
        for row in chosen:
            place = row["topology"], row["task"], row["step"]
            if row["batch_norm"] == batch_norm and (place not in ranked or row["accuracy"] > ranked[place]["accuracy"]):
                ranked[place] = row | {"best": True}
        chosen = ranked.values()
    found = []
    for (topology, task, step), entry in best_baselines((r for r in matrix.rows if r["genome"] is None), chosen).items():
        row: Row = {"label": "best baseline", "topology": topology, "task": task, "step": step}
        row |= {key: entry[key] for key in ("median", "low", "high", "minimum", "maximum", "failures")}
        found.append(row | {"runs": entry["seeds"], "genomes": 0, "which": f"{label(entry)}, {entry['learning_rate']:.3g}"})
    return found


def by_genome(rows: Iterable[Row], of: str = "accuracy") -> dict[str, dict[int, float]]:
    """{label: {genome seed: mean over its rows}}: what is compared where genomes, not runs of them, are the sample."""
    groups: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        groups.setdefault(row["label"], {}).setdefault(row["genome_seed"], []).append(row[of])
    return {name: {seed: float(np.mean(found)) for seed, found in members.items()} for name, members in groups.items()}


def summarize(rows: Iterable[Row], by: Sequence[str] = ("label", "topology", "task", "step"), of: str = "accuracy") -> list[Row]:
    """One entry per group: its keys and "median", "low", "high" (quartiles), "minimum", "maximum", "runs", "failures" and
    "genomes" (distinct genome seeds). Failed runs count with the accuracy of the answers they gave."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    table = []
    for group, members in groups.items():
        numbers = [row[of] for row in members if row[of] is not None and np.isfinite(row[of])]
        table.append(dict(zip(by, group)) | spread(numbers))
        table[-1] |= {"runs": len(members), "failures": sum(bool(row.get("failed")) for row in members)}
        table[-1]["genomes"] = len({row.get("genome_seed") for row in members})
    return table


def spread(numbers: Iterable[float]) -> Row:
    """{"median", "low", "high", "minimum", "maximum"}; NaN where there are none."""
    values = np.asarray(list(numbers), float)
    if not len(values):
        return dict.fromkeys(("median", "low", "high", "minimum", "maximum"), float("nan"))
    low, median, high = np.percentile(values, [25, 50, 75])
    found = {"median": median, "low": low, "high": high, "minimum": values.min(), "maximum": values.max()}
    return {key: float(value) for key, value in found.items()}


def told(numbers: Iterable[float], digits: int = 3) -> str:
    """ "0.850 (0.842 to 0.861)": median, lowest and highest."""
    found = spread(numbers)
    return f"{found['median']:.{digits}f} ({found['minimum']:.{digits}f} to {found['maximum']:.{digits}f})"


def at(table: Iterable[Row], **keys: object) -> Row:
    """The one entry of a summary with these keys.

    Raises:
      KeyError: none, or several.
    """
    found = [row for row in table if all(row.get(key) == value for key, value in keys.items())]
    if len(found) != 1:
        raise KeyError(f"{keys}: {len(found)} entries")
    return found[0]
