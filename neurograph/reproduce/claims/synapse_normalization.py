"""Figure 16, appendix C.6: synapses of unit length per receiving neuron, with and without Oja's rule, and labels that change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax

from neurograph.experiments.transfer.results import Row, five_numbers, interval
from neurograph.learning.sequence import GenomeLearner, Phase, learn_sequence, permuted
from neurograph.network.network import Network
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.claims.longer import far_beyond
from neurograph.reproduce.progress import best_of
from neurograph.reproduce.summaries import at, by_genome, by_label, range_of, summarize
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Workbench
from neurograph.tasks import get_task
from neurograph.topology import load_topology

__all__ = ["run"]

LOST = 0.02
"""A rule is stable if, far beyond its trained unroll, it has lost no more of the accuracy that it had there."""
CONTINUES = 0.9
"""A rule continues to learn if it has this share of the accuracy that fresh synapses have after as many steps."""
NORMALIZATION = {
    "not normalised": (),
    "normalised in the pass": ("rule.synapse_normalization=in_pass",),
    "stored normalised": ("rule.synapse_normalization=stored",),
}
OJA = ", with Oja's rule"


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Genomes meta-trained with synapses normalised or not, far beyond their trained unroll and after labels are permuted."""
    form = "weights" if bench.recipe_name == "shipped" else "printed"
    variants = {}
    for label, options in list(NORMALIZATION.items())[: bench.pick(2, 3, 3)]:
        variants[label] = bench.images(*bench.recipe(), *options)
        variants[label + OJA] = bench.images(*bench.recipe(), *options, f"rule.oja={form}")
    seen = far_beyond(bench, variants, bench.seeds(1, 2, 10))
    means = {step: by_genome(row for row in seen.rows if row["step"] == step) for step in (seen.unroll, seen.end)}
    lost = {
        label: [means[seen.unroll][label][seed] - value for seed, value in means[seen.end].get(label, {}).items()]
        for label in variants
    }
    findings = []
    for label in variants:
        there, late = ([*means[step].get(label, {}).values()] for step in (seen.unroll, seen.end))
        last = [row for row in seen.lengths if row["label"] == label and row["step"] == seen.end]
        text = (
            f"{range_of(there)} after {seen.unroll} steps, {range_of(late)} after {seen.end}; f~ {range_of(seen.keep[label], 2)},"
        )
        text += f" synapses overflowed in {sum(row['failed'] for row in last)} of {len(last)} runs"
        claim = f"Synapses {label}: the learned rule stays stable far beyond its trained unroll (no genome loses over {LOST})"
        reason = "a learned f~ above 1 lets the synapses that are kept grow without bound, whatever is used in a pass"
        if label == next(iter(NORMALIZATION)):
            findings.append(Finding(f"Synapses {label}: accuracy far beyond the trained unroll", text, None))
        else:
            findings.append(Finding(claim, text, bool(lost[label]) and max(lost[label]) <= LOST, reason))
    plain, *others = variants
    bounded = [label for label in others if label.startswith("stored")] or others
    needed = Finding(
        "Without either the rule is less stable (its lower quartile of what is lost above the upper one where normalised synapses"
        " are stored)",
        "lost from the trained unroll to the end: " + ", ".join(f"{label} {range_of(lost[label])}" for label in variants),
        all(five_numbers(lost[label])["high"] < five_numbers(lost[plain])["low"] for label in bounded),
        "neurons are normalised over the batch in this recipe: that bounds what synapses of any length can do",
    )
    best = best_of(seen.runs)
    rows, phases = _relabelled(bench, best)
    bench.csv("relabelled.csv", rows)
    ends = [row for row in rows if (row["phase"], row["step"]) == (1, phases[1].steps)]
    bench.count(ends, dict.fromkeys(("configurations", "runs", "baseline_failures"), 0))
    table = summarize(rows, by=("label", "mode", "phase", "step", "total"))
    _draw(bench, table, list(variants), phases)
    continues = [_continues(table, label, phases) for label in variants if best[label][0].genome is not None]
    settings = (
        f"{seen.settings} Labels are permuted after step {phases[0].steps}, for the genome of each variant that is best of"
        f" {len(seen.runs[plain])} on validation data."
    )
    return [*findings, needed, *continues], settings


def _relabelled(bench: Workbench, best: Mapping[str, Sequence[Trained]]) -> tuple[list[Row], list[Phase]]:
    """Returns test accuracy on the labels of the moment, which change after the first phase, synapses kept and fresh."""
    topologies, tasks = bench.image_places()
    graph, task = load_topology(next(iter(topologies.values()))), get_task(next(iter(tasks.values())))
    steps = bench.pick(3, 500, 500)
    phases = [Phase(task, steps), Phase(permuted(task, 1), steps)]
    points = bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50, 100, 200), (0, 1, 2, 5, 10, 20, 50, 100, 200))
    keys = jax.random.split(jax.random.key(31), bench.pick(1, 3, 5))
    rows: list[Row] = []
    for label, (one,) in best.items():
        if one.genome is None or one.rule is None:
            continue
        learner = GenomeLearner(Network(graph, one.rule), one.genome)
        for mode in ("kept", "fresh"):
            found = learn_sequence(
                learner, phases, keys=keys, at=points, query_size=bench.pick(64, 1024, 2048), keep=mode == "kept"
            )
            rows += [
                {"label": label, "genome_seed": one.seed, "mode": mode, "total": row["step"] + row["phase"] * steps} | row
                for row in found.rows()
                if row["judged"] == phases[row["phase"]].task.name
            ]
    return rows, phases


def _continues(table: Sequence[Row], label: str, phases: Sequence[Phase]) -> Finding:
    """Judges whether a genome learns new labels on synapses that have learned others."""
    end = phases[1].steps
    before = at(table, label=label, mode="kept", phase=0, step=phases[0].steps)
    points = sorted({row["step"] for row in table if row["phase"] == 1 and 0 < row["step"] <= end})
    early = next((step for step in points if step >= 10), end)
    words, last = [], {}
    for step in dict.fromkeys((early, end)):
        last = {mode: at(table, label=label, mode=mode, phase=1, step=step) for mode in ("kept", "fresh")}
        words.append(f"{interval(last['kept'])} {step} steps later, fresh synapses {interval(last['fresh'])}")
    return Finding(
        f"Synapses {label}: the rule continues to learn when labels change (in the end {CONTINUES:.0%} of what it reaches from"
        " fresh synapses, or more)",
        f"median test accuracy (quartiles): {interval(before)} before; {'; '.join(words)}",
        last["kept"]["median"] >= CONTINUES * last["fresh"]["median"] and last["fresh"]["median"] > 0.5,
        "synapses that have grown turn slowly: an update of the same size is small beside them",
    )


def _draw(bench: Workbench, table: Sequence[Row], labels: Sequence[str], phases: Sequence[Phase]) -> None:
    figure, axes = panels(2, width=5.0)
    for axis, mode in zip(axes, ("kept", "fresh"), strict=True):
        lines = by_label((row for row in table if row["mode"] == mode), labels)
        curves(axis, {label: line for label, line in lines.items() if line}, x="total", even=False, title=f"synapses {mode}")
        axis.axvline(phases[0].steps, color="#b0b0b0", linewidth=0.8, linestyle=":")
    axes[0].legend(fontsize=7)
    bench.figure("relabelled.png", figure)
