"""Several tasks at once, each with its own numbers of inputs and classes (and so its own network)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from neurograph.errors import TaskError
from neurograph.tasks.base import Episode, Task, task_dataclass
from neurograph.tasks.registry import get_task

__all__ = ["TaskMix", "mix"]


@task_dataclass(data=("tasks",))
class TaskMix:
    """Tasks that are meta-trained together; a pytree of them.

    One meta-batch has an episode of every task. Tasks of equal size can share one network and one compiled program: see `groups`.

    Attributes:
      tasks: the members.
      weights: share of each in the meta-loss, summing to 1.
    """

    tasks: tuple[Task, ...]
    weights: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(num_inputs, num_outputs) of each task."""
        return tuple((task.num_inputs, task.num_outputs) for task in self.tasks)

    @property
    def groups(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """(num_inputs, num_outputs) -> the positions of the tasks of that size, in order of first appearance."""
        groups: dict[tuple[int, int], tuple[int, ...]] = {}
        for index, size in enumerate(self.sizes):
            groups[size] = (*groups.get(size, ()), index)
        return groups

    def episodes(
        self,
        key: PRNGKeyArray,
        steps: int,
        batch_size: int,
        query_size: int,
        split: str = "train",
        query_split: str | None = None,
    ) -> tuple[Episode, ...]:
        """One episode of every task, each from a key of its own (by position); see `Task.episode`."""
        return tuple(
            task.episode(jax.random.fold_in(key, index), steps, batch_size, query_size, split, query_split)
            for index, task in enumerate(self.tasks)
        )

    def with_outputs(self, outputs: int | None) -> TaskMix:
        """Every member with that number of outputs; see `Task.with_outputs`."""
        return dataclasses.replace(self, tasks=tuple(task.with_outputs(outputs) for task in self.tasks))

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> Task:
        return self.tasks[index]

    def __repr__(self) -> str:
        return f"<TaskMix of {', '.join(self.names)}>"


def mix(
    tasks: Sequence[str | Task | Mapping[str, Any]] | str | Task | Mapping[str, Any] | TaskMix,
    weights: Sequence[float] | None = None,
) -> TaskMix:
    """Tasks to meta-train on together.

    Args:
      tasks: names, mappings with options, or tasks, as `get_task` takes them; a single one is a mix of one.
      weights: share of each in the meta-loss, any positive scale; default equal.

    Raises:
      TaskError: no task, weights that do not fit, or any fault that `get_task` finds.

    Examples:
      >>> import neurograph as ng
      >>> both = ng.mix(["xor", {"name": "circle", "radius": 0.5}], weights=[3, 1])
      >>> both.names, both.weights
      (('xor', 'circle'), (0.75, 0.25))
    """
    if isinstance(tasks, TaskMix):
        members = tasks.tasks
        weights = tasks.weights if weights is None else weights
    elif isinstance(tasks, (str, Task, Mapping)):
        members = (get_task(tasks),)
    else:
        if isinstance(tasks, (bytes, Set)) or not isinstance(tasks, Iterable):
            raise TaskError(f"tasks: got {type(tasks).__name__}; expected a list of names, mappings or tasks.")
        members = tuple(get_task(task) for task in tasks)
    if not members:
        raise TaskError("a mix needs at least one task.")
    try:
        shares = np.ones(len(members)) if weights is None else np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        shares = np.empty(0)
    if shares.shape != (len(members),) or not np.isfinite(shares).all() or (shares <= 0).any():
        raise TaskError(f"weights: got {weights!r}; expected {len(members)} positive numbers, one per task.")
    return TaskMix(members, tuple((shares / shares.sum()).tolist()))
