"""`neurograph train`: one task, learned by a genome on a topology, beside gradient descent and a linear model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    import numpy as np

    from neurograph.learning.linear import Linear
    from neurograph.learning.trial import Trial
    from neurograph.learning.tuning import Tuned
    from neurograph.tasks import Task
    from neurograph.topology import Topology

LINEAR = "linear"


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
    default="test",
    show_default=True,
    help="Rows that accuracy is judged on. While you choose between settings of your own, look at validation.",
)
@click.option(
    "--baselines",
    default="sgd,adam,linear",
    show_default=True,
    metavar="LIST",
    help="What learns the same batches: none, or of sgd, momentum, adam, linear with commas between.",
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
    baselines: str,
    query: int,
    data_dir: str | None,
    kernel: str,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Learn TASK by a genome from fresh synapses, and print how accuracy (of a regression: R^2) grows with the learning steps,
    beside gradient descent on the same graph and batches, and a linear model of scikit-learn. Learning rates, the optimiser
    and the linear model's penalty are chosen on validation data.

    TASK is a name (`neurograph task list`) or csv:FILE, parquet:FILE, npz:FILE, folder:FOLDER, tfds:NAME, with its options in
    quotes.

    \b
    neurograph train digits
    neurograph train xor --genome functions --topology 2-20-2 --steps 20 --baselines none
    neurograph train "csv:flowers.csv label=species" --runs 5 --out curve.json
    neurograph train "csv:houses.csv label=price target=number"
    """
    from neurograph.errors import ExperimentError

    if out is not None and not out.parent.is_dir():
        raise ExperimentError(f"{out}: there is no folder {str(out.parent)!r} to write to")
    wanted = _wanted(baselines)

    import numpy as np

    from neurograph.cli.loading import stages
    from neurograph.cli.words import task_words
    from neurograph.experiments.transfer.curves import genome_curves
    from neurograph.files import write_atomically
    from neurograph.genome import load_genome_file
    from neurograph.learning.inner_loop import Problem, for_regression, is_regression
    from neurograph.learning.trial import Trial
    from neurograph.network.network import Network
    from neurograph.tasks import SPLITS, ArrayTask, get_task
    from neurograph.topology import load_topology
    from neurograph.topology.layered import mlp

    source, options = task_words(task, data_dir=data_dir)
    file, made = load_genome_file(genome), get_task(source, **options)
    if file.rule is None:
        raise ExperimentError(f"genome {genome!r}: its file holds no rule, so nothing says how it is used")
    if topology is None:
        graph = mlp(made.num_inputs, 64, made.num_outputs)
    else:
        with stages(topology) as begin:
            graph = load_topology(topology, progress=begin)
    if wanted and isinstance(made, ArrayTask) and not made.extents[SPLITS.index("validation")][1]:
        raise ExperimentError(
            f"task {made.name!r} has no validation split, on which baselines are chosen; --baselines none goes without"
        )
    numbers = is_regression(made)
    rule = for_regression(file.rule) if numbers else file.rule
    problem = Problem(Network(graph, rule, kernel), made)
    trial = Trial(tuple(_stops(steps)), batch, query, runs, seed)
    metric = "r2" if numbers else "accuracy"
    with on_stop(lambda: "before the end; train keeps nothing, the same command begins again"):
        loss, scores = genome_curves(problem, file.genome, keys=trial.keys()[0], judged_on=split, **trial.sizes)
        tuned, linear = _beside(made, graph, kernel, trial, split, wanted)
    about = {"task": task, "genome": genome, "topology": graph.title or topology, "digest": graph.digest[:16]}
    about |= {"neurons": graph.num_neurons, "synapses": graph.num_synapses, "batch": batch, "runs": runs, "seed": seed}
    about |= {"on": split, "query": query, "metric": metric, "feedback": rule.feedback}
    lost = ~np.isfinite(loss)
    best = {} if tuned is None else _best(tuned)
    result: dict[str, Any] = {
        **about,
        "curve": [
            {"step": step, metric: scores[:, i].astype(float).tolist(), "loss": loss[:, i].astype(float).tolist()}
            for i, step in enumerate(trial.at)
        ],
        "diverged": int(lost.any(axis=1).sum()),
        "baselines": _as_data(tuned, best, linear, metric),
    }
    if out is not None:
        write_atomically(out, to_json(result) + "\n")
    if as_json:
        print_json(result)
        return
    what = "R^2 (1: exact, 0: the mean)" if numbers else "accuracy"
    click.echo(
        f"{task} by genome {genome} on {about['topology']}: {graph.num_neurons:,} neurons, {graph.num_synapses:,} synapses,"
        f" batches of {batch}; {what} on {split} data, {runs} run{'s' * (runs > 1)}"
    )
    click.echo(f"{'step':>6}  {'median':>7}  {'lowest':>7}  {'highest':>7}{'  descent' * bool(best)}")
    for i, step in enumerate(trial.at):
        values = scores[:, i]
        beside = f"  {_shown(np.median(best[step]['scores']))}" if best else ""
        bar = "#" * round(40 * max(0.0, float(np.nan_to_num(np.median(values)))))
        click.echo(
            f"{step:>6}  {_shown(np.median(values))}  {_shown(values.min())}  {_shown(values.max())}{beside}  {bar}".rstrip()
        )
    if rule != file.rule:
        click.echo(f"The genome's feedback is mse here, in place of {file.rule.feedback}, which is for classes.")
    if result["diverged"]:
        click.echo(f"{result['diverged']} of {runs} runs diverged (a loss that is not finite).")
    for line in _about_baselines(tuned, best, linear, split, trial):
        click.echo(click.wrap_text(line, 110, subsequent_indent="  "))
    if out is not None:
        click.echo(f"written: {out}")


