"""Medians and spreads over genomes and their test runs. Plain data, no JAX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from neurograph.matrix_results import TransferMatrix
from neurograph.results import Row, best_baselines, label

__all__ = ["at", "baseline_rows", "spread", "summarize", "tested"]


def tested(matrix: TransferMatrix) -> list[Row]:
    """The genomes' rows with "label" and "genome_seed" in place of "genome"."""
    found = []
    for row in matrix.rows:
        if row["genome"] is not None:
            name, _, seed = row["genome"].rpartition(" / ")
            keys = {"label": name, "genome_seed": int(seed), "topology": row["topology"], "task": row["task"]}
            found.append(keys | {key: row[key] for key in ("step", "seed", "accuracy", "loss", "failed")})
    return found


def baseline_rows(matrix: TransferMatrix) -> list[Row]:
    """Per topology, task and step the baseline that was best on validation data, as an entry of `summarize`; its label is
    "best baseline", "which" says what it is."""
    found = []
    for (topology, task, step), entry in best_baselines((r for r in matrix.rows if r["genome"] is None), matrix.chosen).items():
        row: Row = {"label": "best baseline", "topology": topology, "task": task, "step": step}
        row |= {key: entry[key] for key in ("median", "low", "high", "minimum", "maximum", "failures")}
        found.append(row | {"runs": entry["seeds"], "genomes": 0, "which": f"{label(entry)}, {entry['learning_rate']:.3g}"})
    return found


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


def at(table: Iterable[Row], **keys: object) -> Row:
    """The one entry of a summary with these keys.

    Raises:
      KeyError: none, or several.
    """
    found = [row for row in table if all(row.get(key) == value for key, value in keys.items())]
    if len(found) != 1:
        raise KeyError(f"{keys}: {len(found)} entries")
    return found[0]
