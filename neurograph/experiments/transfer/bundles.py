"""Units of a transfer matrix on workers: those that share a compiled program go to one worker together, data go by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from neurograph.experiments.transfer.cells import require_data, task_key
from neurograph.experiments.transfer.units import Question, Unit, compute_unit
from neurograph.experiments.workers.executor import Executor, TaskLost
from neurograph.tasks import Task, get_task

__all__ = ["TaskSource", "compute_elsewhere"]

MOST_CELLS = 48  # of a bundle


@dataclass(frozen=True)
class TaskSource:
    """The arguments of `get_task`, by which a worker makes a task itself; its data have to have the checksum of ours."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    checksum: str = ""

    def task(self) -> Task:
        """Makes the task.

        Raises:
          ExperimentError: the data of this process are others than those of the process that asks.
          TaskError: see `get_task`.
        """
        made = get_task(self.name, **self.options)
        if self.checksum:
            require_data(made, self.name, self.checksum)
        return made


@dataclass
class Shared:
    """A question as it is sent: tasks by their sources, where they are known."""

    question: Question
    sources: dict[str, TaskSource]
    _made: dict[str, Question] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, question: Question, sources: Mapping[str, TaskSource]) -> Shared:
        known = {
            name: dataclasses.replace(sources[name], checksum=task_key(task, "")["data"])
            for name, task in question.tasks.items()
            if name in sources
        }
        rest = {name: task for name, task in question.tasks.items() if name not in known}
        return cls(dataclasses.replace(question, tasks=rest), known)

    def whole(self) -> Question:
        """Returns the question with its tasks, made once in a process."""
        if not self._made:
            made = self.question.tasks | {name: source.task() for name, source in self.sources.items()}
            self._made["question"] = dataclasses.replace(self.question, tasks=made)
        return self._made["question"]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": {}}


def compute_elsewhere(
    executor: Executor, question: Question, sources: Mapping[str, TaskSource], units: Iterable[Unit]
) -> Iterator[tuple[Unit, str, dict[str, Any]]]:
    """Yields `(unit, topology, cell)` as they come; cells as of `compute_unit`, one of which workers died with a "reason".

    Raises:
      ExperimentError: the executor is gone, or a worker is not like this process.
    """
    shared = Shared.of(question, sources)
    waiting = bundles(question, units)
    while waiting:
        tasks = [executor.submit(_compute, bundle, shared=shared) for bundle in waiting]
        bundle_of = {id(task): bundle for task, bundle in zip(tasks, waiting, strict=True)}
        waiting = []
        for task in executor.as_completed(tasks):
            bundle = bundle_of[id(task)]
            try:
                found = task.result()
            except TaskLost as error:
                alone = [dataclasses.replace(unit, topologies=(name,)) for unit in bundle for name in unit.topologies]
                if len(alone) == 1:
                    yield alone[0], alone[0].topologies[0], {"reason": str(error)}
                waiting += [(unit,) for unit in alone] if len(alone) > 1 else []  # one of them is to blame
                continue
            for unit, cells in zip(bundle, found, strict=True):
                yield from ((unit, name, cell) for name, cell in zip(unit.topologies, cells, strict=True))


def bundles(question: Question, units: Iterable[Unit]) -> list[tuple[Unit, ...]]:
    """Returns the units in bundles that run through one program, whatever the number of workers; the largest first."""
    groups: dict[Any, list[Unit]] = {}
    for unit in units:
        rule = None if unit.genome is None else repr(question.genomes[unit.genome][1])
        groups.setdefault((unit.task, unit.topologies, unit.size, rule), []).append(unit)  # one program serves all optimisers
    found = []
    for group in groups.values():
        most = max(MOST_CELLS // len(group[0].topologies), 1)
        found += [tuple(group[start : start + most]) for start in range(0, len(group), most)]

    def work(bundle: tuple[Unit, ...]) -> int:
        graphs = (question.topologies[name] for unit in bundle for name in unit.topologies)
        return sum(graph.num_synapses * graph.ticks for graph in graphs)

    return sorted(found, key=work, reverse=True)


def _compute(shared: Shared, bundle: tuple[Unit, ...]) -> list[list[dict[str, Any]]]:
    """Computes a bundle, in a worker."""
    question = shared.whole()
    return [list(compute_unit(question, unit)) for unit in bundle]
