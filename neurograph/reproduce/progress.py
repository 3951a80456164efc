"""Meta-training as rows that `summarize` takes, from the metrics of run folders. Plain data, no JAX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from neurograph.experiments.transfer.results import Row
from neurograph.learning.lost import lost_score

if TYPE_CHECKING:
    from neurograph.reproduce.workbench import Trained

__all__ = ["at_or_lost", "best_of", "speeds", "trained", "validated"]


def validated(run: Trained) -> list[Row]:
    """Returns the validations along a run: "label", "genome_seed", "step" (meta-steps), "seconds" and "accuracy".

    The accuracy is that of the genome that was best then, mean over problems; where all diverged, it is 0 and the row "failed".
    """
    found, seconds = [], 0.0
    for record in run.records():
        seconds = record.get("seconds", seconds)
        if "validation" in record:
            found.append(_row(run, record["step"], seconds, record["validation"]))
    return found


def trained(run: Trained) -> list[Row]:
    """Returns the same as `validated`, but on the query batches of the meta-steps themselves: finer, and without cost."""
    return [_row(run, record["step"], record["seconds"], record) for record in run.records() if "loss" in record]


def _row(run: Trained, step: int, seconds: float, scores: Row) -> Row:
    pairs = zip(scores["loss"], scores["accuracy"], strict=True)
    fine = [accuracy for loss, accuracy in pairs if loss is not None and accuracy is not None]
    row: Row = {"label": run.label, "genome_seed": run.seed, "step": step, "seconds": seconds}
    return row | {"accuracy": max(fine, default=lost_score()), "failed": not fine}


def speeds(runs: Sequence[Trained]) -> list[float]:
    """Returns per run the mean accuracy along meta-training (the area under its curve); 0 for a lost run."""
    return [mean(row["accuracy"] for row in trained(run)) if run.genome is not None else lost_score() for run in runs]


def best_of(runs: Mapping[str, Sequence[Trained]]) -> dict[str, list[Trained]]:
    """Returns of every label the run that is best on validation data, alone: where the paper shows the best of several runs."""
    return {label: [max(members, key=lambda one: one.accuracy)] for label, members in runs.items()}


def at_or_lost(table: Iterable[Row], **keys: object) -> Row:
    """Returns the first entry of a summary with these keys; zeros and "lost" where there is none, since every run was lost."""
    lost: Row = dict.fromkeys(("median", "low", "high", "minimum", "maximum"), 0.0) | {"runs": 0, "failures": 0, "lost": True}
    return next((row for row in table if all(row.get(key) == value for key, value in keys.items())), lost)
