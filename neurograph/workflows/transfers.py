"""`transfer` in Python: genomes x topologies x tasks from names, files or objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

from neurograph.errors import ExperimentError
from neurograph.experiments.folder.lock import locked
from neurograph.experiments.transfer.bundles import TaskSource
from neurograph.experiments.transfer.matrix import transfer_matrix
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.workers import make_executor
from neurograph.genome import GenomeFile
from neurograph.genome.files import genome_sources
from neurograph.learning.baselines import LEARNING_RATES
from neurograph.workflows.objects import as_genome_file, as_task, as_topology, by_name, source_name

__all__ = ["run_transfer", "transfer"]


def transfer(
    genomes: Any,
    topologies: Any,
    tasks: Any,
    folder: str | Path | None = None,
    *,
    steps: Sequence[int] = (0, 1, 2, 5, 10, 20, 50),
    runs: int = 5,
    seed: int = 0,
    baselines: Sequence[str] = ("sgd",),
    validation_runs: int = 3,
    search: str = "grid",
    batch_size: int = 128,
    query_size: int = 512,
    learning_rates: Sequence[float] = LEARNING_RATES,
    workers: int | str | Any = None,
    say: Callable[[str], None] = lambda text: None,
) -> TransferMatrix:
    """Tests genomes on topologies and tasks beside gradient descent, on test data; what `neurograph transfer` does.

    Args:
      genomes: one, several, or a mapping of names: names of the zoo, files, `GenomeFile`s, pairs (genome, rule); the word
        "classics" stands for all of `CLASSICS`.
      topologies: likewise: shipped names, files, layer widths ("2-20-2"), `Topology`s, networkx graphs.
      tasks: likewise: names with their options ("digits classes=0-4"), mappings of these, `Task`s, pairs of arrays (x, labels).
      folder: where finished cells are kept and found again, with tables, figures and report.html; None keeps nothing.
      steps: learning steps after which accuracy is judged.
      runs: draws of synapses and batches.
      seed: of all randomness.
      baselines: of "sgd", "momentum", "adam"; () for none.
      validation_runs: runs by which learning rates are chosen.
      search: how they are: "grid", or "halving", which ends the worse half at each step count (see `Trial`).
      batch_size, query_size: rows of a learning step, and of what accuracy is judged on.
      learning_rates: of baselines; the grid grows where the best is at its edge.
      workers: how many processes, the address of a Dask scheduler, or a `distributed.Client` computes cells: the same numbers.
      say: called with a line per cell.

    Returns:
      `TransferMatrix`: `cells`, `text`, `summary`, `csv`, `of(genome)`.

    Raises:
      ExperimentError: something is of the wrong kind, a number is too small, or no genome runs on any topology and task.
      GenomeError, TopologyError, TaskError: there is no such file or name.

    Examples:
      >>> import neurograph as ng
      >>> matrix = ng.transfer("functions", "2-4-2", ["xor", "and"], steps=(0, 2), runs=1, baselines=(), query_size=32)
      >>> [(cell["task"], cell["step"]) for cell in matrix.cells(2)]
      [('xor', 2), ('and', 2)]
    """
    options: dict[str, Any] = {"at": tuple(steps), "seeds": runs, "seed": seed, "validation_seeds": validation_runs}
    options |= {"search": search, "batch_size": batch_size, "query_size": query_size, "optimizers": tuple(baselines)}
    options |= {"learning_rates": learning_rates, "workers": workers, "say": say, "progress": say}
    return run_transfer(genomes, topologies, tasks, folder, **options)[0]


def run_transfer(
    genomes: Any,
    topologies: Any,
    tasks: Any,
    folder: str | Path | None,
    *,
    workers: Any = None,
    notes: Mapping[str, Any] = MappingProxyType({}),
    around: AbstractContextManager[Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> tuple[TransferMatrix, list[Path]]:
    """Does what `transfer` and its command share; returns the matrix and the files written.

    Args:
      tasks: may be `TaskSource`s too, from which workers make the tasks.
      notes: of the matrix, for its files.
      around: surrounds the computation.
      say: called with a line about workers.
      **options: of `transfer_matrix`.

    Raises:
      ExperimentError: no genome ran on any of the topologies and tasks; each reason is given.
    """
    files: dict[str, Any] = by_name(genomes, as_genome_file, _name_of_genome, genome_sources)
    found: dict[str, Any] = {
        "genomes": {name: (file.genome, file.rule) for name, file in files.items()},
        "topologies": by_name(topologies, as_topology, lambda given, made: _name(given) or made.title or "graph"),
        "tasks": by_name(tasks, lambda given: given.task() if isinstance(given, TaskSource) else as_task(given), _name_of_task),
    }
    if isinstance(tasks, Mapping):
        found["sources"] = {name: given for name, given in tasks.items() if isinstance(given, TaskSource)}
    with nullcontext() if folder is None else locked(Path(folder)), around or nullcontext():
        with make_executor(workers, say) as executor:
            options["executor"] = None if workers is None else executor
            matrix = transfer_matrix(**found, folder=folder, **options)
        if not any(row["genome"] for row in matrix.rows):
            reasons = dict.fromkeys(f"  {one['task']} on {one['topology']}: {one['reason']}" for one in matrix.problems)
            raise ExperimentError("\n".join(["no genome ran on any of these topologies and tasks:", *reasons]))
        matrix.note_training(files)
        matrix.notes.update(notes)
        if folder is None:
            return matrix, []
        from neurograph.report.figures.transfer import save_figures
        from neurograph.report.transfer import holds_matrix, write_transfer_report

        paths = [*matrix.save(folder), *save_figures(matrix, folder)]
        if holds_matrix(folder):  # the folder of a run has a page of its own
            paths.append(write_transfer_report(folder))
        return matrix, paths


def _name(given: Any) -> str:
    """A name, or a short one of a file; "" for an object."""
    return source_name(given) if isinstance(given, (str, Path)) else ""


def _name_of_genome(given: Any, made: GenomeFile) -> str:
    return _name(given) or str(made.card.get("name") or made.card.get("experiment") or "genome")


def _name_of_task(given: Any, made: Any) -> str:
    if isinstance(given, dict):
        return " ".join([str(given["name"]), *(f"{key}={value}" for key, value in given.items() if key != "name")])
    return given if isinstance(given, str) else made.name
