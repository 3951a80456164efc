"""Panels and findings of the reproduction `continual`, on sequences of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neurograph.experiments.transfer.results import Row, interval
from neurograph.learning.sequence import Phase
from neurograph.report.figures.bands import curves
from neurograph.report.figures.style import GREY
from neurograph.reproduce.summaries import by_label
from neurograph.reproduce.verdict import Finding

__all__ = ["LABELS", "draw", "few_finding", "labels_finding", "tasks_finding"]

LABELS = "labels change"


def draw(axis: Any, name: str, phases: Sequence[Phase], table: Sequence[Row], labels: Sequence[str]) -> None:
    """Draws one scenario: accuracy on the labels of the moment, on both tasks all along, or over the steps on few examples."""
    if len(phases) == 1:
        curves(axis, by_label(table, labels), title=name)
    else:
        kept = {label: [r for r in table if (r["label"], r["mode"]) == (label, "kept")] for label in labels}
        if name == LABELS:
            lines = {label: [r for r in rows if r["own"]] for label, rows in kept.items()}
            lines["genome, fresh synapses"] = [
                r for r in table if (r["label"], r["mode"], r["own"]) == (labels[0], "fresh", True)
            ]
        else:
            judged = dict.fromkeys(phase.task.name for phase in phases)
            lines = {
                f"{who}: {task}": [r for r in kept[who] if r["judged"] == task] for who in (labels[0], "SGD") for task in judged
            }
        curves(axis, lines, x="total", title=name, even=False, dashed=["genome, fresh synapses"])
        for number in range(1, len(phases)):
            axis.axvline(sum(phase.steps for phase in phases[:number]), color=GREY, lw=0.8, ls=":")
    axis.legend(fontsize=7)


def shown(row: Row) -> str:
    """Returns the median and quartiles of an entry."""
    return interval(row, to="..")


def labels_finding(table: Any, label: str, phases: list[Phase], early: int, name: str, keep: float) -> Finding:
    """Judges whether permuted labels are learned as fast, and as far, with the synapses of those before."""
    del name
    parts, good = [], []
    for number, phase in enumerate(phases[1:], 1):
        for step in dict.fromkeys((early, phase.steps)):
            kept, fresh, sgd, alone = (
                table(who, mode, number, step, phase.task.name) for who in (label, "SGD") for mode in ("kept", "fresh")
            )
            good.append(kept["median"] >= fresh["low"] and (step < phase.steps or kept["median"] > 0.5))
            parts.append(
                f"permutation {number}, {step} steps: kept {shown(kept)}, fresh {shown(fresh)},"
                f" SGD {sgd['median']:.3f} and {alone['median']:.3f}"
            )
    return Finding(
        f"After the labels are permuted, {label} learns them again as fast as from fresh synapses",
        f"median test accuracy (quartiles): {'; '.join(parts)}; kept is not below the fresh ones' lower quartile, and"
        f" above 0.5 in the end, in {sum(good)} of {len(good)} (the criterion: all)",
        all(good),
        f"the genome keeps {keep:.3f} of a synapse per step (mean over genomes): above 1 synapses grow with every step,"
        " and beside them, as neurons are normalized, updates fade; a schedule that fits the few steps of meta-training",
    )


def tasks_finding(table: Any, label: str, phases: list[Phase], early: int, name: str) -> Finding:
    """Judges the cost of the second task for the first, and of the first for the second."""
    del name
    first, second = phases[0].task.name, phases[1].task.name
    parts = []
    for who in (label, "SGD"):
        before = table(who, "kept", 0, phases[0].steps, first)
        after = table(who, "kept", 1, phases[1].steps, first)
        quick, fresh = (table(who, mode, 1, early, second) for mode in ("kept", "fresh"))
        end, alone = (table(who, mode, 1, phases[1].steps, second) for mode in ("kept", "fresh"))
        again, once = (table(who, mode, 2, early, first) for mode in ("kept", "fresh"))
        parts.append(
            f"{who}: {first} falls from {shown(before)} to {shown(after)} while {second} is learned; {second} after {early}"
            f" steps {quick['median']:.3f} (fresh {fresh['median']:.3f}), after {phases[1].steps} {end['median']:.3f} (fresh"
            f" {alone['median']:.3f}); {first} again after {early} steps {again['median']:.3f} (fresh {once['median']:.3f})"
        )
    return Finding(f"What {label} forgets, and what it is worth to have learned before", "; ".join(parts), None)


def few_finding(table: Any, label: str, phases: list[Phase], early: int, name: str) -> Finding:
    task = phases[0].task.name
    mine, theirs = (table(who, "kept", 0, early, task) for who in (label, "SGD"))
    last, last_sgd = (table(who, "kept", 0, phases[0].steps, task) for who in (label, "SGD"))
    return Finding(
        f"From few examples, gone through {early} times, {label} learns as much as SGD at its best rate ({name})",
        f"median test accuracy {shown(mine)}, SGD {shown(theirs)}; after {phases[0].steps} times {last['median']:.3f},"
        f" {last_sgd['median']:.3f}; the criterion: not below SGD's lower quartile",
        mine["median"] >= theirs["low"],
        "the genome was trained on batches of 128: the statistics of a handful of rows are others",
    )
