"""Beyond the paper: genomes by the graphs that they were trained on, on graphs that none of them saw."""

from __future__ import annotations

import dataclasses

import numpy as np

from neurograph.experiment import find_topology
from neurograph.matrix_results import TransferMatrix
from neurograph.reproduce.properties import properties, property_figure, relate
from neurograph.reproduce.summaries import baseline_rows, by_genome, spread, tested, told
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Variant, Workbench
from neurograph.results import Row
from neurograph.topology.shipped import shipped_names
from neurograph.transfer_map import heat_map

__all__ = ["TRAINING", "run"]

TRAINING: dict[str, tuple[str, ...]] = {
    "layered": ("mlp",),
    "deep": ("mlp4",),
    "residual": ("residual",),
    "irregular": ("irregular_dag",),
    "cyclic": ("reservoir",),
    "depths": ("mlp", "mlp4"),
    "layered, irregular": ("mlp", "irregular_dag"),
    "layered, irregular, cyclic": ("mlp", "irregular_dag", "reservoir"),
    "four kinds": ("mlp", "residual", "irregular_dag", "reservoir"),
}
"""Shipped topologies that genomes are trained on together, by the name of the set."""
EPISODES = 4
"""Per meta-step, whatever the number of graphs (three graphs: one each)."""


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """The matrix, and what property of the training graphs goes with transfer."""
    training = bench.pick({"layered": tuple(bench.image_places()[0].values())}, TRAINING, TRAINING)
    meta_steps, seeds = bench.pick(2, 60, 10_000), bench.seeds(1, 2, 5)
    runs = bench.train({name: _variant(bench, topologies, meta_steps) for name, topologies in training.items()}, seeds)
    names = list(runs)
    seen = {topology for topologies in training.values() for topology in topologies}
    graphs = dict(sorted(_fitting(bench).items(), key=lambda item: (item[1] not in seen, item[0])))
    steps, judged = bench.pick((0, 2), (0, 10, 50), (0, 10, 50)), bench.pick(2, 10, 10)
    rivals = {"optimizers": bench.pick((), ("sgd", "momentum"), ("sgd", "momentum")), "validation_seeds": bench.pick(1, 1, 3)}
    rivals |= {"learning_rates": bench.pick((0.1,), (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), tuple(np.geomspace(0.001, 10, 9)))}
    sizes = {"seeds": bench.pick(1, 2, 5), "query_size": bench.pick(64, 360, 360)}
    matrix = bench.test(runs, graphs, {"digits": "digits"}, at=steps, **sizes, **rivals)
    rows = [row | {"held_out": graphs[row["topology"]] not in seen} for row in tested(matrix)]
    bench.csv("data.csv", rows)
    best = baseline_rows(matrix)
    if best:
        bench.csv("baselines.csv", best)
    held_out = [row for row in rows if row["held_out"]]
    means = {step: by_genome(row for row in held_out if row["step"] == step) for step in steps}
    outcome = {name: list(means[judged].get(name, {}).values()) for name in names}
    of = {name: properties([find_topology(topology) for topology in topologies]) for name, topologies in training.items()}
    related = relate(outcome, of)
    table = [{"trained on": name} | of[name] | {"held_out": np.mean(outcome[name] or [np.nan])} for name in names]
    bench.csv("properties.csv", table)
    if related:
        bench.csv("relations.csv", related)
    picture = heat_map(_by_set(matrix, names), judged)
    picture.set_size_inches(np.array(picture.get_size_inches()) * (0.72, 0.8))
    bench.figure("heat_map.png", picture, dpi=90, colours=200)
    bench.figure("properties.png", property_figure(outcome, of))
    settings = (
        f"Digits' recipe, {meta_steps} meta-steps of {EPISODES} episodes (three graphs: 3), one genome, {seeds} seeds per set of"
        f" graphs, {sizes['seeds']} test runs per genome and graph; {len({*graphs.values()} - seen)} graphs that no genome"
        f" was trained on, among all shipped ones of 64 inputs and 10 outputs. A genome's number is its mean accuracy over those."
    )
    beside = [row for row in best if graphs[row["topology"]] not in seen]
    return _findings(training, outcome, means, related, beside, judged, steps[-1]), settings


