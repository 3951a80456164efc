"""`neurograph meta-train`, `evolve` and `quickstart`: from an experiment to a run folder with a genome and a report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurograph.cli.options import (
    allow_changes_option,
    data_sets_option,
    json_option,
    out_folder_option,
    own_workers,
    print_json,
    renamed,
    resume_option,
    runs_option,
    set_option,
    workers_option,
)
from neurograph.experiments.loggers import LOGGERS

if TYPE_CHECKING:
    from neurograph.experiments.spec import ExperimentSpec


def _run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that `meta-train` and `evolve` share."""
    for option in (
        json_option,
        click.option("--tensorboard", is_flag=True, help="The same as --logger tensorboard."),
        click.option(
            "--logger",
            "loggers",
            multiple=True,
            type=click.Choice([*LOGGERS]),
            help="Write the metrics there too, in the run folder (W&B offline). Can be given again.",
        ),
        click.option("--devices", type=click.IntRange(1), help="Share the population among so many devices [default: 1]."),
        click.option("--no-transfer", is_flag=True, help="Stop after meta-training: no final test, no report."),
        workers_option,
        runs_option(None, "So many runs, of this seed and those after it, each in a folder of its own; a table compares them."),
        resume_option,
        allow_changes_option,
        data_sets_option,
        set_option("Override one value of the experiment, such as training.meta_steps=50"),
        out_folder_option("Run folder [default: runs/NAME]."),
        click.argument("experiment"),
    ):
        command = option(command)
    return command


@click.command("meta-train", context_settings=renamed(seeds="runs"))
@_run_options
def meta_train(experiment: str, no_transfer: bool, **options: Any) -> None:
    """Meta-learn a genome as EXPERIMENT says (a YAML file, or the name of a shipped experiment), then test how it transfers.

    \b
    neurograph meta-train digits
    neurograph meta-train my.yaml --out runs/a --set seed=1 --set training.meta_steps=100
    neurograph meta-train my.yaml --out runs/a --resume         with a higher training.meta_steps, train it longer
    neurograph meta-train my.yaml --runs 5 --workers 2
    neurograph meta-train my.yaml --json | jq .validation
    """
    _run(experiment, with_transfer=not no_transfer, **options)


@click.command(context_settings=renamed(seeds="runs"))
@_run_options
def evolve(experiment: str, no_transfer: bool, **options: Any) -> None:
    """Search a genome without gradients, as EXPERIMENT says (training.method: cma, es or pes), then test how it transfers.

    \b
    neurograph evolve paper_evolution --set training.meta_steps=60
    neurograph evolve my.yaml --out runs/b --resume --workers tcp://node1:8786
    """
    from neurograph.errors import ExperimentError
    from neurograph.experiments.spec import EVOLVED, load_experiment

    training = load_experiment(experiment, options["overrides"]).training
    if training.command != "evolve":
        raise ExperimentError(
            f"{experiment}: training.method is {training.method}; evolve runs {EVOLVED} (use {training.command})"
        )
    _run(experiment, with_transfer=not no_transfer, **options)


GRAPHS = ("mlp", "residual", "irregular_dag", "small_world", "celegans_readout")


@click.command()
@out_folder_option("Folder of the matrix and its page.", default=Path("runs/quickstart"), show_default=True)
def quickstart(out: Path) -> None:
    """Test one genome on a layered, a residual, an irregular and a cyclic graph and on C. elegans, beside tuned gradient descent,
    and write a page. It takes minutes, fewest with the extra `cluster`, by which it computes on all cores; nothing is downloaded.

    \b
    The same as
    neurograph transfer universal -t mlp,residual,irregular_dag,small_world,celegans_readout -k digits \\
        --steps 0,10,50,200 --baselines sgd --validation-runs 1 --search halving --workers 2 --out runs/quickstart

    \b
    To meta-learn a genome of your own, in a minute more: neurograph meta-train functions
    """
    from neurograph.cli.transfer import transfer

    words = ["universal", "-t", ",".join(GRAPHS), "-k", "digits", "--steps", "0,10,50,200", "--baselines", "sgd"]
    words += ["--validation-runs", "1", "--search", "halving"]
    if (workers := own_workers(len(GRAPHS)) or 1) > 1:
        words += ["--workers", str(workers)]
    transfer.main([*words, "--out", str(out)], standalone_mode=False)
    click.echo(f"report: {out / 'report.html'}\n\nNext, meta-learn a genome of your own: neurograph meta-train functions")


