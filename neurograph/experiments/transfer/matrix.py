"""Transfer matrices: genomes x topologies x tasks, judged on test data beside baselines, kept on disk, never computed twice.

A cell is one genome, or one optimiser with all its settings, on one topology and task. Finished cells lie in `FOLDER/cells`, one
file each, named by a hash of everything that decides them (arrays, rule, graph, data, sizes, seeds, versions, device). A
stopped test loses the unfinished cell; a test that grows by a genome or a topology computes the new cells.

Cells are computed in units (units.py): a genome or an optimiser on graphs that share a program. Whether a graph runs as data of
such a program or as a `Network` is decided by the whole question, not by what is still missing, so that a stopped test goes on to
the same numbers; a cell says its route, and its key is the same for both, whose results are equal to rounding.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from neurograph.errors import ExperimentError
from neurograph.experiments.environment import current_environment, versions
from neurograph.experiments.transfer.bundles import TaskSource, compute_elsewhere
from neurograph.experiments.transfer.cells import genome_key, keep_cell, stored_cell, task_key
from neurograph.experiments.transfer.curves import routes_of
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import GENOME, Row, mark_best
from neurograph.experiments.transfer.units import Question, Unit, compute_unit, settings_of
from neurograph.experiments.workers.executor import Executor
from neurograph.files import remove_leftovers
from neurograph.genome import AnyGenome
from neurograph.genome.rule import Rule
from neurograph.learning.baselines import LEARNING_RATES, SETTINGS
from neurograph.learning.inner_loop import is_regression
from neurograph.learning.load import descent_load, genome_load
from neurograph.learning.trial import Trial
from neurograph.tasks import Task
from neurograph.topology.graph import Topology

__all__ = ["TransferMatrix", "transfer_matrix"]

COUNTS = ("configurations", "runs", "baseline_failures")  # of baselines: added up over the cells
MOST = 12  # graphs of a unit

Progress = Callable[[str], None]
Elsewhere = Callable[[list[Unit]], Iterator[tuple[Unit, str, Row]]]
Cell = tuple[str, str, str | None, str]  # task, topology, genome (None: a baseline), method


@dataclass
class _Found:
    """The cells of a matrix so far."""

    data: dict[Cell, dict[str, Any]] = field(default_factory=dict)
    misfits: dict[tuple[str, str], str] = field(default_factory=dict)
    stored: int = 0

    def tables(self, cells: Sequence[Cell]) -> tuple[list[Row], list[Row], list[Row], Counter[str], dict[str, float]]:
        """Rows, choices and problems of the cells in their order, counts, and the accuracy of chance by task."""
        rows: list[Row] = []
        chosen: list[Row] = []
        problems: list[Row] = []
        counts: Counter[str] = Counter()
        chance: dict[str, float] = {}
        told = set()
        for task, topology, genome, method in cells:
            place = {"topology": topology, "task": task}
            if reason := self.misfits.get((task, topology)):
                if (task, topology) not in told:
                    told.add((task, topology))
                    problems.append(place | {"genome": None, "method": None, "reason": reason})
                continue
            data = self.data[task, topology, genome, method]
            if "reason" in data:
                problems.append(place | {"genome": genome, "method": method, "reason": data["reason"]})
                continue
            rows += [{"genome": genome} | row | place for row in data["rows"]]
            chosen += [row | place for row in data["chosen"]]
            counts.update({name: data.get(name, 0) for name in COUNTS})
            if "chance" in data:
                chance[task] = data["chance"]
        return rows, chosen, problems, counts, chance


def transfer_matrix(
    genomes: Mapping[str, tuple[AnyGenome, Rule]],
    topologies: Mapping[str, Topology],
    tasks: Mapping[str, Task],
    folder: Path | str | None = None,
    trial: Trial | None = None,
    *,
    optimizers: Sequence[str] = ("sgd",),
    learning_rates: Sequence[float] = LEARNING_RATES,
    kernel: str = "auto",
    executor: Executor | None = None,
    sources: Mapping[str, TaskSource] | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> TransferMatrix:
    """Returns learning curves of genomes and baselines on every topology and task that fit each other.

    Every cell is a `transfer` of its own: the same seeds, batches and queries for all genomes, topologies and baselines of a
    task, learning rates chosen on validation data, test data touched once.

    Args:
      genomes: by name, each with its rule.
      topologies, tasks: by name. Pairs whose widths do not fit are left out and listed in `problems`, as are cells that a
        genome, its rule or a baseline cannot run on (a layered genome on a graph without its layers, say).
      folder: where finished cells are kept and found again; None keeps none.
      trial: step counts, sizes, seeds; default: `Trial()`.
      optimizers: baselines, of "sgd", "momentum", "adam", each with two activations, with and without batch norm; () for none.
      learning_rates, kernel, progress: as in `transfer`.
      executor: computes cells, in place of this process: the same numbers. A cell of which workers died is one of `problems`.
      sources: by the names of tasks, how workers make them; other tasks are sent to each worker once, with their data.
      **changes: fields of the trial, such as at=(0, 10), seeds=3.

    Raises:
      ExperimentError: there are no genomes, topologies or tasks, a number of the trial is too small, or an optimiser is unknown.
    """
    trial = replace(trial or Trial(), **changes)
    rates = [float(rate) for rate in learning_rates]
    for what, given in (("genomes", genomes), ("topologies", topologies), ("tasks", tasks)):
        if not given:
            raise ExperimentError(f"{what} of the transfer matrix: got none; expected at least one")
    known = tuple(dict.fromkeys(setting.optimizer for setting in SETTINGS))
    if wrong := [name for name in optimizers if name not in known]:
        raise ExperimentError(f"baselines: got {', '.join(wrong)}; allowed: {', '.join(known)}")
    started, found = time.perf_counter(), _Found()
    common = {"seeds": trial.seeds, "seed": trial.seed, "at": list(trial.at), "batch_size": trial.batch_size}
    common |= {"query_size": trial.query_size, "kernel": kernel} | versions()
    question = Question(dict(genomes), dict(topologies), dict(tasks), trial, tuple(rates), kernel)
    methods = [*((name, GENOME) for name in genomes), *((None, name) for name in optimizers)]
    cells: list[Cell] = [(task, topology, *method) for task in tasks for topology in topologies for method in methods]
    store = None if folder is None else Path(folder) / "cells"
    if store:
        remove_leftovers(store, older_than=3600)  # several tests may share a store: its files are written once, and whole
    elsewhere = None if executor is None else partial(compute_elsewhere, executor, question, sources or {})
    _run(question, methods, common, found, store, progress or (lambda text: None), elsewhere)
    rows, chosen, problems, counts, chance = found.tables(cells)
    notes = common | {"validation_seeds": trial.validation_seeds, "learning_rates": rates, "search": trial.search}
    notes |= {name: counts[name] for name in COUNTS}
    notes |= {"chance": chance, "genomes": list(genomes), "baselines": list(optimizers), "tasks": list(tasks)}
    if numbers := [name for name, task in tasks.items() if is_regression(task)]:
        notes["numbers"] = numbers
    notes["topologies"] = {
        name: {"neurons": t.num_neurons, "synapses": t.num_synapses, "depth": t.depth, "schedule": t.schedule, "digest": t.digest}
        for name, t in topologies.items()
    }
    notes["environment"] = current_environment()
    as_data = sum(data.get("route") == "data" for data in found.data.values())
    seconds = round(time.perf_counter() - started, 1)
    notes["cells"] = {"all": len(cells), "found": found.stored, "as data": as_data, "seconds": seconds}
    return TransferMatrix(tuple(rows), tuple(mark_best(chosen)), tuple(problems), notes)


def _run(
    question: Question,
    methods: list[tuple[str | None, str]],
    common: Row,
    found: _Found,
    store: Path | None,
    say: Progress,
    elsewhere: Elsewhere | None,
) -> None:
    """Takes cells from the store, or computes and keeps them, unit by unit; a cell that cannot run has a "reason" as its data.

    Args:
      elsewhere: computes all units, and gives their cells in any order; None: this process, one unit after another.
    """
    keys = {name: genome_key(*pair) for name, pair in question.genomes.items()}
    keys_of: dict[Cell, Row | None] = {}
    waiting: list[Unit] = []
    total, done = len(question.tasks) * len(question.topologies) * len(methods), 0

    def label(task: str, topology: str, method: str) -> str:
        return f"[{done}/{total}] {task} on {topology}: {method}"

    def key_of(task: str, data: Row, topology: str, genome: str | None, method: str) -> Row | None:
        decides = {"topology": question.topologies[topology].digest, "task": data} | common
        if genome is not None:
            return None if keys[genome] is None else {"genome": keys[genome]} | decides
        tuning: Row = {"learning_rates": list(question.rates), "validation_seeds": question.trial.validation_seeds}
        tuning |= {} if question.trial.search == "grid" else {"search": question.trial.search}
        return {"optimizer": method} | tuning | decides

    def begin(unit: Unit, name: str) -> None:
        nonlocal done
        done += 1
        say(label(unit.task, name, unit.genome or unit.method))

    def keep(unit: Unit, name: str, cell: Row) -> None:
        place: Cell = (unit.task, name, unit.genome, unit.method)
        found.data[place] = cell
        if "reason" in cell:
            say(f"{label(unit.task, name, unit.genome or unit.method)}: cannot run ({cell['reason'].splitlines()[0]})")
        else:
            keep_cell(store, keys_of[place], cell)

    for task_name, task in question.tasks.items():
        data, fitting = task_key(task, task_name), []
        for name, topology in question.topologies.items():
            if misfit := _misfit(topology, task):
                found.misfits[task_name, name] = misfit
                done += len(methods)
                say(label(task_name, name, misfit))
            else:
                fitting.append(name)
        for genome, method in methods:
            missing: dict[str, Row | None] = {}
            for name in fitting:
                key = key_of(task_name, data, name, genome, method)
                kept = stored_cell(store, key)
                if kept is None:
                    missing[name] = key
                    continue
                found.stored += 1
                found.data[task_name, name, genome, method] = kept
                done += 1
                say(f"{label(task_name, name, genome or method)}: known")
            keys_of |= {(task_name, name, genome, method): key for name, key in missing.items()}
            for unit in _units(question, task_name, genome, method, fitting, missing):
                if elsewhere:
                    waiting.append(unit)
                    continue
                results = compute_unit(question, unit)
                for name in unit.topologies:
                    begin(unit, name)
                    keep(unit, name, next(results))
    if elsewhere and waiting:
        for unit, name, cell in elsewhere(waiting):
            begin(unit, name)
            keep(unit, name, cell)


def _units(
    question: Question, task: str, genome: str | None, method: str, fitting: list[str], missing: Mapping[str, Any]
) -> Iterator[Unit]:
    """The units of a method's missing cells: those of a size class together, at most `MOST`, each other one alone."""
    if not missing:
        return
    load = (
        descent_load(settings_of(method), len(question.rates), question.trial)
        if genome is None
        else genome_load(question.genomes[genome][1].states, question.trial)
    )
    ways = dict(zip(fitting, routes_of([question.topologies[name] for name in fitting], load, question.kernel), strict=True))
    groups: dict[Any, list[str]] = {}
    for name, way in ways.items():
        if name in missing:
            groups.setdefault(name if way.size is None else way.size, []).append(name)
    for names in groups.values():
        way = ways[names[0]]
        for start in range(0, len(names), MOST):
            yield Unit(task, genome, method, tuple(names[start : start + MOST]), way.size, way.quick)


def _misfit(topology: Topology, task: Task) -> str:
    """Returns the reason why a task does not fit a topology, or ""."""
    width, wanted = (len(topology.inputs), len(topology.outputs)), (task.num_inputs, task.num_outputs)
    if width == wanted:
        return ""
    return f"does not fit: {width[0]} inputs and {width[1]} outputs; the task has {wanted[0]} and {wanted[1]}"
