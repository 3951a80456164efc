"""Sections 3.3 and 4.2 with appendix C.1: the recipe as printed, along its meta-steps, and with one change each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.bands import curves, panels
from neurograph.report.figures.style import Picture, styled
from neurograph.reproduce.progress import at_or_lost, validated
from neurograph.reproduce.summaries import range_of, ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Variant, Workbench

__all__ = ["run"]

LEARNED = 0.5  # validation accuracy; chance is 0.1
FLAT = 0.01  # norm of a meta-gradient below which a genome counts as on a plateau; those that learn have 1 and more
PRINTED = "as printed"
LONG = ("training.interval=50",)
CHANGES = {
    "outputs normalised": ("rule.normalize_outputs=true",),
    # About the size of -0.001 times a sum over 128, but Adam's steps of 0.0005 are small beside it.
    "updates averaged, gate 0.1": ("rule.batch_reduction=mean", "start={kind: random, arrays: {synapse_update: 0.1}}"),
    "Adam at 0.01": ("training.learning_rate=0.01",),
    "softmax's error as feedback": ("rule.feedback=softmax_cross_entropy",),
    "matrices of deviation 0.3": ("start={kind: random, spread: 0.3}",),
}


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Judges whether random genomes come to learn by the printed recipe, and what of it decides."""
    seeds, genomes = bench.seeds(1, 2, 1), bench.pick(2, 4, 8)
    printed, changed = bench.pick(2, 3_000, 90_000), bench.pick(2, 400, 10_000)
    variants = {PRINTED: _variant(bench, printed, bench.pick(2, 500, 10_000), genomes)}
    for label, change in list(CHANGES.items())[: bench.pick(1, None, None)]:
        variants[label] = _variant(bench, changed, bench.pick(2, 100, 500), genomes, *LONG, *change)
    runs = bench.train(variants, seeds)
    rows = [row for members in runs.values() for one in members for row in validated(one)]
    gradients = [row for members in runs.values() for one in members for row in _gradients(one)]
    bench.csv("validation.csv", rows)
    bench.csv("gradients.csv", gradients)
    judged = bench.pick(2, 10, 10)
    topologies, tasks = bench.image_places()
    sizes: dict[str, Any] = {"seeds": bench.pick(1, 3, 5), "query_size": bench.pick(64, 1024, 2048)}
    final = tested(bench.test(runs, topologies, tasks, at=(0, judged), **sizes))
    bench.csv("test.csv", final)
    along, after = summarize(rows, ("label", "step")), summarize(final, ("label", "step"))
    bench.figure("figure.png", _figure(along, gradients, list(runs), changed))
    findings = [_learns(runs[PRINTED], along, after, judged, genomes), _decides(runs, gradients, after, changed, judged)]
    replaced = "" if bench.scale != "paper" else ", the seven worst of which go on from the best every 10,000 meta-steps"
    cost = _cost(runs[PRINTED], variants[PRINTED])
    settings = (
        "Experiment `paper_gradient`: random starts, two states, a number per state of every synapse, labels as feedback, hidden"
        f" neurons normalised over the batch and outputs not, updates summed over the batch, Adam at 0.0005, clip 10. {seeds}"
        f" run(s) of {genomes} genomes side by side{replaced}: {printed:,} meta-steps as printed, {changed:,} with a change."
        " `updates averaged` has 0.1 times the mean over 128 in place of -0.001 times the sum: of about that size, with the"
        " other sign, and steps of Adam that are small beside it. Curves are of the genome that was best on validation data"
        " then, which is the one tested."
        f"{'' if bench.scale == 'paper' else ' The whole recipe has 90,000 meta-steps of 8 genomes, whose unroll grows to 50.'}"
        f" {cost}"
    )
    return findings, settings


def _variant(bench: Workbench, meta_steps: int, validate_every: int, genomes: int, *more: str) -> Variant:
    options = [f"training.meta_steps={meta_steps}", f"training.genomes={genomes}", f"training.validate_every={validate_every}"]
    options += ["training.replace=0"] if meta_steps <= 10_000 else []
    if bench.scale == "smoke":
        (graph,), (task,) = (list(found.values()) for found in bench.image_places())
        options += [f"problems=[{{task: {task}, topology: {graph}}}]"]
    return bench.variant("paper_gradient", *options, *more)


def _gradients(run: Trained) -> list[Row]:
    """Returns the norm of the meta-gradient of every genome along a run."""
    return [
        {"label": run.label, "genome_seed": run.seed, "genome": number, "step": record["step"], "norm": norm}
        for record in run.records()
        for number, norm in enumerate(record.get("gradient_norm", ()))
        if norm is not None
    ]


