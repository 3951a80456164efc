"""Sensitivity to each number of a genome: the score when it is moved or removed, and the slope of the query loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neurograph.analysis.field import AnalysisError
from neurograph.genome import Genome, effective_fields
from neurograph.learning.inner_loop import Problem, is_regression, meta_loss

__all__ = ["Sensitivity", "sensitivity"]


@dataclass(frozen=True)
class Sensitivity:
    """Result of `sensitivity`: P numbers of the genome, over the same episodes.

    Attributes:
      names: [P] such as "pre_transform[0, 1]".
      values: [P].
      accuracy, loss: of the genome as it is, mean over episodes; of a regression all accuracies are R^2, see `score`.
      deviation: standard error of that accuracy's mean over the episodes.
      lower, higher: [P] accuracy with the number moved down or up by `step` of its array's root mean square.
      without: [P] accuracy with the number set to 0.
      slope: [P] derivative of the mean query loss (exact, through the unrolled learning).
      step: 0.1 by default.
      seeds: episodes.
      score: what the accuracies are: "accuracy" or "R^2".
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, " P"]
    accuracy: float
    loss: float
    deviation: float
    lower: Float[np.ndarray, " P"]
    higher: Float[np.ndarray, " P"]
    without: Float[np.ndarray, " P"]
    slope: Float[np.ndarray, " P"]
    step: float
    seeds: int
    score: str = "accuracy"

    @property
    def drop(self) -> Float[np.ndarray, " P"]:
        """Returns the larger loss of accuracy of the two small moves."""
        return self.accuracy - np.minimum(self.lower, self.higher)

    @property
    def importance(self) -> Float[np.ndarray, " P"]:
        """Returns the loss of accuracy without the number."""
        return self.accuracy - self.without

    def summary(self) -> str:
        """Returns the result in words."""
        order = np.argsort(-self.importance)[:3]
        first = ", ".join(f"{self.names[i]} ({self.importance[i]:+.3f})" for i in order)
        idle = int((np.abs(self.importance) <= 2 * self.deviation).sum())
        moved = int(np.argmax(self.drop))
        return (
            f"{self.score} {self.accuracy:.3f} +- {self.deviation:.3f} over {self.seeds} episodes; lost without: {first}; {idle}"
            f" of {len(self.names)} numbers can be removed within twice that error; most sensitive to a move of {self.step:g}: "
            f"{self.names[moved]} ({self.drop[moved]:+.3f})"
        )


def sensitivity(
    problem: Problem,
    genome: Genome,
    *,
    steps: int = 10,
    seeds: int = 8,
    batch_size: int = 64,
    query_size: int = 256,
    step: float = 0.1,
    key: jax.Array | None = None,
) -> Sensitivity:
    """Measures query accuracy (of a regression R^2) after `steps` of learning when one number of the genome is moved or removed,
    all else equal.

    Every variant sees the same episodes, on the task's validation split, from the same synapses.

    Args:
      problem: network (any kernel) and task.
      step: size of the moves, in root mean squares of the number's array (its magnitude, for a scalar).

    Raises:
      AnalysisError: a size below 1, or a step that is not positive.
    """
    if min(steps, seeds, batch_size, query_size) < 1 or not step > 0:
        raise AnalysisError(f"sensitivity: got steps {steps}, seeds {seeds}, step {step}; expected at least 1, 1 and above 0")
    dtype = jnp.result_type(float)
    genome = genome.astype(dtype)
    arrays = {name: np.asarray(getattr(genome, name), np.float64) for name in effective_fields(problem.network.rule)}
    names, values, moves = [], [], []
    for name, array in arrays.items():
        size = float(np.sqrt((array**2).mean()))
        for index in np.ndindex(array.shape):
            names.append(name + (f"[{', '.join(map(str, index))}]" if index else ""))
            values.append(float(array[index]))
            moves.append(step * (size or 1.0))
    flat = np.concatenate([a.ravel() for a in arrays.values()])
    count = len(flat)
    variants = [flat[None]]
    for change in (-np.array(moves), np.array(moves), -flat):
        variants.append(flat + np.diag(change))
    keys = jax.random.split(jax.random.key(6) if key is None else key, seeds)
    sizes = (steps, batch_size, query_size)
    table = jnp.asarray(np.concatenate(variants), dtype)
    correct = np.asarray(_accuracies(problem, genome, table, keys, tuple(arrays), sizes))
    loss, slope = _slope(problem, genome, jnp.asarray(flat, dtype), keys, tuple(arrays), sizes)
    mean = correct.mean(1)
    spread = float(correct[0].std(ddof=1) / seeds**0.5) if seeds > 1 else float("nan")
    lower, higher, without = mean[1:].reshape(3, count)
    return Sensitivity(
        tuple(names),
        np.array(values),
        float(mean[0]),
        float(loss),
        spread,
        lower,
        higher,
        without,
        np.asarray(slope),
        step,
        seeds,
        "R^2" if is_regression(problem.task) else "accuracy",
    )


def _with(genome: Any, flat: jax.Array, names: tuple[str, ...]) -> Any:
    changed, start = {}, 0
    for name in names:
        shape = getattr(genome, name).shape
        size = int(np.prod(shape))
        changed[name] = flat[start : start + size].reshape(shape)
        start += size
    return genome.replace(**changed)


def _judge(problem: Any, genome: Any, key: jax.Array, sizes: tuple[int, int, int]) -> Any:
    data_key, own_key = jax.random.split(key)
    split = "validation" if problem.task.is_family else "train"
    episode = problem.task.episode(data_key, *sizes, split, "validation")
    return meta_loss(problem.network, genome, episode, key=own_key, regression=is_regression(problem.task))


@partial(jax.jit, static_argnums=(4, 5))
def _accuracies(problem: Any, genome: Any, table: Any, keys: Any, names: tuple[str, ...], sizes: tuple[int, int, int]) -> Any:
    """Returns the accuracies [variants, seeds]."""

    def variant(flat: jax.Array) -> jax.Array:
        changed = _with(genome, flat, names)
        return jax.lax.map(lambda key: _judge(problem, changed, key, sizes)[1]["accuracy"], keys)

    return jax.lax.map(variant, table)


@partial(jax.jit, static_argnums=(4, 5))
def _slope(problem: Any, genome: Any, flat: Any, keys: Any, names: tuple[str, ...], sizes: tuple[int, int, int]) -> Any:
    def loss(flat: jax.Array) -> jax.Array:
        changed = _with(genome, flat, names)
        return jnp.mean(jax.lax.map(lambda key: _judge(problem, changed, key, sizes)[0], keys))

    return jax.value_and_grad(loss)(flat)
