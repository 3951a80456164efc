"""Genomes made from genomes: more states, averages. Pure functions; nothing given is changed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from neurograph.errors import GenomeError
from neurograph.genome.activations import resolve_activation
from neurograph.genome.compare import align, uncanonical
from neurograph.genome.files import GenomeFile, load_genome_file
from neurograph.genome.layers import AnyGenome, LayeredGenome
from neurograph.genome.model import GATING_MATRICES, MATRICES, SECOND_MATRICES, VECTORS, Genome
from neurograph.genome.rule import Rule

if TYPE_CHECKING:
    pass

__all__ = [
    "average_genomes",
    "extend_genome",
]

G = TypeVar("G", Genome, LayeredGenome)


def extend_genome(
    source: str | os.PathLike[str] | GenomeFile | AnyGenome,
    rule: Rule | None = None,
    *,
    states: int | None = None,
    noise: float = 0.0,
    outgoing_noise: float = 0.0,
    key: PRNGKeyArray | None = None,
) -> tuple[AnyGenome, Rule]:
    """Add states to a trained genome so that it first behaves as before.

    No old state reads a new one (the entries from new states to old ones are zero), so outputs, old states and the old channels
    of the synapses go on as they did, to rounding, whatever the new states do while they stay finite. What the new states read is
    zero plus `noise`: with noise they are alive and the derivative by the zero entries is not zero, so that meta-training can
    take them into use; without any they stay at rest and a gradient finds only the constant neuron's new state.

    Args:
      source: a genome, a genome file (its path, content, or a name of the zoo), shared or per layer.
      rule: the rule it was learned under; default: the file's.
      states: k of the result; default one more.
      noise: standard deviation of the entries INTO new states: behaviour stays as it was.
      outgoing_noise: of the entries from new states to old ones: behaviour then changes a little.
      key: for the noise.

    Returns:
      `(genome, rule)`: the rule is the old one with more states. Synapses of a network that learned before are carried over by
      `extend_synapses`; `Network.init` draws others, since it draws more numbers (single-state synapses stay the same).

    Raises:
      GenomeError: no rule, a rule of other states, not more states than before, noise without a key, or a rule under which it
        cannot behave as before: an activation that mixes states, or injected noise that is drawn differently for more states.

    Source: Sandler et al. 2021, section 4.2 ("extend existing genomes").

    Examples:
      >>> import neurograph as ng
      >>> genome, rule = ng.extend_genome("functions", states=3)
      >>> genome.states, rule.states
      (3, 3)
    """
    if not isinstance(source, (Genome, LayeredGenome)):
        file = source if isinstance(source, GenomeFile) else load_genome_file(source)
        source, rule = file.genome, rule or file.rule
    if rule is None:
        raise GenomeError("rule: the genome comes without one; expected the rule that it was learned under")
    old, new = source.states, source.states + 1 if states is None else states
    if rule.states != old:
        raise GenomeError(f"rule: has states: {rule.states}; the genome has {old}")
    if isinstance(new, bool) or not isinstance(new, int) or new <= old:
        raise GenomeError(f"states: got {new!r}; expected an integer above the genome's {old}")
    for name, value in (("noise", noise), ("outgoing_noise", outgoing_noise)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < np.inf:
            raise GenomeError(f"{name}: got {value!r}; expected a finite number >= 0")
    if (noise or outgoing_noise) and key is None:
        raise GenomeError("key: noise is drawn from a PRNG key; expected key=jax.random.key(...)")
    _check_extensible(rule, new)
    wider = rule.replace(states=new)
    if isinstance(source, LayeredGenome):
        arrays = _extend(source.genomes, new, noise, outgoing_noise, key)
        return LayeredGenome(Genome(**arrays), source.by, source.names), wider
    return Genome(**_extend(source, new, noise, outgoing_noise, key)), wider


def _extend(genome: Genome, new: int, noise: float, outgoing: float, key: jax.Array | None) -> dict[str, jax.Array]:
    arrays = {field.name: getattr(genome, field.name) for field in dataclasses.fields(genome)}
    old, names = genome.states, (*MATRICES, *SECOND_MATRICES)
    keys = [None] * len(names) if key is None else list(jax.random.split(key, len(names)))
    for name, own in zip(names, keys, strict=True):
        array = arrays[name]
        # Rows belong to what is written (of pre_transform columns do): new rows are read by no old state.
        into_rows = not name.endswith("pre_transform")
        into = np.zeros((new, new), bool)
        into[old:] = True
        into = into if into_rows else into.T
        out = np.zeros((new, new), bool)
        out[:old, old:] = True
        out = out if into_rows else out.T
        pads = [(0, 0)] * (array.ndim - 2) + [(0, new - old)] * 2
        array = jnp.pad(array, pads)
        if own is not None:
            deviation = jnp.asarray(noise * into + outgoing * out, array.dtype)
            array = array + deviation * jax.random.normal(own, array.shape, array.dtype)
        arrays[name] = array
    for name in GATING_MATRICES:  # no old gate reads a new state; the gates of new ones begin as constants
        array = arrays[name]
        arrays[name] = jnp.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, new - old)] * 2)
    for name, start in VECTORS.items():
        array = arrays[name]
        arrays[name] = jnp.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, new - old)], constant_values=start)
    return arrays


def _check_extensible(rule: Rule, new: int) -> None:
    """Refuse rules whose old states would feel new ones.

    Raises:
      GenomeError: says which option and why.
    """
    faults = []
    probe = jnp.asarray(np.random.default_rng(0).normal(size=(new, 3, 4)))
    for option in ("forward_activation", "backward_activation", "output_activation"):
        activation = resolve_activation(getattr(rule, option), option)
        if not np.allclose(activation(probe)[: rule.states], activation(probe[: rule.states]), rtol=1e-5, atol=1e-6):
            faults.append(f"{option}: {getattr(rule, option)!r} mixes states: what it gives the old ones changes with a new one")
    if rule.noise:
        key = jax.random.key(0)
        if not np.array_equal(jax.random.normal(key, (new, 3))[: rule.states], jax.random.normal(key, (rule.states, 3))):
            faults.append(
                f"noise: {rule.noise} is drawn differently for another number of states under jax_threefry_partitionable=False;"
                " turn that on"
            )
    if faults:
        raise GenomeError("the genome cannot behave as before with more states:\n" + "\n".join(faults))


def average_genomes(genomes: Sequence[G], rule: Rule | None = None, *, weights: Sequence[float] | None = None) -> G:
    """The weighted mean of genomes, array by array.

    Args:
      genomes: at least one, all shared or all per the same layers, of one k.
      rule: with it, every genome is first brought to the form nearest to the first one that behaves the same under this rule (see
        `compare_genomes`): the mean of two namings of one genome is that genome. Without, arrays are averaged as they stand.
      weights: one per genome, >= 0, not all 0; default: equal.

    Raises:
      GenomeError: none given, different states or layers, wrong weights.

    Examples:
      >>> import neurograph as ng
      >>> slow, fast = ng.backprop_genome(0.1)[0], ng.backprop_genome(0.3)[0]
      >>> mean = ng.average_genomes([slow, fast], weights=[1, 3])
      >>> round(float(mean.synapse_update), 6)
      -0.25
    """
    genomes = list(genomes)
    shares = np.ones(len(genomes)) if weights is None else np.asarray(weights, float)
    if not genomes:
        raise GenomeError("genomes: got none; expected at least one")
    if shares.shape != (len(genomes),) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum() > 0:
        raise GenomeError(f"weights: got {weights!r}; expected {len(genomes)} numbers >= 0, not all 0")
    shares = shares / shares.sum()
    first = genomes[0]
    if rule is None:
        forms = [align(first, other, None, permute=False)[1] for other in genomes]
    else:
        forms = [align(first, other, rule)[1] for other in genomes]
    total = {name: np.asarray(sum(s * form[name] for s, form in zip(shares, forms, strict=True))) for name in forms[0]}
    return uncanonical(total, first, rule)
