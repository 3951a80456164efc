"""Progress of a run in the terminal: a bar with rate, loss, score and time left; plain lines where there is no terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.status import Status

from neurograph.cli.stopping import on_stop
from neurograph.experiments.folder.checkpoint import checkpoint_step
from neurograph.experiments.folder.reading import read_run
from neurograph.experiments.spec import ExperimentSpec
from neurograph.report.words import duration
from neurograph.workflows.meta_training import Watch

__all__ = ["RunProgress"]

PRINT_EVERY = 10.0  # seconds between two lines where there is no terminal


def _best(values: list[float | None], largest: bool) -> float:
    finite = [v for v in values if v is not None]
    return math.nan if not finite else max(finite) if largest else min(finite)


def _per_second(rate: float, unit: str) -> str:
    return f"{rate:.1f} {unit}/s" if rate >= 1 else f"{1 / rate:.1f} s per {unit.removesuffix('s')}"


class RunProgress(Watch):
    """Shows a run in the terminal: `record` a record of `meta_train`, `stage` the present part of a test."""

    def __init__(self, spec: ExperimentSpec, folder: Path, silent: bool = False):
        self.spec, self.folder = spec, folder
        self.unit = "generations" if spec.training.evolved else "meta-steps"
        self.console = Console(stderr=True, soft_wrap=True, quiet=silent)
        self.before: tuple[int, float] | None = None
        self.rate, self.step = "", 0
        self.printed = -math.inf
        self.status: Status | None = None
        self.tested = self.score = ""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{{task.completed}}/{{task.total}} {self.unit}"),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    @contextmanager
    def training(self) -> Iterator[None]:
        """Shows the meta-training, and where it was stopped."""
        self.begin()
        try:
            with on_stop(self.where):
                yield
        finally:
            if self.console.is_terminal:
                self.bar.stop()

    @contextmanager
    def testing(self) -> Iterator[None]:
        """Shows the final test, and how it goes on when it was stopped."""
        again = f"the genome is in {self.folder / 'genome.json'}, and --out {self.folder} --resume tests it"
        try:
            with on_stop(lambda: f"in the final test, after all meta-steps; {again}"):
                yield
        finally:
            if self.status is not None:
                self.status.stop()

    def begin(self) -> None:
        """Says what is run, and starts the bar."""
        training, unroll = self.spec.training, self.spec.unroll
        what = f"{training.method}: {training.genomes} genome{'s' if training.genomes > 1 else ''}"
        what += f", {training.crowd}" if training.crowd else ""
        steps = " to ".join(map(str, dict.fromkeys((unroll.least_steps or unroll.steps, unroll.longest))))
        self.console.print(
            f"{self.spec.name}: {what}, {training.meta_steps} {self.unit} of {steps} learning"
            f" steps on {', '.join(dict.fromkeys(p.task for p in self.spec.problems))}; run folder {self.folder}",
            highlight=False,
        )
        if self.console.is_terminal:
            self.bar.start()
        self.task = self.bar.add_task("meta-training", total=training.meta_steps, numbers="compiling ...")
        self.validation = ""

    def where(self) -> str:
        """Returns where the run is, and how to go on when it is stopped there."""
        again = f"--out {self.folder} --resume"
        if (kept := checkpoint_step(self.folder / "checkpoint")) is None:
            return f"before the first checkpoint; {again} begins again"
        total = self.spec.training.meta_steps
        return f"after {self.step} of {total} {self.unit}; {again} goes on from the checkpoint after {kept}"

    def record(self, data: dict[str, Any]) -> None:
        self.step, self.score = data["step"], self.score or read_run(self.folder, genome=False).score
        if "validation" in data:
            best = _best(data["validation"]["accuracy"], True)
            self.validation = f", best on validation {best:.3f}"
            if not self.console.is_terminal:
                self.console.print(f"step {data['step']}: best {self.score} on validation data {best:.3f}", highlight=False)
            return
        step, seconds = data["step"], data["seconds"]
        if self.before and seconds > self.before[1]:
            self.rate = f", {_per_second((step - self.before[0]) / (seconds - self.before[1]), self.unit)}"
        numbers = f"loss {_best(data['loss'], False):.3f}, {self.score} {_best(data['accuracy'], True):.3f}{self.validation}"
        self.bar.update(self.task, completed=step, numbers=numbers + self.rate)
        if not self.console.is_terminal and (seconds - self.printed >= PRINT_EVERY or step == self.spec.training.meta_steps):
            left = ""
            if self.before and step > self.before[0]:
                left = duration((self.spec.training.meta_steps - step) * (seconds - self.before[1]) / (step - self.before[0]))
                left = f", {left} left"
            self.console.print(f"step {step} after {duration(seconds)}: {numbers}{self.rate}{left}", highlight=False)
            self.printed = seconds
        self.before = self.before or (step, seconds)  # the first interval compiles: the rate is counted from its end

    def say(self, text: str) -> None:
        """Prints a line beside the bar."""
        self.console.print(text, highlight=False)

    def stage(self, text: str) -> None:
        """Shows the present part of a test: one line that is overwritten; without a terminal, a line per task and topology."""
        what = text.partition(": ")[0]
        if self.console.is_terminal:
            if self.status is None:
                self.status = self.console.status("", spinner="line")
                self.status.start()
            self.status.update(f"testing {text}")
        elif what != self.tested:
            self.console.print(f"testing {what}", highlight=False)
        self.tested = what
