"""`write_comparison`: two runs on one page; `write_group_comparison`: any number, seeds as bands. Made from folders alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurograph.errors import ExperimentError, GenomeError
from neurograph.experiments.folder.catalog import SeedGroup, group_labels, rank_groups, validated_unlike
from neurograph.experiments.folder.reading import Run, flatten, mapping, read_run
from neurograph.experiments.transfer.results import GENOME, Row, aggregate, five_numbers, interval, spread
from neurograph.report.html import block, commands, details, drawing, escape, paragraph, table
from neurograph.report.run import genome
from neurograph.report.words import duration, environment_rows, facts, faults, finish, number, rerun_commands

if TYPE_CHECKING:
    from neurograph.genome import Comparison

__all__ = ["write_comparison", "write_group_comparison"]

ABSENT = "-"
MOST_DRAWN = 8  # groups in a figure: as many as it has colours


def write_comparison(first: Path | str, second: Path | str, path: Path | str | None = None) -> Path:
    """Writes a self-contained page about the runs of two folders and returns its path; nothing is run again.

    Args:
      first, second: run folders.
      path: where the page is written; default `compare-SECOND.html` in the first folder.

    Raises:
      ExperimentError: a folder that is missing or holds nothing of a run, the same folder twice, or a page that cannot
        be written.

    Examples:
      >>> import json, tempfile
      >>> from pathlib import Path
      >>> folders = [Path(tempfile.mkdtemp()) for _ in range(2)]
      >>> for folder, rate in zip(folders, (0.1, 0.2)):
      ...     _ = (folder / "config.yaml").write_text(json.dumps({"training": {"learning_rate": rate}}))
      >>> page = write_comparison(*folders)
      >>> "training.learning_rate" in page.read_text(encoding="utf-8")
      True
    """
    runs = [read_run(first), read_run(second)]
    if runs[0].folder.resolve() == runs[1].folder.resolve():
        raise ExperimentError(f"{first} and {second}: the same folder; expected two runs")
    names = _names(runs)
    path = runs[0].folder / f"compare-{runs[1].folder.resolve().name}.html" if path is None else Path(path)
    sections = {
        "Meta-training": _training(runs, names),
        "Transfer": _transfer(runs, names),
        "Genomes": _genomes(runs, names),
        "Differences of configuration": _differences([dict(flatten(run.config)) for run in runs], names, "config.yaml"),
        "Differences of environment": _differences(
            [dict(environment_rows(run.environment)) for run in runs], names, "environment.json"
        ),
        "How to rerun": commands([rerun_commands(run)[0] for run in runs]) if all(run.config for run in runs) else "",
    }
    top = block("", _facts(runs, names)) + faults(runs)
    return finish(path, f"{names[0]} and {names[1]}", top, sections)


def _names(runs: list[Run]) -> list[str]:
    """Returns the names of the runs: their folders, with as many parents as make them differ."""
    parts = [run.folder.resolve().parts for run in runs]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-count:]) for one in parts]
        if names[0] != names[1]:
            return names
    raise AssertionError("two different folders have different paths")


def _facts(runs: list[Run], names: list[str]) -> str:
    found = [{"experiment": run.title} | dict(facts(run)) for run in runs]
    keys = dict.fromkeys(key for one in found for key in one)
    return table(["", *names], [[key, *(one.get(key, ABSENT) for one in found)] for key in keys], wrap=True)


def _differences(values: list[dict[str, Any]], names: list[str], file: str) -> str:
    """Returns a table of the entries that are not the same in all."""
    lacking = [name for one, name in zip(values, names) if not one]
    lack = paragraph(f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no {file}.") if lacking else ""
    names = [name for one, name in zip(values, names) if one]
    values = [one for one in values if one]
    if len(values) < 2:  # nothing to compare it with
        return lack
    keys = dict.fromkeys(key for one in values for key in one)
    rows = [[key, *cells] for key in keys if len({*(cells := [_value(one, key) for one in values])}) > 1]
    same = f"{len(keys) - len(rows)} of {len(keys)} entries of {file} are the same in {'both' if len(values) == 2 else 'all'}."
    same += f" A dash: not in that {file}." if any(ABSENT in row for row in rows) else ""
    return lack + (table(["key", *names], rows, wrap=True) if rows else "") + paragraph(same)


def _value(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return ABSENT
    value = values[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _training(runs: list[Run], names: list[str]) -> str:
    from neurograph.report.figures.runs import comparison_figure

    known = [(name, run.records, run.validations, run.chosen) for name, run in zip(names, runs) if run.records]
    if not known:
        return paragraph("Neither folder has meta-steps in its metrics.jsonl.")
    caption = (
        "Query loss and accuracy; strong lines are the genomes that were chosen (of an evolution the median of the generation),"
        " pale ones the others, points validation data."
    )
    body = drawing(None, "training", comparison_figure(known), caption)
    methods = {run.method for run in runs}
    if len(methods) > 1:
        body += paragraph("The methods differ: a meta-step costs differently in each, so compare over time as well.")
    if all("seconds" in record for _, records, _, _ in known for record in records):
        text = "The same over the time of meta-training, each on the machine on which it ran."
        body += details("Over time", drawing(None, "time", comparison_figure(known, over="seconds"), text))
    return body


def _transfer(runs: list[Run], names: list[str]) -> str:
    from neurograph.report.figures.transfer import difference_map, rivals_figure

    tests = [run.transfer for run in runs]
    if any(test is None or not test.rows for test in tests):
        lacking = " and ".join(name for name, test in zip(names, tests) if test is None or not test.rows)
        return paragraph(f"No transfer test in {lacking}.")
    tables = [{(r["topology"], r["task"], r["step"]): r for r in test.comparison()} for test in tests if test]
    places = [list(dict.fromkeys((place[0], place[1]) for place in one)) for one in tables]
    common = [place for place in places[0] if place in places[1]]
    parts = []
    for name, mine in zip(names, places):
        alone = [place for place in mine if place not in common]
        if alone:
            parts.append(paragraph(f"Only {name} was tested on {', '.join(f'{topology} ({task})' for topology, task in alone)}."))
    if not common:
        return "".join(parts) + paragraph("The runs were tested on no topology and task in common.")
    unlike = _unlike_tests(runs)
    text = "Accuracy on test data; lines are medians, bands and brackets quartiles over seeds."
    if unlike:
        text += f" The tests differ in {', '.join(unlike)}: these are not the same batches, so small differences mean little."
    parts.append(paragraph(text))
    rows, cells = _side_by_side(runs, tables, common, paired=not unlike)
    if cells:
        caption = f"Median test accuracy of {names[1]}; below it and in colour, its difference to {names[0]}."
        figure = difference_map(cells, who=names[1], other=names[0])
        parts.append(drawing(None, "difference", figure, caption))
    known = [(name, test.rows, test.chosen) for name, test in zip(names, tests) if test]
    drawings = []
    for index, (topology, task) in enumerate(common):
        figure = rivals_figure(known, topology, task, chance=runs[0].chance(task))
        drawings.append(drawing(None, f"learning-{index}", figure, f"{task} on {topology}"))
    parts.append(f'<div class="grid">{"".join(drawings)}</div>')
    if rows:
        place = ["topology", *(["task"] if _several_tasks(common) else []), "steps"]
        ahead = [] if unlike else ["seeds ahead"]
        baselines = [f"best baseline, {name}" for name in names]
        if all(row[-1] == row[-2] for row in rows):  # of tests on the same batches
            baselines, rows = ["best baseline"], [row[:-1] for row in rows]
        parts.append(table([*place, *names, "difference", *ahead, *baselines], rows))
        parts.append(paragraph(f"Difference: the median of {names[1]} minus that of {names[0]}."))
        if ahead:
            text = f"Seeds ahead: in how many of the seeds that both were tested with {names[1]} has the higher accuracy."
            parts.append(paragraph(text))
    return "".join(parts)


def _several_tasks(places: list[tuple[str, str]]) -> bool:
    return len({task for _, task in places}) > 1


def _unlike_tests(runs: list[Run]) -> list[str]:
    """Returns the settings by which the batches of two transfer tests differ."""
    notes = [run.transfer.notes if run.transfer else {} for run in runs]
    found = [name.replace("_", " ") for name in ("seeds", "batch_size", "query_size") if notes[0].get(name) != notes[1].get(name)]
    sizes = [mapping(one.get("topologies")) for one in notes]
    found += [f"the graph called {name}" for name in sizes[0] if name in sizes[1] and sizes[0][name] != sizes[1][name]]
    return found + (["seed"] if runs[0].config.get("seed") != runs[1].config.get("seed") else [])


def _side_by_side(
    runs: list[Run], tables: list[dict[tuple[Any, ...], Row]], common: list[tuple[str, str]], *, paired: bool
) -> tuple[list[list[str]], list[Row]]:
    """Returns the rows of the table, and the same for `difference_map`: the second run's genome against the first's."""
    several, rows, cells = _several_tasks(common), [], []
    for place, first in tables[0].items():
        second = tables[1].get(place)
        if place[:2] not in common or second is None:
            continue
        difference = second["genome"]["median"] - first["genome"]["median"]
        ahead = [_ahead(runs, place)] if paired else []
        scores = [spread(first["genome"]), spread(second["genome"]), f"{difference:+.3f}"]
        where = [place[0], *([place[1]] if several else []), str(place[2])]
        rows.append([*where, *scores, *ahead, spread(first["baseline"]), spread(second["baseline"])])
        cells.append(second | {"baseline": first["genome"], "difference": difference})
    return rows, cells


def _ahead(runs: list[Run], place: tuple[Any, ...]) -> str:
    """Returns in how many of the common seeds the second run's genome has the higher accuracy."""
    scores = []
    for run in runs:
        rows = run.transfer.rows if run.transfer else ()
        mine = [r for r in rows if r["method"] == GENOME and (r["topology"], r["task"], r["step"]) == place]
        scores.append({row["seed"]: row["accuracy"] for row in mine if row["accuracy"] is not None})
    seeds = scores[0].keys() & scores[1].keys()
    return f"{sum(scores[1][seed] > scores[0][seed] for seed in seeds)} of {len(seeds)}"


