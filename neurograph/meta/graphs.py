"""Fresh random graphs for every meta-step: drawn on the host, data of one compiled program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import PlanError, ShapeError
from neurograph.genome import AnyGenome
from neurograph.genome.rule import Rule
from neurograph.network.batch.batch import NetworkBatch
from neurograph.network.batch.choice import choose_classes, class_of, counts_of, shares_of
from neurograph.network.batch.sizes import SizeClass, exact_sizes
from neurograph.tasks import Task
from neurograph.topology.graph import Topology
from neurograph.topology.language.families import RandomTopologies

__all__ = ["RandomNetworks", "RandomProblem", "derived_seed"]

# Graphs that are drawn to choose size classes by (the same for every seed), and that are drawn at most to fill them.
SAMPLE, MOST = 192, 100_000


@dataclass(frozen=True)
class RandomNetworks:
    """Networks on graphs of a distribution, always as many of the same size classes.

    Classes are chosen by a sample of the distribution. Every class gets graphs by its share of the sample, at least one; means
    over graphs weigh classes by their shares, so that they estimate the mean over the distribution. Graphs that no class holds,
    larger than those of the sample, are drawn again.

    Args:
      topologies: the distribution.
      rule: the options of the learning step.
      classes: from `of`.
      shares: of the distribution in each class.
      counts: graphs of each class in a draw.
      seed: of all draws; draw number d is the same whatever else is drawn.

    Examples:
      >>> import neurograph as ng
      >>> from neurograph.topology.language.families import RandomTopologies
      >>> layers = RandomTopologies([{"family": "layered", "width": 16, "depth": [1, 2]}], inputs=2, outputs=2)
      >>> networks = RandomNetworks.of(layers, ng.Rule(), 3)
      >>> [len(networks.batch(draw)) for draw in (0, 1)]
      [3, 3]
      >>> networks.batch(0).classes == networks.batch(1).classes
      True
    """

    topologies: RandomTopologies
    rule: Rule
    classes: tuple[SizeClass, ...]
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    seed: int = 0

    @classmethod
    def of(cls, topologies: RandomTopologies, rule: Rule, graphs: int = 4, *, most_classes: int = 2, seed: int = 0) -> Self:
        """Chooses classes: at most so many, and as many as graphs of a draw, unless there are more kinds of graphs.

        Raises:
          SpecError: a family draws what no graph can be.
          PlanError: fewer graphs than kinds of graphs (acyclic, cyclic).
        """
        sizes = [exact_sizes(topologies.draw(0, number)) for number in range(SAMPLE)]
        classes = choose_classes(sizes, min(graphs, most_classes))
        shares = shares_of(sizes, classes)
        kept = [number for number, share in enumerate(shares) if share]
        classes, shares = tuple(classes[n] for n in kept), tuple(shares[n] for n in kept)
        return cls(topologies, rule, classes, shares, (), seed).with_graphs(graphs, seed)

    def with_graphs(self, graphs: int, seed: int) -> Self:
        """Returns other draws of the same classes, of so many graphs and another seed.

        Raises:
          PlanError: fewer graphs than classes.
        """
        if graphs < len(self.classes):
            raise PlanError(f"got {graphs} graphs; expected at least {len(self.classes)}, one for each size class")
        return replace(self, counts=counts_of(self.shares, graphs), seed=seed)

    def draw(self, number: int) -> list[Topology]:
        """Returns the graphs of a draw, those of the first class first."""
        found: list[list[Topology]] = [[] for _ in self.classes]
        seed = derived_seed(self.seed, number)
        for graph in range(MOST):
            topology = self.topologies.draw(seed, graph)
            place = class_of(exact_sizes(topology), self.classes)
            if place is not None and len(found[place]) < self.counts[place]:
                found[place].append(topology)
                if all(len(own) == count for own, count in zip(found, self.counts, strict=True)):
                    return [topology for own in found for topology in own]
        raise PlanError(f"draw {number}: {MOST:,} graphs do not fill the size classes {', '.join(map(str, self.classes))}")

    def batch(self, number: int) -> NetworkBatch:
        """Returns the networks of a draw."""
        return NetworkBatch(self.draw(number), self.rule, sizes=self.classes)

    @property
    def weights(self) -> tuple[float, ...]:
        """What one graph of a class counts in a mean over all."""
        return tuple(share / count for share, count in zip(self.shares, self.counts, strict=True))

    def __str__(self) -> str:
        names = list(dict.fromkeys(family.name for family in self.topologies.families))
        return f"{sum(self.counts)} random graphs ({', '.join(names)})"


def derived_seed(*words: int) -> int:
    """Returns a seed that other words do not share."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandomProblem:
    """A task on random graphs: a `Problem` whose graphs are data, other ones at every meta-step. Made by `of`.

    Attributes:
      networks: what graphs are drawn from.
      task: a task that fits their inputs and outputs.
      graphs: those at hand.
    """

    networks: RandomNetworks = field(metadata={"static": True})
    task: Task
    graphs: NetworkBatch

    @classmethod
    def of(cls, networks: RandomNetworks, task: Task) -> Self:
        """Returns the problem with the graphs of draw 0.

        Raises:
          ShapeError: the graphs' inputs or outputs are not as many as the task's.
        """
        drawn = networks.topologies
        if (drawn.inputs, drawn.outputs) != (task.num_inputs, task.num_outputs):
            raise ShapeError(
                f"task {task.name!r} has {task.num_inputs} inputs and {task.num_outputs} outputs; the random graphs have"
                f" {drawn.inputs} and {drawn.outputs}"
            )
        return cls(networks, task, networks.batch(0))

    def tables(self, first: int, count: int) -> Any:
        """Returns the graphs of `count` draws, each as `graphs.tables`, stacked."""
        draws = [self.networks.batch(first + number).tables for number in range(count)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *draws)  # NumPy: there is no program to compile

    def with_tables(self, tables: Any) -> RandomProblem:
        """Returns the problem with other graphs of the same size classes."""
        return replace(self, graphs=self.graphs.with_tables(tables))

    def keys(self, key: jax.Array) -> list[jax.Array]:
        """Returns a key for every graph, per class [graphs]."""
        counts = self.networks.counts
        keys = jax.random.split(key, sum(counts))
        return [keys[end - count : end] for count, end in zip(counts, np.cumsum(counts), strict=True)]

    def judged(
        self, function: Callable[..., tuple[jax.Array, Any]], genome: AnyGenome, arguments: Any, tables: Any
    ) -> tuple[jax.Array, list[Any]]:
        """Judges a genome on every graph of every replica, see `NetworkBatch.losses`.

        Args:
          function: `function(network, genome, argument)` returns `(loss, rest)` of one graph.
          arguments: per class, leaves [R, graphs, ...].
          tables: the graphs of every replica, leaves [R, graphs, ...].

        Returns:
          `(loss, rest)`: [R], the means over graphs; what the function returned besides, per class, leaves [R, graphs, ...].
        """
        # No -1 in the shapes: there are arrays without elements.
        flat = jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), (arguments, tables))
        found = self.graphs.losses(function, genome, flat[0], tables=flat[1])
        replicas = jax.tree.leaves(tables)[0].shape[0]
        apart = lambda leaf: leaf.reshape(replicas, leaf.shape[0] // replicas, *leaf.shape[1:])  # noqa: E731
        losses, rest = zip(*jax.tree.map(apart, found), strict=True)
        return self.mean(losses), list(rest)

    def mean(self, values: Any) -> jax.Array:
        """Returns the mean over graphs [R] of values, per class [R, graphs]: every class counts by its share."""
        return sum(jnp.sum(value, axis=1) * weight for value, weight in zip(values, self.networks.weights, strict=True))  # pyright: ignore[reportReturnType]
