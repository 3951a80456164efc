"""`Genome`: the continuous, learned numbers of a rule. It knows nothing of neurons, synapses or the graph.

| paper | field | shape | meaning |
|---|---|---|---|
| nu | forward_transform | [k, k] | rows = output state c, columns = input state d |
| mu | backward_transform | [k, k] | the same on the way back |
| nu~ | pre_transform | [k, k] | [e, c]: state e of the pre-synaptic neuron into channel c |
| mu~ | post_transform | [k, k] | [c, d]: state d of the post-synaptic neuron into channel c |
| f, eta | neuron_keep, neuron_update | () | gates of neurons |
| f~, eta~ | synapse_keep, synapse_update | () | gates of synapses; minus is descent for the backprop genome |
| f of a product | backward_keep | () | gate of multiplicative backward updates; takes the value of neuron_keep where not given |

The rest is used by the option that names it: `update_power`, `error_power`, `depth_power` (update_normalization: neuron),
`trace_keep` (synapse_trace), `average_power` and `average_keep` (synapse_average), `damping` (learned_damping), `cycle_keep`
(cycle_fading), `keep_gating` and `update_gating` [k, k] (self_gating; zero at the start), `oja_multiplier`, `rescale`,
`saturation`, `initial_deviation`, the moments `forward_scale`, `forward_shift`, `backward_scale`, `backward_shift` of
normalization ([k] each), and the second Hebbian genome of `forward_synapse_update` (`forward_pre_transform`,
`forward_post_transform`, `forward_synapse_keep`, `forward_synapse_update`).

Where the sources disagree: the paper's matrices are kept as printed (the authors' code stores nu and mu transposed).
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any, SupportsFloat

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, PRNGKeyArray

from neurograph._lazy import from_above
from neurograph.documents import suggestion
from neurograph.errors import GenomeError
from neurograph.genome.activations import Activation, with_derivative
from neurograph.genome.rule import Rule

__all__ = ["MATRICES", "Genome", "backprop_genome", "checked_rate", "effective_fields"]

MATRICES = ("forward_transform", "backward_transform", "pre_transform", "post_transform")
SECOND_MATRICES = ("forward_pre_transform", "forward_post_transform")
GATING_MATRICES = ("keep_gating", "update_gating")
VECTORS = {"forward_scale": 1.0, "forward_shift": 0.0, "backward_scale": 1.0, "backward_shift": 0.0}
SCALARS = {
    "neuron_keep": 1.0,
    "neuron_update": 1.0,
    "synapse_keep": 1.0,
    "synapse_update": -1e-3,
    "forward_synapse_keep": 1.0,
    "forward_synapse_update": -1e-3,
    "oja_multiplier": 1.0,
    "rescale": 1.0,
    "saturation": 1.0,
    "initial_deviation": 0.1,
    "backward_keep": 1.0,
    "update_power": 1.0,
    "error_power": 1.0,
    "depth_power": 0.0,
    "trace_keep": 0.0,
    "average_power": 3.0,
    "average_keep": 0.95,
    "damping": 0.0,
    "cycle_keep": 1.0,
}


class Shown:
    """The pictures of a genome, be it one or one per layer."""

    def _repr_html_(self) -> str:
        return from_above("report.notebook.genome", "genome_html")(self)

    def draw(self, path: str | os.PathLike[str] | None = None, *, rule: Rule | None = None, title: str = "") -> Any:
        """Draws matrices, moments and gates as heat maps, of every layer; saves the picture if a path is given.

        It is what `neurograph genome draw` does.

        Args:
          path: ends in .svg, .png or .pdf.
          rule: what has no effect under it is left out; entries without effect are pale.

        Returns:
          A `matplotlib.figure.Figure` that belongs to no window; a notebook shows it.

        Raises:
          GenomeError: another ending, or the file cannot be written.

        Examples:
          >>> import neurograph as ng
          >>> figure = ng.load_genome("digits").draw("digits.svg")
          >>> len(figure.subfigs)
          1
          >>> len(ng.LayeredGenome.repeat(ng.load_genome("digits"), "role").draw().subfigs)
          3
        """
        return from_above("report.figures.genome", "drawn_genome")(self, path, rule, title)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Genome(Shown):
    """One genome: a pytree of floating-point arrays, fields as in the table above.

    Build it with `random`, `near_backprop`, `from_arrays`, `backprop_genome` or `load_genome`; a leading axis on every leaf
    makes a population for `jax.vmap`.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> genome = ng.Genome.random(jax.random.key(0), ng.Rule(states=3), scale=0.3)
      >>> genome.forward_transform.shape
      (3, 3)
      >>> float(genome.replace(neuron_keep=0.5).neuron_keep)
      0.5
    """

    forward_transform: Float[jax.Array, "*genomes states states"]
    backward_transform: Float[jax.Array, "*genomes states states"]
    pre_transform: Float[jax.Array, "*genomes states states"]
    post_transform: Float[jax.Array, "*genomes states states"]
    forward_pre_transform: Float[jax.Array, "*genomes states states"]
    forward_post_transform: Float[jax.Array, "*genomes states states"]
    forward_scale: Float[jax.Array, "*genomes states"]
    forward_shift: Float[jax.Array, "*genomes states"]
    backward_scale: Float[jax.Array, "*genomes states"]
    backward_shift: Float[jax.Array, "*genomes states"]
    neuron_keep: Float[jax.Array, "*genomes"]
    neuron_update: Float[jax.Array, "*genomes"]
    synapse_keep: Float[jax.Array, "*genomes"]
    synapse_update: Float[jax.Array, "*genomes"]
    forward_synapse_keep: Float[jax.Array, "*genomes"]
    forward_synapse_update: Float[jax.Array, "*genomes"]
    oja_multiplier: Float[jax.Array, "*genomes"]
    rescale: Float[jax.Array, "*genomes"]
    saturation: Float[jax.Array, "*genomes"]
    initial_deviation: Float[jax.Array, "*genomes"]
    backward_keep: Float[jax.Array, "*genomes"]
    update_power: Float[jax.Array, "*genomes"]
    error_power: Float[jax.Array, "*genomes"]
    depth_power: Float[jax.Array, "*genomes"]
    trace_keep: Float[jax.Array, "*genomes"]
    average_power: Float[jax.Array, "*genomes"]
    average_keep: Float[jax.Array, "*genomes"]
    damping: Float[jax.Array, "*genomes"]
    cycle_keep: Float[jax.Array, "*genomes"]
    keep_gating: Float[jax.Array, "*genomes states states"]
    update_gating: Float[jax.Array, "*genomes states states"]

    def __repr__(self) -> str:
        matrix = self.forward_transform  # a tracer, a shape, or what a mapping over the leaves has put in its place
        shape = getattr(matrix, "shape", None)
        if shape is None or len(shape) < 2:
            return f"Genome of {type(matrix).__name__}"
        many = "".join(f"{size:,} x " for size in shape[:-2])
        return f"Genome({many}{shape[-1]} states, {getattr(matrix, 'dtype', type(matrix).__name__)})"

    @property
    def states(self) -> int:
        """k, from the matrices' last axis."""
        return self.forward_transform.shape[-1]

    @classmethod
    def from_arrays(cls, **arrays: Any) -> Genome:
        """A genome from any of its fields, by the names of the table above.

        Args:
          **arrays: matrices `[k, k]`, vectors `[k]`, scalars; dtype float32, or float64 when given so and x64 is enabled.
            A matrix left out is the identity (of gates: zero), a scalar or vector its start value; the second Hebbian genome
            repeats the first unless given, and `backward_keep` takes the value of `neuron_keep`.

        Raises:
          GenomeError: unknown names, wrong shapes, matrices of different k, non-finite values: all of them at once.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        faults = []
        for name in arrays:
            if name not in names:
                faults.append(f"{name[:40]}: unknown array{suggestion(name, names)}")
        given = {}
        for name, value in arrays.items():
            if name not in names:
                continue
            try:
                given[name] = _as_floats(value)
            except (TypeError, ValueError) as error:
                faults.append(f"{name}: not an array of numbers ({error})")
        sized = (*MATRICES, *SECOND_MATRICES, *GATING_MATRICES, *VECTORS)
        sizes = {n: given[n].shape[-1] for n in sized if n in given and given[n].ndim}
        k = next(iter(sizes.values()), 2)
        dtype = jnp.result_type(*given.values()) if given else jnp.result_type(float)
        for name, array in given.items():
            shape = () if name in SCALARS else (k,) if name in VECTORS else (k, k)
            if array.shape != shape:
                faults.append(f"{name}: got shape {list(array.shape)}; expected {list(shape)} (states = {k})")
            elif not isinstance(array, Tracer) and not np.isfinite(np.asarray(array)).all():
                faults.append(f"{name}: contains NaN or infinity")
        if faults:
            raise GenomeError("\n".join(faults))
        # Placed as they are: every function of jax.numpy would be compiled for every new shape.
        start = {n: np.eye(k) for n in MATRICES} | {n: np.zeros((k, k)) for n in GATING_MATRICES}
        start |= {n: np.full(k, v) for n, v in VECTORS.items()} | SCALARS
        full: dict[str, Any] = {n: jax.device_put(np.asarray(v, dtype)) for n, v in start.items() if n not in given}
        full |= {n: a if a.dtype == dtype else a.astype(dtype) for n, a in given.items()}
        for second, first in (
            ("forward_pre_transform", "pre_transform"),
            ("forward_post_transform", "post_transform"),
            ("forward_synapse_keep", "synapse_keep"),
            ("forward_synapse_update", "synapse_update"),
            ("backward_keep", "neuron_keep"),
        ):
            if second not in given:
                full[second] = full[first]
        return cls(**full)

    @classmethod
    def random(cls, key: PRNGKeyArray, rule: Rule, *, scale: float = 1.0, **arrays: Any) -> Genome:
        """A genome whose four matrices, and two of a second Hebbian genome, are drawn from N(0, scale^2).

        Everything else has its start value, or is as given.
        """
        k = rule.states
        keys = jax.random.split(key, len(MATRICES) + len(SECOND_MATRICES))
        drawn = {n: scale * jax.random.normal(q, (k, k)) for n, q in zip((*MATRICES, *SECOND_MATRICES), keys, strict=True)}
        return cls.from_arrays(**(drawn | arrays))

    @classmethod
    def near_backprop(cls, key: PRNGKeyArray, rule: Rule, *, noise: float = 0.05, **arrays: Any) -> Genome:
        """The start of section 4.5: nu = mu = nu~ = 1, mu~ = 1 with its first two rows swapped, plus N(0, noise^2).

        Raises:
          GenomeError: the rule has one state only.
        """
        k = rule.states
        if k < 2:
            raise GenomeError("near_backprop: needs a rule with states >= 2 (got states: 1)")
        swap = np.eye(k)[[1, 0, *range(2, k)]]
        start = dict.fromkeys((*MATRICES, *SECOND_MATRICES), np.eye(k)) | {
            "post_transform": swap,
            "forward_post_transform": swap,
        }
        keys = jax.random.split(key, len(start))
        drawn = {n: a + noise * jax.random.normal(q, (k, k)) for (n, a), q in zip(start.items(), keys, strict=True)}
        return cls.from_arrays(**(drawn | arrays))

    def replace(self, **arrays: Any) -> Genome:
        """Returns a copy with some arrays changed, after the same checks."""
        return Genome.from_arrays(**({f.name: getattr(self, f.name) for f in dataclasses.fields(self)} | arrays))

    def astype(self, dtype: Any) -> Genome:
        """The same genome in another floating-point type."""
        return jax.tree.map(lambda leaf: leaf.astype(dtype), self)

    def to_dict(self) -> dict[str, Any]:
        """Nested lists by field name: every float in the shortest form that reads back to the same bits."""
        return {f.name: np.asarray(getattr(self, f.name)).astype(float).tolist() for f in dataclasses.fields(self)}


def backprop_genome(
    learning_rate: float = 0.1,
    *,
    activation: str | Activation = "tanh",
    output_activation: str | Activation = "identity",
    loss: str = "mse",
    normalization: str = "none",
    dtype: Any = None,
) -> tuple[Genome, Rule]:
    """Plain gradient descent as a genome and its rule [1-4].

    On every acyclic graph whose outputs have no outgoing synapses, one step equals one step of gradient descent on the loss
    summed over the batch. On a graph with cycles it is the gradient at the fixed point that the ticks settle to (recurrent
    backpropagation: Almeida 1987, Pineda 1987).

    Args:
      learning_rate: step size; the genome's synapse update is minus this.
      activation, output_activation: names or elementwise callables of hidden and output neurons.
      loss: "mse" (1/2 sum over outputs of (h - y)^2) or "softmax_cross_entropy" (targets (y + 1) / 2).
      normalization: "batch" normalises hidden neurons over the batch, and the backward pass takes its derivative.
      dtype: of the genome; float32 unless x64 is enabled.

    Returns:
      `(genome, rule)`, both with two states.

    Raises:
      GenomeError: the learning rate is not a finite number.
      RuleError: an unknown activation or loss.

    Examples:
      >>> import neurograph as ng
      >>> genome, rule = ng.backprop_genome(0.01, activation="relu", loss="softmax_cross_entropy")
      >>> genome.backward_transform.tolist()
      [[0.0, 0.0], [0.0, 1.0]]
      >>> rule.symmetric, rule.feedback
      (True, 'softmax_cross_entropy')
    """
    learning_rate = checked_rate(learning_rate)
    rule = Rule(
        states=2,
        forward_activation=with_derivative(activation),
        backward_activation="identity",
        output_activation=with_derivative(output_activation),
        backward_update="multiplicative_second_state",
        symmetric=True,
        single_state_synapses=True,
        feedback=loss,
        normalization=normalization,
        backward_normalization="derivative" if normalization == "batch" else "auto",
    )
    dtype = jnp.result_type(float) if dtype is None else dtype
    arrays = {
        "forward_transform": [[1, 0], [1, 0]],
        "backward_transform": [[0, 0], [0, 1]],
        "pre_transform": [[1, 1], [0, 0]],
        "post_transform": [[0, 1], [0, 1]],
        "synapse_update": -learning_rate,
        "neuron_keep": 0.0,  # else the forward ticks of a cycle would accumulate
        "backward_keep": 1.0,
    }
    return Genome.from_arrays(**{name: jnp.asarray(value, dtype) for name, value in arrays.items()}), rule


def checked_rate(learning_rate: Any) -> Any:
    """The rate, if it is a finite number.

    Raises:
      GenomeError: it is none.
    """
    if isinstance(learning_rate, (bool, str)) or not isinstance(learning_rate, SupportsFloat) or not math.isfinite(learning_rate):
        raise GenomeError(f"learning_rate: got {learning_rate!r}; expected a finite number")
    return learning_rate


def effective_fields(rule: Rule) -> tuple[str, ...]:
    """The arrays of a genome that have an effect under a rule."""
    fields = [*MATRICES, "neuron_keep", "neuron_update", "synapse_keep", "synapse_update"]
    if rule.backward_update != "additive":
        fields.append("backward_keep")
    if rule.normalization == "batch":
        fields += ["forward_scale", "forward_shift"]
        if rule.normalizes_backward == "batch":
            fields += ["backward_scale", "backward_shift"]
    if rule.update_normalization == "neuron":
        fields += ["update_power", "error_power", "depth_power"]
    if rule.synapse_trace:
        fields.append("trace_keep")
    if rule.synapse_average:
        fields += ["average_power", "average_keep"]
    if rule.learned_damping:
        fields.append("damping")
    if rule.cycle_fading:
        fields.append("cycle_keep")
    if rule.self_gating:
        fields += GATING_MATRICES
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


def _as_floats(value: Any) -> jax.Array:
    """A floating-point array; integers are converted.

    Raises:
      TypeError, ValueError: not real numbers.
    """
    if not isinstance(value, jax.Array):
        value = np.asarray(value)
        if value.dtype.kind not in "fiuV":  # V: the short floats of JAX, which NumPy does not know by kind
            raise TypeError(f"got {value.dtype}")
        value = jax.device_put(value.astype(jnp.result_type(float)) if value.dtype.kind in "iu" else value)
    if jnp.issubdtype(value.dtype, jnp.floating):
        return value
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"got {value.dtype}")
    return value.astype(jnp.result_type(float))
