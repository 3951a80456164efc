"""Figure 16, appendix C.6: synapses of unit length per receiving neuron."""

from __future__ import annotations

from neurograph.reproduce.longer import far_beyond
from neurograph.reproduce.summaries import by_genome, spread, told
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Workbench

__all__ = ["run"]

LOST = 0.02
"""A rule is stable if, far beyond its trained unroll, it has lost no more of the accuracy that it had there."""
VARIANTS = {
    "not normalised": (),
    "in the pass": ("rule.synapse_normalization=in_pass",),
    "stored": ("rule.synapse_normalization=stored",),
    "stored, rescaled": ("rule.synapse_normalization=stored", "rule.rescale=true"),
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
    words = [
        f"{label} {told(means[seen.unroll].get(label, {}).values())} after {seen.unroll} steps,"
        f" {told(means[seen.end].get(label, {}).values())} after {seen.end}"
        for label in labels
    ]
    normalised = labels[1:]
    stable = Finding(
        f"With synapses normalised the learned rule stays stable far beyond its trained unroll (no genome loses over {LOST})",
        "; ".join(words),
        all(lost[label] and max(lost[label]) <= LOST for label in normalised),
        "the updates were chosen by what they give within the trained unroll; nothing in that says where learning ends",
    )
    plain = labels[0]
    needed = Finding(
        "Without it the rule is less stable (its lower quartile of what is lost above the upper one of every normalised variant)",
        "lost from the trained unroll to the end: " + ", ".join(f"{label} {told(lost[label])}" for label in labels),
        all(spread(lost[label])["high"] < spread(lost[plain])["low"] for label in normalised),
        "neurons are normalised over the batch in this recipe: that bounds what synapses of any length can do",
    )
    return [stable, needed], seen.settings
