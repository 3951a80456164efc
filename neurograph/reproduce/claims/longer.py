"""Variants of a rule far beyond the unroll they were meta-trained for: the common part of `oja` and `synapse_normalization`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.summaries import by_label, summarize, tested
from neurograph.reproduce.workbench import Trained, Variant, Workbench

__all__ = ["Longer", "far_beyond", "lengths"]


@dataclass(frozen=True)
class Longer:
    """Result of `far_beyond`: runs, learned gates, rows as of `tested`, rows of `lengths`, the trained unroll and the last step.

    "keep": per label the learned gates f~ of synapses, how much of a synapse a step keeps.
    """

    runs: dict[str, list[Trained]]
    keep: dict[str, list[float]]
    rows: list[Row]
    lengths: list[Row]
    unroll: int
    end: int
    settings: str


def far_beyond(bench: Workbench, variants: Mapping[str, Variant], seeds: int) -> Longer:
    """Meta-train, test on test data far beyond the trained unroll, measure synapses; writes two tables and the figure."""
    runs = bench.train(variants, seeds)
    topologies, tasks = bench.image_places()
    unroll = bench.pick(2, 10, 10)
    steps = bench.pick((0, 2, 8), (0, 1, 2, 5, 10, 20, 50, 100, 200, 500), (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000))
    matrix = bench.test(runs, topologies, tasks, at=steps, seeds=bench.pick(1, 3, 5), query_size=bench.pick(64, 1024, 2048))
    rows = tested(matrix)
    bench.csv("data.csv", rows)
    place = next(iter(topologies.values())), next(iter(tasks.values()))
    measured = lengths(runs, *place, steps=steps[-1], records=bench.pick(6, 14, 14), seeds=bench.pick(1, 2, 3))
    bench.csv("synapses.csv", measured)

    figure, (left, right) = panels(2)
    for axis, table, of in ((left, rows, "accuracy"), (right, [row for row in measured if row["step"]], "length")):
        table = summarize(table, by=("label", "step"), of=of)
        lines = by_label(table, variants)
        curves(axis, lines, even=of == "accuracy", title=next(iter(tasks)) if of == "accuracy" else "")
    left.axvline(steps.index(unroll), color="#b0b0b0", linewidth=0.8, linestyle=":")
    right.axvline(unroll, color="#b0b0b0", linewidth=0.8, linestyle=":")
    right.set(xscale="log", yscale="log", ylabel="length of synapses, start = 1")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    left.legend(fontsize=8)
    bench.figure("figure.png", figure)
    settings = (
        f"{seeds} seeds of {bench.recipe_steps} meta-steps at an unroll of {unroll} per variant, tested to {steps[-1]}"
        f" steps; {matrix.notes['seeds']} test runs per genome; synapses over {bench.pick(1, 2, 3)} runs per genome, their root"
        f" mean square (median over layers) over that at the start. {bench.recipe_words}"
    )
    keep = {
        label: [float(run.genome.synapse_keep) for run in members if run.genome is not None] for label, members in runs.items()
    }
    return Longer(runs, keep, rows, measured, unroll, steps[-1], settings)


def lengths(
    runs: Mapping[str, Sequence[Trained]], topology: str, task: str, *, steps: int, records: int, seeds: int
) -> list[Row]:
    """Returns the growth of synapses over learning steps, by `analysis.longrun`.

    A row has "label", "genome_seed", "seed", "step", "length", "power" and "failed". "length" is the root mean square of the
    synapses that arrive at a layer over that at the start, median over layers; "power" is p of length ~ steps^p over the second
    half, of all runs of the genome, infinite if a run's synapses overflowed ("failed").
    """
    from neurograph.analysis.longrun import long_run
    from neurograph.learning.inner_loop import Problem
    from neurograph.network.network import Network
    from neurograph.tasks import get_task
    from neurograph.topology import load_topology

    found = []
    for label, members in runs.items():
        for run in members:
            if run.genome is None or run.rule is None:
                continue
            problem = Problem(Network(load_topology(topology), run.rule), get_task(task))
            seen = long_run(problem, run.genome, steps=steps, seeds=seeds, batch_size=32 if steps < 10 else 128, records=records)
            with np.errstate(all="ignore"):
                length = np.median(seen.norms / seen.norms[:, :1], axis=2)
            power = float("inf") if seen.failed else seen.growth
            for seed, line in enumerate(length):
                for step, value in zip(seen.at, line, strict=True):
                    place = {"label": label, "genome_seed": run.seed, "seed": seed, "step": int(step)}
                    found.append(place | {"length": float(value), "power": power, "failed": not np.isfinite(value)})
    return found
