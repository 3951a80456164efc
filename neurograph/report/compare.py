"""`write_comparison`: two runs on one page, made from their folders alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurograph.errors import ExperimentError, GenomeError
from neurograph.experiments.folder.reading import Run, flatten, mapping, read_run
from neurograph.experiments.transfer.results import (
    GENOME,
    Row,
    spread,
    standing,
)
from neurograph.report.html import Markup, commands, details, drawing, grid, joined, paragraph, table, titled
from neurograph.report.run import genome
from neurograph.report.verdict import judged_step, verdict
from neurograph.report.words import environment_rows, facts, faults, finish, rerun_commands, score_of

if TYPE_CHECKING:
    from neurograph.genome import Comparison

__all__ = ["ABSENT", "differences", "write_comparison"]

ABSENT = "-"


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
    sections = faults(runs) | {
        "Transfer": _transfer(runs, names),
        "Meta-training": _training(runs, names),
        "Genomes": _genomes(runs, names),
        "Facts": _facts(runs, names),
        "Differences of configuration": differences([dict(flatten(run.config)) for run in runs], names, "config.yaml"),
        "Differences of environment": differences(
            [dict(environment_rows(run.environment)) for run in runs], names, "environment.json"
        ),
        "How to rerun": commands([rerun_commands(run)[0] for run in runs]) if all(run.config for run in runs) else Markup(),
    }
    return finish(path, f"{names[0]} and {names[1]}", _verdict(runs, names), sections)


def _names(runs: list[Run]) -> list[str]:
    """Returns the names of the runs: their folders, with as many parents as make them differ."""
    parts = [run.folder.resolve().parts for run in runs]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-count:]) for one in parts]
        if names[0] != names[1]:
            return names
    raise AssertionError("two different folders have different paths")


def _verdict(runs: list[Run], names: list[str]) -> Markup:
    """Returns where the second run stands beside the first on test data, and both beside the baselines and chance."""
    tests = {name: run.transfer for name, run in zip(names, runs) if run.transfer}
    steps = [{row["step"] for row in test.rows if row["method"] == GENOME} for test in tests.values()]
    if len(tests) < 2 or not (common := steps[0] & steps[1]):
        return paragraph(f"{names[0]} and {names[1]} have no test on test data in common.")
    trained = {name: run.trained_steps for name, run in zip(names, runs)}
    step = judged_step(sorted(common), trained[names[1]])
    first, second = (
        {(row["topology"], row["task"]): row["genome"] for row in test.comparison([step])} for test in tests.values()
    )
    found = [standing(entry, first[place]) for place, entry in second.items() if place in first]
    text = f"{names[1]} beside {names[0]}, on test data after {step} learning step{'s' * (step != 1)}: "
    text += ", ".join(f"{word} in {found.count(word)}" for word in ("ahead", "level", "behind"))
    text += f" of {len(found)} place{'s' * (len(found) != 1)}."
    return joined([paragraph(text), verdict(tests, step, trained)])


def _facts(runs: list[Run], names: list[str]) -> Markup:
    found = [{"experiment": run.title} | dict(facts(run)) for run in runs]
    keys = dict.fromkeys(key for one in found for key in one)
    return table(["", *names], [[key, *(one.get(key, ABSENT) for one in found)] for key in keys], wrap=True)


def differences(values: list[dict[str, Any]], names: list[str], file: str) -> Markup:
    """Returns a table of the entries that are not the same in all."""
    lacking = [name for one, name in zip(values, names) if not one]
    lack = paragraph(f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no {file}.") if lacking else Markup()
    names = [name for one, name in zip(values, names) if one]
    values = [one for one in values if one]
    if len(values) < 2:  # nothing to compare it with
        return lack
    keys = dict.fromkeys(key for one in values for key in one)
    rows = [[key, *cells] for key in keys if len({*(cells := [_value(one, key) for one in values])}) > 1]
    same = f"{len(keys) - len(rows)} of {len(keys)} entries of {file} are the same in {'both' if len(values) == 2 else 'all'}."
    same += f" A dash: not in that {file}." if any(ABSENT in row for row in rows) else ""
    return joined([lack, table(["key", *names], rows, wrap=True) if rows else "", paragraph(same)])


def _value(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return ABSENT
    value = values[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _training(runs: list[Run], names: list[str]) -> Markup:
    from neurograph.report.figures.runs import comparison_figure

    known = [(name, run.records, run.validations, run.chosen) for name, run in zip(names, runs) if run.records]
    if not known:
        return paragraph("Neither folder has meta-steps in its metrics.jsonl.")
    score = score_of(runs, [task for run in runs for task in run.tasks])
    caption = (
        f"Query loss and {score}; strong lines are the genomes that were chosen (of an evolution the median of the generation),"
        " pale ones the others, points validation data."
    )
    parts = [drawing(None, "training", comparison_figure(known, score=score), caption)]
    methods = {run.method for run in runs}
    if len(methods) > 1:
        parts.append(paragraph("The methods differ: a meta-step costs differently in each, so compare over time as well."))
    if all("seconds" in record for _, records, _, _ in known for record in records):
        text = "The same over the time of meta-training, each on the machine on which it ran."
        parts.append(details("Over time", drawing(None, "time", comparison_figure(known, over="seconds", score=score), text)))
    return joined(parts)


def _transfer(runs: list[Run], names: list[str]) -> Markup:
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
        return joined([*parts, paragraph("The runs were tested on no topology and task in common.")])
    unlike, tasks = _unlike_tests(runs), [task for _, task in common]
    score = score_of(runs, tasks)
    text = f"{score_of(runs, tasks, capital=True)} on test data; lines are medians, bands and brackets quartiles over seeds."
    if unlike:
        text += f" The tests differ in {', '.join(unlike)}: these are not the same batches, so small differences mean little."
    parts.append(paragraph(text))
    rows, cells = _side_by_side(runs, tables, common, paired=not unlike)
    if cells:
        caption = f"Median test {score} of {names[1]}; below it and in colour, its difference to {names[0]}."
        figure = difference_map(cells, who=names[1], other=names[0], score=score)
        parts.append(drawing(None, "difference", figure, caption))
    known = [(name, test.rows, test.chosen) for name, test in zip(names, tests) if test]
    drawings = []
    for index, (topology, task) in enumerate(common):
        told: dict[str, Any] = {"chance": runs[0].chance(task), "score": score_of(runs, [task])}
        figure = rivals_figure(known, topology, task, trained=dict(zip(names, (run.trained_steps for run in runs))), **told)
        drawings.append(drawing(None, f"learning-{index}", figure, f"{task} on {topology}"))
    parts.append(grid(drawings))
    if rows:
        place = ["topology", *(["task"] if _several_tasks(common) else []), "steps"]
        ahead = [] if unlike else ["seeds ahead"]
        baselines = [f"best baseline, {name}" for name in names]
        if all(row[-1] == row[-2] for row in rows):  # of tests on the same batches
            baselines, rows = ["best baseline"], [row[:-1] for row in rows]
        parts.append(table([*place, *names, "difference", *ahead, *baselines], rows))
        parts.append(paragraph(f"Difference: the median of {names[1]} minus that of {names[0]}."))
        if ahead:
            text = f"Seeds ahead: in how many of the seeds that both were tested with {names[1]} has the higher {score}."
            parts.append(paragraph(text))
    return joined(parts)


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
    """Returns in how many of the common seeds the second run's genome has the higher score."""
    scores = []
    for run in runs:
        rows = run.transfer.rows if run.transfer else ()
        mine = [r for r in rows if r["method"] == GENOME and (r["topology"], r["task"], r["step"]) == place]
        scores.append({row["seed"]: row["accuracy"] for row in mine if row["accuracy"] is not None})
    seeds = scores[0].keys() & scores[1].keys()
    return f"{sum(scores[1][seed] > scores[0][seed] for seed in seeds)} of {len(seeds)}"


