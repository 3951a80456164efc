"""Genomes x topologies x tasks: every cell judged on test data beside baselines, kept on disk, and never computed twice.

A cell is one genome, or one optimiser with all its settings, on one topology and task. Finished cells lie in `FOLDER/cells`, one
file each, named by a hash of all that decides them (arrays, rule, graph, data, sizes, seeds, versions, device): a test that is
stopped at any moment loses the cell it was at, and one that grows by a genome or a topology computes what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from neurograph.errors import ExperimentError, NeurographError
from neurograph.experiments.environment import current_environment, versions
from neurograph.experiments.transfer.cells import genome_key, keep_cell, stored_cell, task_key
from neurograph.experiments.transfer.curves import STEPS, baseline_rows, run_keys, transfer
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import Row, mark_best
from neurograph.genome import AnyGenome
from neurograph.genome.rule import Rule
from neurograph.learning.baselines import LEARNING_RATES, SETTINGS
from neurograph.learning.tuning import tuned_baselines
from neurograph.tasks import Task
from neurograph.topology.graph import Topology

__all__ = [
    "TransferMatrix",
    "transfer_matrix",
]

Progress = Callable[[str], None]


def transfer_matrix(
    genomes: Mapping[str, tuple[AnyGenome, Rule]],
    topologies: Mapping[str, Topology],
    tasks: Mapping[str, Task],
    folder: Path | str | None = None,
    *,
    at: Sequence[int] = STEPS,
    seeds: int = 5,
    seed: int = 0,
    batch_size: int = 128,
    query_size: int = 512,
    optimizers: Sequence[str] = ("sgd",),
    learning_rates: Sequence[float] = LEARNING_RATES,
    validation_seeds: int = 3,
    kernel: str = "auto",
    progress: Progress | None = None,
) -> TransferMatrix:
    """Learning curves of genomes and baselines on every topology and task that fit each other.

    Every cell is a `transfer` of its own: the same seeds, batches and queries for all genomes, topologies and baselines of a
    task, learning rates chosen on validation data, test data touched once.

    Args:
      genomes: by name, each with its rule.
      topologies, tasks: by name. Pairs whose widths do not fit are left out and told, as are cells that a genome, its rule or a
        baseline cannot run on (a layered genome on a graph without its layers, say).
      folder: where finished cells are kept and found again; None keeps none.
      optimizers: baselines, of "sgd", "momentum", "adam", each with two activations, with and without batch norm; () for none.
      others: as in `transfer`.

    Raises:
      ExperimentError: no genomes, topologies, tasks or steps; numbers out of range; an unknown optimiser.
    """
    at = tuple(sorted({int(step) for step in at}))
    known = tuple(dict.fromkeys(setting.optimizer for setting in SETTINGS))
    for what, given in (("genomes", genomes), ("topologies", topologies), ("tasks", tasks), ("at", at)):
        if not given:
            raise ExperimentError(f"{what} of the transfer matrix: got none; expected at least one")
    if at[0] < 0 or min(seeds, validation_seeds, batch_size, query_size) < 1:
        raise ExperimentError(
            f"got steps {list(at)}, seeds {seeds}, validation seeds {validation_seeds}, batch size {batch_size}, query size"
            f" {query_size}; expected steps >= 0 and all others >= 1"
        )
    if wrong := [name for name in optimizers if name not in known]:
        raise ExperimentError(f"baselines: got {', '.join(wrong)}; allowed: {', '.join(known)}")
    sizes = {"at": at, "batch_size": int(batch_size), "query_size": int(query_size), "kernel": kernel}
    common = {"seeds": int(seeds), "seed": int(seed)} | sizes | {"at": list(at)} | versions()
    store = None if folder is None else Path(folder) / "cells"
    say, started, done, found_before, fresh = progress or (lambda text: None), time.perf_counter(), 0, 0, 0
    rows: list[Row] = []
    chosen: list[Row] = []
    problems: list[Row] = []
    counts = {"configurations": 0, "runs": 0, "baseline_failures": 0}
    chance: dict[str, float] = {}
    cell: dict[str, Any] | None
    total = len(tasks) * len(topologies) * (len(genomes) + len(optimizers))
    for task_name, task in tasks.items():
        data = task_key(task, task_name)
        for topology_name, topology in topologies.items():
            where = {"topology": topology_name, "task": task_name}
            width, wanted = (len(topology.inputs), len(topology.outputs)), (task.num_inputs, task.num_outputs)
            if width != wanted:
                text = f"does not fit: {width[0]} inputs and {width[1]} outputs; the task has {wanted[0]} and {wanted[1]}"
                problems.append(where | {"genome": None, "method": None, "reason": text})
                done += len(genomes) + len(optimizers)
                say(f"[{done}/{total}] {task_name} on {topology_name}: {text}")
                continue
            place = {"topology": topology.digest, "task": data} | common
            cells: list[tuple[str | None, str, dict[str, Any] | None, Callable[[], dict[str, Any]]]] = []
            for name, (genome, rule) in genomes.items():
                key = genome_key(genome, rule)

                def judge(genome: Any = genome, rule: Any = rule, topology: Any = topology, task: Any = task) -> dict[str, Any]:
                    found = transfer(genome, rule, {"": topology}, [task], seeds=seeds, seed=seed, settings=(), **sizes)
                    return {"rows": list(found.rows), "chosen": [], "chance": found.notes["chance"][task.name]}

                cells.append((name, "genome", None if key is None else {"genome": key} | place, judge))
            for optimizer in optimizers:
                rates = [float(rate) for rate in learning_rates]
                key = {"optimizer": optimizer, "learning_rates": rates, "validation_seeds": int(validation_seeds)}

                def tune(
                    optimizer: Any = optimizer, rates: Any = rates, topology: Any = topology, task: Any = task
                ) -> dict[str, Any]:
                    keys, choice = run_keys(seed, seeds)
                    settings = tuple(setting for setting in SETTINGS if setting.optimizer == optimizer)
                    options = {"settings": settings, "rates": rates, "seeds": validation_seeds} | sizes
                    tuned = tuned_baselines(topology, task, key=choice, test_keys=keys, **options)
                    more, settled = baseline_rows(tuned, {})
                    numbers = {"configurations": tuned.choice.configurations, "runs": tuned.choice.runs}
                    return {"rows": more, "chosen": settled, **numbers, "baseline_failures": tuned.choice.failures}

                cells.append((None, optimizer, key | place, tune))
            for name, method, key, compute in cells:
                done += 1
                label = f"[{done}/{total}] {task_name} on {topology_name}: {name or method}"
                cell = stored_cell(store, key)
                found_before += cell is not None
                if cell is None:
                    say(label)
                    try:
                        begun = time.perf_counter()
                        cell = compute() | {"seconds": round(time.perf_counter() - begun, 3)}
                    except NeurographError as error:
                        problems.append(where | {"genome": name, "method": method, "reason": str(error)})
                        say(f"{label}: cannot run ({str(error).splitlines()[0]})")
                        continue
                    keep_cell(store, key, cell)
                    fresh += 1
                    if fresh % 100 == 0:  # hundreds of compiled programs are more than a process may map
                        jax.clear_caches()
                else:
                    say(f"{label}: known")
                rows += [{"genome": name} | row | where for row in cell["rows"]]
                chosen += [row | where for row in cell["chosen"]]
                for number in counts:
                    counts[number] += cell.get(number, 0)
                if "chance" in cell:
                    chance[task_name] = cell["chance"]
    notes = common | {"validation_seeds": validation_seeds, "learning_rates": [float(rate) for rate in learning_rates]} | counts
    notes |= {"chance": chance, "genomes": list(genomes), "baselines": list(optimizers), "tasks": list(tasks)}
    notes["topologies"] = {
        name: {"neurons": t.num_neurons, "synapses": t.num_synapses, "depth": t.depth, "schedule": t.schedule, "digest": t.digest}
        for name, t in topologies.items()
    }
    notes["environment"] = current_environment()
    notes["cells"] = {"all": total, "found": found_before, "seconds": round(time.perf_counter() - started, 1)}
    return TransferMatrix(tuple(rows), tuple(mark_best(chosen)), tuple(problems), notes)


# -- the store -----------------------------------------------------------------------------------------------------------------
