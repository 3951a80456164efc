"""Is a step gradient descent? Steps of a network beside the derivative of the same graph as one plain function.

The function is written from the forward formulas alone, for all neurons at once: what a network infers is a fixed point of one
tick, which an acyclic graph reaches after as many ticks as its longest path. `jax.grad` differentiates through these; at the
fixed point of a cycle the derivative is that of the implicit function (Almeida 1987, Pineda 1987).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.genome import Genome, Rule, backprop_genome
from neurograph.genome.activations import resolve_activation
from neurograph.network import Network
from neurograph.testing.graphs import random_synapses
from neurograph.topology import Topology
from neurograph.topology.structure import distances

TICKS = 2000  # within which a cycle settles, or does not
SETTLED = 1e-13
RATE = 0.05


@dataclass
class Descent:
    """A topology under a rule, as a function of its numbers: {"forward": [E, channels], "bias": [n, channels]}."""

    topology: Topology
    rule: Rule
    genome: Any
    loss: str

    def __post_init__(self) -> None:
        self.heads = {"forward": _heads(self.topology.group, ~self.topology.fixed)}
        self.heads["bias"] = _heads(self.topology.bias_group, self.topology.bias)
        self.free_rows = {name: np.flatnonzero(heads == np.arange(len(heads))) for name, heads in self.heads.items()}

    def free(self, w: dict[str, Any]) -> dict[str, Any]:
        """The numbers that learn: one per synapse or bias, one per group (that of its first member)."""
        return {name: w[name][rows] for name, rows in self.free_rows.items()}

    def whole(self, free: dict[str, Any]) -> dict[str, Any]:
        """Every synapse's and bias's number, from those that learn."""
        t, found = self.topology, {}
        for name, rest in (("forward", np.nan_to_num(t.weight) * t.fixed), ("bias", np.zeros(t.num_neurons))):
            heads, rows, values = self.heads[name], self.free_rows[name], free[name]
            learns = np.flatnonzero(heads >= 0)
            whole = jnp.broadcast_to(jnp.asarray(rest, values.dtype)[:, None], (len(heads), values.shape[1]))
            found[name] = whole.at[learns].set(values[np.searchsorted(rows, heads[learns])]) if len(rows) else whole
        return found

    def tick(self, a: jax.Array, w: dict[str, Any]) -> jax.Array:
        """All neurons once, from states [k, B, n]."""
        t, rule, g = self.topology, self.rule, self.genome
        k = rule.states
        forward, bias = (jnp.broadcast_to(w[name], (len(w[name]), k)).T for name in ("forward", "bias"))
        if rule.synapse_normalization != "none":
            square = jnp.zeros((k, t.num_neurons)).at[:, t.receivers].add(forward**2) + bias**2 + 1e-9
            length = jnp.sqrt(square) / (g.rescale if rule.rescale else 1.0)
            if rule.synapse_normalization == "stored":
                forward = jnp.where(t.fixed, forward, forward / length[:, t.receivers])
            else:
                forward = forward / length[:, t.receivers]
            bias = bias / length
        sent = jnp.einsum("cd,dbe->cbe", g.forward_transform, a[:, :, t.senders])
        z = jnp.zeros_like(a).at[:, :, t.receivers].add(forward[:, None] * sent)
        shift = (bias * g.forward_transform.sum(axis=1)[:, None])[:, None]
        late = jnp.full(t.num_neurons, rule.bias_after_normalization)
        late = late if rule.normalize_outputs else late.at[t.outputs].set(False)
        z = z + jnp.where(late, 0, shift)
        keep, update = g.neuron_keep, g.neuron_update
        if rule.self_gating and not t.is_acyclic:  # level by level the states before the update are zero
            keep = keep * 2 * jax.nn.sigmoid(jnp.einsum("cd,dbn->cbn", g.keep_gating, a))
            update = update * 2 * jax.nn.sigmoid(jnp.einsum("cd,dbn->cbn", g.update_gating, a))
        u = update * z if t.is_acyclic else keep * a + update * z
        if rule.normalization == "batch":
            mean, variance = u.mean(axis=1, keepdims=True), u.var(axis=1, keepdims=True)
            unit = (u - mean) / jnp.sqrt(variance + 1e-5)
            unit = unit * g.forward_scale[:, None, None] + g.forward_shift[:, None, None] + jnp.where(late, shift, 0)
            u = unit if rule.normalize_outputs else unit.at[:, :, t.outputs].set(u[:, :, t.outputs])
        new = resolve_activation(rule.forward_activation)(u)
        new = new.at[:, :, t.outputs].set(resolve_activation(rule.output_activation)(u[:, :, t.outputs]))
        return new.at[:, :, t.inputs].set(a[:, :, t.inputs])

    def start(self, x: Any) -> jax.Array:
        t = self.topology
        return jnp.zeros((self.rule.states, len(x), t.num_neurons)).at[0, :, t.inputs].set(jnp.asarray(x).T)

    def judge(self, a: jax.Array, y: Any) -> jax.Array:
        h = a[0][:, self.topology.outputs]
        if self.loss == "mse":
            return 0.5 * jnp.sum((h - y) ** 2)
        return -jnp.sum((y + 1) / 2 * jax.nn.log_softmax(h, axis=1))

    def acyclic_loss(self, free: dict[str, Any], x: Any, y: Any) -> jax.Array:
        """The loss of an acyclic graph by the numbers that learn; its states settle in as many ticks as the longest path."""
        w = self.whole(free)
        ticks = self.topology.depth + 1
        return self.judge(jax.lax.scan(lambda a, _: (self.tick(a, w), None), self.start(x), None, ticks)[0], y)

    def settled(self, w: dict[str, Any], x: Any) -> tuple[jax.Array, float]:
        """States that a cycle settles to, and how far the last tick moved one."""

        def step(carry: Any) -> Any:
            number, a, _ = carry
            new = self.tick(a, w)
            return number + 1, new, jnp.abs(new - a).max()

        _, a, moved = jax.lax.while_loop(lambda c: (c[0] < TICKS) & (c[2] > SETTLED), step, (0, self.start(x), jnp.inf))
        return a, moved

    def gradient(self, w: dict[str, Any], x: Any, y: Any) -> tuple[dict[str, np.ndarray], float]:
        """The derivative by the numbers that learn, and how far the last tick moved a state."""
        moved, found = jax.jit(self._gradient)(self.free(w), x, y)
        return jax.device_get(found), float(moved)

    def _gradient(self, free: dict[str, Any], x: Any, y: Any) -> tuple[Any, dict[str, Any]]:
        if self.topology.is_acyclic:
            return 0.0, jax.grad(self.acyclic_loss)(free, x, y)
        # With a = F(a, w) and loss L: dL/dw = dF/dw^T v, where v = dL/da + dF/da^T v.
        a, moved = self.settled(self.whole(free), x)
        back = jax.vjp(lambda a: self.tick(a, self.whole(free)), a)[1]
        direct = jax.grad(lambda a: self.judge(a, y))(a)
        inner = jnp.ones_like(a).at[:, :, self.topology.inputs].set(0)

        def step(carry: Any) -> Any:
            number, v, _ = carry
            new = direct + back(v)[0] * inner
            return number + 1, new, jnp.abs(new - v).max() / (jnp.abs(new).max() + 1e-300)

        _, v, away = jax.lax.while_loop(lambda c: (c[0] < TICKS) & (c[2] > SETTLED), step, (0, direct, jnp.inf))
        return jnp.maximum(moved, away), jax.vjp(lambda free: self.tick(a, self.whole(free)), free)[1](v * inner)[0]


def _contracting(topology: Topology, synapses: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same synapses, on a cyclic graph so small that every tick contracts, forward and backward."""
    if topology.is_acyclic:
        return synapses
    sums = np.zeros((2, topology.num_neurons))
    for row, ends in zip(sums, (topology.receivers, topology.senders)):
        np.add.at(row, ends, np.abs(synapses["forward"]).max(axis=1))
    small = np.where(topology.fixed[:, None], synapses["forward"], synapses["forward"] * 0.7 / max(sums.max(), 0.7))
    return synapses | {"forward": small}


