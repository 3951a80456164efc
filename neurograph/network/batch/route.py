"""Which graphs run as data of shared programs, which as a `Network` each, and which programs are compiled without optimisations:
a rule that weighs compiling against padding and running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurograph.network.batch.choice import work
from neurograph.network.batch.layout import TILE
from neurograph.network.batch.sizes import SizeClass, class_plan, exact_sizes, join, padded, pairs
from neurograph.network.kernels import native
from neurograph.network.plan import compile_plan, gpu
from neurograph.topology.graph import Topology

__all__ = ["TRAINING", "Load", "Route", "explain", "padded_on_gpu", "routes"]

# Multiply-adds per second in a learning step, loops and all else included: of padded matrices, of a `Network`'s synapses in
# products, and of its other ones. These and what follows was measured on one core of a CPU.
RATE, DENSE, IRREGULAR = 1.3e10, 1e10, 2e9
# What compiling takes grows with the blocks of a plan, and with the pairs of stages that a size class may have synapses between.
FIXED, BLOCK = 0.7, 0.075
CLASS_FIXED, PAIR = 0.9, 0.09
# Without optimisations a program compiles in this share of the time, and runs this much slower.
QUICK, SLOWER = 0.4, 5.0

# Of graphs that meta-training and evolution are given; `python -m benchmarks.generations` measures both ways.
TRAINING = (
    "in a program that holds it, because a run repeats that for hundreds of meta-steps, and within tens of them padded matrices"
    " would cost what compiling saves; graphs that are drawn at random run as data"
)


@dataclass(frozen=True)
class Load:
    """What is asked of every graph.

    Attributes:
      rows: rows of a batch, times states, times passes, that go through a graph in all.
      program: seconds of compiling what does it, for a graph of a few layers.
      may_be_quick: whether programs that run little may be compiled without optimisations.
    """

    rows: float
    program: float
    may_be_quick: bool = False

    def seconds(self, size: SizeClass) -> float:
        """Predicted time of one graph on the padded matrices of a class."""
        return self.rows * work(size) / RATE

    def best(self, program: float, runs: float) -> Cost:
        """Compiles for `program` seconds and runs for `runs`, or, where that is less, quickly and slower."""
        usual, quick = Cost(program + runs, False), Cost(QUICK * program + SLOWER * runs, True)
        return quick if self.may_be_quick and quick.seconds < usual.seconds else usual

    def of_network(self, topology: Topology) -> Cost:
        """Predicted time of a graph as a `Network`."""
        plan = compile_plan(topology, native=native.available())
        each = plan.dense_share / DENSE + (1 - plan.dense_share) / IRREGULAR
        runs = self.rows * topology.num_synapses * topology.ticks * each
        return self.best(self.program * (FIXED + BLOCK * len(plan.blocks)), runs)

    def of_class(self, size: SizeClass, graphs: int) -> Cost:
        """Predicted time of so many graphs as data of a class's program."""
        return self.best(self.program * (CLASS_FIXED + PAIR * len(pairs(size))), graphs * self.seconds(size))


@dataclass(frozen=True)
class Cost:
    """Predicted seconds, of compiling and running, and whether that is with a program that is compiled quickly."""

    seconds: float
    quick: bool

    def __str__(self) -> str:
        return f"{self.seconds:.2g} s{' (a program without optimisations)' if self.quick else ''}"


@dataclass(frozen=True)
class Route:
    """How a graph runs.

    Attributes:
      size: the class as whose data it runs; None: as a `Network`.
      quick: whether its program is compiled without optimisations.
      why: in words.
    """

    size: SizeClass | None
    quick: bool
    why: str


def routes(topologies: Sequence[Topology], load: Load) -> list[Route]:
    """Returns a route for each of some topologies that run under one rule and load.

    Graphs whose padded matrices alone would take longer than a `Network`, compiling included, go as a `Network` each. The others,
    by kind (numbers of inputs and outputs, schedule, tolerance) and in the order of their work, are cut into classes where that
    takes less time. A class goes as data if it takes less time than a `Network` for each of its graphs.
    """
    exact = [exact_sizes(topology) for topology in topologies]
    apart = [load.of_network(topology) for topology in topologies]
    found: dict[int, Route] = {}
    kinds: dict[tuple[int, int, str, float], list[int]] = {}
    for number, (size, own) in enumerate(zip(exact, apart, strict=True)):
        alone = load.seconds(padded(size))
        if alone > own.seconds:
            found[number] = Route(None, own.quick, f"{own}; its padded matrices would take {alone:.2g} s")
        else:
            kinds.setdefault((size.inputs, size.outputs, size.schedule, size.tolerance), []).append(number)
    for members in kinds.values():
        members.sort(key=lambda number: work(padded(exact[number])))
        for group in _cut(members, exact, apart, load):
            size = padded(join([exact[number] for number in group]))
            shared, others = load.of_class(size, len(group)), sum(apart[number].seconds for number in group)
            text = f"{len(group)} graph{'s' if len(group) > 1 else ''} of one size class ({size}): {shared} as data,"
            text += f" {others:.2g} s as a Network each"
            as_data = Route(size, shared.quick, text)
            for number in group:
                found[number] = as_data if shared.seconds < others else Route(None, apart[number].quick, text)
    return [found[number] for number in range(len(exact))]


