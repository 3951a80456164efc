"""Where else a run writes its metrics: TensorBoard, Weights & Biases, MLflow, or a logger of yours."""

from __future__ import annotations

import math
import os
import secrets
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from neurograph.errors import ExperimentError, MissingExtraError
from neurograph.files import write_atomically

__all__ = ["LOGGERS", "LoggedRun", "Logger", "LoggerName", "make_logger", "scalars_of"]

LoggerName = Literal["tensorboard", "wandb", "mlflow"]


@dataclass(frozen=True)
class LoggedRun:
    """What a logger is told at the start.

    Attributes:
      folder: of the run; a logger may write below it, in a folder of its own name.
      name: of the experiment.
      config: the whole experiment as plain data.
      step: meta-steps that the run goes on from. Records after it come again, with the same numbers.
    """

    folder: Path
    name: str
    config: dict[str, Any]
    step: int


@runtime_checkable
class Logger(Protocol):
    """What `ng.meta_train(loggers=...)` takes: an object with these three methods."""

    def start(self, run: LoggedRun) -> None:
        """Called once, when the run begins or goes on, before anything is computed."""
        ...

    def record(self, step: int, scalars: dict[str, float]) -> None:
        """Called with every record: finite numbers by name, such as training/loss/genome_0 and validation/accuracy/genome_0."""
        ...

    def close(self) -> None:
        """Called once, when the run ends, is stopped or fails."""
        ...


def scalars_of(data: dict[str, Any]) -> dict[str, float]:
    """Returns the finite numbers of a record of metrics.jsonl; null and what is no number is left out."""
    return dict(_scalars(data))


def _scalars(data: dict[str, Any]) -> Iterator[tuple[str, float]]:
    part = "validation" if "validation" in data else "training"
    for name, values in (data.get("validation") or data).items():
        if name in ("step", "parents"):
            continue
        several = isinstance(values, list)
        for index, value in enumerate(values if several else [values]):
            if isinstance(value, (int, float)) and math.isfinite(value):
                yield (f"{part}/{name}/genome_{index}" if several else f"{part}/{name}"), float(value)


class TensorBoardLogger:
    """Event files in the run folder's tensorboard/, by tensorboardX, without TensorFlow.

    TensorBoard discards later records of earlier files, since a resumed run writes them again.
    """

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboardX", "tensorboard", "writing TensorBoard event files") from error
        self._make = SummaryWriter

    def start(self, run: LoggedRun) -> None:
        self._writer = self._make(str(run.folder / "tensorboard"), purge_step=run.step + 1 if run.step else None)

    def record(self, step: int, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandbLogger:
    """Weights & Biases, offline in the run folder's wandb/ unless WANDB_MODE says otherwise.

    `wandb sync` sends what was written offline. A run that goes on keeps its id; its curves are by "meta_step".
    """

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", "wandb", "logging to Weights & Biases") from error
        self._wandb = wandb

    def start(self, run: LoggedRun) -> None:
        place = run.folder / "wandb"
        place.mkdir(parents=True, exist_ok=True)
        self._run: Any = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "neurograph"),
            name=run.name,
            id=_known(place / "id", lambda: secrets.token_hex(4)),
            resume="allow",
            config=run.config,
            dir=str(run.folder),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            settings=self._wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("*", step_metric="meta_step")

    def record(self, step: int, scalars: dict[str, float]) -> None:
        self._run.log({"meta_step": step} | scalars)

    def close(self) -> None:
        self._run.finish()


class MlflowLogger:
    """MLflow, in the run folder's mlflow/ unless MLFLOW_TRACKING_URI names a server or another folder.

    The experiment is MLFLOW_EXPERIMENT_NAME, or "neurograph". A run that goes on keeps its id.
    """

    def __init__(self) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingExtraError("mlflow", "mlflow", "logging to MLflow") from error
        self._connect = MlflowClient

    def start(self, run: LoggedRun) -> None:
        place = (run.folder / "mlflow").absolute()
        place.mkdir(parents=True, exist_ok=True)
        # MLflow asks for this word before it writes to plain files, the one store that needs no data base.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._client: Any = self._connect(os.environ.get("MLFLOW_TRACKING_URI") or (place / "store").as_uri())
        self._id = _known(place / "id", lambda: self._create(run))
        self._client.update_run(self._id, "RUNNING")

    def _create(self, run: LoggedRun) -> str:
        from mlflow.entities import Param

        wanted = os.environ.get("MLFLOW_EXPERIMENT_NAME", "neurograph")
        known = self._client.get_experiment_by_name(wanted)
        experiment = known.experiment_id if known else self._client.create_experiment(wanted)
        made = self._client.create_run(experiment, run_name=run.name).info.run_id
        params = [Param(name, str(value)[:6000]) for name, value in _flat(run.config)]
        for start in range(0, len(params), 100):  # the most that a call takes
            self._client.log_batch(made, params=params[start : start + 100])
        return made

    def record(self, step: int, scalars: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in scalars.items()]
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(self._id, metrics=metrics[start : start + 1000])

    def close(self) -> None:
        self._client.set_terminated(self._id)


LOGGERS: dict[LoggerName, type[Logger]] = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger, "mlflow": MlflowLogger}


def make_logger(name: str) -> Logger:
    """Returns a new logger by its name in `LOGGERS`. Nothing is written before its `start`.

    Raises:
      ExperimentError: there is none of that name.
      MissingExtraError: its package is not installed.
    """
    for known, logger in LOGGERS.items():
        if name == known:
            return logger()
    raise ExperimentError(f"logger: got {name!r}; allowed: {', '.join(LOGGERS)}, or in Python an object (see `Logger`)")


def _known(file: Path, make: Any) -> str:
    """Returns the id that a file holds, or makes one and writes it: a run that goes on is the same run."""
    if file.exists():
        return file.read_text(encoding="utf-8").strip()
    found = make()
    write_atomically(file, found + "\n")
    return found


def _flat(config: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields plain data by its place, such as training.meta_steps and problems.0.task."""
    items = config.items() if isinstance(config, dict) else [*enumerate(config)] if isinstance(config, list) else None
    if not items:
        yield place, config
        return
    for name, value in items:
        yield from _flat(value, f"{place}.{name}" if place else str(name))
