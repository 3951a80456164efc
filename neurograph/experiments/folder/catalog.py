"""Runs that lie in folders, side by side: how far each got, what it reached, which settings differ, seeds grouped.

JAX is not imported, and nothing is written. A part that is missing or damaged is told in `RunSummary.missing`; the run is listed
all the same.
"""

from __future__ import annotations

import json
import math
import operator
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import ValidationError

from neurograph.documents import parse_json, parse_yaml, suggestion
from neurograph.errors import ExperimentError, SpecError
from neurograph.experiments.folder.lock import holder_of
from neurograph.experiments.folder.reading import COMMAND, FILES, LOST, Run, flatten, mapping, read_run, validation_score
from neurograph.experiments.spec import FREE, ExperimentSpec, experiment_names, load_experiment
from neurograph.experiments.transfer.results import GENOME, Row, aggregate, five_numbers, is_number
from neurograph.learning.lost import lost_score

__all__ = [
    "COLUMNS",
    "DEPTH",
    "STATES",
    "RunSummary",
    "SeedGroup",
    "differing_settings",
    "find_runs",
    "group_labels",
    "group_seeds",
    "own_settings",
    "rank_groups",
    "select_runs",
    "setting_text",
    "settings_beside",
    "short_names",
    "sort_runs",
    "summarize_run",
    "validated_unlike",
]

DEPTH = 4
"""Folders below the one that is searched: as deep as `reproduce` puts its runs, in OUT/SCALE/runs."""

STATES = ("finished", "running", "stopped", "lost", "not begun")
"""What a run can be: it has its result; a process holds its folder; it can be resumed; all its genomes diverged; only planned."""

COLUMNS = ("folder", "name", "method", "state", "seed", "step", "steps", "score", "validation", "test", "seconds")
"""The fields of a run by which runs can be sorted and selected, beside its settings."""

_MARKS = ("config.yaml", "metrics.jsonl", "summary.json", "checkpoint", COMMAND, LOST)
_PARTS = {"topologies", "plots", "tensorboard", "wandb", "mlflow"}
_OWN = {"name", "description", "seed"}  # keys of a configuration that are no settings
_BEST_FIRST = {"validation", "test"}
_COMPARE = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CONDITION = re.compile(r"\s*([^=<>!\s]+)\s*(!=|<=|>=|=|<|>)(.*)", re.DOTALL)


@dataclass(frozen=True)
class RunSummary:
    """A run in a few values.

    Attributes:
      folder: of the run.
      name: of the experiment.
      method: of meta-training; "" if the folder does not say.
      state: one of `STATES`.
      seed: None if the folder does not say.
      step, steps: meta-steps done, and of how many (None if the folder does not say).
      score: what validation and test are: "accuracy", "R^2" of regressions, or both, with the regressions by name.
      validation: the score on validation data, mean over the experiment's problems: of the genome that was chosen or, before the
        end, the best so far. `lost_score` of a lost run, None before the first validation.
      test: the score on test data after the most learning steps of the final test, mean over its topologies and tasks of the
        median over seeds; None without a test.
      seconds: of meta-training.
      settings: the whole configuration with its defaults, by dotted key, but for name, description and seed.
      genome: the file of the chosen genome, if there is one.
      missing: a sentence about each part that is missing or damaged.
      holder: the process that is at work on it, if one is.
    """

    folder: Path
    name: str
    method: str
    state: str
    seed: int | None
    step: int
    steps: int | None
    score: str
    validation: float | None
    test: float | None
    seconds: float | None
    settings: dict[str, Any] = field(default_factory=dict)
    genome: Path | None = None
    missing: tuple[str, ...] = ()
    holder: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "folder": str(self.folder),
            "genome": None if self.genome is None else str(self.genome),
            "missing": list(self.missing),
        }


