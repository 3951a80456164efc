"""The two passes of a learning step (Eqs. 5 and 6): what a neuron makes of its inflow, phase by phase."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.genome import AnyGenome
from neurograph.genome.activations import resolve_activation
from neurograph.genome.rule import Rule
from neurograph.network.kernels import FORWARD, native
from neurograph.network.kernels.bilinear import mix_states
from neurograph.network.kernels.rows import Affine, Ends
from neurograph.network.norms import column_norms
from neurograph.network.state import Synapses, Weights
from neurograph.network.walk import Pass, Walk
from neurograph.network.wiring import States, Wiring, cast, gate, genomes_at_stages

__all__ = [
    "EPSILON",
    "carried_states",
    "clamped",
    "normalised",
    "output_values",
    "places",
    "sweep",
    "through_normalization",
    "with_states",
]


EPSILON = 1e-5  # under the root of a batch variance


def normalised(u: jax.Array, moments: Any = None) -> tuple[jax.Array, jax.Array, Any]:
    """u^ = (u - m) / sqrt(v + eps), 1 / sqrt(v + eps), and the moments: those given, or this batch's (section 3.4)."""
    if moments is None:
        mean = jnp.mean(u, axis=2, keepdims=True)
        moments = (mean, jnp.mean((u - mean) ** 2, axis=2, keepdims=True))
    mean, variance = moments
    inverse = jax.lax.rsqrt(variance + EPSILON)
    return (u - mean) * inverse, inverse, moments


def through_normalization(d: jax.Array, unit: jax.Array, slope: jax.Array) -> jax.Array:
    """Feedback on normalised pre-activations as feedback on the pre-activations themselves: the derivative of (3.4).

    s / sqrt(v + eps) (d - mean(d) - u^ mean(d u^)), means over the batch.

    Args:
      d: feedback [states, neurons, batch].
      unit: u^ of the forward pass, of the same shape.
      slope: s / sqrt(v + eps), [states, neurons, 1].
    """
    mean = jnp.mean(d, axis=2, keepdims=True)
    along = jnp.mean(d * unit, axis=2, keepdims=True)
    return slope * (d - mean - unit * along)


def _noise(rule: Rule, key: jax.Array | None, neurons: np.ndarray, like: jax.Array, *path: Any) -> jax.Array | None:
    """Returns the noise that is added to pre-activations of some neurons, or None; `path` makes every draw its own.

    Every neuron has a key of its own, by its place in the topology, so that all plans and kernels draw the same.
    """
    if not rule.noise or key is None:
        return None
    for part in path:
        key = jax.random.fold_in(key, part)
    keys = jax.vmap(partial(jax.random.fold_in, key))(neurons)
    drawn = jax.vmap(lambda own: jax.random.normal(own, (like.shape[0], like.shape[2]), like.dtype))(keys)
    return rule.noise * drawn.transpose(1, 0, 2)


