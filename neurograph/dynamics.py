"""`Network`: one topology, one rule, one kernel; and the learning step (Eqs. 5-8).

The genome's mathematics is written here once, in terms of the kernel's two primitives. Inside, a network's state is one array
[states, neurons, batch] per stage of the plan; outside, arrays are batch first and in the topology's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.activations import derivative, resolve_activation, value_activation
from neurograph.errors import PlanError, ShapeError
from neurograph.genome import Genome
from neurograph.kernels import ALL, BACKWARD, EXTERNAL, FORWARD, INTERNAL, BlockKernel, Kernel
from neurograph.plan import compile_plan
from neurograph.rule import Rule
from neurograph.topology.graph import Topology
from neurograph.types import Synapses, Trace, Weights

__all__ = ["KERNELS", "Network"]

KERNELS = ("auto", "blocks", "gather", "reference")

EPSILON = 1e-5  # under the root of a batch variance
NORM_EPSILON = 1e-9  # under the root of a synapse norm (the authors')

States = list[Any]  # one [states, neurons, batch] per stage
Moments = Any


def _make_kernel(topology: Topology, name: str) -> Kernel:
    if name in ("auto", "blocks"):
        return BlockKernel.build(compile_plan(topology))
    if name == "gather":
        return BlockKernel.build(compile_plan(topology, blocks=False))
    if name == "reference":
        from neurograph.reference import ReferenceKernel

        return ReferenceKernel.build(compile_plan(topology, blocks=False))
    raise PlanError(f"kernel: got {name!r}; allowed: {', '.join(KERNELS)}")


@jax.tree_util.register_pytree_node_class
class Network:
    """A topology that runs under a rule. Immutable; a pytree whose leaves are the kernel's index tables.

    Args:
      topology: the graph.
      rule: the options of the learning step.
      kernel: "auto" (dense blocks where they pay, gathers elsewhere), "gather" (gathers only), or "reference" (jraph's
        segment sums: slow, differentiable in forward mode too, and what every other kernel must equal).

    Raises:
      PlanError: an unknown kernel, or options of the rule that this topology makes meaningless (both are named).
    """

    def __init__(self, topology: Topology, rule: Rule, kernel: str = "auto"):
        self.topology, self.rule = topology, rule
        self._check()
        self.kernel_name = kernel
        self.kernel = _make_kernel(topology, kernel)
        self.plan = self.kernel.plan

    def _check(self) -> None:
        topology, rule = self.topology, self.rule
        faults = []
        if rule.feedback == "softmax_cross_entropy" and len(topology.outputs) < 2:
            faults.append("feedback: softmax_cross_entropy needs at least two outputs; the topology has one (use mse or labels)")
        if rule.synapse_normalization == "stored" and (topology.group >= 0).any():
            faults.append(
                "synapse_normalization: stored gives every receiving neuron its own length, which the topology's shared synapses"
                f" (group {int(topology.group.max())} is the last of them) cannot have; use in_pass"
            )
        if faults:
            raise PlanError("\n".join(faults))

    def tree_flatten(self):
        return (self.kernel,), (self.topology.digest, self.rule, self.kernel_name, _Same(self.topology))

    @classmethod
    def tree_unflatten(cls, aux, children):
        network = object.__new__(cls)
        _, network.rule, network.kernel_name, same = aux
        network.topology, network.kernel = same.value, children[0]
        network.plan = getattr(children[0], "plan", None)
        return network

    def __repr__(self) -> str:
        t = self.topology
        return f"Network({t.num_neurons} neurons, {t.num_synapses} synapses, states={self.rule.states}, kernel={self.kernel_name!r})"

    # -- synapses ----------------------------------------------------------------------------------------------------------

    def init(self, genome: Genome, *, key: jax.Array) -> Synapses:
        """Draw fresh synapses; values that the topology gives stay as given. The same key gives the same on every kernel."""
        topology, rule = self.topology, self.rule
        dtype = genome.forward_transform.dtype
        n, edges, k = topology.num_neurons, topology.num_synapses, rule.synapse_channels
        keys = jax.random.split(key, 3)

        def draw(key: jax.Array, count: int, receivers: np.ndarray, fan_in: np.ndarray) -> jax.Array:
            if rule.initial_distribution == "normal":
                values = jax.random.normal(key, (count, k), dtype)
            else:
                values = jax.random.uniform(key, (count, k), dtype, minval=-(3**0.5), maxval=3**0.5)
            if rule.initial_deviation == "genome":
                return values * genome.initial_deviation.astype(dtype)
            return values * jnp.asarray(1.0 / np.sqrt(np.maximum(fan_in[receivers], 1)), dtype)[:, None]

        def given(values: jax.Array) -> jax.Array:
            known = np.isfinite(topology.weight)
            if not known.any():
                return values
            return jnp.where(known[:, None], jnp.asarray(np.where(known, topology.weight, 0), dtype)[:, None], values)

        arriving = np.bincount(topology.receivers, minlength=n) + topology.bias
        leaving = np.bincount(topology.senders, minlength=n)
        forward = given(draw(keys[0], edges, topology.receivers, arriving))
        backward = None if rule.symmetric else given(draw(keys[1], edges, topology.senders, leaving))
        bias = draw(keys[2], n, np.arange(n), arriving)
        packed = Synapses(self.kernel.pack(forward, bias), None if backward is None else self.kernel.pack(backward, None))
        return packed

    def pack(self, forward: Any, backward: Any = None, bias: Any = None, neurons: Any = None) -> Synapses:
        """Arrays in topology order to packed synapses.

        Args:
          forward: [E, k] (single-state synapses: channel 0 is taken; [E, 1] is accepted).
          backward: [E, k], or None where the rule is symmetric.
          bias: [n, k], or None for zeros; rows of neurons without a bias are ignored.
          neurons: [B, n, k] states to carry over, where the rule says `reset_states: false`.
            Fixed synapses keep the topology's value, whatever is given; a group takes its first member's.

        Raises:
          ShapeError: a wrong shape, or a backward array that the rule does not have (or lacks).
        """
        n, edges, k = self.topology.num_neurons, self.topology.num_synapses, self.rule.states
        forward = self._as_edges("forward", forward, (edges, k))
        if self.rule.symmetric and backward is not None:
            raise ShapeError("backward: the rule is symmetric, so backward synapses are the forward ones; expected None")
        if not self.rule.symmetric and backward is None:
            raise ShapeError(f"backward: the rule has symmetric: false; expected an array of shape [{edges}, {k}]")
        bias = jnp.zeros((n, k), forward.dtype) if bias is None else bias
        bias = self._as_edges("bias", bias, (n, k)).astype(forward.dtype)
        twin = None if backward is None else self.kernel.pack(self._as_edges("backward", backward, (edges, k)), None)
        if neurons is not None:
            neurons = jnp.asarray(neurons, forward.dtype)
            if neurons.ndim != 3 or neurons.shape[1:] != (n, k):
                raise ShapeError(f"neurons: got shape {list(neurons.shape)}; expected [batch, {n}, {k}]")
            neurons = self._inside(neurons)
        return Synapses(self.kernel.pack(forward, bias), twin, neurons)

    def _as_edges(self, name: str, value: Any, shape: tuple[int, int]) -> jax.Array:
        value = jnp.asarray(value)
        if not jnp.issubdtype(value.dtype, jnp.floating):
            value = value.astype(jnp.result_type(float))
        allowed = (shape, (shape[0], 1)) if self.rule.single_state_synapses else (shape,)
        if value.shape not in allowed:
            raise ShapeError(f"{name}: got shape {list(value.shape)}; expected {list(shape)}")
        return value[:, :1] if self.rule.single_state_synapses else value

    def unpack(self, synapses: Synapses) -> dict[str, jax.Array | None]:
        """Packed synapses to arrays in topology order: forward [E, k], backward [E, k] and bias [n, k] (0 where none).

        Symmetric rules give the forward array as `backward`; single-state synapses are repeated over the states.
        """
        k = self.rule.states
        forward, bias = self.kernel.unpack(synapses.forward)
        backward = forward if synapses.backward is None else self.kernel.unpack(synapses.backward)[0]
        arrays = {"forward": forward, "backward": backward, "bias": bias}
        if self.rule.single_state_synapses:
            arrays = {name: jnp.repeat(value, k, axis=1) for name, value in arrays.items()}
        return arrays

    # -- layout ------------------------------------------------------------------------------------------------------------

    def _inside(self, states: jax.Array) -> tuple[jax.Array, ...]:
        """[B, n, k] in topology order to one [k, neurons, B] per stage."""
        return tuple(states[:, stage.neurons].transpose(2, 1, 0) for stage in self.plan.stages)

    def _outside(self, states: Sequence[jax.Array]) -> jax.Array:
        """The inverse of `_inside`."""
        batch = max(s.shape[2] for s in states)
        full = [jnp.broadcast_to(s, (*s.shape[:2], batch)) for s in states]
        return jnp.concatenate(full, axis=1).transpose(2, 1, 0)[:, self.plan.rank]

    def _check_batch(self, x: Any, y: Any = None, lead: int = 0) -> tuple[jax.Array, jax.Array | None]:
        widths = {"x": (x, len(self.topology.inputs), "inputs"), "y": (y, len(self.topology.outputs), "outputs")}
        arrays: dict[str, Any] = {"x": None, "y": None}
        lead_text = "steps, " if lead else ""
        for name, (value, width, what) in widths.items():
            if value is None:
                continue
            value = jnp.asarray(value)
            if value.ndim != 2 + lead or value.shape[-1] != width:
                raise ShapeError(f"{name}: got shape {list(value.shape)}; expected [{lead_text}batch, {width}] ({width} {what})")
            arrays[name] = value
        if y is not None and arrays["x"].shape[:-1] != arrays["y"].shape[:-1]:
            raise ShapeError(f"x and y: got {list(arrays['x'].shape[:-1])} and {list(arrays['y'].shape[:-1])} rows; expected equal")
        return arrays["x"], arrays["y"]

    # -- the door ----------------------------------------------------------------------------------------------------------

    def step(self, genome: Genome, synapses: Synapses, x: Any, y: Any, *, index: Any = 0, key: jax.Array | None = None):
        """One learning step on a batch.

        Args:
          genome: the learned numbers.
          synapses: packed.
          x: [B, n_in]; y: [B, n_out], +1 / -1 (or targets, for feedback: mse).
          index: number of the step, for `supervise_every`.
          key: for `noise`.

        Returns:
          `(synapses, outputs)`: updated synapses and the prediction before the update, state 0 of the outputs, [B, n_out].

        Raises:
          ShapeError: x or y do not fit the topology.
        """
        x, y = self._check_batch(x, y)
        self._check_genome(genome)
        return _jit_step(self, genome, synapses, x, y, index, key)

    def trace(self, genome: Genome, synapses: Synapses, x: Any, y: Any, *, index: Any = 0, key: jax.Array | None = None) -> Trace:
        """The same step, with the states of all neurons after each phase: see `Trace`."""
        x, y = self._check_batch(x, y)
        self._check_genome(genome)
        return _jit_trace(self, genome, synapses, x, y, index, key)

    def unroll(
        self, genome: Genome, synapses: Synapses, xs: Any, ys: Any, *, key: jax.Array | None = None, checkpoint: bool = True
    ):
        """Steps on xs [U, B, n_in], ys [U, B, n_out] in turn (`lax.scan`).

        Args:
          checkpoint: recompute each step when differentiating instead of keeping its states: memory grows with one step.

        Returns:
          `(synapses, outputs)`: after the last step, and every step's prediction [U, B, n_out].
        """
        xs, ys = self._check_batch(xs, ys, lead=1)
        self._check_genome(genome)
        return _jit_unroll(self, genome, synapses, xs, ys, key, checkpoint)

    def predict(self, genome: Genome, synapses: Synapses, x: Any, *, statistics: Moments = None) -> jax.Array:
        """Forward pass only: state 0 of the outputs, [B, n_out].

        Args:
          statistics: frozen moments from `statistics`, so that a single sample can be normalised; default: this batch's.
        """
        x, _ = self._check_batch(x)
        self._check_genome(genome)
        return _jit_predict(self, genome, synapses, x, statistics)

    def statistics(self, genome: Genome, synapses: Synapses, x: Any) -> Moments:
        """Mean and variance of every pre-activation over a batch, to freeze for `predict` (normalization: batch)."""
        x, _ = self._check_batch(x)
        self._check_genome(genome)
        return _jit_statistics(self, genome, synapses, x)

    def _check_genome(self, genome: Genome) -> None:
        if genome.states != self.rule.states:
            raise ShapeError(f"genome: has {genome.states} states; the rule says states: {self.rule.states}")


@dataclass(frozen=True, eq=False)
class _Same:
    """Carries the topology through a treedef; its digest beside it decides equality."""

    value: Topology

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same)

    def __hash__(self) -> int:
        return 0


# -- the step --------------------------------------------------------------------------------------------------------------


@dataclass
class _Pass:
    """States after one sweep. `moments`: per phase, a list per stage of (mean, variance) or None; `outer`: state 0 of the
    outputs' pre-activations, per stage, for feedbacks that need h'."""

    states: States
    moments: list[Any]
    outer: dict[int, jax.Array]


def _mix(matrix: jax.Array, state: jax.Array) -> jax.Array:
    """out^c = sum_d matrix[c, d] state^d on [states, neurons, batch]."""
    return jnp.einsum("cd,dnb->cnb", matrix.astype(state.dtype), state)


def _normalise(u: jax.Array, scale: jax.Array, shift: jax.Array, moments: Any) -> tuple[jax.Array, Any]:
    if moments is None:
        mean = jnp.mean(u, axis=2, keepdims=True)
        moments = (mean, jnp.mean((u - mean) ** 2, axis=2, keepdims=True))
    mean, variance = moments
    unit = (u - mean) * jax.lax.rsqrt(variance + EPSILON)
    return unit * scale.astype(u.dtype)[:, None, None] + shift.astype(u.dtype)[:, None, None], moments


def _noise(rule: Rule, key: jax.Array | None, u: jax.Array, *path: Any) -> jax.Array:
    if not rule.noise:
        return u
    if key is None:
        raise ShapeError("key: the rule has noise, so every step needs a PRNG key; expected key=...")
    for part in path:
        key = jax.random.fold_in(key, part)
    return u + rule.noise * jax.random.normal(key, u.shape, u.dtype)


def _column_norms(network: Network, genome: Genome, weights: Weights, direction: str) -> list[Any]:
    """Per stage [channels, neurons, 1]: what arriving synapses are divided by in a pass; None where nothing arrives."""
    kernel, norms = network.kernel, []
    for stage, info in enumerate(network.plan.stages):
        total = _square_sum(kernel, weights, stage, info, direction)
        if total is None:
            norms.append(None)
            continue
        norm = jnp.sqrt(total + NORM_EPSILON)
        norms.append(norm / genome.rescale.astype(norm.dtype) if network.rule.rescale else norm)
    return norms


def _square_sum(kernel: Kernel, weights: Weights, stage: int, info: Any, direction: str) -> jax.Array | None:
    """sum of squares of the synapses arriving at each neuron of a stage, [channels, neurons, 1]; the bias counts forward."""
    some = jax.tree.leaves(weights)[0]
    ones = [jnp.ones((some.shape[0], s.size, 1), some.dtype) for s in kernel.plan.stages]
    total = kernel.aggregate(direction, stage, weights, ones, square=True)
    if direction == FORWARD and info.kind != "input":
        bias = kernel.bias_values(weights, stage)
        if bias is not None:
            total = (bias * bias)[:, :, None] + (0 if total is None else total)
    return total


def _sweep(
    network: Network,
    genome: Genome,
    weights: Weights,
    states: States,
    direction: str,
    *,
    key: jax.Array | None = None,
    frozen: Any = None,
) -> _Pass:
    """One pass over all phases: Eq. 5 forward, Eq. 6 backward. `states` is not changed; clamped stages keep theirs."""
    rule, plan, kernel = network.rule, network.plan, network.kernel
    forward = direction == FORWARD
    matrix = genome.forward_transform if forward else genome.backward_transform
    scale, shift = (genome.forward_scale, genome.forward_shift) if forward else (genome.backward_scale, genome.backward_shift)
    hidden = resolve_activation(rule.forward_activation if forward else rule.backward_activation)
    outer_activation = resolve_activation(rule.output_activation)
    moving = ("hidden", "output") if forward else ("hidden",)
    norms = _column_norms(network, genome, weights, direction) if rule.synapse_normalization == "in_pass" else None
    states = list(states)
    signals: States = [None if s is None else _mix(matrix, s) for s in states]
    constant = matrix.sum(axis=1)  # what the constant neuron's states (all 1) become
    fresh = forward and rule.reset_states  # states are zero: f a vanishes on the first tick
    moments: list[Any] = [None] * len(plan.phases)
    outer: dict[int, jax.Array] = {}

    def inflow(stage: int, part: str) -> jax.Array | None:
        z = kernel.aggregate(direction, stage, weights, signals, part)
        if forward and part != INTERNAL:
            bias = kernel.bias_values(weights, stage)
            if bias is not None:
                drive = (bias * constant.astype(bias.dtype)[:, None])[:, :, None]
                z = drive if z is None else z + drive
        if z is not None and norms is not None and norms[stage] is not None:
            z = z / norms[stage]
        return z

    def update(stage: int, a: jax.Array, z: jax.Array | None, zero: bool, known: Any, *path: Any):
        """New state of one stage, the moments used, and state 0 of the pre-activation of outputs."""
        info = plan.stages[stage]
        z = jnp.zeros_like(a) if z is None else jnp.broadcast_to(z, a.shape)
        keep, gate = genome.neuron_keep.astype(a.dtype), genome.neuron_update.astype(a.dtype)
        if not forward and rule.backward_update != "additive":
            if rule.backward_update == "multiplicative":
                u = keep * a * z
            else:
                u = jnp.concatenate([keep * a[:1], keep * a[1:] * z[1:]], axis=0)
            return hidden(_noise(rule, key, u, stage, 1, *path)), None, None
        u = _noise(rule, key, gate * z if zero else keep * a + gate * z, stage, 0 if forward else 1, *path)
        used = None
        if rule.normalization == "batch" and (info.kind == "hidden" or rule.normalize_outputs):
            u, used = _normalise(u, scale, shift, known)
        return (outer_activation if info.kind == "output" else hidden)(u), used, u[:1] if info.kind == "output" else None

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
                states[stage], m, pre = update(stage, states[stage], inflow(stage, ALL), fresh, fixed)
                used.append(m)
                if pre is not None:
                    outer[stage] = pre
            moments[number] = used
        else:
            external = [inflow(stage, EXTERNAL) for stage in members]

            def tick(carry, xs, members=members, external=external):
                tick_index, known = xs
                current = dict(zip(members, carry, strict=True))
                for stage in members:
                    signals[stage] = _mix(matrix, current[stage])
                out, used, pres = [], [], []
                for stage, outside, fixed in zip(members, external, known, strict=True):
                    z = inflow(stage, INTERNAL)
                    z = outside if z is None else z if outside is None else z + outside
                    a, m, pre = update(stage, current[stage], z, False, fixed, tick_index)
                    out.append(a)
                    used.append(m)
                    pres.append(pre)
                return out, (used, pres)

            start = [states[s] for s in members]
            final, (used, pres) = jax.lax.scan(tick, start, (jnp.arange(phase.ticks), known))
            for stage, a, pre in zip(members, final, pres, strict=True):
                states[stage] = a
                if pre is not None:
                    outer[stage] = pre[-1]
            moments[number] = used
        for stage in members:
            signals[stage] = _mix(matrix, states[stage])
    return _Pass(states, moments, outer)


def _clamped(network: Network, synapses: Synapses, x: jax.Array) -> States:
    """States before the forward pass: zero or carried over, with the inputs clamped."""
    plan, k = network.plan, network.rule.states
    dtype = jax.tree.leaves(synapses.forward)[0].dtype if jax.tree.leaves(synapses.forward) else x.dtype
    x = x.astype(dtype).T
    states: States = []
    for stage, info in enumerate(plan.stages):
        if info.kind == "input":
            states.append(jnp.concatenate([x[None], jnp.zeros((k - 1, *x.shape), dtype)], axis=0))
        elif network.rule.reset_states or synapses.neurons is None:
            states.append(jnp.zeros((k, info.size, x.shape[1]), dtype))
        else:
            states.append(synapses.neurons[stage])
    return states


def _feedback(network: Network, states: States, outer: dict[int, jax.Array], y: jax.Array) -> States:
    """Each output keeps state 0, state 1 becomes the label (or dL/dh h'), the others 0."""
    rule, plan = network.rule, network.plan
    stages = [s for s, info in enumerate(plan.stages) if info.kind == "output"]
    order = np.concatenate([plan.stages[s].neurons for s in stages])
    columns = _places(network.topology.outputs, order)
    y = y.astype(states[stages[0]].dtype).T[columns]
    if rule.feedback != "labels":
        h = jnp.concatenate([states[s][0] for s in stages], axis=0)
        slope = derivative(
            value_activation(resolve_activation(rule.output_activation)), jnp.concatenate([outer[s][0] for s in stages], axis=0)
        )
        y = (h - y if rule.feedback == "mse" else jax.nn.softmax(h, axis=0) - (y + 1) / 2) * slope
    states, start = list(states), 0
    for s in stages:
        a = states[s]
        state1 = y[None, start : start + a.shape[1]]
        states[s] = jnp.concatenate([a[:1], state1, jnp.zeros_like(a[2:])], axis=0)
        start += a.shape[1]
    return states


def _places(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each of `wanted` stands in `values`."""
    by = np.argsort(values)
    return by[np.searchsorted(values[by], wanted)].astype(np.int32)


def _outputs(network: Network, states: States) -> jax.Array:
    """State 0 of the outputs, [B, n_out], in the topology's order of outputs."""
    stages = [s for s, info in enumerate(network.plan.stages) if info.kind == "output"]
    order = np.concatenate([network.plan.stages[s].neurons for s in stages])
    place = _places(order, network.topology.outputs)
    return jnp.concatenate([states[s][0] for s in stages], axis=0)[place].T


def _learn(network: Network, genome: Genome, weights: Weights, before: States, after: States, twin: str, second: bool) -> Weights:
    """Eq. 7 and 8 for one direction: `before` and `after` are the states of each synapse's forward sender and receiver."""
    rule, plan, kernel = network.rule, network.plan, network.kernel
    forward = twin == FORWARD
    pre, post, keep, eta = (
        (genome.forward_pre_transform, genome.forward_post_transform, genome.forward_synapse_keep, genome.forward_synapse_update)
        if second
        else (genome.pre_transform, genome.post_transform, genome.synapse_keep, genome.synapse_update)
    )
    channels = slice(0, rule.synapse_channels)
    pre, post = pre.T[channels], post[channels]
    # The forward synapse's pre-synaptic neuron is its sender, the backward twin's is its receiver.
    sender_matrix, receiver_matrix = (pre, post) if forward else (post, pre)
    at_senders = [_mix(sender_matrix, a) for a in before]
    at_receivers = [_mix(receiver_matrix, a) for a in after]
    batch = before[0].shape[2]
    share = 1.0 / batch if rule.batch_reduction == "mean" else 1.0
    delta = kernel.correlate(at_senders, at_receivers)
    if forward:
        at_constant = pre.sum(axis=1)  # all states of the constant neuron are 1
        values = [
            None if info.kind == "input" or not info.bias.any() else at_constant.astype(a.dtype)[:, None] * a.sum(axis=2)
            for info, a in zip(plan.stages, at_receivers, strict=True)
        ]
        own, shared = kernel.bias_store(values, reduce=True)
        delta = Weights(delta.blocks, delta.sparse, delta.shared, own, shared)
    if share != 1.0:
        delta = jax.tree.map(lambda d: d * share, delta)
    if rule.oja != "none":
        posts = at_receivers if forward else at_senders
        decay = _oja_decay(network, genome, weights, posts, twin, share, eta)
        delta = jax.tree.map(lambda d, w, o: d - w * o, delta, weights, decay)
    return jax.tree.map(partial(_apply_update, rule, genome, keep, eta), weights, delta)


def _oja_decay(network, genome, weights, posts, twin, share, eta) -> Weights:
    """What each stored number is multiplied with in Oja's term: m |.| sum_r w_rq^2 (or post-synaptic activity squared)."""
    rule, plan, kernel = network.rule, network.plan, network.kernel
    some = jax.tree.leaves(weights)[0]
    factor = rule.oja_scale * jnp.abs(genome.oja_multiplier).astype(some.dtype) * jnp.sign(eta).astype(some.dtype)
    strength, ones = [], []
    for stage, info in enumerate(plan.stages):
        ones.append(jnp.ones((some.shape[0], info.size, 1), some.dtype))
        if rule.oja == "activity":
            total = jnp.sum(posts[stage] ** 2, axis=2, keepdims=True) * share
        else:
            total = _square_sum(kernel, weights, stage, info, twin)
        strength.append(jnp.zeros_like(ones[-1]) if total is None else factor * total)
    if twin == BACKWARD:
        return kernel.correlate(strength, ones)
    decay = kernel.correlate(ones, strength)
    values = [s[:, :, 0] if info.bias.any() else None for info, s in zip(plan.stages, strength, strict=True)]
    own, shared = kernel.bias_store(values, reduce=True)
    return Weights(decay.blocks, decay.sparse, decay.shared, own, shared)


def _apply_update(rule: Rule, genome: Genome, keep: jax.Array, eta: jax.Array, w: jax.Array, h: jax.Array) -> jax.Array:
    """f~ w + eta~ h, saturated."""
    keep, eta, alpha = (value.astype(w.dtype) for value in (keep, eta, genome.saturation))
    if rule.saturation == "exponential":
        return w + ((keep - 1) * w + eta * h) * jnp.exp(-jnp.abs(w) * (rule.saturation_eps + jnp.abs(alpha)))
    w = keep * w + eta * h
    return alpha * jnp.tanh(w / alpha) if rule.saturation == "tanh" else w


def _update(network: Network, genome: Genome, synapses: Synapses, before: States, after: States, *, second: bool) -> Synapses:
    forward = _learn(network, genome, synapses.forward, before, after, FORWARD, second)
    backward = None
    if synapses.backward is not None:
        backward = _learn(network, genome, synapses.backward, before, after, BACKWARD, second)
    return Synapses(forward, backward, synapses.neurons)


def _store_norms(network: Network, genome: Genome, synapses: Synapses) -> Synapses:
    """synapse_normalization: stored: divide every stored number by the norm at its receiving neuron."""

    def scaled(weights: Weights, twin: str) -> Weights:
        kernel, plan = network.kernel, network.plan
        norms = _column_norms(network, genome, weights, twin)
        some = jax.tree.leaves(weights)[0]
        ones = [jnp.ones((some.shape[0], s.size, 1), some.dtype) for s in plan.stages]
        inverse = [o if norm is None else 1 / norm for o, norm in zip(ones, norms, strict=True)]
        factor = kernel.correlate(*((ones, inverse) if twin == FORWARD else (inverse, ones)))
        if twin == FORWARD:
            values = [v[:, :, 0] if info.bias.any() else None for info, v in zip(plan.stages, inverse, strict=True)]
            factor = Weights(factor.blocks, factor.sparse, factor.shared, *kernel.bias_store(values, reduce=True))
        return jax.tree.map(jnp.multiply, weights, factor)

    backward = None if synapses.backward is None else scaled(synapses.backward, BACKWARD)
    return Synapses(scaled(synapses.forward, FORWARD), backward, synapses.neurons)


def _step(network: Network, genome: Genome, synapses: Synapses, x, y, index, key, record: bool):
    rule = network.rule
    states = _clamped(network, synapses, x)
    if rule.synapse_normalization == "stored":
        synapses = _store_norms(network, genome, synapses)
    passed = _sweep(network, genome, synapses.forward, states, FORWARD, key=key)
    outputs = _outputs(network, passed.states)
    if rule.forward_synapse_update:
        synapses = _update(network, genome, synapses, passed.states, passed.states, second=True)

    def supervised(synapses: Synapses):
        fed = _feedback(network, passed.states, passed.outer, y)
        twin = synapses.forward if synapses.backward is None else synapses.backward
        back = _sweep(network, genome, twin, fed, BACKWARD, key=key).states
        before = passed.states if rule.hebbian_pre == "forward" else back
        learned = _update(network, genome, synapses, before, back, second=False)
        return (learned, tuple(fed), tuple(back)) if record else (learned, tuple(back))

    def unsupervised(synapses: Synapses):
        return (synapses, *((tuple(passed.states),) * (2 if record else 1)))

    if rule.supervise_every == 1:
        result = supervised(synapses)
    else:
        result = jax.lax.cond(jnp.asarray(index) % rule.supervise_every == 0, supervised, unsupervised, synapses)
    learned, last = result[0], result[-1]
    if not rule.reset_states:
        learned = Synapses(learned.forward, learned.backward, tuple(last))
    if record:
        fed = result[1]
        outside = [network._outside(s) for s in (passed.states, fed, last)]
        return Trace(*outside, learned, outputs)
    return learned, outputs


@jax.jit
def _jit_step(network, genome, synapses, x, y, index, key):
    return _step(network, genome, synapses, x, y, index, key, False)


@jax.jit
def _jit_trace(network, genome, synapses, x, y, index, key):
    return _step(network, genome, synapses, x, y, index, key, True)


@partial(jax.jit, static_argnums=(6,))
def _jit_unroll(network, genome, synapses, xs, ys, key, checkpoint):
    if not network.rule.reset_states and synapses.neurons is None:
        synapses = Synapses(synapses.forward, synapses.backward, tuple(_clamped(network, synapses, xs[0])))

    def body(synapses, inputs):
        index, x, y = inputs
        step_key = None if key is None else jax.random.fold_in(key, index)
        return _step(network, genome, synapses, x, y, index, step_key, False)

    body = jax.checkpoint(body) if checkpoint else body
    return jax.lax.scan(body, synapses, (jnp.arange(xs.shape[0]), xs, ys))


@jax.jit
def _jit_predict(network, genome, synapses, x, statistics):
    if network.rule.synapse_normalization == "stored":
        synapses = _store_norms(network, genome, synapses)
    states = _clamped(network, synapses, x)
    return _outputs(network, _sweep(network, genome, synapses.forward, states, FORWARD, frozen=statistics).states)


@jax.jit
def _jit_statistics(network, genome, synapses, x):
    if network.rule.synapse_normalization == "stored":
        synapses = _store_norms(network, genome, synapses)
    return _sweep(network, genome, synapses.forward, _clamped(network, synapses, x), FORWARD).moments
