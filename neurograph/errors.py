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

__all__ = [
    "ExperimentError",
    "Fault",
    "GenomeError",
    "MissingExtraError",
    "NeurographError",
    "PlanError",
    "RuleError",
    "ShapeError",
    "SpecError",
    "TaskError",
    "TopologyError",
]


class NeurographError(Exception):
    """Base of all errors raised on purpose; its text is fit to show to a user as it is."""


class TopologyError(NeurographError, ValueError):
    """A graph that cannot be a network: says which neuron or synapse, and what is allowed."""


class RuleError(NeurographError, ValueError):
    """An option of a rule has a wrong value, or two options contradict each other (both are named)."""


class GenomeError(NeurographError, ValueError):
    """Genome arrays or a genome file do not fit the rule."""


class PlanError(NeurographError, ValueError):
    """A topology cannot run under the asked schedule or kernel."""


class ShapeError(NeurographError, ValueError):
    """An array has the wrong shape or dtype."""


class TaskError(NeurographError, ValueError):
    """Data that is missing, malformed or unknown."""


class ExperimentError(NeurographError, ValueError):
    """A configuration, run folder or checkpoint that cannot be used."""


class MissingExtraError(NeurographError, ImportError):
    """An optional dependency is missing; the text says what to install."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'neurograph[{extra}]'")
        self.package, self.extra = package, extra


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
    """

    def __init__(self, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))