@dataclass(frozen=True)
class _Update:
    """Eqs. 5 and 6 at the neurons of one stage, given their inflow.

    `params`: keep and update gates, scale and shift, [] and [states, 1, 1], and with `self_gating` the matrices of both gates,
    [states, states]. `rows`: what the neurons bring along, each [*, neurons, batch or 1] and absent where not needed: `a` (their
    states; of a product, those after the forward pass), `norm` (what inflow is divided by), `noise`, `known` (frozen moments),
    `unit` and `slope` (see `Pass.units`), `params` (their own, where genomes differ from neuron to neuron; matrices flat).
    """

    rule: Rule
    kind: str
    forward: bool
    fresh: bool  # states are zero: f a vanishes

    def __call__(self, params: tuple[jax.Array, ...], rows: dict[str, Any], z: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        """New states, and a record: moments, u^ and its slope where they are wanted, state 0 of the outputs' pre-activation."""
        rule = self.rule
        keep, gate, scale, shift, *gating = rows.get("params", params)
        a: Any = rows.get("a")  # absent only if fresh
        keep, gate = keep.astype(z.dtype), gate.astype(z.dtype)
        if gating and not self.fresh:  # states that are zero leave the gates as they are
            opened = (2 * jax.nn.sigmoid(mix_states(_square(matrix, a), a)) for matrix in gating)
            keep, gate = (one * factor for one, factor in zip((keep, gate), opened, strict=True))
        record: dict[str, Any] = {}
        hidden = resolve_activation(rule.forward_activation if self.forward else rule.backward_activation)
        if "norm" in rows:
            z = z / rows["norm"]
        if not self.forward and rule.backward_update != "additive":
            kept = 0 if rule.backward_update == "multiplicative" else 1  # states that the product leaves as they are
            held = keep * a  # the states after the forward pass
            product = held[kept:] * z[kept:]  # Eq. 6
            others = [held[:kept]] if kept else []
            if "unit" in rows:
                if rule.bias_after_normalization:
                    record["tilt"] = hidden(jnp.concatenate([*others, product], axis=0))
                product = through_normalization(product, rows["unit"][kept:], rows["slope"][kept:])
            u = jnp.concatenate([*others, product], axis=0)
        else:  # Eq. 5, and Eq. 6 where the update is additive
            u = gate * z if self.fresh else keep * a + gate * z
        u = u + rows["noise"] if "noise" in rows else u
        mode = rule.normalization if self.forward else rule.normalizes_backward
        if mode == "batch" and (self.kind == "hidden" or rule.normalize_outputs):
            unit, inverse, record["moments"] = normalised(u, rows.get("known"))
            u = unit * scale.astype(u.dtype) + shift.astype(u.dtype)  # section 3.4
            u = u + rows["bias"] if "bias" in rows else u
            if self.forward and rule.normalizes_backward == "derivative":
                record |= {"unit": unit, "slope": scale.astype(u.dtype) * inverse}
        if self.kind == "output":
            return resolve_activation(rule.output_activation)(u), record | {"outer": u[:1]}
        return hidden(u), record

    def affine(self, params: tuple[jax.Array, ...], rows: dict[str, Any]) -> Affine | None:
        """The same as data, where it treats every state of hidden neurons for itself by an activation that native code knows."""
        rule, keep, gate = self.rule, *params[:2]
        activation = rule.forward_activation if self.forward else rule.backward_activation
        if not isinstance(activation, str) or activation not in native.ACTIVATIONS:
            return None
        if not rows.keys() <= {"a"} or rule.normalization != "none" or self.kind != "hidden":
            return None
        if rule.self_gating and not self.fresh:  # no constant times the states, nor times the inflow
            return None
        if self.forward or rule.backward_update == "additive":
            return Affine(activation, keep, gate, offset=None if self.fresh else rows["a"])
        if rule.backward_update == "multiplicative":
            return Affine(activation, jnp.zeros_like(keep), keep, gain=rows["a"])
        return None


def _moment(value: jax.Array) -> jax.Array:
    """A vector of a genome beside [states, neurons, batch]."""
    return value[:, None, None] if value.ndim == 1 else value[:, :, None]


def _square(matrix: jax.Array, a: jax.Array) -> jax.Array:
    """[states, states], or [states, states, neurons] of what neurons bring along."""
    return matrix if matrix.ndim == 2 else matrix.reshape(a.shape[0], a.shape[0], -1)


def _divided(matrix: jax.Array, norm: jax.Array) -> jax.Array:
    """[states, states, neurons]: a matrix whose rows are divided by what belongs to each neuron, [channels, neurons, 1]."""
    matrix = matrix[:, :, None] if matrix.ndim == 2 else matrix
    return matrix / norm[:, None, :, 0].astype(matrix.dtype)


def _damping(wiring: Wiring, genome: AnyGenome) -> list[jax.Array] | None:
    """Per stage, the share of the last state that a tick keeps, [] or [1, neurons, 1]; None where ticks are not damped."""
    rule, given = wiring.rule, wiring.damping
    if isinstance(given, float) and not given and not rule.learned_damping:
        return None
    own = [gate(g.damping) for g in genomes_at_stages(wiring, genome)]
    each = [given if isinstance(given, float) else given.astype(d.dtype) for d in own]
    return [1 - (1 - g) * (1 - d) if rule.learned_damping else jnp.asarray(g) for g, d in zip(each, own, strict=True)]


def _fading(wiring: Wiring, genome: AnyGenome) -> list[jax.Array] | None:
    """Per stage, what feedback that it sends to its cyclic phase is multiplied by, [] or [1, neurons, 1]; None for nothing."""
    return [gate(g.cycle_keep) for g in genomes_at_stages(wiring, genome)] if wiring.rule.cycle_fading else None


def sweep(
    wiring: Wiring,
    genome: AnyGenome,
    weights: Weights,
    states: States,
    direction: str,
    *,
    key: jax.Array | None = None,
    frozen: Any = None,
    units: dict[int, tuple[jax.Array, jax.Array]] | None = None,
    ends: list[Ends] | None = None,
    watch: bool = False,
) -> Pass:
    """One pass over all phases: Eq. 5 forward, Eq. 6 backward. `states` is not changed; clamped stages keep theirs.

    Args:
      weights: stored numbers of the direction; of a rule with `synapse_derivative` the forward ones for both.
      states: per stage; backward, those after the forward pass, with the outputs' feedback.
      key: of noise; without it the pass is free of noise.
      frozen: moments to normalise by, instead of the batch's.
      units: of the forward pass, for the derivative of batch normalization.
      ends: per stage, see `Kernel.sweep_levels`.
      watch: find out how cyclic phases settle (`Pass.settling`).
    """
    rule, kernel, forward = wiring.rule, wiring.kernel, direction == FORWARD
    matrices, params = [], []
    for own in genomes_at_stages(wiring, genome):
        matrices.append(own.forward_transform if forward else own.backward_transform)
        scale, shift = (own.forward_scale, own.forward_shift) if forward else (own.backward_scale, own.backward_shift)
        keep = own.neuron_keep if forward or rule.backward_update == "additive" else own.backward_keep
        gatings = (own.keep_gating, own.update_gating) if rule.self_gating else ()
        flat = [m if m.ndim == 2 else m.reshape(-1, m.shape[2], 1) for m in gatings]
        params.append((gate(keep), gate(own.neuron_update), _moment(scale), _moment(shift), *flat))
    norms = None
    if rule.synapse_normalization == "in_pass":
        norms = column_norms(wiring, genome, weights, FORWARD if rule.synapse_derivative else direction)
        if rule.synapse_derivative and not forward:  # w_ij / |w_j|: as the forward pass used it, divided at the sender j
            matrices = [m if norm is None else _divided(m, norm) for m, norm in zip(matrices, norms, strict=True)]
            norms = None
    # States of another type than the synapses (Network's `precision`): a pass sees the synapses in the states' type.
    weights, norms = cast((weights, norms), states[0].dtype)

    def late(stage: int) -> bool:
        """Whether a bias is added after batch normalization."""
        return rule.bias_after_normalization and (rule.normalize_outputs or wiring.plan.stages[stage].kind != "output")

    def drive(stage: int) -> jax.Array | None:
        """Returns the inflow that begins with the bias, [states, neurons, 1]."""
        return None if late(stage) else from_bias(stage)

    def from_bias(stage: int) -> jax.Array | None:
        bias = kernel.bias_values(weights, stage) if forward else None
        if bias is None:
            return None
        constant = matrices[stage].sum(axis=1)  # what the constant neuron's states (all 1) become
        constant = constant[:, None] if constant.ndim == 1 else constant
        return (bias * constant.astype(bias.dtype))[:, :, None]

    def prepare(stage: int, a: jax.Array, zero: bool, known: Any, *path: Any) -> tuple[_Update, dict[str, Any]]:
        rows = {
            "a": None if zero else a,
            "norm": None if norms is None else norms[stage],
            "noise": _noise(rule, key, wiring.plan.stages[stage].neurons, a, 0 if forward else 1, *path),
            "known": known,
            "unit": None if units is None or stage not in units else units[stage][0],
            "slope": None if units is None or stage not in units else units[stage][1],
            "bias": from_bias(stage) if late(stage) else None,
            "params": params[stage] if params[stage][0].ndim else None,
        }
        present = {name: value for name, value in rows.items() if value is not None}
        return _Update(rule, wiring.plan.stages[stage].kind, forward, zero), present

    walk = Walk(
        wiring,
        direction,
        weights,
        prepare,
        drive,
        matrices,
        params,
        fresh=forward and rule.reset_states,  # states are zero: f a vanishes on the first tick
        # A product is taken of what the forward pass left: of its own result, slopes would compound from tick to tick.
        product=not forward and rule.backward_update != "additive",
        damping=_damping(wiring, genome),
        fading=None if forward else _fading(wiring, genome),
        frozen=frozen,
        ends=ends,
        watch=watch,
    )
    return walk(states)


def clamped(wiring: Wiring, synapses: Synapses, x: jax.Array) -> States:
    """States before the forward pass: zero or carried over, with the inputs clamped."""
    plan, k = wiring.plan, wiring.rule.states
    dtype = wiring.state_dtype or jax.tree.leaves(synapses.forward)[0].dtype
    x = x.astype(dtype).T
    states: States = []
    for stage, info in enumerate(plan.stages):
        if info.kind == "input":
            states.append(x[None])
        elif wiring.rule.reset_states or synapses.neurons is None:
            states.append(jnp.zeros((k, info.size, x.shape[1]), dtype))
        else:
            states.append(synapses.neurons[stage].astype(dtype))
    return states


def carried_states(wiring: Wiring, states: States) -> tuple[jax.Array, ...]:
    """All k states of every stage: zeros for those that clamped neurons lack."""
    k = wiring.rule.states
    return tuple(jnp.pad(a, ((0, k - a.shape[0]), (0, 0), (0, 0))) if a.shape[0] < k else a for a in states)


def places(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each of `wanted` stands in `values`."""
    by = np.argsort(values)
    return by[np.searchsorted(values[by], wanted)].astype(np.int32)


def with_states(wiring: Wiring, synapses: Synapses, x: jax.Array) -> Synapses:
    """`synapses` with neurons' states at rest, if the rule carries states over and none are there: the structure after a step."""
    if wiring.rule.reset_states or synapses.neurons is not None:
        return synapses
    return replace(synapses, neurons=carried_states(wiring, clamped(wiring, synapses, x)))


def output_values(wiring: Wiring, states: States) -> jax.Array:
    """State 0 of the outputs, [B, n_out], in the topology's order of outputs."""
    stages = [s for s, info in enumerate(wiring.plan.stages) if info.kind == "output"]
    outputs = jnp.concatenate([states[s][0] for s in stages], axis=0)
    if wiring.output_places is not None:
        outputs = outputs[wiring.output_places]
    elif len(stages) > 1:  # one stage has them in the topology's order
        order = np.concatenate([wiring.plan.stages[s].neurons for s in stages])
        outputs = outputs[places(order, wiring.topology.outputs)]
    outputs = outputs.T
    return outputs if wiring.state_dtype is None else outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
