"""Figure 9: kinds of synapses and starts, meta-trained on MNIST or on Omniglot, each tested on both, beside SGD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from neurograph.experiments.transfer.results import Row, five_numbers
from neurograph.learning.baselines import Setting, baseline_curves, ordinary_network
from neurograph.learning.inner_loop import Problem
from neurograph.learning.trial import Trial
from neurograph.report.figures.bands import curves, panels, ranges
from neurograph.reproduce.claims.kinds import CHANNELS, STARTS, SYNAPSES, Key, compared, kind, learned, pairs, settings
from neurograph.reproduce.progress import at_or_lost, best_of, speeds, trained
from neurograph.reproduce.summaries import at, ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Variant, Workbench
from neurograph.tasks import get_task
from neurograph.topology import load_topology

__all__ = ["run"]

DATA = ("MNIST", "Omniglot")
RATE = 0.001
SGD = f"SGD at {RATE:g}"


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Eight variants of each data set; smoke has no Omniglot, whose data are not embedded."""
    data = DATA[: bench.pick(1, 2, 2)]
    keys = [*product(data, SYNAPSES, CHANNELS, STARTS)]
    if bench.scale == "smoke":
        keys = [keys[0], keys[-1]]
    labels = {key: ", ".join(key) for key in keys}
    seeds = bench.seeds(1, 2, 8)
    runs = bench.train({labels[key]: _variant(bench, key) for key in keys}, seeds)
    steps, judged = bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50), (0, 1, 2, 5, 10, 20, 50, 100)), bench.pick(2, 10, 10)
    rows: list[Row] = []
    beside: list[Row] = []
    draws = {"MNIST": bench.pick(1, 3, 5), "Omniglot": 10}  # ten episodes of unseen classes
    for on in data:
        sizes: dict[str, Any] = {"at": steps, "seeds": draws[on], "query_size": bench.pick(64, 1024, 2048)}
        topology, task = _place(bench, on)
        matrix = bench.test(best_of(runs), {topology: topology}, {task["name"]: task}, **sizes)
        rows += [row | {"on": on} for row in tested(matrix)]
        beside += [row | {"on": on} for row in _descent(bench, topology, task, Trial(**sizes))]
    along = [row for members in runs.values() for one in members for row in trained(one)]
    bench.csv("test.csv", [*rows, *beside])
    bench.csv("training.csv", along)
    table, training = summarize([*rows, *beside], by=("label", "on", "step")), summarize(along, by=("label", "step"))
    final = {on: {key: at_or_lost(table, label=labels[key], on=on, step=judged) for key in keys} for on in data}
    fast = {key: five_numbers(speeds(runs[labels[key]])) for key in keys}
    sgd = {on: at(table, label=SGD, on=on, step=judged) for on in data}
    _draw(bench, labels, training, final, sgd, judged)
    findings = (
        _findings(data, keys, final, fast, sgd) if bench.scale != "smoke" else [learned("Both learn", keys, final["MNIST"])]
    )
    text = f"Test accuracy after {judged} learning steps: {', '.join(f'{draws[on]} runs on {on}' for on in data)}"
    if "Omniglot" in data:
        text += ", whose episodes are ten fresh characters"
        text += bench.pick(
            "", " (the two small sets at 10x10 pixels, on alphabets of their own)", " (1,200 trained on, others here)"
        )
    text += (
        f". {SGD} is the paper's rate, without normalization, and far from the best one (see figure 6). {settings(bench, seeds)}"
    )
    return findings, text


def _place(bench: Workbench, data: str) -> tuple[str, dict[str, Any]]:
    """Returns the topology and the task, {"name", options}, on which a data set is learned.

    At paper scale Omniglot's classes are 1,200 characters of all alphabets, and what is tested are the others.
    """
    if data == "MNIST" or bench.scale == "smoke":
        topologies, tasks = bench.image_places()
        return next(iter(topologies.values())), {"name": next(iter(tasks.values()))}
    laptop = "mnist_10x10", {"name": "omniglot/small", "size": 10}
    return bench.pick(laptop, laptop, ("mnist_28x28", {"name": "omniglot", "size": 28, "characters": 1200}))


