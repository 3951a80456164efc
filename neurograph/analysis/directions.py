"""Does the update follow a loss's gradient? Cosines along training, a Lyapunov candidate, and feedback alignment beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from neurograph.analysis.field import AnalysisError, UpdateField, as_float64, float64, places_of
from neurograph.genome import backprop_genome
from neurograph.learning.inner_loop import judge
from neurograph.network.network import Network
from neurograph.network.state import Synapses
from neurograph.tasks import Batch

__all__ = ["SCALES", "Alignment", "alignment"]

SCALES = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Alignment:
    """Result of `alignment`: T full-batch steps, L levels, M methods.

    Attributes:
      methods: names: "genome", "feedback alignment", "backprop".
      levels: of receivers, [L].
      cosine: [M, T, L] cosine between the change of a level's forward synapses and minus the gradient of the loss; NaN where
        either is 0.
      overall: [M, T] the same over all forward synapses.
      loss, accuracy: [M, T + 1] along the trajectories, on the batch that is learned; of a regression the accuracy is R^2.
      scales: [S] fractions of the genome's step.
      falls: [S] share of the points of the genome's trajectory from which the loss is lower after that fraction of a step.
      rises: [S] the largest rise of the loss in one such step, over the loss.
      score: what the accuracy is: "accuracy" or "R^2".
    """

    methods: tuple[str, ...]
    levels: tuple[int, ...]
    cosine: np.ndarray
    overall: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    scales: tuple[float, ...]
    falls: np.ndarray
    rises: np.ndarray
    score: str = "accuracy"

    @property
    def lyapunov(self) -> bool:
        """The loss fell in every one of the smallest steps: it may be a Lyapunov function on this trajectory (no proof)."""
        return bool(self.falls[-1] == 1.0)

    def mean_cosine(self, method: str = "genome") -> float:
        """Returns the mean over the steps where the cosine is defined; NaN if there are none."""
        row = self.overall[self.methods.index(method)]
        return float(np.nanmean(row)) if np.isfinite(row).any() else float("nan")

    def summary(self) -> str:
        """Returns the result in words."""
        cosines = ", ".join(f"{name} {self.mean_cosine(name):.2f}" for name in self.methods)
        falls = ", ".join(f"{f:.0%} at {s:g}" for s, f in zip(self.scales, self.falls))
        word = (
            "a candidate for a Lyapunov function here" if self.lyapunov else "so the loss is not a Lyapunov function of this rule"
        )
        return (
            f"mean cosine of the update with minus the gradient: {cosines}; the loss falls in {falls} of a step, "
            f"{word}; after {self.overall.shape[1]} steps "
            + ", ".join(
                f"{name}: loss {self.loss[m, -1]:.3g}, {self.score} {self.accuracy[m, -1]:.3f}"
                for m, name in enumerate(self.methods)
            )
        )


def alignment(
    field: UpdateField,
    *,
    steps: int = 30,
    baseline_rate: float = 0.5,
    scales: Sequence[float] = SCALES,
    regression: bool = False,
    key: jax.Array | None = None,
) -> Alignment:
    """Follows the genome, backprop and feedback alignment in full batch, each beside the gradient of its own network.

    Each starts from fresh synapses. The loss is `query_loss` (softmax cross-entropy; squared error of one output) of the
    network's own forward pass; its gradient is `jax.grad` with respect to the stored forward numbers and biases. Backprop and
    feedback alignment run tanh neurons.

    Args:
      field: topology, rule, genome and batch; its start is the genome's.
      steps: learning steps.
      baseline_rate: learning rate of backprop and feedback alignment on the batch's mean loss.
      scales: descending fractions of a step at which it is seen whether the loss falls.
      regression: whether the targets are numbers: the loss is squared error, the accuracy R^2.
      key: draws the baselines' synapses.

    Raises:
      AnalysisError: not steps >= 1, rate > 0 and scales in (0, 1].
    """
    scales = tuple(float(s) for s in scales)
    if steps < 1 or not baseline_rate > 0 or not scales or not all(0 < s <= 1 for s in scales):
        raise AnalysisError(
            f"alignment: got steps {steps}, baseline_rate {baseline_rate}, scales {scales}; expected steps >= 1,"
            " a rate > 0, scales in (0, 1]"
        )
    topology, x, y = field.network.topology, field.x, field.y
    with float64():
        empty = field.network.init(field.genome, key=jax.random.key(0)).traces  # of the rules that keep them
        rows = [_run(field.network, field.genome, replace(field.base, traces=empty), x, y, steps, scales, regression)]
        places = places_of(field.network)
        names, maps = ["genome"], [_levels(places)]
        if topology.is_acyclic and not topology.outputs_may_project:
            # Mean squared error's feedback is h - y, whose sum over the batch is half of query_loss's gradient times the batch
            # and the outputs.
            width = len(topology.outputs)
            loss, share = ("mse", 2.0 / width) if regression or width == 1 else ("softmax_cross_entropy", 1.0)
            rate = baseline_rate * share / len(x)
            draw = jax.random.key(4) if key is None else key
            for name in ("feedback alignment", "backprop"):
                genome, rule = backprop_genome(rate, activation="tanh", loss=loss)
                rule = rule.replace(initial_deviation="fan_in")
                if name == "feedback alignment":
                    rule = rule.replace(symmetric=False, backward_synapses="fixed")
                network = Network(topology, rule, kernel="reference")
                genome = as_float64(genome)
                start = as_float64(network.init(genome, key=draw))
                rows.append(_run(network, genome, start, x, y, steps, (), regression))
                names.append(name)
                maps.append(_levels(places_of(network)))
        levels = tuple(sorted({level for one in maps for level in one[one >= 0].tolist()}))
        cosine = np.stack([_cosines(row["change"], row["slope"], one, levels) for row, one in zip(rows, maps)])
        moved, loss = np.asarray(rows[0]["moved"]), np.stack([np.asarray(row["loss"]) for row in rows])
        correct = np.stack([np.asarray(row["accuracy"]) for row in rows])
    score = "R^2" if regression else "accuracy"
    change = moved - loss[0, :-1, None]
    falls, rises = (change < 0).mean(0), (change / loss[0, :-1, None]).max(0)
    return Alignment(tuple(names), levels, cosine[:, :, :-1], cosine[:, :, -1], loss, correct, scales, falls, rises, score)


def _levels(places: Sequence[Any]) -> np.ndarray:
    """Returns the level of each number of the raveled `Synapses`: of forward numbers and biases, -1 for all others."""
    return np.array([-1 if p is None or p.direction == "backward" else p.level for p in places])


def _cosines(change: Any, slope: Any, levels: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Returns the cosines [T, levels + 1] per level, and over all."""
    change, slope = np.asarray(change), np.asarray(slope)
    found = []
    for level in (*wanted, None):
        mask = levels >= 0 if level is None else levels == level
        a, b = change[:, mask], -slope[:, mask]
        norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(np.where(norm > 0, (a * b).sum(1) / norm, np.nan))
    return np.stack(found, 1)


