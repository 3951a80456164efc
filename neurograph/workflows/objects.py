"""Names, files and objects, as workflows are given them, as what the rooms take."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import networkx as nx
import numpy as np

from neurograph.errors import ExperimentError
from neurograph.experiments.given import OBJECT, Given
from neurograph.experiments.transfer.cells import genome_key, task_key
from neurograph.genome import AnyGenome, GenomeFile, LayeredGenome, load_genome_file
from neurograph.genome.model import Genome
from neurograph.genome.rule import Rule
from neurograph.tasks import Task, from_arrays, get_task
from neurograph.topology import Topology, from_networkx, load_topology, save_topology

__all__ = ["as_genome", "as_genome_file", "as_task", "as_topology", "by_name", "given_of", "source_name", "unused_name"]

T = TypeVar("T")

GENOMES = "a name of the zoo, a file, a GenomeFile, or a pair (genome, rule)"
TOPOLOGIES = "a shipped name, a file, layer widths such as 2-20-2, a Topology, or a networkx graph whose nodes say their role"
TASKS = "a name with its options, a mapping of these, a Task, or a pair of arrays (x, labels)"


def as_genome(given: Any) -> tuple[AnyGenome, Rule]:
    """Returns a genome with its rule; raises what `as_genome_file` does."""
    file: Any = as_genome_file(given)
    return file.genome, file.rule


def as_genome_file(given: Any) -> GenomeFile:
    """Returns a genome with its rule and what its card tells.

    Raises:
      ExperimentError: it is of another kind, or has no rule. GenomeError: there is no such file or name.
    """
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Rule):
        return GenomeFile(*given, {})
    file = load_genome_file(given) if isinstance(given, (str, os.PathLike)) else given
    if isinstance(file, (Genome, LayeredGenome)):
        raise ExperimentError("genome: got one without a rule, which says how it is used; expected a pair (genome, rule)")
    if not isinstance(file, GenomeFile):
        raise ExperimentError(f"genome: got {type(given).__name__}; expected {GENOMES}")
    if file.rule is None:
        raise ExperimentError(f"genome: {given!s:.80} has no rule; save it with the rule that it was learned under")
    return file


def as_topology(given: Any) -> Topology:
    """Returns a topology.

    Raises:
      ExperimentError: it is of another kind. TopologyError: there is no such file or name, or the graph is none.
    """
    if isinstance(given, Topology):
        return given
    if isinstance(given, nx.Graph):
        return from_networkx(given)
    if isinstance(given, (str, os.PathLike)):
        return load_topology(given)
    raise ExperimentError(f"topology: got {type(given).__name__}; expected {TOPOLOGIES}")


def as_task(given: Any) -> Task:
    """Returns a task.

    Raises:
      ExperimentError: it is of another kind. TaskError: there is no such name, or the data are none.
    """
    if isinstance(given, tuple) and len(given) == 2:
        return from_arrays(*given)
    if isinstance(given, (str, Mapping, Task)):
        return get_task(given)
    raise ExperimentError(f"task: got {type(given).__name__}; expected {TASKS}")


def by_name(
    given: Any,
    made: Callable[[Any], T],
    named: Callable[[Any, T], str],
    meant: Callable[[Any], list[Any]] = lambda one: [one],
) -> dict[str, T]:
    """Returns one or several things by name: a mapping has names, of others `named` finds one.

    Names that come twice get a number; `meant` says what one without a name stands for, which may be several.
    """
    if isinstance(given, Mapping) and "name" not in given:
        return {str(name): made(one) for name, one in given.items()}
    found: dict[str, T] = {}
    several = given if isinstance(given, Iterable) and not _single(given) else [given]
    for one in [each for word in several for each in meant(word)]:
        value = made(one)
        found[unused_name(named(one, value), found)] = value
    return found


def source_name(source: str | Path) -> str:
    """Returns a short name of a file, or a name as it is: of the genome of a run that of its folder."""
    path = Path(source)
    return path.parent.name if path.stem == "genome" and path.parent.name else path.stem


def unused_name(name: str, taken: Container[str]) -> str:
    """Returns the name, with a number behind it if it is taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name} ({number})", number + 1
    return found


def _single(given: Any) -> bool:
    """Whether something that could be gone through is one thing: a pair (genome, rule) or of arrays, a graph, a mapping."""
    if isinstance(given, tuple):
        return len(given) == 2 and (isinstance(given[1], Rule) or isinstance(given[0], np.ndarray) or hasattr(given[0], "shape"))
    return isinstance(given, (str, os.PathLike, Mapping, nx.Graph, Topology, Task, GenomeFile))


def given_of(document: Any, folder: Path) -> tuple[Any, Given]:
    """Returns an experiment's document with names in place of its objects, and the objects.

    Args:
      document: a mapping as in an experiment file, whose tasks, topologies and start genome may be objects.
      folder: where the files of topologies are written.
    """
    tasks: dict[str, Task] = {}
    files: dict[str, Path] = {}
    genomes: dict[str, GenomeFile] = {}

    def task(one: Any) -> Any:
        if isinstance(one, str):
            return one
        made = as_task(one)
        name = f"{OBJECT}{made.name}-{task_key(made, '')['data'][:12]}"
        tasks[name] = made
        return name

    def topology(one: Any) -> Any:
        if isinstance(one, (str, Mapping)):
            return one
        if isinstance(one, os.PathLike):
            return os.fspath(one)
        made = as_topology(one)
        name = f"{OBJECT}{made.title or 'graph'}-{made.digest[:12]}"
        if name not in files:
            files[name] = folder / f"{made.digest[:12]}.json"
            save_topology(made, files[name])
        return name

    def genome(one: Any) -> Any:
        if one is None or isinstance(one, str):
            return one
        if isinstance(one, os.PathLike):
            return os.fspath(one)
        found, rule = as_genome(one)
        key = genome_key(found, rule)
        if key is None:
            raise ExperimentError("start.genome: its rule has an activation without a name, which no file can hold")
        name = f"{OBJECT}{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}"
        genomes[name] = GenomeFile(found, rule, one.card if isinstance(one, GenomeFile) else {})
        return name

    def each(value: Any, what: Callable[[Any], Any]) -> Any:
        return [what(one) for one in value] if isinstance(value, (list, tuple)) else value

    def within(value: Any, **what: Callable[[Any], Any]) -> Any:
        """A mapping with some of its values replaced; what is of another kind is left for the specification to refuse."""
        if not isinstance(value, Mapping):
            return value
        return {key: what[key](one) if key in what else one for key, one in value.items()}

    replaced = within(
        document,
        problems=lambda problems: each(problems, lambda one: within(one, task=task, topology=topology)),
        start=lambda start: within(start, genome=genome),
        transfer=lambda test: within(test, topologies=lambda found: each(found, topology), tasks=lambda found: each(found, task)),
    )
    return replaced, Given(tasks, files, genomes)
