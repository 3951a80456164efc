"""The content of a run folder as plain data: missing files stay empty, damaged ones are named and left out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError, GenomeError
from neurograph.experiments.spec import METHODS, GradientSpec
from neurograph.experiments.transfer.results import Row, Transfer, is_number, load_transfer, score_name
from neurograph.experiments.workers.worker import TFDS
from neurograph.learning.lost import lost_score

if TYPE_CHECKING:
    from neurograph.genome import GenomeFile

__all__ = ["COMMAND", "FILES", "LOST", "TASKS", "Run", "data_dir_words", "flatten", "mapping", "read_run", "validation_score"]

FILES = ("config.yaml", "environment.json", "metrics.jsonl", "genome.json", "transfer.json", "summary.json")
COMMAND = "command.txt"  # of one run of several: the command that does it
LOST = "lost.json"  # of a run in which every genome diverged: why
TASKS = "tasks.json"  # {"tasks": name of each problem's, "numbers": the regressions among them}, written before all metrics
SCORES = ("loss", "accuracy", "best_loss", "best_accuracy")


@dataclass
class Run:
    """The content of a run folder, and its faults.

    Attributes:
      records: of meta-training: {"step", "loss", "accuracy"} and, of an evolution, {"best_loss", "best_accuracy"}; lists, one
        number or None per genome; "seconds" and "unroll", the learning steps, where the folder has them.
      validations: {"step", "loss", "accuracy"} on validation data, likewise.
      learned: content of tasks.json, which folders of older versions lack.
      faults: one sentence for each part that could not be read.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    learned: dict[str, Any] = field(default_factory=dict)
    genome: GenomeFile | None = None
    records: list[Row] = field(default_factory=list)
    validations: list[Row] = field(default_factory=list)
    transfer: Transfer | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def chosen(self) -> int | None:
        """Number of the chosen genome, if the summary names one."""
        chosen = self.summary.get("chosen")
        return chosen if isinstance(chosen, int) and not isinstance(chosen, bool) else None

    @property
    def title(self) -> str:
        return str(self.summary.get("name") or self.config.get("name") or self.folder.resolve().name)

    @property
    def card(self) -> dict[str, Any]:
        return self.genome.card if self.genome else {}

    @property
    def method(self) -> str:
        """The method of meta-training: "gradient", "cma", "es" or "pes"; "" if the folder names none."""
        training = mapping(self.config.get("training"))
        return str(self.summary.get("method") or self.card.get("method") or training.get("method") or "")

    @property
    def evolved(self) -> bool:
        """Whether one mean genome was searched; records then hold the scores of its population."""
        return self.method in METHODS and METHODS[self.method].evolved

    @property
    def trained_steps(self) -> int | None:
        """The most learning steps that meta-training went through, if the folder tells."""
        told = [int(record["unroll"]) for record in self.records if "unroll" in record]
        return max(told) if told else self.genome.trained_steps if self.genome else None

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that it learned, one per problem where the folder tells."""
        known = self.learned.get("tasks") or self.summary.get("tasks") or self.card.get("tasks")
        return [str(name) for name in known] if isinstance(known, list) else []

    @property
    def numbers(self) -> list[str]:
        """Names of the regressions among the tasks that it learned or was tested on: what records call accuracy is their R^2."""
        notes = self.transfer.notes if self.transfer else {}
        known = [one.get("numbers") for one in (self.learned, notes)]
        return list(dict.fromkeys(str(name) for names in known if isinstance(names, list) for name in names))

    @property
    def score(self) -> str:
        """What its accuracies in meta-training are called, see `score_name`."""
        return score_name(self.tasks, {"numbers": self.numbers})

    @property
    def command(self) -> str:
        """The command that ran it: "meta-train" or "evolve"."""
        return METHODS.get(self.method, GradientSpec).command

    def chance(self, task: str | None = None) -> float | None:
        """Returns the accuracy of the commonest answer of a task, or the mean over all tasks."""
        chance = mapping(self.transfer.notes.get("chance")) if self.transfer else {}
        found = [v for name, v in chance.items() if task in (None, name) and is_number(v)]
        return sum(found) / len(found) if found else None

    def topologies(self) -> dict[str, str]:
        """Returns the names of all topologies with their use: "learned on", "tested on" or both."""
        problems = self.config.get("problems")
        learned = [p.get("topology") for p in problems if isinstance(p, dict)] if isinstance(problems, list) else []
        tested = mapping(self.config.get("transfer")).get("topologies")
        names = {"learned on": learned or self.card.get("topologies"), "tested on": tested}
        if self.transfer:
            names["tested on"] = list(dict.fromkeys(str(row["topology"]) for row in self.transfer.rows))
        found: dict[str, str] = {}
        for use, some in names.items():
            for name in dict.fromkeys(n for n in (some if isinstance(some, list) else []) if isinstance(n, str) and n):
                found[name] = f"{found[name]}, {use}" if name in found else use
        return found


def mapping(value: Any) -> dict[str, Any]:
    """Returns the value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def validation_score(summary: dict[str, Any], numbers: Collection[str] = ()) -> float | None:
    """Returns the score of a run's genome on validation data, mean over its problems, of which one without a finite value counts
    as `lost_score` says; None where there is no value at all.

    Args:
      numbers: names of the regressions among its tasks.
    """
    found, tasks = mapping(summary.get("validation")).get("accuracy"), summary.get("tasks")
    found = found if isinstance(found, list) else [found]
    tasks = tasks if isinstance(tasks, list) and len(tasks) == len(found) else [""] * len(found)
    scores = [value if is_number(value) else lost_score(task in numbers) for value, task in zip(found, tasks)]
    return sum(scores) / len(scores) if any(map(is_number, found)) else None


