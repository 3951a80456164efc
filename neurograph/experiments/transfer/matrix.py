"""Transfer matrices: genomes x topologies x tasks, judged on test data beside baselines, kept on disk, never computed twice.

A cell is one genome, or one optimiser with all its settings, on one topology and task. Finished cells lie in `FOLDER/cells`, one
file each, named by a hash of everything that decides them (arrays, rule, graph, data, sizes, seeds, versions, device). A
stopped test loses the unfinished cell; a test that grows by a genome or a topology computes the new cells.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

from neurograph.errors import ExperimentError, NeurographError
from neurograph.experiments.environment import current_environment, versions
from neurograph.experiments.transfer.cells import genome_key, keep_cell, stored_cell, task_key
from neurograph.experiments.transfer.curves import baseline_rows, transfer
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import GENOME, Row, mark_best
from neurograph.files import remove_leftovers
from neurograph.genome import AnyGenome
from neurograph.genome.rule import Rule
from neurograph.learning.baselines import LEARNING_RATES, SETTINGS, ordinary_network
from neurograph.learning.inner_loop import Problem
from neurograph.learning.trial import Trial
from neurograph.learning.tuning import tuned_baselines
from neurograph.tasks import Task
from neurograph.topology.graph import Topology

__all__ = ["TransferMatrix", "transfer_matrix"]

COUNTS = ("configurations", "runs", "baseline_failures")  # of baselines: added up over the cells

Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Cell:
    """One genome, or one optimiser with all its settings, on one topology and task.

    Attributes:
      place: {"topology", "task"}, names.
      genome: its name, or None.
      method: "genome", or the optimiser.
      key: in the store; None: not kept.
      compute: gives {"rows", "chosen"} and counts or chance, plain data.
    """

    place: Row
    genome: str | None
    method: str
    key: dict[str, Any] | None
    compute: Callable[[], dict[str, Any]]


@dataclass
class _Found:
    """The cells of a matrix so far."""

    rows: list[Row] = field(default_factory=list)
    chosen: list[Row] = field(default_factory=list)
    problems: list[Row] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    chance: dict[str, float] = field(default_factory=dict)
    stored: int = 0
    computed: int = 0

    def add(self, cell: _Cell, data: dict[str, Any]) -> None:
        self.rows += [{"genome": cell.genome} | row | cell.place for row in data["rows"]]
        self.chosen += [row | cell.place for row in data["chosen"]]
        self.counts.update({name: data.get(name, 0) for name in COUNTS})
        if "chance" in data:
            self.chance[cell.place["task"]] = data["chance"]


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
    keys = {name: genome_key(*pair) for name, pair in genomes.items()}
    per_pair = len(genomes) + len(optimizers)
    total, done = len(tasks) * len(topologies) * per_pair, 0
    say, store = progress or (lambda text: None), None if folder is None else Path(folder) / "cells"
    if store:
        remove_leftovers(store, older_than=3600)  # several tests may share a store: its files are written once, and whole
    for task_name, task in tasks.items():
        data = task_key(task, task_name)
        for topology_name, topology in topologies.items():
            place = {"topology": topology_name, "task": task_name}
            if misfit := _misfit(topology, task):
                done += per_pair
                found.problems.append(place | {"genome": None, "method": None, "reason": misfit})
                say(f"[{done}/{total}] {task_name} on {topology_name}: {misfit}")
                continue
            decides = {"topology": topology.digest, "task": data} | common
            where = (topology, task, trial, kernel)
            cells = []
            for name, pair in genomes.items():
                key = None if keys[name] is None else {"genome": keys[name]} | decides
                cells.append(_Cell(place, name, GENOME, key, partial(_judged, *pair, *where)))
            for name in optimizers:
                key = {"optimizer": name, "learning_rates": rates, "validation_seeds": trial.validation_seeds} | decides
                cells.append(_Cell(place, None, name, key, partial(_tuned, name, rates, *where)))
            for cell in cells:
                done += 1
                _run(cell, found, store, say, f"[{done}/{total}] {task_name} on {topology_name}: {cell.genome or cell.method}")
    notes = common | {"validation_seeds": trial.validation_seeds, "learning_rates": rates}
    notes |= {name: found.counts[name] for name in COUNTS}
    notes |= {"chance": found.chance, "genomes": list(genomes), "baselines": list(optimizers), "tasks": list(tasks)}
    notes["topologies"] = {
        name: {"neurons": t.num_neurons, "synapses": t.num_synapses, "depth": t.depth, "schedule": t.schedule, "digest": t.digest}
        for name, t in topologies.items()
    }
    notes["environment"] = current_environment()
    notes["cells"] = {"all": total, "found": found.stored, "seconds": round(time.perf_counter() - started, 1)}
    return TransferMatrix(tuple(found.rows), tuple(mark_best(found.chosen)), tuple(found.problems), notes)


def _misfit(topology: Topology, task: Task) -> str:
    """Returns the reason why a task does not fit a topology, or ""."""
    width, wanted = (len(topology.inputs), len(topology.outputs)), (task.num_inputs, task.num_outputs)
    if width == wanted:
        return ""
    return f"does not fit: {width[0]} inputs and {width[1]} outputs; the task has {wanted[0]} and {wanted[1]}"


def _run(cell: _Cell, found: _Found, store: Path | None, say: Progress, label: str) -> None:
    """Takes a cell from the store, or computes and keeps it; a cell that cannot run becomes a problem."""
    data = stored_cell(store, cell.key)
    if data is not None:
        found.stored += 1
        say(f"{label}: known")
    else:
        say(label)
        begun = time.perf_counter()
        try:
            data = cell.compute()
        except NeurographError as error:
            found.problems.append(cell.place | {"genome": cell.genome, "method": cell.method, "reason": str(error)})
            say(f"{label}: cannot run ({str(error).splitlines()[0]})")
            return
        data |= {"seconds": round(time.perf_counter() - begun, 3)}
        keep_cell(store, cell.key, data)
        found.computed += 1
        if found.computed % 100 == 0:  # a process cannot map many hundreds of compiled programs
            jax.clear_caches()
    found.add(cell, data)


def _judged(genome: AnyGenome, rule: Rule, topology: Topology, task: Task, trial: Trial, kernel: str) -> dict[str, Any]:
    """Computes the cell of a genome."""
    found = transfer(genome, rule, {"": topology}, [task], trial, settings=(), kernel=kernel)
    return {"rows": list(found.rows), "chosen": [], "chance": found.notes["chance"][task.name]}


def _tuned(optimizer: str, rates: Sequence[float], topology: Topology, task: Task, trial: Trial, kernel: str) -> dict[str, Any]:
    """Computes the cell of an optimiser."""
    settings = tuple(setting for setting in SETTINGS if setting.optimizer == optimizer)
    tuned = tuned_baselines(Problem(ordinary_network(topology, kernel), task), trial, settings=settings, rates=rates)
    rows, chosen = baseline_rows(tuned, {})
    counts = {"configurations": tuned.choice.configurations, "runs": tuned.choice.runs}
    return {"rows": rows, "chosen": chosen, **counts, "baseline_failures": tuned.choice.failures}
