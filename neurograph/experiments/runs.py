"""Meta-training runs side by side: each is a task of one worker, in a folder that all of them see, from its checkpoint on."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError, GenomeError
from neurograph.experiments.experiment import located
from neurograph.experiments.final import final_test
from neurograph.experiments.folder.catalog import RunSummary, summarize_run
from neurograph.experiments.folder.checkpoint import checkpoint_step
from neurograph.experiments.folder.lock import SILENCE, locked
from neurograph.experiments.folder.reading import COMMAND, LOST, data_dir_words
from neurograph.experiments.spec import ExperimentSpec
from neurograph.experiments.train import meta_train
from neurograph.experiments.transfer.results import score_text
from neurograph.experiments.workers.executor import Executor, TaskLost
from neurograph.experiments.workers.worker import cancelled, worker_name
from neurograph.files import write_atomically

__all__ = ["Run", "train_all"]


@dataclass(frozen=True)
class Run:
    """A run of several.

    Attributes:
      name: in messages.
      spec: the experiment.
      folder: of this run alone.
      base: as in `meta_train`.
      command: words of the command that does the same, for the folder.
      tested: whether the final test of the experiment follows.
      allow_changes: as in `meta_train`.
    """

    name: str
    spec: ExperimentSpec
    folder: Path
    base: Path | None = None
    command: tuple[str, ...] = ()
    tested: bool = False
    allow_changes: bool = False

    @property
    def finished(self) -> bool:
        tested = not self.tested or not self.spec.transfer.topologies or (self.folder / "transfer.json").exists()
        return (self.folder / LOST).exists() or ((self.folder / "summary.json").exists() and tested)

    @property
    def lost(self) -> str:
        """Returns why the run has no genome (every one diverged: that is a result), or ""."""
        path = self.folder / LOST
        return str(parse_json(path.read_text(encoding="utf-8"))) if path.exists() else ""

    @property
    def summary(self) -> dict[str, Any]:
        """Returns summary.json; {} for a run that is lost, or not finished."""
        path = self.folder / "summary.json"
        return {} if self.lost or not path.exists() else parse_json(path.read_text(encoding="utf-8"))

    @property
    def found(self) -> RunSummary:
        """Returns what `neurograph runs` says of it; its folder has to exist."""
        return summarize_run(self.folder)

    @property
    def state(self) -> str:
        if self.lost:
            return f"lost ({self.lost.splitlines()[0]})"
        found = self.found
        return f"{found.score} on validation data {score_text(found.validation)}"


def train_all(runs: Iterable[Run], executor: Executor, say: Callable[[str], None] = lambda text: None) -> dict[str, str]:
    """Does the runs that are not finished; those that were stopped go on.

    Args:
      runs: each with a name and a folder of its own, on a file system that all workers see.
      say: called with a line about each run that ends.

    Returns:
      By name the runs that could not be done, since workers died of them before the next checkpoint, and why. They go on when
      they are asked for again.

    Raises:
      ExperimentError: a run cannot be done as it is written (it is named), or the executor is gone.
    """
    todo = [run for run in runs if not run.finished]
    failed: dict[str, str] = {}
    for run in todo:  # a worker that does not find this file sees another file system
        run.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(run.folder / COMMAND, shlex.join((*run.command, *data_dir_words())) + "\n")
    started, done, count = time.perf_counter(), 0, len(todo)
    while todo:
        before = {run.folder: checkpoint_step(run.folder / "checkpoint") for run in todo}
        tasks = [executor.submit(_train, run) for run in todo]
        run_of, todo = {id(task): run for task, run in zip(tasks, todo, strict=True)}, []
        for task in executor.as_completed(tasks):
            run = run_of[id(task)]
            try:
                task.result()
            except TaskLost as error:
                if checkpoint_step(run.folder / "checkpoint") != before[run.folder]:
                    todo.append(run)  # workers come and go, and it gets on
                    continue
                failed[run.name] = str(error)
            if run.name not in failed and not run.finished:
                raise ExperimentError(
                    f"{run.name}: done, but nothing is in {run.folder}: the folder has to be one that all workers see"
                )
            done += 1
            state = f"not done: {failed[run.name]}" if run.name in failed else run.state
            say(f"[{done}/{count}] meta-trained {run.name}: {state} ({time.perf_counter() - started:.0f} s so far)")
    return failed


def _train(run: Run) -> None:
    """Does a run, as `neurograph meta-train EXPERIMENT --out FOLDER --resume` does it.

    A worker on another machine that has just died may seem to hold the folder: its lock is waited for.
    """
    if not (run.folder / COMMAND).exists():
        raise ExperimentError(f"{worker_name()} does not see {run.folder.absolute()}: runs need a folder that all workers see")
    with located(run.name), locked(run.folder, patience=1.5 * SILENCE):
        try:
            genome, rule = meta_train(
                run.spec, run.folder, base=run.base, resume=True, allow_changes=run.allow_changes, progress=_go_on
            )
        except GenomeError as error:
            write_atomically(run.folder / LOST, json.dumps(str(error)) + "\n")
            return
        if run.tested and run.spec.transfer.topologies:
            final_test(run.spec, run.folder, genome, rule, base=run.base, say=lambda text: _go_on({}))


def _go_on(record: Any) -> None:
    if cancelled():
        raise ExperimentError("stopped: nobody waits for this run any more")
