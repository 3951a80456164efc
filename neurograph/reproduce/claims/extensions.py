"""Section 5, what the paper leaves for later: injected noise, updates in the forward pass, self-gating, genomes extended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import jax

from neurograph.experiments.transfer.results import Row
from neurograph.genome import extend_genome, save_genome
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.progress import at_or_lost
from neurograph.reproduce.summaries import by_label, ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Workbench

__all__ = ["run"]

AHEAD = 0.01
"""One is better than another if its median is ahead by more, and its lower quartile is not below the other's upper one."""
SPREAD = 0.1
"""Deviation of what the states that a genome is extended by read at first."""

PLAIN, FORWARD, GATED = "plain", "with forward updates", "with self-gating"
TWO, LONGER, EXTENDED, WHOLE = "two states", "two states, trained on", "extended to four states", "four states from the start"
OPTIONS = {
    PLAIN: (),
    FORWARD: ("rule.forward_synapse_update=true", "start.arrays.forward_synapse_update=0.0"),
    GATED: ("rule.self_gating=true",),
}
"""Each begins as the plain recipe does: updates in the forward pass of size 0, gates that feel no state."""
REASONS = {
    "noise": "ten steps on fresh batches leave little to overfit, which noise could prevent",
    FORWARD: "updates that know no label have to be found from a rate of 0, while those that know it learn as well",
    GATED: "matrices and normalization of the recipe can do much of what gates by state add, within ten steps",
    EXTENDED: "what two states learned is near what more of them reach within ten steps",
}


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """The recipe beside itself with one extension each; the strength of the noise is chosen on validation data."""
    meta_steps, genomes = bench.pick(2, 150, 10_000), bench.pick(1, 2, 8)
    strengths = bench.pick((0.1,), (0.03, 0.3), (0.03, 0.1, 0.3, 1.0))
    common = (f"training.meta_steps={meta_steps}", f"training.genomes={genomes}")
    variants = {label: bench.images(*common, *options) for label, options in OPTIONS.items()}
    variants |= {f"noise {sigma:g}": bench.images(*common, f"rule.noise={sigma}") for sigma in strengths}
    variants[TWO] = bench.images(*common, "rule.states=2")
    variants[WHOLE] = bench.images(f"training.meta_steps={2 * meta_steps}", common[1], "rule.states=4")
    seeds = bench.seeds(1, 3, 3)
    every = bench.train(variants, seeds)
    noise = max((f"noise {sigma:g}" for sigma in strengths), key=lambda label: median(one.accuracy for one in every[label]))
    runs = {label: every[label] for label in (PLAIN, noise, FORWARD, GATED, WHOLE)} | _continued(bench, every[TWO], meta_steps)

    topologies, tasks = bench.image_places()
    steps = bench.pick((0, 2, 4), (0, 1, 2, 5, 10, 20, 50, 100), (0, 1, 2, 5, 10, 20, 50, 100, 200))
    matrix = bench.test(runs, topologies, tasks, at=steps, seeds=bench.pick(1, 3, 5), query_size=bench.pick(64, 1024, 2048))
    rows = tested(matrix)
    bench.csv("data.csv", rows)
    table = summarize(rows)
    judged = bench.pick((2, 4), (10, 100), (10, 100))
    figure, axes = panels(2)
    for axis, labels in zip(axes, ((PLAIN, noise, FORWARD, GATED), (LONGER, EXTENDED, WHOLE)), strict=True):
        curves(axis, by_label(table, labels), title=next(iter(tasks)))
        axis.legend(fontsize=8)
    bench.figure("figure.png", figure)

    claims = {
        noise: ("Noise in pre-activations makes genomes that learn better", PLAIN, REASONS["noise"]),
        FORWARD: ("Updates in the forward pass, before any label, make genomes that learn better", PLAIN, REASONS[FORWARD]),
        GATED: ("Neurons that open and close their gates by their own states learn better", PLAIN, REASONS[GATED]),
        EXTENDED: ("A genome extended by two states learns better than one trained on as it is", LONGER, REASONS[EXTENDED]),
    }
    findings = [_better(table, label, *claim, judged) for label, claim in claims.items()]
    findings.append(_cheaper(table, judged))
    validation = "; ".join(f"{label} {', '.join(f'{one.accuracy:.3f}' for one in every[label])}" for label in variants)
    settings = (
        f"{seeds} seeds of {meta_steps:,} meta-steps per variant, {genomes} genome(s) each; two states {meta_steps:,} and then"
        f" {meta_steps:,} more, as they are or extended; four states from the start {2 * meta_steps:,}."
        f" {matrix.notes['seeds']} test runs per genome. The standard deviation of the noise is the best of"
        f" {', '.join(f'{sigma:g}' for sigma in strengths)} by the median on validation data, where the runs have: {validation}."
        f" {bench.recipe_words} Where it says so, states, noise, updates and gates are others."
    )
    return findings, settings


def _continued(bench: Workbench, two: Sequence[Trained], meta_steps: int) -> dict[str, list[Trained]]:
    """Meta-training goes on from every genome of two states, as it is and extended to four."""
    found: dict[str, list[Trained]] = {LONGER: [], EXTENDED: []}
    for one in two:
        if one.genome is None or one.rule is None:
            continue
        wider, rule = extend_genome(one.genome, one.rule, states=4, noise=SPREAD, key=jax.random.key(one.seed))
        folder = bench.out / "genomes"
        folder.mkdir(parents=True, exist_ok=True)
        extended = save_genome(folder / f"extended-{one.folder.name}.json", wider, rule, {})
        for label, start in ((LONGER, one.folder / "genome.json"), (EXTENDED, extended)):
            more = f"start.genome={start}", f"training.meta_steps={meta_steps}", "training.genomes=1"
            more += (f"rule.states={2 if label == LONGER else 4}",)
            found[label] += bench.train({label: bench.images(*more)}, [one.seed])[label]
    return found


def _better(table: Sequence[Row], label: str, claim: str, rival: str, reason: str, judged: tuple[int, int]) -> Finding:
    """Whether `label` is ahead of `rival` after the trained unroll; both are also shown far beyond it."""
    ours, theirs = ([at_or_lost(table, label=name, step=step) for step in judged] for name in (label, rival))
    seen = [
        f"after {step} steps {ranged(mine)} {label}, {ranged(other)} {rival}"
        for step, mine, other in zip(judged, ours, theirs, strict=True)
    ]
    failed = ", ".join(f"{entry[1]['failures']} of {entry[1]['runs']} {name}" for name, entry in ((label, ours), (rival, theirs)))
    return Finding(
        f"{claim} (median test accuracy after {judged[0]} steps more than {AHEAD} ahead, quartiles without overlap)",
        f"{'; '.join(seen)}; diverged by then: {failed}",
        _ahead(ours[0], theirs[0]),
        reason,
    )


def _ahead(mine: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return mine["median"] > other["median"] + AHEAD and mine["low"] >= other["high"]


def _cheaper(table: Sequence[Row], judged: tuple[int, int]) -> Finding:
    ours, whole = (at_or_lost(table, label=label, step=judged[0]) for label in (EXTENDED, WHOLE))
    return Finding(
        "It learns as well as one of four states that was meta-trained from the start for as many meta-steps in all (median test"
        f" accuracy after {judged[0]} steps at most {AHEAD} behind)",
        f"{ranged(ours)} extended, {ranged(whole)} from the start",
        ours["median"] >= whole["median"] - AHEAD,
        "the rates are low at the end of each half, so that the new states got half of the training",
    )
