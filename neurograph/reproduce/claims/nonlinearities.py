"""Figure 12: other non-linearities, the same forward and backward or forward alone, with two to eight states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.progress import at_or_lost, trained
from neurograph.reproduce.summaries import ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Workbench

__all__ = ["run"]

NONE = "identity"
ACTIVATIONS = ("relu", "relu_tanh", "tanh", "sigmoid", "leaky_relu", "swish", "gelu", NONE)
CLOSE, LEARNED = 0.03, 0.5

Key = tuple[str, str, int]
"""(forward, backward, states)."""


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Identical pairs, and every non-linearity without one on the way back, at several numbers of states."""
    both = [(one, one) for one in ACTIVATIONS] + [(one, NONE) for one in ACTIVATIONS if one != NONE]
    both = bench.pick([both[0], (NONE, NONE)], both, both)
    states = bench.pick((2,), (2, 8), (2, 3, 4, 5, 6, 7, 8))
    meta_steps, genomes = bench.pick(2, 150, 10_000), bench.pick(1, 1, 8)
    common = (f"training.meta_steps={meta_steps}", f"training.genomes={genomes}", f"training.replace={genomes - 1}")
    common += (f"training.validate_every={bench.pick(2, 50, 500)}",)
    keys: list[Key] = [(*pair, number) for pair in both for number in states]
    labels = {key: f"{key[0]} / {key[1]}, {key[2]} states" for key in keys}
    variants = {
        labels[key]: bench.images(
            *common,
            *(f"rule.{name}={value}" for name, value in zip(("forward_activation", "backward_activation", "states"), key)),
        )
        for key in keys
    }
    seeds = bench.seeds(1, 2, 3)
    runs = bench.train(variants, seeds)
    topologies, tasks = bench.image_places()
    steps = bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50), (0, 1, 2, 5, 10, 20, 50, 100))
    matrix = bench.test(runs, topologies, tasks, at=steps, seeds=bench.pick(1, 3, 5), query_size=bench.pick(64, 1024, 2048))
    rows = tested(matrix)
    bench.csv("test.csv", rows)
    bench.csv("training.csv", [row for members in runs.values() for one in members for row in trained(one)])
    table = summarize(rows)
    judged = bench.pick(2, 10, 10)
    final = {key: at_or_lost(table, label=labels[key], step=judged) for key in keys}

    figure, axes = panels(2, height=3.8, sharey=True)
    for axis, (title, line) in zip(axes, {"identical pairs": True, f"backward {NONE}": False}.items(), strict=True):
        shown = [pair for pair in both if pair == (NONE, NONE) or (pair[0] == pair[1]) == line]
        lines = {pair[0]: [final[*pair, number] | {"states": number} for number in states] for pair in shown}
        curves(axis, lines, x="states", xlabel="states per neuron", title=f"{title}, after {judged} steps")
        axis.legend(fontsize=7)
    bench.figure("figure.png", figure)

    settings = (
        f"{seeds} seeds of {meta_steps:,} meta-steps per pair and number of states, {genomes} genome(s) each; test accuracy after"
        f" {judged} steps, forward / backward. `{NONE}` is no non-linearity; `{NONE}` / `{NONE}` is the linear network, whose"
        f" neurons only the recipe's batch normalization changes otherwise. {bench.recipe_words}"
    )
    return _findings(both, states, final), settings


def _findings(both: Sequence[tuple[str, str]], states: Sequence[int], final: Mapping[Key, Row]) -> list[Finding]:
    few, many = states[0], states[-1]
    best = {pair: max((final[*pair, number] for number in states), key=lambda row: row["median"]) for pair in both}
    same = [pair for pair in both if pair[0] == pair[1] != NONE]
    top = max(same, key=lambda pair: best[pair]["median"])
    close = [pair for pair in same if best[pair]["median"] >= best[top]["median"] - CLOSE]
    failed = [pair[0] for pair in same if best[pair]["median"] < LEARNED]
    words = (f"{pair[0]} {ranged(best[pair])}" for pair in sorted(same, key=lambda pair: -best[pair]["median"]))
    findings = [
        Finding(
            f"The method is not tied to one non-linearity, the same forward and backward (half of them or more within {CLOSE} of"
            " the best, each at its best number of states)",
            f"{len(close)} of {len(same)} within {CLOSE} of {top[0]}; below {LEARNED}: {', '.join(failed) or 'none'};"
            f" {'; '.join(words)}",
            2 * len(close) >= len(same),
            "the recipe (rates, start) was tuned for another pair",
        )
    ]
    alone = [pair for pair in both if pair[1] == NONE != pair[0]]
    if alone:
        level = [pair for pair in alone if best[pair]["median"] >= best[pair[0], pair[0]]["median"] - CLOSE]
        words = (f"{pair[0]} {best[pair]['median']:.3f} against {best[pair[0], pair[0]]['median']:.3f}" for pair in alone)
        findings.append(
            Finding(
                f"A non-linearity is not needed on the way back (most forward ones at most {CLOSE} behind the identical pair)",
                f"{len(level)} of {len(alone)}, without and with it: {'; '.join(words)}",
                2 * len(level) > len(alone),
                "what the backward non-linearity bounds grows without it",
            )
        )
    gains = {pair: final[*pair, many]["median"] - final[*pair, few]["median"] for pair in (*same, (NONE, NONE))}
    linear = max(final[NONE, NONE, number]["median"] for number in states) - final[NONE, NONE, few]["median"]
    words = (f"{states_} states {ranged(final[NONE, NONE, states_])}" for states_ in states)
    others = (f"{pair[0]} {gain:+.3f}" for pair, gain in gains.items() if pair[0] != NONE)
    findings.append(
        Finding(
            f"The linear network gains nothing by states (at most {CLOSE} at any number of them)",
            f"{'; '.join(words)}; identical pairs gain from {few} to {many} states: {', '.join(others)}",
            linear <= CLOSE,
            "batch normalization is no linear function of the batch, and more states are more numbers to find a rule with",
        )
    )
    return findings