def data_dir_words(environment: Mapping[str, Any] = os.environ) -> tuple[str, ...]:
    """Returns the words of a command that finds data sets where this process does, or where one of an environment.json did."""
    return ("--data-dir", str(environment[TFDS])) if environment.get(TFDS) else ()


def flatten(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of a nested configuration with their dotted keys, such as `problems[0].task`."""
    if isinstance(value, dict) and (value or not place):
        for key, inner in value.items():
            yield from flatten(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        for number, inner in enumerate(value):
            yield from flatten(inner, f"{place}[{number}]")
    else:
        yield place, value


def read_run(folder: Path | str, *, genome: bool = True) -> Run:
    """Reads a run folder.

    Args:
      genome: whether its genome is read as well, which imports JAX.

    Raises:
      ExperimentError: there is no such folder, or it holds no file of a run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ExperimentError(f"{folder}: no such folder; expected the folder of a run")
    if not any((folder / name).is_file() for name in FILES):
        raise ExperimentError(
            f"{folder}: nothing to report; a run folder holds {', '.join(FILES)} (any of them will do),"
            " that of a transfer test matrix.json"
        )
    run = Run(folder)

    def load(name: str, parse: Callable[[str], Any]) -> Any:
        path = folder / name
        if not path.is_file():
            return None
        try:
            return parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            run.faults.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return None

    def load_mapping(name: str, parse: Callable[[str], Any]) -> dict[str, Any]:
        data = load(name, parse)
        if data is not None and not isinstance(data, dict):
            run.faults.append(f"{name}: expected an object, got {type(data).__name__}")
        return mapping(data)

    run.config_text = load("config.yaml", str) or ""
    run.config = load_mapping("config.yaml", _yaml)
    run.environment = load_mapping("environment.json", parse_json)
    run.summary = load_mapping("summary.json", parse_json)
    run.learned = load_mapping(TASKS, parse_json)
    for number, line in enumerate((load("metrics.jsonl", str) or "").splitlines(), 1):
        _record(run, number, line)
    if genome:
        _genome(run)
    _transfer(run)
    return run


def _genome(run: Run) -> None:
    genome = run.folder / "genome.json"
    if genome.is_file():
        from neurograph.genome import load_genome_file  # imports JAX, which a folder without a genome does not need

        try:
            run.genome = load_genome_file(genome)
        except GenomeError as error:
            run.faults.append(str(error).replace(str(genome), "genome.json"))


def _transfer(run: Run) -> None:
    transfer = run.folder / "transfer.json"
    if transfer.is_file():
        try:
            run.transfer = load_transfer(transfer)
        except ExperimentError as error:
            run.faults.append(str(error).replace(str(transfer), "transfer.json"))


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _record(run: Run, number: int, line: str) -> None:
    """Adds a line of metrics.jsonl to the run: training, validation, or a fault (a run that was cut off ends in half a line)."""
    if not line.strip():
        return
    try:
        data = parse_json(line)
        step = data["step"]
        validation = data.get("validation")
        scores = validation if validation is not None else data
        kept = {name: _floats(scores[name]) for name in SCORES if name in scores}
        if not is_number(step) or not kept:
            raise ValueError("expected a step, and loss or accuracy")
        more = {name: data[name] for name in ("seconds", "unroll") if is_number(data.get(name))}
        (run.records if validation is None else run.validations).append({"step": step, **kept, **more})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        run.faults.append(f"metrics.jsonl, line {number}: skipped ({type(error).__name__}: {error})")


def _floats(values: Any) -> list[float | None]:
    values = values if isinstance(values, list) else [values]
    if not values or any(isinstance(v, bool) or not isinstance(v, (int, float, type(None))) for v in values):
        raise ValueError("expected a list of numbers")
    return [None if v is None or not math.isfinite(v) else float(v) for v in values]