def _genomes(runs: list[Run], names: list[str]) -> str:
    files = [run.genome for run in runs]
    if files[0] is None or files[1] is None:
        return paragraph("No genome that can be shown in " + " and ".join(n for n, f in zip(names, files) if f is None) + ".")
    from neurograph.genome import compare_genomes

    rules = [file.rule for file in files if file]
    rule = rules[0] if rules[0] == rules[1] else None
    parts = []
    if rule is None and all(rules):
        parts.append(
            paragraph("They learn under different rules:") + _differences([r.to_dict() for r in rules if r], names, "rule")
        )
    try:
        found = compare_genomes(files[0].genome, files[1].genome, rule)
        parts.append(_distances(found, names, files[0].genome, rule))
    except GenomeError as error:
        parts.append(paragraph(f"They cannot be compared array by array: {error}."))
    from neurograph.report.figures.genome import colour_limit

    limit = max(colour_limit(file.genome, file.rule) for file in files if file)  # one scale for both
    drawings = []
    for index, (run, name) in enumerate(zip(runs, names)):
        shown = genome(run, None, f"genome-{index}", limit=limit)
        drawings.append(f"<div><h3>{escape(name)}</h3>{shown}</div>")
    return "".join(parts) + f'<div class="grid">{"".join(drawings)}</div>'


