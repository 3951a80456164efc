"""Oja's term (Eq. 8, appendix B): the derived terms against the numerical limit of the normalised update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neurograph.analysis.field import AnalysisError, as_float64, float64
from neurograph.genome import Genome
from neurograph.genome.rule import Rule
from neurograph.network.network import Network
from neurograph.topology.graph import Topology

__all__ = ["GAMMAS", "OjaLimit", "derived_terms", "oja_limit"]

GAMMAS = tuple(10.0**-power for power in range(1, 7))


@dataclass(frozen=True)
class OjaLimit:
    """Result of `oja_limit`: one row per neuron's bundle of arriving synapses and bias, [Q neurons x channels].

    Attributes:
      gammas: [G] step sizes, descending.
      error: [G] |(w*(gamma) - w) / gamma - (update + Eq. 8)| over |update|: falls as gamma does if Eq. 8 is right.
      first, second: norms of the two terms of Eq. 8, decay (f~ - 1) and Hebbian, over all bundles.
      own: |(first term at f~ = 1 + |eta~|) - (what the rule's own option `oja: weights` adds with multiplier 1)| over |first
        term|.
      printed: |(both terms) - (what the option `oja: printed` adds with multiplier 1)| over |update|.
      hebbian: norm of eta~ h.
    """

    gammas: np.ndarray
    error: np.ndarray
    first: float
    second: float
    own: float
    printed: float
    hebbian: float

    @property
    def order(self) -> float:
        """Returns the slope of ln error over ln gamma where rounding is not felt: 1 if the limit is approached linearly."""
        use = self.error > 1e-9
        if use.sum() < 2:
            return float("nan")
        return float(np.polyfit(np.log(self.gammas[use]), np.log(self.error[use]), 1)[0])

    @property
    def holds(self) -> bool:
        """Returns whether the limit is reached: the smallest error is below 1e-4."""
        return bool(self.error.min() < 1e-4)

    def summary(self) -> str:
        """Returns the result in words."""
        ratio = f"{self.second / self.first:.3g} times the first" if self.first else "all there is: the first vanishes, as f~ = 1"
        return (
            f"Eq. 8 is the limit of the normalised update to {self.error.min():.1e} (order {self.order:.2f} in"
            f" gamma); its second term is {ratio}; the rule's option `printed` equals both terms to {self.printed:.1e},"
            f" `weights` the first at f~ = 1 + |eta~| to {self.own:.1e}"
        )


def derived_terms(
    w: Float[np.ndarray, "M k"],
    hebbian: Float[np.ndarray, "M k"],
    keep: float,
    update: float,
    owner: Int[np.ndarray, " M"],
    count: int,
) -> tuple[Float[np.ndarray, "M k"], Float[np.ndarray, "M k"]]:
    """Returns the two terms of Eq. 8 for synapses w [M, k] arriving at neurons `owner` [M].

    -(f~ - 1) w sum_r w_r^2, and -eta~ w sum_r w_r h_r, sums over the synapses (and bias) of the same neuron and channel.

    Args:
      hebbian: h, before the gate eta~ (`update`).
      keep: f~.
      count: number of neurons.
    """
    decay = -(keep - 1) * w * _per_neuron(w * w, owner, count)
    return decay, -update * w * _per_neuron(w * hebbian, owner, count)


def _per_neuron(values: Float[np.ndarray, "M k"], owner: Int[np.ndarray, " M"], count: int) -> Float[np.ndarray, "M k"]:
    """Returns at every synapse the sum over all synapses of the same neuron."""
    found = np.zeros((count, values.shape[1]))
    np.add.at(found, owner, values)
    return found[owner]


def oja_limit(
    topology: Topology,
    rule: Rule,
    genome: Genome,
    x: Any,
    y: Any,
    *,
    key: jax.Array | None = None,
    gammas: Sequence[float] = GAMMAS,
) -> OjaLimit:
    """Compares Eq. 8 with the limit gamma -> 0 of w* = (w + gamma D) / |w + gamma D|, D = eta~ h + (f~ - 1) w the plain update.

    The synapses arriving at a neuron (and its bias) have norm 1 in every channel, as the derivation supposes; h is the
    simulator's own Hebbian update on the batch, recomputed from nothing but its forward synapses.

    Raises:
      AnalysisError: shared or fixed synapses (a bundle cannot be normalised on its own), noise, no such synapses.

    Source: Sandler et al. 2021, Eqs. 14, 15 and 8, appendix B.
    """
    if (topology.group >= 0).any() or (topology.bias_group >= 0).any() or topology.fixed.any():
        raise AnalysisError(
            "oja_limit: shared or fixed synapses cannot be normalised neuron by neuron; expected a topology with neither"
        )
    if rule.noise:
        raise AnalysisError(f"oja_limit: noise: {rule.noise} makes the update random; expected a rule with noise: 0")
    plain = rule.replace(
        oja="none", oja_scale=1.0, saturation="none", saturation_eps=0.0, forward_synapse_update=False,
        synapse_normalization="none", rescale=False,
    )  # fmt: skip
    count, owner = topology.num_neurons, np.concatenate([topology.receivers, np.flatnonzero(topology.bias)])
    with float64():
        genome = as_float64(genome)
        w, given = _unit_bundles(topology, plain, genome, owner, jax.random.key(0) if key is None else key)
        keep, update = float(genome.synapse_keep), float(genome.synapse_update)
        zero, one = jnp.zeros(()), jnp.ones(())
        hebbian = _learned(topology, plain, genome.replace(synapse_keep=zero, synapse_update=one), given, x, y)
        # The simulator's own term, by difference: h with and without it. Its multiplier 1 stands for |f~ - 1| = |eta~|.
        with_oja = genome.replace(synapse_keep=zero, oja_multiplier=one)
        own = _learned(topology, plain.replace(oja="weights"), with_oja, given, x, y) - update * hebbian
        added = _learned(topology, plain.replace(oja="printed"), genome.replace(oja_multiplier=one), given, x, y)
        added = added - _learned(topology, plain, genome, given, x, y)
    first, second = derived_terms(w, hebbian, keep, update, owner, count)
    decay = derived_terms(w, hebbian, 1 + abs(update), update, owner, count)[0]
    scale = float(np.linalg.norm(decay))
    change = update * hebbian + (keep - 1) * w
    size = float(np.linalg.norm(change)) or 1.0
    errors = []
    for gamma in gammas:
        moved = w + gamma * change
        limit = (moved / np.sqrt(_per_neuron(moved * moved, owner, count)) - w) / gamma
        errors.append(float(np.linalg.norm(limit - (change + first + second))) / size)
    return OjaLimit(
        np.array(gammas, float),
        np.array(errors),
        float(np.linalg.norm(first)),
        float(np.linalg.norm(second)),
        float(np.linalg.norm(own - decay)) / (scale or 1.0),
        float(np.linalg.norm(added - (first + second))) / size,
        float(abs(update) * np.linalg.norm(hebbian)),
    )


def _unit_bundles(
    topology: Topology, rule: Rule, genome: Genome, owner: np.ndarray, key: jax.Array
) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns fresh synapses and biases [M, k] of norm 1 per neuron and channel, and the same as arguments of `Network.pack`."""
    network, biased = Network(topology, rule, kernel="reference"), np.flatnonzero(topology.bias)
    drawn = network.unpack(network.init(genome, key=key))
    w = np.concatenate([np.asarray(drawn["forward"]), np.asarray(drawn["bias"])[biased]])
    w = w / np.sqrt(_per_neuron(w * w, owner, topology.num_neurons))
    bias = np.zeros((topology.num_neurons, rule.states))
    bias[biased] = w[topology.num_synapses :]
    given = {"forward": w[: topology.num_synapses], "bias": bias}
    return w, given if rule.symmetric else given | {"backward": np.asarray(drawn["backward"])}


def _learned(topology: Topology, rule: Rule, genome: Genome, given: dict[str, Any], x: Any, y: Any) -> np.ndarray:
    """Returns the synapses and biases [M, k] after one step."""
    network = Network(topology, rule, kernel="reference")
    stepped: Any = network.step(genome, network.pack(**given), x, y)
    new = network.unpack(stepped[0])
    return np.concatenate([np.asarray(new["forward"]), np.asarray(new["bias"])[np.flatnonzero(topology.bias)]])
