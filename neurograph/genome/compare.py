"""Compares genomes, and ignores differences that change no behaviour.

Freedoms that hold on every graph, because the genome alone decides them:

- states 2, 3, ... may be renamed, together with the channels of the synapses: no rule distinguishes them;
- the update gate eta of neurons only occurs in products eta nu and, where the backward update is additive, eta mu; not so under
  `bias_after_normalization`, whose biases take nu without it;
- channel c of a Hebbian product is (column c of nu~) times (row c of mu~): one may grow by what the other shrinks, or both change
  sign; under `oja: activity` only the sign is free, since there mu~ counts by itself;
- eta~ only occurs in a product with mu~, but under `oja: weights` and `activity`, where its sign has a meaning of its own, and
  under `update_normalization: neuron`, which divides by the length of what mu~ makes;
- what has no effect does not count: channels above 0 of single-state synapses, row 0 of mu under `multiplicative_second_state`,
  arrays that the rule does not use.

Not free: the sign of a state (the constant neuron is 1 in all states, and not every activation is odd), the scale of the synapses
(fixed synapses and given weights have theirs) and the scale of a normalised pre-activation (a small constant is added to
variances). With a genome per layer only the renaming is free: the other products are between different layers' arrays.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import GenomeError
from neurograph.genome.layers import AnyGenome, LayeredGenome
from neurograph.genome.model import GATING_MATRICES, MATRICES, SECOND_MATRICES, VECTORS, Genome, effective_fields
from neurograph.genome.rule import Rule

__all__ = ["Comparison", "align", "canonical_genome", "compare_genomes", "uncanonical"]

# All renamings are tried up to this many states (7! = 5,040); above, exchanges of two states from the given order.
MAX_EXHAUSTIVE = 9

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """The distance of two genomes.

    Attributes:
      distance: root of the summed squared differences of all arrays that count; relative: over the larger of both norms.
      arrays: per array {"distance", "relative", "largest"}: Frobenius norm of the difference, the same over the larger norm,
        largest difference of an entry. Of layered genomes the names are "LAYER: ARRAY".
      unaligned: distance of the arrays as they stand in the genomes.
      permutation: state c of the first genome corresponds to state permutation[c] of the second.
      exhaustive: all renamings were tried.
      first, second: the arrays that were compared, in canonical form, aligned.
    """

    distance: float
    relative: float
    arrays: dict[str, dict[str, float]]
    unaligned: float
    permutation: tuple[int, ...]
    exhaustive: bool
    first: Arrays
    second: Arrays

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, without the arrays themselves."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("first", "second")}
        return data | {"permutation": list(self.permutation)}


def compare_genomes(first: AnyGenome, second: AnyGenome, rule: Rule | None = None, *, align_states: bool = True) -> Comparison:
    """Distances between two genomes, array by array, aligned under the freedoms of the rule (see the module).

    Args:
      first, second: of the same k; both shared, or both with the same layers.
      rule: decides what is free and what counts; without, only the renaming of states is free, and all arrays count.
      align_states: False leaves the states in their order.

    Raises:
      GenomeError: different k or layers, or a rule of another k.

    Examples:
      >>> import neurograph as ng
      >>> genome, rule = ng.backprop_genome(0.1)
      >>> found = ng.compare_genomes(genome, genome.replace(synapse_keep=0.5), rule)
      >>> found.distance, found.arrays["synapse_keep"]["largest"]
      (0.5, 0.5)
    """
    a, b, permutation, exhaustive = align(first, second, rule, permute=align_states)
    counted = _counted(a, first, rule)
    raw = [_arrays(genome) for genome in (first, second)]
    unaligned = float(np.sqrt(sum(np.sum((raw[0][name] - raw[1][name]) ** 2) for name in _counted(raw[0], first, rule))))
    rows, squares, norms = {}, 0.0, np.zeros(2)
    for name in counted:
        if isinstance(first, LayeredGenome):
            parts = {f"{layer}: {name}": (a[name][i], b[name][i]) for i, layer in enumerate(first.names)}
        else:
            parts = {name: (a[name], b[name])}
        for label, (x, y) in parts.items():
            difference, size = float(np.linalg.norm(x - y)), max(float(np.linalg.norm(x)), float(np.linalg.norm(y)))
            largest = float(np.max(np.abs(x - y)))
            rows[label] = {"distance": difference, "relative": difference / size if size else 0.0, "largest": largest}
            squares += difference**2
            norms += [float(np.sum(x**2)), float(np.sum(y**2))]
    total, size = float(np.sqrt(squares)), float(np.sqrt(norms.max()))
    return Comparison(total, total / size if size else 0.0, rows, unaligned, permutation, exhaustive, a, b)


def canonical_genome(genome: Genome, rule: Rule) -> Genome:
    """The same behaviour on every graph, in one form: eta = 1 and eta~ = 1 where they are free, Hebbian channels balanced with
    their largest entry positive, what has no effect at zero. States are not renamed."""
    arrays = _canonical(genome, rule)
    for prefix in _prefixes(rule):
        pre, post = arrays[f"{prefix}pre_transform"], arrays[f"{prefix}post_transform"]
        both = np.concatenate([pre.T, post], axis=1)
        sign = np.where(np.take_along_axis(both, np.abs(both).argmax(axis=1)[:, None], 1)[:, 0] < 0, -1.0, 1.0)
        arrays[f"{prefix}pre_transform"], arrays[f"{prefix}post_transform"] = pre * sign, post * sign[:, None]
    return _genome(arrays, genome)


def align(
    first: AnyGenome, second: AnyGenome, rule: Rule | None, *, permute: bool = True
) -> tuple[Arrays, Arrays, tuple[int, ...], bool]:
    """Both genomes' arrays in canonical form, the second's states renamed and its Hebbian signs chosen nearest to the first.

    Returns:
      `(first, second, permutation, exhaustive)`, float64 arrays by name; layered genomes' lead with the layers.
    """
    for what, value in (("genomes", second), ("rule", rule)):
        if value is not None and value.states != first.states:
            raise GenomeError(f"{what}: got states {first.states} and {value.states}; expected equal")
    kinds = [(g.by, g.names) if isinstance(g, LayeredGenome) else None for g in (first, second)]
    if kinds[0] != kinds[1]:
        raise GenomeError(f"genomes: got layers {kinds[0]} and {kinds[1]}; expected the same layers (None: one genome for all)")
    free = rule if kinds[0] is None else None  # what else than names is free
    a, b = (_canonical(g, free) if free is not None and isinstance(g, Genome) else _arrays(g) for g in (first, second))
    counted = _counted(a, first, rule)
    chosen, exhaustive = tuple(range(first.states)), True
    if permute and first.states > 3:
        chosen, exhaustive = _nearest(a, b, counted, free)
    b = _renamed(b, chosen)
    for prefix in _prefixes(free):
        names = f"{prefix}pre_transform", f"{prefix}post_transform"
        sign = np.where(_overlap(a, b, names) < 0, -1.0, 1.0)
        b[names[0]], b[names[1]] = b[names[0]] * sign, b[names[1]] * sign[:, None]
    return a, b, chosen, exhaustive


def uncanonical(arrays: Arrays, like: AnyGenome, rule: Rule | None) -> Any:
    """A genome from arrays in canonical form, its gates eta and eta~ those of `like` again."""
    arrays = dict(arrays)
    if rule is not None and isinstance(like, Genome):
        if _gated(rule) and (eta := float(like.neuron_update)):
            arrays["neuron_update"] = np.asarray(eta)
            for name in _gated(rule):
                arrays[name] = arrays[name] / eta
        for prefix in _prefixes(rule) if _signless(rule) else ():
            if eta := float(getattr(like, f"{prefix}synapse_update")):
                arrays[f"{prefix}synapse_update"] = np.asarray(eta)
                arrays[f"{prefix}post_transform"] = arrays[f"{prefix}post_transform"] / eta
    return _genome(arrays, like)


def _genome(arrays: Arrays, like: AnyGenome) -> Any:
    dtype = jax.tree.leaves(like)[0].dtype
    genome = Genome(**{name: jnp.asarray(value, dtype) for name, value in arrays.items()})
    return LayeredGenome(genome, like.by, like.names) if isinstance(like, LayeredGenome) else genome


def _arrays(genome: AnyGenome) -> Arrays:
    genome = genome.genomes if isinstance(genome, LayeredGenome) else genome
    return {f.name: np.asarray(getattr(genome, f.name)).astype(np.float64) for f in dataclasses.fields(genome)}


def _prefixes(rule: Rule | None) -> tuple[str, ...]:
    return () if rule is None else ("", "forward_") if rule.forward_synapse_update else ("",)


def _signless(rule: Rule) -> bool:
    """Returns whether eta~ only occurs in a product with mu~."""
    return rule.oja not in ("weights", "activity") and rule.update_normalization == "none"


def _gated(rule: Rule) -> tuple[str, ...]:
    """Returns the matrices that eta only occurs in a product with; none where one of them occurs by itself, too."""
    if rule.bias_after_normalization:
        return ()
    return ("forward_transform", "backward_transform") if rule.backward_update == "additive" else ("forward_transform",)


def _counted(arrays: Arrays, genome: AnyGenome, rule: Rule | None) -> list[str]:
    """Names of the arrays that count: those with an effect, less gates that a canonical form holds at 1."""
    if rule is None:
        return list(arrays)
    held = {f"{p}synapse_update" for p in _prefixes(rule) if _signless(rule)} | ({"neuron_update"} if _gated(rule) else set())
    return [n for n in effective_fields(rule) if isinstance(genome, LayeredGenome) or n not in held]


def _canonical(genome: Genome, rule: Rule) -> Arrays:
    arrays = _arrays(genome)
    if gated := _gated(rule):
        for name in gated:
            arrays[name] = arrays[name] * arrays["neuron_update"]
        arrays["neuron_update"] = np.ones(())
    if rule.backward_update == "multiplicative_second_state":
        arrays["backward_transform"] = np.concatenate([np.zeros((1, genome.states)), arrays["backward_transform"][1:]])
    for prefix in _prefixes(rule):
        pre, post = arrays[f"{prefix}pre_transform"], arrays[f"{prefix}post_transform"]
        used = np.arange(genome.states) < rule.synapse_channels
        pre, post = np.where(used, pre, 0), np.where(used[:, None], post, 0)
        if _signless(rule):
            post = post * arrays[f"{prefix}synapse_update"]
            arrays[f"{prefix}synapse_update"] = np.ones(())
        if rule.oja != "activity":
            sizes = np.linalg.norm(pre, axis=0), np.linalg.norm(post, axis=1)
            alive = (sizes[0] > 0) & (sizes[1] > 0)
            ratio = np.sqrt(np.where(alive, sizes[1], 0) / np.where(alive, sizes[0], 1))
            pre, post = pre * ratio, post * np.where(alive, 1 / np.where(alive, ratio, 1), 0)[:, None]
        arrays[f"{prefix}pre_transform"], arrays[f"{prefix}post_transform"] = pre, post
    return arrays


def _renamed(arrays: Arrays, order: Sequence[int]) -> Arrays:
    """State c becomes what state order[c] was."""
    places, renamed = np.asarray(order), dict(arrays)
    for name in (*MATRICES, *SECOND_MATRICES, *GATING_MATRICES):
        renamed[name] = arrays[name][..., places, :][..., places]
    for name in VECTORS:
        renamed[name] = arrays[name][..., places]
    return renamed


def _overlap(a: Arrays, b: Arrays, names: tuple[str, str]) -> np.ndarray:
    """[channels]: inner product of both ends of every Hebbian channel."""
    return np.sum(a[names[0]] * b[names[0]], axis=0) + np.sum(a[names[1]] * b[names[1]], axis=1)


def _nearest(a: Arrays, b: Arrays, counted: list[str], free: Rule | None) -> tuple[tuple[int, ...], bool]:
    k = a["forward_scale"].shape[-1]
    hebbian = {f"{prefix}{end}_transform" for prefix in _prefixes(free) for end in ("pre", "post")}
    plain = [name for name in counted if name not in hebbian and a[name].ndim > a["neuron_keep"].ndim]

    def likeness(order: Sequence[int]) -> float:
        other = _renamed(b, order)
        total = sum(float(np.sum(a[name] * other[name])) for name in plain)
        for prefix in _prefixes(free):
            total += float(np.abs(_overlap(a, other, (f"{prefix}pre_transform", f"{prefix}post_transform"))).sum())
        return total

    if k <= MAX_EXHAUSTIVE:
        orders = ((0, 1, *rest) for rest in itertools.permutations(range(2, k)))
        return max(orders, key=likeness), True  # norms do not change with names: the largest overlap is the smallest distance
    best = tuple(range(k))
    score, improved = likeness(best), True
    while improved:
        improved = False
        for i, j in itertools.combinations(range(2, k), 2):
            order = list(best)
            order[i], order[j] = order[j], order[i]
            if (found := likeness(order)) > score + 1e-12:
                best, score, improved = tuple(order), found, True
    return best, False
