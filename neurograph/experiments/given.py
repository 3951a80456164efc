"""What an experiment in Python has as objects: a specification names it, and finds it here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurograph.errors import ExperimentError

if TYPE_CHECKING:
    from neurograph.genome import GenomeFile
    from neurograph.tasks import Task

__all__ = ["NOTHING", "OBJECT", "Given"]

OBJECT = "object:"
"""How the names of objects begin; a digest of their content ends them, so that a run goes on with the same ones only."""


@dataclass(frozen=True)
class Given:
    """Objects of an experiment by the names that its specification has for them.

    Attributes:
      tasks: of problems.
      files: of topologies: a run copies them into its folder, where it finds them when it goes on.
      genomes: of `start.genome`.
    """

    tasks: Mapping[str, Task] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    genomes: Mapping[str, GenomeFile] = field(default_factory=dict)

    def task(self, name: str, options: Mapping[str, Any]) -> Task:
        """Returns a task by its name in the specification: one of these, or of the registry.

        Raises:
          ExperimentError: the name is that of an object which is not here.
          TaskError: see `get_task`.
        """
        from neurograph.tasks import get_task

        if name in self.tasks:
            return get_task(self.tasks[name], **options)
        if name.startswith(OBJECT):
            raise ExperimentError(f"got {name!r}, an object of Python that no file holds; give it again to neurograph.meta_train")
        return get_task(name, **options)


NOTHING = Given()
