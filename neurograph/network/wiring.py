"""`Wiring`: what the mathematics reads of a network, and genomes and states laid out by the stages of its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.genome.layers import AnyGenome, genomes_of_stages
from neurograph.genome.model import Genome
from neurograph.genome.rule import Rule
from neurograph.network.kernels.base import Kernel
from neurograph.network.plan.model import Plan
from neurograph.topology.graph import Topology

__all__ = ["StagedGenome", "States", "Wiring", "cast", "gate", "genomes_at_stages"]

States = list[Any]  # one [states, neurons, batch] per stage


@jax.tree_util.register_pytree_node_class
class Wiring:
    """A topology under a rule, as a kernel executes it: a pytree whose leaves are the kernel's index tables.

    Outside, arrays are batch first and in the topology's own order; inside they are one array [states, neurons, batch] per stage
    of the plan.

    Attributes:
      topology: the graph.
      rule: the options of the learning step.
      kernel: sums at neurons and products at synapses; `kernel_name` is what it was asked for as.
      plan: the stages and phases in which neurons are visited.
      precision: type of neurons' states; None: that of the synapses.
    """

    topology: Topology
    rule: Rule
    kernel: Kernel
    kernel_name: str
    plan: Plan
    precision: str | None

    @property
    def state_dtype(self) -> Any:
        """Type of neurons' states; None: that of the synapses."""
        return None if self.precision is None else jnp.dtype(self.precision)

    @property
    def log_walk_length(self) -> Any:
        """log D, see `Topology.walk_length`."""
        return float(np.log(self.topology.walk_length))

    @property
    def tick_limit(self) -> Any:
        """How many of the plan's ticks run, where that is data; None: all."""
        return None

    @property
    def output_places(self) -> jax.Array | None:
        """[outputs] where each output stands among those of all stages of outputs, where that is data; None: as the plan says."""
        return None

    @property
    def damping(self) -> Any:
        """Share of the last state that a tick keeps, where the genome has no say in it; 0.0: ticks are not damped."""
        return self.topology.damping

    def laid_out(self, genome: AnyGenome) -> Any:
        """The genome as a compiled function of this network takes it."""
        return genome

    def inside(self, states: jax.Array) -> tuple[jax.Array, ...]:
        """[B, n, k] in topology order to one [k, neurons, B] per stage."""
        return tuple(states[:, stage.neurons].transpose(2, 1, 0) for stage in self.plan.stages)

    def outside(self, states: Sequence[jax.Array]) -> jax.Array:
        """The inverse of `inside`."""
        batch = max(s.shape[2] for s in states)
        full = [jnp.broadcast_to(s, (*s.shape[:2], batch)) for s in states]
        return jnp.concatenate(full, axis=1).transpose(2, 1, 0)[:, self.plan.rank]

    def tree_flatten(self) -> tuple[tuple[Kernel], tuple[Any, ...]]:
        return (self.kernel,), (self.topology, self.rule, self.kernel_name, self.precision)

    @classmethod
    def tree_unflatten(cls, aux: tuple[Any, ...], children: Any) -> Self:
        wiring = object.__new__(cls)
        wiring.topology, wiring.rule, wiring.kernel_name, wiring.precision = aux
        wiring.kernel = children[0]
        wiring.plan = getattr(children[0], "plan", None)  # pyright: ignore[reportAttributeAccessIssue]  # a transformation's stand-in has none
        return wiring


def gate(value: jax.Array) -> jax.Array:
    """A scalar of a genome beside [states, neurons, batch]."""
    return value if value.ndim == 0 else value[None, :, None]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StagedGenome:
    """Genomes laid out by stages already, as `genomes_at_stages` returns them: where a neuron's layer is data."""

    stages: tuple[Genome, ...]


def genomes_at_stages(wiring: Wiring, genome: AnyGenome | StagedGenome) -> list[Genome]:
    """The genome of every stage's neurons (see `genomes_of_stages`)."""
    if isinstance(genome, StagedGenome):
        return list(genome.stages)
    return genomes_of_stages(genome, wiring.topology, [stage.neurons for stage in wiring.plan.stages])


def cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
