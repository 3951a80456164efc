"""Figure 16, appendix C.6: synapses of unit length per receiving neuron."""

from __future__ import annotations

from neurograph.experiments.transfer.results import five_numbers
from neurograph.reproduce.claims.longer import far_beyond
from neurograph.reproduce.summaries import by_genome, range_of
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Workbench

__all__ = ["run"]

LOST = 0.02
"""A rule is stable if, far beyond its trained unroll, it has lost no more of the accuracy that it had there."""
VARIANTS = {
    "not normalised": (),
    "normalised in the pass": ("rule.synapse_normalization=in_pass",),
    "stored normalised": ("rule.synapse_normalization=stored",),
    "stored normalised, rescaled": ("rule.synapse_normalization=stored", "rule.rescale=true"),
}


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Genomes meta-trained with synapses normalised or not, far beyond their trained unroll."""
    labels = list(VARIANTS)[: bench.pick(2, 4, 4)]
    seen = far_beyond(bench, {label: bench.images(*bench.recipe(), *VARIANTS[label]) for label in labels})
    means = {step: by_genome(row for row in seen.rows if row["step"] == step) for step in (seen.unroll, seen.end)}
    lost = {
        label: [means[seen.unroll][label][seed] - value for seed, value in means[seen.end].get(label, {}).items()]
        for label in labels
    }
    normalised = labels[1:]
    findings = []
    for label in labels:
        there, late = ([*means[step].get(label, {}).values()] for step in (seen.unroll, seen.end))
        last = [row for row in seen.lengths if row["label"] == label and row["step"] == seen.end]
        text = (
            f"{range_of(there)} after {seen.unroll} steps, {range_of(late)} after {seen.end}; f~ {range_of(seen.keep[label], 2)},"
        )
        text += f" synapses overflowed in {sum(row['failed'] for row in last)} of {len(last)} runs"
        claim = f"Synapses {label}: the learned rule stays stable far beyond its trained unroll (no genome loses over {LOST})"
        reason = "a learned f~ above 1 lets the synapses that are kept grow without bound, whatever is used in a pass"
        if label not in normalised:
            findings.append(Finding(f"Synapses {label}: accuracy far beyond the trained unroll", text, None))
        else:
            findings.append(Finding(claim, text, bool(lost[label]) and max(lost[label]) <= LOST, reason))
    plain, stored = labels[0], [label for label in labels if label.startswith("stored")] or normalised
    needed = Finding(
        "Without it the rule is less stable (its lower quartile of what is lost above the upper one where normalised synapses are"
        " stored)",
        "lost from the trained unroll to the end: " + ", ".join(f"{label} {range_of(lost[label])}" for label in labels),
        all(five_numbers(lost[label])["high"] < five_numbers(lost[plain])["low"] for label in stored),
        "neurons are normalised over the batch in this recipe: that bounds what synapses of any length can do",
    )
    return [*findings, needed], seen.settings