def _fitting(bench: Workbench) -> dict[str, str]:
    """All shipped graphs for the digits, where to find them by name; at smoke scale the one trained on and another."""
    if bench.scale == "smoke":
        return bench.image_places()[0] | {"two_towers": "two_towers"}
    found = {name: find_topology(name) for name in shipped_names()}
    return {name: name for name, one in found.items() if (len(one.inputs), len(one.outputs)) == (64, 10)}


def _variant(bench: Workbench, topologies: tuple[str, ...], meta_steps: int) -> Variant:
    if bench.scale == "smoke":
        return bench.images(*bench.recipe())
    problems = ", ".join(f"{{task: digits, topology: {name}}}" for name in topologies)
    more = (f"training.meta_steps={meta_steps}", "training.genomes=1", "training.replace=0", "training.validate_every=30")
    return bench.variant("digits", *more, f"problems=[{problems}]", f"unroll.replicas={EPISODES // len(topologies)}")


def _by_set(matrix: TransferMatrix, names: list[str]) -> TransferMatrix:
    """The genomes of a set as one, all seeds together."""
    rows = tuple(row | {"genome": row["genome"] and row["genome"].rpartition(" / ")[0]} for row in matrix.rows)
    notes = matrix.notes | {"genomes": [name for name in names if any(row["genome"] == name for row in rows)]}
    return dataclasses.replace(matrix, rows=rows, notes=notes)


def _findings(
    training: dict[str, tuple[str, ...]],
    outcome: dict[str, list[float]],
    means: dict[int, dict[str, dict[int, float]]],
    related: list[Row],
    beside: list[Row],
    judged: int,
    last: int,
) -> list[Finding]:
    single, several = ([v for n, on in training.items() if (len(on) > 1) == many for v in outcome[n]] for many in (False, True))
    words = ", ".join(
        f"{name} {told(outcome[name])}" for name in sorted(training, key=lambda name: -np.mean(outcome[name] or [0]))
    )
    findings = [
        Finding(
            "Genomes trained on several graphs at once carry over better than those of one (lower quartile over upper quartile)",
            f"mean accuracy on held-out graphs after {judged} steps, median (lowest to highest): several {told(several)}, one"
            f" {told(single)}; by set: {words}",
            spread(several)["low"] > spread(single)["high"] if single and several else False,
            "which graphs they are matters more than how many, or the few meta-steps are shared out among more kinds of graph",
        )
    ]
    if related:
        text = "; ".join(
            f"{row['words']} {row['rho']:+.2f} ({row['lowest']:+.2f} to {row['highest']:+.2f} without one set), p {row['p']:.2f},"
            f" error explained on sets left out {row['predicted']:+.2f}"
            for row in related
        )
        text += "".join(
            f"; rank correlation of {related[0]['words']} with {row['words']} {row['with_first']:+.2f}" for row in related[1:2]
        )
        sure = [r["words"] for r in related if r["p"] < 0.05 and r["lowest"] * r["highest"] > 0 and r["predicted"] > 0]
        findings.append(
            Finding(
                "What property of the training graphs makes a genome transfer? (answered if one has p < 0.05 after correction for"
                " the number of properties, keeps its sign without any one set, and predicts sets left out)",
                f"{', '.join(sure) or 'none for sure'}; rank correlations over {related[0]['sets']} sets: {text}",
                bool(sure),
                f"{related[0]['sets']} sets of graphs are few: only a rank correlation near 1 can be told from chance",
            )
        )
    if beside:
        text = ", ".join(
            f"{step} steps: genomes {told(v for found in means[step].values() for v in found.values())}, gradient descent"
            f" {np.mean([row['median'] for row in beside if row['step'] == step]):.3f}"
            for step in (judged, last)
        )
        findings.append(Finding("Beside SGD and momentum at best rates, with batch norm or not, on the same graphs", text, None))
    return findings