@dataclass(frozen=True)
class SeedGroup:
    """Runs whose settings are the same but for the seed.

    Attributes:
      runs: one per seed, in their order.
      repeats: further runs of these seeds, which are not counted.
    """

    runs: tuple[RunSummary, ...]
    repeats: tuple[RunSummary, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        return self.runs[0].settings

    @property
    def name(self) -> str:
        return self.runs[0].name

    @property
    def ended(self) -> list[RunSummary]:
        """The runs that have a result: the finished ones, and the lost ones, which count as `lost_score` says."""
        return [run for run in self.runs if run.state in ("finished", "lost") and run.validation is not None]

    @property
    def best(self) -> RunSummary | None:
        """The finished run of the highest score on validation data that has a genome."""
        chosen = [run for run in self.ended if run.state == "finished" and run.genome]
        return max(chosen, key=lambda run: -math.inf if run.validation is None else run.validation, default=None)

    @cached_property
    def validation(self) -> Row | None:
        """Median, quartiles, minimum and maximum over the runs that ended, as `five_numbers`; None without one."""
        found = [run.validation for run in self.ended if run.validation is not None]
        return five_numbers(found) if found else None

    @cached_property
    def test(self) -> Row | None:
        """The same of the scores on test data."""
        found = [run.test for run in self.runs if run.test is not None]
        return five_numbers(found) if found else None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""

        def spread(row: Row | None) -> Row | None:
            return row and {"median": row["median"], "lowest": row["minimum"], "highest": row["maximum"]}

        best, states = self.best, Counter(run.state for run in self.runs)
        return {
            "name": self.name,
            "seeds": [run.seed for run in self.runs],
            "states": dict(states),
            "score": self.runs[0].score,
            "validation": spread(self.validation),
            "test": spread(self.test),
            "genome": str(best.genome) if best else None,
            "folders": [str(run.folder) for run in self.runs],
            "repeats": [str(run.folder) for run in self.repeats],
            "settings": self.settings,
        }


def find_runs(*folders: Path | str, depth: int = DEPTH) -> list[RunSummary]:
    """Returns the runs in folders and below, each once, in the order of their paths.

    Args:
      folders: run folders, or folders that hold some.
      depth: how many folders below each are searched.

    Raises:
      ExperimentError: there is no such folder, or no run in it.

    Examples:
      >>> import json, tempfile
      >>> from pathlib import Path
      >>> from neurograph.experiments import find_runs
      >>> folder = Path(tempfile.mkdtemp())
      >>> for seed in range(2):
      ...     (folder / f"seed={seed}").mkdir()
      ...     _ = (folder / f"seed={seed}" / "config.yaml").write_text(json.dumps({"name": "small", "seed": seed}))
      >>> [(run.name, run.seed, run.state) for run in find_runs(folder)]
      [('small', 0, 'stopped'), ('small', 1, 'stopped')]
    """
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ExperimentError(f"{folder}: no such folder; expected the folder of a run, or one that holds runs")
        here = {place.resolve(): place for place in _run_folders(folder, depth)}
        if not here:
            raise ExperimentError(
                f"{folder}: no run in it, nor in its folders down to depth {depth}; a run folder holds {', '.join(FILES[:3])}"
            )
        found = here | found
    return [summarize_run(place) for place in sorted(found.values(), key=_natural)]


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    for place, below, files in os.walk(folder):
        path = Path(place)
        if not {*_MARKS}.isdisjoint(files):
            yield path
        level = len(path.relative_to(folder).parts)
        below[:] = [name for name in below if not name.startswith(".") and name not in _PARTS] if level < depth else []


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Returns a key by which seed=10 comes after seed=9."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def summarize_run(folder: Path | str) -> RunSummary:
    """Returns what is known of the run in a folder.

    Raises:
      ExperimentError: there is no such folder, or nothing of a run in it.
    """
    folder = Path(folder)
    planned = folder.is_dir() and not any((folder / name).is_file() for name in FILES)
    run = Run(folder) if planned and any((folder / name).is_file() for name in _MARKS) else read_run(folder, genome=False)
    training, seed = mapping(run.config.get("training")), run.config.get("seed")
    steps = training.get("meta_steps")
    records = [*run.records, *run.validations]
    done = [run.summary.get("meta_steps"), *(record["step"] for record in records)]
    step = max((number for number in done if _is_whole(number)), default=0)
    lost, holder = _lost(folder), holder_of(folder)
    trained = run.summary.get("meta_steps")
    ended = bool(run.summary) and not (_is_whole(steps) and _is_whole(trained) and trained < steps)  # it may have been prolonged
    begun = bool(run.config or records or run.summary or (folder / "checkpoint").is_file())
    state = "running" if holder else "lost" if lost else "finished" if ended else "stopped" if begun else "not begun"
    genome, seconds = folder / "genome.json", run.summary.get("seconds") if ended else None
    clock = [record["seconds"] for record in run.records if "seconds" in record]
    return RunSummary(
        folder,
        run.title,
        run.method,
        state,
        seed if _is_whole(seed) else None,
        step,
        steps if _is_whole(steps) else None,
        run.score,
        lost_score(bool(run.numbers)) if state == "lost" else _validation(run, ended),
        _test(run),
        seconds if is_number(seconds) else clock[-1] if clock else None,
        _settings(run.config),
        genome if genome.is_file() else None,
        tuple(_missing(run, state, lost)),
        str(holder or ""),
    )


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _lost(folder: Path) -> str:
    """Returns why the run has no genome, or ""."""
    try:
        return str(parse_json((folder / LOST).read_text(encoding="utf-8"))).splitlines()[0]
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, RecursionError, IndexError):
        return f"{LOST} cannot be read"


def _validation(run: Run, ended: bool) -> float | None:
    if ended and (found := validation_score(run.summary, run.numbers)) is not None:
        return found
    scores = [value for record in run.validations for value in record.get("accuracy", ()) if value is not None]
    return max(scores, default=None)


