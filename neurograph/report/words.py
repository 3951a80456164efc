"""Words and tables that several pages share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from neurograph.errors import ExperimentError
from neurograph.experiments.folder.reading import Run, data_dir_words, mapping
from neurograph.experiments.transfer.results import is_number, score_name
from neurograph.files import write_atomically
from neurograph.report.html import Markup, commands, document, items, joined, paragraph

__all__ = ["duration", "environment_rows", "facts", "faults", "finish", "number", "rerun", "rerun_commands", "score_of"]


def finish(path: Path, title: str, verdict: str, sections: Mapping[str, str]) -> Path:
    """Writes the page of this verdict and these sections without the empty ones, and returns its path.

    Raises:
      ExperimentError: the page cannot be written.
    """
    try:
        write_atomically(path, document(title, verdict, {heading: body for heading, body in sections.items() if body}))
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def faults(runs: list[Run]) -> dict[str, Markup]:
    """Returns the section with the files and lines that could not be read; none if there are none."""
    found = [f"{run.folder.name}: {fault}" if len(runs) > 1 else fault for run in runs for fault in run.faults]
    return {"What could not be read": items(found)} if found else {}


def number(value: Any, digits: int = 3) -> str:
    """Returns a number as pages show it; "-" for None."""
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.{digits}f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.{digits}g}"
    return str(value)


def score_of(runs: Iterable[Run], tasks: Iterable[str], *, capital: bool = False) -> str:
    """Returns what the accuracies of tasks in these runs are called, see `score_name`; `capital` begins a sentence."""
    score = score_name(tasks, {"numbers": [name for run in runs for name in run.numbers]})
    return score[0].upper() + score[1:] if capital else score


def facts(run: Run) -> list[tuple[str, str]]:
    """Returns the run in a few lines (name, value)."""
    summary = run.summary
    found: list[tuple[str, Any]] = [("method", run.method)] if run.method else []
    if run.tasks:
        found.append(("learned on", ", ".join(dict.fromkeys(run.tasks))))
    places = [name for name, use in run.topologies().items() if "learned" in use]
    if places:
        found.append(("topologies", ", ".join(places)))
    for name in ("meta_steps", "genomes"):
        if name in summary:
            found.append((name.replace("_", "-"), number(summary[name])))
    if run.genome:
        found.append(("states per neuron", number(run.genome.genome.states)))
    if is_number(summary.get("seconds")):
        found.append(("meta-training took", duration(summary["seconds"])))
    validation = mapping(summary.get("validation"))
    for name in ("accuracy", "loss"):
        values = validation.get(name)
        values = [v for v in (values if isinstance(values, list) else [values]) if is_number(v)]
        if values:
            words = run.score if name == "accuracy" else name
            found.append((f"{words} on validation data", ", ".join(number(float(v)) for v in values)))
    skipped = summary.get("skipped")
    total = sum(skipped) if isinstance(skipped, list) and all(isinstance(v, int) for v in skipped) else skipped
    if isinstance(total, int):
        found.append(("genomes that diverged" if run.evolved else "skipped updates (not finite)", number(total)))
    return [(name, str(value)) for name, value in found]


def duration(seconds: float) -> str:
    """Returns seconds in the unit that a reader thinks in."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def environment_rows(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns an environment.json as lines (name, value), the packages one by one."""
    rows = []
    for name, value in environment.items():
        if isinstance(value, dict):
            rows += [(str(key), "not installed" if v is None else str(v)) for key, v in value.items()]
        else:
            rows.append((str(name), ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows


def rerun_commands(run: Run) -> list[str]:
    """Returns the commands that do the run again and compare the two."""
    folder, again = str(run.folder), f"{run.folder}-again"
    data = data_dir_words(run.environment)
    words = (run.command, f"{folder}/config.yaml", "--out", again, *data), ("report", folder, again)
    return [shlex.join(("neurograph", *one)) for one in words]


def rerun(run: Run) -> Markup:
    """Returns how the run is done again; empty without a configuration."""
    if not run.config:
        return Markup()
    text = (
        "From where the run was started; the same versions on the same device give the same numbers. Topology files are taken"
        " from topologies/, shipped ones from neurograph; an older version kept none, and they are looked up in the current"
        " folder and beside config.yaml. The second command compares both runs."
    )
    return joined([paragraph(text), commands(rerun_commands(run))])
