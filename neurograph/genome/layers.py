"""Per-layer genomes: one genome per depth, role or population of a graph, in one pytree.

Every matrix of the rule mixes the states of ONE neuron, and that neuron's genome supplies it: nu what the neuron sends forward,
mu what it sends back, nu~ and mu~ what it brings to a Hebbian product. Gates and moments are those of the neuron they act on. A
synapse belongs to the neuron that it arrives at in its own direction; a bias, with its constant neuron, to the neuron it drives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from neurograph.errors import GenomeError
from neurograph.genome.model import Genome, Shown
from neurograph.topology.graph import Topology

__all__ = ["LAYERS", "AnyGenome", "LayeredGenome", "genome_of_neurons", "genomes_of_stages"]

LAYERS = ("depth", "role", "population")
ROLES = ("input", "hidden", "output")
OTHERS = "*"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LayeredGenome(Shown):
    """One genome per layer of a graph: `genomes` is a `Genome` whose leaves have a leading axis of layers, `[G, ...]`.

    It goes wherever a `Genome` goes: `Network`, `meta_loss`, the meta-optimisers. A further leading axis on every leaf makes a
    population for `jax.vmap`.

    Args:
      genomes: leaves [G, k, k], [G, k] or [G].
      by: what a layer is: "depth" (the neuron's level; "0" is the inputs', neurons deeper than the last layer use the last),
        "role" ("input", "hidden", "output") or "population" (names of the topology's populations; "*" is all others).
      names: [G] names of the layers.

    Raises:
      GenomeError: an unknown `by`, or names that it does not allow.

    Examples:
      >>> import neurograph as ng
      >>> genome = ng.LayeredGenome.repeat(ng.load_genome("digits"), "role")
      >>> genome.names
      ('input', 'hidden', 'output')
      >>> slower = genome.replace(output=ng.load_genome("digits").replace(synapse_update=0.1))
      >>> round(float(slower.layers["output"].synapse_update), 6)
      0.1
    """

    genomes: Genome
    by: str = dataclasses.field(metadata={"static": True})
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        if self.by not in LAYERS:
            raise GenomeError(f"by: got {self.by!r}; allowed: {', '.join(LAYERS)}")
        names = list(self.names)
        if not names or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
            raise GenomeError(f"names of the layers: got {names}; expected at least one name, each once")
        if self.by == "depth" and names != [str(level) for level in range(len(names))]:
            raise GenomeError(f"names of the layers by depth: got {names}; expected '0', '1', ... in order")
        if self.by == "role" and sorted(names) != sorted(ROLES):
            raise GenomeError(f"names of the layers by role: got {names}; expected {', '.join(ROLES)}")

    @classmethod
    def from_genomes(cls, genomes: Mapping[str, Genome], by: str) -> LayeredGenome:
        """From one genome per layer, in the order given.

        Raises:
          GenomeError: none given, different numbers of states, or names that `by` does not allow.
        """
        states = {name: genome.states for name, genome in genomes.items()}
        if len(set(states.values())) != 1:
            raise GenomeError(f"genomes of the layers: got states {states}; expected at least one genome, all of the same k")
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *genomes.values())
        return cls(stacked, by, tuple(genomes))

    @classmethod
    def repeat(cls, genome: Genome, by: str, names: Sequence[str] | int | None = None) -> LayeredGenome:
        """The same genome in every layer: behaves exactly as the shared genome does.

        Args:
          names: of the layers; by depth their number (the topology's depth + 1); by role not needed.
        """
        if by == "role" and names is None:
            names = ROLES
        if names is None:
            raise GenomeError(f"names: expected {'a number of layers' if by == 'depth' else 'the names of the layers'}")
        names = [str(level) for level in range(names)] if isinstance(names, int) else list(names)
        return cls.from_genomes(dict.fromkeys(names, genome), by)

    def __repr__(self) -> str:
        names = ", ".join(self.names[:8]) + (", ..." if len(self.names) > 8 else "")
        return f"LayeredGenome(by {self.by}: {names}; {self.genomes!r})"

    @property
    def states(self) -> int:
        """k, from the matrices' last axis."""
        return self.genomes.states

    @property
    def layers(self) -> dict[str, Genome]:
        """The genome of every layer, by name."""
        return {name: jax.tree.map(lambda leaf, i=i: leaf[i], self.genomes) for i, name in enumerate(self.names)}

    def replace(self, **genomes: Genome) -> LayeredGenome:
        """A copy with the genomes of some layers exchanged (by depth: `**{"1": genome}`)."""
        if unknown := [name for name in genomes if name not in self.names]:
            raise GenomeError(f"{', '.join(unknown)}: no such layer; there are: {', '.join(self.names)}")
        return LayeredGenome.from_genomes(self.layers | genomes, self.by)

    def astype(self, dtype: Any) -> LayeredGenome:
        """The same genome in another floating-point type."""
        return jax.tree.map(lambda leaf: leaf.astype(dtype), self)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Nested lists by layer and field name."""
        return {name: genome.to_dict() for name, genome in self.layers.items()}

    def layer_of(self, topology: Topology) -> Int[np.ndarray, " neurons"]:
        """[n] int32: the number of every neuron's layer.

        Raises:
          GenomeError: neurons that belong to no layer, or members of one group of shared synapses (or biases) that belong to
            several: their one number could not have two genomes.
        """
        return _layer_of(topology, self.by, self.names)


AnyGenome = Genome | LayeredGenome


@lru_cache(maxsize=64)
def _layer_of(topology: Topology, by: str, names: tuple[str, ...]) -> np.ndarray:
    if by == "depth":
        layer = np.minimum(topology.levels, len(names) - 1)
    elif by == "role":
        role = np.ones(topology.num_neurons, int)
        role[topology.inputs], role[topology.outputs] = 0, 2
        layer = np.array([names.index(name) for name in ROLES])[role]
    else:
        number = {name: i for i, name in enumerate(names)}
        others = number.get(OTHERS, -1)
        places = [*(number.get(name, others) for name in topology.population_names), others]  # -1: in no population
        layer = np.array(places)[topology.population]
        if (layer < 0).any():
            first = int(np.argmax(layer < 0))
            missing = sorted({*topology.population_names} - {*names}) or "neurons in no population"
            raise GenomeError(
                f"the genome has layers for {', '.join(names)}; neuron {topology.names[first]!r} is in none of them (missing:"
                f" {missing}); name them, or give a genome for '*', all others"
            )
    groups = ((topology.group, layer[topology.receivers], "synapses"), (topology.group, layer[topology.senders], "synapses"))
    for group, owner, what in (*groups, (topology.bias_group, layer, "biases")):
        for g in np.unique(group[group >= 0]):
            if len(found := np.unique(owner[group == g])) > 1:
                several = ", ".join(repr(names[i]) for i in found)
                raise GenomeError(f"group {g} of shared {what} reaches over the layers {several}: it cannot have several genomes")
    layer = layer.astype(np.int32)
    layer.flags.writeable = False
    return layer


def genomes_of_stages(genome: AnyGenome, topology: Topology, stages: Sequence[np.ndarray]) -> list[Genome]:
    """Returns the genome of every stage's neurons; where they differ, the leaves end with an axis of neurons.

    Args:
      stages: per stage the topology indices of its neurons.
    """
    if isinstance(genome, Genome):
        return [genome] * len(stages)
    layer, found = genome.layer_of(topology), []
    for neurons in stages:
        mine = layer[neurons]
        if len(np.unique(mine)) == 1:
            found.append(jax.tree.map(lambda leaf, i=int(mine[0]): leaf[i], genome.genomes))
        else:
            found.append(genome_of_neurons(genome, topology, neurons))
    return found


def genome_of_neurons(genome: AnyGenome, topology: Topology, neurons: np.ndarray) -> Genome:
    """A genome whose leaves end with an axis of neurons: [k, k, m], [k, m], [m]. A shared genome's leaves stay as they are."""
    if isinstance(genome, Genome):
        return genome
    mine = genome.layer_of(topology)[neurons]
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf[mine], 0, -1), genome.genomes)
