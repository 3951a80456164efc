"""Everything that neurograph raises on purpose.

```
NeurographError
├── TopologyError      a graph that cannot be a network
│   └── SpecError      the same, in a file: carries every fault with file:line
├── RuleError          options of a rule that are wrong or contradict each other
├── GenomeError        genome arrays or files that do not fit
├── PlanError          a topology that cannot run under the asked schedule or kernel
├── ShapeError         arrays handed to a network have the wrong shape or dtype
├── TaskError          data that is missing or malformed
├── ExperimentError    configuration, run folders and checkpoints
└── MissingExtraError  an optional dependency is not installed
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ExperimentError",
    "Fault",
    "GenomeError",
    "MissingExtraError",
    "NeurographError",
    "PlanError",
    "RuleError",
    "SettlingWarning",
    "ShapeError",
    "SpecError",
    "TaskError",
    "TopologyError",
]


MOST_LINES, LONGEST_LINE, MOST_CHARACTERS = 40, 600, 4000  # of a message


def screenful(text: str) -> str:
    """Returns a message that fits on a screen: long lines lose their middle, many lines their end, and it says so."""
    if len(text) <= LONGEST_LINE and text.count("\n") < MOST_LINES:
        return text
    lines, kept, size = text.split("\n"), [], 0
    for number, line in enumerate(lines):
        if len(line) > LONGEST_LINE:
            line = f"{line[: LONGEST_LINE - 200]} ... {line[-150:]}"
        size += len(line) + 1
        if number == MOST_LINES - 1 < len(lines) - 1 or size > MOST_CHARACTERS:
            kept.append(f"... and {len(lines) - number:,} more lines.")
            break
        kept.append(line)
    return "\n".join(kept)


class NeurographError(Exception):
    """Base of all errors raised on purpose; its text is fit to show to a user as it is.

    Examples:
      >>> import neurograph as ng
      >>> try:
      ...     ng.Rule(states=0)
      ... except ng.NeurographError as error:
      ...     print(type(error).__name__)
      RuleError
    """

    def __init__(self, *args: Any):
        super().__init__(*(screenful(part) if isinstance(part, str) else part for part in args))


class TopologyError(NeurographError, ValueError):
    """A graph that cannot be a network: says which neuron or synapse, and what is allowed.

    Examples:
      >>> import networkx as nx
      >>> import neurograph as ng
      >>> try:
      ...     ng.from_networkx(nx.Graph([("a", "b")]), inputs=["a"], outputs=["b"])
      ... except ng.TopologyError as error:
      ...     print(error)
      graph: it is undirected; attach=True, or graph.to_directed(), makes two synapses of every edge.
    """


class RuleError(NeurographError, ValueError):
    """An option of a rule has a wrong value, or two options contradict each other (both are named).

    Examples:
      >>> import neurograph as ng
      >>> try:
      ...     ng.Rule(states=0)
      ... except ng.RuleError as error:
      ...     print(error)
      states: got 0; expected an integer > 0
    """


class GenomeError(NeurographError, ValueError):
    """Genome arrays or a genome file do not fit the rule.

    Examples:
      >>> import neurograph as ng
      >>> try:
      ...     ng.average_genomes([])
      ... except ng.GenomeError as error:
      ...     print(error)
      genomes: got none; expected at least one
    """


class PlanError(NeurographError, ValueError):
    """A topology cannot run under the asked schedule or kernel.

    Examples:
      >>> import neurograph as ng
      >>> try:
      ...     ng.compile_plan(ng.load_topology("tiny"), levels="some")
      ... except ng.PlanError as error:
      ...     print(error)
      levels: got 'some'; allowed: auto, always, never
    """


class ShapeError(NeurographError, ValueError):
    """An array has the wrong shape or dtype.

    Examples:
      >>> import jax, neurograph as ng
      >>> file = ng.load_genome_file("digits")
      >>> network = ng.Network(ng.load_topology("mlp"), file.rule)
      >>> synapses = network.init(file.genome, key=jax.random.key(0))
      >>> try:
      ...     network.predict(file.genome, synapses, [[0.0, 1.0]])
      ... except ng.ShapeError as error:
      ...     print(error)
      x: got shape [1, 2]; expected [batch, 64] (64 inputs)
    """


class TaskError(NeurographError, ValueError):
    """Data that is missing, malformed or unknown.

    Examples:
      >>> import neurograph as ng
      >>> try:
      ...     ng.mix([])
      ... except ng.TaskError as error:
      ...     print(error)
      a mix needs at least one task.
    """


class ExperimentError(NeurographError, ValueError):
    """A configuration, run folder or checkpoint that cannot be used.

    Examples:
      >>> import neurograph as ng
      >>> try:
      ...     ng.write_report("no-such-run")
      ... except ng.ExperimentError as error:
      ...     print(error)
      no-such-run: no such folder; expected the folder of a run
    """


class SettlingWarning(UserWarning):
    """The ticks of a graph with cycles end before its states have settled: a step is not at the fixed point."""


class MissingExtraError(NeurographError, ImportError):
    """An optional dependency is missing; the text says what to install.

    Examples:
      >>> import neurograph as ng
      >>> print(ng.MissingExtraError("pandas", "tables", "from_frame"))
      from_frame needs pandas, which is not installed: pip install 'neurograph[tables]'
    """

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'neurograph[{extra}]'")
        self.package, self.extra, self.purpose = package, extra, purpose

    def __reduce__(self) -> tuple[Any, ...]:  # an exception is pickled by its text alone, unless it says otherwise
        return type(self), (self.package, self.extra, self.purpose)


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a file: `path` as the user gave it, 1-based `line` and `column`, `where` such as `graph.sizes[1]`."""

    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    where: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part not in ("", None))
        where = f" at {self.where}" if self.where else ""
        return f"{place}{where}: {self.message}" if place or where else self.message


class SpecError(TopologyError):
    """A file with faults, all of them listed, one line each.

    Attributes:
      faults: every `Fault` found, in the order of the file.

    Examples:
      >>> import neurograph as ng
      >>> try:
      ...     ng.build_topology({"populations": {"in": 2, "out": 0}, "inputs": "in", "outputs": "out", "connections": []})
      ... except ng.SpecError as error:
      ...     print(error.faults[0].where, error.faults[0].message, sep=": ")
      populations.out: got 0; expected an integer >= 1.
    """

    def __init__(self, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.faults,)
