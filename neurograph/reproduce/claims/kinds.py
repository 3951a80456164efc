"""Kinds of rules that figures 9 and 17 compare, each by the best of its meta-training runs: their settings and criteria."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neurograph.experiments.transfer.results import Row
from neurograph.reproduce.summaries import ranged
from neurograph.reproduce.verdict import Finding
from neurograph.reproduce.workbench import Variant, Workbench

__all__ = ["CHANNELS", "LEARNED", "STARTS", "SYNAPSES", "Key", "compared", "kind", "learned", "pairs", "settings"]

SYNAPSES, CHANNELS, STARTS = ("symmetric", "asymmetric"), ("single", "multi"), ("near backprop", "random")
LEARNED = 0.5  # test accuracy from which on a kind counts as one that learned to learn; chance is 0.1
AHEAD = 0.02  # differences below are none

Key = tuple[str, ...]
"""(what its figure compares besides: data, or how feedback acts; synapses, channels, start), as printed in the label."""


def kind(bench: Workbench, key: Key, *more: str) -> Variant:
    """Returns the experiment that meta-trains a kind: a run is one genome, since the best of several runs is shown."""
    _, synapses, channels, start = key
    shipped = bench.recipe_name == "shipped"
    options = [f"training.meta_steps={bench.pick(2, 150, 10_000)}", "training.genomes=1", "training.replace=0"]
    options += [f"training.validate_every={bench.pick(2, 50, 500)}", "rule.feedback=labels"]
    options += [f"rule.symmetric={str(synapses == 'symmetric').lower()}"]
    options += [f"rule.single_state_synapses={str(channels == 'single').lower()}"]
    # The shipped recipe's rate is for the softmax's error, whose sign is the other one; the printed one has the authors' gates.
    rate = ", arrays: {synapse_update: 0.3}" if shipped else ""
    if start == "random":
        options += [f"start={{kind: random{rate}}}", *([f"training.screen={bench.pick(2, 32, 64)}"] if shipped else [])]
    else:
        options += [f"start={{kind: near_backprop{', spread: 0.05' if shipped else ''}{rate}}}"]
    return bench.images(*options, *more)


def settings(bench: Workbench, seeds: int) -> str:
    """Returns what all kinds have in common, in words."""
    random = f"the best of {bench.pick(2, 32, 64)} untrained ones by training loss" if bench.recipe_name == "shipped" else "one"
    return (
        f"{seeds} run(s) of {bench.pick(2, 150, 10_000):,} meta-steps per variant, one genome each; the one that is best on"
        " validation data is tested, speed (the mean accuracy along meta-training) is over all. Feedback: labels, otherwise the"
        f" recipe. Random starts: matrices N(0, 1), {random}. Differences below {AHEAD} count as none; the criteria are ours."
        f" {bench.recipe_words}"
    )


def learned(claim: str, keys: Sequence[Key], final: Mapping[Key, Row], need: int | None = None) -> Finding:
    """Judges whether at least `need` (default: all) of the kinds have a median test accuracy of LEARNED."""
    passed = sum(final[key]["median"] >= LEARNED for key in keys)
    words = [f"{', '.join(key[1:])} {ranged(final[key])}" for key in keys]
    return Finding(
        f"{claim} (median test accuracy of {LEARNED:g} or more in {'all' if need is None else need} of {len(keys)} variants)",
        f"{passed} of {len(keys)}: {'; '.join(words)}",
        passed >= (len(keys) if need is None else need),
        "too few meta-steps for what has more numbers to find",
    )


def compared(claim: str, both: Sequence[tuple[Key, Key]], values: Mapping[Key, Row], level: bool = False) -> Finding:
    """Judges whether the first of most pairs is ahead by more than AHEAD and the spread (`level`: not AHEAD behind)."""
    rows = [(values[one], values[other]) for one, other in both]
    if level:
        held = sum(one["median"] >= other["median"] - AHEAD for one, other in rows)
        rule = f"the median at most {AHEAD} behind"
    else:
        held = sum(one["median"] > other["median"] + AHEAD and one["low"] > other["high"] for one, other in rows)
        rule = f"the median more than {AHEAD} ahead, quartiles without overlap"
    need = len(both) - len(both) // 4
    words = []
    for (key, twin), (one, other) in zip(both, rows, strict=True):
        same = ", ".join(part for part, its in zip(key, twin, strict=True) if part == its)
        words.append(f"{same} {one['median']:.3f} against {other['median']:.3f}")
    return Finding(
        f"{claim} ({rule}, in {need} of {len(both)} pairs or more)",
        f"{held} of {len(both)}: {'; '.join(words)}",
        held >= need,
        "differences within the spread over few seeds, and few meta-steps",
    )


def pairs(keys: Sequence[Key], place: int, one: str, other: str) -> list[tuple[Key, Key]]:
    """Returns the pairs of kinds that differ in one place only."""
    twins = [(key, (*key[:place], other, *key[place + 1 :])) for key in keys if key[place] == one]
    return [pair for pair in twins if pair[1] in keys]
