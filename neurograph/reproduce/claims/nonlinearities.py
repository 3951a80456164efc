"""Figure 12: other non-linearities, forward and backward."""

from __future__ import annotations

from neurograph.report.figures.bands import curves, panels, ranges
from neurograph.reproduce.progress import at_or_lost, trained
from neurograph.reproduce.summaries import ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Workbench

__all__ = ["run"]

FORWARD = ("relu", "relu_tanh", "tanh", "sigmoid", "leaky_relu", "swish", "gelu", "identity")
BACKWARD = ("tanh", "relu_tanh", "sigmoid", "relu", "identity")
CLOSE, LEARNED = 0.03, 0.5


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """The shipped recipe (forward relu, backward tanh) with every other forward, then every other backward activation."""
    both = [(one, BACKWARD[0]) for one in FORWARD] + [(FORWARD[0], one) for one in BACKWARD[1:]]
    both = both[: bench.pick(2, len(both), len(both))]
    meta_steps, genomes = bench.pick(2, 150, 10_000), bench.pick(1, 1, 8)
    common = (f"training.meta_steps={meta_steps}", f"training.genomes={genomes}")
    variants = {
        f"{forward} / {backward}": bench.images(
            *common, f"rule.forward_activation={forward}", f"rule.backward_activation={backward}"
        )
        for forward, backward in both
    }
    seeds = bench.seeds(1, 3, 3)
    runs = bench.train(variants, seeds)
    topologies, tasks = bench.image_places()
    steps = bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50), (0, 1, 2, 5, 10, 20, 50, 100))
    matrix = bench.test(runs, topologies, tasks, at=steps, seeds=bench.pick(1, 3, 5), query_size=bench.pick(64, 1024, 2048))
    rows = tested(matrix)
    along = [row for members in runs.values() for one in members for row in trained(one)]
    bench.csv("test.csv", rows)
    bench.csv("training.csv", along)
    table, training = summarize(rows), summarize(along, by=("label", "step"))
    judged = bench.pick(2, 10, 10)
    final = {label: at_or_lost(table, label=label, step=judged) for label in runs}

    figure, (left, right) = panels(2, height=3.8)
    forward = [label for label in runs if label.endswith(f" / {BACKWARD[0]}")]
    lines = {label.split(" / ")[0]: [row for row in training if row["label"] == label] for label in forward}
    title = f"meta-training, backward {BACKWARD[0]}"
    curves(left, lines, xlabel="meta-steps", ylabel="accuracy on queries", even=False, title=title)
    left.legend(fontsize=8)
    ranges(right, final, title=f"forward / backward, after {judged} steps")
    bench.figure("figure.png", figure)

    found = []
    for what, labels in (("forward", forward), ("backward", [k for k in runs if k.startswith(f"{FORWARD[0]} / ")])):
        median = {label: final[label]["median"] for label in labels}
        best = max(median, key=lambda label: median[label])
        close = [label for label in labels if median[label] >= median[best] - CLOSE]
        failed = [label for label in labels if median[label] < LEARNED]
        numbers = (f"{label} {ranged(final[label])}" for label in sorted(labels, key=lambda label: -median[label]))
        found.append(
            Finding(
                f"The method is not tied to one {what} non-linearity (half of them or more within {CLOSE} of the best)",
                f"{len(close)} of {len(labels)} within {CLOSE} of {best}; below {LEARNED}: {', '.join(failed) or 'none'}; test"
                f" accuracy after {judged} steps, forward / backward: {'; '.join(numbers)}",
                2 * len(close) >= len(labels),
                "the recipe (rates, start) was tuned for the shipped pair",
            )
        )
    settings = (
        f"{seeds} seeds of {meta_steps:,} meta-steps per pair, {genomes} genome(s) each, the shipped recipe otherwise (batch"
        " normalization before every non-linearity, softmax feedback). The identity shows how far a network without"
        " non-linearities gets on this task."
    )
    return found, settings