def _genomes(runs: list[Run], names: list[str]) -> Markup:
    files = [run.genome for run in runs]
    if files[0] is None or files[1] is None:
        return paragraph("No genome that can be shown in " + " and ".join(n for n, f in zip(names, files) if f is None) + ".")
    from neurograph.genome import compare_genomes

    rules = [file.rule for file in files if file]
    rule = rules[0] if rules[0] == rules[1] else None
    parts = []
    if rule is None and all(rules):
        parts += [paragraph("They learn under different rules:"), differences([r.to_dict() for r in rules if r], names, "rule")]
    from neurograph.report.figures.genome import colour_limit

    limit = max(colour_limit(file.genome, file.rule) for file in files if file)  # one scale for both, and for their difference
    try:
        found = compare_genomes(files[0].genome, files[1].genome, rule)
        parts.append(_distances(found, names, files[0].genome, rule, limit))
    except GenomeError as error:
        parts.append(paragraph(f"They cannot be compared array by array: {error}."))
    drawings = []
    for index, (run, name) in enumerate(zip(runs, names)):
        shown = genome(run, None, f"genome-{index}", limit=limit)
        drawings.append(titled(name, shown))
    return joined([*parts, grid(drawings)])


def _distances(found: Comparison, names: list[str], like: Any, rule: Any, limit: float) -> Markup:
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
    body = joined([paragraph(text), table(["array", "distance", "relative", "largest entry"], rows)])
    if isinstance(like, LayeredGenome):
        return body
    arrays: dict[str, Any] = {name: found.second[name] - value for name, value in found.first.items()}
    figure = genome_picture(Genome(**arrays), rule, narrow=True, limit=limit)
    form = (
        "both in canonical form (update gates multiplied into the matrices), states and channels aligned"
        if rule
        else "states aligned"
    )
    caption = f"{names[1]} minus {names[0]}, {form}."
    return body + drawing(None, "genome-difference", figure, caption)
