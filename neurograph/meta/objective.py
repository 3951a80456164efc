"""The meta-objective: mean query loss of one genome over problems, data and initial synapses (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from neurograph.errors import GenomeError
from neurograph.genome import AnyGenome
from neurograph.learning.inner_loop import Problem, fresh_synapses, learn_and_judge, meta_loss
from neurograph.network.state import Synapses
from neurograph.tasks import Episode, Task

__all__ = ["LOSSES", "Learning", "Objective"]

LOSSES = ("final", "truncations", "steps")


def _static(default: Any) -> Any:
    return field(default=default, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Learning:
    """Learning under way, where an unroll is cut; replicas R lead.

    Attributes:
      synapses: one packed `Synapses` per problem, leaves [R, ...].
      window: [R] int32, the next truncation of the episode.
      episode: [R] int32, number of the episode, which decides its data and first synapses.
      fresh: [R] bool, whether synapses are drawn before the next window.
    """

    synapses: tuple[Synapses, ...]
    window: jax.Array
    episode: jax.Array
    fresh: jax.Array

    def restarted(self, where: Any) -> Learning:
        """Returns the learning with a new episode next where `where` is true, which broadcasts from the left against `fresh`."""
        where = jnp.asarray(where)
        where = where.reshape(where.shape + (1,) * (self.fresh.ndim - where.ndim))
        return Learning(self.synapses, self.window, self.episode, self.fresh | where)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Objective:
    """The mean meta-loss over problems, which may differ in network, task, input size and number of classes.

    Args:
      problems: every problem counts the same.
      steps: U, support batches per episode; calls may use fewer (a traced number) without a new compilation.
      batch_size: B, rows per support batch.
      query_size: rows of a query batch.
      replicas: independent episodes and initial synapses per problem and call.
      split: split of the support rows.
      query_split: split of the query rows, where it is another (and of the support rows as well, where the classes of the splits
        differ).
      query_batches: query batches per judgement, each normalised by itself; section 4.4 has 20.
      loss: the queries that count: "final", the query after the last step of an episode; "steps", the mean over queries
        after every step; "truncations", the mean over queries after every truncation.
      truncation: K, steps between two looks at a long episode: `window` goes on where it stopped. None: whole episodes.
      mesh: devices that share the members of a population, from `device_mesh`.

    Raises:
      GenomeError: the loss is unknown, or the truncation does not divide `steps`.
    """

    problems: tuple[Problem, ...]
    steps: int = field(metadata={"static": True})
    batch_size: int = _static(128)
    query_size: int = _static(256)
    replicas: int = _static(1)
    split: str = _static("train")
    query_split: str | None = _static(None)
    query_batches: int = _static(1)
    loss: str = _static("final")
    truncation: int | None = _static(None)
    mesh: Mesh | None = field(default=None, metadata={"static": True})

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise GenomeError(f"loss: got {self.loss!r}; allowed: {', '.join(LOSSES)}")
        if self.truncation is not None and (self.truncation < 1 or self.steps % self.truncation):
            raise GenomeError(f"truncation: got {self.truncation}; expected a divisor of steps: {self.steps}")

    def __call__(self, genome: AnyGenome, key: jax.Array, steps: Any = None) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns `(loss, {"loss", "accuracy"})` after whole episodes: the mean, and each problem's own [problems]."""
        pairs = [[self._episode(n, replica, key) for replica in range(self.replicas)] for n in range(len(self.problems))]

        def one(network: Any, pair: tuple[Episode, jax.Array]) -> dict[str, jax.Array]:
            options = {"query_batches": self.query_batches, "every_step": self.loss == "steps"}
            return meta_loss(network, genome, pair[0], key=pair[1], steps=steps, **options)[1]

        found = self._side_by_side(one, pairs)
        metrics = {name: jnp.stack([jnp.mean(scores[name]) for scores in found]) for name in ("loss", "accuracy")}
        return jnp.mean(metrics["loss"]), metrics

    # -- episodes in windows -----------------------------------------------------------------------------------------------

    @property
    def stretch(self) -> int:
        """Steps of one window: the truncation, or all of them."""
        return self.truncation or self.steps

    def begin(self, genome: AnyGenome, offset: Any = 0) -> Learning:
        """Returns learning that has not begun.

        Args:
          offset: [R] or scalar, the window that replicas begin at, so that they end in turn.
        """
        shapes = [jax.eval_shape(lambda problem=p: self._fresh(problem, genome, jax.random.key(0))) for p in self.problems]
        empty = jax.tree.map(lambda leaf: jnp.zeros((self.replicas, *leaf.shape), leaf.dtype), tuple(shapes))
        window = jnp.broadcast_to(jnp.asarray(offset, jnp.int32), (self.replicas,))
        return Learning(empty, window, jnp.zeros(self.replicas, jnp.int32), jnp.ones(self.replicas, bool))

    def begins(self, learning: Learning, steps: Any = None) -> jax.Array:
        """Returns where the next window is the first of an episode, in the shape of `learning.fresh`."""
        return learning.fresh | (learning.window >= self._windows(steps))

    def window(
        self, genome: AnyGenome, learning: Learning, key: jax.Array, steps: Any = None
    ) -> tuple[jax.Array, dict[str, jax.Array], Learning]:
        """Learns the next `truncation` steps of every replica and judges them.

        Every window has support batches and a query of its own; a family of tasks keeps its draw through an episode. The mean
        over the windows of an episode is its loss (`loss: final`: the last window alone).

        Args:
          genome: may differ from call to call, since a meta-optimizer moves it.
          learning: result of `begin` or of the last call; gradients flow back to it.
          key: PRNG key, the same for all windows; episodes are drawn from it by their number.
          steps: U of the episodes, at most `self.steps`, may be traced.

        Returns:
          `(loss, metrics, learning)`: metrics are "loss", "accuracy" [problems], "counted" (scalar: whether
          any replica counts).
        """
        windows = self._windows(steps)
        over = learning.window >= windows
        begins = learning.fresh | over
        window = jnp.where(over, 0, learning.window)
        episode = learning.episode + begins
        pairs = []
        for number, problem in enumerate(self.problems):
            pairs.append([])
            for replica in range(self.replicas):
                own = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, number), replica), episode[replica])
                instance_key, data_key, init_key, noise_key = jax.random.split(own, 4)
                sizes = (self.stretch, self.batch_size, self.query_size * self.query_batches, *self._splits(problem.task))
                task = problem.task.instance(instance_key, self._splits(problem.task)[0])
                data = task.episode(jax.random.fold_in(data_key, window[replica]), *sizes)
                before = jax.tree.map(lambda leaf, r=replica: leaf[r], learning.synapses[number])
                drawn = self._fresh(problem, genome, init_key)
                synapses = jax.tree.map(lambda new, old, r=replica: jnp.where(begins[r], new, old), drawn, before)
                pairs[-1].append((data, synapses, noise_key, window[replica] * self.stretch))

        def one(network: Any, pair: tuple[Episode, Synapses, jax.Array, jax.Array]):
            data, synapses, noise_key, first = pair
            noise = noise_key if network.rule.noise else None
            return learn_and_judge(
                network,
                genome,
                synapses,
                data,
                key=noise,
                first=first,
                every_step=self.loss == "steps",
                query_batches=self.query_batches,
            )

        found = self._side_by_side(one, pairs)
        counted = (window + 1 == windows) if self.loss == "final" else jnp.ones(self.replicas, bool)
        share = counted / jnp.maximum(counted.sum(), 1)
        metrics = {
            name: jnp.stack(
                [jnp.sum(jnp.where(counted, scores[name], 0) * share.astype(scores[name].dtype)) for _, scores in found]
            )
            for name in ("loss", "accuracy")
        }
        after = Learning(tuple(synapses for synapses, _ in found), window + 1, episode, jnp.zeros_like(learning.fresh))
        return jnp.mean(metrics["loss"]), metrics | {"counted": counted.any()}, after

    def _windows(self, steps: Any) -> Any:
        return (self.steps if steps is None else steps) // self.stretch

    def _fresh(self, problem: Problem, genome: AnyGenome, key: jax.Array) -> Synapses:
        return fresh_synapses(problem.network, genome, self.batch_size, key=key)

    # -- problems side by side ---------------------------------------------------------------------------------------------

    def _side_by_side(self, function: Callable[[Any, Any], Any], pairs: list[list[Any]]) -> list[Any]:
        """Returns the results of `function(network, pair)` for pairs [problems][replicas]: one per problem, leaves [R, ...].

        Problems that share a topology run as one batch: one after another would lower the peak of memory; side by side is
        faster for the small nets of 2-D tasks.
        """
        groups: dict[str, list[int]] = {}
        for number, problem in enumerate(self.problems):
            groups.setdefault(problem.network.plan.digest, []).append(number)
        results: list[Any] = [None] * len(self.problems)
        for members in groups.values():
            network = self.problems[members[0]].network
            flat = [pair for number in members for pair in pairs[number]]
            if len(flat) > 1:
                stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *flat)
                found = jax.vmap(lambda pair, network=network: function(network, pair))(stacked)
            else:
                found = jax.tree.map(lambda leaf: leaf[None], function(network, flat[0]))
            for place, number in enumerate(members):
                mine = slice(place * self.replicas, (place + 1) * self.replicas)
                results[number] = jax.tree.map(lambda leaf, mine=mine: leaf[mine], found)
        return results

    def _episode(self, number: int, replica: int, key: jax.Array) -> tuple[Episode, jax.Array]:
        data, init = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, number), replica))
        task, query_size = self.problems[number].task, self.query_size * self.query_batches
        return task.episode(data, self.steps, self.batch_size, query_size, *self._splits(task)), init

    def _splits(self, task: Task) -> tuple[str, str | None]:
        """Returns the splits of support and query. If splits differ in classes, both are that of the query."""
        return (self.query_split, None) if self.query_split and task.splits_apart else (self.split, self.query_split)