def _test(run: Run) -> float | None:
    rows = [row for row in run.transfer.rows if row["method"] == GENOME] if run.transfer else []
    last = max((row["step"] for row in rows), default=None)
    medians = [entry["median"] for entry in aggregate(row for row in rows if row["step"] == last)]
    return sum(medians) / len(medians) if medians else None


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a configuration by dotted key; one of an older version with the defaults of keys that it does not have."""
    with suppress(ValidationError):  # of a later version, or written by hand: as it is
        config = ExperimentSpec.model_validate(config).model_dump(mode="json")
    return {key: value for key, value in flatten(config) if key and key not in _OWN and value != {}}


def _missing(run: Run, state: str, lost: str) -> Iterator[str]:
    yield from run.faults
    if lost:
        yield lost
    broken = {fault.split(":")[0] for fault in run.faults}
    needed = {"finished": ("config.yaml", "metrics.jsonl", "genome.json"), "stopped": ("config.yaml", "checkpoint")}
    for name in needed.get(state, ()):
        if name not in broken and not (run.folder / name).is_file():
            yield f"no {name}"


# -- settings ------------------------------------------------------------------------------------------------------------------


def differing_settings(runs: Iterable[RunSummary]) -> list[str]:
    """Returns the keys of the settings that are not the same in all runs, in the order of their configurations.

    What does not change a run is left out: its final test, devices, event files. Runs without a configuration count for nothing.
    """
    known = [run.settings for run in runs if run.settings]
    keys = dict.fromkeys(key for settings in known for key in settings if _decides(key))
    return [key for key in keys if len({_text(settings.get(key)) for settings in known}) > 1]


def own_settings(runs: Sequence[RunSummary]) -> list[list[str]]:
    """Returns for each run the keys of the settings that are not the same in all runs of its experiment and method."""
    alike: dict[tuple[str, str], list[RunSummary]] = {}
    for run in runs:
        alike.setdefault((run.name, run.method), []).append(run)
    differing = {kind: differing_settings(members) for kind, members in alike.items()}
    return [differing[run.name, run.method] for run in runs]


def settings_beside(run: RunSummary) -> tuple[str, dict[str, tuple[Any, Any]]]:
    """Returns the settings of a run that are not those of the shipped experiment of its name, or not the defaults.

    Returns:
      What they are compared with, in words, and by key the run's value and the other one; None for a key that one of them lacks.
    """
    if run.name in experiment_names():
        words, other = f"the shipped experiment {run.name!r}", _settings(load_experiment(run.name).model_dump(mode="json"))
    else:
        own = {key: value for key, value in run.settings.items() if re.match(r"problems\b", key)}
        plain = {"problems": [{"task": "", "topology": ""}], "training": {"method": run.method or "gradient"}}
        defaults = _settings(ExperimentSpec.model_validate(plain).model_dump(mode="json"))
        words, other = "the defaults", {key: value for key, value in defaults.items() if not re.match(r"problems\b", key)} | own
    pairs = {key: (run.settings.get(key), other.get(key)) for key in dict.fromkeys([*run.settings, *other])}
    return words, {key: pair for key, pair in pairs.items() if _text(pair[0]) != _text(pair[1])} if run.settings else {}


def _decides(key: str) -> bool:
    return re.split(r"[.\[]", key, maxsplit=1)[0] not in FREE


def setting_text(value: Any) -> str:
    """Returns a value of a configuration as tables show it; "-" for None."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def short_names(keys: Sequence[str]) -> list[str]:
    """Returns the last word of each key, or the whole key where two have the same last word.

    Examples:
      >>> from neurograph.experiments.folder.catalog import short_names
      >>> short_names(["unroll.steps", "training.learning_rate", "problems[0].task", "problems[1].task"])
      ['steps', 'learning_rate', 'problems[0].task', 'problems[1].task']
    """
    last = Counter(key.rpartition(".")[2] for key in keys)
    return [key if last[key.rpartition(".")[2]] > 1 else key.rpartition(".")[2] for key in keys]


def select_runs(runs: Sequence[RunSummary], conditions: Iterable[str]) -> list[RunSummary]:
    """Returns the runs that meet all conditions, such as `training.learning_rate=0.01`, `state=finished` or `validation>0.9`.

    A key is one of `COLUMNS`, a setting, or the last words of one (`learning_rate`). `=`, `!=`, `<`, `<=`, `>` and `>=` compare;
    values are read as YAML. A run that has no such setting meets no condition but `!=`.

    Raises:
      ExperimentError: a condition that is written otherwise, or whose key no run has.
    """
    chosen = list(runs)
    for condition in conditions:
        match = _CONDITION.fullmatch(condition)
        if not match:
            raise ExperimentError(f"--where {condition}: expected KEY=VALUE, such as training.learning_rate=0.01 or seed<3")
        word, sign, written = match.groups()
        key = _key(word, runs, "--where")
        try:
            wanted = parse_yaml(written, f"--where {condition}").plain() if written.strip() else None
        except SpecError as error:
            raise ExperimentError(f"--where {condition}: {error}") from error
        chosen = [run for run in chosen if _meets(_value(run, key), sign, wanted)]
    return chosen


