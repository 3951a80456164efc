"""The verdict that a page opens with: test results of genomes beside each baseline and beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurograph.experiments.folder.reading import Run, mapping
from neurograph.experiments.transfer.results import (
    BY_QUARTILES,
    GENOME,
    Row,
    Transfer,
    best_settings,
    is_number,
    score_name,
    spread,
    standing,
    standings,
)
from neurograph.report.html import Markup, joined, paragraph, remark, table

__all__ = ["judged_step", "verdict", "verdict_of"]

MOST_ROWS = 12  # genomes times places that are told one by one; of more the verdict counts
STANDINGS = ("ahead", "level", "behind")
BESIDE_CHANCE = {"ahead": "above", "level": "at", "behind": "below"}


def judged_step(steps: Sequence[int], trained: int | None = None) -> int:
    """Returns the step count that a verdict is about: that which a genome was trained through if it was judged, else the last."""
    return trained if trained is not None and trained in steps else max(steps)


def verdict(tests: Mapping[str, Transfer], step: int, trained: Mapping[str, int | None] | None = None) -> Markup:
    """Returns a sentence per genome and a table: its result on test data after `step` learning steps beside each baseline.

    A genome is ahead of a baseline if its lower quartile is above the other's upper one, behind if it is the other way round,
    else level; likewise beside chance, the accuracy of the commonest answer (of a regression R^2 of the mean).

    Args:
      tests: by the name of the genome.
      trained: by the name of the genome, how many steps it was trained through, where that is known.
    """
    found = {name: test.comparison([step]) for name, test in tests.items()}
    words = [_sentence(name, found[name], test, step, (trained or {}).get(name)) for name, test in tests.items() if found[name]]
    if not words:
        return Markup()
    several, rows = len(tests) > 1, sum(map(len, found.values()))
    lines = (_places if rows <= MOST_ROWS else _counts)(tests, found, several)
    note = "Median (quartiles) over seeds; each baseline at the setting and learning rate that was best on validation data."
    return joined([*map(paragraph, words), lines, remark(f"{note} {BY_QUARTILES}")])


def verdict_of(run: Run, name: str = GENOME) -> Markup:
    """Returns the verdict about the genome of a run, which it calls `name`; empty without a test."""
    steps = [row["step"] for row in run.transfer.rows if row["method"] == GENOME] if run.transfer else []
    if not run.transfer or not steps:
        return Markup()
    return verdict({name: run.transfer}, judged_step(steps, run.trained_steps), {name: run.trained_steps})


def _sentence(name: str, rows: list[Row], test: Transfer, step: int, trained: int | None) -> str:
    text = f"After {step} learning step{'s' * (step != 1)}"
    if trained is not None:
        text += ", as many as it was trained through," if trained == step else f" (trained through {trained})"
    text += f" {name if name != GENOME else 'the genome'} is"
    parts = []
    if judged := [standing(row["genome"], row["baseline"]) for row in rows if row["baseline"]]:
        parts.append(standings(judged, "the best baseline"))
    if beside := [words.split()[0] for row in rows if (words := _chance(row, test))]:
        parts.append(standings(beside, "chance"))
    score = score_name((row["task"] for row in rows), test.notes)
    medians = [row["genome"]["median"] for row in rows]
    low, high = (f"{end(medians):.3f}" for end in (min, max))
    reached = f"{score} on test data {low}" + (f" to {high}" if low != high else "")
    failed, runs = (sum(row["genome"][what] for row in rows) for what in ("failures", "seeds"))
    seeds = max(row["genome"]["seeds"] for row in rows)
    told = f"{'; '.join(parts)}: {reached}" if parts else f"at {reached}"
    return f"{text} {told}; {seeds} seed{'s' * (seeds != 1)}, {failed or 'none'} of {runs} runs failed."


def _chance(row: Row, test: Transfer) -> str:
    """Returns "above chance (0.103)", likewise "at" or "below"; "" where chance is not known."""
    chance = mapping(test.notes.get("chance")).get(row["task"])
    if not is_number(chance):
        return ""
    word = BESIDE_CHANCE[standing(row["genome"], {"low": chance, "high": chance})]
    return f"{word} chance ({chance:.3f})"


def _methods(tests: Mapping[str, Transfer]) -> tuple[list[str], dict[str, dict[tuple[Any, ...], Row]]]:
    """Returns the optimisers among the baselines, and by genome the best setting of each, see `best_settings`."""
    best = {name: best_settings(test.rows, test.chosen) for name, test in tests.items()}
    return list(dict.fromkeys(place[-1] for one in best.values() for place in one)), best


def _places(tests: Mapping[str, Transfer], found: Mapping[str, list[Row]], several: bool) -> Markup:
    """Returns a line per genome and place."""
    methods, best = _methods(tests)
    tasks = len({row["task"] for rows in found.values() for row in rows}) > 1
    table_rows = []
    for name, rows in found.items():
        for row in rows:
            place = row["topology"], row["task"], row["step"]
            others = [spread(best[name].get((*place, method))) for method in methods]
            beside = standing(row["genome"], row["baseline"]) if row["baseline"] else "-"
            beside += "" if row["difference"] is None else f" ({row['difference']:+.3f})"
            where = [*([name] if several else []), row["topology"], *([row["task"]] if tasks else [])]
            table_rows.append([*where, spread(row["genome"]), *others, beside, _chance(row, tests[name]) or "-"])
    head = [*(["genome"] if several else []), "topology", *(["task"] if tasks else [])]
    head.append("result" if several else next(iter(tests)))
    return table([*head, *methods, "beside the best", "beside chance"], table_rows)


def _counts(tests: Mapping[str, Transfer], found: Mapping[str, list[Row]], several: bool) -> Markup:
    """Returns a line per genome and baseline: in how many places it is ahead, level and behind."""
    methods, best = _methods(tests)
    lines = []
    for name, rows in found.items():
        above = [words for row in rows if (words := _chance(row, tests[name]))]
        chance = f"{sum(words.startswith('above') for words in above)} of {len(above)}" if above else "-"
        for method in methods or [""]:
            others = [best[name].get((row["topology"], row["task"], row["step"], method)) for row in rows]
            words = [standing(row["genome"], other) for row, other in zip(rows, others) if other]
            counts = [str(words.count(word)) if method else "-" for word in STANDINGS]
            failed = sum(row["genome"]["failures"] for row in rows)
            runs = sum(row["genome"]["seeds"] for row in rows)
            lines.append([name, method or "-", *counts, chance, f"{failed} of {runs}"])
    return table(["genome", "beside", *STANDINGS, "above chance", "failed runs"], lines)
