"""Sweeps: one experiment over a grid of its values, each point a run in a folder of its own."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurograph.documents import parse_yaml
from neurograph.errors import ExperimentError, SpecError
from neurograph.experiments.runs import Run
from neurograph.experiments.spec import load_experiment
from neurograph.experiments.transfer.results import five_numbers, interval, score_text

__all__ = ["Axis", "Point", "parse_axis", "plan_sweep", "sweep_rows", "sweep_table"]

MOST_POINTS = 100_000
RANGE = re.compile(r"(-?\d+):(-?\d+)(?::(-?\d+))?")


@dataclass(frozen=True)
class Axis:
    """A place of an experiment and the values that it takes."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Point:
    """A run of a sweep, and its value on each axis."""

    values: dict[str, Any]
    run: Run


def parse_axis(text: str) -> Axis:
    """Reads `KEY=VALUE,VALUE,...` or, for whole numbers, `KEY=FIRST:END` and `KEY=FIRST:END:STEP`, without the end as in Python.

    Raises:
      ExperimentError: it is written otherwise, names no value, or one twice.

    Examples:
      >>> from neurograph.experiments.sweep import parse_axis
      >>> parse_axis("seed=0:3").values, parse_axis("training.learning_rate=0.01,0.02").values
      ((0, 1, 2), (0.01, 0.02))
    """
    key, equals, given = text.partition("=")
    if not equals or not key:
        raise ExperimentError(f"--grid {text}: expected KEY=VALUE,VALUE,... or KEY=FIRST:END, such as seed=0:5")
    if match := RANGE.fullmatch(given.strip()):
        first, end, step = (int(part) if part else 1 for part in match.groups())
        if not step or len(range(first, end, step)) > MOST_POINTS:
            raise ExperimentError(f"--grid {text}: expected a step other than 0, and at most {MOST_POINTS:,} values")
        values = tuple(range(first, end, step))
    else:
        try:
            values = tuple(parse_yaml(f"[{given}]", f"--grid {text}").plain())
        except SpecError as error:
            raise ExperimentError(f"--grid {text}: {error}") from error
    if not values:
        raise ExperimentError(f"--grid {text}: no value")
    written = Counter(json.dumps(value) for value in values)
    if double := [one for one, count in written.items() if count > 1]:
        raise ExperimentError(f"--grid {text}: {', '.join(double)} more than once")
    return Axis(key, values)


def plan_sweep(
    source: str,
    axes: Sequence[Axis],
    folder: Path,
    *,
    overrides: Sequence[str] = (),
    tested: bool = False,
    allow_changes: bool = False,
) -> list[Point]:
    """Returns the points of a grid, the last axis fastest; nothing is run.

    Args:
      source: file or name of the experiment.
      folder: of the sweep; a run lies in FOLDER/KEY=VALUE,KEY=VALUE, with the last word of each key.
      overrides: as in `load_experiment`, for all points.
      tested: whether each run ends with the final test of the experiment.
      allow_changes: as in `meta_train`.

    Raises:
      SpecError, ExperimentError: the experiment is wrong at some point, an axis is given twice, or there are too many points.
    """
    keys = [axis.key for axis in axes]
    if double := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise ExperimentError(f"--grid: {', '.join(double)} given more than once; expected one list of values")
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MOST_POINTS:
        raise ExperimentError(f"--grid: {count:,} points; expected at most {MOST_POINTS:,}")
    base = Path(source).parent if Path(source).is_file() else None
    points, names = [], _short(keys)
    for values in itertools.product(*(axis.values for axis in axes)):
        own = tuple(f"{key}={json.dumps(value)}" for key, value in zip(keys, values))
        spec = load_experiment(source, (*overrides, *own))
        name = ", ".join(f"{short} {_text(value)}" for short, value in zip(names, values))
        place = folder / ",".join(f"{short}={_text(value)}" for short, value in zip(names, values))
        command = ["neurograph", spec.training.command, source]
        command += [word for one in (*overrides, *own) for word in ("--set", one)]
        command += ["--out", str(place), *(() if tested else ("--no-transfer",)), "--resume"]
        run = Run(name, spec, place, base, tuple(command), tested, allow_changes)
        points.append(Point(dict(zip(keys, values)), run))
    folders = [point.run.folder for point in points]
    if len({*folders}) < len(folders):
        raise ExperimentError("--grid: two points would share a folder, since their values look alike in its name")
    return points


def _short(keys: Sequence[str]) -> list[str]:
    """Returns the last words of keys, or the whole keys where they would be the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return last if len({*last}) == len(last) else list(keys)


def _text(value: Any) -> str:
    """Returns a value as part of a file's name."""
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^\w.+-]+", "_", text)[:60].strip("_") or "_"


def sweep_rows(points: Iterable[Point], failed: dict[str, str]) -> list[dict[str, Any]]:
    """Returns a row per point: its values, "accuracy" and "loss" (on validation data, means over problems), "score" (what that
    accuracy is called), "seconds", "state", "folder".

    A lost run has the accuracy that `lost_score` says. Other numbers of lost runs, and all of runs that were not done, are None;
    "state" says why.
    """
    rows = []
    for point in points:
        run, summary = point.run, point.run.summary
        state = failed.get(run.name) or (f"lost: {run.lost.splitlines()[0]}" if run.lost else "done" if summary else "not done")
        losses = [value for value in summary["validation"]["loss"] if value is not None] if summary else []
        found = run.found if summary or run.lost else None
        rows.append(
            point.values
            | {"accuracy": found and found.validation, "loss": sum(losses) / len(losses) if losses else None}
            | {"score": found and found.score, "seconds": summary.get("seconds"), "state": state, "folder": str(run.folder)}
        )
    return rows


def _is_lost(row: dict[str, Any]) -> bool:
    return str(row["state"]).startswith("lost: ")


def sweep_table(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> Any:
    """Returns a `rich.table.Table`: a line per setting, best first, with the spread over seeds where `seed` is an axis."""
    from rich.table import Table

    others = [key for key in keys if key != "seed"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(json.dumps([row[key] for key in others]), []).append(row)
    table = Table(title="on validation data")
    scores = list(dict.fromkeys(row["score"] for row in rows if row["score"])) or ["accuracy"]
    score = scores[0] if len(scores) == 1 else "score"
    score += ", median (quartiles)" if "seed" in keys else ""
    last = (*(("runs",) if "seed" in keys else ()), *(("lost",) if any(map(_is_lost, rows)) else ()), "not done")
    for name in (*_short(others), score, "loss", *last):
        table.add_column(name, justify="left" if name in _short(others) else "right", overflow="fold")
    lines = []
    for members in groups.values():
        fine = [row for row in members if row["accuracy"] is not None]
        found, losses = (five_numbers(row[name] for row in fine if row[name] is not None) for name in ("accuracy", "loss"))
        several = len(members) > 1
        reached = "-" if not fine else interval(found) if several else score_text(found["median"])
        loss = "-" if math.isnan(losses["median"]) else f"{losses['median']:.3f}"
        cells = [*(str(members[0][key]) for key in others), reached, loss]
        cells += [str(len(members))] if "seed" in keys else []
        cells += [str(sum(map(_is_lost, members)) or "")] if any(map(_is_lost, rows)) else []
        lines.append((-found["median"] if fine else math.inf, [*cells, str(len(members) - len(fine) or "")]))
    for _, cells in sorted(lines, key=lambda line: line[0]):
        table.add_row(*cells)
    return table
