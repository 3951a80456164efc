"""Tasks learned one after another on the same synapses: how much of the earlier ones is kept.

A learner is a genome on a network, or gradient descent on an ordinary network of the same graph. It goes through `Phase`s, keeps
its synapses (and an optimiser's memory) from one to the next, and is judged on every task of the sequence on the way.
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
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray, UInt32

from neurograph.errors import ExperimentError, TaskError
from neurograph.genome import AnyGenome
from neurograph.learning.baselines import (
    LEARNING_RATES,
    OPTIMIZERS,
    ORDINARY,
    SETTINGS,
    Setting,
    any_optimizer,
    init_parameters,
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
    """A genome on a network, which keeps synapses (and neurons' states, where the rule carries them) from step to step.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file, key = ng.load_genome_file("functions"), jax.random.key(0)
      >>> learner = ng.GenomeLearner(ng.Network(ng.load_topology("mlp_2d_classes"), file.rule), file.genome)
      >>> batch = ng.get_task("xor").sample(key, 64)
      >>> @jax.jit
      ... def one_step(key):
      ...     return learner.judge(learner.step(learner.start(key, 64), batch.x, batch.y, 0, key), batch)
      >>> sorted(one_step(key))
      ['accuracy', 'loss']
    """

    network: Network
    genome: AnyGenome

    def start(self, key: PRNGKeyArray, batch_size: int) -> Any:
        """Draws synapses."""
        return fresh_synapses(self.network, self.genome, batch_size, key=key)

    def step(
        self,
        kept: Any,
        x: Float[Array, "batch inputs"],
        y: Float[Array, "batch outputs"],
        index: int | Int[Array, ""],
        key: PRNGKeyArray,
    ) -> Any:
        """Takes the learning step of number `index` on a batch; `key` is for noise."""
        own = key if self.network.rule.noise else None
        learned: Any = learning_step(self.network, self.genome, kept, x, y, index, own, False)
        return learned[0]

    def judge(self, kept: Any, query: Batch) -> dict[str, Float[Array, ""]]:
        """Returns {"loss", "accuracy"} on a query [Q, ...]."""
        return judge(self.network, self.genome, kept, query)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DescentLearner:
    """Gradient descent on an `ordinary_network`, which keeps parameters and the optimiser's memory from step to step.

    The optimiser (its place in `OPTIMIZERS`) and the rate are arguments of compiled programs: one program serves all of them.
    """

    network: Network
    optimizer: jax.Array
    rate: jax.Array
    activation: str = field(default="relu", metadata={"static": True})
    batch_norm: bool = field(default=False, metadata={"static": True})

    def start(self, key: PRNGKeyArray, batch_size: int) -> Any:
        """Draws parameters; the memory is empty."""
        del batch_size
        fresh = init_parameters(self.network, Setting("sgd", self.activation, self.batch_norm), key=key)
        return fresh, any_optimizer(self.rate, self.optimizer).init(fresh)

    def step(
        self,
        kept: Any,
        x: Float[Array, "batch inputs"],
        y: Float[Array, "batch outputs"],
        index: int | Int[Array, ""],
        key: PRNGKeyArray,
    ) -> Any:
        """Takes one training step on a batch."""
        del index, key
        optimizer = any_optimizer(self.rate, self.optimizer)
        return train_step(self.network, optimizer, self.activation, kept[0], kept[1], x, y)

    def judge(self, kept: Any, query: Batch) -> dict[str, Float[Array, ""]]:
        """Returns {"loss", "accuracy"} on a query [Q, ...]."""
        outputs = predict(self.network, kept[0], query.x, self.activation)
        return {"loss": query_loss(outputs, query.y), "accuracy": accuracy(outputs, query.y)}


Learner = GenomeLearner | DescentLearner


def descent_learner(
    topology: Topology, setting: Setting = SETTINGS[0], rate: float = 0.1, kernel: str = "auto"
) -> DescentLearner:
    """Returns an ordinary network on a topology, trained by a setting at a learning rate.

    Raises:
      ExperimentError: the rate is not positive and finite.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> from neurograph.learning import Setting
      >>> learner = ng.descent_learner(ng.load_topology("mlp_2d_classes"), Setting("adam", "tanh"), rate=0.01)
      >>> found = ng.learn_sequence(learner, [ng.Phase(ng.get_task("xor"), 10)], keys=jax.random.key(0)[None], at=())
      >>> found.points, found.accuracy.shape
      (((0, 10),), (1, 1, 1))
    """
    if not 0 < rate < math.inf:
        raise ExperimentError(f"rate of a baseline: got {rate!r}; expected a number > 0")
    network, number = Network(topology, ORDINARY, kernel), jnp.asarray(OPTIMIZERS.index(setting.optimizer))
    return DescentLearner(network, number, jnp.asarray(rate, jnp.result_type(float)), setting.activation, setting.batch_norm)


# -- what is learned -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phase:
    """A part of a sequence: `steps` learning steps on a task, which go through `batches` batches in turn (default: one a step).

    Two phases with the same task object see different batches of the same problem.

    Raises:
      ExperimentError: a number is no integer, or below 1.

    Examples:
      >>> import neurograph as ng
      >>> ng.Phase(ng.get_task("xor"), steps=20, batches=5).steps
      20
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
    """A task whose class c is class `order[c]` here, [num_classes] int32. See `permuted`."""

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
    """Returns the task with its labels permuted at random: same inputs, same classes, other outputs.

    Raises:
      TaskError: the task does not have one output per class.

    Examples:
      >>> import neurograph as ng
      >>> task = ng.permuted(ng.get_task("digits"), seed=1)
      >>> task.name, sorted(task.order.tolist()) == list(range(10))
      ('digits permuted 1', True)
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
    """Scores of a sequence; a run has failed where its loss is not finite.

    Attributes:
      points: (phase, steps taken in it) of every judgement.
      tasks: names, in the order in which they first come.
      accuracy, loss: NumPy arrays [seeds, points, tasks].
    """

    points: tuple[tuple[int, int], ...]
    tasks: tuple[str, ...]
    accuracy: np.ndarray
    loss: np.ndarray

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row per seed, point and judged task: {"phase", "step", "judged", "seed", "accuracy", "loss", "failed"}."""
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
    keys: Key[Array, " seeds"] | UInt32[Array, "seeds words"],
    at: Sequence[int] = (0,),
    batch_size: int = 128,
    query_size: int = 1024,
    judged_on: str = "test",
    keep: bool = True,
) -> SequenceCurves:
    """Learns the phases one after another, and judges every task of the sequence after `at` steps of each phase and at its end.

    A key decides batches, queries and synapses, the same for all learners. A sequence of one phase has those that
    `learning_curve` and `baseline_curves` have for that key.

    Args:
      learner: a `GenomeLearner` or `DescentLearner`.
      phases: tasks as wide as the network; the same task may come again.
      keys: PRNG keys, one run each.
      at: step counts within a phase; 0 is before its first step.
      batch_size: rows per step.
      query_size: rows that every task is judged on, the same at all points.
      judged_on: "test" or "validation"; see `splits_of`.
      keep: whether synapses are kept between phases; else every phase starts from fresh ones, on the same batches.

    Raises:
      ExperimentError: there are no phases or no keys, a step count is below 0, or two tasks have one name.
      ShapeError: a task does not fit the network.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file, task = ng.load_genome_file("digits"), ng.get_task("digits")
      >>> learner = ng.GenomeLearner(ng.Network(ng.load_topology("mlp"), file.rule), file.genome)
      >>> phases = [ng.Phase(task, 10), ng.Phase(ng.permuted(task, 1), 10)]
      >>> found = ng.learn_sequence(learner, phases, keys=jax.random.split(jax.random.key(0), 2), at=(0, 5))
      >>> found.points
      ((0, 0), (0, 5), (0, 10), (1, 0), (1, 5), (1, 10))
      >>> found.accuracy.shape
      (2, 6, 2)
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
    # Rows of the joint support that a step learns from, and stretches of steps between two judgements.
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
    """Returns loss and accuracy, both [keys, points, tasks]."""
    size = counts[0][1]

    def run(key: jax.Array):
        data_key, init_key, noise_key = jax.random.split(key, 3)  # as learning_curve splits it
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
    key: PRNGKeyArray,
    seeds: int = 3,
    settings: Sequence[Setting] = SETTINGS,
    rates: Sequence[float] = LEARNING_RATES,
    batch_size: int = 128,
    query_size: int = 1024,
    kernel: str = "auto",
) -> tuple[DescentLearner, dict[str, Any]]:
    """Chooses the setting and the rate of gradient descent that are best for a sequence, on validation data.

    The best have the highest mean, over phases and seeds, of the accuracy on a phase's own task at its end; a failed run counts
    as 0.

    Args:
      topology: graph of the ordinary network.
      phases: as in `learn_sequence`.
      key: PRNG key of the runs.
      seeds: runs per setting and rate.
      settings, rates: all pairs of them are tried.
      batch_size, query_size: as in `learn_sequence`.
      kernel: as in `Network`.

    Returns:
      The learner, and {"setting", "learning_rate", "accuracy", "at_edge", "configurations", "runs", "baseline_failures"}.

    Raises:
      ExperimentError: there are no settings or no rates, or as in `learn_sequence`.
      ShapeError: a task does not fit the network.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> from neurograph.learning import Setting
      >>> graph, phases = ng.load_topology("mlp_2d_classes"), [ng.Phase(ng.get_task("xor"), 5)]
      >>> options = {"seeds": 1, "settings": [Setting("sgd", "tanh")], "rates": (0.1, 1.0)}
      >>> learner, notes = ng.best_descent(graph, phases, key=jax.random.key(0), **options)
      >>> notes["setting"], notes["configurations"]
      ('sgd, tanh', 2)
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