def _variant(bench: Workbench, key: Key) -> Variant:
    if key[0] == "MNIST":
        return kind(bench, key)
    topology, task = _place(bench, key[0])
    options = ", ".join(f"{name}: {value}" for name, value in task.items() if name != "name")
    return kind(bench, key, f"problems=[{{task: {task['name']}, options: {{{options}}}, topology: {topology}}}]")


def _descent(bench: Workbench, topology: str, task: Mapping[str, Any], trial: Trial) -> list[Row]:
    """Returns rows of SGD at the paper's rate, on the batches and queries of the genomes' test."""
    options = {name: value for name, value in task.items() if name != "name"}
    problem = Problem(ordinary_network(load_topology(topology)), get_task(task["name"], **options))
    found = baseline_curves(problem, Setting("sgd", "relu", False), [RATE], keys=trial.keys()[0], judged_on="test", **trial.sizes)
    count = trial.seeds
    failed = found.failed[0]
    bench.count([], {"configurations": 1, "runs": count, "baseline_failures": int(failed[:, -1].sum())})
    return [
        {"label": SGD, "genome_seed": 0, "step": step, "seed": seed}
        | {"accuracy": float(found.accuracy[0, seed, place]), "failed": bool(failed[seed, place])}
        for seed in range(count)
        for place, step in enumerate(found.at)
    ]


def _findings(
    data: Sequence[str],
    keys: Sequence[Key],
    final: Mapping[str, Mapping[Key, Row]],
    fast: Mapping[Key, Row],
    sgd: Mapping[str, Row],
) -> list[Finding]:
    found = []
    for name in data:
        mine, here = [key for key in keys if key[0] == name], final[name]
        separate, random = ([key for key in mine if value in key] for value in (SYNAPSES[1], STARTS[1]))
        found.append(learned(f"Separate synapses forward and backward learn too, {name}", separate, here))
        found.append(compared(f"Symmetric synapses learn faster, {name}: speed", pairs(mine, 1, *SYNAPSES), fast))
        claim = f"Synapses of one state are competitive, {name}: test accuracy"
        found.append(compared(claim, pairs(mine, 2, *CHANNELS), here, level=True))
        found.append(compared(f"A start near backprop speeds up, {name}: speed", pairs(mine, 3, *STARTS), fast))
        found.append(learned(f"It is not needed: random starts learn as well, {name}", random, here, len(random) // 2))
    for trained_on, on in ((one, other) for one in data for other in data if one != other):
        mine = [key for key in keys if key[0] == trained_on]
        found.append(learned(f"Genomes of {trained_on} learn {on}", mine, final[on], len(mine) // 2))
    for on in data:
        ahead = sum(row["low"] > sgd[on]["high"] for row in final[on].values())
        found.append(
            Finding(
                f"Genomes are ahead of {SGD}, {on} (quartiles without overlap, in three quarters of the variants or more)",
                f"{ahead} of {len(keys)}; SGD {ranged(sgd[on])}",
                4 * ahead >= 3 * len(keys),
                "some variants have not learned within few meta-steps",
            )
        )
    return found


def _draw(
    bench: Workbench,
    labels: Mapping[Key, str],
    training: Sequence[Row],
    final: Mapping[str, Mapping[Key, Row]],
    sgd: Mapping[str, Row],
    judged: int,
) -> None:
    """A row per data set that was trained on: meta-training, then the test on every set."""
    figure, axes = panels((1 + len(final)) * len(final), columns=1 + len(final), height=2.8)
    places = iter(axes)
    for trained_on in final:
        keys = [key for key in labels if key[0] == trained_on]
        lines = {", ".join(key[1:]): [row for row in training if row["label"] == labels[key]] for key in keys}
        curves(next(places), lines, xlabel="meta-steps", ylabel="query accuracy", even=False, title=f"trained on {trained_on}")
        for on in final:
            entries = {", ".join(key[1:]): final[on][key] for key in keys} | {SGD: sgd[on]}
            ranges(next(places), entries, title=f"{judged} steps on {on}")
    bench.figure("figure.png", figure)
