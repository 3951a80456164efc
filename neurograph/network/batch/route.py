"""Which graphs run as data of shared programs, and which as a `Network` each: a rule that weighs compiling against padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurograph.network.batch.choice import work
from neurograph.network.batch.sizes import SizeClass, exact_sizes, join, padded
from neurograph.topology.graph import Topology

__all__ = ["RATE", "Load", "Route", "explain", "routes"]

# Multiply-adds per second of padded matrices in a learning step, loops and all else included; measured on one core of a CPU. What
# a `Network` takes beside compiling is left out of the comparison: it favours the `Network`.
RATE = 8e9


@dataclass(frozen=True)
class Load:
    """What is asked of every graph.

    Attributes:
      rows: rows of a batch, times states, times passes, that go through a graph in all.
      program: seconds of compiling what does it.
    """

    rows: float
    program: float

    def seconds(self, size: SizeClass) -> float:
        """Predicted time of one graph on the padded matrices of a class."""
        return self.rows * work(size) / RATE


@dataclass(frozen=True)
class Route:
    """How a graph runs: as data of a size class's program, or where `size` is None as a `Network`; and why, in words."""

    size: SizeClass | None
    why: str


def routes(topologies: Sequence[Topology], load: Load) -> list[Route]:
    """Returns a route for each of some topologies that run under one rule and load.

    Graphs whose padded matrices alone would take longer than compiling a program go as a `Network` each. The others, by kind
    (numbers of inputs and outputs, schedule, tolerance) and in the order of their work, are cut into classes where a further
    program costs less than the padding that it saves. A class goes as data if it takes less time than compiling as many programs
    as it has graphs.
    """
    exact = [exact_sizes(topology) for topology in topologies]
    found: dict[int, Route] = {}
    kinds: dict[tuple[int, int, str, float], list[int]] = {}
    for number, size in enumerate(exact):
        alone = load.seconds(padded(size))
        if alone > load.program:
            found[number] = Route(
                None, f"on padded matrices it would take {alone:.2g} s, and compiling takes {load.program:.2g} s"
            )
        else:
            kinds.setdefault((size.inputs, size.outputs, size.schedule, size.tolerance), []).append(number)
    for members in kinds.values():
        members.sort(key=lambda number: work(padded(exact[number])))
        for group in _cut(members, exact, load):
            size = padded(join([exact[number] for number in group]))
            each = load.seconds(size)
            shared, apart = load.program + len(group) * each, len(group) * load.program
            text = f"{len(group)} graph{'s' if len(group) > 1 else ''} of one size class ({size}): {shared:.2g} s"
            text += f", one program and {each:.2g} s a graph, against {apart:.2g} s of compiling a program each"
            found |= dict.fromkeys(group, Route(size if shared < apart else None, text))
    return [found[number] for number in range(len(exact))]


def explain(topology: Topology, load: Load) -> str:
    """Returns how a topology runs beside others of its size class, and why, in a sentence."""
    exact = exact_sizes(topology)
    size = padded(exact)
    each = load.seconds(size)
    if each >= load.program:
        return (
            f"a program of its own, because as data of a class ({size}) its padded matrices would take {each:.2g} s, and"
            f" compiling takes {load.program:.2g} s"
        )
    least = max(2, int(load.program / (load.program - each)) + 1)
    return (
        f"as data from {least} graphs of its size class ({size}) on, because its padded matrices take {each:.2g} s"
        f" ({work(size) / max(topology.num_synapses, 1):.1f} multiply-adds per synapse), and compiling a program takes"
        f" {load.program:.2g} s"
    )


def _cut(members: list[int], exact: Sequence[SizeClass], load: Load) -> list[list[int]]:
    """Groups of consecutive members, cut as long as that saves more than a program costs."""
    sizes = [exact[number] for number in members]
    ahead, behind = _running(sizes), _running(sizes[::-1])[::-1]
    cost = lambda size, count: count * load.seconds(padded(size))  # noqa: E731
    whole = cost(ahead[-1], len(sizes))
    cuts = [(cost(ahead[at - 1], at) + cost(behind[at], len(sizes) - at), at) for at in range(1, len(sizes))]
    least, at = min(cuts, default=(whole, 0))
    if whole - least <= load.program:
        return [members]
    return _cut(members[:at], exact, load) + _cut(members[at:], exact, load)


def _running(sizes: list[SizeClass]) -> list[SizeClass]:
    """The smallest class of the first one, two, ... sizes."""
    found = sizes[:1]
    for size in sizes[1:]:
        found.append(join([found[-1], size]))
    return found
