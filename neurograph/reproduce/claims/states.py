"""Figure 13: the number of states per neuron."""

from __future__ import annotations

from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.summaries import at, by_label, ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Workbench

__all__ = ["run"]


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Genomes of 2 to 8 states, meta-trained alike on one network."""
    states = bench.pick((2, 3), (2, 3, 4, 6, 8), (2, 3, 4, 5, 6, 8))
    meta_steps, genomes = bench.pick(2, 200, 10_000), bench.pick(1, 2, 8)
    common = (f"training.meta_steps={meta_steps}", f"training.genomes={genomes}")
    seeds = bench.seeds(1, 3, 3)
    runs = bench.train({f"{k} states": bench.images(*common, f"rule.states={k}") for k in states}, seeds)
    topologies, tasks = bench.image_places()
    steps = bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50), (0, 1, 2, 5, 10, 20, 50, 100))
    matrix = bench.test(runs, topologies, tasks, at=steps, seeds=bench.pick(1, 3, 5), query_size=bench.pick(64, 1024, 2048))
    rows = tested(matrix)
    bench.csv("data.csv", rows)
    table = summarize(rows)
    judged = bench.pick(2, 10, 10)
    last = {k: at(table, label=label, step=judged) | {"states": k} for k, label in zip(states, runs, strict=True)}

    figure, (left, right) = panels(2)
    curves(
        left,
        by_label(table, runs),
        title=f"{next(iter(tasks))}, {next(iter(topologies))}",
    )
    left.legend(fontsize=8)
    curves(
        right,
        {f"after {judged} steps": list(last.values())},
        x="states",
        xlabel="states per neuron",
        title=f"after {judged} steps",
    )
    bench.figure("figure.png", figure)

    few, best = last[states[0]], max((last[k] for k in states[1:]), key=lambda row: row["median"])
    seen = ", ".join(f"{k} states {ranged(row)}" for k, row in last.items())
    findings = [
        Finding(
            "Two states are enough to learn (above one half)",
            f"median test accuracy after {judged} steps: {ranged(few)}",
            few["minimum"] > 0.5,
        ),
        Finding(
            "More states learn faster (the best number's lower quartile over the upper one of the fewest)",
            f"median (lowest to highest) after {judged} steps: {seen}",
            best["low"] > few["high"],
            "the start near backprop uses two states; what the others can do has to be found within few meta-steps",
        ),
    ]
    settings = (
        f"{seeds} seeds of {meta_steps} meta-steps per number of states, the best of {genomes} genomes of a run chosen on"
        f" validation data; {matrix.notes['seeds']} test runs per genome."
    )
    return findings, settings
