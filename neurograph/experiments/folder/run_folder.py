"""The folder of a run: configuration, environment, metrics and checkpoint, from which it always resumes."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
from pydantic import ValidationError

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError
from neurograph.experiments.environment import current_environment
from neurograph.experiments.folder import lock
from neurograph.experiments.folder.checkpoint import load_checkpoint, save_checkpoint
from neurograph.experiments.folder.topologies import keep_topology
from neurograph.experiments.loggers import LoggedRun, Logger, make_logger, scalars_of
from neurograph.experiments.spec import FREE, ExperimentSpec, dump_experiment
from neurograph.experiments.transfer.cells import FIRST_ARRAYS
from neurograph.experiments.transfer.results import is_number
from neurograph.experiments.workers.worker import TFDS
from neurograph.files import append_line, write_atomically
from neurograph.genome import Genome, GenomeFile, load_genome_file, save_genome
from neurograph.genome.files import genome_file

__all__ = ["HOSTS", "RunFolder", "start_genome"]

log = logging.getLogger(__name__)

START = "start_genome.json"
HOSTS = ".hosts"  # where the processes of a run meet

# Arrays of a genome that checkpoints of older versions lack, and the array that gives them their value, if any.
ADDED: dict[str, str | None] = {f.name: None for f in dataclasses.fields(Genome) if f.name not in FIRST_ARRAYS}
ADDED["backward_keep"] = "neuron_keep"


class RunFolder:
    """The folder of a run, new or opened again.

    Of several processes the first writes, and has to hold the folder's lock. All read: the folder has to be on a file system that
    all of them see.

    Args:
      spec: the experiment.
      folder: made if missing.
      resume: whether to go on from the checkpoint, if there is one.
      like: the first state of the run.
      allow_changes: whether to go on under another precision, or with other versions, devices or kernels.
      loggers: get the metrics too, beside those that the experiment names.

    Attributes:
      state: as checkpointed, or `like`.
      extra: the other numbers of the checkpoint: meta-steps, seconds, lines of metrics.
      notes: what of this run is not as in one without a stop: "changes" of versions and the like, number of "lost_metrics".

    Raises:
      ExperimentError: the folder holds another run, or its checkpoint is damaged or belongs to another configuration, precision,
        version, device or kernels.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        folder: Path,
        *,
        resume: bool,
        like: Any,
        allow_changes: bool = False,
        loggers: Sequence[Logger] = (),
    ):
        self.folder, self.checkpoint, self.metrics = folder, folder / "checkpoint", folder / "metrics.jsonl"
        self.config = spec.model_dump(mode="json", exclude=FREE)
        if folder.exists() and not folder.is_dir():
            raise ExperimentError(f"{folder}: not a folder")
        if folder.exists() and any(place.name not in (lock.FILE, HOSTS) for place in folder.iterdir()) and not resume:
            raise ExperimentError(f"{folder}: not empty; continue it with --resume, or choose another folder with --out")
        self.state, self.extra = like, {"step": 0, "seconds": 0.0, "lines": 0}
        if resume and self.checkpoint.exists():
            self.state, self.extra = load_checkpoint(
                self.checkpoint,
                like,
                config=self.config,
                upgrade=partial(_upgraded, spec),
                added=ADDED,
                allow_changes=allow_changes,
            )
            if wrong := [name for name in ("step", "seconds", "lines") if not is_number(self.extra.get(name))]:
                raise ExperimentError(f"{self.checkpoint}: damaged (no number: {', '.join(wrong)}); delete it to start again")
        self.notes: dict[str, Any] = {name: self.extra[name] for name in ("changes", "lost_metrics") if self.extra.get(name)}
        self.writes = jax.process_index() == 0
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("all processes have looked at the run folder")
        self.written = self.extra["lines"]
        self.loggers: list[Logger] = []
        if self.writes:
            self._open(spec, loggers)
        self.start = time.perf_counter() - self.extra["seconds"]

    def _open(self, spec: ExperimentSpec, loggers: Sequence[Logger]) -> None:
        told = LoggedRun(self.folder, spec.name, spec.model_dump(mode="json"), self.extra["step"])
        named = [make_logger(name) for name in spec.logger_names]  # all, before one writes: a package may be missing
        for logger in (*named, *loggers):
            logger.start(told)
            self.loggers.append(logger)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._cut_metrics()
        write_atomically(self.folder / "config.yaml", dump_experiment(spec))
        data = {TFDS: os.environ[TFDS]} if os.environ.get(TFDS) else {}
        write_atomically(self.folder / "environment.json", json.dumps(current_environment() | data, indent=1) + "\n")

    def _cut_metrics(self) -> None:
        """Drops the records after the checkpoint, which will be written again; says so if some of those before it are missing."""
        whole = self.metrics.read_bytes().split(b"\n")[:-1] if self.written and self.metrics.exists() else []
        lines = [line for line in whole[: self.written] if _step(line) <= self.done]
        if lost := self.written - len(lines):
            self.notes["lost_metrics"] = self.notes.get("lost_metrics", 0) + lost
            log.warning(
                "%s: %d of the %d lines before the checkpoint are missing, their metrics are lost; no genome depends on them",
                self.metrics,
                lost,
                self.written,
            )
        self.written = len(lines)
        write_atomically(self.metrics, b"".join(line + b"\n" for line in lines))

    def keep(self, files: Mapping[str, Path]) -> None:
        """Copies topology files: the run can go on, and be repeated, when the originals have changed or gone."""
        if self.writes:
            for name, path in files.items():
                keep_topology(self.folder, name, path)

    def keep_start(self, name: str, file: GenomeFile) -> None:
        """Copies the genome that the run starts from, where `start_genome` finds it."""
        if self.writes:
            save_genome(self.folder / START, file.genome, file.rule, file.card | {"start.genome": name})

    @property
    def done(self) -> int:
        """Meta-steps at the checkpoint."""
        return self.extra["step"]

    @property
    def seconds(self) -> float:
        """Seconds that this run and the one that it continues have taken."""
        return time.perf_counter() - self.start

    def record(self, data: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> None:
        """Writes a line of metrics.jsonl, tells the loggers, and calls `progress`."""
        self.written += 1
        if self.writes:
            lock.check_lock(self.folder)
            append_line(self.metrics, json.dumps(data))
            for logger in self.loggers:
                logger.record(data["step"], scalars_of(data))
            progress(data)

    def save(self, state: Any, step: int, **extra: Any) -> None:
        """Writes the checkpoint."""
        if self.writes:
            lock.check_lock(self.folder)
            extra |= self.notes | {"step": step, "seconds": self.seconds, "lines": self.written}
            save_checkpoint(self.checkpoint, state, config=self.config, extra=extra)

    def write(self, name: str, text: str) -> None:
        if self.writes:
            write_atomically(self.folder / name, text)

    def close(self) -> None:
        for logger in self.loggers:
            logger.close()


def _step(line: bytes) -> float:
    """Returns the meta-step of a line of metrics.jsonl; infinity if it is damaged."""
    try:
        step = parse_json(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
    return step if is_number(step) else math.inf


def start_genome(name: str, base: Path | None, run: Path | None) -> GenomeFile:
    """Returns the genome that an experiment names as its start.

    The copy of the run, or of the run that is repeated, is taken first; else `genome_file` finds it.

    Raises:
      GenomeError: see `load_genome_file`.
    """
    for folder in (run, base):
        if folder and (folder / START).is_file():
            kept = load_genome_file(folder / START)
            if kept.card.pop("start.genome", None) == name:
                return kept
    return load_genome_file(genome_file(name, base))


def _upgraded(now: ExperimentSpec, config: dict[str, Any]) -> dict[str, Any]:
    """Returns a checkpoint's configuration with defaults for keys of later versions, and prolonged if `now` is longer."""
    try:
        then = ExperimentSpec.model_validate(config)
    except ValidationError:
        return config
    config = then.model_dump(mode="json", exclude=FREE)
    if then.training.open_ended and now.training.meta_steps > then.training.meta_steps:
        config["training"]["meta_steps"] = now.training.meta_steps
    return config
