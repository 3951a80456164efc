"""Kernels beside each other and beside the NumPy oracle; graphs beside the same graph under other names and numbers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.genome import LayeredGenome, Rule, backprop_genome
from neurograph.network import KERNELS, Network, Synapses
from neurograph.network.kernels import native
from neurograph.testing.graphs import random_synapses
from neurograph.testing.oracle import Oracle
from neurograph.testing.random_genomes import random_genome
from neurograph.topology import Topology

STATES = ("states.forward", "states.feedback", "states.backward")
# Rounding only: sums are taken in another order. Over 371 random networks, two steps each, the largest difference was 1.5e-11:
# steep saturations and small batch variances cost some digits. Where they cost more, the oracle itself says how many.
TOLERANCE = 1e-9
ROUNDING = 4e-16


def usable_kernels() -> tuple[str, ...]:
    """Returns every kernel that can run here but "auto": the native one needs a C++ compiler.

    Examples:
      >>> from neurograph.testing import usable_kernels
      >>> "reference" in usable_kernels()
      True
    """
    return tuple(name for name in KERNELS if name != "auto" and (name != "native" or native.available()))


@jax.jit
def steps(network: Any, genome: Any, arrays: dict[str, Any], xs: Any, ys: Any, query: Any = None) -> dict[str, Any]:
    """`pack`, then a `trace` per batch of `xs` [U, B, n_in] and `ys` with its `unpack`, then `predict` on `query` if given.

    All in one compiled function. Returns the traces' arrays and forward, backward and bias, all with a leading [U], and `query`.
    """

    def body(synapses: Synapses, batch: Any) -> tuple[Any, dict[str, Any]]:
        trace = network.trace(genome, synapses, batch[1], batch[2], index=batch[0])
        names = ("forward", "feedback", "backward", "outputs")
        states = {f"states.{name}" if name != "outputs" else name: getattr(trace, name) for name in names}
        return trace.synapses, states | network.unpack(trace.synapses)

    last, records = jax.lax.scan(body, network.pack(**arrays), (jnp.arange(xs.shape[0]), xs, ys))
    return records if query is None else records | {"query": network.predict(genome, last, query)}


def relative(ours: Any, theirs: Any) -> float:
    """Largest difference over the largest magnitude."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    return float(np.max(np.abs(ours - theirs), initial=0) / max(np.max(np.abs(theirs), initial=0), 1e-30))


