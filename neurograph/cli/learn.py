"""`neurograph train`: one task, learned by a genome on a topology."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurograph.cli.options import (
    batch_option,
    data_dir_option,
    genome_option,
    json_option,
    kernel_option,
    out_file_option,
    print_json,
    query_option,
    renamed,
    runs_option,
    seed_option,
    to_json,
    topology_option,
)
from neurograph.cli.stopping import on_stop


@click.command(context_settings=renamed(on="split"))
@click.argument("task")
@genome_option("universal")
@topology_option(" [default: one layer of 64 between]")
@click.option("--steps", type=click.IntRange(1), default=50, show_default=True, help="Learning steps, one batch each.")
@batch_option
@runs_option(3)
@click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Rows that accuracy is judged on. Keep the test data for the end.",
)
@query_option
@data_dir_option
@kernel_option
@seed_option
@out_file_option("Also write the JSON here.")
@json_option
def train(
    task: str,
    genome: str,
    topology: str | None,
    steps: int,
    batch: int,
    runs: int,
    split: str,
    query: int,
    data_dir: str | None,
    kernel: str,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Learn TASK by a genome from fresh synapses, and print how accuracy grows with the learning steps.

    TASK is a name (`neurograph task list`) or csv:FILE, parquet:FILE, npz:FILE, folder:FOLDER, tfds:NAME, with its options in
    quotes.

    \b
    neurograph train digits
    neurograph train xor --genome functions --topology 2-20-2 --steps 20
    neurograph train "csv:flowers.csv label=species" --runs 5 --out curve.json
    """
    from neurograph.errors import ExperimentError

    if out is not None and not out.parent.is_dir():
        raise ExperimentError(f"{out}: there is no folder {str(out.parent)!r} to write to")

    import jax
    import numpy as np

    from neurograph.cli.words import task_words
    from neurograph.experiments.transfer.curves import genome_curves
    from neurograph.files import write_atomically
    from neurograph.genome import load_genome_file
    from neurograph.learning.inner_loop import Problem
    from neurograph.network.network import Network
    from neurograph.tasks import get_task
    from neurograph.topology import load_topology
    from neurograph.topology.layered import mlp

    source, options = task_words(task, data_dir=data_dir)
    file, made = load_genome_file(genome), get_task(source, **options)
    if file.rule is None:
        raise ExperimentError(f"genome {genome!r}: its file holds no rule, so nothing says how it is used")
    if topology is None:
        graph = mlp(made.num_inputs, 64, made.num_outputs)
    else:
        graph = load_topology(topology)
    problem = Problem(Network(graph, file.rule, kernel), made)
    at = _stops(steps)
    keys = jax.random.split(jax.random.key(seed), runs)
    with on_stop(lambda: "before the end; train keeps nothing, the same command begins again"):
        options = {"batch_size": batch, "judged_on": split, "query_size": query}
        loss, accuracy = genome_curves(problem, file.genome, keys=keys, at=at, **options)
    about = {"task": task, "genome": genome, "topology": graph.title or topology, "digest": graph.digest[:16]}
    about |= {"neurons": graph.num_neurons, "synapses": graph.num_synapses, "batch": batch, "runs": runs, "seed": seed}
    about |= {"on": split, "query": query}
    lost = ~np.isfinite(loss)
    result: dict[str, Any] = {
        **about,
        "curve": [
            {"step": step, "accuracy": accuracy[:, i].astype(float).tolist(), "loss": loss[:, i].astype(float).tolist()}
            for i, step in enumerate(at)
        ],
        "diverged": int(lost.any(axis=1).sum()),
    }
    if out is not None:
        write_atomically(out, to_json(result) + "\n")
    if as_json:
        print_json(result)
        return
    click.echo(
        f"{task} by genome {genome} on {about['topology']}: {graph.num_neurons:,} neurons, {graph.num_synapses:,} synapses,"
        f" batches of {batch}; accuracy on {split} data, {runs} run{'s' * (runs > 1)}"
    )
    click.echo(f"{'step':>6}  {'median':>6}  {'lowest':>6}  {'highest':>7}")
    for i, step in enumerate(at):
        values = accuracy[:, i]
        bar = "#" * round(40 * float(np.median(values)))
        click.echo(f"{step:>6}  {np.median(values):>6.3f}  {values.min():>6.3f}  {values.max():>7.3f}  {bar}")
    if result["diverged"]:
        click.echo(f"{result['diverged']} of {runs} runs diverged (a loss that is not finite).")
    if out is not None:
        click.echo(f"written: {out}")


def _stops(steps: int) -> list[int]:
    """Returns 0, 1, 2, 5, 10, 20, 50, ... up to and with `steps`."""
    stops = {0, steps}
    scale = 1
    while scale <= steps:
        stops |= {scale * first for first in (1, 2, 5) if scale * first <= steps}
        scale *= 10
    return sorted(stops)
