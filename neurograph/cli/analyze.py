"""`neurograph analyze`: what kind of rule a genome is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from neurograph.cli.options import data_dir_option, json_option, out_folder_option, renamed, seed_option, topology_option

_ONLY = (
    "Only these, separated by commas: asymmetry, metric, circulation, closed, decompose, alignment, longrun, sensitivity, oja."
)
_SELECT = "Synapses that the Jacobian is taken of: all, forward, backward, level:L, name:PATTERN; repeatable."


@click.command(context_settings=renamed(states="metric-states"))
@click.argument("genome")
@topology_option(required=True)
@click.option("-k", "--task", required=True, help="A task (neurograph task list), with options in quotes: 'mnist size=10'.")
@data_dir_option
@click.option("--only", default="", help=_ONLY)
@out_folder_option("Folder of the report [default: analysis/GENOME; none with --json].")
@json_option
@click.option("--select", multiple=True, help=_SELECT)
@click.option("--no-bias", is_flag=True, help="Leave biases out of the Jacobian.")
@click.option("--steps", default=0, show_default=True, type=click.IntRange(0), help="Learning steps before the Jacobian.")
@click.option(
    "--metric-states",
    "states",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    help="Other states of the synapses that the metric search looks at.",
)
@click.option("--batch", default=64, show_default=True, type=click.IntRange(1), help="Rows of the full batch.")
@seed_option
@click.option(
    "--memory", default=1.0, show_default=True, type=click.FloatRange(min=0, min_open=True), help="GiB for the largest arrays."
)
def analyze(
    genome: str,
    topology: str,
    task: str,
    data_dir: str | None,
    only: str,
    out: Path | None,
    as_json: bool,
    select: tuple[str, ...],
    no_bias: bool,
    steps: int,
    states: int,
    batch: int,
    seed: int,
    memory: float,
) -> None:
    """Is GENOME (a file, or a name of the zoo) still gradient descent, and what does it do?

    \b
    neurograph analyze functions --topology 2-20-2 --task xor
    neurograph analyze runs/a/genome.json --topology mlp_2d_classes --task moons --only asymmetry,circulation
    neurograph analyze functions --topology 2-20-2 --task xor --only asymmetry --select level:1 --no-bias --json
    """
    from neurograph.cli.words import task_words
    from neurograph.tasks import get_task
    from neurograph.workflows.analyses import analyze as run

    source, options = task_words(task, data_dir=data_dir)
    folder = out or (None if as_json else Path("analysis") / Path(genome).stem)
    found = run(
        genome,
        topology,
        get_task(source, **options),
        folder,
        only=[part.strip() for part in only.split(",") if part.strip()],
        batch_size=batch,
        seed=seed,
        select=select or ("all",),
        bias=not no_bias,
        steps=steps,
        states=states,
        memory=int(memory * 2**30),
        say=lambda line: click.echo(line, err=True),
    )
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False))
    else:
        for tool, sentences in found.summaries().items():
            for which, sentence in sentences.items():
                click.echo(f"{tool}{f' ({which})' if len(sentences) > 1 else ''}: {sentence}")
        for tool, reason in found.refused.items():
            click.echo(f"{tool}: not done: {reason}")
    if folder:
        click.echo(f"report: {folder / 'report.html'}", err=as_json)
