"""The synapse update (Eqs. 7 and 8): the Hebbian half of the learning step.

Functions take the network as their first argument and read its rule, plan and kernel; states are one array [states, neurons,
batch] per stage of the plan.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.genome import AnyGenome, Genome
from neurograph.genome.rule import Rule
from neurograph.network.kernels import BACKWARD, FINAL, FORWARD
from neurograph.network.kernels.bilinear import Mixture, batch_sum, whole
from neurograph.network.kernels.rows import Ends
from neurograph.network.norms import NORM_EPSILON, arriving_sums, at_synapses, column_norms, square_sum
from neurograph.network.state import Synapses, Weights
from neurograph.network.wiring import States, Wiring, cast, gate, genomes_at_stages

__all__ = ["UPDATE_EPSILON", "learning_ends", "update_synapses"]

UPDATE_EPSILON = 1e-10  # beside the length of a neuron's products
SQUARE_FLOOR = 1e-30


def _transforms(rule: Rule, local: list[Genome], prefix: str) -> tuple[list[jax.Array], list[jax.Array]]:
    """Per stage [channels, states]: what turns states into the pre- and the post-synaptic factor of Eq. 7."""
    channels = slice(0, rule.synapse_channels)
    pre = [jnp.swapaxes(getattr(own, f"{prefix}pre_transform"), 0, 1)[channels] for own in local]
    return pre, [getattr(own, f"{prefix}post_transform")[channels] for own in local]


def learning_ends(wiring: Wiring, genome: AnyGenome, before: States | None) -> list[Ends]:
    """Returns, for every stage, the factors of Eq. 7's products when forward synapses learn.

    Args:
      before: states after the forward pass, if these are the pre-synaptic ones.
    """
    pre, post = _transforms(wiring.rule, genomes_at_stages(wiring, genome), "")
    return [Ends(*each) for each in zip([None] * len(pre) if before is None else before, pre, post, strict=True)]


class _Change(NamedTuple):
    """What every stored number of one direction learns: f~, eta~, alpha, h, and the factor of Oja's decay of h, or None."""

    keep: Weights
    update: Weights
    saturation: Weights
    product: Weights
    decay: Weights | None

    def applied(self, rule: Rule, weights: Weights) -> Weights:
        """Stored numbers after the update."""
        delta = self.product
        if self.decay is not None:  # Eq. 8
            delta = jax.tree.map(lambda d, w, o: d - w * o, delta, weights, self.decay)
        return jax.tree.map(partial(_apply_update, rule), self.keep, self.update, self.saturation, weights, delta)


def _change(
    wiring: Wiring,
    genome: AnyGenome,
    weights: Weights,
    trace: Weights | None,
    before: States,
    after: States,
    twin: str,
    second: bool,
    changes: dict[int, jax.Array],
    error: jax.Array | None,
    tilts: dict[int, jax.Array],
) -> tuple[_Change, Weights | None]:
    """Eqs. 7 and 8 for one direction: `before` and `after` are the states of each synapse's forward sender and receiver.

    Args:
      trace: of the synapses, or None.
      second: by the genome's second Hebbian part (`forward_synapse_update`).
      changes: of scanned stages, products that are known already.
      error: e, the size of the outputs' error; None before they were given one.
      tilts: per stage, states from which its biases learn in place of `after`.

    Returns:
      What stored numbers change by, and their traces after it.
    """
    rule, kernel = wiring.rule, wiring.kernel
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
    share = 1.0 / before[0].shape[2] if rule.batch_reduction == "mean" else 1.0
    posts = at_receivers if forward else at_senders
    lengths = None
    if rule.synapse_derivative:
        lengths = column_norms(wiring, genome, weights, twin)
        at_receivers = _shortened(at_receivers, lengths)
    delta = kernel.correlate(at_senders, at_receivers, changes)  # Eq. 7: sum over the batch of pre times post
    constant = [c[:, None] if c.ndim == 1 else c for c in (p.sum(axis=1) for p in pre)]  # its states are all 1
    if forward:
        tilted = {stage: kernel.mixed(receiver_matrices[stage], cast(a, after[0].dtype)) for stage, a in tilts.items()}
        delta = _with_bias(wiring, delta, constant, [tilted.get(stage, a) for stage, a in enumerate(at_receivers)])
    if share != 1.0:
        delta = jax.tree.map(lambda d: d * share, delta)
    if lengths is not None:
        along = _along_synapses(wiring, weights, at_senders, posts, constant, lengths, share)
        delta = jax.tree.map(lambda d, w, c: d - w * c, delta, weights, along)
    if trace is not None:  # m <- kappa m + h
        kappa = _at_stored(wiring, genome, [own.trace_keep for own in local], twin, weights)
        delta = trace = jax.tree.map(lambda k, m, d: k.astype(d.dtype) * m + d, kappa, trace, delta)
    if rule.update_normalization == "neuron":
        delta = jax.tree.map(jnp.multiply, delta, _sizes(wiring, local, delta, twin, error))
    decay, kept = None, [getattr(own, f"{prefix}synapse_keep") for own in local]
    gates = kept, eta, [own.saturation for own in local]
    keep, update, saturation = (_at_stored(wiring, genome, values, twin, weights) for values in gates)
    if rule.oja in ("weights", "activity"):
        decay = _oja_decay(wiring, local, weights, posts, twin, share, eta)
    elif rule.oja != "none":  # as printed: f~ - m (f~ - 1) sum_r w_rq^2 takes the place of f~
        less = _oja_keep(wiring, local, weights, twin, kept)
        keep = jax.tree.map(lambda k, o: k.astype(o.dtype) - o, keep, less)
        if rule.oja == "printed":  # eta~ w sum_r w_rq h_rq
            along = arriving_sums(wiring, jax.tree.map(jnp.multiply, weights, delta), twin)
            decay = at_synapses(wiring, along, twin)
    return _Change(keep, update, saturation, delta, decay), trace


