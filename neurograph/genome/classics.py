"""Learning rules of the literature as points of the family: each is one genome and its rule.

`CLASSICS` has a `Classic` for every name that `classic` takes: the paper that introduced it, and the learning rate that it learns
the digits at. The zoo has a file of each, so that every command that takes a genome takes these names; where a command takes
several genomes, the word `classics` stands for all of them.

Examples:
  >>> import neurograph as ng
  >>> list(ng.CLASSICS)
  ['hebb', 'oja', 'momentum_descent', 'kolen_pollack', 'feedback_alignment', 'sign_symmetric']
  >>> ng.CLASSICS["feedback_alignment"].learning_rate > 0
  True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from neurograph.documents import suggestion
from neurograph.errors import GenomeError
from neurograph.genome.activations import Activation
from neurograph.genome.model import Genome, backprop_genome, checked_rate
from neurograph.genome.rule import Rule

__all__ = ["CLASSICS", "Classic", "classic"]

MOMENTUM, DECAY, SIGN_SIZE = 0.9, 0.001, 0.1


@dataclass(frozen=True)
class Classic:
    """A learning rule of the literature.

    Attributes:
      paper: where it was introduced.
      about: what the genome does, in a line.
      learning_rate: what `classic` takes unless another is given.
    """

    paper: str
    about: str
    learning_rate: float


CLASSICS: dict[str, Classic] = {
    "hebb": Classic(
        "Hebb 1949, The Organization of Behavior",
        "Synapses grow by what both of their neurons do; outputs are held at the labels while they learn.",
        0.03,
    ),
    "oja": Classic(
        "Oja 1982, A simplified neuron model as a principal component analyzer",
        "Hebb's rule with Oja's decay by the receiving neuron's squared activity; outputs are held at the labels.",
        0.03,
    ),
    "momentum_descent": Classic(
        "Polyak 1964, Some methods of speeding up the convergence of iteration methods",
        f"Gradient descent on the mean cross-entropy with momentum {MOMENTUM}.",
        0.3,
    ),
    "kolen_pollack": Classic(
        "Kolen and Pollack 1994, Backpropagation without weight transport; Akrout et al. 2019, Deep learning without weight"
        " transport",
        f"Backward synapses of their own learn what the forward ones learn; both decay by {DECAY} a step, and so become alike.",
        0.3,
    ),
    "feedback_alignment": Classic(
        "Lillicrap et al. 2016, Random synaptic feedback weights support error backpropagation for deep learning",
        "Gradient descent whose feedback runs through fixed random synapses.",
        0.3,
    ),
    "sign_symmetric": Classic(
        "Liao, Leibo and Poggio 2016, How important is weight symmetry in backpropagation?",
        f"Gradient descent whose feedback runs through the signs of the forward synapses, times {SIGN_SIZE}.",
        1.0,
    ),
}


def classic(
    name: str, learning_rate: float | None = None, *, activation: str | Activation = "tanh", dtype: Any = None
) -> tuple[Genome, Rule]:
    """A learning rule of the literature as a genome and its rule [7, 8]; x is the sender's activity, y the receiver's.

    Products and gradients, g below, are means over the batch.

    - `hebb`: w <- w + r mean(x y). Outputs have their labels +-1 for y, hidden neurons their own activity; hidden
      neurons are normalised over the batch (without, the digits stay at chance).
    - `oja`: w <- w + r (mean(x y) - mean(y^2) w).
    - `momentum_descent`: m <- 0.9 m + g, w <- w - r m, g the gradient of the mean cross-entropy.
    - `kolen_pollack`: w <- 0.999 w - r g and b <- 0.999 b - r g; g is backprop's with b in place of w on the way back.
    - `feedback_alignment`: w <- w - r g, g as above with b as it was drawn.
    - `sign_symmetric`: the same with 0.1 sign(w) for b (uniform sign-concordant feedback).

    The last four need two outputs or more. On graphs with cycles they tick as the backprop genome does; under `hebb` and `oja`
    states add up from tick to tick.

    Args:
      name: of `CLASSICS`.
      learning_rate: r; default: that of `CLASSICS`.
      activation: of hidden neurons; outputs are linear.
      dtype: of the genome; float32 unless x64 is enabled.

    Returns:
      `(genome, rule)`, both with two states and one number per synapse.

    Raises:
      GenomeError: there is no such name, or the learning rate is not a finite number.
      RuleError: an unknown activation.

    Examples:
      >>> import neurograph as ng
      >>> genome, rule = ng.classic("feedback_alignment", 0.3)
      >>> rule.symmetric, rule.backward_synapses
      (False, 'fixed')
      >>> genome, rule = ng.classic("oja", activation="identity")
      >>> rule.oja
      'activity'
    """
    if name not in CLASSICS:
        raise GenomeError(f"{name!s:.40}: no such classic{suggestion(str(name), CLASSICS)}")
    rate = checked_rate(CLASSICS[name].learning_rate if learning_rate is None else learning_rate)
    if name in ("hebb", "oja"):
        return _hebbian(rate, activation, "activity" if name == "oja" else "none", dtype)
    genome, rule = backprop_genome(rate, activation=activation, loss="softmax_cross_entropy", dtype=dtype)
    rule = rule.replace(batch_reduction="mean", initial_deviation="fan_in")
    if name == "momentum_descent":
        return _with(genome, trace_keep=MOMENTUM), rule.replace(synapse_trace=True)
    if name == "kolen_pollack":
        return _with(genome, synapse_keep=1 - DECAY), rule.replace(symmetric=False, backward_synapses="mirrored")
    if name == "feedback_alignment":
        return genome, rule.replace(symmetric=False, backward_synapses="fixed")
    return _with(genome, backward_transform=[[0, 0], [0, SIGN_SIZE]]), rule.replace(backward_synapses="sign")


def _with(genome: Genome, **arrays: Any) -> Genome:
    """The genome with some arrays changed, in its own type."""
    return genome.replace(**{name: jnp.asarray(value, genome.synapse_update.dtype) for name, value in arrays.items()})


def _hebbian(rate: float, activation: str | Activation, oja: str, dtype: Any) -> tuple[Genome, Rule]:
    """Products of state 0 before and state 1 after: of hidden neurons both are their activity, which no feedback changes, and
    of outputs state 1 is the label."""
    rule = Rule(
        states=2,
        forward_activation=activation,
        backward_activation="identity",
        output_activation="identity",
        single_state_synapses=True,
        normalization="batch",
        backward_normalization="none",
        oja=oja,
        batch_reduction="mean",
    )
    arrays = {
        "forward_transform": [[1, 0], [1, 0]],
        "backward_transform": [[0, 0], [0, 0]],
        "pre_transform": [[1, 1], [0, 0]],
        "post_transform": [[0, 1], [0, 1]],
        "synapse_update": rate,
    }
    dtype = jnp.result_type(float) if dtype is None else dtype
    return Genome.from_arrays(**{name: jnp.asarray(value, dtype) for name, value in arrays.items()}), rule
