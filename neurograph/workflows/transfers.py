"""`transfer` in Python: genomes x topologies x tasks from names, files or objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from neurograph.experiments.folder.lock import locked
from neurograph.experiments.transfer.matrix import transfer_matrix
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.workers import make_executor
from neurograph.genome import GenomeFile
from neurograph.genome.files import genome_sources
from neurograph.learning.baselines import LEARNING_RATES
from neurograph.workflows.objects import as_genome_file, as_task, as_topology, by_name, source_name

__all__ = ["transfer"]


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
      batch_size, query_size: rows of a learning step, and of what accuracy is judged on.
      learning_rates: of baselines; the grid grows where the best is at its edge.
      workers: how many processes, the address of a Dask scheduler, or a `distributed.Client` computes cells: the same numbers.
      say: called with a line per cell.

    Returns:
      `TransferMatrix`: `cells`, `text`, `summary`, `csv`, `of(genome)`.

    Raises:
      ExperimentError: something is of the wrong kind, or a number is too small.
      GenomeError, TopologyError, TaskError: there is no such file or name.

    Examples:
      >>> import neurograph as ng
      >>> matrix = ng.transfer("functions", "2-4-2", ["xor", "and"], steps=(0, 2), runs=1, baselines=(), query_size=32)
      >>> [(cell["task"], cell["step"]) for cell in matrix.cells(2)]
      [('xor', 2), ('and', 2)]
    """
    files: dict[str, Any] = by_name(genomes, as_genome_file, _name_of_genome, genome_sources)
    found = {
        "genomes": {name: (file.genome, file.rule) for name, file in files.items()},
        "topologies": by_name(topologies, as_topology, lambda given, made: _name(given) or made.title or "graph"),
        "tasks": by_name(tasks, as_task, _name_of_task),
    }
    trial: dict[str, Any] = {"at": tuple(steps), "seeds": runs, "seed": seed, "validation_seeds": validation_runs}
    trial |= {"batch_size": batch_size, "query_size": query_size}
    with ExitStack() as stack:
        stack.enter_context(nullcontext() if folder is None else locked(Path(folder)))
        executor = None if workers is None else stack.enter_context(make_executor(workers, say))
        options: dict[str, Any] = {"optimizers": tuple(baselines), "learning_rates": learning_rates, "executor": executor}
        matrix = transfer_matrix(**found, folder=folder, progress=say, **options, **trial)
        matrix.note_training(files)
        if folder is not None:
            from neurograph.report.figures.transfer import save_figures
            from neurograph.report.transfer import holds_matrix, write_transfer_report

            matrix.save(folder)
            save_figures(matrix, folder)
            if holds_matrix(folder):  # the folder of a run has a page of its own
                write_transfer_report(folder)
    return matrix


def _name(given: Any) -> str:
    """A name, or a short one of a file; "" for an object."""
    return source_name(given) if isinstance(given, (str, Path)) else ""


def _name_of_genome(given: Any, made: GenomeFile) -> str:
    return _name(given) or str(made.card.get("name") or made.card.get("experiment") or "genome")


def _name_of_task(given: Any, made: Any) -> str:
    if isinstance(given, dict):
        return " ".join([str(given["name"]), *(f"{key}={value}" for key, value in given.items() if key != "name")])
    return given if isinstance(given, str) else made.name
