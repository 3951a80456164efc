"""Figures 9 and 17: symmetric or separate synapses, one or several states per synapse, two or four per neuron, the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from neurograph.experiments.transfer.results import Row, five_numbers
from neurograph.report.figures.bands import curves, panels, ranges
from neurograph.reproduce.progress import at_or_lost, speeds, trained
from neurograph.reproduce.summaries import ranged, summarize, tested
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Variant, Workbench

__all__ = ["run"]

SYNAPSES, CHANNELS, STARTS = ("symmetric", "asymmetric"), ("single", "multi"), ("near backprop", "random")
LEARNED = 0.5  # test accuracy from which on a variant counts as one that learned to learn; chance is 0.1
AHEAD = 0.02  # differences below are none

Key = tuple[str, ...]
"""(data, synapses, channels, states, start) of a variant, as printed in its label."""


def run(bench: Workbench) -> tuple[list[Finding], str]:
    """Returns all variants from near backprop, those of four states from random genomes as well; four on Omniglot."""
    near, four = STARTS[0], "4 states"
    keys = [("MNIST", *rest, near) for rest in product(SYNAPSES, CHANNELS, ("2 states", four))]
    keys += [("MNIST", *rest, four, STARTS[1]) for rest in product(SYNAPSES, CHANNELS)]
    keys += [("Omniglot", *rest, four, near) for rest in product(SYNAPSES, CHANNELS)]
    if bench.scale == "smoke":
        keys = [("MNIST", "symmetric", "single", "2 states", near), ("MNIST", "asymmetric", "multi", "2 states", near)]
    meta_steps, genomes = bench.pick(2, 150, 10_000), bench.pick(1, 1, 8)
    labels = {key: ", ".join(key) for key in keys}
    seeds = bench.seeds(1, 3, 3)
    runs = bench.train({labels[key]: _variant(bench, key, meta_steps, genomes) for key in keys}, seeds)
    steps = bench.pick((0, 2), (0, 1, 2, 5, 10, 20, 50), (0, 1, 2, 5, 10, 20, 50, 100))
    judged, sizes = bench.pick(2, 10, 10), {"seeds": bench.pick(1, 3, 5), "query_size": bench.pick(64, 1024, 2048)}
    rows: list[Row] = []
    for data in dict.fromkeys(key[0] for key in keys):
        mine = {labels[key]: runs[labels[key]] for key in keys if key[0] == data}
        topologies, tasks = bench.image_places() if data == "MNIST" else _omniglot(bench)
        rows += tested(bench.test(mine, topologies, tasks, at=steps, **sizes))
    along = [row for members in runs.values() for one in members for row in trained(one)]
    bench.csv("test.csv", rows)
    bench.csv("training.csv", along)
    table, training = summarize(rows), summarize(along, by=("label", "step"))
    final = {key: at_or_lost(table, label=labels[key], step=judged) for key in keys}
    fast = {key: five_numbers(speeds(runs[labels[key]])) for key in keys}
    _draw(bench, labels, training, final, judged)
    settings = (
        f"{seeds} seeds of {meta_steps:,} meta-steps per variant, {genomes} genome(s) each; feedback: labels, the shipped recipe"
        f" otherwise. Random starts: matrices N(0, 1), the best of {bench.pick(2, 32, 64)} untrained ones by training loss."
        " Omniglot: ten fresh characters per episode, learned and judged on alphabets of their own"
        f"{' (the two small sets, 10x10 pixels)' if bench.scale == 'laptop' else ''}. Speed is the mean accuracy along"
        f" meta-training; test accuracy after {judged} learning steps. Differences below {AHEAD} count as none."
    )
    return (_findings(keys, final, fast) if bench.scale != "smoke" else [_learned("Both learn", keys, final)]), settings


def _variant(bench: Workbench, key: Key, meta_steps: int, genomes: int) -> Variant:
    data, synapses, channels, states, start = key
    options = [f"training.meta_steps={meta_steps}", f"training.genomes={genomes}", "rule.feedback=labels"]
    options += [f"rule.symmetric={str(synapses == 'symmetric').lower()}", f"rule.states={states[0]}"]
    options += [f"rule.single_state_synapses={str(channels == 'single').lower()}"]
    options += [f"training.validate_every={bench.pick(2, 50, 500)}"]
    if start == "random":
        random = "start={kind: random, arrays: {synapse_update: 0.3}}"
        options += [random, f"training.screen={bench.pick(2, 32, 64)}"]
    else:
        options += ["start.arrays={synapse_update: 0.3}"]
    if data == "Omniglot":
        topologies, tasks = _omniglot(bench)
        (task,), (topology,) = tasks.values(), topologies.values()
        place = f"{{task: {task['name']}, options: {{size: {task['size']}}}, topology: {topology}}}"
        options += [f"problems=[{place}]"]
    return bench.images(*options)


def _omniglot(bench: Workbench) -> tuple[dict[str, str], dict[str, dict]]:
    small = ("omniglot/small", 10, "mnist_10x10")
    name, size, topology = bench.pick(small, small, ("omniglot", 28, "mnist_28x28"))
    return {topology: topology}, {name: {"name": name, "size": size}}


def _learned(claim: str, keys: Sequence[Key], final: Mapping[Key, Row], need: int | None = None) -> Finding:
    """Judges whether at least `need` (default: all) of the variants have a median test accuracy of LEARNED."""
    passed = sum(final[key]["median"] >= LEARNED for key in keys)
    words = [f"{', '.join(key[1:4])} {ranged(final[key])}" for key in keys]
    return Finding(
        f"{claim} (median test accuracy of {LEARNED:g} or more in {'all' if need is None else need} of {len(keys)} variants)",
        f"{passed} of {len(keys)}: {'; '.join(words)}",
        passed >= (len(keys) if need is None else need),
        "too few meta-steps for what has more numbers to find",
    )


def _compared(
    claim: str, pairs: Sequence[tuple[Key, Key]], values: Mapping[Key, Row], place: int, level: bool = False
) -> Finding:
    """Judges whether the first of most pairs is ahead by more than AHEAD and the spread (`level`: not AHEAD behind)."""
    both = [(values[one], values[other]) for one, other in pairs]
    if level:
        held = sum(one["median"] >= other["median"] - AHEAD for one, other in both)
        rule = f"the median at most {AHEAD} behind"
    else:
        held = sum(one["median"] > other["median"] + AHEAD and one["low"] > other["high"] for one, other in both)
        rule = f"the median more than {AHEAD} ahead, quartiles without overlap"
    need = len(pairs) - len(pairs) // 4
    words = []
    for (key, _), (one, other) in zip(pairs, both, strict=True):
        rest = ", ".join(part for number, part in enumerate(key[1:4], 1) if number != place)
        words.append(f"{rest} {one['median']:.3f} against {other['median']:.3f}")
    return Finding(
        f"{claim} ({rule}, in {need} of {len(pairs)} pairs or more)",
        f"{held} of {len(pairs)}: {'; '.join(words)}",
        held >= need,
        "differences within the spread over few seeds, and few meta-steps",
    )


def _pairs(keys: Sequence[Key], place: int, one: str, other: str) -> list[tuple[Key, Key]]:
    """Returns the pairs of variants that differ in one place only."""
    twins = [(key, (*key[:place], other, *key[place + 1 :])) for key in keys if key[place] == one]
    return [pair for pair in twins if pair[1] in keys]


def _findings(keys: Sequence[Key], final: Mapping[Key, Row], fast: Mapping[Key, Row]) -> list[Finding]:
    near, omniglot = [k for k in keys if k[0] == "MNIST" and k[4] == STARTS[0]], [k for k in keys if k[0] == "Omniglot"]
    random = [key for key in keys if key[4] == STARTS[1]]
    found = []
    for data, mine in (("MNIST", near), ("Omniglot", omniglot)):
        separate = [key for key in mine if key[1] == SYNAPSES[1]]
        found.append(_learned(f"Separate synapses forward and backward learn too, {data}", separate, final))
        found.append(_compared(f"Symmetric synapses learn faster, {data}: speed", _pairs(mine, 1, *SYNAPSES), fast, 1))
        claim = f"Synapses of one state are competitive, {data}: test accuracy"
        found.append(_compared(claim, _pairs(mine, 2, *CHANNELS), final, 2, level=True))
    found.append(_compared("More states help, MNIST: test accuracy", _pairs(near, 3, "4 states", "2 states"), final, 3))
    found.append(_compared("A start near backprop speeds up, MNIST: speed", _pairs([*near, *random], 4, *STARTS), fast, 4))
    found.append(_learned("It is not needed: random starts learn as well, MNIST", random, final, len(random) // 2))
    return found


def _draw(bench: Workbench, labels: Mapping[Key, str], training: Sequence[Row], final: Mapping[Key, Row], judged: int) -> None:
    groups: dict[Key, list[Key]] = {}
    for key in labels:
        groups.setdefault((key[0], *key[3:]), []).append(key)
    figure, axes = panels(2 * len(groups), height=2.4)
    for number, (group, keys) in enumerate(groups.items()):
        lines = {f"{key[1]}, {key[2]}": [row for row in training if row["label"] == labels[key]] for key in keys}
        curves(axes[2 * number], lines, xlabel="meta-steps", ylabel="query accuracy", even=False, title=", ".join(group))
        entries = {f"{key[1]}, {key[2]}": final[key] for key in keys}
        ranges(axes[2 * number + 1], entries, title=f"after {judged} learning steps")
    bench.figure("figure.png", figure)
