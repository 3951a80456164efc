"""`neurograph transfer`: genomes x topologies x tasks, beside gradient descent on the same graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurograph.cli.options import (
    batch_option,
    data_dir_option,
    json_option,
    out_folder_option,
    print_json,
    query_option,
    renamed,
    runs_option,
    seed_option,
    topology_option,
    workers_option,
)
from neurograph.cli.stopping import on_stop
from neurograph.errors import ExperimentError

__all__ = ["transfer"]


@click.command(context_settings=renamed(seeds="runs", validation_seeds="validation-runs", batch_size="batch", query_size="query"))
@click.argument("words", metavar="GENOME... [TOPOLOGY...] [TASK...]", nargs=-1, required=True)
@topology_option("; repeatable, or with commas", "topologies", multiple=True)
@click.option("-k", "--task", "tasks", multiple=True, help="A task, with options in quotes ('mnist size=10'); repeatable.")
@click.option(
    "--steps",
    default="0,1,2,5,10,20,50",
    show_default=True,
    metavar="LIST",
    help="Learning steps after which accuracy is judged.",
)
@runs_option(5)
@seed_option
@click.option(
    "--baselines", default="sgd", show_default=True, metavar="LIST", help="none, or of sgd, momentum, adam with commas between."
)
@click.option("--validation-runs", type=click.IntRange(1), default=3, show_default=True, help="Runs by which rates are chosen.")
@click.option(
    "--search",
    type=click.Choice(["grid", "halving"]),
    default="grid",
    show_default=True,
    help="How rates are chosen: halving ends the worse half at each of --steps, in about half of the time.",
)
@batch_option
@query_option
@click.option(
    "--show",
    "shown",
    metavar="STEPS",
    help="Step counts of the table and (the first) of the heat map [default: 10 and the last].",
)
@data_dir_option
@out_folder_option("Folder of cells, tables, pictures, report.html.", default=Path("runs/transfer"), show_default=True)
@workers_option
@json_option
@click.option("--quiet", is_flag=True, help="No line per cell.")
def transfer(
    words: tuple[str, ...],
    topologies: tuple[str, ...],
    tasks: tuple[str, ...],
    steps: str,
    runs: int,
    seed: int,
    baselines: str,
    validation_runs: int,
    search: str,
    batch: int,
    query: int,
    shown: str | None,
    data_dir: str | None,
    out: Path,
    workers: int | str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Test every GENOME on every topology and task, beside gradient descent on the same graphs and batches.

    A GENOME is a file, a name of the zoo, or the word classics, which stands for the learning rules of the
    literature; a TOPOLOGY is a file, a shipped name or layer widths, a TASK a name (in quotes with its options).
    Topologies and tasks follow the genomes, or are given by options.

    Learning rates of the baselines are chosen on validation data for every graph and step count; the results come from test
    data, touched once. Finished cells are kept under --out and never computed twice: the same command continues a stopped run,
    and a larger one computes the new cells. Pairs of task and topology whose widths do not fit are listed, not run.

    \b
    neurograph transfer digits mlp residual connectome digits
    neurograph transfer digits --topology mlp,residual,connectome --task digits
    neurograph transfer digits runs/a/genome.json -t my.graphml -t ring -k digits --baselines sgd,adam --runs 10
    neurograph transfer digits -t my.yaml -k "mnist size=8 classes=0-4" --baselines none --steps 0,10,100
    neurograph transfer classics -t mlp -k digits
    """
    at, show = _numbers("--steps", steps), None if shown is None else _numbers("--show", shown)
    if missing := [step for step in show or () if step not in at]:
        raise ExperimentError(f"--show: {', '.join(map(str, missing))} not among --steps {steps}")
    optimizers = [] if baselines.strip() == "none" else [part.strip() for part in baselines.split(",")]
    from neurograph.cli.words import names_in, sort_words, task_words

    sources = sort_words(words, {"topology": bool(topologies), "task": bool(tasks)})
    sources["topology"] += [name for text in topologies for name in names_in(text)]
    sources["task"] += [name for text in tasks for name in names_in(text)]

    from neurograph.experiments.transfer.bundles import TaskSource
    from neurograph.workflows.objects import unused_name
    from neurograph.workflows.transfers import run_transfer

    named: dict[str, TaskSource] = {}
    for text in sources["task"]:
        named[unused_name(text, named)] = TaskSource(*task_words(text, data_dir=data_dir))
    last = ""

    def progress(text: str) -> None:
        nonlocal last
        last = text
        if not quiet:
            say(text)

    def say(text: str) -> None:
        click.echo(text, err=True)

    def where() -> str:
        return f"at {last or 'the first cell'}; finished cells are in {out / 'cells'}, and the same command goes on from there"

    numbers = {"steps": steps, "runs": runs, "seed": seed, "baselines": baselines, "validation-runs": validation_runs}
    numbers |= {"search": search, "batch": batch, "query": query, "show": shown, "data-dir": data_dir, "out": out}
    matrix, paths = run_transfer(
        sources["genome"],
        sources["topology"],
        named,
        out,
        at=at,
        seeds=runs,
        seed=seed,
        batch_size=batch,
        query_size=query,
        optimizers=optimizers,
        validation_seeds=validation_runs,
        search=search,
        workers=workers,
        notes={"shown": show, "command": _command(sources, numbers)},
        around=on_stop(where),
        say=say,
        progress=progress,
    )
    if as_json:
        cells = [cell for step in matrix.shown_steps() for cell in matrix.cells(step)]
        summary = matrix.summary()
        print_json({"cells": cells, "problems": list(matrix.problems), "summary": summary, "notes": matrix.notes})
        return
    import shutil

    click.echo(matrix.text(width=max(80, shutil.get_terminal_size((120, 20)).columns)))
    click.echo(click.wrap_text(matrix.summary(), 110))
    click.echo(f"\nwritten: {', '.join(path.name for path in paths)} in {out}")


def _command(sources: dict[str, list[str]], options: dict[str, Any]) -> str:
    """Returns the command line of the same test."""
    import shlex

    words = ["neurograph", "transfer", *sources["genome"]]
    for kind in ("topology", "task"):
        words += [word for name in sources[kind] for word in (f"--{kind}", name)]
    return shlex.join([*words, *(str(w) for name, value in options.items() if value is not None for w in (f"--{name}", value))])


def _numbers(option: str, text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise ExperimentError(f"{option}: got {text!r}; expected whole numbers with commas between, such as 0,10,50") from error
    if found[0] < 0:
        raise ExperimentError(f"{option}: got {text!r}; expected numbers >= 0")
    return found