def _distances(found: Comparison, names: list[str], like: Any, rule: Any) -> str:
    from neurograph.genome import Genome, LayeredGenome
    from neurograph.report.figures.genome import genome_picture

    renamed = found.permutation != tuple(range(len(found.permutation)))
    free = (
        "changes that alter no behaviour under their rule"
        if rule and not isinstance(like, LayeredGenome)
        else "the names of states (without a common rule, or with a genome per layer, nothing else is free)"
    )
    text = f"Distance {found.distance:.4g} ({found.relative:.1%} of the larger norm) apart from {free};"
    text += f" {found.unaligned:.4g} as they stand."
    if renamed:
        text += f" States 0, 1, ... of {names[0]} correspond to states {', '.join(map(str, found.permutation))} of {names[1]}."
    rows = [
        [name, f"{one['distance']:.4g}", f"{one['relative']:.1%}", f"{one['largest']:.4g}"] for name, one in found.arrays.items()
    ]
    body = paragraph(text) + table(["array", "distance", "relative", "largest entry"], rows)
    if isinstance(like, LayeredGenome):
        return body
    arrays: dict[str, Any] = {name: found.second[name] - value for name, value in found.first.items()}
    figure = genome_picture(Genome(**arrays), rule, narrow=True)
    form = (
        "both in canonical form (update gates multiplied into the matrices), states and channels aligned"
        if rule
        else "states aligned"
    )
    caption = f"{names[1]} minus {names[0]}, {form}."
    return body + drawing(None, "genome-difference", figure, caption)


# -- any number of runs ----------------------------------------------------------------------------------------------------------


