"""The conditions under which a graph is a network: every fault found, each with the neuron or synapse that it belongs to."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from neurograph.errors import TopologyError

__all__ = [
    "DEFAULT_LIMITS",
    "SCHEDULES",
    "Flaw",
    "InvalidGraph",
    "Limits",
    "bad_text",
    "check_limits",
    "find_problems",
    "name_flaws",
    "settling",
]

SCHEDULES = ("levels", "synchronous", "mixed")
SETTLE_TICKS, SETTLE_TOLERANCE = 100, 1e-4  # what `ticks: settle` means

# Characters that XML cannot hold or that a text format would change: controls, line separators, surrogates, non-characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_CONTROL_BUT_NEWLINE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")

MAX_NAME = 1000  # characters; a longer name is a broken file, and would make unreadable messages
_SHOWN = 3  # faults of one kind that are spelled out; the rest are counted


@dataclasses.dataclass(frozen=True)
class Limits:
    """How large a graph may become; every reader and builder asks before it allocates.

    Attributes:
      neurons, synapses: the largest numbers allowed. Raise them on purpose: `load_topology(path, limits=Limits(10**7, 10**9))`.
    """

    neurons: int = 5_000_000
    synapses: int = 50_000_000

    def __post_init__(self) -> None:
        for name in ("neurons", "synapses"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or value != value:
                raise TopologyError(f"Limits({name}=...): got {value!r}; expected a number.")

    def check(self, *, neurons: int = 0, synapses: int = 0, what: str = "the graph") -> None:
        """Raises TopologyError if `what` would have more than is allowed."""
        if neurons > self.neurons:
            raise TopologyError(
                f"{what} would have {neurons:,} neurons; the limit is {self.neurons:,} "
                "(raise it with Limits(neurons=...) or --max-neurons)."
            )
        if synapses > self.synapses:
            raise TopologyError(
                f"{what} would have {synapses:,} synapses; the limit is {self.synapses:,} "
                "(raise it with Limits(synapses=...) or --max-synapses)."
            )


DEFAULT_LIMITS = Limits()


def check_limits(limits: Any) -> None:
    """Raises TopologyError if `limits` is no `Limits`."""
    if not isinstance(limits, Limits):
        raise TopologyError(f"limits: got {type(limits).__name__}; expected Limits(neurons=..., synapses=...).")


class Graph(Protocol):
    """The part of a topology that the checks read."""

    names: tuple[str, ...]
    senders: np.ndarray
    receivers: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    bias: np.ndarray
    weight: np.ndarray
    fixed: np.ndarray
    group: np.ndarray
    bias_group: np.ndarray
    population: np.ndarray
    population_names: tuple[str, ...]
    population_shapes: tuple[tuple[int, ...], ...]
    title: str
    description: str
    schedule: str
    ticks: int
    outputs_may_project: bool
    tolerance: float
    damping: float

    @property
    def num_neurons(self) -> int: ...
    @property
    def num_synapses(self) -> int: ...
    @property
    def is_acyclic(self) -> bool: ...
    @property
    def unreachable(self) -> np.ndarray: ...
    def find_cycle(self) -> list[str]: ...
    def index(self, name: str) -> int: ...


@dataclasses.dataclass(frozen=True)
class Flaw:
    """One fault: `kind` is "graph", "neuron", "synapse", "input", "output" or "population", `index` the place in that array."""

    message: str
    kind: str = "graph"
    index: int = -1


class InvalidGraph(TopologyError):
    """A TopologyError that lists its problems, so that a reader can give each its line in the file."""

    def __init__(self, problems: list[Flaw]):
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.message for problem in problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self.problems),)


def settling(ticks: int | str | None, tolerance: float | None) -> tuple[int, float]:
    """Ticks and tolerance as numbers: "settle" is at most 100 ticks, until none moves a state by more than 1e-4.

    Raises:
      TopologyError: another word.
    """
    if ticks == "settle":
        return SETTLE_TICKS, tolerance or SETTLE_TOLERANCE
    if isinstance(ticks, str):
        raise TopologyError(f"ticks: got {ticks!r}; expected an integer, or settle.")
    return 1 if ticks is None else ticks, tolerance or 0.0


def bad_text(text: Any, *, newlines: bool = False) -> str | None:
    """Why `text` cannot be a name (or, with `newlines`, a description); None if it can."""
    if not isinstance(text, str):
        return f"got {type(text).__name__}; expected text"
    found = (_CONTROL_BUT_NEWLINE if newlines else _CONTROL).search(text)
    if found:
        return f"contains the control character U+{ord(found.group()):04X}"
    return None


def find_problems(topology: Graph) -> list[Flaw]:
    """All faults of a topology whose arrays already have the right shapes and dtypes.

    Later stages look at the graph only if earlier ones found the indices sound.
    """
    problems = [*name_flaws(topology.names), *_options(topology), *_indices(topology)]
    if problems:
        return problems
    problems = [*_populations(topology), *_synapses(topology), *_groups(topology), *_roles(topology)]
    return problems or _paths(topology)


def _first(found: np.ndarray | list[int], kind: str, message: Callable[[int], str]) -> list[Flaw]:
    """The first few faults of a kind, the last of them saying how many more there are."""
    problems = [Flaw(message(int(i)), kind, int(i)) for i in found[:_SHOWN]]
    if len(found) > _SHOWN:
        problems[-1] = dataclasses.replace(problems[-1], message=f"{problems[-1].message} ({len(found) - _SHOWN:,} more like it)")
    return problems


def name_flaws(names: Sequence[str]) -> list[Flaw]:
    """The faults of neuron names: none at all, no text, too long, empty, control characters, two neurons of one name."""
    if not names:
        return [Flaw("the graph has no neurons.")]
    wrong = [i for i, name in enumerate(names) if type(name) is not str]
    if wrong:
        return _first(wrong, "neuron", lambda i: f"names[{i}]: got {type(names[i]).__name__}; expected text.")
    long = [i for i, length in enumerate(map(len, names)) if length > MAX_NAME]
    if long:
        return _first(
            long, "neuron", lambda i: f"names[{i}]: has {len(names[i]):,} characters; at most {MAX_NAME:,} are allowed."
        )
    problems = []
    if "" in names:
        problems += _first([names.index("")], "neuron", lambda i: f"names[{i}]: a neuron's name is empty.")
    if _CONTROL.search("".join(names)):
        bad = [i for i, name in enumerate(names) if _CONTROL.search(name)]
        problems += _first(bad, "neuron", lambda i: f"names[{i}]: {names[i]!r} {bad_text(names[i])}.")
    if len(set(names)) != len(names):
        seen, twice = {""}, []  # empty names have a fault already
        for i, name in enumerate(names):
            if name in seen and name:
                twice.append(i)
            seen.add(name)
        problems += _first(twice, "neuron", lambda i: f"names[{i}]: two neurons are named {names[i]!r}.")
    return problems


def _options(t: Graph) -> list[Flaw]:
    problems = []
    if t.schedule not in SCHEDULES:
        problems.append(Flaw(f"schedule: got {t.schedule!r}; allowed: {', '.join(SCHEDULES)}."))
    if not 1 <= t.ticks <= 1_000_000:
        problems.append(Flaw(f"ticks: got {t.ticks}; expected an integer from 1 to 1,000,000."))
    elif t.schedule == "levels" and t.ticks != 1:
        problems.append(Flaw(f'ticks: got {t.ticks}, but schedule "levels" has one; allowed with: synchronous, mixed.'))
    for name, value, most in (("tolerance", t.tolerance, math.inf), ("damping", t.damping, 1.0)):
        if not 0 <= value < most:
            problems.append(Flaw(f"{name}: got {value}; expected a number >= 0{' and < 1' if most == 1 else ''}."))
        elif value and t.schedule == "levels":
            problems.append(Flaw(f'{name}: got {value}, but schedule "levels" has no ticks; allowed with: synchronous, mixed.'))
    for name in ("title", "description"):
        why = bad_text(getattr(t, name), newlines=name == "description")
        if why:
            problems.append(Flaw(f"{name}: {why}."))
    return problems


def _indices(t: Graph) -> list[Flaw]:
    problems = []
    for name, kind in (("senders", "synapse"), ("receivers", "synapse"), ("inputs", "input"), ("outputs", "output")):
        problems += _out_of_range(name, getattr(t, name), kind, 0, t.num_neurons, f" ({t.num_neurons:,} neurons)")
    problems += _out_of_range("population", t.population, "neuron", -1, len(t.population_names), "")
    return problems


def _out_of_range(name: str, array: np.ndarray, kind: str, low: int, stop: int, note: str) -> list[Flaw]:
    wrong = np.flatnonzero((array < low) | (array >= stop))
    return _first(wrong, kind, lambda i: f"{name}[{i}]: {array[i]} is out of range; allowed {low} to {stop - 1}{note}.")


def _populations(t: Graph) -> list[Flaw]:
    problems = []
    for i, name in enumerate(t.population_names):
        why = (
            "must not be empty"
            if name == ""
            else bad_text(name) or (f"is longer than {MAX_NAME:,}" if len(name) > MAX_NAME else None)
        )
        if why:
            problems.append(Flaw(f"population_names[{i}]: {why}.", "population", i))
    if problems:
        return problems
    for name, count in Counter(t.population_names).items():
        if count > 1:
            problems.append(Flaw(f"population {name!r} is named twice.", "population", t.population_names.index(name)))
    if len(t.population_shapes) != len(t.population_names):
        got, wanted = len(t.population_shapes), len(t.population_names)
        problems.append(Flaw(f"population_shapes: got {got} shapes for {wanted} populations."))
        return problems
    sizes = np.bincount(t.population[t.population >= 0], minlength=len(t.population_names))
    for i, (name, shape) in enumerate(zip(t.population_names, t.population_shapes)):
        size = 1
        for length in shape:
            size *= length
        if not sizes[i]:
            problems.append(Flaw(f"population {name!r} has no neurons.", "population", i))
        elif not shape or min(shape) < 1 or size != sizes[i]:
            problems.append(Flaw(f"population {name!r} has {sizes[i]} neurons but the shape {shape}.", "population", i))
    return problems


def _synapses(t: Graph) -> list[Flaw]:
    names, n, problems = t.names, t.num_neurons, []

    def arrow(e: int) -> str:
        return f"{names[t.senders[e]]!r} -> {names[t.receivers[e]]!r}"

    key = t.senders.astype(np.int64) * n + t.receivers
    order = np.argsort(key, kind="stable")
    twice = np.sort(order[1:][key[order][1:] == key[order][:-1]])
    problems += _first(
        twice, "synapse", lambda e: f"synapse {arrow(e)} is given twice; two neurons have at most one synapse in each direction."
    )
    into = np.flatnonzero(_mask(n, t.inputs)[t.receivers])
    problems += _first(into, "synapse", lambda e: f"synapse {arrow(e)} leads into an input neuron; inputs are clamped to x.")
    infinite = np.flatnonzero(np.isinf(t.weight))
    problems += _first(infinite, "synapse", lambda e: f"synapse {arrow(e)}: its weight is not finite.")
    unset = np.flatnonzero(t.fixed & np.isnan(t.weight))
    problems += _first(unset, "synapse", lambda e: f"synapse {arrow(e)} is fixed but has no weight; a fixed synapse needs one.")
    return problems


def _groups(t: Graph) -> list[Flaw]:
    names, problems = t.names, []
    members = np.flatnonzero(t.group >= 0)
    if len(members):
        ids = t.group[members]
        head = members[np.unique(ids, return_index=True)[1]][ids]  # the first member of each synapse's group
        a, b = t.weight[members], t.weight[head]
        wrong = members[(t.fixed[members] != t.fixed[head]) | ~((a == b) | (np.isnan(a) & np.isnan(b)))]
        problems += _first(
            wrong,
            "synapse",
            lambda e: (
                f"synapse {names[t.senders[e]]!r} -> {names[t.receivers[e]]!r} shares its number with others of its group "
                "but differs from them in `fixed` or `weight`."
            ),
        )
    unbiased = np.flatnonzero((t.bias_group >= 0) & ~t.bias)
    problems += _first(unbiased, "neuron", lambda i: f"neuron {names[i]!r} has a bias group but no bias.")
    return problems


def _roles(t: Graph) -> list[Flaw]:
    names, n = t.names, t.num_neurons
    problems = [*_role(t, "input", t.inputs), *_role(t, "output", t.outputs)]
    is_input, is_output = _mask(n, t.inputs), _mask(n, t.outputs)
    both = np.flatnonzero(is_input & is_output)
    problems += _first(both, "neuron", lambda i: f"neuron {names[i]!r} is both an input and an output.")
    biased = np.flatnonzero(t.bias & is_input)
    problems += _first(biased, "neuron", lambda i: f"input neuron {names[i]!r} has a bias; inputs are clamped to x.")
    if not t.outputs_may_project:
        problems += _first(
            np.flatnonzero(is_output[t.senders]),
            "synapse",
            lambda e: (
                f"synapse {names[t.senders[e]]!r} -> {names[t.receivers[e]]!r} leaves an output neuron; "
                "`outputs_may_project: true` allows it."
            ),
        )
    return problems


def _role(t: Graph, role: str, array: np.ndarray) -> list[Flaw]:
    if not len(array):
        return [Flaw(f"the graph has no {role} neurons; at least one is needed.")]
    twice = np.flatnonzero(np.bincount(array, minlength=t.num_neurons) > 1)
    return _first(twice, "neuron", lambda i: f"neuron {t.names[i]!r} is an {role} twice.")


def _paths(t: Graph) -> list[Flaw]:
    problems = []
    if t.schedule == "levels" and not t.is_acyclic:
        names = t.find_cycle()
        shown = names if len(names) <= 8 else [*names[:6], f"... {len(names) - 7} more ...", names[-1]]
        loop = " -> ".join(repr(name) if not name.startswith("... ") else name for name in [*shown, names[0]])
        what = "a self-loop" if len(names) == 1 else "a cycle"
        problems.append(
            Flaw(
                f'the graph has {what}, {loop}; schedule "levels" needs an acyclic graph (allowed here: synchronous, mixed).',
                "neuron",
                t.index(names[0]),
            )
        )
    lost = t.outputs[t.unreachable[t.outputs]]
    problems += _first(lost, "neuron", lambda i: f"output neuron {t.names[i]!r} cannot be reached from any input.")
    return problems


def _mask(n: int, indices: np.ndarray) -> np.ndarray:
    mask = np.zeros(n, bool)
    mask[indices] = True
    return mask
