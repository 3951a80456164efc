"""Results of a transfer test as plain data: rows, medians and spreads, tables. No JAX is imported.

`transfer.json` holds `{"rows": [...], "chosen": [...], "notes": {...}}`:

- a row is one judged network: {"topology", "task", "method", "activation", "batch_norm", "learning_rate", "step", "seed",
  "accuracy", "loss", "failed"}; the method is "genome", "sgd", "momentum" or "adam"; a genome has no activation, batch norm or
  learning rate (null); a loss that is not finite is null and the row has failed;
- an entry of `chosen` is one baseline at one step count, and what its learning rate was chosen by: {"topology", "task", "method",
  "activation", "batch_norm", "step", "learning_rate", "accuracy", "loss", "failures", "seeds", "at_edge", "best"}, on validation
  data; `best` marks the best baseline of its step count;
- `notes` holds the numbers behind the rows: {"at", "seeds", "batch_size", "query_size", "validation_seeds", "learning_rates",
  "configurations", "runs", "baseline_failures", "chance": {task: accuracy of the commonest answer}, "topologies": {name: size},
  "numbers": the regressions among the tasks, if any: their accuracy is R^2, "trained_steps" of a matrix: {genome: learning steps
  that its meta-training went through}, of those whose files tell them}.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from neurograph._lazy import from_above
from neurograph.documents import parse_json, shown
from neurograph.errors import ExperimentError
from neurograph.files import write_atomically

__all__ = [
    "BY_QUARTILES",
    "GENOME",
    "GROUP",
    "Row",
    "Transfer",
    "aggregate",
    "baseline_text",
    "best_baselines",
    "best_settings",
    "comparison",
    "csv_text",
    "fault_of_row",
    "five_numbers",
    "interval",
    "is_number",
    "label",
    "load_transfer",
    "mark_best",
    "score_name",
    "score_text",
    "spread",
    "standing",
    "standings",
]

BY_QUARTILES = "Ahead, behind: the quartiles leave a gap between the two; else level."
"""What `standing` says, for readers of its words."""

GENOME = "genome"
GROUP = ("topology", "task", "method", "activation", "batch_norm", "step")
JUDGED = (*GROUP, "seed", "accuracy")

Row = dict[str, Any]


@dataclass(frozen=True)
class Transfer:
    """Rows, choices and notes as described above."""

    rows: tuple[Row, ...]
    chosen: tuple[Row, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        places = len({(row["task"], row["topology"]) for row in self.rows})
        return f"Transfer({len(self.rows):,} rows of {places:,} pair{'s' * (places != 1)} of task and topology)"

    def _repr_html_(self) -> str:
        return from_above("report.notebook.transfer", "transfer_html")(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {"rows": list(self.rows), "chosen": list(self.chosen), "notes": self.notes}

    def save(self, path: Path | str) -> Path:
        """Writes JSON, one row per line, and returns the path."""
        path = Path(path)

        def block(rows: Iterable[Row]) -> str:
            return ",\n".join(json.dumps(row) for row in rows)

        notes = json.dumps(self.notes)
        text = f'{{"rows": [\n{block(self.rows)}\n],\n"chosen": [\n{block(self.chosen)}\n],\n"notes": {notes}}}\n'
        write_atomically(path, text)
        return path

    def aggregate(self) -> list[Row]:
        """See `aggregate`."""
        return aggregate(self.rows)

    def comparison(self, steps: Sequence[int] | None = None) -> list[Row]:
        """See `comparison`."""
        return comparison(self.rows, self.chosen, steps)

    def text(self, steps: Sequence[int] | None = None, *, width: int = 110) -> str:
        """Returns a table for the terminal: the genome beside the best baseline, per topology, task and step count."""
        from rich.console import Console

        stream = io.StringIO()
        Console(file=stream, width=width, highlight=False, color_system=None).print(self.table(steps))
        return stream.getvalue()

    def table(self, steps: Sequence[int] | None = None) -> Any:
        """Returns the same as a `rich.table.Table`. Default steps: all but 0."""
        from rich.table import Table

        rows = self.comparison(steps)
        tasks = list(dict.fromkeys(row["task"] for row in rows))
        score = score_name(tasks, self.notes)
        table = Table(title=f"{score} on test data: median (quartiles) over {self.notes.get('seeds', 'the')} seeds")
        for name in ("task", "topology") if len(tasks) > 1 else ("topology",):
            table.add_column(name, overflow="fold")
        table.add_column("steps", justify="right")
        table.add_column("genome", justify="right")
        if any(row["baseline"] for row in rows):
            table.add_column("best baseline", justify="right")
            table.add_column("which, learning rate", overflow="fold")
            table.add_column("difference", justify="right")
        before = None
        for row in rows:
            if before not in (None, (row["task"], row["topology"])):
                table.add_section()
            first = before != (row["task"], row["topology"])
            before = (row["task"], row["topology"])
            cells = [row["topology"] if first else "", str(row["step"]), spread(row["genome"])]
            if len(tasks) > 1:
                cells = [row["task"] if first else "", *cells]
            if row["baseline"]:
                rate = f"{row['baseline']['learning_rate']:.3g}"
                cells += [spread(row["baseline"]), f"{label(row['baseline'])}, {rate}", f"{row['difference']:+.3f}"]
            table.add_row(*cells)
        return table


def interval(entry: Row, ends: tuple[str, str] = ("low", "high"), *, to: str = "-", digits: int = 3) -> str:
    """Returns the median of an entry and the range between two of its other fields: "0.850 (0.842-0.861)".

    Below 0 the word "to" joins them, whatever `to` says.
    """
    low, high = (score_text(entry[end], digits) for end in ends)
    to = " to " if "-" in (low[0], high[0]) else to
    return f"{score_text(entry['median'], digits)} ({low}{to}{high})"


def score_text(value: float | None, digits: int = 3) -> str:
    """Returns a score with so many digits, those of an R^2 below -1000 in all; "-" for None.

    Examples:
      >>> score_text(0.85), score_text(-100000.0)
      ('0.850', '-1e+05')
    """
    return "-" if value is None else f"{value:.{digits}f}" if value > -1e3 else f"{value:.{digits}g}"


def spread(entry: Row | None) -> str:
    """Returns the median and quartiles of an entry of `aggregate`, and how many of its runs failed; "-" for None."""
    if entry is None or entry["median"] is None:
        return "-"
    return interval(entry) + (f" {entry['failures']} failed" if entry["failures"] else "")


def score_name(tasks: Iterable[str], notes: Mapping[str, Any]) -> str:
    """Returns what the "accuracy" of these tasks is: "accuracy", "R^2" of regressions, or both, with the regressions by name.

    Examples:
      >>> score_name(["digits", "prices"], {"numbers": ["prices"]})
      'accuracy (R^2 of prices)'
    """
    tasks = list(dict.fromkeys(tasks))
    numbers = [task for task in tasks if task in (notes.get("numbers") or ())]
    return "R^2" if numbers and numbers == tasks else f"accuracy (R^2 of {', '.join(numbers)})" if numbers else "accuracy"


def standing(entry: Row, other: Row) -> str:
    """Returns where an entry of `aggregate` stands beside another: "ahead" or "behind" if their quartiles leave a gap between
    them, else "level".

    Examples:
      >>> standing({"low": 0.7, "high": 0.8}, {"low": 0.5, "high": 0.6})
      'ahead'
    """
    return "ahead" if entry["low"] > other["high"] else "behind" if entry["high"] < other["low"] else "level"


def standings(found: Sequence[str], what: str, place: str = "place") -> str:
    """Returns in how many places a genome stands how beside something: the words that `standing` returned, most of one first.

    Examples:
      >>> standings(["ahead", "behind", "ahead"], "the best baseline")
      'ahead of the best baseline in 2 of 3 places, behind in 1'
    """
    words = {"ahead": "ahead of", "level": "level with"}
    counts = [(word, found.count(word)) for word in ("ahead", "level", "above", "at", "behind", "below") if word in found]
    (first, count), *rest = counts
    begin = f"{words.get(first, first)} {what}"
    if len(found) == 1:
        return begin
    share = f"{count} of {len(found)}" if rest else f"all {count}" if count > 2 else "both"
    return f"{begin} in {share} {place}s" + "".join(f", {word} in {number}" for word, number in rest)


def load_transfer(path: Path | str) -> Transfer:
    """Reads `transfer.json`.

    Raises:
      ExperimentError: there is no such file, it is no JSON, or a row lacks a field or has a wrong one (the first is named).
    """
    path = Path(path)
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ExperimentError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(data, dict) or not isinstance(data.get("rows"), list):
        raise ExperimentError(f"{path}: expected an object with a list of rows")
    for number, row in enumerate(data["rows"]):
        if fault := fault_of_row(row):
            raise ExperimentError(f"{path} at rows[{number}]: {fault}")
    chosen = data.get("chosen")
    known = [one for one in chosen if not fault_of_row(one, GROUP)] if isinstance(chosen, list) else []
    return Transfer(tuple(data["rows"]), tuple(known), data["notes"] if isinstance(data.get("notes"), dict) else {})


def is_number(value: Any) -> TypeGuard[float]:
    """Returns whether a value of a JSON file is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def fault_of_row(row: Any, needed: Sequence[str] = JUDGED) -> str:
    """Returns what is wrong with a row, or with an entry of `chosen` (which needs only `GROUP`); "" if nothing is."""
    if not isinstance(row, dict):
        return f"expected an object, got {type(row).__name__}"
    if missing := [name for name in needed if name not in row]:
        return f"lacks {', '.join(missing)}"
    for name in ("topology", "task", "method"):
        if not isinstance(row[name], str):
            return f"{name} is text; got {shown(row[name])}"
    loss, rate, share = row.get("loss"), row.get("learning_rate"), row.get("accuracy")
    if not is_number(row["step"]) or not (loss is None or isinstance(loss, float) or is_number(loss)):
        return f"step and loss are numbers; got {shown(row['step'])} and {shown(loss)}"
    if not (share is None or (is_number(share) and abs(share) < 1e6)):  # as a share, but nothing hangs on a rounding above 1
        return f"accuracy is a number from 0 to 1; got {shown(share)}"
    return "" if rate is None or is_number(rate) else f"learning_rate is a number; got {shown(rate)}"


