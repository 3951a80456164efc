"""Figure 5: a genome of MNIST and its halves on other data sets, sizes and numbers of classes."""

from __future__ import annotations

from typing import Any

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.progress import at_or_lost
from neurograph.reproduce.summaries import at, baseline_rows, ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Variant, Workbench
from neurograph.topology import load_topology
from neurograph.topology.layered import layered_document, mlp

__all__ = ["run"]

JOINT = "MNIST 10x10 and its halves"


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """One genome of MNIST at 10x10 pixels and its two halves, by a growing unroll, on what it never saw, beside SGD."""
    variant, words = _joint(bench)
    label = next(iter(bench.image_places()[1])) if bench.scale == "smoke" else JOINT
    seeds = bench.seeds(1, 3, 1)
    runs = bench.train({label: variant}, seeds)

    full, small = ("784-64-64-10", load_topology("mnist_28x28")), ("2-20-20-2", load_topology("mlp_2d_classes"))
    places = {
        "MNIST 28x28": (*full, "mnist"),
        "EMNIST a-j": (*full, "emnist/a-j"),
        "Fashion-MNIST": (*full, "fashion_mnist"),
        "EMNIST, 62 classes": ("784-64-64-62", mlp(784, 64, 64, 62), "emnist/byclass"),
        "xor": (*small, "xor"),
        "random xor": (*small, "random_xor"),
    }
    if bench.scale == "smoke":
        (graph, path), (task,) = *bench.image_places()[0].items(), bench.image_places()[1].values()
        places = {"digits": (graph, load_topology(path), task), "xor": places["xor"]}
    sizes: dict[str, Any] = {"at": bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50), (0, 1, 2, 5, 10, 20, 50, 100))}
    sizes |= {"seeds": bench.pick(1, 3, 5), "query_size": bench.pick(64, 1024, 2048), "optimizers": ("sgd",)}
    if bench.scale == "smoke":
        sizes |= {"learning_rates": (0.1, 1.0), "validation_seeds": 1}
    judged = bench.pick(2, 10, 10)
    rows, table, best, chance = [], [], [], {}
    for name, (graph, topology, task) in places.items():
        matrix = bench.test(runs, {graph: topology}, {name: task}, **sizes)
        rows += tested(matrix)
        table += summarize(tested(matrix))
        best += baseline_rows(matrix)
        chance |= matrix.notes["chance"]
    bench.csv("data.csv", rows)
    bench.csv("baseline.csv", best)

    figure, axes = panels(len(places), columns=3, width=3.4, height=2.7)
    for axis, name in zip(axes, places):
        lines = {label: [r for r in table if (r["task"], r["label"]) == (name, label)] for label in runs}
        lines["SGD, best rate at each step"] = [r for r in best if r["task"] == name]
        curves(axis, lines, title=name, chance=chance[name], dashed=["SGD, best rate at each step"])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    bench.figure("figure.png", figure)

    findings = [_finding(name, judged, table, best, chance[name], label) for name in places]
    settings = (
        f"{seeds} genome(s), each of one meta-training on all of {label} ({words}); {sizes['seeds']} test runs per"
        " genome. SGD on the same graph and batches: activation, batch norm and rate chosen on validation data for every set and"
        f" step count. {bench.recipe_words}"
    )
    return findings, settings


def _joint(bench: Workbench) -> tuple[Variant, str]:
    """Returns the experiment of section 4.2, and its sizes in words: the mean over three data sets, a growing unroll."""
    overrides, words = bench.curriculum()
    if bench.scale == "smoke":
        return bench.images(*overrides), words
    five = bench.topology("mnist_10x10_5", layered_document((10, 10), 64, 64, 5))
    halves = (f"{{task: mnist/{half}, options: {{crop: 20, size: 10}}, topology: {five}}}" for half in ("0-4", "5-9"))
    problems = f"problems=[{{task: mnist/10x10, topology: mnist_10x10}}, {', '.join(halves)}]"
    return bench.images(problems, *overrides), f"on 100-64-64, {words}"


def _finding(name: str, judged: int, table: list[Row], best: list[Row], chance: float, label: str) -> Finding:
    """Judges whether on one data set genomes gain nearly as much as SGD over the commonest answer."""
    mine = at_or_lost(table, task=name, step=judged, label=label)
    sgd = at(best, task=name, step=judged)
    gain = max(sgd["median"] - chance, 0)
    share = (mine["median"] - chance) / gain if gain else 0.0
    return Finding(
        f"A genome of small MNIST pictures and their halves learns {name} (at least 0.8 of SGD's gain over the commonest answer)",
        f"median test accuracy after {judged} steps (lowest to highest): {ranged(mine)}; SGD at its best {sgd['median']:.3f}, the"
        f" commonest answer {chance:.3f}; share of the gain {share:.2f}",
        share >= 0.8,
        "genomes of few meta-steps on one small data set fit its width, number of classes and batches best",
    )
