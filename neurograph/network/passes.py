"""The two passes of a learning step (Eqs. 5 and 6): what a neuron makes of its inflow, phase by phase."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.genome import AnyGenome
from neurograph.genome.activations import resolve_activation
from neurograph.genome.rule import Rule
from neurograph.network.kernels import ALL, EXTERNAL, FORWARD, INTERNAL, native
from neurograph.network.kernels.bilinear import mix_states
from neurograph.network.kernels.rows import Affine, Ends
from neurograph.network.norms import column_norms
from neurograph.network.state import Synapses, Weights
from neurograph.network.wiring import States, Wiring, cast, gate, genomes_at_stages

__all__ = ["EPSILON", "Moments", "carried_states", "clamped", "output_values", "places", "sweep", "with_states"]


EPSILON = 1e-5  # under the root of a batch variance


Moments = Any


@dataclass
class _Pass:
    """States after one sweep. `moments`: per phase, a list per stage of (mean, variance) or None; `outer`: state 0 of the
    outputs' pre-activations, per stage, for feedbacks that need h'; `changes`: per scanned stage, what the synapses' update is
    made of, where that was found on the way."""

    states: States
    moments: list[Any]
    outer: dict[int, jax.Array]
    changes: dict[int, jax.Array]


def _normalise(u: jax.Array, scale: jax.Array, shift: jax.Array, moments: Any) -> tuple[jax.Array, Any]:
    if moments is None:
        mean = jnp.mean(u, axis=2, keepdims=True)
        moments = (mean, jnp.mean((u - mean) ** 2, axis=2, keepdims=True))
    mean, variance = moments
    unit = (u - mean) * jax.lax.rsqrt(variance + EPSILON)
    return unit * scale.astype(u.dtype) + shift.astype(u.dtype), moments


def _noise(rule: Rule, key: jax.Array | None, neurons: np.ndarray, like: jax.Array, *path: Any) -> jax.Array | None:
    """What is added to pre-activations of some neurons, or None; `path` makes every draw its own.

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

    `params`: keep and update gates, scale and shift, [] and [states, 1, 1]. `rows`: what the neurons bring along, each
    [*, neurons, batch or 1] and absent where not needed: `a` (their states), `norm` (what inflow is divided by), `noise`,
    `known` (frozen moments), `params` (their own, where genomes differ from neuron to neuron).
    """

    rule: Rule
    kind: str
    forward: bool
    fresh: bool  # states are zero: f a vanishes

    def __call__(self, params: tuple[jax.Array, ...], rows: dict[str, Any], z: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        """New states, and a record: the moments used, and state 0 of the pre-activation of outputs."""
        rule = self.rule
        keep, gate, scale, shift = rows.get("params", params)
        a: Any = rows.get("a")  # absent only if fresh
        hidden = resolve_activation(rule.forward_activation if self.forward else rule.backward_activation)
        if "norm" in rows:
            z = z / rows["norm"]
        if not self.forward and rule.backward_update != "additive":
            if rule.backward_update == "multiplicative":
                u = keep.astype(z.dtype) * a * z
            else:
                u = jnp.concatenate([keep.astype(z.dtype) * a[:1], keep.astype(z.dtype) * a[1:] * z[1:]], axis=0)
            return hidden(u + rows["noise"] if "noise" in rows else u), {}
        u = gate.astype(z.dtype) * z if self.fresh else keep.astype(z.dtype) * a + gate.astype(z.dtype) * z
        u = u + rows["noise"] if "noise" in rows else u
        record: dict[str, Any] = {}
        if rule.normalization == "batch" and (self.kind == "hidden" or rule.normalize_outputs):
            u, record["moments"] = _normalise(u, scale, shift, rows.get("known"))
        if self.kind == "output":
            return resolve_activation(rule.output_activation)(u), record | {"outer": u[:1]}
        return hidden(u), record

    def affine(self, params: tuple[jax.Array, ...], rows: dict[str, Any]) -> Affine | None:
        """The same as data, where it treats every state of hidden neurons for itself by an activation that native code knows."""
        rule, keep, gate = self.rule, *params[:2]
        activation = rule.forward_activation if self.forward else rule.backward_activation
        known = isinstance(activation, str) and activation in native.ACTIVATIONS
        if not known or not rows.keys() <= {"a"} or rule.normalization != "none" or self.kind != "hidden":
            return None
        if self.forward or rule.backward_update == "additive":
            return Affine(activation, keep, gate, offset=None if self.fresh else rows["a"])
        if rule.backward_update == "multiplicative":
            return Affine(activation, jnp.zeros_like(keep), keep, gain=rows["a"])
        return None


def _moment(value: jax.Array) -> jax.Array:
    """A vector of a genome beside [states, neurons, batch]."""
    return value[:, None, None] if value.ndim == 1 else value[:, :, None]


def sweep(
    wiring: Wiring,
    genome: AnyGenome,
    weights: Weights,
    states: States,
    direction: str,
    *,
    key: jax.Array | None = None,
    frozen: Any = None,
    ends: list[Ends] | None = None,
) -> _Pass:
    """One pass over all phases: Eq. 5 forward, Eq. 6 backward. `states` is not changed; clamped stages keep theirs.

    Without a `key` the pass is free of noise. `ends`: per stage, see `Kernel.sweep_levels`.
    """
    rule, plan, kernel = wiring.rule, wiring.plan, wiring.kernel
    forward = direction == FORWARD
    matrices, params = [], []
    for own in genomes_at_stages(wiring, genome):
        matrices.append(own.forward_transform if forward else own.backward_transform)
        scale, shift = (own.forward_scale, own.forward_shift) if forward else (own.backward_scale, own.backward_shift)
        params.append((gate(own.neuron_keep), gate(own.neuron_update), _moment(scale), _moment(shift)))
    moving = ("hidden", "output") if forward else ("hidden",)
    norms = column_norms(wiring, genome, weights, direction) if rule.synapse_normalization == "in_pass" else None
    states = list(states)
    # States of another type than the synapses (Network's `precision`): a pass sees the synapses in the states' type.
    weights, norms = cast((weights, norms), states[0].dtype)
    signals: States = [None if s is None else kernel.mixed(m, s) for m, s in zip(matrices, states, strict=True)]
    fresh = forward and rule.reset_states  # states are zero: f a vanishes on the first tick
    moments: list[Any] = [None] * len(plan.phases)
    outer: dict[int, jax.Array] = {}
    changes: dict[int, jax.Array] = {}

    def drive(stage: int) -> jax.Array | None:
        """What the bias adds, [states, neurons, 1]."""
        bias = kernel.bias_values(weights, stage) if forward else None
        if bias is None:
            return None
        constant = matrices[stage].sum(axis=1)  # what the constant neuron's states (all 1) become
        constant = constant[:, None] if constant.ndim == 1 else constant
        return (bias * constant.astype(bias.dtype))[:, :, None]

    def inflow(stage: int, part: str) -> jax.Array | None:
        return kernel.aggregate(direction, stage, weights, signals, part, start=None if part == INTERNAL else drive(stage))

    def full(z: jax.Array | None, a: jax.Array) -> jax.Array:
        return jnp.zeros_like(a) if z is None else jnp.broadcast_to(z, a.shape)

    def prepare(stage: int, a: jax.Array, zero: bool, known: Any, *path: Any) -> tuple[_Update, dict[str, Any]]:
        rows = {
            "a": None if zero else a,
            "norm": None if norms is None else norms[stage],
            "noise": _noise(rule, key, plan.stages[stage].neurons, a, 0 if forward else 1, *path),
            "known": known,
            "params": params[stage] if matrices[stage].ndim == 3 else None,
        }
        present = {name: value for name, value in rows.items() if value is not None}
        return _Update(rule, plan.stages[stage].kind, forward, zero), present

    order = range(len(plan.phases)) if forward else range(len(plan.phases) - 1, -1, -1)
    for number in order:
        phase = plan.phases[number]
        members = [s for s in phase.stages if plan.stages[s].kind in moving]
        if not members:
            continue
        known = [None] * len(members) if frozen is None else frozen[number]
        if not phase.cyclic:
            used = []
            for stage, fixed in zip(members, known, strict=True):
                a = states[stage]
                update, rows = prepare(stage, a, fresh, fixed)
                if phase.scanned:
                    matrix, common = matrices[stage], params[stage]
                    if matrix.ndim == 3:
                        rows["matrix"], matrix, common = matrix.reshape(-1, a.shape[1], 1), None, ()
                    given = weights, signals, update, matrix, common, drive(stage), a.shape, rows, ends and ends[stage]
                    states[stage], signals[stage], record = kernel.sweep_levels(direction, stage, *given)
                    if "change" in record:
                        changes[stage] = record["change"]
                else:
                    states[stage], record = update(params[stage], rows, full(inflow(stage, ALL), a))
                used.append(record.get("moments"))
                if "outer" in record:
                    outer[stage] = record["outer"]
            moments[number] = used
            if phase.scanned:
                continue
        else:
            external = [inflow(stage, EXTERNAL) for stage in members]

            def tick(carry, xs, members=members, external=external):
                tick_index, known = xs
                current = dict(zip(members, carry, strict=True))
                for stage in members:
                    signals[stage] = mix_states(matrices[stage], current[stage])
                out, records = [], []
                for stage, outside, fixed in zip(members, external, known, strict=True):
                    z = inflow(stage, INTERNAL)
                    z = outside if z is None else z if outside is None else z + outside
                    update, rows = prepare(stage, current[stage], False, fixed, tick_index)
                    a, record = update(params[stage], rows, full(z, current[stage]))
                    out.append(a)
                    records.append(record)
                return out, records

            start = [states[s] for s in members]
            final, records = jax.lax.scan(tick, start, (jnp.arange(phase.ticks), known))
            for stage, a, record in zip(members, final, records, strict=True):
                states[stage] = a
                if "outer" in record:
                    outer[stage] = record["outer"][-1]
            moments[number] = [record.get("moments") for record in records]
        for stage in members:
            signals[stage] = kernel.mixed(matrices[stage], states[stage])
    return _Pass(states, moments, outer, changes)


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
    return Synapses(synapses.forward, synapses.backward, carried_states(wiring, clamped(wiring, synapses, x)))


def output_values(wiring: Wiring, states: States) -> jax.Array:
    """State 0 of the outputs, [B, n_out], in the topology's order of outputs."""
    stages = [s for s, info in enumerate(wiring.plan.stages) if info.kind == "output"]
    order = np.concatenate([wiring.plan.stages[s].neurons for s in stages])
    place = places(order, wiring.topology.outputs)
    outputs = jnp.concatenate([states[s][0] for s in stages], axis=0)[place].T
    return outputs if wiring.state_dtype is None else outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
