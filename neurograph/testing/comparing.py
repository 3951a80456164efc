"""Kernels beside each other and beside the NumPy oracle; graphs beside the same graph under other names and numbers."""

from __future__ import annotations

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
    """Synapses, carried states and batches of one seed, all in float64."""

    def __init__(self, topology: Topology, rule: Rule, seed: int, batch: int, number: int):
        rng = np.random.default_rng(seed)
        self.xs = rng.normal(size=(number, batch, len(topology.inputs)))
        self.ys = rng.choice([-1.0, 1.0], (number, batch, len(topology.outputs)))
        self.query = rng.normal(size=(batch, len(topology.inputs))) if seed % 2 else None
        self.synapses = random_synapses(topology, rule.states, seed, single=rule.single_state_synapses)
        shape = (batch, topology.num_neurons, rule.states)
        self.carried = None if rule.reset_states else rng.normal(0, 0.5, shape)
        if rule.symmetric:
            self.synapses["backward"] = self.synapses["forward"]
        self.packed = self.synapses | {"neurons": self.carried, "backward": None if rule.symmetric else self.synapses["backward"]}
        self.signs = lambda: rng.choice([-1, 1], (2, *self.xs.shape))


def where_it_differs(topology: Topology, name: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    """Says at which neuron, synapse or output the largest difference of one array of a step is, and what it is."""
    place = np.unravel_index(int(np.argmax(np.abs(ours - theirs))), ours.shape)
    if name.startswith("states."):
        row, neuron, state = place
        what = f"state {state} of neuron {topology.names[neuron]!r} after the {name[7:]} pass, row {row}"
        what = what.replace("the feedback pass", "feedback")
    elif name in ("outputs", "query"):
        what = f"output {topology.names[topology.outputs[place[1]]]!r}, row {place[0]}"
    elif name.startswith("bias"):
        what = f"{'trace of the bias' if '_' in name else 'bias'} of neuron {topology.names[place[0]]!r}, channel {place[1]}"
    else:
        way = [topology.names[ends[place[0]]] for ends in (topology.senders, topology.receivers)]
        way = way[::-1] if name.startswith("backward") else way
        what = f"{name.split('_')[0]} synapse {way[0]!r} -> {way[1]!r}, channel {place[1]}{', its trace' if '_' in name else ''}"
    return f"{what}: {ours[place]:.10g} and {theirs[place]:.10g}"


def _default_rule(rule: Rule | None) -> Rule:
    return backprop_genome()[1] if rule is None else rule


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
      >>> assert_kernels_agree(ng.load_topology("residual"), kernels=["gather"])
    """
    rule = _default_rule(rule)
    with jax.enable_x64(True):
        genome = random_genome(rule.states, seed) if genome is None else genome.astype("float64")
        case = Case(topology, rule, seed, batch, steps)
        chosen = usable_kernels() if kernels is None else tuple(kernels)
        expected = run(topology, rule, genome, case, "reference")
        for kernel in chosen:
            if kernel == "reference":
                continue
            ours = run(topology, rule, genome, case, kernel)
            for step in range(steps):
                for name in (*STATES, "outputs", "forward", "backward", "bias"):
                    found, wanted = ours[name][step], expected[name][step]
                    if relative(found, wanted) >= tolerance:
                        raise AssertionError(
                            f"kernel {kernel!r} and the reference differ at step {step}, the most at "
                            f"{where_it_differs(topology, name, found, wanted)} (relative to the largest: "
                            f"{relative(found, wanted):.2g}; allowed: {tolerance:g})"
                        )


def run(topology: Topology, rule: Rule, genome: Any, case: Case, kernel: str) -> dict[str, np.ndarray]:
    """Steps of a case on one kernel, as arrays of NumPy."""
    network = Network(topology, rule, kernel=kernel)
    return jax.device_get(steps(network, genome, case.packed, case.xs, case.ys, case.query))


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

    States after each phase, outputs, synapses, their traces and, where the seed is odd, a prediction are compared in float64. A
    difference beyond the tolerance counts where it is more than thirty times what rounding the inputs does to the oracle.

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
    rule = _default_rule(rule)
    with jax.enable_x64(True):
        genome = random_genome(rule.states, seed) if genome is None else genome.astype("float64")
        case = Case(topology, rule, seed, batch, steps)
        ours = run(topology, rule, genome, case, kernel)
        known: Any = genome
        if isinstance(genome, LayeredGenome):
            layers: Sequence[Any] = list(genome.layers.values())
            known = [layers[layer] for layer in genome.layer_of(topology)]
        oracle = Oracle(topology, rule, known)
        near: list[dict] = []
        for (name, index), value in _expected(oracle, case, case.xs).items():
            assert ours[name].dtype == np.float64
            found = ours[name] if index is None else ours[name][index]
            if relative(found, value) < tolerance:
                continue
            if not near:  # how far rounding of the inputs alone moves the numbers: by its last digits
                signs = [-1, 1, *case.signs()]
                near = [_expected(oracle, case, case.xs * (1 + ROUNDING * sign)) for sign in signs]
            moved = max(relative(other[name, index], value) for other in near)
            if relative(found, value) >= tolerance + 30 * moved:
                raise AssertionError(
                    f"kernel {kernel!r} and the formulas differ {'in a prediction' if index is None else f'at step {index}'}, the"
                    f" most at {where_it_differs(topology, name, found, value)} (relative to the largest:"
                    f" {relative(found, value):.2g}; allowed: {tolerance + 30 * moved:.2g})"
                )


def _expected(oracle: Oracle, case: Case, xs: np.ndarray) -> dict[tuple[str, int | None], np.ndarray]:
    """Every number of the oracle's steps, by its name and step, and its prediction ("query", None)."""
    expected, traces, w, carried = {}, None, case.synapses, case.carried
    for index, (x, y) in enumerate(zip(xs, case.ys, strict=True)):
        record = oracle.step(w, x, y, index, carried, traces)
        w, carried, traces = record.synapses, record.carried, record.traces
        found = {name: getattr(record, name.removeprefix("states.")) for name in (*STATES, "outputs")} | w
        found |= {f"{name}_trace": value for name, value in traces.items() if name != "backward" or not oracle.rule.symmetric}
        expected |= {(name, index): value for name, value in found.items()}
    if case.query is not None:
        expected["query", None] = oracle.predict(w, case.query, carried)
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
      >>> assert_permutation_invariant(ng.load_topology("residual"), kernel="gather", steps=1)
    """
    rule = _default_rule(rule)
    with jax.enable_x64(True):
        genome = random_genome(rule.states, seed) if genome is None else genome.astype("float64")
        case = Case(topology, rule, seed, batch, steps)
        rng = np.random.default_rng(seed)
        p = rng.permutation(topology.num_neurons)  # new index of a neuron
        q = rng.permutation(topology.num_synapses)  # old index of a synapse
        p_in, p_out = rng.permutation(len(topology.inputs)), rng.permutation(len(topology.outputs))
        old = np.argsort(p)  # old index of a new neuron
        other = topology.replace(
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
        moved = {name: None if packed[name] is None else packed[name][q] for name in ("forward", "backward")}
        moved |= {"bias": packed["bias"][old], "neurons": None if case.carried is None else case.carried[:, old]}
        wanted = run(topology, rule, genome, case, kernel)
        case.packed, case.xs, case.ys, case.query = moved, case.xs[..., p_in], case.ys[..., p_out], None
        found = run(other, rule, genome, case, kernel)
        back: dict[str, Any] = {name: (slice(None), slice(None), p) for name in STATES}
        back |= {"outputs": (..., np.argsort(p_out)), "forward": (slice(None), np.argsort(q)), "bias": (slice(None), p)}
        back["backward"] = back["forward"]
        for name, index in back.items():
            for step in range(steps):
                ours, theirs = found[name][index][step], wanted[name][step]
                if relative(ours, theirs) >= tolerance:
                    raise AssertionError(
                        f"a relabelled graph and the graph differ at step {step}, the most at"
                        f" {where_it_differs(topology, name, ours, theirs)} (relative to the largest:"
                        f" {relative(ours, theirs):.2g}; allowed: {tolerance:g})"
                    )