def _with_bias(wiring: Wiring, delta: Weights, constant: list[jax.Array], at_receivers: States) -> Weights:
    """Products of synapses with those of the biases added: the constant neuron is their sender."""
    values = [
        None if info.kind == "input" or not info.bias.any() else c.astype(a.dtype) * batch_sum(a)
        for info, a, c in zip(wiring.plan.stages, at_receivers, constant, strict=True)
    ]
    own, shared = wiring.kernel.bias_store(values, reduce=True)
    return Weights(delta.blocks, delta.sparse, delta.shared, own, shared)


def _shortened(at_receivers: States, lengths: list[Any]) -> States:
    """Post-synaptic factors divided by the lengths of the synapses that arrive: h / |w|."""
    return [a if n is None else whole(a) / n.astype(a.dtype) for a, n in zip(at_receivers, lengths, strict=True)]


def _along_synapses(wiring, weights, at_senders, at_receivers, constant, lengths, share) -> Weights:
    """Returns the factor of each stored number in the derivative of w / |w|: (w h) / |w|^2 of its neuron, divided by |w|.

    With w^ = w / |w| the derivative of what is used is (h - w^ (w^ h)) / |w|; w h is the batch's product of inflow and `post`.
    """
    kernel, rows = wiring.kernel, []
    for stage, info in enumerate(wiring.plan.stages):
        some = jax.tree.leaves(weights)[0]
        bias = kernel.bias_values(weights, stage) if info.kind != "input" else None
        start = None if bias is None else (bias * constant[stage].astype(bias.dtype))[:, :, None]
        inflow = kernel.aggregate(FORWARD, stage, weights, [whole(a) for a in at_senders], FINAL, start=start)
        square = square_sum(kernel, weights, stage, info, FORWARD)
        if inflow is None or square is None or lengths[stage] is None:
            rows.append(jnp.zeros((some.shape[0], info.size, 1), some.dtype))
            continue
        product = batch_sum(whole(at_receivers[stage]) * inflow)[: some.shape[0], :, None] * share
        rows.append(product / ((square + NORM_EPSILON) * lengths[stage]))
    return at_synapses(wiring, rows, FORWARD)