@partial(jax.jit, static_argnums=(5, 6, 7))
def _run(
    network: Any, genome: Any, start: Synapses, x: Any, y: Any, steps: int, scales: tuple[float, ...], regression: bool
) -> Any:
    def judged(synapses: Synapses) -> tuple[jax.Array, jax.Array]:
        scores = judge(network, genome, synapses, Batch(x, y), regression=regression)
        return scores["loss"], scores["accuracy"]

    def body(synapses: Synapses, index: jax.Array) -> Any:
        stored = Synapses(synapses.forward, synapses.backward)
        (loss, correct), slope = jax.value_and_grad(judged, has_aux=True)(stored)
        learned = network.step(genome, synapses, x, y, index=index)[0]
        new = Synapses(learned.forward, learned.backward)
        moved = [judged(jax.tree.map(lambda old, now, s=s: old + s * (now - old), stored, new))[0] for s in scales]
        flat = ravel_pytree(stored)[0]
        row = {
            "loss": loss,
            "accuracy": correct,
            "slope": ravel_pytree(slope)[0],
            "change": ravel_pytree(new)[0] - flat,
            "moved": jnp.stack(moved) if moved else jnp.zeros(0),
        }
        return replace(new, traces=learned.traces), row  # carried states are left behind: every step is from rest

    last, rows = jax.lax.scan(body, replace(start, neurons=None), jnp.arange(steps))
    loss, correct = judged(last)
    ends = {"loss": jnp.append(rows["loss"], loss), "accuracy": jnp.append(rows["accuracy"], correct)}
    return rows | ends
