"""The learning step once more, in NumPy: neuron by neuron and synapse by synapse, written from the formulas alone.

Slow on purpose. It shares no code with the simulator: of `Topology` and `Rule` it reads the fields, and it is what every kernel
must equal. States are `[k, B]` per neuron; a synapse has k numbers in each direction.

Readings of the formulas that a comparison depends on:
- `hebbian_pre: forward` takes the states of the neuron where a (forward) synapse starts, for its backward twin too;
- sums over arriving synapses (norms, Oja) count fixed and shared synapses, and on the way forward the bias;
- the second term of [8] as printed sums w h over what learns, h as it is added: with trace and size, of a group the members' sum;
- `backward_synapses: mirrored` gives a backward synapse the product, gates and decay factor of its forward twin; `sign` leaves
  fixed synapses of the topology at their value, and lengths of synapses in the backward pass are those of the signs;
- with a tolerance, the cycles of one level (components as far from the inputs, by the longest way) end their ticks together;
- batch variances have 1e-5 added, synapse norms 1e-9, lengths of updates 1e-10;
- the size of the error is that of the feedback before the derivative of normalization; where labels are fed back, of output
  minus label; an update between forward pass and feedback knows no error;
- the length of a group of shared numbers is the root mean square over its members of their neurons' lengths, where a neuron's
  length counts what every synapse that arrives is updated by (a group: the sum over its members); fixed synapses do not count.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np

from neurograph.errors import RuleError
from neurograph.genome.activations import ACTIVATIONS, WithDerivative
from neurograph.genome.rule import Rule
from neurograph.topology import Topology


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))  # 1 / (1 + e^-x), which overflows far below 0


def _gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _gelu_slope(x):
    t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)


VALUE_AND_SLOPE = {
    "relu_tanh": (lambda x: np.maximum(np.tanh(x), 0), lambda x: np.where(x > 0, 1 - np.tanh(x) ** 2, 0)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "identity": (lambda x: x, np.ones_like),
    "relu": (lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, 0.0)),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "leaky_relu": (lambda x: np.where(x >= 0, x, 0.01 * x), lambda x: np.where(x >= 0, 1.0, 0.01)),
    "swish": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
    "gelu": (_gelu, _gelu_slope),
}


def _named(activation: Any) -> tuple[str, bool]:
    """The name of a rule's activation, and whether it is the pair (sigma, sigma').

    Raises:
      RuleError: a callable that has no name.
    """
    pair = isinstance(activation, WithDerivative)
    inner = activation.activation if pair else activation
    for name, function in ACTIVATIONS.items():
        if inner is function or inner == name:
            return name, pair
    raise RuleError(f"the oracle knows no derivative of {inner!r}; allowed: {', '.join(VALUE_AND_SLOPE)}")


def _activate(activation: tuple[str, bool], u: np.ndarray) -> np.ndarray:
    """[k, B] -> [k, B]."""
    value, slope = VALUE_AND_SLOPE[activation[0]]
    return np.concatenate([value(u[:1]), slope(u[1:])]) if activation[1] else value(u)


@dataclass
class Record:
    """Arrays as `Trace` and `Network.unpack` give them; `carried` is [B, n, k]."""

    forward: np.ndarray
    feedback: np.ndarray
    backward: np.ndarray
    outputs: np.ndarray
    synapses: dict[str, np.ndarray]
    traces: dict[str, np.ndarray]
    carried: np.ndarray | None = None
    averages: dict[str, Any] = field(default_factory=dict)


@dataclass
class Oracle:
    """One network as loops.

    Args:
      topology: a graph; a few hundred synapses take milliseconds a step, a hundred thousand minutes.
      rule: its activations are names of `ng.ACTIVATIONS`, or pairs of such.
      genome: a `Genome`, its arrays by field name, or a list of such, one per neuron, where every neuron has a genome of its own:
        matrices act on the states of the neuron whose genome they are, a synapse is of the neuron that it arrives at in its own
        direction.

    Raises:
      RuleError: an activation without a name.

    Examples:
      >>> import numpy as np
      >>> import neurograph as ng
      >>> from neurograph.testing import Oracle, random_synapses
      >>> topology, (genome, rule) = ng.mlp(2, 3, 1), ng.backprop_genome(0.1)
      >>> oracle = Oracle(topology, rule, genome)
      >>> record = oracle.step(random_synapses(topology, 2, seed=0, single=True), np.ones((4, 2)), np.ones((4, 1)))
      >>> record.outputs.shape, record.synapses["forward"].shape  # [B, outputs], [synapses, states]
      ((4, 1), (9, 2))
    """

    topology: Topology
    rule: Rule
    genome: Any
    activations: dict[str, tuple[str, bool]] = field(default_factory=dict)
    pre_of_outputs: dict[int, np.ndarray] = field(default_factory=dict)
    units: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    tilts: dict[int, np.ndarray] = field(default_factory=dict)
    passed: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self):
        t = self.topology
        genomes = self.genome if isinstance(self.genome, list) else [self.genome] * t.num_neurons
        self.of = [g if isinstance(g, dict) else {n: np.asarray(v) for n, v in vars(g).items()} for g in genomes]
        self.activations = {n: _named(getattr(self.rule, f"{n}_activation")) for n in ("forward", "backward", "output")}
        self.edges = list(zip(t.senders.tolist(), t.receivers.tolist()))
        self.inputs, self.outputs = t.inputs.tolist(), t.outputs.tolist()
        self.k = self.rule.states
        self.into, self.outof = ({q: [] for q in range(t.num_neurons)} for _ in range(2))
        for e, (i, j) in enumerate(self.edges):
            self.into[j].append((e, i))
            self.outof[i].append((e, j))

    # ---- passes

    def groups(self) -> list[tuple[list[int], int]]:
        """Neurons that are updated together and how often, in forward order."""
        t = self.topology
        if t.schedule == "synchronous":
            return [(list(range(t.num_neurons)), t.ticks)]
        graph = nx.DiGraph(self.edges)
        graph.add_nodes_from(range(t.num_neurons))
        if t.schedule == "levels":
            return [([j], 1) for j in nx.topological_sort(graph)]
        condensed = nx.condensation(graph)
        level: dict[int, int] = {}
        for component in nx.topological_sort(condensed):
            level[component] = 1 + max((level[before] for before in condensed.predecessors(component)), default=-1)
        parts: dict[tuple[int, bool], list[int]] = {}  # the cycles of a level tick, and settle, together
        for component, number in level.items():
            members = sorted(condensed.nodes[component]["members"])
            cyclic = len(members) > 1 or graph.has_edge(members[0], members[0])
            parts.setdefault((number, cyclic), []).extend(members)
        return [(parts[key], t.ticks if key[1] else 1) for key in sorted(parts)]

    def read(self, w) -> dict[str, np.ndarray]:
        """Synapses as the backward pass takes them."""
        if self.rule.backward_synapses != "sign":
            return w
        return w | {"backward": np.where(self.topology.fixed[:, None], w["forward"], np.sign(w["forward"]))}

    def arriving(self, w, direction: str, q: int) -> np.ndarray:
        """[k]: sum of the squared synapses that arrive at q."""
        total = np.zeros(self.k)
        for e, _ in self.into[q] if direction == "forward" else self.outof[q]:
            total += w[direction][e] ** 2
        if direction == "forward" and self.topology.bias[q]:
            total += w["bias"][q] ** 2
        return total

    def inflow(self, w, direction: str, q: int, a: list[np.ndarray]) -> np.ndarray:
        z = np.zeros_like(a[q])
        for e, p in self.into[q] if direction == "forward" else self.outof[q]:
            matrix = self.of[p][f"{direction}_transform"]
            used = w[direction][e]
            if direction == "backward" and self.rule.synapse_derivative:  # the synapse as the forward pass used it
                used = used / self.length(w, "forward", p)
            z += used[:, None] * (matrix @ a[p])
        if direction == "forward" and not self.late(q):
            z += self.threshold(w, q)
        if self.rule.synapse_normalization == "in_pass" and not (direction == "backward" and self.rule.synapse_derivative):
            z = z / self.length(w, direction, q)[:, None]
        return z

    def late(self, q: int) -> bool:
        """Whether the bias of q is added after batch normalization."""
        return self.rule.bias_after_normalization and (q not in self.outputs or self.rule.normalize_outputs)

    def threshold(self, w, q: int) -> np.ndarray:
        """[k, 1]: what the bias of q adds."""
        if not self.topology.bias[q]:
            return np.zeros((self.k, 1))
        matrix = self.of[q]["forward_transform"]
        return np.array([[w["bias"][q, c] * sum(matrix[c, d] for d in range(self.k))] for c in range(self.k)])

    def length(self, w, direction: str, q: int) -> np.ndarray:
        length = np.sqrt(self.arriving(w, direction, q) + 1e-9)
        return length / self.of[q]["rescale"] if self.rule.rescale else length

    def backward_mode(self) -> str:
        rule = self.rule
        if rule.normalization == "none":
            return "none"
        if rule.backward_normalization == "auto":
            return "batch" if rule.backward_update == "additive" else "none"
        return rule.backward_normalization

    def gated(self, q: int, name: str, a: np.ndarray) -> np.ndarray:
        """A gate of q for each of its states [k, B], given these."""
        g, k = self.of[q], range(self.k)
        if not self.rule.self_gating:
            return np.full_like(a, g[name])
        matrix = g["update_gating" if name == "neuron_update" else "keep_gating"]
        return np.stack([2 * g[name] * _sigmoid(sum(matrix[c, d] * a[d] for d in k)) for c in k])

    def updated(self, w, direction: str, q: int, a: list[np.ndarray], ticking: Collection[int] = ()) -> np.ndarray:
        """New states of q; `ticking` are the neurons of its cyclic phase that move in this pass."""
        g, rule = self.of[q], self.rule
        if rule.cycle_fading and direction == "backward":
            faded = [state * self.of[p]["cycle_keep"] if p in ticking else state for p, state in enumerate(a)]
            z = self.inflow(w, direction, q, faded)
        else:
            z = self.inflow(w, direction, q, a)
        product = direction == "backward" and rule.backward_update != "additive"
        if product:
            before = self.passed[q]  # what the forward pass left, at every tick
            keep = self.gated(q, "backward_keep", before)
            u = keep * before * z
            plain = u
            if self.backward_mode() == "derivative":
                u = self.through(u, q)
            if rule.backward_update == "multiplicative_second_state":
                u, plain = (np.concatenate([(keep * before)[:1], each[1:]]) for each in (u, plain))
            if self.backward_mode() == "derivative" and rule.bias_after_normalization:
                self.tilts[q] = _activate(self.activations["backward"], plain)
        else:
            u = self.gated(q, "neuron_keep", a[q]) * a[q] + self.gated(q, "neuron_update", a[q]) * z
        is_output = q in self.outputs
        mode = rule.normalization if direction == "forward" else self.backward_mode()
        if mode == "batch" and (not is_output or rule.normalize_outputs):
            mean = u.mean(axis=1, keepdims=True)
            deviation = np.sqrt(((u - mean) ** 2).mean(axis=1, keepdims=True) + 1e-5)
            unit, scale = (u - mean) / deviation, g[f"{direction}_scale"][:, None]
            if direction == "forward":
                self.units[q] = (unit, scale / deviation)
            u = unit * scale + g[f"{direction}_shift"][:, None]
            if direction == "forward" and self.late(q):
                u = u + self.threshold(w, q)
        if is_output:
            self.pre_of_outputs[q] = u
            return _activate(self.activations["output"], u)
        return _activate(self.activations[direction], u)

    def through(self, d: np.ndarray, q: int, states=slice(None)) -> np.ndarray:
        """Feedback d on a normalised value, as feedback on what was normalised."""
        unit, slope = (value[states] for value in self.units[q])
        mean = d.mean(axis=1, keepdims=True)
        return slope * (d - mean - unit * (d * unit).mean(axis=1, keepdims=True))

    def run(self, w, direction: str, a: list[np.ndarray]) -> list[np.ndarray]:
        a = list(a)
        t, order = self.topology, self.groups()
        for members, ticks in order if direction == "forward" else reversed(order):
            clamped = self.inputs if direction == "forward" else [*self.inputs, *self.outputs]
            moving = [q for q in members if q not in clamped]
            graph_ticks = t.schedule == "synchronous" or any(j in members for q in members for _, j in self.outof[q])
            for tick in range(ticks):
                new = {q: self.updated(w, direction, q, a, moving if graph_ticks else ()) for q in moving}
                moved = 0.0
                for q, value in new.items():
                    if tick and graph_ticks:
                        own = self.of[q]["damping"] if self.rule.learned_damping else 0.0
                        kept = 1 - (1 - t.damping) * (1 - own)
                        value = kept * a[q] + (1 - kept) * value
                    moved = max(moved, np.abs(value - a[q]).max())
                    a[q] = value
                if graph_ticks and t.tolerance and moved <= t.tolerance:
                    break
        return a

    # ---- synapses

    def learned(self, w, traces, before, after, second: bool, error: float | None) -> tuple[dict, dict]:
        """Eqs. 7 and 8 for every stored number; `before` are the states of the neurons where forward synapses start."""
        t, prefix, k = self.topology, "forward_" if second else "", range(self.k)

        def as_pre(p, a, c):
            return a.T @ self.of[p][f"{prefix}pre_transform"][:, c]

        def as_post(q, a, c):
            return self.of[q][f"{prefix}post_transform"][c] @ a

        share = 1 / before[0].shape[1] if self.rule.batch_reduction == "mean" else 1.0
        constant = np.ones_like(before[0])
        own = not self.rule.symmetric and self.rule.backward_synapses == "learned"
        names = ("forward", "backward", "bias") if own else ("forward", "bias")
        products = {name: np.zeros_like(w[name]) for name in names}
        decays = {name: np.zeros_like(w[name]) for name in names}
        fewer = {name: np.zeros_like(w[name]) for name in names}  # what [8] as printed takes from f~
        printed = self.rule.oja in ("printed", "printed_first")
        owners = {name: np.zeros(len(w[name]), int) for name in names}
        for name in names:
            direction = "backward" if name == "backward" else "forward"
            for number in range(len(w[name])):
                if name == "bias":
                    if not t.bias[number]:
                        continue
                    p, q = number, number
                    p_state, q_state = constant, after[number] if second else self.tilts.get(number, after[number])
                elif name == "forward":
                    p, q = self.edges[number]
                    p_state, q_state = before[p], after[q]
                else:
                    q, p = self.edges[number]
                    p_state, q_state = after[p], before[q]
                owners[name][number] = q
                g, arriving = self.of[q], self.arriving(w, direction, q)
                if printed:
                    first = g["oja_multiplier"] * (g[f"{prefix}synapse_keep"] - 1) * arriving
                    fewer[name][number] = self.rule.oja_scale * (first[0] if self.rule.single_state_synapses else first)
                for c in k:
                    source = 0 if self.rule.single_state_synapses else c
                    y = as_post(q, q_state, source)
                    products[name][number, c] = share * np.sum(as_pre(p, p_state, source) * y)
                    if self.rule.oja in ("weights", "activity"):
                        activity = share * np.sum(y**2) if self.rule.oja == "activity" else arriving[source]
                        size = abs(g["oja_multiplier"]) * self.rule.oja_scale * np.sign(g[f"{prefix}synapse_update"])
                        decays[name][number, c] = size * activity
        if self.rule.synapse_derivative:
            products = self.by_stored(w, products)
        h = {name: self.summed(name, products[name]) for name in names}
        for name in names:
            if name != "bias":
                h[name][t.fixed] = 0
        if traces and not second:
            kappa = {name: np.array([self.of[q]["trace_keep"] for q in owners[name]])[:, None] for name in names}
            h = {name: kappa[name] * traces[name] + h[name] for name in names}
            traces = traces | h
        if self.rule.update_normalization == "neuron":
            h = self.sized(h, owners, error)
        if self.rule.oja == "printed":
            decays = self.second_terms(w, h, owners)
        if self.rule.backward_synapses == "mirrored":
            names = (*names, "backward")
            for found in (h, decays, fewer, owners):
                found["backward"] = found["forward"]
            if traces and not second:
                traces["backward"] = traces["forward"]
        new = {"backward": w["backward"]}
        for name in names:
            total = h[name] - w[name] * self.summed(name, decays[name])
            less = self.summed(name, fewer[name])
            new[name] = np.array(w[name])
            for number, q in enumerate(owners[name]):
                g = self.of[q]
                gates = (g[f"{prefix}synapse_keep"] - less[number], g[f"{prefix}synapse_update"], g["saturation"])
                new[name][number] = self.applied(w[name][number], total[number], *gates)
            if name == "bias":
                new[name][~t.bias] = 0
            else:
                new[name][t.fixed] = t.weight[t.fixed][:, None]
        if self.rule.symmetric:
            new["backward"] = new["forward"]
        return new, traces

    def by_stored(self, w, products) -> dict[str, np.ndarray]:
        """Derivatives by what is used, w / |w|, as derivatives by what is stored."""
        found = {name: value.copy() for name, value in products.items()}
        for q in range(self.topology.num_neurons):
            into = [e for e, _ in self.into[q]]
            if not into and not self.topology.bias[q]:
                continue
            square, length = self.arriving(w, "forward", q) + 1e-9, self.length(w, "forward", q)
            along = sum((w["forward"][e] * products["forward"][e] for e in into), np.zeros(self.k))
            along = along + w["bias"][q] * products["bias"][q] * self.topology.bias[q]
            for e in into:
                found["forward"][e] = (products["forward"][e] - w["forward"][e] * along / square) / length
            found["bias"][q] = (products["bias"][q] - w["bias"][q] * along / square) / length
        return found

    def second_terms(self, w, h, owners) -> dict[str, np.ndarray]:
        """sum_r w_r h_r over all that arrives, in a direction, where each number does: the second term of [8]."""
        t, along = self.topology, {}
        for name in h:
            total = along.setdefault(name == "backward", np.zeros((t.num_neurons, self.k)))
            for number, q in enumerate(owners[name]):
                if t.bias[q] if name == "bias" else not t.fixed[number]:
                    total[q] += w[name][number] * h[name][number]
        return {name: along[name == "backward"][owners[name]] for name in h}

    def sized(self, h, owners, error: float | None) -> dict[str, np.ndarray]:
        """update_normalization: neuron."""
        t = self.topology
        new = {}
        for direction, parts in (("forward", ("forward", "bias")), ("backward", ("backward",))):
            if direction not in h:
                continue
            square = np.zeros((t.num_neurons, self.k))
            for name in parts:
                for number, q in enumerate(owners[name]):
                    if t.bias[q] if name == "bias" else not t.fixed[number]:
                        square[q] += h[name][number] ** 2
            for name in parts:
                group = t.bias_group if name == "bias" else t.group
                exists = t.bias if name == "bias" else ~t.fixed
                new[name] = np.zeros_like(h[name])
                for number, q in enumerate(owners[name]):
                    if not exists[number]:
                        continue
                    members = np.flatnonzero((group == group[number]) & exists) if group[number] >= 0 else [number]
                    length = np.sqrt(np.mean([square[owners[name][m]] for m in members], axis=0)) + 1e-10
                    g = self.of[q]
                    size = 1.0 if error is None else (self.rule.error_scale * error) ** g["error_power"]
                    factor = size / t.walk_length ** g["depth_power"]
                    new[name][number] = h[name][number] * factor / length ** g["update_power"]
        return new

    def summed(self, name: str, increments: np.ndarray) -> np.ndarray:
        """Members of a group all get the sum of their increments."""
        group = self.topology.bias_group if name == "bias" else self.topology.group
        total = increments.copy()
        for number, mine in enumerate(group):
            if mine >= 0:
                total[number] = increments[np.flatnonzero(group == mine)].sum(axis=0)
        return total

    def applied(self, w, h, keep, eta, alpha) -> np.ndarray:
        rule = self.rule
        if rule.saturation == "exponential":
            return w + ((keep - 1) * w + eta * h) * np.exp(-np.abs(w) * (rule.saturation_eps + abs(alpha)))
        new = keep * w + eta * h
        return alpha * np.tanh(new / alpha) if rule.saturation == "tanh" else new

    def normalised(self, w) -> dict[str, np.ndarray]:
        """synapse_normalization: stored."""
        new = {name: value.copy() for name, value in w.items()}
        for e, (i, j) in enumerate(self.edges):
            if not self.topology.fixed[e]:
                new["forward"][e] = w["forward"][e] / self.length(w, "forward", j)
                if not self.rule.symmetric and self.rule.backward_synapses != "fixed":
                    new["backward"][e] = w["backward"][e] / self.length(w, "backward", i)
        for j in np.flatnonzero(self.topology.bias).tolist():
            new["bias"][j] = w["bias"][j] / self.length(w, "forward", j)
        if self.rule.symmetric:
            new["backward"] = new["forward"]
        return new

    # ---- the step

    def clamp(self, x: np.ndarray, carried: np.ndarray | None) -> list[np.ndarray]:
        if carried is None or self.rule.reset_states:
            carried = np.zeros((len(x), self.topology.num_neurons, self.k))
        a = [carried[:, q].T.copy() for q in range(self.topology.num_neurons)]
        for column, q in enumerate(self.inputs):
            a[q] = np.zeros((self.k, len(x)))
            a[q][0] = x[:, column]
        return a

    def feedback(self, a: list[np.ndarray], y: np.ndarray) -> tuple[list[np.ndarray], float]:
        """States with the outputs' feedback, and the root mean square of their error."""
        a = list(a)
        h = np.stack([a[q][0] for q in self.outputs], axis=1)
        slope = VALUE_AND_SLOPE[self.activations["output"][0]][1]
        slopes = np.stack([slope(self.pre_of_outputs[q][0]) for q in self.outputs], axis=1)
        error = h - y
        if self.rule.feedback == "mse":
            error = y = (h - y) * slopes
        elif self.rule.feedback == "softmax_cross_entropy":
            e = np.exp(h - h.max(axis=1, keepdims=True))
            error = y = (e / e.sum(axis=1, keepdims=True) - (y + 1) / 2) * slopes
        for column, q in enumerate(self.outputs):
            fed = y[:, column][None]
            if self.backward_mode() == "derivative" and self.rule.bias_after_normalization and self.rule.normalize_outputs:
                self.tilts[q] = np.concatenate([a[q][:1], fed, np.zeros_like(a[q][2:])])
            if self.backward_mode() == "derivative" and self.rule.normalize_outputs:
                fed = self.through(fed, q, slice(1, 2))
            a[q] = np.concatenate([a[q][:1], fed, np.zeros_like(a[q][2:])])
        return a, float(np.sqrt(np.mean(error**2)))

    def averaged(self, averages: dict, w: dict, error: float) -> dict:
        """Averages of forward synapses and biases after a learning step: a + alpha (w - a)."""
        t, found = self.topology, {"steps": averages["steps"] + 1, "error": averages["error"]}
        if averages["steps"] == 0:
            found["error"] = error
        elif error > averages["error"]:
            found["steps"] = 1
        for name in ("forward", "bias"):
            owners = [q for _, q in self.edges] if name == "forward" else range(t.num_neurons)
            found[name] = np.array(averages[name])
            for number, q in enumerate(owners):
                power = self.of[q]["average_power"]
                alpha = max(1 - self.of[q]["average_keep"], (power + 1) / (found["steps"] + power))
                found[name][number] += alpha * (w[name][number] - found[name][number])
        return found

    def outside(self, a: list[np.ndarray]) -> np.ndarray:
        return np.stack(a).transpose(2, 0, 1)

    def step(
        self, w, x, y, index: int = 0, carried: np.ndarray | None = None, traces: dict | None = None, averages: dict | None = None
    ) -> Record:
        """One step from synapses `w` (forward, backward [E, k]; bias [n, k]), their traces, of the same names, and averages."""
        if averages is None and self.rule.synapse_average:
            averages = {"forward": w["forward"], "bias": w["bias"], "steps": 0, "error": 0}
        if self.rule.synapse_normalization == "stored":
            w = self.normalised(w)
        forward = self.passed = self.run(w, "forward", self.clamp(x, carried))
        outputs = np.stack([forward[q][0] for q in self.outputs], axis=1)
        if traces is None and self.rule.synapse_trace:
            traces = {name: np.zeros_like(value) for name, value in w.items()}
        if self.rule.forward_synapse_update:
            w, _ = self.learned(w, None, forward, forward, second=True, error=None)
        fed = backward = forward
        if index % self.rule.supervise_every == 0:
            fed, error = self.feedback(forward, y)
            backward = self.run(self.read(w), "backward", fed)
            before = forward if self.rule.hebbian_pre == "forward" else backward
            w, traces = self.learned(w, traces, before, backward, second=False, error=error)
            averages = averages and self.averaged(averages, w, error)
        left = self.outside(backward)
        carried = None if self.rule.reset_states else left
        return Record(self.outside(forward), self.outside(fed), left, outputs, w, traces or {}, carried, averages or {})

    def predict(self, w, x, carried: np.ndarray | None = None, averages: dict | None = None) -> np.ndarray:
        w = w | (averages or {})
        if self.rule.synapse_normalization == "stored":
            w = self.normalised(w)
        forward = self.run(w, "forward", self.clamp(x, carried))
        return np.stack([forward[q][0] for q in self.outputs], axis=1)
