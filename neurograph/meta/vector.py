"""A genome as one vector of the numbers that are searched, for optimisers that know nothing of genomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import GenomeError
from neurograph.genome import Genome
from neurograph.rule import Rule

__all__ = ["GenomeVector", "searched_fields"]

_ALWAYS = ("forward_transform", "backward_transform", "pre_transform", "post_transform")
_ALWAYS = (*_ALWAYS, "neuron_keep", "neuron_update", "synapse_keep", "synapse_update")


def searched_fields(rule: Rule) -> tuple[str, ...]:
    """The arrays of a genome that have an effect under a rule."""
    fields: list[str] = list(_ALWAYS)
    if rule.normalization == "batch":
        fields += ["forward_scale", "forward_shift"]
        if rule.backward_update == "additive":
            fields += ["backward_scale", "backward_shift"]
    if rule.forward_synapse_update:
        fields += [f"forward_{name}" for name in ("pre_transform", "post_transform", "synapse_keep", "synapse_update")]
    if rule.oja != "none":
        fields.append("oja_multiplier")
    if rule.rescale:
        fields.append("rescale")
    if rule.saturation != "none":
        fields.append("saturation")
    if rule.initial_deviation == "genome":
        fields.append("initial_deviation")
    return tuple(fields)


@dataclass(frozen=True)
class GenomeVector:
    """The map between genomes and vectors: vector entry = (array entry - template entry) / scale.

    Args:
      template: what stands where nothing is searched, and the origin of the search.
      fields: the arrays that are searched, in order.
      scales: per field, how much one unit of the vector changes it; 1 where not given.

    Raises:
      GenomeError: an unknown field, or a scale that is not positive.
    """

    template: Genome
    fields: tuple[str, ...]
    scales: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        known = [field.name for field in dataclasses.fields(Genome)]
        named = [*self.fields, *(name for name, _ in self.scales)]
        if unknown := [name for name in named if name not in known]:
            raise GenomeError(f"{', '.join(unknown)}: no array of a genome; allowed: {', '.join(known)}")
        if wrong := [f"{name}: {scale}" for name, scale in self.scales if not scale > 0]:
            raise GenomeError(f"scales: got {', '.join(wrong)}; expected numbers > 0")

    @property
    def size(self) -> int:
        """Entries of the vector."""
        return sum(int(np.size(getattr(self.template, name))) for name in self.fields)

    def to_vector(self, genome: Genome) -> np.ndarray:
        """[size] float64."""
        scales, parts = dict(self.scales), []
        for name in self.fields:
            difference = np.asarray(getattr(genome, name), float) - np.asarray(getattr(self.template, name), float)
            parts.append(difference.ravel() / scales.get(name, 1.0))
        return np.concatenate(parts)

    def to_genomes(self, vectors: np.ndarray | Sequence[np.ndarray]) -> Genome:
        """[P, size] to a population of P genomes (leaves [P, ...])."""
        array = np.atleast_2d(np.asarray(vectors, float))
        if array.shape[1] != self.size:
            raise GenomeError(f"vectors: got {array.shape[1]} entries; expected {self.size} for {', '.join(self.fields)}")
        count = array.shape[0]
        population = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), self.template)
        changed, start, scales = {}, 0, dict(self.scales)
        for name in self.fields:
            leaf = np.asarray(getattr(self.template, name), float)
            piece = array[:, start : start + leaf.size].reshape(count, *leaf.shape)
            changed[name] = jnp.asarray(leaf + scales.get(name, 1.0) * piece, getattr(self.template, name).dtype)
            start += leaf.size
        return dataclasses.replace(population, **changed)

    def to_genome(self, vector: np.ndarray) -> Genome:
        """[size] to one genome."""
        return jax.tree.map(lambda leaf: leaf[0], self.to_genomes(vector))
