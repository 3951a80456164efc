"""`write_group_comparison`: any number of runs on one page, seeds as bands, made from their folders alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from neurograph.errors import ExperimentError
from neurograph.experiments.folder.catalog import SeedGroup, group_labels, rank_groups, validated_unlike
from neurograph.experiments.folder.reading import Run, mapping, read_run
from neurograph.experiments.transfer.results import GENOME, Row, aggregate, five_numbers, interval, score_text
from neurograph.learning.lost import lost_score
from neurograph.report.compare import ABSENT, differences, write_comparison
from neurograph.report.html import Markup, commands, drawing, joined, paragraph, table
from neurograph.report.verdict import verdict_of
from neurograph.report.words import duration, environment_rows, faults, finish, number, rerun_commands, score_of

__all__ = ["write_group_comparison"]

MOST_DRAWN = 8  # groups in a figure: as many as it has colours


def write_group_comparison(groups: Sequence[SeedGroup], path: Path | str) -> Path:
    """Writes a self-contained page about groups of runs, each the seeds of one setting, and returns its path.

    Of two runs in all the page is that of `write_comparison`, which compares their genomes as well.

    Args:
      groups: of `group_seeds`; the page has them in the order of their score on validation data.
      path: where the page is written.

    Raises:
      ExperimentError: fewer than two runs, or a page that cannot be written.
    """
    folders = [run.folder for group in groups for run in group.runs]
    if len(folders) < 2:
        raise ExperimentError(f"{', '.join(map(str, folders)) or 'nothing'}: expected at least two runs to compare")
    if len(folders) == 2:
        return write_comparison(folders[0], folders[1], path)
    groups = rank_groups(groups)
    runs = [[read_run(run.folder, genome=False) for run in group.runs if run.state != "not begun"] for group in groups]
    names = group_labels(groups)
    environments = [_environments(some) for some in runs]
    every = [run for some in runs for run in some]
    sections = faults(every) | {
        "Transfer": _transfer_bands(runs, names),
        "Meta-training": _bands(groups, runs, names),
        "Genomes": _genome_files(groups, names),
        "Differences of configuration": differences([group.settings for group in groups], names, "config.yaml"),
        "Differences of environment": differences(environments, names, "environment.json"),
        "How to rerun": commands([rerun_commands(run)[0] for some in runs for run in some if run.config]),
    }
    title = f"{len(folders)} runs, {len(groups)} setting{'s' * (len(groups) > 1)}"
    return finish(Path(path), title, _group_verdict(groups, runs, names), sections)


def _group_verdict(groups: Sequence[SeedGroup], runs: Sequence[Sequence[Run]], names: Sequence[str]) -> Markup:
    """Returns which setting is best on validation data, and a table of all."""
    rows = []
    for group, some, name in zip(groups, runs, names):
        states = [run.state for run in group.runs if run.state != "finished"]
        left = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        times = [run.seconds for run in group.runs if run.seconds is not None]
        tasks = dict.fromkeys(task for run in some for task in run.tasks)
        steps = [str(step) for step in dict.fromkeys(run.step for run in group.runs)]
        cells = [name, ", ".join(tasks) or ABSENT, ", ".join(steps), str(len(group.runs)), _range(group.validation)]
        took = duration(five_numbers(times)["median"]) if times else ABSENT
        rows.append([*cells, _range(group.test), took, left or ABSENT])
    score = _score(runs)
    head = ["setting", "learned on", "meta-steps", "seeds", f"validation {score}", f"test {score}", "time", "not finished"]
    kept = [column for column in range(len(head)) if column < 5 or {row[column] for row in rows} != {ABSENT}]
    body = table([head[column] for column in kept], [[row[column] for column in kept] for row in rows])
    text = (
        "Median over the seeds of a setting (lowest to highest). A lost run, in which every genome diverged, counts with"
        f" {_lost_words(runs)}; a run that is not finished does not count."
    )
    best = "No setting has a result on validation data yet."
    if judged := [(name, group) for name, group in zip(names, groups) if group.validation]:
        name, group = judged[0]  # the groups are ranked
        best = f"Best on validation data: {name}, {groups[0].runs[0].score} {_range(group.validation)}"
        best += f"; on test data {_range(group.test)}." if group.test else "; not judged on test data."
    unlike = validated_unlike(group.runs[0] for group in groups)
    if unlike:
        text += (
            f" The settings differ in {', '.join(unlike)}: validation does not measure the same in all of them, and neither do"
            " the query curves."
        )
    run = next((run for run in runs[0] if groups[0].best and run.folder == groups[0].best.folder), None)
    told = verdict_of(run, f"{names[0]} ({run.folder.name})") if run else ""
    return joined([paragraph(best), body, paragraph(text), told])


def _score(runs: Sequence[Sequence[Run]]) -> str:
    """Returns what the accuracies of all runs are called."""
    every = [run for some in runs for run in some]
    return score_of(every, [task for run in every for task in run.tasks])


def _lost_words(runs: Sequence[Sequence[Run]]) -> str:
    numbers = {bool(run.numbers) for some in runs for run in some} or {False}
    kinds = {False: f"accuracy {lost_score():g}", True: f"R^2 {score_text(lost_score(regression=True))}"}
    return " or ".join(words for kind, words in kinds.items() if kind in numbers)


def _range(row: Row | None) -> str:
    """Returns the median over seeds, and the lowest and highest where they are not the same; a dash for None."""
    if row is None or row["minimum"] == row["maximum"]:
        return score_text(row["median"] if row else None)
    return interval(row, ("minimum", "maximum"))


def _bands(groups: Sequence[SeedGroup], runs: Sequence[Sequence[Run]], names: Sequence[str]) -> Markup:
    from neurograph.report.figures.runs import bands_figure

    known = {name: [(run.records, run.validations, run.chosen) for run in some if run.records] for name, some in zip(names, runs)}
    lacking = [name for name, some in known.items() if not some]
    drawn = {name: some for name, some in list(known.items())[:MOST_DRAWN] if some}
    if not drawn:
        return paragraph("No folder has meta-steps in its metrics.jsonl.")
    caption = (
        "Median over the seeds; the band is from the lowest seed to the highest. A run counts with the genome that was chosen, or"
        " with the median of its genomes where none was (of an evolution that of the generation)."
    )
    ends = {name: {max(record["step"] for record in records) for records, _, _ in some} for name, some in drawn.items()}
    if uneven := [name for name, some in ends.items() if len(some) > 1]:
        caption += f" Not all seeds of {'; '.join(uneven)} got as far: bands end with fewer of them."
    parts = [drawing(None, "bands", bands_figure(drawn, score=_score(runs)), caption)]
    if lacking:
        parts.append(paragraph(f"No meta-steps in metrics.jsonl: {'; '.join(lacking)}."))
    if len(names) > MOST_DRAWN:
        parts.append(paragraph(f"Drawn are the {MOST_DRAWN} settings that are best on validation data, of {len(names)}."))
    if len({group.runs[0].method for group in groups}) > 1:
        parts.append(paragraph("The methods differ: a meta-step costs differently in each, so compare times as well."))
    return joined(parts)


def _transfer_bands(runs: Sequence[Sequence[Run]], names: Sequence[str]) -> Markup:
    """Returns curves and a table over what at least two settings were tested on: medians of runs, lowest to highest seed."""
    from neurograph.report.figures.bands import chance_line, curves, limit_scores, panels, trained_lines
    from neurograph.report.figures.style import legend_below

    places: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for some, name in zip(runs, names):
        medians: dict[tuple[str, str, int], list[float]] = {}
        for run in some:
            rows = [row for row in run.transfer.rows if row["method"] == GENOME] if run.transfer else []
            for entry in aggregate(rows):
                medians.setdefault((entry["topology"], entry["task"], entry["step"]), []).append(entry["median"])
        for (topology, task, step), values in medians.items():
            row = five_numbers(values)
            row |= {"step": step, "low": row["minimum"], "high": row["maximum"], "runs": len(values)}
            places.setdefault((topology, task), {}).setdefault(name, []).append(row)
    tested = {name for lines in places.values() for name in lines}
    if not tested:
        return paragraph("No run has a transfer test.")
    parts = []
    if lacking := [name for name in names if name not in tested]:
        parts.append(paragraph(f"No transfer test: {'; '.join(lacking)}."))
    if len(names) > 1:
        for place, lines in places.items():
            if len(lines) == 1:
                parts.append(paragraph(f"Only {next(iter(lines))} was tested on {place[0]} ({place[1]})."))
        places = {place: lines for place, lines in places.items() if len(lines) > 1}
    if not places:
        return joined(parts)
    every = [run for some in runs for run in some]
    tasks = [task for _, task in places]
    text = f"{score_of(every, tasks, capital=True)} on test data: of each run the median over the seeds of its test; lines are"
    text += " medians over runs, bands and brackets go from the lowest run to the highest."
    if unlike := _tested_unlike(every):
        text += f" The tests differ in {', '.join(unlike)}, so small differences mean little."
    parts.append(paragraph(text))
    figure, axes = panels(len(places), sharey="row")
    for axis, ((topology, task), lines) in zip(axes, places.items()):
        drawn = {name: lines[name] for name in names[:MOST_DRAWN] if name in lines}
        chance = next((level for run in every if (level := run.chance(task)) is not None), None)
        curves(axis, drawn, title=f"{task} on {topology}", ylabel=f"test {score_of(every, [task])}")
        chance_line(axis, chance, score_of(every, [task]))
        steps = sorted({row["step"] for line in drawn.values() for row in line})
        trained_lines(axis, {name: _trained(some) for name, some in zip(names, runs) if name in drawn}, steps)
    for row in {axis.get_subplotspec().rowspan.start for axis in axes}:
        limit_scores([axis for axis in axes if axis.get_subplotspec().rowspan.start == row])
    labels = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    legend_below(figure, [*labels.values()], [*labels])
    parts.append(drawing(None, "transfer-bands", figure, f"Test {score_of(every, tasks)} over learning steps."))
    rows = []
    for (topology, task), lines in places.items():
        for step in sorted({row["step"] for line in lines.values() for row in line}):
            found = {name: row for name, line in lines.items() for row in line if row["step"] == step}
            cells = [_range(found.get(name)) for name in names]
            rows.append([topology, task, str(step), *cells])
    return joined([*parts, table(["topology", "task", "steps", *names], rows)])


def _trained(runs: Sequence[Run]) -> int | None:
    """Returns through how many learning steps the runs were trained; None where that is unknown or not the same."""
    told = {run.trained_steps for run in runs}
    return told.pop() if len(told) == 1 else None


def _tested_unlike(runs: Sequence[Run]) -> list[str]:
    """Returns the settings by which the batches of transfer tests differ, but for the seed."""
    notes = [run.transfer.notes for run in runs if run.transfer]
    found = [
        key.replace("_", " ") for key in ("seeds", "batch_size", "query_size") if len({str(one.get(key)) for one in notes}) > 1
    ]
    sizes: dict[str, set[str]] = {}
    for one in notes:
        for name, size in mapping(one.get("topologies")).items():
            sizes.setdefault(name, set()).add(json.dumps(size, sort_keys=True))
    return found + [f"the graph called {name}" for name, some in sizes.items() if len(some) > 1]


def _environments(runs: Sequence[Run]) -> dict[str, str]:
    """Returns the environment of several runs: every value that an entry has in one of them."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in environment_rows(run.environment):
            found.setdefault(name, {})[value] = None
    return {name: " or ".join(values) for name, values in found.items()}


def _genome_files(groups: Sequence[SeedGroup], names: Sequence[str]) -> Markup:
    best = [(name, group.best) for name, group in zip(names, groups)]
    rows = [[name, str(run.genome), number(run.seed), score_text(run.validation)] for name, run in best if run]
    if not rows:
        return paragraph("No run is finished with a genome.")
    text = "The best seed of each setting on validation data. Genomes are compared array by array two at a time:"
    scores = dict.fromkeys(run.score for _, run in best if run)
    first, second = ([row[1] for row in rows] * 2)[:2]
    body = table(["setting", "genome", "seed", f"validation {' or '.join(scores)}"], rows, wrap=True)
    more = [paragraph(text), commands([f"neurograph genome compare {first} {second}"])] if len(rows) > 1 else []
    return joined([body, *more])
