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

__all__ = ["SizeClass", "bands", "chunk_of", "class_plan", "exact_sizes", "join", "padded", "pairs", "refusal"]

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
      projecting: whether outputs may have outgoing synapses (synchronous only).

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
        return self.inputs + sum(self.hidden) + self.outputs

    @property
    def numbers(self) -> int:
        """Padded number of pairs of neurons that might have a synapse: the length of all matrices together."""
        sizes = [stage.size for stage in class_plan(self).stages]
        return sum(sizes[receiver] * sizes[sender] for receiver, sender in pairs(self))

    def __str__(self) -> str:
        hidden = " + ".join(map(str, self.hidden)) or "0"
        ticks = "" if self.schedule == "levels" else f" x {self.ticks}"
        return f"{self.inputs} inputs, {hidden} hidden, {self.outputs} outputs, {self.schedule}{ticks}"

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
    if not cyclic.any():
        return band[component]
    level = np.zeros(count, np.int64)
    level[component] = topology.levels
    source, target = component[topology.senders], component[topology.receivers]
    between = source != target
    source, target = source[between], target[between]
    pairs = np.unique(np.stack([level[source], source, target], axis=1), axis=0)
    for _, s, t in pairs.tolist():
        # From a cycle to the acyclic band behind it, from there to the next cycle; from a cycle straight to another: two on.
        band[t] = max(band[t], band[s] + (2 if cyclic[s] and cyclic[t] else 1 if cyclic[s] != cyclic[t] else 0))
    return band[component]


def _bands_of_phases(topology: Topology) -> np.ndarray:
    """The same, with a band for each of the phases that `compile_plan` makes of cycles: all that lie in one settle together."""
    component = np.asarray(topology.components)
    cyclic = np.bincount(component)[component] > 1
    cyclic[topology.senders[topology.senders == topology.receivers]] = True
    inner = np.ones(topology.num_neurons, bool)
    inner[topology.inputs] = inner[topology.outputs] = False
    key = topology.levels * 2 + cyclic
    band, last = np.zeros(topology.num_neurons, int), 0
    for phase in np.unique(key[inner]):
        last = last + 1 if phase % 2 != last % 2 else last + 2 if phase % 2 else last
        band[key == phase] = last
    return band


def exact_sizes(topology: Topology) -> SizeClass:
    """The smallest class that a topology fits in."""
    roles = np.ones(topology.num_neurons, bool)
    roles[topology.inputs] = roles[topology.outputs] = False
    synchronous = topology.schedule == "synchronous"
    band = np.zeros(topology.num_neurons, int) if synchronous else bands(topology)
    sizes = np.bincount(band[roles], minlength=1)
    cyclic = len(sizes) > 1
    shared = topology.group[(topology.group >= 0) & ~topology.fixed]
    biases = topology.bias_group[(topology.bias_group >= 0) & topology.bias]
    outputs = np.zeros(topology.num_neurons, bool)
    outputs[topology.outputs] = True
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
        projecting=bool(outputs[topology.senders].any()),
    )


def refusal(exact: SizeClass) -> str | None:
    """Why graphs of these sizes cannot run as data, if they cannot."""
    if exact.projecting and exact.schedule != "synchronous":
        return "outputs have outgoing synapses, which needs schedule: synchronous here; use Network"
    return None


def join(sizes: Sequence[SizeClass]) -> SizeClass:
    """The smallest class that holds graphs of all these sizes, which agree on inputs, outputs and what they make of ticks."""
    longest = max(len(size.hidden) for size in sizes)
    hidden = np.max([[*size.hidden, *[0] * (longest - len(size.hidden))] for size in sizes], axis=0)
    most = {
        field.name: max(getattr(size, field.name) for size in sizes)
        for field in dataclasses.fields(SizeClass)
        if field.name not in ("inputs", "outputs", "hidden", "schedule", "tolerance")
    }
    return dataclasses.replace(sizes[0], hidden=tuple(hidden.tolist()), **most)


def padded(exact: SizeClass) -> SizeClass:
    """The class that graphs of these sizes fall in unless one is given."""
    hidden = tuple(_step(size) for size in exact.hidden)
    full = (sum(hidden) + exact.outputs) * exact.neurons + sum(hidden) ** 2
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
    plan = class_plan(size)
    phase, found = plan.phase_of_stage, []
    for receiver, info in enumerate(plan.stages):
        for sender, other in enumerate(plan.stages):
            idle = info.kind == "input" or (other.kind == "output" and not size.projecting)
            if not idle and phase[sender] <= phase[receiver]:
                found.append((receiver, sender))
    return tuple(found)


@lru_cache(maxsize=256)
def class_plan(size: SizeClass) -> Plan:
    """Stages and phases that every graph of a class runs in; their neurons are data, so those of the plan stand for positions."""
    counts = [("input", size.inputs), *(("hidden", count) for count in size.hidden), ("output", size.outputs)]
    offsets = np.cumsum([0, *(count for _, count in counts)])
    n = int(offsets[-1])
    position = np.arange(n, dtype=np.int32)
    stages, phases, kept = [], [], []
    for number, (kind, count) in enumerate(counts):
        if not count:
            continue
        own = position[offsets[number] : offsets[number + 1]]
        stages.append(Stage(kind, own, np.full(count, kind != "input"), np.full(count, -1, np.int32)))
        kept.append(number)
        cyclic = kind != "input" if size.schedule == "synchronous" else kind == "hidden" and number % 2 == 0
        if size.schedule == "synchronous" and kind == "output" and phases[-1].cyclic:
            phases[-1] = dataclasses.replace(phases[-1], stages=(*phases[-1].stages, len(stages) - 1))
        else:
            scanned = kind == "hidden" and not cyclic
            phases.append(Phase((len(stages) - 1,), size.ticks if cyclic else 1, cyclic, scanned))
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
