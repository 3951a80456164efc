"""Figure 7: genomes found by evolution, without derivatives, beside gradients, the best run of each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from matplotlib.ticker import FuncFormatter, NullFormatter

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.progress import at_or_lost, best_of, validated
from neurograph.reproduce.summaries import ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Variant, Workbench
from neurograph.topology.layered import layered_document

__all__ = ["run"]

SETTINGS = {"labels": "paper_evolution", "softmax": "mnist-cma"}
"""Section 4.4 as printed, and the search from the genome of gradient descent through batch normalization."""

METHODS = ("CMA-ES", "gradient")
FAR = 5.0  # "far fewer": by this factor at least


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """CMA-ES and Adam from the same start, with the same rule, network and episodes."""
    population, generations, meta_steps = bench.pick(4, 24, 80), bench.pick(2, 60, 400), bench.pick(2, 300, 10_000)
    settings = dict(list(SETTINGS.items())[: bench.pick(1, 2, 2)])
    if bench.recipe_name == "printed":
        settings = {"labels": SETTINGS["labels"]}
        bench.recipe_words = "Both as printed: the experiment `paper_evolution`, and its start by Adam at 0.0005, clip 10."
    variants, starts = {}, {}
    for setting, experiment in settings.items():
        for method, variant in zip(METHODS, _variants(bench, experiment, population, generations, meta_steps), strict=True):
            variants[f"{method}, {setting}"] = variant
        first = variants[f"{METHODS[0]}, {setting}"]
        starts[f"start, {setting}"] = replace(first, overrides=(*first.overrides, "training.meta_steps=0"))
    seeds = bench.seeds(1, 3, 8)
    before, runs = bench.train(starts, seeds), bench.train(variants, seeds)
    topologies, tasks = _places(bench)
    judged = bench.pick(2, 15, 15)
    steps = bench.pick((0, 2), (0, 1, 2, 5, 10, 15, 20, 50), (0, 1, 2, 5, 10, 15, 20, 50))
    test_seeds = bench.pick(1, 3, 5)
    best = best_of(runs)
    matrix = bench.test(before | best, topologies, tasks, at=steps, seeds=test_seeds, query_size=bench.pick(64, 2048, 2560))
    rows = tested(matrix)
    table = summarize(rows)
    along = [row for members in runs.values() for one in members for row in validated(one)]
    for row in along:
        row["episodes"] = row["step"] * (population if row["label"].startswith(METHODS[0]) else 1)
    bench.csv("test.csv", rows)
    bench.csv("validation.csv", along)
    _draw(bench, settings, along, before, best)

    findings = []
    for setting in settings:
        start = median(one.accuracy for one in before[f"start, {setting}"])
        ends = runs[f"CMA-ES, {setting}"]
        gains = [end.accuracy - one.accuracy for end, one in zip(ends, before[f"start, {setting}"], strict=True)]
        end = at_or_lost(table, label=f"CMA-ES, {setting}", step=judged)
        untrained = at_or_lost(table, label=f"start, {setting}", step=judged)
        findings.append(
            Finding(
                f"Evolution finds a better genome without any derivative (feedback: {setting}; every search gains 0.01 at least)",
                f"mean genome on validation data: start {start:.3f}, gain after {generations} generations of {population}"
                f" {min(gains):+.3f} to {max(gains):+.3f} over {seeds} seeds; test accuracy after {judged} steps"
                f" {untrained['median']:.3f} before, {ranged(end)} after, by the best search of {seeds}",
                min(gains) >= 0.01,
                "the search is shorter than the paper's 400 generations of 80",
            )
        )
        if setting == "labels":
            findings.append(
                Finding(
                    f"The mean genome reaches 0.84 on test data after {judged} learning steps (feedback: {setting})",
                    f"{ranged(end)} by the best search of {seeds} on validation data, {generations * population:,} episodes each"
                    " (the paper: 32,000)",
                    end["median"] >= 0.84,
                    f"{0.84 - end['median']:.3f} short after {generations * population / 320:.0f} % of the paper's episodes",
                )
            )
        findings.append(_rivals(setting, best, along, start, table, judged))
    softmax = ", the softmax's that of gradient descent through batch normalization" if "softmax" in settings else ""
    settings_text = (
        f"{', '.join(topologies)}, two states, {judged} learning steps, {seeds} runs of each method, the best of which on"
        f" validation data is tested and compared: CMA-ES with a population of {population} for {generations} generations;"
        f" Adam for {meta_steps:,} meta-steps of one genome and one episode. {len(starts) * seeds} of the runs are the starts,"
        " searched for no generation: the labels' is section 4.5's near-backprop genome"
        f"{softmax}. Seconds hold validation and compilation."
    )
    return findings, settings_text


def _variants(bench: Workbench, experiment: str, population: int, generations: int, meta_steps: int) -> tuple[Variant, Variant]:
    topologies, tasks = _places(bench)
    (topology,), (task,) = topologies.values(), tasks.values()
    options = {name: value for name, value in task.items() if name != "name"}
    place = "problems=" + json.dumps([{"task": task["name"], "options": options, "topology": topology}])
    query = {"smoke": ("unroll.query_batches=1",), "laptop": ("unroll.query_size=1024", "unroll.query_batches=1"), "paper": ()}
    common = (place, *query[bench.scale])
    sizes = {
        "population": population,
        "meta_steps": generations,
        "validate_every": bench.pick(2, 5, 10),
        "validation_episodes": 4,
    }
    descend = {"method": "gradient", "meta_steps": meta_steps, "genomes": 1, "learning_rate": 0.01, "final_learning_rate": 0.0005}
    descend["clip"] = 1.0
    # Appendix C.1's rate is too small for a few hundred meta-steps.
    if bench.recipe_name == "printed" or (bench.scale == "paper" and experiment == SETTINGS["labels"]):
        descend |= {"learning_rate": 0.0005, "final_learning_rate": None, "clip": 10.0}
    descend |= {"interval": 10, "validate_every": bench.pick(2, 10, 50), "validation_episodes": 4}
    by_cma = bench.variant(experiment, *common, *(f"training.{name}={value}" for name, value in sizes.items()))
    return by_cma, bench.variant(experiment, *common, f"training={json.dumps(descend)}")


def _places(bench: Workbench) -> tuple[dict[str, str], dict[str, dict]]:
    """Returns (topologies, tasks) as `Workbench.test` takes them, one each."""
    if bench.scale == "smoke":
        topologies, tasks = bench.image_places()
        return topologies, {name: {"name": task} for name, task in tasks.items()}
    name = "mnist_14x14"
    if bench.scale == "laptop":
        name = bench.topology("mnist_14x14_128", layered_document((14, 14), 128, 10))
    return {bench.pick("", "196-128-10", "196-512-10"): name}, {"mnist 14x14": {"name": "mnist", "size": 14}}


def _rivals(
    setting: str, best: Mapping[str, Sequence[Trained]], along: Sequence[Row], start: float, table: Sequence[Row], judged: int
) -> Finding:
    """Returns the episodes until validation accuracy reaches the value that the best runs of both methods reach."""
    labels = [f"{method}, {setting}" for method in METHODS]
    reached = {label: best[label][0].accuracy for label in labels}
    level = min(reached.values()) - 0.01
    far = reached[labels[1]] - start >= (reached[labels[0]] - start) / 2  # what evolution gained is reached, too, by half
    never = {"episodes": math.inf, "seconds": math.inf, "accuracy": math.inf}
    first = [next(row for row in (*_along(along, *best[label]), never) if row["accuracy"] >= level) for label in labels]
    (needed, seconds), (needed_by_gradient, seconds_by_gradient) = ((row["episodes"], row["seconds"]) for row in first)
    ratio = needed / needed_by_gradient
    ends = ", ".join(f"{method} {ranged(at_or_lost(table, label=f'{method}, {setting}', step=judged))}" for method in METHODS)
    return Finding(
        f"Gradients need far fewer learning episodes than evolution (feedback: {setting}; {FAR:g} times fewer at least, and"
        " half of what evolution gains on validation data is gained)",
        f"episodes of the best runs until validation accuracy {level:.3f} (start {start:.3f}): CMA-ES {needed:,.0f} in"
        f" {seconds:.0f} s, gradient {needed_by_gradient:,.0f} in {seconds_by_gradient:.0f} s; in the end, on test data: {ends}",
        level > start and ratio >= FAR and far,
        "the gradient's steps are too small or too few to come that far"
        if not far
        else "from this start the gradient is no short way"
        if ratio < 1
        else "the start is so good that few generations do",
    )


def _along(along: Sequence[Row], run: Trained) -> list[Row]:
    return [row for row in along if (row["label"], row["genome_seed"]) == (run.label, run.seed)]


def _draw(
    bench: Workbench,
    settings: Mapping[str, str],
    along: Sequence[Row],
    before: Mapping[str, Sequence[Trained]],
    best: Mapping[str, Sequence[Trained]],
) -> None:
    """Draws the best run of each method in a band of the quartiles over all of its runs."""
    figure, axes = panels(2 * len(settings))
    for number, setting in enumerate(settings):
        lines = {}
        for method in METHODS:
            label = f"{method}, {setting}"
            all_ = {row["step"]: row for row in summarize((row for row in along if row["label"] == label), by=("step",))}
            lines[f"{method}, best run"] = [
                all_[row["step"]] | {"median": row["accuracy"], "episodes": row["episodes"], "seconds": row["seconds"]}
                for row in _along(along, *best[label])
            ]
        start = median(one.accuracy for one in before[f"start, {setting}"])
        for axis, x in zip(axes[2 * number :], ("episodes", "seconds"), strict=False):
            xlabel = "learning episodes" if x == "episodes" else "seconds"
            curves(axis, lines, x=x, xlabel=xlabel, ylabel="validation accuracy", even=False, title=f"feedback: {setting}")
            axis.axhline(start, color="#595959", linestyle=":", linewidth=1.1, label="start")
        axes[2 * number].set_xscale("log")
        axes[2 * number].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes[2 * number].xaxis.set_minor_formatter(NullFormatter())
        axes[2 * number].legend(fontsize=8)
    bench.figure("figure.png", figure)
