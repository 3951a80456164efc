"""The meta-objective: mean query loss of one genome over problems, data and initial synapses (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from neurograph.genome import Genome
from neurograph.learner import Problem, meta_loss
from neurograph.tasks import Episode

__all__ = ["Objective"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Objective:
    """Mean meta-loss over problems, which may differ in network, task, input size and number of classes.

    Args:
      problems: every problem counts the same.
      steps: U, support batches per episode; calls may use fewer (a traced number) without a new compilation.
      batch_size: B, rows per support batch; query_size: rows of a query batch.
      replicas: independent episodes and initial synapses per problem and call.
      query_batches: query batches per episode, each normalised by itself; section 4.4 has 20.
      split: where support rows come from; query_split: where query rows do, if elsewhere.
    """

    problems: tuple[Problem, ...]
    steps: int = field(metadata={"static": True})
    batch_size: int = field(default=128, metadata={"static": True})
    query_size: int = field(default=256, metadata={"static": True})
    replicas: int = field(default=1, metadata={"static": True})
    split: str = field(default="train", metadata={"static": True})
    query_split: str | None = field(default=None, metadata={"static": True})
    query_batches: int = field(default=1, metadata={"static": True})

    def __call__(self, genome: Genome, key: jax.Array, steps: Any = None) -> tuple[jax.Array, dict[str, jax.Array]]:
        """`(loss, {"loss", "accuracy"})`: the mean, and each problem's own [problems]."""
        losses: list[Any] = [None] * len(self.problems)
        accuracies: list[Any] = [None] * len(self.problems)
        for members in self._same_network():
            network = self.problems[members[0]].network
            pairs = [self._episode(number, replica, key) for number in members for replica in range(self.replicas)]
            episodes = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[episode for episode, _ in pairs])
            keys = jnp.stack([init for _, init in pairs])

            def one(pair, network=network):
                return meta_loss(network, genome, pair[0], key=pair[1], steps=steps, query_batches=self.query_batches)[1]

            # One episode after another would lower the peak of memory; side by side is faster for the small nets of 2-D tasks.
            metrics = jax.vmap(one)((episodes, keys)) if len(pairs) > 1 else jax.tree.map(lambda m: m[None], one(pairs[0]))
            for place, number in enumerate(members):
                mine = slice(place * self.replicas, (place + 1) * self.replicas)
                losses[number] = jnp.mean(metrics["loss"][mine])
                accuracies[number] = jnp.mean(metrics["accuracy"][mine])
        metrics = {"loss": jnp.stack(losses), "accuracy": jnp.stack(accuracies)}
        return jnp.mean(metrics["loss"]), metrics

    def _same_network(self) -> list[list[int]]:
        """Problems that share a topology run as one batch."""
        groups: dict[str, list[int]] = {}
        for number, problem in enumerate(self.problems):
            groups.setdefault(problem.network.plan.digest, []).append(number)
        return list(groups.values())

    def _episode(self, number: int, replica: int, key: jax.Array) -> tuple[Episode, jax.Array]:
        data, init = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, number), replica))
        task = self.problems[number].task
        query_size = self.query_size * self.query_batches
        return task.episode(data, self.steps, self.batch_size, query_size, self.split, self.query_split), init
