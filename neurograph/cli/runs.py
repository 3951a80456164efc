"""`neurograph runs list | show | best | compare`: what lies in folders of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurograph.cli.options import json_option, out_file_option, print_json

if TYPE_CHECKING:
    from neurograph.experiments.folder.catalog import RunSummary, SeedGroup

__all__ = ["runs"]

MOST_SHOWN = 40  # settings that `show` lists one by one

folders_argument = click.argument("folders", nargs=-1, required=True, metavar="FOLDER...", type=click.Path(path_type=Path))
where_option = click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only runs whose setting, or column, has this value; also !=, <, <=, > and >= (quote these); repeatable.",
)
depth_option = click.option(
    "--depth", type=click.IntRange(0), default=4, show_default=True, help="Folders below each FOLDER that are searched."
)


@click.group()
def runs() -> None:
    """Look at runs: those that meta-train, evolve, sweep and reproduce leave in FOLDERs and below. Nothing is computed again.

    \b
    neurograph runs list runs
    neurograph runs show runs/digits
    neurograph runs best runs/digits-sweep
    neurograph runs compare runs/digits-sweep --out sweep.html
    """


@runs.command("list")
@folders_argument
@where_option
@click.option("--sort", "order", metavar="KEY", help="By a column (validation, test: best first) or a setting [default: folder].")
@click.option("--reverse", is_flag=True, help="The other way round.")
@depth_option
@json_option
def list_(
    folders: tuple[Path, ...], conditions: tuple[str, ...], order: str | None, reverse: bool, depth: int, as_json: bool
) -> None:
    """List the runs in FOLDERs: how far each got, what it reached, and the settings that are not the same in all runs of its
    experiment.

    A run is finished, running (a process holds its folder), stopped (--resume goes on), lost (every genome diverged) or not
    begun. Accuracies (of regressions R^2) are means over problems: on validation data of the chosen genome, or of the best one so
    far; on test data after the most steps of the final test. Settings that change no run are left out: its final test, devices,
    event files.

    KEY is a column (folder, name, method, state, seed, step, steps, score, validation, test, seconds), a setting such as
    training.learning_rate, or its last words.

    \b
    neurograph runs list runs
    neurograph runs list runs --sort validation
    neurograph runs list runs --where training.learning_rate=0.01 --where 'validation>0.8'
    neurograph runs list runs --where state!=finished
    """
    from neurograph.experiments.folder.catalog import differing_settings, sort_runs

    found = _selected(folders, conditions, depth)
    found = sort_runs(found, order or "folder", reverse=reverse)
    if as_json:
        print_json({"differing": differing_settings(found), "runs": [run.to_dict() for run in found]})
        return
    click.echo(f"{_count(len(found), 'run')} in {_where(folders)}{_alike(found)}")
    names: Column = ("run", "left", [_name(run.folder, folders) for run in found])
    _print_table([names, *_naming_columns(found)], found, _result_columns(found), but=("training.meta_steps",))
    for run in found:
        for text in run.missing:
            click.echo(f"{_name(run.folder, folders)}: {text}", err=True)


@runs.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def show(run: Path, as_json: bool) -> None:
    """Show one run on a screen: how far it is, what it reached, its settings beside those of the shipped experiment of its name,
    or beside the defaults, and where it ran.

    \b
    neurograph runs show runs/digits
    neurograph runs show runs/digits-sweep/seed=3 --json
    """
    from neurograph.errors import ExperimentError
    from neurograph.experiments.folder.catalog import find_runs, setting_text, settings_beside, short_names, summarize_run

    try:
        found = summarize_run(run)
    except ExperimentError:
        if not run.is_dir():
            raise
        below = find_runs(run)
        names = ", ".join(str(one.folder) for one in below[:3]) + (", ..." if len(below) > 3 else "")
        raise ExperimentError(f"{run}: holds {_count(len(below), 'run')}; expected one of them: {names}") from None
    base, changed = settings_beside(found)
    if as_json:
        print_json(found.to_dict() | {"beside": base, "changed": {key: list(pair) for key, pair in changed.items()}})
        return
    _print_pairs(_facts(found))
    click.echo(f"\nsettings that are not those of {base}:" if changed else f"\nsettings: those of {base}")
    pairs = [(key, f"{setting_text(ours)}  ({setting_text(theirs)})") for key, (ours, theirs) in changed.items()]
    _print_pairs(pairs[:MOST_SHOWN], indent=2)
    if len(pairs) > MOST_SHOWN:
        click.echo(f"  ... and {len(pairs) - MOST_SHOWN} more: {', '.join(short_names([*changed])[MOST_SHOWN:])}")
    if environment := _environment(run):
        click.echo("\nenvironment:")
        _print_pairs(environment, indent=2)
    for text in found.missing:
        click.echo(f"{run}: {text}", err=True)


@runs.command()
@folders_argument
@where_option
@depth_option
@json_option
def best(folders: tuple[Path, ...], conditions: tuple[str, ...], depth: int, as_json: bool) -> None:
    """Rank the settings in FOLDERs by accuracy (of regressions R^2) on validation data, and name the genome of the best.

    Runs that differ in their seed alone are one row: median, lowest and highest over the seeds. A lost run counts with accuracy
    0, of a regression with R^2 -1e+05; what is not finished does not count, and is told. Test data decide nothing.

    \b
    neurograph runs best runs/digits-sweep
    neurograph transfer $(neurograph runs best runs/digits-sweep --json | jq -r .genome) -t residual -k digits
    """
    from neurograph.errors import ExperimentError
    from neurograph.experiments.folder.catalog import differing_settings, group_seeds, rank_groups, validated_unlike
    from neurograph.experiments.transfer.results import score_text

    found = _selected(folders, conditions, depth)
    groups = rank_groups(group_seeds(found))
    first = groups[0].best
    if first is None:
        raise ExperimentError(f"{_where(folders)}: {_count(len(found), 'run')}, none of them finished with a genome")
    for group in groups:
        for repeat in group.repeats:
            click.echo(f"{_name(repeat.folder, folders)}: same settings and seed as another run, not counted", err=True)
    if unlike := validated_unlike(group.runs[0] for group in groups if group.validation):
        keys = ", ".join(unlike[:4]) + (", ..." if len(unlike) > 4 else "")
        click.echo(f"validation does not measure the same in all of them ({keys} differ); --where selects", err=True)
    if as_json:
        ranking = {"differing": differing_settings(found), "groups": [group.to_dict() for group in groups]}
        print_json({"genome": str(first.genome), "run": first.to_dict()} | ranking)
        return
    click.echo(f"{_count(len(found), 'run')}, {_count(len(groups), 'setting')} in {_where(folders)}{_alike(found)}")
    firsts = [group.runs[0] for group in groups]
    _print_table(_naming_columns(firsts), firsts, _group_results(groups))
    reached = f"{first.score} {score_text(first.validation)} on validation data"
    click.echo(f"best: {first.genome} (seed {first.seed}, {reached})")


@runs.command()
@folders_argument
@where_option
@depth_option
@out_file_option("The page [default: compare.html in the first FOLDER].")
@json_option
def compare(folders: tuple[Path, ...], conditions: tuple[str, ...], depth: int, out: Path | None, as_json: bool) -> None:
    """Write a page that compares the runs in FOLDERs: seeds as bands, settings that differ, results side by side.

    \b
    neurograph runs compare runs/digits-sweep
    neurograph runs compare runs/a runs/b runs/c --out abc.html
    """
    import os
    import sys

    if "jax" not in sys.modules:  # pictures need no accelerator, and a run that goes on may have all of its memory
        os.environ["JAX_PLATFORMS"] = "cpu"
    from neurograph.experiments.folder.catalog import group_seeds
    from neurograph.report.groups import write_group_comparison

    groups = group_seeds(_selected(folders, conditions, depth))
    path = write_group_comparison(groups, out or folders[0] / "compare.html")
    if as_json:
        print_json({"report": str(path), "groups": [group.to_dict() for group in groups]})
    else:
        click.echo(f"report: {path}")


# -- words and tables ------------------------------------------------------------------------------------------------------------


def _selected(folders: Sequence[Path], conditions: Sequence[str], depth: int) -> list[RunSummary]:
    from neurograph.errors import ExperimentError
    from neurograph.experiments.folder.catalog import find_runs, select_runs

    found = find_runs(*folders, depth=depth)
    chosen = select_runs(found, conditions)
    if not chosen:
        raise ExperimentError(f"--where {', '.join(conditions)}: none of the {_count(len(found), 'run')} in {_where(folders)}")
    return chosen


def _where(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders[:3])) + (", ..." if len(folders) > 3 else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _name(folder: Path, folders: Sequence[Path]) -> str:
    """Returns a folder as it is shown: below the only FOLDER without that."""
    if len(folders) == 1 and folder != folders[0]:
        return str(folder.relative_to(folders[0]))
    return str(folder)


def _alike(found: Sequence[RunSummary]) -> str:
    """Returns what is the same in all runs and has no column of its own."""
    names, methods = {run.name for run in found}, {run.method for run in found}
    return (f"; experiment {names.pop()}" if len(names) == 1 else "") + (
        f"; method {methods.pop()}" if len(methods) == 1 and "" not in methods else ""
    )


Column = tuple[str, str, list[str]]  # head, side, cells; columns at the left side may be folded


def _naming_columns(found: Sequence[RunSummary]) -> list[Column]:
    columns = [
        ("experiment", [run.name for run in found]),
        ("method", [run.method or "-" for run in found]),
        ("score", [run.score for run in found]),
    ]
    return [(head, "left", cells) for head, cells in columns if len({*cells}) > 1]


def _result_columns(found: Sequence[RunSummary]) -> list[Column]:
    from neurograph.experiments.transfer.results import score_text
    from neurograph.report.words import duration

    columns: list[Column] = [
        ("seed", "right", ["-" if run.seed is None else str(run.seed) for run in found]),
        ("steps", "right", [f"{run.step}/{'-' if run.steps is None else run.steps}" for run in found]),
        ("state", "center", [run.state for run in found]),
        (_with_score("validation", found), "right", [score_text(run.validation) for run in found]),
        (_with_score("test", found), "right", [score_text(run.test) for run in found]),
        ("time", "right", ["-" if run.seconds is None else duration(run.seconds) for run in found]),
    ]
    return [column for column in columns if not column[0].startswith("test") or {*column[2]} != {"-"}]


def _with_score(head: str, found: Sequence[RunSummary]) -> str:
    """Returns the head of a column of scores: with their name, where all have the same and it is not accuracy."""
    scores = {run.score for run in found}
    return f"{head}\n{scores.pop()}" if len(scores) == 1 and scores != {"accuracy"} else head


def _group_results(groups: Sequence[SeedGroup]) -> list[Column]:
    from neurograph.experiments.transfer.results import interval, score_text

    def spread(row: Any) -> str:
        if row is None or row["minimum"] == row["maximum"]:
            return score_text(row and row["median"])
        return interval(row, ("minimum", "maximum"))

    def without_result(group: SeedGroup) -> str:
        states = [run.state for run in group.runs if run.state != "finished"]
        return "\n".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))

    firsts = [group.runs[0] for group in groups]
    columns: list[Column] = [
        ("seeds", "right", [str(len(group.runs)) for group in groups]),
        (
            f"{_with_score('validation', firsts)}\nmedian (lowest-highest)",
            "right",
            [spread(group.validation) for group in groups],
        ),
        (_with_score("test", firsts), "right", [spread(group.test) for group in groups]),
        ("not\nfinished", "center", [without_result(group) for group in groups]),
    ]
    return [column for column in columns if not column[0].startswith(("test", "not")) or {*column[2]} - {"-", ""}]


def _print_table(before: list[Column], found: Sequence[RunSummary], after: list[Column], *, but: Sequence[str] = ()) -> None:
    """Prints columns, and between them the settings that differ within an experiment, `but` those that another column tells.

    Where the terminal has less room, heads have several lines; where it has even less, names and settings are one column.
    """
    from rich.console import Console

    from neurograph.experiments.folder.catalog import own_settings, setting_text, short_names

    own = [[key for key in some if key not in but] for some in own_settings(found)]
    keys = list(dict.fromkeys(key for some in own for key in some))
    names = dict(zip(keys, short_names(keys)))
    columns = [(names[key], [setting_text(run.settings.get(key)) for run in found]) for key in keys]
    settings = [[f"{names[key]} {setting_text(run.settings.get(key))}" for key in some] for run, some in zip(found, own)]
    head, *words = [cells for _, _, cells in before] or [[""] * len(found)]
    joined = [
        "\n  ".join(part for part in (head[row], ", ".join(cells[row] for cells in words), *settings[row]) if part)
        for row in range(len(found))
    ]
    forms: list[list[Column]] = [
        [*before, *((name, "left", cells) for name, cells in columns)],
        [*before, *((name.replace("_", "_\n"), "left", cells) for name, cells in columns)],
        [(before[0][0] if before else "settings", "left", joined)],
    ]
    console = Console(highlight=False)
    room = console.options.update(max_width=10_000)
    tables = [_table([*form, *after]) for form in forms]
    console.print(next((table for table in tables if console.measure(table, options=room).maximum <= console.width), tables[-1]))


def _table(columns: Sequence[Column]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head, side, _ in columns:
        table.add_column(head, justify="right" if side == "right" else "left", overflow="fold", no_wrap=side != "left")
    for row in zip(*(cells for _, _, cells in columns)):
        table.add_row(*map(Text, row))
    return table


def _facts(run: RunSummary) -> list[tuple[str, str]]:
    from neurograph.experiments.transfer.results import score_text
    from neurograph.report.words import duration

    steps = f"{run.step} of {'an unknown number' if run.steps is None else run.steps} meta-steps"
    tasks = [value for key, value in run.settings.items() if key.startswith("problems[") and key.endswith("].task")]
    graphs = [str(value) for key, value in run.settings.items() if key.startswith("problems[") and key.endswith("].topology")]
    facts = [
        ("run", str(run.folder)),
        ("experiment", run.name),
        ("method", run.method),
        ("state", run.state + (f" by {run.holder}" if run.holder else "")),
        ("progress", steps + ("" if run.seconds is None else f" in {duration(run.seconds)}")),
        ("learns", ", ".join(dict.fromkeys(map(str, tasks)))),
        ("topologies", ", ".join(dict.fromkeys(graphs))),
        ("seed", "" if run.seed is None else str(run.seed)),
        (
            "validation",
            f"{run.score} {score_text(run.validation)}" + (" (best so far)" if run.state in ("running", "stopped") else ""),
        ),
        ("test", "" if run.test is None else f"{run.score} {score_text(run.test)}"),
        ("genome", "" if run.genome is None else str(run.genome)),
    ]
    if run.state == "stopped":
        facts.append(("goes on by", f"neurograph meta-train {run.folder / 'config.yaml'} --out {run.folder} --resume"))
    return [(name, text) for name, text in facts if text]


def _environment(folder: Path) -> list[tuple[str, str]]:
    from neurograph.experiments.folder.reading import FILES, read_run
    from neurograph.report.words import environment_rows

    if not any((folder / name).is_file() for name in FILES):
        return []
    rows = environment_rows(read_run(folder, genome=False).environment)
    return [(name, text) for name, text in rows if text != "not installed"]


def _print_pairs(pairs: Sequence[tuple[str, str]], indent: int = 0) -> None:
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        click.echo(f"{'':{indent}}{name:<{width}}  {text}")