def _sizes(wiring: Wiring, local: list[Genome], delta: Weights, twin: str, error: jax.Array | None) -> Weights:
    """Updates of known size: (s e)^b / (|h_q| + eps)^p / D^d for every stored number, q the neuron that its synapse arrives at.

    |h_q| is the length of all products that arrive at q and can learn, its bias included, per channel. The length of a group is
    the root mean square of its members' neurons' lengths, each of which counts the group's sum.
    """
    dtype = jax.tree.leaves(delta)[0].dtype
    squares = arriving_sums(wiring, jax.tree.map(lambda h: h * h, delta), twin)
    ones = [jnp.ones_like(row) for row in squares]

    def rows(name: str) -> list[jax.Array]:
        return [one * gate(getattr(own, name)).astype(dtype) for one, own in zip(ones, local, strict=True)]

    size = None if error is None else jnp.log(wiring.rule.error_scale * error.astype(dtype))
    depth = wiring.log_walk_length
    common = [
        jnp.exp((0.0 if size is None else b * size) - d * depth)
        for b, d in zip(rows("error_power"), rows("depth_power"), strict=True)
    ]

    def shrink(square: jax.Array, power: jax.Array) -> jax.Array:
        # Not below the root of what float32 squares hold: the derivative there would be infinite times zero.
        return (jnp.sqrt(jnp.maximum(square, SQUARE_FLOOR)) + UPDATE_EPSILON) ** -power

    factors = [c * shrink(s, p) for c, s, p in zip(common, squares, rows("update_power"), strict=True)]
    found = at_synapses(wiring, factors, twin)
    if delta.shared is None and delta.shared_bias is None:
        return found
    counts = _group_sizes(wiring, ones, twin)
    alike = all(own is local[0] for own in local)

    def means(each: list[jax.Array], same: bool) -> tuple[Any, Any]:
        """Of the members of every group of synapses, and of biases; one number where it is the same for all neurons."""
        if same:
            return each[0][:, :1, 0], each[0][:, :1, 0]
        total = at_synapses(wiring, each, twin)
        own, bias = total.shared, total.shared_bias
        return None if own is None else own / counts[0], None if bias is None else bias / counts[1]

    parts = means(common, alike), means(squares, False), means(rows("update_power"), alike)
    shared, shared_bias = (None if s is None else c * shrink(s, p) for c, s, p in zip(*parts, strict=True))
    return Weights(found.blocks, found.sparse, shared, found.bias, shared_bias)


def _group_sizes(wiring: Wiring, ones: list[jax.Array], twin: str) -> Any:
    """Members of every group of synapses, and of biases: known from the plan, unless the graph is data."""
    plan, dtype = wiring.plan, ones[0].dtype
    if not len(plan.group):
        found = at_synapses(wiring, ones, twin)
        return tuple(None if count is None else jnp.maximum(count, 1) for count in (found.shared, found.shared_bias))
    groups = plan.group, np.concatenate([info.bias_group[info.bias] for info in plan.stages])
    return tuple(jnp.asarray(np.bincount(group[group >= 0]), dtype) for group in groups)


def _at_stored(wiring: Wiring, genome: AnyGenome, values: list[jax.Array], twin: str, weights: Weights) -> Weights:
    """For every stored number the scalar of its genome: one for all, or that of the neuron which its synapse arrives at."""
    if isinstance(genome, Genome):
        return jax.tree.map(lambda _: values[0], weights)
    return _gates_at_synapses(wiring, values, twin, weights)


def _gates_at_synapses(wiring: Wiring, values: list[jax.Array], twin: str, weights: Weights) -> Weights:
    """For every stored number, the scalar ([] or [neurons]) of the stage that its synapse arrives at; 1 where none is stored."""
    dtype = jax.tree.leaves(weights)[0].dtype
    ones = [jnp.ones((1, info.size, 1), dtype) for info in wiring.plan.stages]
    rows = [one * gate(value).astype(dtype) for one, value in zip(ones, values, strict=True)]
    totals, counts = at_synapses(wiring, rows, twin), at_synapses(wiring, ones, twin)
    # Members of a group are summed, and all of one layer.
    return jax.tree.map(lambda total, n: jnp.where(n == 0, 1, total / jnp.where(n == 0, 1, n)), totals, counts)


def _oja_decay(wiring, local, weights, posts, twin, share, eta) -> Weights:
    """Returns the factor of each stored number in the authors' Oja term: m |.| sum_r w_rq^2 (or squared activity)."""
    rule, some, strength = wiring.rule, jax.tree.leaves(weights)[0], []
    for stage, square in enumerate(_squares(wiring, weights, twin)):
        total = square
        if rule.oja == "activity":
            total = jnp.sum(whole(posts[stage]) ** 2, axis=2, keepdims=True) * share
        factor = jnp.abs(local[stage].oja_multiplier).astype(some.dtype) * jnp.sign(eta[stage]).astype(some.dtype)
        strength.append(rule.oja_scale * gate(factor) * total)
    return at_synapses(wiring, strength, twin)


