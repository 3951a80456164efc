"""Figure 15, appendix B: Oja's rule, which keeps synapses bounded."""

from __future__ import annotations

from neurograph.experiments.transfer.results import five_numbers
from neurograph.reproduce.claims.longer import far_beyond
from neurograph.reproduce.summaries import by_genome, range_of
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Workbench

__all__ = ["run"]

BOUNDED = 0.1
"""Synapses are bounded if their length over the second half of a run grows by no more than this power of the steps."""
CLOSE = 0.02
"""Accuracies are about the same if their medians differ by no more."""


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Genomes meta-trained with and without Oja's term."""
    off, on = "without", "with Oja's rule"
    form = "weights" if bench.recipe_name == "shipped" else "printed"
    variants = {off: bench.images(*bench.recipe()), on: bench.images(*bench.recipe(), f"rule.oja={form}")}
    seen = far_beyond(bench, variants, bench.seeds(1, 3, 3))
    last = [row for row in seen.lengths if row["step"] == seen.end]
    power = by_genome(last, "power")
    grown = {label: list(power.get(label, {}).values()) for label in variants}
    words = []
    for label in variants:
        runs = [row for row in last if row["label"] == label]
        fine = [row["length"] for row in runs if not row["failed"]]
        text = f"{label} {len(runs) - len(fine)} of {len(runs)} runs overflowed"
        if fine:
            finite = [value for value in grown[label] if value < float("inf")]
            text += f", in the others synapses are {range_of(fine, 1)} times their start (p {range_of(finite, 2)})"
        words.append(text)
    bounded = Finding(
        f"With Oja's rule synapses stay bounded, without it they grow (length ~ steps^p over the second half; p below {BOUNDED}"
        " for every genome with it, above for every one without)",
        f"after {seen.end} steps: " + "; ".join(words),
        bool(grown[on] and grown[off]) and max(grown[on]) < BOUNDED < min(grown[off]),
        "neurons are normalised in this recipe: updates shrink as synapses grow, so that they grow slowly without the rule, too",
    )
    means = {step: by_genome(row for row in seen.rows if row["step"] == step) for step in (seen.unroll, seen.end)}
    middle = {step: {label: five_numbers(means[step].get(label, {}).values())["median"] for label in variants} for step in means}
    same = Finding(
        f"Accuracy is about the same (medians within {CLOSE} after the trained unroll)",
        "; ".join(
            f"after {step} steps " + ", ".join(f"{range_of(means[step].get(label, {}).values())} {label}" for label in variants)
            for step in means
        ),
        abs(middle[seen.unroll][on] - middle[seen.unroll][off]) <= CLOSE,
        "few meta-steps: the strength of the decay is the genome's, and starts where it hinders learning within ten steps",
    )
    gates = ", ".join(f"{range_of(seen.keep[label], 2)} {label}" for label in variants)
    why = Finding(
        "How much of a synapse a step keeps, f~ as learned (1 at the start; above 1 synapses grow by themselves)", gates, None
    )
    return [bounded, same, why], seen.settings
