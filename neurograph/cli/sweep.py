"""`neurograph sweep`: an experiment over a grid of its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurograph.cli.options import (
    allow_changes_option,
    data_sets_option,
    json_option,
    out_folder_option,
    print_json,
    set_option,
    workers_option,
)
from neurograph.cli.stopping import on_stop

__all__ = ["print_points", "run_points", "sweep"]


@click.command()
@click.argument("experiment")
@click.option("--grid", "axes", multiple=True, required=True, metavar="KEY=VALUES", help="Values of one place; repeatable.")
@set_option("Override one value at all points")
@out_folder_option("Folder of all runs [default: runs/NAME-sweep].")
@workers_option
@data_sets_option
@allow_changes_option
@json_option
def sweep(
    experiment: str,
    axes: tuple[str, ...],
    overrides: tuple[str, ...],
    out: Path | None,
    workers: Any,
    allow_changes: bool,
    as_json: bool,
) -> None:
    """Meta-learn as EXPERIMENT says at every point of a grid, and compare the results on validation data.

    VALUES are given with commas between, or for whole numbers as FIRST:END, without the end. Every run has a folder of its own
    under --out; the table is there as sweep.csv. What is finished is not computed again: the same command goes on, and a larger
    grid adds its points. Test data are not touched: that is for the genome that you choose (neurograph transfer).

    \b
    neurograph sweep my.yaml --grid training.learning_rate=0.01,0.02 --grid seed=0:5 --workers 4
    neurograph sweep digits --grid unroll.steps=5,10,20 --set training.meta_steps=50
    neurograph sweep my.yaml --grid seed=0:100 --workers tcp://node1:8786 --out /shared/runs/seeds
    """
    from neurograph.experiments.spec import load_experiment
    from neurograph.experiments.sweep import parse_axis, plan_sweep

    name = load_experiment(experiment, overrides).name
    folder = out or Path("runs") / f"{name}-sweep"
    points = plan_sweep(experiment, [parse_axis(text) for text in axes], folder, overrides=overrides, allow_changes=allow_changes)
    rows = run_points(points, folder, workers)
    if as_json:
        print_json({"axes": list(points[0].values), "rows": rows})
    else:
        print_points(points, rows, folder)


def run_points(points: list[Any], folder: Path, workers: Any) -> list[dict[str, Any]]:
    """Does the runs of points, writes their table to sweep.csv, and returns its rows.

    Raises:
      ExperimentError: see `train_all`; or no run has a result.
    """
    from neurograph.experiments.folder.lock import locked
    from neurograph.experiments.runs import train_all
    from neurograph.experiments.sweep import sweep_rows
    from neurograph.experiments.transfer.results import csv_text
    from neurograph.experiments.workers import make_executor
    from neurograph.files import write_atomically

    def say(text: str) -> None:
        click.echo(text, err=True)

    def where() -> str:
        done = sum(point.run.finished for point in points)
        return f"after {done} of {len(points)} runs; what is in {folder} is kept, and the same command goes on from there"

    todo = sum(not point.run.finished for point in points)
    say(f"{len(points)} runs in {folder}, {todo} of them to do")
    with on_stop(where), locked(folder):
        failed: dict[str, str] = {}
        if todo:
            with make_executor(workers, say) as executor:
                failed = train_all([point.run for point in points], executor, say)
        rows = sweep_rows(points, failed)
        write_atomically(folder / "sweep.csv", csv_text(list(rows[0]), rows))
    for name, why in failed.items():
        say(f"not done: {name}: {why}")
    return rows


def print_points(points: list[Any], rows: list[dict[str, Any]], folder: Path) -> None:
    """Prints the table of a sweep."""
    from rich.console import Console

    from neurograph.experiments.sweep import sweep_table

    Console(highlight=False).print(sweep_table(rows, list(points[0].values)))
    click.echo(f"written: sweep.csv in {folder}")