def label(row: Row) -> str:
    """Returns the name of a method in tables and legends: "genome", or "adam, relu, batch norm"."""
    if row["method"] == GENOME:
        return GENOME
    return f"{row['method']}, {row['activation']}{', batch norm' if row['batch_norm'] else ''}"


def aggregate(rows: Iterable[Row]) -> list[Row]:
    """Returns one entry per topology, task, method and step count, in order of first appearance.

    Each has "median", "low" and "high" (quartiles), "minimum", "maximum" of the accuracy over the seeds, "loss" (median of the
    finite ones, or None), "seeds", "failures" and "learning_rate". A failed run counts with the accuracy of the answers it gave.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in GROUP), []).append(row)
    table = []
    for group, members in groups.items():
        hits = np.array([row["accuracy"] for row in members if row["accuracy"] is not None], float)
        if not len(hits):
            continue
        losses = [row["loss"] for row in members if row.get("loss") is not None and math.isfinite(row["loss"])]
        table.append(
            dict(zip(GROUP, group))
            | five_numbers(hits)
            | {"loss": float(np.median(losses)) if losses else None}
            | {"seeds": len(members), "failures": sum(bool(row.get("failed")) for row in members)}
            | {"learning_rate": members[0].get("learning_rate")}
        )
    return table


def five_numbers(numbers: Iterable[float]) -> Row:
    """Returns {"median", "low", "high", "minimum", "maximum"}; low and high are quartiles; all are NaN without numbers."""
    values = np.asarray(list(numbers), float)
    if not len(values):
        return dict.fromkeys(("median", "low", "high", "minimum", "maximum"), math.nan)
    low, median, high = np.percentile(values, [25, 50, 75])
    found = {"median": median, "low": low, "high": high, "minimum": values.min(), "maximum": values.max()}
    return {name: float(value) for name, value in found.items()}


def best_baselines(rows: Iterable[Row], chosen: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    """Returns, by (topology, task, step), the aggregate of the baseline that was best on VALIDATION data."""
    table = {tuple(entry[name] for name in GROUP): entry for entry in aggregate(rows)}
    found = {}
    for one in chosen:
        group = tuple(one[name] for name in GROUP)
        if one.get("best") and group in table:
            found[one["topology"], one["task"], one["step"]] = table[group]
    return found


def best_settings(rows: Iterable[Row], chosen: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    """Returns, by (topology, task, step, method), the aggregate of an optimiser's setting that was best on VALIDATION data."""
    table = {tuple(entry[name] for name in GROUP): entry for entry in aggregate(rows)}
    best: dict[tuple[Any, ...], Row] = {}
    for one in chosen:
        place = one["topology"], one["task"], one["step"], one["method"]
        if one.get("accuracy") is not None and one["accuracy"] > best.get(place, {"accuracy": -math.inf})["accuracy"]:
            best[place] = one
    found = {place: table.get(tuple(one[name] for name in GROUP)) for place, one in best.items()}
    return {place: entry for place, entry in found.items() if entry}