def _meets(value: Any, sign: str, wanted: Any) -> bool:
    if isinstance(value, Path):
        wanted, value = str(wanted), str(value)
    if sign in ("=", "!="):
        return _COMPARE[sign](value, wanted)
    both = (value, wanted)
    return (all(map(is_number, both)) or all(isinstance(one, str) for one in both)) and _COMPARE[sign](value, wanted)


def _value(run: RunSummary, key: str) -> Any:
    return getattr(run, key) if key in COLUMNS else run.settings.get(key)


def _key(word: str, runs: Sequence[RunSummary], option: str) -> str:
    """Returns the column or setting that a word means, which may be the end of a setting's key."""
    word = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", word)  # problems.0.task, as --set has it
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    if word in COLUMNS or word in keys:
        return word
    ends = [key for key in keys if key.endswith(f".{word}")]
    if len(ends) > 1:
        raise ExperimentError(f"{option} {word}: could be {', '.join(ends)}; expected one of them")
    if not ends:
        known = [*COLUMNS, *keys, *(key.rpartition(".")[2] for key in keys)]
        raise ExperimentError(f"{option} {word}: no run has such a setting{suggestion(word, dict.fromkeys(known))}")
    return ends[0]


def sort_runs(runs: Sequence[RunSummary], key: str, *, reverse: bool = False) -> list[RunSummary]:
    """Returns the runs in the order of a column or setting: validation and test downwards, all else upwards; unknown values last.

    Raises:
      ExperimentError: no run has such a key.
    """
    key = _key(key, runs, "--sort")
    known = [run for run in runs if _value(run, key) is not None]

    def place(run: RunSummary) -> tuple[bool, Any]:
        value = _value(run, key)
        if isinstance(value, Path):
            return True, _natural(value)
        return (False, value) if is_number(value) else (True, [(0, 0, _text(value))])

    known = sorted(known, key=place, reverse=reverse != (key in _BEST_FIRST))
    return known + [run for run in runs if _value(run, key) is None]


# -- seeds ---------------------------------------------------------------------------------------------------------------------


def group_seeds(runs: Iterable[RunSummary]) -> list[SeedGroup]:
    """Returns the runs grouped by their settings, in order of first appearance.

    A run without a configuration is a group of its own. Of several runs with the same settings and seed the one that is furthest
    counts.
    """
    groups: dict[str, list[RunSummary]] = {}
    for run in runs:
        settings = {key: value for key, value in run.settings.items() if _decides(key)}
        groups.setdefault(_text(settings) if settings else f"folder {run.folder}", []).append(run)
    found = []
    for members in groups.values():
        members = sorted(members, key=lambda run: (run.seed is None, run.seed or 0, STATES.index(run.state)))
        first: dict[int | None, RunSummary] = {}
        for run in members:
            first.setdefault(run.seed, run)
        counted = tuple(first.values())
        found.append(SeedGroup(counted, tuple(run for run in members if run not in counted)))
    return found


def group_labels(groups: Sequence[SeedGroup], most: int = 60) -> list[str]:
    """Returns a short name for each group, no two alike: the settings in which it differs from others, else its first folder."""
    firsts = [group.runs[0] for group in groups]
    own = own_settings(firsts)
    keys = list(dict.fromkeys(key for some in own for key in some))
    names = dict(zip(keys, short_names(keys)))
    several = len({(run.name, run.method) for run in firsts}) > 1
    labels = []
    for run, some in zip(firsts, own):
        experiment = run.name if run.method in ("", run.name) else f"{run.name}, {run.method}"
        words = [experiment] if several or not some else []
        labels.append(", ".join([*words, *(f"{names[key]} {setting_text(run.settings.get(key))}" for key in some)]))
    if len({*labels}) == len(labels) and max(map(len, labels), default=0) <= most:
        return labels
    return [str(run.folder) for run in firsts]


def rank_groups(groups: Iterable[SeedGroup]) -> list[SeedGroup]:
    """Returns the groups by their median score on validation data, the best first, those without a result last."""
    return sorted(groups, key=lambda group: -math.inf if group.validation is None else group.validation["median"], reverse=True)


def validated_unlike(runs: Iterable[RunSummary]) -> list[str]:
    """Returns the settings by which the validations of runs measure different things: problems, length of learning, batches."""
    return [key for key in differing_settings(runs) if re.match(r"(problems|unroll)\b", key)]
