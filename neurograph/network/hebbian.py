"""The synapse update (Eqs. 7 and 8) and what normalises synapses: the Hebbian half of the learning step.

Functions take the network as their first argument and read its rule, plan and kernel; states are one array [states, neurons,
batch] per stage of the plan.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from neurograph.genome import AnyGenome, Genome
from neurograph.genome.rule import Rule
from neurograph.network.kernels import BACKWARD, FORWARD
from neurograph.network.kernels.bilinear import Mixture, batch_sum, whole
from neurograph.network.kernels.rows import Ends
from neurograph.network.norms import at_synapses, square_sum
from neurograph.network.state import Synapses, Weights
from neurograph.network.wiring import States, Wiring, cast, gate, genomes_at_stages

__all__ = ["learning_ends", "update_synapses"]


def _transforms(rule: Rule, local: list[Genome], prefix: str) -> tuple[list[jax.Array], list[jax.Array]]:
    """Per stage [channels, states]: what turns states into the pre- and the post-synaptic factor of Eq. 7."""
    channels = slice(0, rule.synapse_channels)
    pre = [jnp.swapaxes(getattr(own, f"{prefix}pre_transform"), 0, 1)[channels] for own in local]
    return pre, [getattr(own, f"{prefix}post_transform")[channels] for own in local]


def learning_ends(wiring: Wiring, genome: AnyGenome, before: States | None) -> list[Ends]:
    """Of every stage, what Eq. 7 takes products of when forward synapses learn; `before`: states after the forward pass, if these
    are the pre-synaptic ones."""
    pre, post = _transforms(wiring.rule, genomes_at_stages(wiring, genome), "")
    return [Ends(*each) for each in zip([None] * len(pre) if before is None else before, pre, post, strict=True)]


def _learn(
    wiring: Wiring,
    genome: AnyGenome,
    weights: Weights,
    before: States,
    after: States,
    twin: str,
    second: bool,
    changes: dict[int, jax.Array],
) -> Weights:
    """Eq. 7 and 8 for one direction: `before` and `after` are the states of each synapse's forward sender and receiver.

    `changes`: of scanned stages, products that are known already.
    """
    rule, plan, kernel = wiring.rule, wiring.plan, wiring.kernel
    forward = twin == FORWARD
    local, prefix = genomes_at_stages(wiring, genome), "forward_" if second else ""
    pre, post = _transforms(rule, local, prefix)
    eta = [getattr(own, f"{prefix}synapse_update") for own in local]
    # Sums over the batch, and what is added to synapses, in the synapses' own type: 16-bit states do not reach their steps.
    before, after = cast((list(before), list(after)), jax.tree.leaves(weights)[0].dtype)
    # The forward synapse's pre-synaptic neuron is its sender, the backward twin's is its receiver.
    sender_matrices, receiver_matrices = (pre, post) if forward else (post, pre)
    at_senders, at_receivers = (
        [Mixture(m, a) if stage in changes else kernel.mixed(m, a) for stage, (m, a) in enumerate(zip(*pair, strict=True))]
        for pair in ((sender_matrices, before), (receiver_matrices, after))
    )
    batch = before[0].shape[2]
    share = 1.0 / batch if rule.batch_reduction == "mean" else 1.0
    delta = kernel.correlate(at_senders, at_receivers, changes)
    if forward:
        at_constant = [p.sum(axis=1) for p in pre]  # all states of the constant neuron are 1
        at_constant = [c[:, None] if c.ndim == 1 else c for c in at_constant]
        values = [
            None if info.kind == "input" or not info.bias.any() else constant.astype(a.dtype) * batch_sum(a)
            for info, a, constant in zip(plan.stages, at_receivers, at_constant, strict=True)
        ]
        own, shared = kernel.bias_store(values, reduce=True)
        delta = Weights(delta.blocks, delta.sparse, delta.shared, own, shared)
    if share != 1.0:
        delta = jax.tree.map(lambda d: d * share, delta)
    if rule.oja != "none":
        posts = at_receivers if forward else at_senders
        decay = _oja_decay(wiring, local, weights, posts, twin, share, eta)
        delta = jax.tree.map(lambda d, w, o: d - w * o, delta, weights, decay)
    keep, alpha = [getattr(own, f"{prefix}synapse_keep") for own in local], [own.saturation for own in local]
    if isinstance(genome, Genome):
        return jax.tree.map(lambda w, h: _apply_update(rule, keep[0], eta[0], alpha[0], w, h), weights, delta)
    gates = [_gates_at_synapses(wiring, values, twin, weights) for values in (keep, eta, alpha)]
    return jax.tree.map(partial(_apply_update, rule), *gates, weights, delta)


def _gates_at_synapses(wiring: Wiring, values: list[jax.Array], twin: str, weights: Weights) -> Weights:
    """For every stored number, the scalar ([] or [neurons]) of the stage that its synapse arrives at; 1 where none is stored."""
    dtype = jax.tree.leaves(weights)[0].dtype
    ones = [jnp.ones((1, info.size, 1), dtype) for info in wiring.plan.stages]
    rows = [one * gate(value).astype(dtype) for one, value in zip(ones, values, strict=True)]
    totals, counts = at_synapses(wiring, rows, twin), at_synapses(wiring, ones, twin)
    # Members of a group are summed, and all of one layer.
    return jax.tree.map(lambda total, n: jnp.where(n == 0, 1, total / jnp.where(n == 0, 1, n)), totals, counts)


def _oja_decay(wiring, local, weights, posts, twin, share, eta) -> Weights:
    """What each stored number is multiplied with in Oja's term: m |.| sum_r w_rq^2 (or post-synaptic activity squared)."""
    rule, some, strength = wiring.rule, jax.tree.leaves(weights)[0], []
    for stage, info in enumerate(wiring.plan.stages):
        if rule.oja == "activity":
            total = jnp.sum(whole(posts[stage]) ** 2, axis=2, keepdims=True) * share
        else:
            total = square_sum(wiring.kernel, weights, stage, info, twin)
        if total is None:
            total = jnp.zeros((some.shape[0], info.size, 1), some.dtype)
        factor = jnp.abs(local[stage].oja_multiplier).astype(some.dtype) * jnp.sign(eta[stage]).astype(some.dtype)
        strength.append(rule.oja_scale * gate(factor) * total)
    return at_synapses(wiring, strength, twin)


def _apply_update(rule: Rule, keep: jax.Array, eta: jax.Array, alpha: jax.Array, w: jax.Array, h: jax.Array) -> jax.Array:
    """f~ w + eta~ h, saturated."""
    keep, eta, alpha = (value.astype(w.dtype) for value in (keep, eta, alpha))
    if rule.saturation == "exponential":
        return w + ((keep - 1) * w + eta * h) * jnp.exp(-jnp.abs(w) * (rule.saturation_eps + jnp.abs(alpha)))
    w = keep * w + eta * h
    return alpha * jnp.tanh(w / alpha) if rule.saturation == "tanh" else w


def update_synapses(
    wiring: Wiring,
    genome: AnyGenome,
    synapses: Synapses,
    before: States,
    after: States,
    *,
    second: bool,
    changes: dict[int, jax.Array] | None = None,
) -> Synapses:
    """`changes`: of scanned stages, the forward synapses' products of Eq. 7, where a pass has found them."""
    forward = _learn(wiring, genome, synapses.forward, before, after, FORWARD, second, changes or {})
    backward = None
    if synapses.backward is not None:
        backward = _learn(wiring, genome, synapses.backward, before, after, BACKWARD, second, {})
    return Synapses(forward, backward, synapses.neurons)
