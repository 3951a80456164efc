"""Figure 8: meta-training and learned rules with and without normalization of pre-activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from neurograph.experiments.transfer.results import Row, interval
from neurograph.report.figures.bands import curves, panels
from neurograph.reproduce.progress import at_or_lost, trained
from neurograph.reproduce.summaries import ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Trained, Workbench

__all__ = ["run"]

WITHOUT = ("rule.normalization=none", "rule.normalize_outputs=false")
Setting = tuple[tuple[str, ...], str]
SETTINGS: dict[str, Setting] = {
    "softmax": ((), "start.arrays={{synapse_update: -{}}}"),
    "labels": (("rule.feedback=labels",), "start.arrays={{synapse_update: {}}}"),
    "labels, random start": (
        ("rule.feedback=labels", "training.screen=32"),
        "start={{kind: random, arrays: {{synapse_update: {}}}}}",
    ),
}
"""By name: overrides of the shipped recipe, and its start with a place for the update rate."""

PRINTED: dict[str, Setting] = {
    "labels": ((), "start={{kind: near_backprop, arrays: {{synapse_update: -{}}}}}"),
    "labels, random start": ((), "start={{kind: random, arrays: {{synapse_update: -{}}}}}"),
}
"""The same of the printed recipe, which feeds labels back and has the authors' gates."""

RATES = {"shipped": (0.3, (0.3, 0.1, 0.03, 0.01)), "printed": (0.001, (0.001, 0.0003, 0.0001))}
"""By recipe: the start's update rate with normalization, and those tried without it (means and sums over the batch)."""

WAYS = {"batch": "normalised", "derivative": "with the derivative", "none": "neither"}
"""What the backward pass does about normalization where feedback is multiplied in: options of the rule, and words."""
LEVEL = 0.02  # medians that differ by no more are level

CARRIED = 0.5  # test accuracy from which on a genome counts as one that learns
CHANCE = 0.2  # below it nothing was learned
NOTHING = "nothing that is compared came to learn within these meta-steps"
LEARNED = 0.7  # accuracy from which on a genome counts as one that learned to learn


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Compares three settings; without normalization the start's update rate is chosen on validation data."""
    printed = bench.recipe_name == "printed"
    settings = dict(list((PRINTED if printed else SETTINGS).items())[: bench.pick(1, 3, 3)])
    own, every_rate = RATES[bench.recipe_name]
    rates = bench.pick(every_rate[2:3], every_rate[::2], every_rate)
    meta_steps, genomes = bench.pick(2, 200, 10_000), bench.pick(1, 1, 8)
    common = (f"training.meta_steps={meta_steps}", f"training.genomes={genomes}")
    variants = {}
    for setting, (options, start) in settings.items():
        variants[f"normalized, {setting}"] = bench.images(*common, *options, start.format(own))
        for rate in rates:
            variants[f"not normalized, {setting}, rate {rate:g}"] = bench.images(*common, *options, *WITHOUT, start.format(rate))
    for way in list(WAYS)[: bench.pick(1, 3, 3)]:  # section 3.4: activations are normalised in both passes
        options = ("start={kind: near_backprop}",) if printed else ("rule.feedback=labels", "start.arrays={synapse_update: 0.3}")
        options += ("rule.backward_update=multiplicative_second_state", f"rule.backward_normalization={way}")
        variants[_way(way)] = bench.images(*common, *options)
    seeds = bench.seeds(1, 5, 5)
    every = bench.train(variants, seeds)
    runs: dict[str, list[Trained]] = {}
    for setting in settings:
        runs[f"normalized, {setting}"] = every[f"normalized, {setting}"]
        rivals = [every[f"not normalized, {setting}, rate {rate:g}"] for rate in rates]
        runs[f"not normalized, {setting}"] = max(rivals, key=lambda members: median(one.accuracy for one in members))
    runs |= {label: members for label, members in every.items() if label in map(_way, WAYS)}
    chosen = {one.label for members in runs.values() for one in members}
    names = {one.label: label for label, members in runs.items() for one in members}

    topologies, tasks = bench.image_places()
    steps = bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50, 100), (0, 1, 2, 5, 10, 20, 50, 100, 200))
    matrix = bench.test(runs, topologies, tasks, at=steps, seeds=bench.pick(1, 3, 5), query_size=bench.pick(64, 1024, 2048))
    rows = tested(matrix)
    if far := _elsewhere(bench, {label: members for label, members in runs.items() if "normalized" in label}):
        bench.csv("elsewhere.csv", far)
    along = [row for members in every.values() for one in members for row in trained(one)]
    bench.csv("test.csv", rows)
    bench.csv("training.csv", along)
    rows, along = _named(rows, names), _named((row for row in along if row["label"] in chosen), names)
    table, training = summarize(rows), summarize(along, by=("label", "step"))
    judged, last = bench.pick(2, 10, 10), steps[-1]

    figure, axes = panels(2 * len(settings), height=2.5)
    for number, setting in enumerate(settings):
        mine = (f"normalized, {setting}", f"not normalized, {setting}")
        lines = {label.split(",")[0]: [row for row in training if row["label"] == label] for label in mine}
        curves(
            axes[2 * number], lines, xlabel="meta-steps", ylabel="query accuracy", even=False, title=f"{setting}: meta-training"
        )
        lines = {label.split(",")[0]: [row for row in table if row["label"] == label] for label in mine}
        curves(axes[2 * number + 1], lines, title=f"{setting}: learning (trained for {judged} steps)")
        axes[2 * number].legend(fontsize=8)
    bench.figure("figure.png", figure)

    findings = [one for setting in settings for one in _judge(setting, runs, training, table, judged, last)]
    for place in dict.fromkeys(row["place"] for row in far):
        here = summarize(_named((row for row in far if row["place"] == place), names))
        findings += [_carried(setting, place, here) for setting in settings]
    findings.append(_both_passes(table, judged))
    text = (
        f"{seeds} seeds of {meta_steps:,} meta-steps per line, {genomes} genome(s) each, the {bench.recipe_name} recipe but for"
        f" what the line says{'' if printed else '; random starts are the best of 32 untrained ones by training loss'}. Without"
        " normalization the start's update rate"
        f" is the best of {', '.join(f'{rate:g}' for rate in rates)} by the median on validation data:"
        f" {'; '.join(sorted(label for label in chosen if label.startswith('not')))}."
    )
    return findings, text


