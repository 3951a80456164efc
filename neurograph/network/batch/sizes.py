"""`SizeClass`: the padded sizes that graphs share which run by one compiled program, and the plan of such a class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neurograph.errors import PlanError
from neurograph.network.plan.model import Phase, Plan, Stage
from neurograph.topology.graph import Topology

__all__ = ["SizeClass", "bands", "chunk_of", "class_plan", "exact_sizes", "join", "padded", "pairs", "parts_of"]

# Numbers of hidden neurons are padded to this, or 1.5 times this, and their doubles.
SMALLEST = 16


@dataclass(frozen=True)
class SizeClass:
    """Sizes that a compiled program is for; a graph fits whose own are not larger.

    Attributes:
      inputs, outputs: exact numbers.
      hidden: padded numbers of hidden neurons per band: those that no cycle reaches, those on cycles that no other cycle reaches,
        those behind them, and so on in turn; under the synchronous schedule one band.
      synapses: padded number, biases not counted.
      groups, members: padded numbers of groups of shared synapses and of members of one; `bias_groups`, `bias_members` likewise.
      fixed: whether there may be fixed synapses.
      schedule: of all its graphs; an acyclic graph is "levels" whatever its own says, unless it says "synchronous".
      ticks: the most of any graph; tolerance: of all (see `Topology`); damped: whether ticks of a graph may be damped.
      projecting: whether outputs may have outgoing synapses under the synchronous schedule.
      sending: under the others, numbers of outputs with outgoing synapses per band; () for none. Of acyclic ones, what they send
        to lies in later bands.

    Examples:
      >>> import neurograph as ng
      >>> print(ng.SizeClass.of([ng.load_topology("mlp_2d_classes")]))
      2 inputs, 48 hidden, 2 outputs, levels
    """

    inputs: int
    outputs: int
    hidden: tuple[int, ...]
    synapses: int
    groups: int = 0
    members: int = 0
    bias_groups: int = 0
    bias_members: int = 0
    fixed: bool = False
    schedule: str = "levels"
    ticks: int = 1
    tolerance: float = 0.0
    damped: bool = False
    projecting: bool = False
    sending: tuple[int, ...] = ()

    @classmethod
    def of(cls, topologies: Sequence[Topology]) -> SizeClass:
        """A class for graphs such as these: the smallest that holds all, padded.

        Raises:
          PlanError: they differ in their numbers of inputs or outputs, in the schedule, or in what they make of ticks.
        """
        exact = [exact_sizes(topology) for topology in topologies]
        if any(size.schedule == "mixed" for size in exact):  # acyclic graphs run in the first band of others
            first = next(size for size in exact if size.schedule == "mixed")
            same = {"schedule": "mixed", "tolerance": first.tolerance}
            exact = [dataclasses.replace(size, **same) if size.schedule == "levels" else size for size in exact]
        for name in ("inputs", "outputs", "schedule", "tolerance"):
            if len(found := {getattr(size, name) for size in exact}) != 1:
                raise PlanError(f"{name}: got {sorted(found) or 'no topology'}; expected the same of all graphs of a size class")
        return padded(join(exact))

    @property
    def neurons(self) -> int:
        """Padded number of neurons."""
        return self.inputs + sum(self.hidden) + sum(self.sending) + self.outputs

    @property
    def numbers(self) -> int:
        """Padded number of pairs of neurons that might have a synapse: the length of all matrices together."""
        sizes = [stage.size for stage in class_plan(self).stages]
        return sum(sizes[receiver] * sizes[sender] for receiver, sender in pairs(self))

    def __str__(self) -> str:
        hidden = " + ".join(map(str, self.hidden)) or "0"
        ticks = "" if self.schedule == "levels" else f" x {self.ticks}"
        sending = f" ({sum(self.sending)} sending)" if self.sending else ""
        return f"{self.inputs} inputs, {hidden} hidden, {self.outputs} outputs{sending}, {self.schedule}{ticks}"

    def holds(self, exact: SizeClass) -> bool:
        """Whether a graph of these exact sizes fits."""
        if (self.inputs, self.outputs) != (exact.inputs, exact.outputs):
            return False
        acyclic = (exact.schedule, self.schedule) == ("levels", "mixed")  # in the first band
        if not acyclic and (exact.schedule, exact.tolerance) != (self.schedule, self.tolerance):
            return False
        return join([self, exact]) == self


def bands(topology: Topology) -> np.ndarray:
    """[n] band of every neuron, see `SizeClass.hidden`: even where acyclic, odd on cycles."""
    component = np.asarray(topology.components)
    if topology.tolerance:
        return _bands_of_phases(topology)
    count = int(component.max(initial=-1)) + 1
    cyclic = np.bincount(component, minlength=count) > 1
    cyclic[component[topology.senders[topology.senders == topology.receivers]]] = True
    band = cyclic.astype(np.int64)  # of components that nothing reaches
    relay = np.zeros(count, bool)
    relay[component[_sending(topology)]] = True
    relay &= ~cyclic
    if not cyclic.any() and not relay.any():
        return band[component]
    level = np.zeros(count, np.int64)
    level[component] = topology.levels
    source, target = component[topology.senders], component[topology.receivers]
    between = source != target
    source, target = source[between], target[between]
    pairs = np.unique(np.stack([level[source], source, target], axis=1), axis=0)
    for _, s, t in pairs.tolist():
        # From a cycle to the acyclic band behind it, from there to the next cycle; from a cycle straight to another: two on.
        # Outputs are updated when all of their band is known: what they send to comes later.
        further = 2 if cyclic[s] and cyclic[t] else 1 if cyclic[s] != cyclic[t] else 2 if relay[s] else 0
        band[t] = max(band[t], band[s] + further)
    return band[component]


def _sending(topology: Topology) -> np.ndarray:
    """[n] bool: outputs with outgoing synapses."""
    outputs = np.zeros(topology.num_neurons, bool)
    outputs[topology.outputs] = True
    sends = np.zeros_like(outputs)
    sends[topology.senders] = True
    return outputs & sends


def _bands_of_phases(topology: Topology) -> np.ndarray:
    """The same, with a band for each of the phases that `compile_plan` makes of cycles: all that lie in one settle together."""
    component = np.asarray(topology.components)
    cyclic = np.bincount(component)[component] > 1
    cyclic[topology.senders[topology.senders == topology.receivers]] = True
    inner = np.ones(topology.num_neurons, bool)
    inner[topology.inputs] = inner[topology.outputs] = False
    sending = _sending(topology)
    inner |= sending
    key = topology.levels * 2 + cyclic
    band, last, closed = np.zeros(topology.num_neurons, int), 0, False
    for phase in np.unique(key[inner]):
        last = last + 1 if phase % 2 != last % 2 else last + 2 if phase % 2 or closed else last
        band[key == phase] = last
        closed = bool(sending[key == phase].any())
    return band


def exact_sizes(topology: Topology) -> SizeClass:
    """The smallest class that a topology fits in."""
    roles = np.ones(topology.num_neurons, bool)
    roles[topology.inputs] = roles[topology.outputs] = False
    synchronous = topology.schedule == "synchronous"
    band = np.zeros(topology.num_neurons, int) if synchronous else bands(topology)
    sends = _sending(topology)
    count = int(band[roles | sends].max(initial=0)) + 1
    sizes, sending = np.bincount(band[roles], minlength=count), np.bincount(band[sends], minlength=count)
    cyclic = bool(sizes[1::2].any() or sending[1::2].any())
    shared = topology.group[(topology.group >= 0) & ~topology.fixed]
    biases = topology.bias_group[(topology.bias_group >= 0) & topology.bias]
    return SizeClass(
        inputs=len(topology.inputs),
        outputs=len(topology.outputs),
        hidden=tuple(sizes.tolist()),
        synapses=topology.num_synapses,
        groups=len(np.unique(shared)),
        members=int(np.unique(shared, return_counts=True)[1].max(initial=0)),
        bias_groups=len(np.unique(biases)),
        bias_members=int(np.unique(biases, return_counts=True)[1].max(initial=0)),
        fixed=bool(topology.fixed.any()),
        schedule="synchronous" if synchronous else "mixed" if cyclic else "levels",
        ticks=topology.ticks if synchronous or cyclic else 1,
        tolerance=topology.tolerance if synchronous or cyclic else 0.0,
        damped=bool(topology.damping) and (synchronous or cyclic),
        projecting=synchronous and bool(sends.any()),
        sending=() if synchronous or not sends.any() else tuple(sending.tolist()),
    )


def join(sizes: Sequence[SizeClass]) -> SizeClass:
    """The smallest class that holds graphs of all these sizes, which agree on inputs, outputs and what they make of ticks."""
    longest = max(len(size.hidden) for size in sizes)
    full = lambda numbers: [*numbers, *[0] * (longest - len(numbers))]  # noqa: E731
    hidden, sending = (np.max([full(getattr(size, name)) for size in sizes], axis=0).tolist() for name in ("hidden", "sending"))
    most = {
        field.name: max(getattr(size, field.name) for size in sizes)
        for field in dataclasses.fields(SizeClass)
        if field.name not in ("inputs", "outputs", "hidden", "sending", "schedule", "tolerance")
    }
    return dataclasses.replace(sizes[0], hidden=tuple(hidden), sending=tuple(sending) if any(sending) else (), **most)


def padded(exact: SizeClass) -> SizeClass:
    """The class that graphs of these sizes fall in unless one is given."""
    hidden = tuple(_step(size) for size in exact.hidden)
    outer = exact.outputs + sum(exact.sending)
    full = (sum(hidden) + outer) * exact.neurons + sum(hidden) ** 2
    power = {name: _power(getattr(exact, name)) for name in ("synapses", "groups", "members", "bias_groups", "bias_members")}
    power["synapses"] = min(max(power["synapses"], 256), max(full, exact.synapses))
    return dataclasses.replace(exact, hidden=hidden, **power)


def _step(size: int) -> int:
    """16, 24, 32, 48, 64, 96, ...: the first that is not smaller."""
    power = _power(max(size, SMALLEST))
    return 0 if not size else 3 * power // 4 if SMALLEST < size <= 3 * power // 4 else power


def _power(size: int) -> int:
    return 1 << (size - 1).bit_length() if size else 0


def chunk_of(rows: int) -> int:
    """Senders per product of a sweep over an acyclic band, a divisor of its padded size: chunks without synapses are skipped."""
    return next((chunk for chunk in (64, 48) if rows % chunk == 0), rows)


@lru_cache(maxsize=256)
def pairs(size: SizeClass) -> tuple[tuple[int, int], ...]:
    """(receiving, sending) stage of the plan, of every matrix of synapses that graphs of a class may have."""
    plan, parts = class_plan(size), [part for part in parts_of(size) if part.count]
    phase, found = plan.phase_of_stage, []
    for receiver, info in enumerate(parts):
        for sender, other in enumerate(parts):
            idle = info.kind == "input" or not other.sends
            # Acyclic outputs of a band do not reach each other.
            apart = receiver == sender and info.kind == "output" and not plan.phases[phase[receiver]].cyclic
            if not idle and not apart and phase[sender] <= phase[receiver]:
                found.append((receiver, sender))
    return tuple(found)


@dataclass(frozen=True)
class Part:
    """Positions of a class that are one stage of its plan, or none where `count` is 0: a kind of neurons, their band, and whether
    they may have outgoing synapses."""

    kind: str
    count: int
    band: int | None
    sends: bool


@lru_cache(maxsize=256)
def parts_of(size: SizeClass) -> tuple[Part, ...]:
    """In the order of positions: inputs, per band hidden neurons and outputs that send, all other outputs."""
    parts = [Part("input", size.inputs, None, True)]
    for band, count in enumerate(size.hidden):
        parts.append(Part("hidden", count, band, True))
        parts.append(Part("output", size.sending[band] if size.sending else 0, band, True))
    return (*parts, Part("output", size.outputs, None, size.projecting))


@lru_cache(maxsize=256)
def class_plan(size: SizeClass) -> Plan:
    """Stages and phases that every graph of a class runs in; their neurons are data, so those of the plan stand for positions."""
    n = size.neurons
    position = np.arange(n, dtype=np.int32)
    stages, phases, start, cycle = [], [], 0, None
    for part in parts_of(size):
        if not part.count:
            continue
        own = position[start : start + part.count]
        start += part.count
        stages.append(Stage(part.kind, own, np.full(part.count, part.kind != "input"), np.full(part.count, -1, np.int32)))
        if size.schedule == "synchronous":
            number = None if part.kind == "input" else 1
        else:
            number = part.band if part.band is not None and part.band % 2 else None
        if number is not None and number == cycle:
            phases[-1] = dataclasses.replace(phases[-1], stages=(*phases[-1].stages, len(stages) - 1))
        else:
            cyclic = number is not None
            scanned = part.kind == "hidden" and not cyclic
            phases.append(Phase((len(stages) - 1,), size.ticks if cyclic else 1, cyclic, scanned))
        cycle = number
    sizes = np.array([stage.size for stage in stages])
    return Plan(
        _stand_in(size, n),
        tuple(stages),
        tuple(phases),
        (),
        position,
        position,
        np.concatenate([[0], np.cumsum(sizes)]),
        np.repeat(np.arange(len(stages)), sizes),
        np.zeros(0, np.int32),
        ("dense", size),  # pyright: ignore[reportArgumentType]  # what tells plans of equal stand-ins apart
    )


def _stand_in(size: SizeClass, neurons: int) -> Topology:
    """A topology of a class's sizes: what is static of its graphs, their inputs and outputs, is the same in all of them."""
    outputs = np.arange(neurons - size.outputs, neurons)
    return Topology(
        tuple(map(str, range(neurons))),
        np.zeros(size.outputs, int),
        outputs,
        np.arange(size.inputs),
        outputs,
        schedule=size.schedule,  # pyright: ignore[reportArgumentType]
        ticks=size.ticks,
        tolerance=size.tolerance,
    )
