"""Results of a transfer matrix as plain data: cells, tables, a summary. No JAX."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurograph._lazy import from_above
from neurograph.documents import parse_json
from neurograph.errors import ExperimentError
from neurograph.experiments.transfer.results import (
    BY_QUARTILES,
    GENOME,
    GROUP,
    Row,
    Transfer,
    aggregate,
    baseline_text,
    best_baselines,
    csv_text,
    fault_of_row,
    label,
    score_name,
    score_text,
    spread,
    standing,
    standings,
)
from neurograph.files import write_atomically

if TYPE_CHECKING:
    from neurograph.genome import GenomeFile

__all__ = ["TransferMatrix", "load_transfer_matrix"]

COLUMNS = ("genome", "method", "activation", "batch_norm", "learning_rate", "topology", "task", "step", "seed")
COLUMNS = (*COLUMNS, "accuracy", "loss", "failed")


@dataclass(frozen=True)
class TransferMatrix:
    """The cells of a transfer matrix.

    Attributes:
      rows, chosen: as in `results`; every row has "genome", a name, or None for a baseline.
      problems: cells that did not run, {"genome", "method", "topology", "task", "reason"}; genome and method are None where no
        cell of that pair fits.
      notes: as in `results`.
    """

    rows: tuple[Row, ...]
    chosen: tuple[Row, ...] = ()
    problems: tuple[Row, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        sizes = [f"{len(self.notes.get(name) or ()):,} {name}" for name in ("genomes", "topologies", "tasks")]
        return f"TransferMatrix({', '.join(sizes)}, {len(self.rows):,} rows, {len(self.problems):,} problems)"

    def _repr_html_(self) -> str:
        return from_above("report.notebook.transfer", "matrix_html")(self)

    @property
    def genomes(self) -> list[str]:
        return list(self.notes["genomes"])

    @property
    def steps(self) -> list[int]:
        return list(self.notes["at"])

    @property
    def trained_steps(self) -> dict[str, int | None]:
        """By genome how many learning steps meta-training went through; None where its file does not tell."""
        known = self.notes.get("trained_steps") or {}
        return {name: known.get(name) for name in self.genomes}

    def note_training(self, files: Mapping[str, GenomeFile]) -> None:
        """Notes the `trained_steps` of genomes, by their names, whose files tell them."""
        if known := {name: file.trained_steps for name, file in files.items() if file.trained_steps}:
            self.notes["trained_steps"] = known

    def of(self, genome: str) -> Transfer:
        """Returns one genome beside all baselines, as a `Transfer` (for `comparison`, `text`, reports)."""
        mine = tuple(row for row in self.rows if row["genome"] in (genome, None))
        return Transfer(mine, self.chosen, self.notes)

    def shown_steps(self) -> list[int]:
        """Returns the step counts of tables: the wanted ones, else 10 (if judged) and the last."""
        if shown := [step for step in self.notes.get("shown") or () if step in self.steps]:
            return shown
        return sorted({10, self.steps[-1]} & {*self.steps}) or self.steps[-1:]

    def cells(self, step: int) -> list[Row]:
        """Returns one entry per task, topology and genome.

        An entry has "task", "topology", "genome", "step", "median", "low", "high", "seeds", "failures", "baseline",
        "baseline_median", "learning_rate", "difference", "standing" and "reason". The baseline is the one that was best on
        validation data after so many steps, `standing` where the genome stands beside it ("ahead", "level" or "behind", by
        quartiles, as the function of this name says); `reason` says why a cell is empty.

        Raises:
          ExperimentError: the step count was not judged.
        """
        if step not in self.steps:
            raise ExperimentError(f"step: got {step}; judged were {', '.join(map(str, self.steps))}")
        best = best_baselines((row for row in self.rows if row["genome"] is None), self.chosen)
        scores: dict[tuple[str, str, str], Row] = {}
        for name in self.genomes:
            for entry in aggregate(row for row in self.rows if row["genome"] == name and row["step"] == step):
                scores[entry["task"], entry["topology"], name] = entry
        reasons = {(p["task"], p["topology"], p["genome"], p["method"]): p["reason"] for p in self.problems}
        table = []
        for task in self.notes["tasks"]:
            for topology in self.notes["topologies"]:
                baseline = best.get((topology, task, step))
                for name in self.genomes:
                    entry = scores.get((task, topology, name))
                    row: Row = {"task": task, "topology": topology, "genome": name, "step": step}
                    row |= {key: entry[key] if entry else None for key in ("median", "low", "high", "seeds", "failures")}
                    row |= {"baseline": label(baseline) if baseline else None}
                    row |= {"baseline_median": baseline["median"] if baseline else None}
                    row |= {"learning_rate": baseline["learning_rate"] if baseline else None}
                    row["difference"] = entry["median"] - baseline["median"] if entry and baseline else None
                    row["standing"] = standing(entry, baseline) if entry and baseline else None
                    missing = reasons.get((task, topology, name, GENOME)) or reasons.get((task, topology, None, None))
                    row["reason"] = None if entry else missing or "not run"
                    table.append(row)
        return table

    def text(self, steps: Sequence[int] | None = None, *, width: int = 120) -> str:
        """Returns tables for the terminal, one per task: topologies and steps by genomes, beside the best baseline."""
        from rich.console import Console
        from rich.table import Table

        stream = io.StringIO()
        console = Console(file=stream, width=width, highlight=False, color_system=None)
        steps = self.shown_steps() if steps is None else list(steps)
        by_step = {step: self.cells(step) for step in steps}
        for task in self.notes["tasks"]:
            score = score_name([task], self.notes)
            table = Table(title=f"{task}: {score} on test data, median (quartiles) over {self.notes['seeds']} seeds")
            table.add_column("topology", overflow="fold")
            table.add_column("steps", justify="right")
            for name in self.genomes:
                table.add_column(name, justify="right", overflow="fold")
            if self.notes["baselines"]:
                table.add_column("best baseline", justify="right", overflow="fold")
            for topology in self.notes["topologies"]:
                for i, step in enumerate(steps):
                    mine = [c for c in by_step[step] if (c["task"], c["topology"]) == (task, topology)]
                    cells = [_cell(cell) for cell in mine]
                    if all(cell["median"] is None for cell in mine) and len({cell["reason"] for cell in mine}) == 1 and i:
                        continue  # the reason once is enough
                    if self.notes["baselines"]:
                        cells.append(baseline_text(mine[0]) + self._why_no_baseline(mine[0]))
                    table.add_row(topology if i == 0 else "", str(step), *cells)
                table.add_section()
            console.print(table)
        return stream.getvalue()

    def _why_no_baseline(self, cell: Row) -> str:
        """Returns the reason in brackets why a cell has no baseline, if one is known."""
        place = cell["task"], cell["topology"]
        for problem in self.problems if cell["baseline"] is None else ():
            if (problem["task"], problem["topology"]) == place and problem["method"] not in (None, GENOME):
                return f" ({problem['reason'].splitlines()[0]})"
        return ""

    def csv(self) -> str:
        """Returns all rows as CSV, one line per judged network."""
        return csv_text(COLUMNS, self.rows)

    def cells_csv(self) -> str:
        """Returns the cells of every step count above 0 as CSV."""
        cells = [cell for step in self.steps if step > 0 or len(self.steps) == 1 for cell in self.cells(step)]
        return csv_text(list(cells[0]), cells)

    def summary(self, step: int | None = None) -> str:
        """Returns a paragraph: cells that ran, genomes ahead of the best baseline, numbers of seeds, failures, configurations."""
        step = self.shown_steps()[0] if step is None else step
        cells, notes = self.cells(step), self.notes
        ran = [cell for cell in cells if cell["median"] is not None]
        some = lambda count, noun: f"{count:,} {noun}{'s' * (count != 1)}"  # noqa: E731
        size = some(len(self.genomes), "genome") + f" on {some(len(notes['topologies']), 'topology').replace('ys', 'ies')}"
        parts = [f"{size} and {some(len(notes['tasks']), 'task')}: {len(ran)} of {len(cells)} cells ran."]
        misfits = sum(cell["median"] is None and str(cell["reason"]).startswith("does not fit") for cell in cells)
        if misfits:
            parts.append(f"In {misfits} the widths of task and topology do not fit.")
        if others := len(cells) - len(ran) - misfits:
            parts.append(f"{others} could not run (see the problems).")
        compared = False
        for name in self.genomes:
            mine = [cell for cell in ran if cell["genome"] == name]
            if not mine:
                parts.append(f"{name} ran nowhere.")
                continue
            ordered = sorted(mine, key=lambda cell: cell["median"])
            at = lambda cell: f"{score_text(cell['median'])} on {cell['topology']} ({cell['task']})"  # noqa: E731
            span = f"from {at(ordered[0])} to {at(ordered[-1])}" if len(mine) > 1 else f"of {at(mine[0])}"
            score = score_name((cell["task"] for cell in mine), notes)
            text = f"After {some(step, 'step')} {name} has a median {score} {span}"
            judged = [cell for cell in mine if cell["standing"] is not None]
            if judged:
                beside = standings([cell["standing"] for cell in judged], "the best baseline", "cell")
                middle = np.median([cell["difference"] for cell in judged])
                text += f"; it is {beside} ({middle:+.3f} in the median)"
                compared = True
            parts.append(text + ".")
        parts += [BY_QUARTILES] if compared else []
        own = [row for row in self.rows if row["genome"] is not None and row["step"] == self.steps[-1]]
        parts.append(
            f"{some(notes['seeds'], 'seed')} per cell; {sum(row['failed'] for row in own)} of {len(own)} genome runs failed."
        )
        if notes["baselines"]:
            halved = " by successive halving" if notes.get("search") == "halving" else ""
            parts.append(
                f"Baselines ({', '.join(notes['baselines'])}): activation, batch norm and learning rate chosen{halved} on"
                f" validation data for every graph and step count, {notes['configurations']:,} configurations in"
                f" {notes['runs']:,} runs; {notes['baseline_failures']:,} of them diverged; test data used once."
            )
        return " ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return {"rows": list(self.rows), "chosen": list(self.chosen), "problems": list(self.problems), "notes": self.notes}

    def save(self, folder: Path | str, steps: Sequence[int] | None = None) -> list[Path]:
        """Writes matrix.json (all), rows.csv, cells.csv and matrix.txt (tables and summary); returns the paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = self.text(steps) + "\n" + self.summary(None if steps is None else steps[0]) + "\n"
        files = {
            "matrix.json": json.dumps(self.to_dict(), indent=1) + "\n",
            "rows.csv": self.csv(),
            "cells.csv": self.cells_csv(),
        }
        for name, content in (files | {"matrix.txt": text}).items():
            write_atomically(folder / name, content)
        return [folder / name for name in (*files, "matrix.txt")]


def load_transfer_matrix(path: Path | str) -> TransferMatrix:
    """Reads `matrix.json`.

    Raises:
      ExperimentError: there is no such file, it is no JSON, or it has another content.
    """
    path = Path(path)
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        faults = [fault_of_row(row) for row in data["rows"]] + [fault_of_row(row, GROUP) for row in data["chosen"]]
        if fault := next(filter(None, faults), ""):
            raise ValueError(fault)
        found = TransferMatrix(tuple(data["rows"]), tuple(data["chosen"]), tuple(data["problems"]), data["notes"])
        found.cells(found.steps[-1])
        return found
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ExperimentError(f"{path}: not the results of a transfer matrix ({type(error).__name__}: {error})") from error


def _cell(cell: Row) -> str:
    """Returns the numbers of a cell, or why it is empty."""
    return spread(cell) + (f" ({cell['reason'].splitlines()[0]})" if cell["median"] is None else "")
