"""Section C.6 and beyond: other labels, other tasks and few examples, on synapses that have learned before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jax

from neurograph.experiments.environment import versions
from neurograph.experiments.transfer.cells import genome_key, keep_cell, stored_cell, task_key
from neurograph.experiments.transfer.results import Row
from neurograph.learning.baselines import LEARNING_RATES, Setting
from neurograph.learning.sequence import GenomeLearner, Phase, best_descent, learn_sequence, permuted
from neurograph.network.network import Network
from neurograph.report.figures.bands import panels
from neurograph.reproduce.claims.continual_findings import LABELS, draw, few_finding, labels_finding, tasks_finding
from neurograph.reproduce.summaries import at, summarize
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Workbench
from neurograph.tasks import get_task
from neurograph.topology import Topology, load_topology
from neurograph.topology.layered import mlp

__all__ = ["run"]

SETTINGS = tuple(Setting("sgd", activation, norm) for activation in ("relu", "tanh") for norm in (False, True))
BY = ("scenario", "label", "mode", "phase", "step", "judged", "own", "total")


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """MNIST genomes on labels that change, on one task after another, and on few examples, beside SGD."""
    seeds = bench.seeds(1, 3, 8)
    runs = dict(bench.train({"genome": bench.images(*bench.recipe())}, seeds))
    members = [run for run in runs["genome"] if run.genome is not None]
    if bench.scale != "smoke":
        members.append(bench.zoo("mnist-4state"))
    rows: list[Row] = []
    chosen: list[Row] = []
    plans = _plans(bench)
    for name, (topology, phases, options) in plans.items():
        cell = _kept(bench, name, topology, phases, members, options)
        rows, chosen = rows + cell["rows"], [*chosen, {"scenario": name} | cell["chosen"]]
        bench.count(cell["tests"], cell["chosen"])
    bench.csv("data.csv", rows)
    bench.csv("baseline.csv", chosen)
    table = summarize(rows, BY)
    labels = [*dict.fromkeys(member.label for member in members), "SGD"]

    figure, axes = panels(len(plans), columns=3, width=4.2, height=3.2)
    for axis, (name, (_, phases, _)) in zip(axes, plans.items()):
        draw(axis, name, phases, [row for row in table if row["scenario"] == name], labels)
    bench.figure("figure.png", figure)

    findings = []
    for name, (_, phases, _) in plans.items():
        early = min(bench.pick(1, 10, 10), phases[0].steps)
        for label in labels[:-1]:
            pick = lambda who, mode, phase, step, judged, name=name: at(  # noqa: E731
                table, scenario=name, label=who, mode=mode, phase=phase, step=step, judged=judged
            )
            say: dict[str, Any] = {"table": pick, "label": label, "phases": phases, "early": early, "name": name}
            made = few_finding if len(phases) == 1 else labels_finding if name == LABELS else tasks_finding
            if name == LABELS:
                genomes: list[Any] = [one.genome for one in members if one.label == label]
                say["keep"] = sum(float(genome.synapse_keep) for genome in genomes) / len(genomes)
            findings.append(made(**say))
    settings = (
        f"{seeds} seeds of the plain genome ({bench.recipe_steps} meta-steps on MNIST at 10x10 pixels), one of the"
        " zoo's; fresh synapses see the same batches. SGD: activation, batch norm and rate chosen on validation data for each"
        " sequence, by the accuracy on every phase's own task at its end."
    )
    return findings, settings


def _plans(bench: Workbench) -> dict[str, tuple[Topology, list[Phase], dict[str, Any]]]:
    """Returns per scenario the topology, the phases, and the options of `learn_sequence`."""
    graphs, tasks = bench.image_places()
    graph, first = load_topology(next(iter(graphs.values()))), get_task(next(iter(tasks.values())))
    steps = bench.pick(2, 100, 500)
    turned = [permuted(first, seed) for seed in bench.pick((1,), (1, 2), (1, 2, 3))]
    plans: dict[str, tuple[Topology, list[Phase], dict[str, Any]]] = {}
    sizes = {"batch_size": 128, "query_size": bench.pick(64, 1024, 2048), "seeds": bench.pick(1, 3, 5)}
    sizes |= {"at": bench.pick((0, 1), (0, 1, 2, 5, 10, 20, 50), (0, 1, 2, 5, 10, 20, 50, 100, 200))}
    plans[LABELS] = (graph, [Phase(task, steps) for task in (first, *turned)], sizes)
    if bench.scale == "smoke":
        few = get_task("digits", ways=10)
        plans["10 classes, 1 example each"] = (graph, [Phase(few, 2, 1)], sizes | {"batch_size": 10, "query_size": 50})
        return plans
    five = mlp(100, 64, 64, 5)
    halves = [get_task(f"mnist/{half}", crop=20, size=10) for half in ("0-4", "5-9")]
    plans["digits 0-4, then 5-9, then 0-4"] = (five, [Phase(halves[i], steps // 2) for i in (0, 1, 0)], sizes)
    clothes = get_task("fashion_mnist", size=10)
    plans["MNIST, then clothes, then MNIST"] = (graph, [Phase(task, steps // 2) for task in (first, clothes, first)], sizes)
    drawn = get_task(bench.pick("", "omniglot/small", "omniglot"), ways=5, size=14)
    small = mlp(196, 64, 64, 5)
    for shots in (1, 5):
        more = {"batch_size": 5 * shots, "query_size": 50, "seeds": bench.pick(1, 30, 100)}
        plans[f"Omniglot, 5 classes, {shots} of each"] = (small, [Phase(drawn, 20, 1)], sizes | more)
    return plans


def _kept(
    bench: Workbench, name: str, graph: Topology, phases: list[Phase], members: Sequence[Trained], options: dict[str, Any]
) -> dict[str, Any]:
    """A scenario's {"rows", "chosen", "tests"}: found among the bench's cells, or computed and kept there."""
    key: dict[str, Any] = {"sequence": name, "topology": graph.digest, "scale": bench.scale} | versions() | options
    key |= {"phases": [task_key(phase.task, phase.task.name) | {"steps": [phase.steps, phase.batches]} for phase in phases]}
    key |= {"genomes": [[one.name, genome_key(one.genome, one.rule)] for one in members]}  # type: ignore[arg-type]
    key = json.loads(json.dumps(key))
    cell = stored_cell(bench.out / "cells", key)
    if cell is None:
        rows, chosen = _learned(bench, name, graph, phases, members, **options)
        end = (len(phases) - 1, phases[-1].steps)
        ends = [r for r in rows if r["label"] != "SGD" and r["own"] and (r["phase"], r["step"]) == end]
        tests = [{"failed": r["failed"]} for r in ends]  # for the counts of the verdict
        cell = {"rows": rows, "chosen": chosen, "tests": tests}
        keep_cell(bench.out / "cells", key, cell)
        bench.say(f"{name}: SGD: {chosen['setting']}, {chosen['learning_rate']:g}")
    else:
        bench.say(f"{name}: known")
    return cell


def _learned(
    bench: Workbench,
    name: str,
    graph: Topology,
    phases: list[Phase],
    members: Sequence[Trained],
    *,
    seeds: int,
    at: Any,
    **sizes: Any,
) -> tuple[list[Row], Row]:
    """Returns the rows of all genomes and SGD, synapses kept and, with several phases, fresh in each; and SGD's settings."""
    key, choice = jax.random.split(jax.random.key(23))
    rates = bench.pick((0.1, 1.0), LEARNING_RATES, LEARNING_RATES)
    tried = bench.pick(SETTINGS[:1], SETTINGS, SETTINGS)
    # A few problems of few rows say little: the choice takes as many as the test.
    runs = seeds if len(phases) == 1 else bench.pick(1, 2, 3)
    descent, notes = best_descent(graph, phases, key=choice, seeds=runs, settings=tried, rates=rates, **sizes)
    learners: list[tuple[str, int, Any]] = [("SGD", 0, descent)]
    for member in members:
        learner: Any = GenomeLearner(Network(graph, member.rule), member.genome)  # type: ignore[arg-type]
        learners.append((member.label, member.seed, learner))
    starts = [sum(phase.steps for phase in phases[:number]) for number in range(len(phases))]
    rows: list[Row] = []
    for label, seed, learner in learners:
        for mode in ("kept", "fresh") if len(phases) > 1 else ("kept",):
            found = learn_sequence(learner, phases, keys=jax.random.split(key, seeds), at=at, keep=mode == "kept", **sizes)
            for row in found.rows():
                row |= {"own": row["judged"] == phases[row["phase"]].task.name, "total": starts[row["phase"]] + row["step"]}
                rows.append({"scenario": name, "label": label, "genome_seed": seed, "mode": mode} | row)
    return rows, notes
