"""The two passes of a learning step (Eqs. 5 and 6): what a neuron makes of its inflow, phase by phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from neurograph.network.plan import Phase
from neurograph.network.state import Synapses, Weights
from neurograph.network.wiring import States, Wiring, cast, gate, genomes_at_stages

__all__ = [
    "EPSILON",
    "Moments",
    "Pass",
    "carried_states",
    "clamped",
    "output_values",
    "places",
    "sweep",
    "through_normalization",
    "with_states",
]


EPSILON = 1e-5  # under the root of a batch variance


Moments = Any


@dataclass
class Pass:
    """States after one sweep, and what the rest of the step needs of it.

    Attributes:
      states: per stage [states, neurons, batch].
      moments: per phase, a list per stage of (mean, variance) or None.
      outer: state 0 of the outputs' pre-activations, per stage, for feedbacks that need h'.
      units: per stage, the normalised pre-activation u^ and its slope s / sqrt(v + eps) by the pre-activation, where the backward
        pass takes the derivative of batch normalization.
      changes: per scanned stage, the products of its synapses' update, where the pass has found them on the way.
      settling: per cyclic phase, how far its last tick moved a state, and how many ticks ran; only where asked for.
    """

    states: States
    moments: list[Any]
    outer: dict[int, jax.Array]
    units: dict[int, tuple[jax.Array, jax.Array]]
    changes: dict[int, jax.Array]
    settling: list[tuple[jax.Array, jax.Array]]


def _normalised(u: jax.Array, moments: Any) -> tuple[jax.Array, jax.Array, Any]:
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
    [*, neurons, batch or 1] and absent where not needed: `a` (their states; of a product, those after the forward pass), `norm`
    (what inflow is divided by), `noise`, `known` (frozen moments), `unit` and `slope` (see `Pass.units`), `params` (their own,
    where genomes differ from neuron to neuron).
    """

    rule: Rule
    kind: str
    forward: bool
    fresh: bool  # states are zero: f a vanishes

    def __call__(self, params: tuple[jax.Array, ...], rows: dict[str, Any], z: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        """New states, and a record: moments, u^ and its slope where they are wanted, state 0 of the outputs' pre-activation."""
        rule = self.rule
        keep, gate, scale, shift = rows.get("params", params)
        a: Any = rows.get("a")  # absent only if fresh
        hidden = resolve_activation(rule.forward_activation if self.forward else rule.backward_activation)
        if "norm" in rows:
            z = z / rows["norm"]
        if not self.forward and rule.backward_update != "additive":
            kept = 0 if rule.backward_update == "multiplicative" else 1  # states that the product leaves as they are
            product = keep.astype(z.dtype) * a[kept:] * z[kept:]  # Eq. 6, with the states after the forward pass
            if "unit" in rows:
                product = through_normalization(product, rows["unit"][kept:], rows["slope"][kept:])
            u = jnp.concatenate([keep.astype(z.dtype) * a[:kept], product], axis=0) if kept else product
        else:  # Eqs. 5 and 6
            u = gate.astype(z.dtype) * z if self.fresh else keep.astype(z.dtype) * a + gate.astype(z.dtype) * z
        u = u + rows["noise"] if "noise" in rows else u
        record: dict[str, Any] = {}
        mode = rule.normalization if self.forward else rule.normalizes_backward
        if mode == "batch" and (self.kind == "hidden" or rule.normalize_outputs):
            unit, inverse, record["moments"] = _normalised(u, rows.get("known"))
            u = unit * scale.astype(u.dtype) + shift.astype(u.dtype)
            if self.forward and rule.normalizes_backward == "derivative":
                record |= {"unit": unit, "slope": scale.astype(u.dtype) * inverse}
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


def _divided(matrix: jax.Array, norm: jax.Array) -> jax.Array:
    """[states, states, neurons]: a matrix whose rows are divided by what belongs to each neuron, [channels, neurons, 1]."""
    matrix = matrix[:, :, None] if matrix.ndim == 2 else matrix
    return matrix / norm[:, None, :, 0].astype(matrix.dtype)


def _damping(wiring: Wiring, genome: AnyGenome) -> list[jax.Array] | None:
    """Per stage, the share of the last state that a tick keeps, [] or [1, neurons, 1]; None where ticks are not damped."""
    rule, given = wiring.rule, wiring.topology.damping
    if not given and not rule.learned_damping:
        return None
    own = [gate(g.damping) for g in genomes_at_stages(wiring, genome)]
    return [1 - (1 - given) * (1 - d) if rule.learned_damping else jnp.asarray(given) for d in own]


def _ticks(
    tick: Callable[..., Any],
    start: list[jax.Array],
    phase: Phase,
    known: list[Any],
    tolerance: float,
    limit: Any,
    watch: bool,
) -> tuple[list[jax.Array], list[dict[str, Any]], list[Any], list[tuple[jax.Array, jax.Array]]]:
    """The ticks of a cyclic phase: all of them, or no more than a limit, or with a tolerance until no state moves by more.

    Returns:
      States and records after the last tick, the moments of every tick (leaves [ticks, ...]), and with `watch` how far the last
      tick moved a state and how many ticks ran.
    """
    some = jax.tree.map(lambda leaf: leaf[0], known)
    shapes = jax.eval_shape(lambda a, known: tick(0, a, known)[1], start, some)
    records = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    rest = [{name: value for name, value in record.items() if name != "moments"} for record in records]
    far = jnp.asarray(jnp.inf, start[0].dtype)

    def distance(out: list[jax.Array], current: list[jax.Array]) -> jax.Array:
        return jnp.stack([jnp.max(jnp.abs(a - b)) for a, b in zip(out, current, strict=True)]).max()

    def run(carry: Any, index: Any, known: Any) -> Any:
        current, _, _, _, count = carry
        out, made = tick(index, current, known)
        moved = far
        if tolerance > 0:
            moved = distance(out, current)
        elif watch:  # the last tick alone is looked at
            moved = jax.lax.cond(index == phase.ticks - 1, distance, lambda *_: far, out, current)
        made, used = [{**record} for record in made], []
        for record in made:
            used.append(record.pop("moments", None))
        return out, made, used, moved, count + 1

    def body(carry: Any, xs: Any) -> Any:
        index, known = xs
        going = [*([carry[3] > tolerance] if tolerance > 0 else []), *([] if limit is None else [index < limit])]
        if going:
            carry = jax.lax.cond(jnp.stack(going).all(), lambda c: run(c, index, known), lambda c: c, carry)
        else:
            carry = run(carry, index, known)
        return carry, carry[2]

    first = (start, rest, [record.get("moments") for record in records], far, jnp.zeros((), jnp.int32))
    (final, made, _, moved, count), used = jax.lax.scan(body, first, (jnp.arange(phase.ticks), known))
    return final, made, used, [(moved, count)] if watch else []


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
    rule, plan, kernel = wiring.rule, wiring.plan, wiring.kernel
    forward = direction == FORWARD
    matrices, params = [], []
    for own in genomes_at_stages(wiring, genome):
        matrices.append(own.forward_transform if forward else own.backward_transform)
        scale, shift = (own.forward_scale, own.forward_shift) if forward else (own.backward_scale, own.backward_shift)
        keep = own.neuron_keep if forward or rule.backward_update == "additive" else own.backward_keep
        params.append((gate(keep), gate(own.neuron_update), _moment(scale), _moment(shift)))
    moving = ("hidden", "output") if forward else ("hidden",)
    norms = None
    if rule.synapse_normalization == "in_pass":
        norms = column_norms(wiring, genome, weights, FORWARD if rule.synapse_derivative else direction)
        if rule.synapse_derivative and not forward:  # w_ij / |w_j|: as the forward pass used it, divided at the sender j
            matrices = [m if norm is None else _divided(m, norm) for m, norm in zip(matrices, norms, strict=True)]
            norms = None
    damping = _damping(wiring, genome)
    states = list(states)
    # States of another type than the synapses (Network's `precision`): a pass sees the synapses in the states' type.
    weights, norms = cast((weights, norms), states[0].dtype)
    signals: States = [None if s is None else kernel.mixed(m, s) for m, s in zip(matrices, states, strict=True)]
    fresh = forward and rule.reset_states  # states are zero: f a vanishes on the first tick
    moments: list[Any] = [None] * len(plan.phases)
    outer: dict[int, jax.Array] = {}
    found: dict[int, tuple[jax.Array, jax.Array]] = {}
    changes: dict[int, jax.Array] = {}
    settling: list[tuple[jax.Array, jax.Array]] = []

    def drive(stage: int) -> jax.Array | None:
        """What the bias adds, [states, neurons, 1]."""
        bias = kernel.bias_values(weights, stage) if forward else None
        if bias is None:
            return None
        constant = matrices[stage].sum(axis=1)  # what the constant neuron's states (all 1) become
        constant = constant[:, None] if constant.ndim == 1 else constant
        return (bias * constant.astype(bias.dtype))[:, :, None]

    def inflow(stage: int, part: str, sent: States | None = None) -> jax.Array | None:
        start = None if part == INTERNAL else drive(stage)
        return kernel.aggregate(direction, stage, weights, signals if sent is None else sent, part, start=start)

    def full(z: jax.Array | None, a: jax.Array) -> jax.Array:
        return jnp.zeros_like(a) if z is None else jnp.broadcast_to(z, a.shape)

    def prepare(stage: int, a: jax.Array, zero: bool, known: Any, *path: Any) -> tuple[_Update, dict[str, Any]]:
        rows = {
            "a": None if zero else a,
            "norm": None if norms is None else norms[stage],
            "noise": _noise(rule, key, plan.stages[stage].neurons, a, 0 if forward else 1, *path),
            "known": known,
            "unit": None if units is None or stage not in units else units[stage][0],
            "slope": None if units is None or stage not in units else units[stage][1],
            "params": params[stage] if params[stage][0].ndim else None,
        }
        present = {name: value for name, value in rows.items() if value is not None}
        return _Update(rule, plan.stages[stage].kind, forward, zero), present

    def note(stage: int, record: dict[str, Any]) -> None:
        if "change" in record:
            changes[stage] = record["change"]
        if "outer" in record:
            outer[stage] = record["outer"]
        if "unit" in record:
            found[stage] = record["unit"], record["slope"]

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
                    matrix, common = matrices[stage], () if "params" in rows else params[stage]
                    if matrix.ndim == 3:
                        rows["matrix"], matrix = matrix.reshape(-1, a.shape[1], 1), None
                    given = weights, signals, update, matrix, common, drive(stage), a.shape, rows, ends and ends[stage]
                    states[stage], signals[stage], record = kernel.sweep_levels(direction, stage, *given)
                else:
                    states[stage], record = update(params[stage], rows, full(inflow(stage, ALL), a))
                used.append(record.get("moments"))
                note(stage, record)
            moments[number] = used
            if phase.scanned:
                continue
        else:
            external = [inflow(stage, EXTERNAL) for stage in members]
            product = not forward and rule.backward_update != "additive"
            start = [states[s] for s in members]

            def tick(index, current, known, members=members, external=external, start=start, product=product):
                """States after one more tick, and what the updates recorded."""
                now = dict(zip(members, current, strict=True))
                sent, out, records = list(signals), [], []
                for stage in members:
                    sent[stage] = mix_states(matrices[stage], now[stage])
                for stage, outside, fixed, first in zip(members, external, known, start, strict=True):
                    z = inflow(stage, INTERNAL, sent)
                    z = outside if z is None else z if outside is None else z + outside
                    # A product is taken of what the forward pass left: of its own result, slopes would compound.
                    update, rows = prepare(stage, first if product else now[stage], False, fixed, index)
                    a, record = update(params[stage], rows, full(z, now[stage]))
                    if damping is not None:  # the first tick is taken whole
                        kept = jnp.where(index == 0, 0, damping[stage]).astype(a.dtype)
                        a = kept * now[stage] + (1 - kept) * a
                    out.append(a)
                    records.append(record)
                return out, records

            final, records, used, settled = _ticks(tick, start, phase, known, wiring.topology.tolerance, wiring.tick_limit, watch)
            settling += settled
            for stage, a, record in zip(members, final, records, strict=True):
                states[stage] = a
                note(stage, record)
            moments[number] = used
        for stage in members:
            signals[stage] = kernel.mixed(matrices[stage], states[stage])
    return Pass(states, moments, outer, found, changes, settling)


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
    if len(stages) > 1:  # one stage has them in the topology's order
        order = np.concatenate([wiring.plan.stages[s].neurons for s in stages])
        outputs = outputs[places(order, wiring.topology.outputs)]
    outputs = outputs.T
    return outputs if wiring.state_dtype is None else outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