def _run(
    source: str,
    out: Path | None = None,
    overrides: tuple[str, ...] = (),
    resume: bool = False,
    allow_changes: bool = False,
    with_transfer: bool = True,
    devices: int | None = None,
    tensorboard: bool = False,
    loggers: tuple[str, ...] = (),
    workers: int | str | None = None,
    runs: int | None = None,
    as_json: bool = False,
) -> None:
    from neurograph.experiments.spec import load_experiment

    if devices is not None:
        overrides = (*overrides, f"devices={devices}")
    if tensorboard:
        overrides = (*overrides, "tensorboard=true")
    if loggers:
        overrides = (*overrides, f"loggers=[{', '.join(loggers)}]")
    spec = load_experiment(source, overrides)
    folder = out or Path("runs") / spec.name
    if runs is not None:
        seeds = range(spec.seed, spec.seed + runs)
        _several(source, folder, overrides, seeds, resume, allow_changes, with_transfer, workers, as_json)
        return
    path = Path(source)
    base = path.parent if path.is_file() else None

    from neurograph.cli.hosts import as_child, supervised

    command = click.get_current_context().find_root().obj
    if command and (code := supervised(folder, command)) is not None:
        raise SystemExit(code)
    with as_child():
        _train(spec, folder, base, resume, allow_changes, with_transfer, workers, as_json)


def _train(
    spec: ExperimentSpec,
    folder: Path,
    base: Path | None,
    resume: bool,
    allow_changes: bool,
    with_transfer: bool,
    workers: int | str | None,
    as_json: bool,
) -> None:
    """Does a run with its test and report, in this process or as one of several, of which the first prints."""
    from neurograph.cli.hosts import CHILD
    from neurograph.cli.progress import RunProgress
    from neurograph.experiments.folder.lock import SILENCE
    from neurograph.meta import device_mesh
    from neurograph.workflows.meta_training import run_experiment

    device_mesh(spec.devices)  # before JAX is asked which process this is
    import jax

    first = jax.process_index() == 0
    # A process on another host that has just died may seem to hold the folder.
    patience = 1.5 * SILENCE if CHILD in os.environ else 0.0
    common: dict[str, Any] = {
        "base": base,
        "resume": resume,
        "allow_changes": allow_changes,
        "workers": workers,
        "patience": patience,
    }
    watch = RunProgress(spec, folder, silent=not first)
    done = run_experiment(spec, folder, test=with_transfer, report=with_transfer, watch=watch, **common)
    if first and as_json:
        print_json(_result(folder, done.report))
    elif first:
        if done.test is not None:
            click.echo(done.test.text())
        if done.report is not None:
            click.echo(f"report: {done.report}")
        click.echo(f"genome: {folder / 'genome.json'}")
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("done")  # whose coordinator ends first, ends with an error


def _result(folder: Path, report: Path | None) -> dict[str, Any]:
    """Returns a run as JSON data: what `neurograph runs list --json` says of it, and its report."""
    from neurograph.experiments.folder.catalog import summarize_run

    return summarize_run(folder).to_dict() | {"report": None if report is None else str(report)}


def _several(
    source: str,
    folder: Path,
    overrides: tuple[str, ...],
    seeds: range,
    resume: bool,
    allow_changes: bool,
    with_transfer: bool,
    workers: int | str | None,
    as_json: bool,
) -> None:
    """Does a run per seed, each with its final test and report, and prints their table."""
    from neurograph.cli.sweep import print_points, run_points
    from neurograph.errors import ExperimentError
    from neurograph.experiments.sweep import Axis, plan_sweep

    if not resume and folder.exists() and any(folder.iterdir()):
        raise ExperimentError(f"{folder}: not empty; continue with --resume, or choose another folder with --out")
    options = {"overrides": overrides, "tested": with_transfer, "allow_changes": allow_changes}
    points = plan_sweep(source, [Axis("seed", tuple(seeds))], folder, **options)
    rows = run_points(points, folder, workers)
    if not as_json:
        print_points(points, rows, folder)
    reports: dict[Path, Path] = {}
    if with_transfer:
        from neurograph.report.run import write_report

        for run in (point.run for point in points):
            if run.summary:
                reports[run.folder] = write_report(run.folder, base=run.base)
                if not as_json:
                    click.echo(f"report: {reports[run.folder]}")
    if as_json:
        print_json({"runs": [_result(point.run.folder, reports.get(point.run.folder)) for point in points]})