def _heads(group: np.ndarray, learns: np.ndarray) -> np.ndarray:
    """For every synapse or bias the first of its group, itself where it is in none, -1 where it does not learn."""
    heads = np.where(learns, np.arange(len(group)), -1)
    for g in np.unique(group[group >= 0]):
        members = np.flatnonzero((group == g) & learns)
        heads[members] = members[:1]
    return heads


def _verdict(
    descent: Descent, ours: dict[str, np.ndarray], slopes: dict[str, np.ndarray], tolerance: float, rate: float | None
) -> str:
    """What is wrong with an update, or "": the cosine, and the first neuron, seen from the outputs, where it is not descent's."""
    t = descent.topology
    names = [n for n in ("forward", "bias") if slopes[n].size]
    a, b = (np.concatenate([part[n].ravel() for n in names]) for part in (ours, slopes))
    if not np.isfinite(a).all():
        return "the update is not finite"
    size = float(np.linalg.norm(b))
    if size == 0:
        return "" if not a.any() else "the gradient is zero and the update is not"
    # Of every number: whether it is a bias, its synapse or neuron, its channel, and the neuron that it arrives at.
    bias, row, channel = (
        np.concatenate(parts)
        for parts in zip(*((np.full(slopes[n].size, n == "bias"), *_places(descent.free_rows[n], slopes[n])) for n in names))
    )
    receiver = np.where(bias, row, t.receivers[np.where(bias, 0, row)])
    far = distances(t.num_neurons, t.receivers, t.senders, t.outputs)  # synapses to the nearest output, -1: there is no way
    far = np.where(far < 0, t.num_neurons, far)
    wrong, along = [], []
    last = far[receiver] == 0  # the outputs' own synapses tell the rate
    last = last if b[last].any() else np.ones_like(last)
    best = float(-(a[last] @ b[last]) / (b[last] @ b[last])) if rate is None else rate
    if best > 0 and np.linalg.norm(a + best * b) <= tolerance * best * size:
        return ""
    cosine = float(-(a @ b) / max(np.linalg.norm(a) * size, 1e-300))
    for neuron in np.unique(receiver):
        mine = receiver == neuron
        length = np.linalg.norm(a[mine]) * np.linalg.norm(b[mine])
        if length > 0:
            along.append(-(a[mine] @ b[mine]) / length)
        if np.linalg.norm(a[mine] + best * b[mine]) > tolerance * max(abs(best), 1e-300) * size:
            wrong.append((far[neuron], neuron))
    text = f"the cosine of the update with minus the gradient of {descent.loss} is {cosine:.6f}"
    projecting = "; outputs that send synapses on are clamped in the backward pass" if np.isin(t.senders, t.outputs).any() else ""
    if along and min(along) > 1 - tolerance:
        return (
            f"{text}; at every neuron it follows the gradient, but by rates that differ between neurons: it is a normalised"
            f" descent{projecting}"
        )
    away, neuron = min(wrong, default=(0, int(receiver[0])))
    worst = np.flatnonzero(receiver == neuron)
    worst = worst[np.argmax(np.abs(a[worst] + best * b[worst]))]
    name = t.names[neuron]
    what = f"bias of {name!r}" if bias[worst] else f"synapse {t.names[t.senders[row[worst]]]!r} -> {name!r}"
    return (
        f"{text}; from the outputs back, the first neuron that is not updated by it is {name!r}, {away} synapses from"
        f" an output: its {what}, channel {channel[worst]}, moves by {a[worst]:.6g} where descent at rate {best:.4g} has"
        f" {-best * b[worst]:.6g}{projecting}"
    )