def _flat(gradients: Sequence[Row], label: str, until: int) -> float:
    mine = [row["norm"] < FLAT for row in gradients if row["label"] == label and row["step"] <= until]
    return float(np.mean(mine)) if mine else float("nan")


def _cost(runs: Sequence[Trained], variant: Variant) -> str:
    """Returns what a meta-step took, and what all of the recipe would take, in words."""
    whole = Variant("paper_gradient").spec()
    steps = sum(whole.unroll.length(step) for step in range(whole.training.meta_steps)) * whole.training.genomes  # type: ignore[attr-defined]
    spec = variant.spec()
    here = sum(spec.unroll.length(step) for step in range(spec.training.meta_steps)) * spec.training.genomes  # type: ignore[attr-defined]
    seconds = [run.summary["seconds"] for run in runs if run.genome is not None]
    if not seconds:
        return "All runs were lost, and nothing can be said of its cost."
    each = float(np.median(seconds)) / here
    text = f"A learning step of a genome and its gradient took {1000 * each:.1f} ms here"
    if spec.training.meta_steps == whole.training.meta_steps:
        return f"{text}."
    hours = each * steps / 3600
    return f"{text} (on cores that others used, too); all of the recipe would take {hours:.2g} hours of one, extrapolated."


def _learns(runs: Sequence[Trained], along: Sequence[Row], after: Sequence[Row], judged: int, genomes: int) -> Finding:
    """Judges whether in every run a genome learns."""
    mine = sorted((row for row in along if row["label"] == PRINTED), key=lambda row: row["step"])
    last = mine[-1]["step"] if mine else 0
    told = ", ".join(f"{ranged(row)} after {row['step']:,}" for row in mine)
    final = at_or_lost(after, label=PRINTED, step=judged)
    reached = sum(run.accuracy >= LEARNED for run in runs)
    return Finding(
        f"Random genomes come to learn by the recipe as printed (in every run one of {genomes} has a validation accuracy of"
        f" {LEARNED:g} within the meta-steps done)",
        f"{reached} of {len(runs)} run(s); the best genome's validation accuracy after {judged} learning steps, median over them"
        f" (lowest to highest): {told or 'none'} meta-steps; test accuracy of the last {ranged(final)}",
        bool(runs) and reached == len(runs),
        f"{last:,} of 90,000 meta-steps; many genomes are on a plateau, where the loss is that of guessing",
    )


def _decides(
    runs: Mapping[str, Sequence[Trained]], gradients: Sequence[Row], after: Sequence[Row], changed: int, judged: int
) -> Finding:
    """Tells what one change of the recipe does, as far as the changed runs go."""
    words, medians = [], {}
    for label, members in runs.items():
        rows = [validated(one) for one in members]
        steps = sorted({row["step"] for some in rows for row in some})
        last = max((step for step in steps if step <= changed), default=steps[0] if steps else 0)
        reached = [max((row["accuracy"] for row in some if row["step"] <= last), default=0.0) for some in rows]
        text = f"{label}: validation accuracy {range_of(reached)} after {last}, flat {_flat(gradients, label, changed):.0%}"
        if label != PRINTED:
            text += f", test accuracy {ranged(at_or_lost(after, label=label, step=judged))}"
            medians[label] = float(np.median(reached))
        words.append(text)
    return Finding(
        f"Which part of the recipe decides within about {changed:,} meta-steps (flat: records of a genome whose meta-gradient is"
        f" below {FLAT:g})",
        f"the largest gain: {max(medians, key=lambda label: medians[label], default='none')}; {'; '.join(words)}",
        None,
    )


@styled()
def _figure(along: Sequence[Row], gradients: Sequence[Row], labels: Sequence[str], changed: int) -> Picture:
    """Draws validation accuracy along meta-training, and how many genomes have hardly a gradient."""
    figure, (left, right) = panels(2, width=4.6, height=3.4)
    lines = {label: [row for row in along if row["label"] == label] for label in labels}
    curves(left, lines, even=False, xlabel="meta-steps", ylabel="validation accuracy, best genome", chance=0.1)
    left.set(ylim=(0, 1))
    left.legend(fontsize=8, loc="upper right")
    edges = np.linspace(0, changed, 6)
    shares = {}
    for label in labels:
        mine = [row for row in gradients if row["label"] == label and row["step"] <= changed]
        parts = [[row["norm"] < FLAT for row in mine if low < row["step"] <= high] for low, high in pairwise(edges)]
        shares[label] = [
            {"step": float(high), **dict.fromkeys(("median", "low", "high"), float(np.mean(part)))}
            for high, part in zip(edges[1:], parts)
            if part
        ]
    curves(right, shares, even=False, xlabel="meta-steps", ylabel=f"share of meta-gradients below {FLAT:g}")
    right.set(ylim=(-0.03, 1.03))
    return figure