def write_group_comparison(groups: Sequence[SeedGroup], path: Path | str) -> Path:
    """Writes a self-contained page about groups of runs, each the seeds of one setting, and returns its path.

    Of two runs in all the page is that of `write_comparison`, which compares their genomes as well.

    Args:
      groups: of `group_seeds`; the page has them in the order of their accuracy on validation data.
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
    sections = {
        "Meta-training": _bands(groups, runs, names),
        "Transfer": _transfer_bands(runs, names),
        "Genomes": _genome_files(groups, names),
        "Differences of configuration": _differences([group.settings for group in groups], names, "config.yaml"),
        "Differences of environment": _differences(environments, names, "environment.json"),
        "How to rerun": commands([rerun_commands(run)[0] for some in runs for run in some if run.config]),
    }
    every = [run for some in runs for run in some]
    title = f"{len(folders)} runs, {len(groups)} setting{'s' * (len(groups) > 1)}"
    return finish(Path(path), title, block("", _group_table(groups, runs, names)) + faults(every), sections)


def _group_table(groups: Sequence[SeedGroup], runs: Sequence[Sequence[Run]], names: Sequence[str]) -> str:
    rows = []
    for group, some, name in zip(groups, runs, names):
        states = [run.state for run in group.runs if run.state != "finished"]
        left = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        times = [run.seconds for run in group.runs if run.seconds is not None]
        tasks = dict.fromkeys(str(task) for run in some for task in mapping(run.summary).get("tasks") or ())
        steps = [str(step) for step in dict.fromkeys(run.step for run in group.runs)]
        cells = [name, ", ".join(tasks) or ABSENT, ", ".join(steps), str(len(group.runs)), _range(group.validation)]
        took = duration(five_numbers(times)["median"]) if times else ABSENT
        rows.append([*cells, _range(group.test), took, left or ABSENT])
    head = ["setting", "learned on", "meta-steps", "seeds", "validation accuracy", "test accuracy", "time", "not finished"]
    kept = [column for column in range(len(head)) if column < 5 or {row[column] for row in rows} != {ABSENT}]
    body = table([head[column] for column in kept], [[row[column] for column in kept] for row in rows])
    text = (
        "Median over the seeds of a setting (lowest to highest). A lost run, in which every genome diverged, counts with"
        " accuracy 0; a run that is not finished does not count."
    )
    unlike = validated_unlike(group.runs[0] for group in groups)
    if unlike:
        text += (
            f" The settings differ in {', '.join(unlike)}: validation does not measure the same in all of them, and neither do"
            " the query curves."
        )
    return body + paragraph(text)


def _range(row: Row | None) -> str:
    """Returns the median over seeds, and the lowest and highest where they are not the same; a dash for None."""
    if row is None or row["minimum"] == row["maximum"]:
        return number(row and row["median"])
    return interval(row, ("minimum", "maximum"))


def _bands(groups: Sequence[SeedGroup], runs: Sequence[Sequence[Run]], names: Sequence[str]) -> str:
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
    body = drawing(None, "bands", bands_figure(drawn), caption)
    if lacking:
        body += paragraph(f"No meta-steps in metrics.jsonl: {'; '.join(lacking)}.")
    if len(names) > MOST_DRAWN:
        body += paragraph(f"Drawn are the {MOST_DRAWN} settings that are best on validation data, of {len(names)}.")
    if len({group.runs[0].method for group in groups}) > 1:
        body += paragraph("The methods differ: a meta-step costs differently in each, so compare times as well.")
    return body


def _transfer_bands(runs: Sequence[Sequence[Run]], names: Sequence[str]) -> str:
    """Returns curves and a table over what at least two settings were tested on: medians of runs, lowest to highest seed."""
    from neurograph.report.figures.bands import curves, panels
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
        return "".join(parts)
    text = "Accuracy on test data: of each run the median over the seeds of its test; lines are medians over runs, bands and"
    text += " brackets go from the lowest run to the highest."
    if unlike := _tested_unlike([run for some in runs for run in some]):
        text += f" The tests differ in {', '.join(unlike)}, so small differences mean little."
    parts.append(paragraph(text))
    figure, axes = panels(len(places))
    for axis, ((topology, task), lines) in zip(axes, places.items()):
        drawn = {name: lines[name] for name in names[:MOST_DRAWN] if name in lines}
        curves(axis, drawn, title=f"{task} on {topology}")
    labels = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    legend_below(figure, [*labels.values()], [*labels])
    parts.append(drawing(None, "transfer-bands", figure, "Test accuracy over learning steps."))
    rows = []
    for (topology, task), lines in places.items():
        for step in sorted({row["step"] for line in lines.values() for row in line}):
            found = {name: row for name, line in lines.items() for row in line if row["step"] == step}
            cells = [_range(found.get(name)) for name in names]
            rows.append([topology, task, str(step), *cells])
    return "".join(parts) + table(["topology", "task", "steps", *names], rows)


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


def _genome_files(groups: Sequence[SeedGroup], names: Sequence[str]) -> str:
    best = [(name, group.best) for name, group in zip(names, groups)]
    rows = [[name, str(run.genome), number(run.seed), number(run.validation)] for name, run in best if run]
    if not rows:
        return paragraph("No run is finished with a genome.")
    text = "The best seed of each setting on validation data. Genomes are compared array by array two at a time:"
    first, second = ([row[1] for row in rows] * 2)[:2]
    body = table(["setting", "genome", "seed", "validation accuracy"], rows, wrap=True)
    return body + (paragraph(text) + commands([f"neurograph genome compare {first} {second}"]) if len(rows) > 1 else "")
