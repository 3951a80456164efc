"""Tasks one after another on the same synapses: does what was learned last, or can, what came before?

A learner is a genome on a network, or gradient descent on an ordinary network of the same graph. It goes through `Phase`s, its
synapses (and an optimiser's memory) kept from one to the next, and is judged on every task of the sequence as it goes.

Example:
  >>> import jax
  >>> import neurograph as ng
  >>> from neurograph.learning.sequence import GenomeLearner, Phase, learn_sequence, permuted
  >>> file, task = ng.load_genome_file("digits"), ng.get_task("digits")
  >>> learner = GenomeLearner(ng.Network(ng.load_topology("topologies/mlp.yaml"), file.rule), file.genome)
  >>> phases = [Phase(task, 10), Phase(permuted(task, 1), 10)]
  >>> found = learn_sequence(learner, phases, keys=jax.random.split(jax.random.key(0), 3), at=(0, 5))
  >>> found.points
  ((0, 0), (0, 5), (0, 10), (1, 0), (1, 5), (1, 10))
  >>> found.accuracy.shape
  (3, 6, 2)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import ExperimentError, TaskError
from neurograph.genome import AnyGenome
from neurograph.learning.baselines import (
    LEARNING_RATES,
    OPTIMIZERS,
    SETTINGS,
    Setting,
    any_optimizer,
    init_parameters,
    ordinary_network,
    predict,
    splits_of,
    train_step,
)
from neurograph.learning.inner_loop import Problem, accuracy, fresh_synapses, judge, query_loss
from neurograph.network.network import Network
from neurograph.network.step import learning_step
from neurograph.tasks import Batch, Episode, Task
from neurograph.tasks.base import task_dataclass
from neurograph.topology.graph import Topology

__all__ = [
    "DescentLearner",
    "GenomeLearner",
    "Phase",
    "Relabelled",
    "SequenceCurves",
    "best_descent",
    "descent_learner",
    "learn_sequence",
    "permuted",
]


# -- learners ------------------------------------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GenomeLearner:
    """A genome on a network; what it keeps are synapses (and neurons' states, where the rule carries them)."""

    network: Network
    genome: AnyGenome

    def start(self, key: jax.Array, batch_size: int) -> Any:
        """Fresh synapses."""
        return fresh_synapses(self.network, self.genome, batch_size, key=key)

    def step(self, kept: Any, x: jax.Array, y: jax.Array, index: Any, key: jax.Array) -> Any:
        """One learning step on x [B, n_in], y [B, n_out]; `key` is for noise."""
        own = key if self.network.rule.noise else None
        learned: Any = learning_step(self.network, self.genome, kept, x, y, index, own, False)
        return learned[0]

    def judge(self, kept: Any, query: Batch) -> dict[str, jax.Array]:
        """{"loss", "accuracy"} on a query [Q, ...]."""
        return judge(self.network, self.genome, kept, query)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DescentLearner:
    """Gradient descent on an `ordinary_network`; what it keeps are parameters and the optimiser's memory.

    The optimiser (its place in `OPTIMIZERS`) and the rate are arguments of compiled programs: one serves them all.
    """

    network: Network
    optimizer: jax.Array
    rate: jax.Array
    activation: str = field(default="relu", metadata={"static": True})
    batch_norm: bool = field(default=False, metadata={"static": True})

    def start(self, key: jax.Array, batch_size: int) -> Any:
        """Fresh parameters, empty memory."""
        del batch_size
        fresh = init_parameters(self.network, Setting("sgd", self.activation, self.batch_norm), key=key)
        return fresh, any_optimizer(self.rate, self.optimizer).init(fresh)

    def step(self, kept: Any, x: jax.Array, y: jax.Array, index: Any, key: jax.Array) -> Any:
        """One training step."""
        del index, key
        optimizer = any_optimizer(self.rate, self.optimizer)
        return train_step(self.network, optimizer, self.activation, kept[0], kept[1], x, y)

    def judge(self, kept: Any, query: Batch) -> dict[str, jax.Array]:
        """{"loss", "accuracy"} on a query [Q, ...]."""
        outputs = predict(self.network, kept[0], query.x, self.activation)
        return {"loss": query_loss(outputs, query.y), "accuracy": accuracy(outputs, query.y)}


Learner = GenomeLearner | DescentLearner


def descent_learner(
    topology: Topology, setting: Setting = SETTINGS[0], rate: float = 0.1, kernel: str = "auto"
) -> DescentLearner:
    """An ordinary network on a topology, trained by a setting at a learning rate.

    Raises:
      ExperimentError: a rate that is not positive and finite.
    """
    if not 0 < rate < math.inf:
        raise ExperimentError(f"rate of a baseline: got {rate!r}; expected a number > 0")
    network, number = ordinary_network(topology, kernel), jnp.asarray(OPTIMIZERS.index(setting.optimizer))
    return DescentLearner(network, number, jnp.asarray(rate, jnp.result_type(float)), setting.activation, setting.batch_norm)


# -- what is learned -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phase:
    """So many learning steps on a task; `batches` of its batches are gone through in turn (default: every step a new one).

    Two phases with the same task object see other batches of the same problem.
    """

    task: Task
    steps: int
    batches: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("batches", self.batches)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
                raise ExperimentError(f"{name} of a phase: got {value!r}; expected an integer >= 1")


@task_dataclass(data=("task", "order"))
class Relabelled(Task):
    """Another task, whose class c is class `order[c]` here, [num_classes] int32. See `permuted`."""

    task: Any = None
    order: Any = None

    @property
    def is_family(self) -> bool:
        return self.task.is_family

    def _turn(self, batch: Batch) -> Batch:
        return Batch(batch.x, jnp.zeros_like(batch.y).at[..., self.order].set(batch.y))

    def episode(self, key, steps, batch_size, query_size, split="train", query_split=None) -> Episode:
        support, query = self.task.episode(key, steps, batch_size, query_size, split, query_split)
        return Episode(self._turn(support), self._turn(query))

    def sample(self, key: jax.Array, batch_size: int, split: str = "train") -> Batch:
        return self._turn(self.task.sample(key, batch_size, split))

    def instance(self, key: jax.Array, split: str = "train") -> Relabelled:
        return dataclasses.replace(self, task=self.task.instance(key, split))

    def arrays(self, split: str = "test") -> tuple[jax.Array, jax.Array]:
        rows, labels = self.task.arrays(split)
        return rows, self.order[labels]


def permuted(task: Task, seed: int) -> Relabelled:
    """The task with its labels permuted at random: same inputs, same classes, other outputs.

    Raises:
      TaskError: not one output per class.
    """
    if task.num_classes < 2 or task.num_outputs != task.num_classes:
        raise TaskError(
            f"task {task.name!r}: {task.num_classes} classes on {task.num_outputs} outputs; labels can be permuted where every"
            " class has an output"
        )
    order = np.random.default_rng(seed).permutation(task.num_classes)
    names = tuple(task.class_names[i] for i in np.argsort(order)) if task.class_names else ()
    common: dict[str, Any] = {"num_inputs": task.num_inputs, "num_outputs": task.num_outputs, "num_classes": task.num_classes}
    common |= {"class_names": names, "image_shape": task.image_shape}
    return Relabelled(f"{task.name} permuted {seed}", **common, task=task, order=jnp.asarray(order, jnp.int32))


# -- sequences -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceCurves:
    """`accuracy` and `loss` are [seeds, points, tasks] NumPy arrays; `points`: (phase, steps taken in it); `tasks`: names, in the
    order in which they first come. A run has failed where its loss is not finite."""

    points: tuple[tuple[int, int], ...]
    tasks: tuple[str, ...]
    accuracy: np.ndarray
    loss: np.ndarray

    def rows(self) -> list[dict[str, Any]]:
        """One per seed, point and judged task: {"phase", "step", "judged", "seed", "accuracy", "loss", "failed"}."""
        found: list[dict[str, Any]] = []
        for (seed, point, task), hit in np.ndenumerate(self.accuracy):
            loss = float(self.loss[seed, point, task])
            row: dict[str, Any] = {
                "phase": self.points[point][0],
                "step": self.points[point][1],
                "judged": self.tasks[task],
                "seed": seed,
            }
            row |= {"accuracy": float(hit), "loss": loss if math.isfinite(loss) else None, "failed": not math.isfinite(loss)}
            found.append(row)
        return found


def learn_sequence(
    learner: Learner,
    phases: Sequence[Phase],
    *,
    keys: jax.Array,
    at: Sequence[int] = (0,),
    batch_size: int = 128,
    query_size: int = 1024,
    judged_on: str = "test",
    keep: bool = True,
) -> SequenceCurves:
    """Learn the phases one after another; judge every task of the sequence after `at` steps of each phase and at its end.

    A key decides batches, queries and synapses, the same for all learners; those of a sequence of one phase are the ones that
    `learning_curve` and `baseline_curves` give for that key.

    Args:
      learner: a `GenomeLearner` or `DescentLearner`.
      phases: tasks as wide as the network; the same task may come again.
      keys: [S] PRNG keys, one run each.
      at: step counts within a phase; 0 is before its first step.
      batch_size, query_size: rows per step, and rows that every task is judged on (the same at all points).
      judged_on: "test" or "validation"; see `splits_of`.
      keep: False: every phase starts from fresh synapses, on the batches that it has in the sequence.

    Raises:
      ExperimentError: no phases, no keys, a step count below 0, or two tasks of one name.
      ShapeError: a task that does not fit the network.
    """
    at = sorted({int(step) for step in at})
    if not phases or not len(keys) or (at and at[0] < 0):
        raise ExperimentError(
            f"a sequence needs at least one phase, one key and step counts >= 0; got {len(phases)}, {len(keys)}, {at}"
        )
    tasks = list({id(phase.task): phase.task for phase in phases}.values())
    names = tuple(task.name for task in tasks)
    if len(set(names)) < len(names):
        raise ExperimentError(f"tasks of a sequence: got {', '.join(names)}; expected different names for different tasks")
    for task in tasks:
        Problem(learner.network, task)  # raises where it does not fit
    # Rows of the joint support that a step learns from, and stretches of steps between two looks.
    sizes, places, start = dict.fromkeys(map(id, tasks), 0), [], 0
    points: list[tuple[int, int]] = []
    ends: list[tuple[int, int, int, bool]] = []
    for number, phase in enumerate(phases):
        count = phase.batches or phase.steps
        places.append((tasks.index(phase.task), sizes[id(phase.task)] + np.arange(phase.steps) % count))
        sizes[id(phase.task)] += min(count, phase.steps)
        looks = sorted({step for step in at if step < phase.steps} | {phase.steps})
        for before, step in zip([0, *looks], looks):
            ends.append((start + before, start + step, number, not keep and number > 0 and before == 0))
            points.append((number, step))
        start += phase.steps
    first = np.concatenate([[0], np.cumsum([sizes[id(task)] for task in tasks])])
    rows = np.concatenate([first[task] + batches for task, batches in places])
    splits = tuple(splits_of(task, judged_on) for task in tasks)
    counts = tuple((sizes[id(task)], int(batch_size), int(query_size), *split) for task, split in zip(tasks, splits))
    stretches = tuple(np.array(column) for column in zip(*ends))
    loss, hits = _runs(learner, tuple(tasks), keys, rows, stretches, counts, keep)
    return SequenceCurves(tuple(points), names, np.asarray(hits), np.asarray(loss))


@partial(jax.jit, static_argnums=(5, 6))
def _runs(learner, tasks, keys, rows, stretches, counts, keep):
    """Loss and accuracy, both [keys, points, tasks]."""
    size = counts[0][1]

    def run(key: jax.Array):
        data_key, init_key, noise_key = jax.random.split(key, 3)  # as learner.learning_curve splits it
        own = [jax.random.fold_in(data_key, number) if number else data_key for number in range(len(tasks))]
        episodes = [task.episode(k, *count) for task, k, count in zip(tasks, own, counts)]
        support = jax.tree.map(lambda *parts: jnp.concatenate(parts), *(episode.support for episode in episodes))
        queries = jax.tree.map(lambda *parts: jnp.stack(parts), *(episode.query for episode in episodes))

        def step(index, kept):
            x, y = (part[rows[index]] for part in support)
            return learner.step(kept, x, y, index, jax.random.fold_in(noise_key, index))

        def stretch(kept, now):
            begin, end, phase, restart = now
            if not keep:
                fresh = lambda kept: learner.start(jax.random.fold_in(init_key, phase), size)  # noqa: E731
                kept = jax.lax.cond(restart, fresh, lambda kept: kept, kept)
            kept = jax.lax.fori_loop(begin, end, step, kept)
            return kept, jax.lax.map(lambda query: learner.judge(kept, query), queries)

        found = jax.lax.scan(stretch, learner.start(init_key, size), stretches)[1]
        return found["loss"], found["accuracy"]

    return jax.lax.map(run, keys)


def best_descent(
    topology: Topology,
    phases: Sequence[Phase],
    *,
    key: jax.Array,
    seeds: int = 3,
    settings: Sequence[Setting] = SETTINGS,
    rates: Sequence[float] = LEARNING_RATES,
    batch_size: int = 128,
    query_size: int = 1024,
    kernel: str = "auto",
) -> tuple[DescentLearner, dict[str, Any]]:
    """Gradient descent in the setting and at the rate that are best for a sequence, on validation data.

    Best: highest mean, over phases and seeds, of the accuracy on a phase's own task at its end; a failed run counts as 0.

    Returns:
      The learner, and {"setting", "learning_rate", "accuracy", "at_edge", "configurations", "runs", "baseline_failures"}.

    Raises:
      as `learn_sequence`.
    """
    keys, best = jax.random.split(key, seeds), None
    tried, failures = 0, 0
    for setting in settings:
        for rate in rates:
            learner = descent_learner(topology, setting, rate, kernel)
            sizes: dict[str, Any] = {"batch_size": batch_size, "query_size": query_size}
            curves = learn_sequence(learner, phases, keys=keys, at=(), judged_on="validation", **sizes)
            own = [curves.tasks.index(phase.task.name) for phase in phases]
            failed = ~np.isfinite(curves.loss)
            score = float(np.where(failed, 0.0, curves.accuracy)[:, np.arange(len(own)), own].mean())
            tried, failures = tried + 1, failures + int(failed[:, -1].any(axis=-1).sum())
            if best is None or score > best[0]:
                best = (score, learner, setting, float(rate))
    if best is None:
        raise ExperimentError("best_descent: got no settings or no rates; expected at least one of each")
    score, learner, setting, rate = best
    edge = len(rates) > 1 and rate in (min(rates), max(rates))
    notes = {"setting": str(setting), "learning_rate": rate, "accuracy": score, "at_edge": edge}
    return learner, notes | {"configurations": tried, "runs": tried * seeds, "baseline_failures": failures}
