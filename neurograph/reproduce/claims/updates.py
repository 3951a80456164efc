"""Figure 17: how feedback acts on a neuron, with synapses of either symmetry, of one state or many, from either start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from neurograph.experiments.transfer.results import Row, five_numbers
from neurograph.report.figures.bands import curves, panels, ranges
from neurograph.reproduce.claims.kinds import CHANNELS, STARTS, SYNAPSES, Key, compared, kind, learned, pairs, settings
from neurograph.reproduce.progress import at_or_lost, best_of, speeds, trained
from neurograph.reproduce.summaries import summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Variant, Workbench

__all__ = ["run"]

UPDATES = {
    "additive": "additive",
    "multiplicative": "multiplicative",
    "second state": "multiplicative_second_state",
}
"""By the word in a label, the rule's backward_update."""


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """All 24 variants."""
    keys = [*product(UPDATES, SYNAPSES, CHANNELS, STARTS)]
    if bench.scale == "smoke":
        keys = [("additive", "symmetric", "single", STARTS[0]), ("second state", "asymmetric", "multi", STARTS[1])]
    labels = {key: ", ".join(key) for key in keys}
    seeds = bench.seeds(1, 2, 8)
    runs = bench.train({labels[key]: _variant(bench, key) for key in keys}, seeds)
    steps, judged = bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50), (0, 1, 2, 5, 10, 20, 50, 100)), bench.pick(2, 10, 10)
    topologies, tasks = bench.image_places()
    sizes = {"seeds": bench.pick(1, 3, 5), "query_size": bench.pick(64, 1024, 2048)}
    rows = tested(bench.test(best_of(runs), topologies, tasks, at=steps, **sizes))
    along = [row for members in runs.values() for one in members for row in trained(one)]
    bench.csv("test.csv", rows)
    bench.csv("training.csv", along)
    table, training = summarize(rows), summarize(along, by=("label", "step"))
    final = {key: at_or_lost(table, label=labels[key], step=judged) for key in keys}
    fast = {key: five_numbers(speeds(runs[labels[key]])) for key in keys}
    _draw(bench, labels, training, final, judged)
    text = f"Test accuracy after {judged} learning steps, {sizes['seeds']} test runs. {settings(bench, seeds)}"
    return (_findings(keys, final, fast) if bench.scale != "smoke" else [learned("Both learn", keys, final)]), text


def _variant(bench: Workbench, key: Key) -> Variant:
    if key[0] == "additive":  # as the recipes are: runs that figure 9 has, too
        return kind(bench, key)
    # Section 3.4 normalises in both passes, however feedback acts.
    printed = ("rule.backward_normalization=batch",) if bench.recipe_name == "printed" else ()
    return kind(bench, key, f"rule.backward_update={UPDATES[key[0]]}", *printed)


def _findings(keys: Sequence[Key], final: Mapping[Key, Row], fast: Mapping[Key, Row]) -> list[Finding]:
    found = []
    for update in UPDATES:
        mine = [key for key in keys if key[0] == update]
        found.append(learned(f"Rules learn where feedback is {_words(update)}", mine, final, len(mine) // 2))
    found.append(compared("Symmetric synapses learn faster: speed", pairs(keys, 1, *SYNAPSES), fast))
    found.append(compared("Synapses of one state are competitive: test accuracy", pairs(keys, 2, *CHANNELS), final, level=True))
    found.append(compared("A start near backprop speeds up: speed", pairs(keys, 3, *STARTS), fast))
    best = {update: max((final[key]["median"], key) for key in keys if key[0] == update) for update in UPDATES}
    words = [f"{update} {value:.3f} ({', '.join(key[1:])})" for update, (value, key) in best.items()]
    return [*found, Finding("The best rule of each kind of update: test accuracy", "; ".join(words), None)]


def _words(update: str) -> str:
    return {"additive": "added", "multiplicative": "multiplied in", "second state": "multiplied in by the second state"}[update]


def _draw(bench: Workbench, labels: Mapping[Key, str], training: Sequence[Row], final: Mapping[Key, Row], judged: int) -> None:
    updates = list(dict.fromkeys(key[0] for key in labels))
    figure, axes = panels(2 * len(updates), height=2.9)
    for number, update in enumerate(updates):
        keys = [key for key in labels if key[0] == update]
        lines = {", ".join(key[1:]): [row for row in training if row["label"] == labels[key]] for key in keys}
        curves(axes[2 * number], lines, xlabel="meta-steps", ylabel="query accuracy", even=False, title=update)
        ranges(axes[2 * number + 1], {", ".join(key[1:]): final[key] for key in keys}, title=f"after {judged} learning steps")
    bench.figure("figure.png", figure)