def relative_norm(ours: Any, theirs: Any) -> float:
    """Norm of the difference over the norm."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-30))


class Case:
    """What all comparisons start from: a rule and a genome, synapses, carried states and batches of one seed, in float64.

    Without a rule it is that of `backprop_genome`; without a genome it is one with every array drawn.
    """

    def __init__(self, topology: Topology, rule: Rule | None, genome: Any, seed: int, batch: int, number: int):
        self.topology, self.rng = topology, np.random.default_rng(seed)
        self.rule = rule = backprop_genome()[1] if rule is None else rule
        self.genome = random_genome(rule.states, seed) if genome is None else genome.astype("float64")
        self.xs = self.rng.normal(size=(number, batch, len(topology.inputs)))
        self.ys = self.rng.choice([-1.0, 1.0], (number, batch, len(topology.outputs)))
        self.query = self.rng.normal(size=(batch, len(topology.inputs))) if seed % 2 else None
        self.synapses = random_synapses(topology, rule.states, seed, single=rule.single_state_synapses)
        shape = (batch, topology.num_neurons, rule.states)
        self.carried = None if rule.reset_states else self.rng.normal(0, 0.5, shape)
        if rule.symmetric:
            self.synapses["backward"] = self.synapses["forward"]
        self.packed = self.synapses | {"neurons": self.carried, "backward": None if rule.symmetric else self.synapses["backward"]}


def where_it_differs(topology: Topology, name: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    """Says at which neuron, synapse or output the largest difference of one array of a step is, and what it is."""
    place, kept = np.unravel_index(int(np.argmax(np.abs(ours - theirs))), ours.shape), name.partition("_")[2]
    if name.startswith("states."):
        row, neuron, state = place
        what = f"state {state} of neuron {topology.names[neuron]!r} after the {name[7:]} pass, row {row}"
        what = what.replace("the feedback pass", "feedback")
    elif name in ("outputs", "query"):
        what = f"output {topology.names[topology.outputs[place[1]]]!r}, row {place[0]}"
    elif name.startswith("bias"):
        what = f"{f'{kept} of the bias' if kept else 'bias'} of neuron {topology.names[place[0]]!r}, channel {place[1]}"
    else:
        way = [topology.names[ends[place[0]]] for ends in (topology.senders, topology.receivers)]
        way = way[::-1] if name.startswith("backward") else way
        what = f"{name.split('_')[0]} synapse {way[0]!r} -> {way[1]!r}, channel {place[1]}{kept and f', its {kept}'}"
    return f"{what}: {ours[place]:.10g} and {theirs[place]:.10g}"


def _difference(case: Case, who: str, when: str, name: str, ours: np.ndarray, theirs: np.ndarray, allowed: str) -> AssertionError:
    return AssertionError(
        f"{who} differ {when}, the most at {where_it_differs(case.topology, name, ours, theirs)} (relative to the largest:"
        f" {relative(ours, theirs):.2g}; allowed: {allowed})"
    )


def _compare(case: Case, who: str, found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], tolerance: float) -> None:
    """Raises AssertionError for the first step, and its first array in the order of the computation, that differs."""
    for step in range(len(case.xs)):
        for name in (*STATES, "outputs", "forward", "backward", "bias"):
            ours, theirs = found[name][step], wanted[name][step]
            if relative(ours, theirs) >= tolerance:
                raise _difference(case, who, f"at step {step}", name, ours, theirs, f"{tolerance:g}")


def run(case: Case, kernel: str) -> dict[str, np.ndarray]:
    """Steps of a case on one kernel, as arrays of NumPy."""
    network = Network(case.topology, case.rule, kernel=kernel)
    return jax.device_get(steps(network, case.genome, case.packed, case.xs, case.ys, case.query))


def assert_kernels_agree(
    topology: Topology,
    rule: Rule | None = None,
    genome: Any = None,
    *,
    kernels: Iterable[str] | None = None,
    seed: int = 0,
    batch: int = 3,
    steps: int = 2,
    tolerance: float = TOLERANCE,
) -> None:
    """Asserts that every kernel computes the same steps as the kernel "reference": states, outputs and synapses, in float64.

    Args:
      topology, rule, genome: without a rule that of `backprop_genome`; without a genome one with every array drawn.
      kernels: their names; without, all that can run here.
      seed: draws synapses, batches and the genome.
      batch: rows of a batch.
      steps: learning steps, one after the other.
      tolerance: the largest difference of an array over its largest magnitude.

    Raises:
      AssertionError: says which kernel differs, at which step, and at which neuron or synapse by name.

    Examples:
      >>> import neurograph as ng
      >>> from neurograph.testing import assert_kernels_agree
      >>> assert_kernels_agree(ng.mlp(3, 4, 2), kernels=["gather"])
    """
    with jax.enable_x64(True):
        case = Case(topology, rule, genome, seed, batch, steps)
        expected = run(case, "reference")
        for kernel in usable_kernels() if kernels is None else kernels:
            if kernel != "reference":
                _compare(case, f"kernel {kernel!r} and the reference", run(case, kernel), expected, tolerance)


def assert_equals_oracle(
    topology: Topology,
    rule: Rule | None = None,
    genome: Any = None,
    *,
    kernel: str = "auto",
    seed: int = 0,
    batch: int = 3,
    steps: int = 2,
    tolerance: float = TOLERANCE,
) -> None:
    """Asserts that a network computes what the formulas say: the steps of `Oracle`, neuron by neuron and synapse by synapse.

    States after each phase, outputs, synapses, their traces and averages and, where the seed is odd, a prediction are compared in
    float64. A difference beyond the tolerance counts where it is more than thirty times what rounding the inputs does to the
    oracle.

    Args:
      topology, rule, genome: without a rule that of `backprop_genome`; without a genome one with every array drawn. A
        `LayeredGenome` has its topology's layers.
      kernel: runs the network.
      seed: draws synapses, batches and the genome.
      batch, steps: rows of a batch, learning steps one after the other.
      tolerance: the largest difference of an array over its largest magnitude.

    Raises:
      AssertionError: says which step differs, and at which neuron or synapse by name.
      RuleError: an activation of the rule has no name.

    Examples:
      >>> import neurograph as ng
      >>> from neurograph.testing import assert_equals_oracle
      >>> assert_equals_oracle(ng.mlp(3, 4, 2), ng.Rule(states=3, oja="weights"), kernel="reference", steps=1)
    """
    with jax.enable_x64(True):
        case = Case(topology, rule, genome, seed, batch, steps)
        ours = run(case, kernel)
        known = case.genome
        if isinstance(known, LayeredGenome):
            layers: Sequence[Any] = list(known.layers.values())
            known = [layers[layer] for layer in known.layer_of(topology)]
        oracle = Oracle(topology, case.rule, known)
        near: list[dict] = []
        for (name, index), value in _expected(oracle, case, case.xs).items():
            assert ours[name].dtype == np.float64
            found = ours[name] if index is None else ours[name][index]
            if relative(found, value) < tolerance:
                continue
            if not near:  # how far rounding of the inputs alone moves the numbers: by its last digits
                signs = [-1, 1, *case.rng.choice([-1, 1], (2, *case.xs.shape))]
                near = [_expected(oracle, case, case.xs * (1 + ROUNDING * sign)) for sign in signs]
            allowed = tolerance + 30 * max(relative(other[name, index], value) for other in near)
            if relative(found, value) >= allowed:
                when = "in a prediction" if index is None else f"at step {index}"
                raise _difference(case, f"kernel {kernel!r} and the formulas", when, name, found, value, f"{allowed:.2g}")


def _expected(oracle: Oracle, case: Case, xs: np.ndarray) -> dict[tuple[str, int | None], np.ndarray]:
    """Every number of the oracle's steps, by its name and step, and its prediction ("query", None)."""
    expected, traces, averages, w, carried = {}, None, None, case.synapses, case.carried
    for index, (x, y) in enumerate(zip(xs, case.ys, strict=True)):
        record = oracle.step(w, x, y, index, carried, traces, averages)
        w, carried, traces, averages = record.synapses, record.carried, record.traces, record.averages
        found = {name: getattr(record, name.removeprefix("states.")) for name in (*STATES, "outputs")} | w
        found |= {f"{name}_trace": value for name, value in traces.items() if name != "backward" or not oracle.rule.symmetric}
        found |= {f"{name}_average": averages[name] for name in ("forward", "bias") if averages}
        expected |= {(name, index): value for name, value in found.items()}
    if case.query is not None:
        expected["query", None] = oracle.predict(w, case.query, carried, averages)
    return expected


