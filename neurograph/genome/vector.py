"""A genome as one vector of the numbers that are searched, for optimisers that know nothing of genomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neurograph.errors import GenomeError
from neurograph.genome.layers import AnyGenome, LayeredGenome
from neurograph.genome.model import Genome

__all__ = ["GenomeVector"]


@dataclass(frozen=True)
class GenomeVector:
    """The map between genomes and vectors: vector entry = (array entry - template entry) / scale.

    Args:
      template: what stands where nothing is searched, and the origin of the search.
      fields: the arrays that are searched, in order.
      scales: per field, how much one unit of the vector changes it; 1 where not given.
      limits: per field, the lowest and highest value that its entries may take (not the vector's); unlimited where not given.

    The template may be a `LayeredGenome`: a field is then that array of every layer, layer by layer.

    Raises:
      GenomeError: an unknown field or one named twice, a scale that is not positive, or limits that are not low < high.

    Examples:
      >>> import neurograph as ng
      >>> genome, _ = ng.backprop_genome(0.1)
      >>> vector = ng.GenomeVector(genome, ("neuron_keep", "post_transform"))
      >>> vector.size, vector.names[1]
      (5, 'post_transform[0, 0]')
      >>> moved = vector.to_genome([0.5, 0, 0, 0, 0])
      >>> float(moved.neuron_keep - genome.neuron_keep)
      0.5
    """

    template: AnyGenome
    fields: tuple[str, ...]
    scales: tuple[tuple[str, float], ...] = ()
    limits: tuple[tuple[str, float, float], ...] = ()

    def __post_init__(self) -> None:
        known = [field.name for field in dataclasses.fields(Genome)]
        named = [*self.fields, *(name for name, _ in self.scales), *(name for name, _, _ in self.limits)]
        if unknown := [name for name in named if name not in known]:
            raise GenomeError(f"{', '.join(unknown)}: no array of a genome; allowed: {', '.join(known)}")
        if wrong := [f"{name}: {scale}" for name, scale in self.scales if not scale > 0]:
            raise GenomeError(f"scales: got {', '.join(wrong)}; expected numbers > 0")
        if wrong := [f"{name}: {low} to {high}" for name, low, high in self.limits if not low < high]:
            raise GenomeError(f"limits: got {', '.join(wrong)}; expected low < high")
        if len(set(self.fields)) < len(self.fields):
            raise GenomeError(f"fields: got {', '.join(self.fields)}; expected each once")

    def _array(self, genome: AnyGenome, name: str) -> jax.Array:
        return getattr(genome.genomes if isinstance(genome, LayeredGenome) else genome, name)

    @property
    def names(self) -> list[str]:
        """Returns the name of every entry of the vector: "forward_transform[0, 1]", of a layer "forward_transform[2, 0, 1]"."""
        return [
            f"{name}[{', '.join(map(str, place))}]" if place else name
            for name in self.fields
            for place in np.ndindex(self._array(self.template, name).shape)
        ]

    @property
    def bounds(self) -> tuple[Float[np.ndarray, " size"], Float[np.ndarray, " size"]]:
        """Lowest and highest vector, [size] each, infinite where unlimited: as scipy.optimize and cma take them."""
        limits, scales = {name: (low, high) for name, low, high in self.limits}, dict(self.scales)
        ends: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for name in self.fields:
            start = np.asarray(self._array(self.template, name), float).ravel()
            for end, limit in zip(ends, limits.get(name, (-np.inf, np.inf)), strict=True):
                end.append((limit - start) / scales.get(name, 1.0))
        return np.concatenate(ends[0]), np.concatenate(ends[1])

    def clip(self, vectors: Float[np.ndarray, "*vectors size"] | Sequence[Any]) -> Float[np.ndarray, "*vectors size"]:
        """Returns vectors [..., size] with every entry within `bounds`."""
        return np.clip(np.asarray(vectors, float), *self.bounds)

    @property
    def size(self) -> int:
        """Number of entries of the vector."""
        return sum(int(np.size(self._array(self.template, name))) for name in self.fields)

    def to_vector(self, genome: AnyGenome) -> Float[np.ndarray, " size"]:
        """Returns the genome as a vector [size] of float64."""
        scales, parts = dict(self.scales), []
        for name in self.fields:
            difference = np.asarray(self._array(genome, name), float) - np.asarray(self._array(self.template, name), float)
            parts.append(difference.ravel() / scales.get(name, 1.0))
        return np.concatenate(parts)

    def to_genomes(self, vectors: np.ndarray | Sequence[np.ndarray]) -> Any:
        """Returns the population (leaves [P, ...]) of vectors [P, size]."""
        array = np.atleast_2d(np.asarray(vectors, float))
        if array.shape[1] != self.size:
            raise GenomeError(f"vectors: got {array.shape[1]} entries; expected {self.size} for {', '.join(self.fields)}")
        count = array.shape[0]
        population = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), self.template)
        changed, start, scales = {}, 0, dict(self.scales)
        for name in self.fields:
            leaf = np.asarray(self._array(self.template, name), float)
            piece = array[:, start : start + leaf.size].reshape(count, *leaf.shape)
            changed[name] = jnp.asarray(leaf + scales.get(name, 1.0) * piece, self._array(self.template, name).dtype)
            start += leaf.size
        if isinstance(population, LayeredGenome):
            return dataclasses.replace(population, genomes=dataclasses.replace(population.genomes, **changed))
        return dataclasses.replace(population, **changed)

    def to_genome(self, vector: np.ndarray) -> Any:
        """Returns the genome of a vector [size]."""
        return jax.tree.map(lambda leaf: leaf[0], self.to_genomes(vector))
