"""The meta-objective: mean query loss of one genome over problems, data and initial synapses (section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from neurograph.errors import GenomeError
from neurograph.genome import AnyGenome
from neurograph.learning.inner_loop import Problem, fresh_synapses, is_regression, learn_and_judge, meta_loss
from neurograph.meta.graphs import RandomProblem
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
      synapses: one packed `Synapses` per problem, leaves [R, ...]; of random graphs one per size class, leaves [R, graphs, ...].
      window: [R] int32, the next truncation of the episode.
      episode: [R] int32, number of the episode, which decides its data and first synapses.
      fresh: [R] bool, whether synapses are drawn before the next window.
      graphs: per problem with random graphs those of the episode, `NetworkBatch.tables` with leaves [R, ...]; else None.
    """

    synapses: tuple[Synapses, ...]
    window: jax.Array
    episode: jax.Array
    fresh: jax.Array
    graphs: tuple[Any, ...] = ()

    def restarted(self, where: Any) -> Learning:
        """Returns the learning with a new episode next where `where` is true, which broadcasts from the left against `fresh`."""
        where = jnp.asarray(where)
        where = where.reshape(where.shape + (1,) * (self.fresh.ndim - where.ndim))
        return replace(self, fresh=self.fresh | where)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Objective:
    """The mean meta-loss over problems, which may differ in network, task, input size and number of classes.

    Args:
      problems: every problem counts the same, one with random graphs as well.
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
      judged_at: step counts; the queries that count are those after these many steps, as far as an episode goes, and after its
        last; the accuracy is their mean, too. In place of `loss`, for episodes without truncation.
      truncation: K, steps between two looks at a long episode: `window` goes on where it stopped. None: whole episodes.
      mesh: devices that share the members of a population, from `device_mesh`.

    Raises:
      GenomeError: the loss is unknown, the truncation does not divide `steps`, `judged_at` does not go with the others, or the
        feedback of a regression is that of classes.
    """

    problems: tuple[Problem | RandomProblem, ...]
    steps: int = field(metadata={"static": True})
    batch_size: int = _static(128)
    query_size: int = _static(256)
    replicas: int = _static(1)
    split: str = _static("train")
    query_split: str | None = _static(None)
    query_batches: int = _static(1)
    loss: str = _static("final")
    truncation: int | None = _static(None)
    judged_at: tuple[int, ...] | None = _static(None)
    mesh: Mesh | None = field(default=None, metadata={"static": True})

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise GenomeError(f"loss: got {self.loss!r}; allowed: {', '.join(LOSSES)}")
        if self.truncation is not None and (self.truncation < 1 or self.steps % self.truncation):
            raise GenomeError(f"truncation: got {self.truncation}; expected a divisor of steps: {self.steps}")
        if self.judged_at is not None and (self.truncation or self.loss != "final"):
            raise GenomeError(f"judged_at: says which queries count; expected no truncation and loss: final, got {self.loss}")
        for problem in self.problems:
            task: Any = getattr(problem, "task", None)
            rule = getattr(problem.networks if isinstance(problem, RandomProblem) else problem.network, "rule", None)
            if isinstance(task, Task) and is_regression(task) and rule and rule.feedback == "softmax_cross_entropy":
                raise GenomeError(
                    f"task {task.name!r} is a regression, but rule.feedback is softmax_cross_entropy, which is for classes;"
                    " expected mse or labels"
                )

    def __call__(self, genome: AnyGenome, key: jax.Array, steps: Any = None) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns `(loss, {"loss", "accuracy"})` after whole episodes: the mean, and each problem's own [problems]."""

        def one(network: Any, task: Task, pair: tuple[Episode, jax.Array]) -> dict[str, jax.Array]:
            return meta_loss(network, genome, pair[0], key=pair[1], steps=steps, **self._queries(task))[1]

        pairs = {n: [self._episode(n, replica, key) for replica in range(self.replicas)] for n in self._fixed()}
        found = self._side_by_side(one, pairs)
        for n, problem in self._random().items():

            def on_graph(network: Any, genome: AnyGenome, key: jax.Array, task: Task = problem.task):
                data_key, init_key = jax.random.split(key)
                return meta_loss(network, genome, self._data(task, data_key), key=init_key, steps=steps, **self._queries(task))

            base = jax.random.fold_in(key, n)
            keys = jax.vmap(lambda r, base=base, problem=problem: problem.keys(jax.random.fold_in(base, r)))(
                jnp.arange(self.replicas)
            )
            loss, scores = problem.judged(on_graph, genome, keys, self._repeated(problem.graphs.tables))
            found[n] = {"loss": loss, "accuracy": problem.mean([own["accuracy"] for own in scores])}
        each = [found[n] for n in range(len(self.problems))]
        metrics = {name: jnp.stack([jnp.mean(scores[name]) for scores in each]) for name in ("loss", "accuracy")}
        return jnp.mean(metrics["loss"]), metrics

    # -- random graphs -----------------------------------------------------------------------------------------------------

    @property
    def is_random(self) -> bool:
        """Whether any problem has random graphs."""
        return bool(self._random())

    def graphs(self, first: int, count: int) -> tuple[Any, ...]:
        """Draws the graphs of `count` meta-steps: per problem with random graphs its tables, leaves [count, ...]; on the host."""
        return tuple(problem.tables(first, count) for problem in self._random().values())

    def with_graphs(self, graphs: tuple[Any, ...]) -> Objective:
        """Returns the objective with the graphs of one meta-step, an entry of `graphs`: not compiled again."""
        if not graphs:
            return self
        problems = list(self.problems)
        for (number, problem), tables in zip(self._random().items(), graphs, strict=True):
            problems[number] = problem.with_tables(tables)
        return replace(self, problems=tuple(problems))

    def at(self, meta_step: int) -> Objective:
        """Returns the objective with the graphs of a meta-step; itself where no graphs are random."""
        return self.with_graphs(tuple(p.networks.batch(meta_step).tables for p in self._random().values()))

    def _fixed(self) -> dict[int, Problem]:
        return {n: problem for n, problem in enumerate(self.problems) if not isinstance(problem, RandomProblem)}

    def _random(self) -> dict[int, RandomProblem]:
        return {n: problem for n, problem in enumerate(self.problems) if isinstance(problem, RandomProblem)}

    def _repeated(self, tree: Any) -> Any:
        """Returns the tree for every replica, leaves [R, ...]."""
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.replicas, *leaf.shape)), tree)

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

        def first(problem: Problem | RandomProblem) -> Any:
            key = jax.random.key(0)
            if not isinstance(problem, RandomProblem):
                return fresh_synapses(problem.network, genome, self.batch_size, key=key)
            keys = problem.keys(key)
            start = lambda network, genome, key: (jnp.zeros(()), fresh_synapses(network, genome, self.batch_size, key=key))  # noqa: E731
            return tuple(synapses for _, synapses in problem.graphs.losses(start, genome, keys))

        shapes = tuple(jax.eval_shape(lambda problem=problem: first(problem)) for problem in self.problems)
        empty = jax.tree.map(lambda leaf: jnp.zeros((self.replicas, *leaf.shape), leaf.dtype), shapes)
        window = jnp.broadcast_to(jnp.asarray(offset, jnp.int32), (self.replicas,))
        graphs = tuple(self._repeated(p.graphs.tables) if isinstance(p, RandomProblem) else None for p in self.problems)
        return Learning(empty, window, jnp.zeros(self.replicas, jnp.int32), jnp.ones(self.replicas, bool), graphs)

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
          learning: result of `begin` or of the last call; gradients flow back to it (not through random graphs). Random graphs
            are kept through an episode: one that begins takes those of the objective.
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
        episode = learning.episode + begins.astype(learning.episode.dtype)
        keys = [
            [jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, number), replica), episode[replica])
             for replica in range(self.replicas)]
            for number in range(len(self.problems))
        ]  # fmt: skip

        def begun(network: Any, genome: Any, task: Task, key: Any, before: Synapses, begins: Any, window: Any) -> tuple[Any, ...]:
            """Returns the data, the synapses before the first step, the key of noise and the number of the first step."""
            instance_key, data_key, init_key, noise_key = jax.random.split(key, 4)
            task = task.instance(instance_key, self._splits(task)[0])
            data = self._data(task, jax.random.fold_in(data_key, window), self.stretch)
            drawn = fresh_synapses(network, genome, self.batch_size, key=init_key)
            synapses = jax.tree.map(lambda new, old: jnp.where(begins, new, old), drawn, before)
            return data, synapses, noise_key, window * self.stretch

        def goes_on(network: Any, genome: Any, task: Task, pair: tuple[Any, ...]) -> tuple[Synapses, dict[str, jax.Array]]:
            data, synapses, noise_key, first = pair
            noise = noise_key if network.rule.noise else None
            part = None if self.truncation else steps
            return learn_and_judge(network, genome, synapses, data, part, key=noise, first=first, **self._queries(task))

        pairs = {}
        for number, problem in self._fixed().items():
            pairs[number] = [
                begun(
                    problem.network,
                    genome,
                    problem.task,
                    keys[number][r],
                    jax.tree.map(lambda leaf, r=r: leaf[r], learning.synapses[number]),
                    begins[r],
                    window[r],
                )
                for r in range(self.replicas)
            ]
        found = self._side_by_side(lambda network, task, pair: goes_on(network, genome, task, pair), pairs)
        kept: list[Any] = [None] * len(self.problems)
        for number, problem in self._random().items():
            offered, own = self._repeated(problem.graphs.tables), learning.graphs[number]
            kept[number] = jax.tree.map(
                lambda new, old: jnp.where(begins.reshape(-1, *(1,) * (new.ndim - 1)), new, old), offered, own
            )

            def on_graph(network: Any, genome: Any, argument: tuple[Any, ...], task: Task = problem.task):
                synapses, scores = goes_on(network, genome, task, begun(network, genome, task, *argument))
                return scores["loss"], (synapses, scores["accuracy"])

            graph_keys = jax.vmap(problem.keys)(jnp.stack(keys[number]))
            along = [tuple(jnp.broadcast_to(value[:, None], own.shape) for value in (begins, window)) for own in graph_keys]
            arguments = [(k, s, *a) for k, s, a in zip(graph_keys, learning.synapses[number], along, strict=True)]  # pyright: ignore[reportArgumentType]
            loss, rest = problem.judged(on_graph, genome, arguments, kept[number])
            scores = {"loss": loss, "accuracy": problem.mean([accuracy for _, accuracy in rest])}
            found[number] = tuple(synapses for synapses, _ in rest), scores
        each = [found[number] for number in range(len(self.problems))]
        counted = (window + 1 == windows) if self.loss == "final" else jnp.ones(self.replicas, bool)
        share = counted.astype(float) / jnp.maximum(counted.sum(), 1).astype(float)
        metrics = {
            name: jnp.stack(
                [jnp.sum(jnp.where(counted, scores[name], 0) * share.astype(scores[name].dtype)) for _, scores in each]
            )
            for name in ("loss", "accuracy")
        }
        after = Learning(
            tuple(synapses for synapses, _ in each), window + 1, episode, jnp.zeros_like(learning.fresh), tuple(kept)
        )
        return jnp.mean(metrics["loss"]), metrics | {"counted": counted.any()}, after

    def _windows(self, steps: Any) -> Any:
        return (self.steps if steps is None else steps) // self.truncation if self.truncation else 1

    # -- problems side by side ---------------------------------------------------------------------------------------------

    def _queries(self, task: Task) -> dict[str, Any]:
        """Returns how queries of a task are judged."""
        judged = {"query_batches": self.query_batches, "every_step": self.loss == "steps", "judged_at": self.judged_at}
        return judged | {"regression": is_regression(task)}

    def _side_by_side(self, function: Callable[[Any, Task, Any], Any], pairs: dict[int, list[Any]]) -> dict[int, Any]:
        """Returns the results of `function(network, task, pair)` for every problem's pairs, one per replica: leaves [R, ...].

        Problems that share a topology, and are judged alike, run as one batch: one after another would lower the peak of memory;
        side by side is faster for the small nets of 2-D tasks.
        """
        groups: dict[tuple[str, bool], list[int]] = {}
        for number, problem in self._fixed().items():
            groups.setdefault((problem.network.plan.digest, is_regression(problem.task)), []).append(number)
        results: dict[int, Any] = {}
        for members in groups.values():
            network, task = self._fixed()[members[0]].network, self._fixed()[members[0]].task
            flat = [pair for number in members for pair in pairs[number]]
            if len(flat) > 1:
                stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *flat)
                found = jax.vmap(lambda pair, network=network, task=task: function(network, task, pair))(stacked)
            else:
                found = jax.tree.map(lambda leaf: leaf[None], function(network, task, flat[0]))
            for place, number in enumerate(members):
                mine = slice(place * self.replicas, (place + 1) * self.replicas)
                results[number] = jax.tree.map(lambda leaf, mine=mine: leaf[mine], found)
        return results

    def _episode(self, number: int, replica: int, key: jax.Array) -> tuple[Episode, jax.Array]:
        data, init = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, number), replica))
        return self._data(self.problems[number].task, data), init

    def _data(self, task: Task, key: jax.Array, steps: int | None = None) -> Episode:
        query_size = self.query_size * self.query_batches
        return task.episode(key, steps or self.steps, self.batch_size, query_size, *self._splits(task))

    def _splits(self, task: Task) -> tuple[str, str | None]:
        """Returns the splits of support and query. If splits differ in classes, both are that of the query."""
        return (self.query_split, None) if self.query_split and task.splits_apart else (self.split, self.query_split)