def padded_on_gpu(topology: Topology, states: int = gpu.STATES, batch: int = gpu.BATCH) -> gpu.Cost:
    """Launches and bytes of a learning step of one graph on padded matrices on a GPU, as the rule of plan/gpu.py counts them.

    Graphs that run side by side share the launches, and move the bytes each.
    """
    size = padded(exact_sizes(topology))
    plan, row = class_plan(size), 4 * states * batch
    depth = len(set(topology.levels.tolist()))
    launches, moved, operations = gpu.FIXED, 0, 0
    for number, phase in enumerate(plan.phases):
        for stage in phase.stages if number else ():
            info = plan.stages[stage]
            steps = max(-(-info.size // TILE), depth - 2, 1) if phase.scanned else 0
            passes = phase.ticks * (2 if info.kind == "hidden" else 1)
            launches += passes * (gpu.UPDATE + (gpu.STEP + 1) * steps)
            moved += passes * gpu.COPIES * info.size * row
    for receiver, sender in pairs(size):
        ends, places = (plan.stages[receiver], plan.stages[sender]), plan.stages[receiver].size * plan.stages[sender].size
        inside = plan.phase_of_stage[receiver] == plan.phase_of_stage[sender]
        flows = (2 if ends[1].kind == "hidden" else 1) * (plan.phases[plan.phase_of_stage[receiver]].ticks if inside else 1)
        launches += flows + 2
        moved += (flows + 1) * row * (ends[0].size + ends[1].size) + (flows + 3) * 4 * states * places
        operations += (flows + 1) * states * batch * places
    return gpu.Cost(int(launches), int(moved), int(operations), 1.0)


MOST = 1000  # graphs that `explain` thinks of


def explain(topology: Topology, load: Load) -> str:
    """Returns how a topology runs beside others like it, and why, in a sentence."""
    size, own = padded(exact_sizes(topology)), load.of_network(topology)
    ratio = f"{work(size) / max(topology.num_synapses, 1):.1f} multiply-adds per synapse"
    least = next((count for count in range(1, MOST) if load.of_class(size, count).seconds < count * own.seconds), None)
    if least is None:
        return (
            f"a program of its own, which takes {own}; as data of a class ({size}) its padded matrices would take"
            f" {load.seconds(size):.2g} s ({ratio})"
        )
    return (
        f"as data from {least} graph{'s' if least > 1 else ''} of its size class ({size}) on: one program,"
        f" {load.of_class(size, 0)}, whose runs take {load.seconds(size):.2g} s a graph ({ratio}), against {own} for a Network"
        " each"
    )


def _cut(members: list[int], exact: Sequence[SizeClass], apart: Sequence[Cost], load: Load) -> list[list[int]]:
    """Groups of consecutive members, cut as long as that takes less time."""
    sizes = [exact[number] for number in members]
    ahead, behind = _running(sizes), _running(sizes[::-1])[::-1]

    def cost(size: SizeClass, group: list[int]) -> float:
        return min(load.of_class(padded(size), len(group)).seconds, sum(apart[number].seconds for number in group))

    whole = cost(ahead[-1], members)
    cuts = [(cost(ahead[at - 1], members[:at]) + cost(behind[at], members[at:]), at) for at in range(1, len(sizes))]
    least, at = min(cuts, default=(whole, 0))
    if whole <= least:
        return [members]
    return _cut(members[:at], exact, apart, load) + _cut(members[at:], exact, apart, load)


def _running(sizes: list[SizeClass]) -> list[SizeClass]:
    """The smallest class of the first one, two, ... sizes."""
    found = sizes[:1]
    for size in sizes[1:]:
        found.append(join([found[-1], size]))
    return found
