"""Runs a reproduction: means, module, verdict."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path

from neurograph.errors import ExperimentError
from neurograph.experiments.folder.lock import locked
from neurograph.experiments.workers.executor import Executor
from neurograph.reproduce import REPRODUCTIONS
from neurograph.reproduce.verdict import Result, conclude
from neurograph.reproduce.workbench import Workbench

__all__ = ["reproduce"]


def reproduce(
    name: str,
    scale: str = "laptop",
    out: Path | str = Path("runs/reproduce"),
    *,
    executor: Executor | None = None,
    seeds: int | None = None,
    allow_changes: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Runs one of `REPRODUCTIONS`; its files are in OUT/SCALE/NAME. Arguments as of `Workbench`.

    Raises:
      ExperimentError: an unknown name or scale; or another process writes the same folder.
      TaskError: data that are not there; the text says how to get them.
    """
    if name not in REPRODUCTIONS:
        raise ExperimentError(f"{name}: no such reproduction; there are: {', '.join(REPRODUCTIONS)}")
    begun = time.perf_counter()
    with locked(Path(out) / scale / name):
        bench = Workbench(name, scale, Path(out), executor=executor, seeds=seeds, allow_changes=allow_changes, say=say)
        findings, settings = importlib.import_module(REPRODUCTIONS[name].module).run(bench)
        return conclude(bench, findings, settings, time.perf_counter() - begun)
