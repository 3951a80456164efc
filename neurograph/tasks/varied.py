"""One task made many: every episode draws how its inputs and labels are changed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from neurograph.documents import shown, suggestion
from neurograph.errors import TaskError
from neurograph.tasks.base import Batch, Episode, Task, decode_labels, task_dataclass

__all__ = ["VariedTask", "varied"]

KEYS = ("inputs", "shuffled", "relabelled", "classes", "scale")


@task_dataclass(data=("base", "drawn"))
class VariedTask(Task):
    """A task whose inputs and labels are changed in a way that every episode draws.

    Attributes:
      base: the task itself.
      projected: inputs are projected to `num_inputs` random directions.
      shuffled: inputs change places.
      relabelled: classes change names.
      classes: (least, most) classes of an episode, drawn evenly; all of the task's are dealt out to them in turn.
      scale: (least, most) factor of all inputs, drawn evenly on a logarithmic scale.
      drawn: the draw of an instance; None: fresh per episode.
    """

    base: Any = None
    projected: bool = False
    shuffled: bool = False
    relabelled: bool = False
    classes: tuple[int, int] | None = None
    scale: tuple[float, float] | None = None
    drawn: Any = None
    kind: ClassVar[str] = "varied"

    @property
    def is_family(self) -> bool:
        return True if self.drawn is None else self.base.is_family

    @property
    def splits_apart(self) -> bool:
        return self.base.splits_apart

    def instance(self, key: PRNGKeyArray, split: str = "train") -> VariedTask:
        """The task with its changes drawn once and held, and the problem of the task itself where that is a family."""
        keys = dict(zip((*KEYS, "base"), jax.random.split(key, len(KEYS) + 1), strict=True))
        base = self.base.instance(keys["base"], split)
        if self.drawn is not None:
            return dataclasses.replace(self, base=base)
        width, count = self.base.num_inputs, self.num_classes
        drawn: dict[str, jax.Array] = {}
        if self.projected:
            drawn["inputs"] = jax.random.normal(keys["inputs"], (width, self.num_inputs), jnp.float32) / math.sqrt(width)
        if self.shuffled:
            drawn["shuffled"] = jax.random.permutation(keys["shuffled"], width)
        if self.scale is not None:
            low, high = map(math.log, self.scale)
            drawn["scale"] = jnp.exp(jax.random.uniform(keys["scale"], (), jnp.float32, low, high))
        if self.relabelled or self.classes is not None:
            names = jnp.arange(count)
            if self.classes is not None:
                names = names % jax.random.randint(keys["classes"], (), self.classes[0], self.classes[1] + 1)
            # Which of the classes share a name is drawn, and which names there are.
            dealt = jax.random.permutation(keys["relabelled"], count)
            drawn["names"] = names[dealt]
        return dataclasses.replace(self, base=base, drawn=drawn)

    def sample(self, key: PRNGKeyArray, batch_size: int, split: str = "train") -> Batch:
        """One batch; see `Task.sample`."""
        own, key = jax.random.split(key)
        task = self.instance(own, split)
        return task._changed(task.base.sample(key, batch_size, split))

    def episode(
        self,
        key: PRNGKeyArray,
        steps: int,
        batch_size: int,
        query_size: int,
        split: str = "train",
        query_split: str | None = None,
    ) -> Episode:
        """One inner loop's data, under one draw; see `Task.episode`."""
        own, key = jax.random.split(key)
        task = self.instance(own, split)
        support, query = task.base.episode(key, steps, batch_size, query_size, split, query_split)
        return Episode(task._changed(support), task._changed(query))

    def _changed(self, batch: Batch) -> Batch:
        x, y = batch
        if "shuffled" in self.drawn:
            x = x[..., self.drawn["shuffled"]]
        if "inputs" in self.drawn:
            x = x @ self.drawn["inputs"]
        if "scale" in self.drawn:
            x = x * self.drawn["scale"]
        if "names" in self.drawn:
            y = self.encode(self.drawn["names"][decode_labels(y)])
        return Batch(x, y)


def varied(task: Task, changes: Any) -> VariedTask:
    """A family of which every episode changes `task` in a way of its own.

    Args:
      task: any task.
      changes: a mapping of what changes. `inputs: 32`: projected to so many random directions; `shuffled: true`: inputs change
        places; `relabelled: true`: classes change names; `classes: [2, 10]`: how many names there are, the task's classes dealt
        out to them; `scale: [0.1, 10]`: a factor of all inputs, drawn evenly on a logarithmic scale.

    Raises:
      TaskError: unknown keys, or values that these cannot have.
    """
    if not isinstance(changes, Mapping) or not changes:
        raise TaskError(f"varied: got {shown(changes)}; expected a mapping with some of {', '.join(KEYS)}.")
    if unknown := [key for key in changes if key not in KEYS]:
        raise TaskError(f"varied: no key {unknown[0]!r}{suggestion(str(unknown[0]), KEYS)}")
    for key in ("shuffled", "relabelled"):
        if not isinstance(changes.get(key, False), bool):
            raise TaskError(f"varied: {key}: got {shown(changes[key])}; expected true or false.")
    inputs = changes.get("inputs")
    if inputs is not None and (isinstance(inputs, bool) or not isinstance(inputs, int) or inputs < 1):
        raise TaskError(f"varied: inputs: got {shown(inputs)}; expected an integer >= 1.")
    named = bool({"relabelled", "classes"} & set(changes))
    if named and task.num_classes < 2:
        raise TaskError(f"varied: task {task.name!r} has no classes to rename.")
    classes = _pair("classes", changes.get("classes"), int, 2, task.num_classes)
    scale = _pair("scale", changes.get("scale"), float, 0, math.inf)
    return VariedTask(
        task.name,
        inputs or task.num_inputs,
        task.num_outputs,
        task.num_classes,
        () if named else task.class_names,
        base=task,
        projected=inputs is not None,
        shuffled=changes.get("shuffled", False),
        relabelled=changes.get("relabelled", False),
        classes=classes,
        scale=scale,
    )


def _pair(key: str, value: Any, kind: type, low: float, high: float) -> Any:
    """(least, most) as `kind`, or None; one number stands for both."""
    if value is None:
        return None
    pair = value if isinstance(value, (list, tuple)) else (value, value)
    numbers = (int, float) if kind is float else (int,)
    fine = len(pair) == 2 and all(isinstance(n, numbers) and not isinstance(n, bool) and math.isfinite(n) for n in pair)
    least = low < pair[0] if kind is float and fine else fine and low <= pair[0]
    if not (fine and least and pair[0] <= pair[1] <= high):
        expected = "[least, most] above 0" if kind is float else f"[least, most] from {low} to {high}"
        raise TaskError(f"varied: {key}: got {value!r}; expected {expected}.")
    return kind(pair[0]), kind(pair[1])