def _oja_keep(wiring: Wiring, local: list[Genome], weights: Weights, twin: str, kept: list[jax.Array]) -> Weights:
    """Returns what Eq. 8 as printed takes from f~ at each stored number: m (f~ - 1) sum_r w_rq^2."""
    strength = [
        wiring.rule.oja_scale * gate(own.oja_multiplier * (keep - 1)).astype(total.dtype) * total
        for own, keep, total in zip(local, kept, _squares(wiring, weights, twin), strict=True)
    ]
    return at_synapses(wiring, strength, twin)


def _squares(wiring: Wiring, weights: Weights, twin: str) -> list[jax.Array]:
    """Per stage [channels, neurons, 1]: the sum of squares of the synapses that arrive at a neuron; 0 where none does."""
    some, stages = jax.tree.leaves(weights)[0], wiring.plan.stages
    found = [square_sum(wiring.kernel, weights, stage, info, twin) for stage, info in enumerate(stages)]
    return [
        jnp.zeros((some.shape[0], info.size, 1), some.dtype) if total is None else total
        for total, info in zip(found, stages, strict=True)
    ]


def _apply_update(rule: Rule, keep: jax.Array, eta: jax.Array, alpha: jax.Array, w: jax.Array, h: jax.Array) -> jax.Array:
    """f~ w + eta~ h, saturated."""
    keep, eta, alpha = (value.astype(w.dtype) for value in (keep, eta, alpha))
    if rule.saturation == "exponential":
        return w + ((keep - 1) * w + eta * h) * jnp.exp(-jnp.abs(w) * (rule.saturation_eps + jnp.abs(alpha)))
    w = keep * w + eta * h  # Eq. 7
    # Section 3.4
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
    error: jax.Array | None = None,
    tilts: dict[int, jax.Array] = MappingProxyType({}),  # type: ignore[assignment]
) -> Synapses:
    """Synapses after Eqs. 7 and 8.

    Args:
      before: states of synapses' forward senders; `after`: of their receivers.
      second: by the genome's second Hebbian part, which keeps no trace.
      changes: of scanned stages, the forward synapses' products of Eq. 7, where a pass has found them.
      error: e, the root mean square of the outputs' error, for updates of known size.
      tilts: per stage, states from which its biases learn, where these are not `after`.
    """
    rule, back = wiring.rule, synapses.backward
    traces: Any = None if second else synapses.traces

    def change(twin: str, weights: Weights, known: dict[int, jax.Array]) -> tuple[_Change, Weights | None]:
        trace = None if traces is None else traces[twin]
        return _change(wiring, genome, weights, trace, before, after, twin, second, known, error, tilts)

    own, trace = change(FORWARD, synapses.forward, changes or {})
    forward = own.applied(rule, synapses.forward)
    kept = {FORWARD: trace}
    if back is not None and rule.backward_synapses != "fixed":
        if rule.backward_synapses == "mirrored":  # both directions are stored alike, but for the biases
            bare = partial(replace, bias=back.bias, shared_bias=back.shared_bias)
            own, trace = jax.tree.map(bare, (own, trace), is_leaf=lambda part: isinstance(part, Weights))
        else:
            own, trace = change(BACKWARD, back, {})
        back = own.applied(rule, back)
        kept[BACKWARD] = trace
    return replace(synapses, forward=forward, backward=back, traces=synapses.traces if traces is None else traces | kept)


def average_synapses(wiring: Wiring, genome: AnyGenome, synapses: Synapses, error: jax.Array) -> Synapses:
    """Synapses whose average follows what they have learned: a <- a + alpha (w - a), alpha = max(1 - keep, (p + 1) / (t + p)).

    Step t = 1, 2, ... of an average weighs as t^p (polynomial-decay averaging, Shamir and Zhang 2013), until that would reach
    back further than `average_keep`. Where the outputs' error is larger than it was at the very first step, what has been
    learned is wrong now, and the average begins anew.
    """
    if synapses.averages is None:
        return synapses
    kept = synapses.averages
    first = jnp.where(kept["steps"] == 0, error.astype(kept["error"].dtype), kept["error"])
    steps = jnp.where(error > first, 0, kept["steps"]) + 1
    local = genomes_at_stages(wiring, genome)
    rates = [jnp.maximum(1 - own.average_keep, (own.average_power + 1) / (steps + own.average_power)) for own in local]
    alpha = _at_stored(wiring, genome, rates, FORWARD, synapses.forward)
    average = jax.tree.map(lambda a, w, r: a + r.astype(w.dtype) * (w - a), kept["forward"], synapses.forward, alpha)
    return replace(synapses, averages={"forward": average, "steps": steps, "error": first})