def baseline_text(cell: Row) -> str:
    """Returns the best baseline of a cell of a transfer matrix with its name and learning rate; "-" where there is none.

    Examples:
      >>> baseline_text({"baseline": "sgd, relu", "baseline_median": 0.9, "learning_rate": 0.1})
      '0.900 sgd, relu, 0.1'
    """
    if cell["baseline_median"] is None:
        return "-"
    return f"{score_text(cell['baseline_median'])} {cell['baseline']}, {cell['learning_rate']:.3g}"


def mark_best(chosen: Iterable[Row]) -> list[Row]:
    """Returns `chosen` with "best" set on the best entry per place and step count, on validation data (ties: by loss)."""
    chosen = list(chosen)
    best: dict[tuple[Any, ...], int] = {}

    def score(row: Row) -> tuple[float, float]:
        loss = row.get("loss")
        return row["accuracy"], -math.inf if loss is None else -loss

    for number, row in enumerate(chosen):
        place = row["topology"], row["task"], row["step"]
        if place not in best or score(row) > score(chosen[best[place]]):
            best[place] = number
    return [row | {"best": number in best.values()} for number, row in enumerate(chosen)]


def csv_text(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Returns rows as CSV; keys that are no column are left out."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def comparison(rows: Sequence[Row], chosen: Sequence[Row], steps: Sequence[int] | None = None) -> list[Row]:
    """Returns the genome beside the best baseline: {"task", "topology", "step", "genome", "baseline", "difference"}.

    `genome` and `baseline` are entries of `aggregate` (the baseline the one chosen on validation data, or None), `difference` is
    that of their medians on test data, or None. Default steps: all but 0.
    """
    best = best_baselines(rows, chosen)
    table = []
    for entry in aggregate(row for row in rows if row["method"] == GENOME):
        step = entry["step"]
        if step not in steps if steps is not None else step == 0:
            continue
        baseline = best.get((entry["topology"], entry["task"], step))
        table.append(
            {"task": entry["task"], "topology": entry["topology"], "step": step, "genome": entry, "baseline": baseline}
            | {"difference": entry["median"] - baseline["median"] if baseline else None}
        )
    return table
