"""Transfer tests: a genome on topologies and tasks that it never saw, beside gradient descent on the same batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from neurograph.errors import ExperimentError, ShapeError
from neurograph.experiments.transfer.results import GENOME, Row, Transfer
from neurograph.genome import AnyGenome
from neurograph.genome.rule import Rule
from neurograph.learning.baselines import LEARNING_RATES, SETTINGS, Setting, ordinary_network, splits_of
from neurograph.learning.inner_loop import Problem, curve_of, episode_of, for_regression, is_regression
from neurograph.learning.load import descent_load, genome_load
from neurograph.learning.trial import Trial
from neurograph.learning.tuning import Tuned, tuned_baselines
from neurograph.network.batch.graph import Graph
from neurograph.network.batch.route import Load, Route, routes
from neurograph.network.batch.sizes import SizeClass
from neurograph.network.network import Network, check_genome
from neurograph.network.quick import brisk_options, quick_options
from neurograph.tasks import Task
from neurograph.topology.graph import Topology

__all__ = [
    "Transfer",
    "baseline_rows",
    "commonest",
    "genome_curves",
    "genome_rows",
    "network_of",
    "routes_of",
    "transfer",
]

Progress = Callable[[str], None]


def transfer(
    genome: AnyGenome,
    rule: Rule,
    topologies: Mapping[str, Topology] | Sequence[Topology],
    tasks: Sequence[Task],
    trial: Trial | None = None,
    *,
    settings: Sequence[Setting] = SETTINGS,
    learning_rates: Sequence[float] = LEARNING_RATES,
    extensions: int = 2,
    kernel: str = "auto",
    progress: Progress | None = None,
    **changes: Any,
) -> Transfer:
    """Returns learning curves of a genome and of baselines on every topology and task, judged on test data.

    All methods see the same support and query batches: run s of a task has one key for all of them, on every topology. A
    baseline's learning rate is chosen per setting and step count on validation data with `validation_seeds` other seeds; the
    rows come from the test data, touched once, over `seeds` fresh ones.

    Args:
      genome, rule: the genome and its rule.
      topologies: by name, or in a sequence (named by their titles); every one must fit every task.
      tasks: data sets learn on "train" and are judged on "test"; families draw a new problem per seed.
      trial: step counts, sizes, seeds; default: `Trial()`.
      settings: baselines; () for none.
      learning_rates, extensions: see `choose_learning_rates`.
      kernel: of `Network`; "auto" also lets graphs run as data of shared programs where that is quicker (`routes`), with the
        same results to rounding.
      progress: called with a line about what runs now.
      **changes: fields of the trial, such as at=(0, 10), seeds=3.

    Returns:
      `Transfer`: rows, chosen baselines and notes, plain data (see `results`).

    Raises:
      ShapeError: a topology has not as many inputs or outputs as a task; all such pairs are named before anything runs.
      ExperimentError: there are no topologies or tasks, or a number of the trial is too small.
    """
    trial = replace(trial or Trial(), **changes)
    named = _named(topologies)
    _check(named, tasks)
    say = progress or (lambda text: None)
    rows: list[Row] = []
    chosen: list[Row] = []
    counts = {"configurations": 0, "runs": 0, "baseline_failures": 0}
    chance: dict[str, float] = {}
    ways = dict(zip(named, routes_of(named.values(), genome_load(rule.states, trial), kernel), strict=True))
    networks = {
        (name, numbers): network_of(genome, rule, topology, kernel, ways[name].size, numbers)
        for numbers in {is_regression(task) for task in tasks}
        for name, topology in named.items()
    }
    load = descent_load(settings, len(learning_rates), trial)
    theirs = dict(zip(named, routes_of(named.values(), load, kernel), strict=True)) if settings else {}
    for number, task in enumerate(tasks):
        chance[task.name] = commonest(task, trial, number)
        for name, topology in named.items():
            where = {"topology": name, "task": task.name}
            say(f"{task.name} on {name}: genome")
            problem = Problem(networks[name, is_regression(task)], task)
            rows += [where | row for row in genome_rows(problem, genome, trial, number, quick=ways[name].quick)]
            if not settings:
                continue
            tuned = tuned_baselines(
                Problem(ordinary_network(topology, kernel, theirs[name].size), task),
                trial,
                number,
                settings=settings,
                rates=learning_rates,
                extensions=extensions,
                progress=lambda text, name=name, task=task: say(f"{task.name} on {name}: {text}"),
            )
            more, settled = baseline_rows(tuned, where)
            rows += more
            chosen += settled
            counts["configurations"] += tuned.choice.configurations
            counts["runs"] += tuned.choice.runs
            counts["baseline_failures"] += tuned.choice.failures
    notes = {"at": list(trial.at), "seeds": trial.seeds, "seed": trial.seed}
    notes |= {"batch_size": trial.batch_size, "query_size": trial.query_size}
    notes |= {"validation_seeds": trial.validation_seeds, "learning_rates": list(learning_rates), "search": trial.search}
    notes |= {**counts, "chance": chance}
    if numbers := [task.name for task in tasks if is_regression(task)]:
        notes["numbers"] = numbers
    notes["topologies"] = {name: _size(topology) for name, topology in named.items()}
    return Transfer(tuple(rows), tuple(chosen), notes)


def routes_of(topologies: Iterable[Topology], load: Load, kernel: str) -> list[Route]:
    """Returns how each topology runs, see `routes`; with any kernel but "auto" as a `Network`."""
    topologies = list(topologies)
    return [Route(None, False, f"kernel {kernel}")] * len(topologies) if kernel != "auto" else routes(topologies, load)


def network_of(
    genome: AnyGenome, rule: Rule, topology: Topology, kernel: str, size: SizeClass | None, regression: bool = False
) -> Network | Graph:
    """Returns what a genome learns on: a graph of the size class, or a `Network`; for a `regression` under `for_regression`.

    Raises:
      ShapeError, GenomeError, PlanError: the genome, its rule and the topology do not go together.
    """
    rule = for_regression(rule) if regression else rule
    check_genome(genome, rule, topology)
    return Network(topology, rule, kernel) if size is None else Graph.of(topology, rule, size)


def baseline_rows(tuned: Tuned, where: Row) -> tuple[list[Row], list[Row]]:
    """Returns rows and choices of tuned baselines as `results` describes them; `where` is {"topology", "task"}."""
    rows = [where | {"method": row["optimizer"]} | {k: v for k, v in row.items() if k != "optimizer"} for row in tuned.rows]
    chosen = []
    for one in tuned.choice.chosen:
        setting = {"method": one.setting.optimizer, "activation": one.setting.activation}
        setting |= {"batch_norm": one.setting.batch_norm, "step": one.step, "learning_rate": one.learning_rate}
        scores = {"accuracy": one.accuracy, "loss": one.loss if math.isfinite(one.loss) else None}
        scores |= {"failures": one.failures, "seeds": one.seeds, "at_edge": one.at_edge, "best": one.best}
        chosen.append(where | setting | scores)
    return rows, chosen


def _named(topologies: Mapping[str, Topology] | Sequence[Topology]) -> dict[str, Topology]:
    if isinstance(topologies, Mapping):
        return dict(topologies)
    named: dict[str, Topology] = {}
    for number, topology in enumerate(topologies):
        name = topology.title or f"topology {number}"
        named[name if name not in named else f"{name} ({number})"] = topology
    return named


def _check(named: dict[str, Topology], tasks: Sequence[Task]) -> None:
    for what, given in (("topologies", named), ("tasks", tasks)):
        if not given:
            raise ExperimentError(f"{what} of the transfer test: got none; expected at least one")
    faults = [
        f"topology {name!r} has {len(topology.inputs)} inputs and {len(topology.outputs)} outputs; task {task.name!r} has"
        f" {task.num_inputs} and {task.num_outputs}"
        for task in tasks
        for name, topology in named.items()
        if (len(topology.inputs), len(topology.outputs)) != (task.num_inputs, task.num_outputs)
    ]
    if faults:
        raise ShapeError("\n".join(faults))


def _size(topology: Topology) -> dict[str, Any]:
    return {
        "neurons": topology.num_neurons,
        "synapses": topology.num_synapses,
        "schedule": topology.schedule,
        "ticks": topology.ticks,
        "depth": topology.depth,
        "digest": topology.digest,
    }


@partial(jax.jit, static_argnums=(2,))
def _query_labels(task: Task, keys: jax.Array, sizes: tuple[Any, ...]) -> jax.Array:
    return jax.lax.map(lambda key: episode_of(task, key, sizes)[0].query.y, keys)


def commonest(task: Task, trial: Trial, number: int) -> float:
    """Returns the accuracy of the commonest answer of the query batch, the mean over the runs; of a regression 0, R^2 of the
    mean."""
    if is_regression(task):
        return 0.0
    sizes = (max(*trial.at, 1), trial.batch_size, trial.query_size, *splits_of(task, "test"))
    y = np.asarray(_query_labels(task, trial.keys(number)[0], sizes))
    labels = y.argmax(axis=-1) if y.shape[-1] > 1 else (y[..., 0] > 0).astype(int)
    return float(np.mean([np.bincount(run).max() / len(run) for run in labels]))


def genome_rows(problem: Problem, genome: AnyGenome, trial: Trial, number: int, *, quick: bool = False) -> list[Row]:
    """Returns the rows of a genome, without topology and task; `quick`: see `genome_curves`."""
    loss, hits = genome_curves(problem, genome, keys=trial.keys(number)[0], quick=quick, **trial.sizes)
    rows = []
    for run in range(trial.seeds):
        for index, step in enumerate(trial.at):
            value = float(loss[run, index])
            finite = math.isfinite(value)
            rows.append(
                {"method": GENOME, "activation": None, "batch_norm": None, "learning_rate": None, "step": step, "seed": run}
                | {"accuracy": float(hits[run, index]), "loss": value if finite else None, "failed": not finite}
            )
    return rows


def genome_curves(
    problem: Problem,
    genome: AnyGenome,
    *,
    keys: jax.Array,
    at: Sequence[int],
    batch_size: int,
    judged_on: str = "test",
    query_size: int = 1024,
    quick: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns query loss and accuracy (of a regression R^2) after each of `at` learning steps, one run per key: two arrays
    [S, len(at)].

    The runs are those of `learning_curve`; `quick`: by a program without optimisations (`quick_options`).
    """
    at = tuple(sorted({int(step) for step in at}))
    sizes = (max(*at, 1), int(batch_size), int(query_size), *splits_of(problem.task, judged_on))
    # Data are drawn by a program of their own, which serves every graph.
    run = _program(quick)
    regression = is_regression(problem.task)
    found = [run(problem.network, genome, *episode_of(problem.task, key, sizes), at, regression) for key in keys]
    loss, hits = (np.stack([np.asarray(curve[name]) for curve in found]) for name in ("loss", "r2" if regression else "accuracy"))
    return loss, hits


@cache
def _program(quick: bool) -> Callable[..., dict[str, jax.Array]]:
    return jax.jit(curve_of, static_argnums=(5, 6), compiler_options=quick_options() if quick else brisk_options())
