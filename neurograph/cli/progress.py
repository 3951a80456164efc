"""Progress of a run in the terminal: a bar with rate, loss, accuracy and time left; plain lines where there is no terminal."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.status import Status

from neurograph.experiment_spec import ExperimentSpec

__all__ = ["RunProgress"]


def _best(values: list[float | None], largest: bool) -> float:
    finite = [v for v in values if v is not None]
    return math.nan if not finite else max(finite) if largest else min(finite)


class RunProgress:
    """Use as a context manager; `record` takes the records of `meta_train`, `stage` a line about what runs now."""

    def __init__(self, spec: ExperimentSpec, folder: Path):
        self.spec, self.folder = spec, folder
        self.console = Console(stderr=True, soft_wrap=True)
        self.status: Status | None = None
        self.tested = ""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} meta-steps"),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> RunProgress:
        training = self.spec.training
        self.console.print(
            f"{self.spec.name}: {training.genomes} genomes, {training.meta_steps} meta-steps of {self.spec.unroll.steps} learning"
            f" steps on {', '.join(dict.fromkeys(p.task for p in self.spec.problems))}; run folder {self.folder}",
            highlight=False,
        )
        self.bar.start()
        self.task = self.bar.add_task("meta-training", total=training.meta_steps, numbers="compiling ...")
        self.validation = ""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()
        if kind is KeyboardInterrupt and (self.folder / "checkpoint").exists():
            self.console.print(f"stopped; --out {self.folder} --resume goes on from the last checkpoint", highlight=False)

    def record(self, data: dict[str, Any]) -> None:
        if "validation" in data:
            best = _best(data["validation"]["accuracy"], True)
            self.validation = f", best on validation {best:.3f}"
            if not self.console.is_terminal:
                self.console.print(f"step {data['step']}: best accuracy on validation data {best:.3f}", highlight=False)
            return
        numbers = f"loss {_best(data['loss'], False):.3f}, accuracy {_best(data['accuracy'], True):.3f}{self.validation}"
        self.bar.update(self.task, completed=data["step"], numbers=numbers)
        if not self.console.is_terminal and data["step"] % (5 * self.spec.training.interval) == 0:
            self.console.print(f"step {data['step']} after {data['seconds']:.0f} s: {numbers}", highlight=False)

    def stage(self, text: str) -> None:
        """What a test is doing: one line that is overwritten; without a terminal one line per task and topology."""
        what = text.partition(": ")[0]
        if self.console.is_terminal:
            if self.status is None:
                self.status = self.console.status("", spinner="line")
                self.status.start()
            self.status.update(f"testing {text}")
        elif what != self.tested:
            self.console.print(f"testing {what}", highlight=False)
        self.tested = what

    def close(self) -> None:
        """End the line of `stage`."""
        if self.status is not None:
            self.status.stop()