def _wanted(text: str) -> list[str]:
    """Returns the baselines of a list.

    Raises:
      ExperimentError: one is unknown.
    """
    from neurograph.documents import suggestion
    from neurograph.errors import ExperimentError

    names = [] if text.strip() == "none" else [part.strip() for part in text.split(",")]
    known = ["sgd", "momentum", "adam", LINEAR]
    for name in names:
        if name not in known:
            raise ExperimentError(f"--baselines: got {name!r}{suggestion(name, ['none', *known])}")
    return list(dict.fromkeys(names))


def _beside(
    task: Task, graph: Topology, kernel: str, trial: Trial, split: str, wanted: list[str]
) -> tuple[Tuned | None, Linear | None]:
    """Returns gradient descent and a linear model, tuned on validation data and judged on a split, as far as they are wanted."""
    from neurograph.learning.baselines import Setting, ordinary_network
    from neurograph.learning.inner_loop import Problem
    from neurograph.learning.linear import linear_baseline
    from neurograph.learning.tuning import tuned_baselines

    tuned, linear = None, None
    keys, choice_key = trial.keys()
    # One activation and no batch norm: a single program serves all optimisers and rates.
    if settings := [Setting(name) for name in wanted if name != LINEAR]:
        problem = Problem(ordinary_network(graph, kernel), task)
        tuned = tuned_baselines(problem, trial, settings=settings, judged_on=split)
    if LINEAR in wanted:
        sizes: dict[str, Any] = {"batch_size": trial.batch_size, "query_size": trial.query_size}
        linear = linear_baseline(task, keys=keys, choice_key=choice_key, steps=trial.at[-1], judged_on=split, **sizes)
    return tuned, linear


def _best(tuned: Tuned) -> dict[int, dict[str, Any]]:
    """Returns what is best on validation data for every step count: its choice, and the scores of its runs."""
    found: dict[int, dict[str, Any]] = {}
    for one in tuned.choice.chosen:
        if one.best:
            rows = [row for row in tuned.rows if row["step"] == one.step and row["optimizer"] == one.setting.optimizer]
            scores = [row["accuracy"] for row in rows]
            found[one.step] = {"chosen": one, "scores": scores}
    return found


def _as_data(tuned: Tuned | None, best: dict[int, dict[str, Any]], linear: Linear | None, metric: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tuned is not None:
        curve = [
            {
                "step": step,
                metric: one["scores"],
                "optimizer": one["chosen"].setting.optimizer,
                "learning_rate": one["chosen"].learning_rate,
                "at_edge": one["chosen"].at_edge,
            }
            for step, one in best.items()
        ]
        counts = {"configurations": tuned.choice.configurations, "runs": tuned.choice.runs, "failures": tuned.choice.failures}
        found["descent"] = {"curve": curve, **counts}
    if linear is not None:
        found[LINEAR] = {"name": linear.name, metric: linear.scores.tolist(), "penalty": linear.penalty, "rows": linear.rows}
    return found


def _about_baselines(
    tuned: Tuned | None, best: dict[int, dict[str, Any]], linear: Linear | None, split: str, trial: Trial
) -> list[str]:
    """Returns a sentence about each baseline."""
    import numpy as np

    lines = []
    if tuned is not None:
        one, choice = best[trial.at[-1]]["chosen"], tuned.choice
        names = " or ".join(dict.fromkeys(chosen.setting.optimizer for chosen in choice.chosen))
        failed = f", {choice.failures} of which failed" if choice.failures else ""
        edge = ", the end of what was tried" if one.at_edge else ""
        lines.append(
            f"descent: {names} (relu, on the same graph and batches), the best on validation data for each number of steps, of"
            f" {choice.configurations} configurations in {choice.runs} runs{failed}; at the end {one.setting.optimizer} at rate"
            f" {one.learning_rate:g}{edge}."
        )
    if linear is not None:
        median, lowest, highest = (_shown(of(linear.scores)).strip() for of in (np.median, np.min, np.max))
        lines.append(
            f"{linear.name} of scikit-learn on {linear.rows:,} different rows of the same batches: {median} (lowest {lowest},"
            f" highest {highest}); penalty {linear.penalty:g}, chosen on validation data."
        )
    if lines and split == "validation":
        lines.append("These are judged on the rows that they were chosen on; --split test judges on others.")
    return lines


def _shown(value: float | np.floating) -> str:
    return f"{value:>7.3f}" if abs(value) < 100 else f"{value:>7.0e}"


def _stops(steps: int) -> list[int]:
    """Returns 0, 1, 2, 5, 10, 20, 50, ... up to and with `steps`."""
    stops = {0, steps}
    scale = 1
    while scale <= steps:
        stops |= {scale * first for first in (1, 2, 5) if scale * first <= steps}
        scale *= 10
    return sorted(stops)
