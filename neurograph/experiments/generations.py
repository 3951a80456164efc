"""Generations judged by workers: the search stays in one process, its members are computed in parts, wherever there is room.

A part has `PART` members whatever the number of workers, and the last is filled up with copies: every part of every generation
runs through one program, and gives the bits that it gives anywhere. On a CPU, where members run one after another in a loop,
these are the bits of a whole generation as well.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.experiments.experiment import Experiment, located
from neurograph.experiments.folder.run_folder import START
from neurograph.experiments.folder.topologies import PLACE
from neurograph.experiments.given import Given
from neurograph.experiments.spec import ExperimentSpec
from neurograph.experiments.transfer.cells import require_data, task_key
from neurograph.experiments.workers.executor import Executor
from neurograph.experiments.workers.worker import worker_name
from neurograph.genome import Genome
from neurograph.meta import Objective
from neurograph.meta.pes import learn_windows
from neurograph.meta.population import evaluate
from neurograph.tasks import Task

__all__ = ["Generations", "Recipe"]

PART = 2  # members; a loop over one alone would be compiled into something else
SHARE = 2  # a task takes one of so many shares per worker of what is left of a generation: few, because each costs its asking


class Source(Protocol):
    """Gives the objective of a meta-step: a `Recipe`, which is small; or an `Objective` itself, which is sent with its data."""

    def at(self, meta_step: int) -> Objective: ...


class Generations:
    """A `Share` of meta-optimizers over an executor.

    Args:
      executor: where parts are computed.
      source: gives the objective; it is sent to every worker once.

    Raises:
      ExperimentError: workers die of a part, one after another, or data of a worker are not those of this process.
    """

    def __init__(self, executor: Executor, source: Source):
        self._executor, self._source = executor, source

    def judged(self, meta_step: int, population: Genome, key: jax.Array, episodes: int, steps: Any) -> dict[str, np.ndarray]:
        """Returns what `evaluate` returns."""
        numbers = np.asarray(jax.random.key_data(key)), episodes, int(steps)
        return self._in_parts(_judge, population, meta_step, *numbers)

    def windows(self, meta_step: int, particles: Any, steps: Any) -> Any:
        """Returns what `learn_windows` returns."""
        genomes, drawn, signs, keys, learning = particles
        return self._in_parts(_learn, (genomes, drawn, signs, jax.random.key_data(keys), learning), meta_step, int(steps))

    def _in_parts(self, function: Callable[..., Any], members: Any, *arguments: Any) -> Any:
        """Returns the function's results for all members [P, ...], in their order."""
        leaves, tree = jax.tree.flatten(members)
        arrays = [np.asarray(leaf) for leaf in leaves]
        count = len(arrays[0])
        places = [np.minimum(np.arange(first, first + PART), count - 1) for first in range(0, count, PART)]
        parts = [jax.tree.unflatten(tree, [array[place] for array in arrays]) for place in places]
        bundles, first, share = [], 0, SHARE * self._executor.workers
        while first < len(parts):  # ever smaller ones, so that workers end at about the same time
            many = -(-(len(parts) - first) // share)
            bundles.append(parts[first : first + many])
            first += many
        tasks = [self._executor.submit(_each, function, bundle, *arguments, shared=self._source) for bundle in bundles]
        number_of = {id(task): number for number, task in enumerate(tasks)}
        found: list[Any] = [None] * len(tasks)
        for task in self._executor.as_completed(tasks):
            found[number_of[id(task)]] = task.result()
        return jax.tree.map(lambda *own: np.concatenate(own)[:count], *(part for bundle in found for part in bundle))


def _each(source: Source, function: Callable[..., Any], bundle: list[Any], *arguments: Any) -> list[Any]:
    """Computes parts one after another, in a worker: each by the program that computes it alone."""
    return [function(source, part, *arguments) for part in bundle]


def _judge(source: Source, part: Genome, meta_step: int, key: np.ndarray, episodes: int, steps: int) -> dict[str, np.ndarray]:
    genomes = jax.tree.map(jnp.asarray, part)
    return evaluate(source.at(meta_step), genomes, jax.random.wrap_key_data(jnp.asarray(key)), episodes, steps)


def _learn(source: Source, part: Any, meta_step: int, steps: int) -> Any:
    genomes, drawn, signs, keys, learning = jax.tree.map(jnp.asarray, part)
    particles = (genomes, drawn, signs, jax.random.wrap_key_data(keys), learning)
    return jax.tree.map(np.asarray, learn_windows(source.at(meta_step), particles, steps))


@dataclass
class Recipe:
    """What a worker needs to make the objective of a run: the specification, copies of its files, checksums of its data.

    Attributes:
      spec: an `ExperimentSpec` as JSON.
      files: by their place in a run folder.
      data: per problem the checksum of its task's data.
      tasks: those that the specification names but no registry has.
    """

    spec: str
    files: dict[str, bytes]
    data: list[str]
    tasks: dict[str, Task] = field(default_factory=dict)
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, experiment: Experiment, folder: Path) -> Recipe:
        """Returns the recipe of an experiment whose files `folder` keeps."""
        kept = [folder / START, *sorted((folder / PLACE).glob("*"))]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept if path.is_file()}
        spec = experiment.spec.model_copy(update={"devices": None, "tensorboard": False, "loggers": []})
        checksums = [task_key(problem.task, "")["data"] for problem in experiment.objective.problems]
        return cls(json.dumps(spec.model_dump(mode="json")), files, checksums, dict(experiment.given.tasks))

    def at(self, meta_step: int) -> Objective:
        """Returns the objective of a meta-step, made once in a process.

        Raises:
          ExperimentError: this process has other data than the one that made the recipe.
        """
        if "objective" not in self._made:
            self._made["objective"] = self._objective()
        if self._made.get("step") != meta_step:
            self._made |= {"step": meta_step, "now": self._made["objective"].at(meta_step)}
        return self._made["now"]

    def _objective(self) -> Objective:
        spec = ExperimentSpec.model_validate(json.loads(self.spec))
        with tempfile.TemporaryDirectory() as folder:
            for place, content in self.files.items():
                (Path(folder) / place).parent.mkdir(exist_ok=True)
                (Path(folder) / place).write_bytes(content)
            with located(worker_name()):
                objective = Experiment(spec, None, Path(folder), Given(self.tasks)).objective
        for problem, made, checksum in zip(spec.problems, objective.problems, self.data, strict=True):
            require_data(made.task, str(problem.task), checksum)
        return objective

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": {}}