def _way(way: str) -> str:
    return f"second state, {WAYS[way]} on the way back"


def _both_passes(table: Sequence[Row], judged: int) -> Finding:
    found = {way: at_or_lost(table, label=_way(way), step=judged) for way in WAYS}
    return Finding(
        "Where feedback is multiplied in, normalising it as well as activations is as good as what else can be done about it, or"
        f" better (labels, near backprop; median test accuracy after {judged} steps at most {LEVEL} behind the derivative of"
        f" batch normalization, and behind neither, and {CARRIED:g} or more)",
        ", ".join(f"{words} {ranged(found[way])}" for way, words in WAYS.items()),
        found["batch"]["median"] >= max(CARRIED, *(found[way]["median"] - LEVEL for way in WAYS)),
        "normalised feedback has the same size at every neuron, whatever its error"
        if max(found[way]["median"] for way in WAYS) >= CARRIED
        else NOTHING,
    )


def _elsewhere(bench: Workbench, runs: Mapping[str, Sequence[Trained]]) -> list[Row]:
    """Returns tests at another resolution and on a deeper network, after ten learning steps; smoke has none."""
    places = {
        "28x28 pixels": ({"784-64-64-10": "mnist_28x28"}, {"mnist": "mnist"}),
        "four hidden layers": ({"100-64-64-64-64-10": "mnist_10x10_depth4"}, {"mnist/10x10": "mnist/10x10"}),
    }
    found: list[Row] = []
    for place, (topologies, tasks) in places.items() if bench.scale != "smoke" else ():
        matrix = bench.test(runs, topologies, tasks, at=(10,), seeds=bench.pick(1, 3, 5), query_size=bench.pick(64, 1024, 2048))
        found += [row | {"place": place} for row in tested(matrix)]
    return found


def _carried(setting: str, place: str, here: Sequence[Row]) -> Finding:
    with_it, without = (at_or_lost(here, label=f"{word}, {setting}") for word in ("normalized", "not normalized"))
    return Finding(
        f"With it genomes carry over to {place}, without it not as well ({setting}; median test accuracy after 10 steps of"
        f" {CARRIED:g} or more, and its lower quartile is above the other's upper one)",
        f"normalized {ranged(with_it)}, not normalized {ranged(without)}, {without['failures']} of {without['runs']} diverged",
        with_it["median"] >= CARRIED and with_it["low"] > without["high"],
        "meta-training saw one network and one resolution" if with_it["median"] >= CHANCE else NOTHING,
    )


def _named(rows, names: Mapping[str, str]) -> list[Row]:
    return [row | {"label": names[row["label"]]} for row in rows]


def _judge(
    setting: str,
    runs: Mapping[str, Sequence[Trained]],
    training: Sequence[Row],
    table: Sequence[Row],
    judged: int,
    last: int,
) -> list[Finding]:
    labels = (f"normalized, {setting}", f"not normalized, {setting}")
    passed = [sum(one.accuracy >= LEARNED for one in runs[label]) for label in labels]
    first = [
        next((row["step"] for row in training if row["label"] == label and row["median"] >= LEARNED), None) for label in labels
    ]
    when = [f"after {step} meta-steps" if step else "never" for step in first]
    slow = first[1] is None or (first[0] is not None and first[1] >= 2 * first[0])
    count = len(runs[labels[0]])
    dependable = Finding(
        f"Normalization makes meta-training dependable ({setting}; four of five normalized runs or more reach"
        f" {LEARNED:g} on validation data, the others do so less often or take twice the meta-steps)",
        f"normalized {passed[0]} of {count}, the median run {when[0]}; not normalized {passed[1]} of {count}, {when[1]};"
        f" validation accuracy in the end {_accuracies(runs[labels[0]])} and {_accuracies(runs[labels[1]])}",
        5 * passed[0] >= 4 * count and (passed[1] < passed[0] or slow),
        "near backprop and with synapses scaled by their number, few layers learn without it" if sum(passed) else NOTHING,
    )
    now, then = ([at_or_lost(table, label=label, step=step) for label in labels] for step in (judged, last))
    whole = [interval(row, ("minimum", "maximum"), to=" to ") for row in then]
    stable = Finding(
        f"With it the rule goes on beyond the steps it was trained for, without it not as well ({setting}; loses at"
        f" most 0.02 from step {judged} to {last}, and its lower quartile is above the other's upper one)",
        f"test accuracy after {judged} and {last} steps: normalized {now[0]['median']:.3f} and {whole[0]},"
        f" not normalized {now[1]['median']:.3f} and {whole[1]}, {then[1]['failures']} of {then[1]['runs']} diverged",
        then[0]["median"] >= now[0]["median"] - 0.02 and then[0]["low"] > then[1]["high"],
        "the meta-loss looks at the last trained step only, and nothing makes a rule stop there"
        if max(row["median"] for row in now) >= CHANCE
        else NOTHING,
    )
    return [dependable, stable]


def _accuracies(runs: Sequence[Trained]) -> str:
    return ", ".join(f"{one.accuracy:.3f}" for one in runs)