def assert_permutation_invariant(
    topology: Topology,
    rule: Rule | None = None,
    genome: Any = None,
    *,
    kernel: str = "auto",
    seed: int = 0,
    batch: int = 3,
    steps: int = 2,
    tolerance: float = TOLERANCE,
) -> None:
    """Asserts that the numbering of neurons and synapses does not matter: the relabelled graph learns the same, relabelled.

    Args:
      topology, rule, genome: without a rule that of `backprop_genome`; without a genome one with every array drawn.
      kernel: runs both networks.
      seed: draws the relabelling, synapses, batches and the genome.
      batch, steps: rows of a batch, learning steps one after the other.
      tolerance: the largest difference of an array over its largest magnitude.

    Raises:
      AssertionError: says which step differs, and at which neuron or synapse by name.

    Examples:
      >>> import neurograph as ng
      >>> from neurograph.testing import assert_permutation_invariant
      >>> assert_permutation_invariant(ng.mlp(3, 4, 2), kernel="gather", steps=1)
    """
    with jax.enable_x64(True):
        case = Case(topology, rule, genome, seed, batch, steps)
        rng = np.random.default_rng(seed)
        p = rng.permutation(topology.num_neurons)  # new index of a neuron
        q = rng.permutation(topology.num_synapses)  # old index of a synapse
        p_in, p_out = rng.permutation(len(topology.inputs)), rng.permutation(len(topology.outputs))
        old = np.argsort(p)  # old index of a new neuron
        other = copy.copy(case)
        other.topology = topology.replace(
            names=[topology.names[i] for i in old],
            senders=p[topology.senders][q],
            receivers=p[topology.receivers][q],
            inputs=p[topology.inputs][p_in],
            outputs=p[topology.outputs][p_out],
            **{name: getattr(topology, name)[q] for name in ("fixed", "weight", "group")},
            **{name: getattr(topology, name)[old] for name in ("bias", "bias_group", "population")},
            population_shapes=(),  # rows of a shape go by number
        )
        packed = case.packed
        other.packed = {name: None if packed[name] is None else packed[name][q] for name in ("forward", "backward")}
        other.packed |= {"bias": packed["bias"][old], "neurons": None if case.carried is None else case.carried[:, old]}
        other.xs, other.ys, other.query = case.xs[..., p_in], case.ys[..., p_out], None
        found = run(other, kernel)
        back: dict[str, Any] = {name: (slice(None), slice(None), p) for name in STATES}
        back |= {"outputs": (..., np.argsort(p_out)), "forward": (slice(None), np.argsort(q)), "bias": (slice(None), p)}
        back["backward"] = back["forward"]
        found = {name: found[name][index] for name, index in back.items()}
        _compare(case, "a relabelled graph and the graph", found, run(case, kernel), tolerance)