def _places(rows: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and channel of each of some flattened values [rows, channels]."""
    return np.repeat(rows, values.shape[1]), np.tile(np.arange(values.shape[1]), len(rows))


def _check(
    topology: Topology,
    rule: Rule,
    genome: Any,
    *,
    loss: str,
    rate: float | None,
    kernel: str,
    seed: int,
    batch: int,
    tolerance: float,
    label: str,
) -> None:
    rng = np.random.default_rng(seed)
    outputs = len(topology.outputs)
    x = rng.normal(size=(batch, len(topology.inputs)))
    y = 2 * np.eye(outputs)[rng.integers(outputs, size=batch)] - 1 if outputs > 1 else rng.choice([-1.0, 1.0], (batch, 1))
    synapses = _contracting(topology, random_synapses(topology, rule.states, seed, single=rule.single_state_synapses))
    descent = Descent(topology, rule, genome, loss)
    channels = slice(0, rule.synapse_channels)
    stored = {name: synapses[name][:, channels] for name in ("forward", "bias")}
    slopes, moved = descent.gradient(stored, x, y)
    if not moved <= 1e-9:
        raise AssertionError(
            f"{label}: after {TICKS} ticks a tick still moves a state, or its feedback, by {moved:.2g}: there is no fixed point"
            " whose gradient a step could be (synapses are drawn from the seed and are made small where they can be)"
        )
    settled = topology if topology.schedule == "levels" else topology.replace(ticks=TICKS, tolerance=SETTLED)
    network = Network(settled, rule, kernel=kernel)
    backward = None if rule.symmetric else synapses["backward"]
    start = network.pack(synapses["forward"], backward, synapses["bias"])
    if rule.synapse_normalization == "stored":  # a step normalises first: what it learns from there is its update
        start = network.step(genome.replace(synapse_update=0.0, synapse_keep=1.0), start, x, y)[0]
        stored = {name: np.asarray(value)[:, channels] for name, value in network.unpack(start).items() if name in stored}
        slopes, _ = descent.gradient(stored, x, y)
    after = jax.device_get(network.unpack(jax.jit(network.step)(genome, start, x, y)[0]))
    before, new = descent.free(stored), descent.free({name: after[name][:, channels] for name in stored})
    keep = float(genome.synapse_keep)
    ours = {name: np.asarray(new[name]) - keep * np.asarray(before[name]) for name in new}
    if fault := _verdict(descent, ours, slopes, tolerance, rate):
        raise AssertionError(f"{label}: {fault}")


def assert_gradient_descent(
    topology: Topology,
    rule: Rule | None = None,
    genome: Genome | None = None,
    *,
    loss: str | None = None,
    kernel: str = "auto",
    seed: int = 0,
    batch: int = 6,
    tolerance: float | None = None,
) -> None:
    """Asserts that a learning step is a step of gradient descent, in float64, on synapses and a batch drawn from the seed.

    Without a rule: that `backprop_genome` is, at its own rate, on this graph: plain, for both losses; through batch
    normalization, of the hidden neurons and of all; through weight normalization; on a graph with cycles, at the fixed point of
    contracting synapses. With a rule: that its step is descent at some positive rate. A decay (`synapse_keep`) is not
    counted. Ticks run until they have settled, whatever the graph's own number.

    Args:
      topology: a graph whose outputs send nothing on.
      rule: of the step.
      genome: of the rule; without it the backprop genome's matrices, where the rule has two states.
      loss: "mse" (1/2 sum of (h - y)^2) or "softmax_cross_entropy"; without it what the rule feeds back, "mse" for labels.
      kernel: runs the step.
      seed, batch: draw synapses and rows.
      tolerance: of the difference's norm over that of the gradient; 1e-10, 1e-8 on graphs with cycles.

    Raises:
      AssertionError: gives the cosine of the update with minus the gradient, and the first neuron, from the outputs back, where
        they differ, with the synapse by name. A rule that follows the gradient at every neuron, by rates that differ, is called a
        normalised descent.
      ValueError: a rule of other than two states without a genome.

    Source: equations 1 to 4; Almeida 1987 and Pineda 1987 for cycles.

    Examples:
      >>> import neurograph as ng
      >>> from neurograph.testing import assert_gradient_descent
      >>> genome, rule = ng.backprop_genome(0.1, activation="swish", loss="softmax_cross_entropy")
      >>> assert_gradient_descent(ng.mlp(3, 4, 2), rule, genome, kernel="reference")
      >>> assert_gradient_descent(ng.mlp(3, 4, 2), rule.replace(oja="weights"), genome, kernel="reference")
      Traceback (most recent call last):
        ...
      AssertionError: ...
    """
    exact = tolerance if tolerance is not None else 1e-10 if topology.is_acyclic else 1e-8
    common: dict[str, Any] = {"kernel": kernel, "seed": seed, "batch": batch, "tolerance": exact}
    with jax.enable_x64(True):
        if rule is not None:
            if genome is None and rule.states != 2:
                raise ValueError(f"rule: it has {rule.states} states; without a genome, expected 2, those of `backprop_genome`")
            known = backprop_genome(RATE)[0] if genome is None else genome.astype("float64")
            judged = loss or ("mse" if rule.feedback == "labels" else rule.feedback)
            _check(topology, rule, known, loss=judged, rate=None, label="this rule is not gradient descent", **common)
            return
        for name, (own_rule, own_genome) in _descents(topology, loss).items():
            label = f"gradient descent ({name}) is not what the network computes"
            _check(topology, own_rule, own_genome, loss=own_rule.feedback, rate=RATE, label=label, **common)


def _descents(topology: Topology, loss: str | None) -> dict[str, tuple[Rule, Genome]]:
    """Every way in which `backprop_genome` is exact on a graph."""
    found: dict[str, tuple[Rule, Genome]] = {}
    both = ("mse", "softmax_cross_entropy") if len(topology.outputs) > 1 else ("mse",)
    losses = both if loss is None else (loss,)
    for one in losses:
        genome, rule = backprop_genome(RATE, loss=one)
        found[f"plain, {one}"] = rule, genome
    if not topology.is_acyclic:
        return found
    genome, rule = backprop_genome(RATE, loss=losses[-1], normalization="batch")
    genome = genome.replace(forward_scale=jnp.full(2, 1.3), forward_shift=jnp.full(2, 0.2), rescale=0.8)
    found["through batch normalization of hidden neurons"] = rule, genome
    found["through batch normalization of all neurons"] = rule.replace(normalize_outputs=True), genome
    plain = rule.replace(normalization="none", backward_normalization="auto")
    weights = plain.replace(synapse_normalization="in_pass", rescale=True, synapse_derivative=True)
    found["through weight normalization"] = weights, genome
    return found


def assert_fixed_point_gradient(
    topology: Topology,
    *,
    activation: str = "tanh",
    loss: str = "mse",
    kernel: str = "auto",
    seed: int = 0,
    batch: int = 3,
    tolerance: float = 1e-8,
) -> None:
    """Asserts that the backprop genome's step on a graph with cycles is the gradient at the fixed point that its ticks settle to.

    The synapses are drawn from the seed and made so small that every tick contracts; the ticks run until they have settled,
    whatever the graph's own number, under its schedule and damping.

    Args:
      topology: a graph; an acyclic one settles after its longest path.
      activation: of hidden neurons, whose slope is at most about 1; outputs are linear.
      loss: "mse" or "softmax_cross_entropy".
      kernel: runs the step.
      seed, batch: draw synapses and rows.
      tolerance: of the difference's norm over that of the gradient.

    Raises:
      AssertionError: the step is another one (see `assert_gradient_descent`), or the graph does not settle.

    Source: Almeida 1987, Pineda 1987.

    Examples:
      >>> import neurograph as ng
      >>> from neurograph.testing import assert_fixed_point_gradient
      >>> assert_fixed_point_gradient(ng.load_topology("ring"), kernel="gather")
    """
    with jax.enable_x64(True):
        genome, rule = backprop_genome(RATE, activation=activation, loss=loss)
        label = "the step is not the gradient at the fixed point"
        options: dict[str, Any] = {"kernel": kernel, "seed": seed, "batch": batch, "tolerance": tolerance}
        _check(topology, rule, genome, loss=loss, rate=RATE, label=label, **options)
