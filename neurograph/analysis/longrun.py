"""Long runs: do synapses grow without bound, do neurons saturate or die, does what was learned last?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.analysis.field import AnalysisError
from neurograph.genome import Genome
from neurograph.learning.inner_loop import Problem, is_regression, judge
from neurograph.network.state import Synapses

__all__ = ["LongRun", "long_run", "median"]


@dataclass(frozen=True)
class LongRun:
    """Result of `long_run`: S seeds, R records, L levels.

    Attributes:
      at: [R] steps at which it was looked.
      levels: [L] levels of receivers.
      norms: [S, R, L] root mean square of the forward synapses (and biases) that arrive at a level.
      saturated: [S, R] share of the hidden neurons' states 0 (over a query batch) with magnitude above `limit`.
      silent: [S, R] share of the hidden neurons whose state 0 is zero on all of the batch.
      loss, accuracy: [S, R] on the query batch; of a regression the accuracy is R^2, see `score`.
      limit: 0.95, for activations bounded by 1.
      score: what the accuracy is: "accuracy" or "R^2".
    """

    at: np.ndarray
    levels: tuple[int, ...]
    norms: np.ndarray
    saturated: np.ndarray
    silent: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    limit: float
    score: str = "accuracy"

    @property
    def failed(self) -> int:
        """Returns the number of seeds whose numbers were not finite at the end."""
        return int((~np.isfinite(self.norms[:, -1]).all(1)).sum())

    @property
    def growth(self) -> float:
        """Returns the exponent p of |w| ~ steps^p over the second half (median seed and level): 0 is bounded, 1 is linear."""
        half = self.at >= max(self.at[-1] / 2, 1)
        with np.errstate(all="ignore"):
            end, middle = np.log(self.norms[:, -1]), np.log(self.norms[:, half][:, 0])
            slope = (end - middle) / np.log(self.at[-1] / self.at[half][0])
        finite = slope[np.isfinite(slope)]
        return float(np.median(finite)) if len(finite) else float("nan")

    def summary(self) -> str:
        """Returns the result in words."""
        best = median(self.accuracy)
        power = "" if np.isnan(self.growth) else f" (|w| ~ steps^{self.growth:.2f} in the second half)"
        return (
            f"{len(self.norms)} runs of {self.at[-1]:,} steps, {self.failed} not finite at the end: median {self.score} at most "
            f"{best.max():.3f} (step {self.at[int(best.argmax())]:,}), {best[-1]:.3f} at the end; synapses grew"
            f" {_growth(self.norms)}{power}; neurons above {self.limit}: {median(self.saturated)[-1]:.0%}, silent:"
            f" {median(self.silent)[-1]:.0%}"
        )


def median(values: np.ndarray) -> np.ndarray:
    """Returns the median over the first axis of the finite values; NaN where there are none."""
    masked = np.ma.masked_invalid(values)
    return np.ma.median(masked, axis=0).filled(np.nan) if masked.ndim > 1 else np.asarray(np.ma.median(masked))


def _growth(norms: np.ndarray) -> str:
    found = median(norms[:, -1] / norms[:, 0])
    return ", ".join("to no end" if np.isnan(value) else f"{value:.1f}x" for value in found)


def long_run(
    problem: Problem,
    genome: Genome,
    *,
    steps: int = 1000,
    seeds: int = 3,
    batch_size: int = 64,
    query_size: int = 256,
    records: int = 41,
    limit: float = 0.95,
    key: jax.Array | None = None,
) -> LongRun:
    """Learns for long on fresh batches and records synapses and neurons; the query is judged on the task's validation split.

    Args:
      problem: network (any kernel) and task.
      steps: learning steps; `records` of them, evenly spaced in their logarithm, are looked at.
      seeds: independent runs.

    Raises:
      AnalysisError: a size below 1.
    """
    if min(steps, seeds, batch_size, query_size) < 1 or records < 2:
        raise AnalysisError(f"long_run: got steps {steps}, seeds {seeds}, records {records}; expected at least 1, 1 and 2")
    at = np.unique(np.concatenate([[0], np.geomspace(1, steps, records - 1).round().astype(int)]))
    keys = jax.random.split(jax.random.key(5) if key is None else key, seeds)
    found = {k: np.asarray(v) for k, v in _runs(problem, genome, keys, jnp.asarray(at), batch_size, query_size, limit).items()}
    return LongRun(
        at,
        tuple(_receiver_levels(problem.network)),
        found["norms"],
        found["saturated"],
        found["silent"],
        found["loss"],
        found["accuracy"],
        limit,
        "R^2" if is_regression(problem.task) else "accuracy",
    )


def _receiver_levels(network: Any) -> list[int]:
    topology = network.topology
    return sorted({int(level) for level in topology.levels[topology.receivers]})


@partial(jax.jit, static_argnums=(4, 5, 6))
def _runs(problem: Any, genome: Any, keys: Any, at: Any, batch_size: int, query_size: int, limit: float) -> Any:
    network, task = problem.network, problem.task
    topology = network.topology
    levels = topology.levels[topology.receivers]
    hidden = np.setdiff1d(np.arange(topology.num_neurons), np.concatenate([topology.inputs, topology.outputs]))

    def look(synapses: Synapses, query: Any) -> dict[str, jax.Array]:
        arrays = network.unpack(synapses)
        step_key = jax.random.key(0) if network.rule.noise else None
        states = network.trace(genome, synapses, query.x, query.y, key=step_key).forward[:, hidden, 0]
        norms = []
        for level in _receiver_levels(network):
            edges = arrays["forward"][levels == level] ** 2
            own = arrays["bias"][(topology.levels == level) & topology.bias] ** 2
            norms.append(jnp.sqrt((edges.sum() + own.sum()) / (edges.size + own.size)))
        empty = not len(hidden)
        return {
            "norms": jnp.stack(norms),
            "saturated": jnp.zeros(()) if empty else jnp.mean(jnp.abs(states) > limit),
            "silent": jnp.zeros(()) if empty else jnp.mean(jnp.all(states == 0, axis=0)),
            **judge(network, genome, synapses, query, regression=is_regression(task)),
        }

    def run(key: jax.Array) -> dict[str, jax.Array]:
        data_key, init_key, noise_key, problem_key = jax.random.split(key, 4)
        own = task.instance(problem_key, "validation")
        # A family's problem belongs to validation altogether; a data set's query alone does.
        split = "validation" if task.is_family else "train"
        query = own.sample(jax.random.fold_in(data_key, 2**31 - 1), query_size, "validation")

        def one(index: jax.Array, synapses: Synapses) -> Synapses:
            batch = own.sample(jax.random.fold_in(data_key, index), batch_size, split)
            step_key = jax.random.fold_in(noise_key, index) if network.rule.noise else None
            new = network.step(genome, synapses, batch.x, batch.y, index=index, key=step_key)[0]
            return replace(new, neurons=None)  # carried states belong to a batch's rows

        def stretch(synapses: Synapses, ends: Any) -> Any:
            synapses = jax.lax.fori_loop(ends[0], ends[1], one, synapses)
            return synapses, look(synapses, query)

        start = network.init(genome, key=init_key)
        return jax.lax.scan(stretch, start, (jnp.concatenate([at[:1], at[:-1]]), at))[1]

    return jax.lax.map(run, keys)
