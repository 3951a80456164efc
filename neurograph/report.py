"""`write_report`: one page about a run, made from its folder alone.

`report.html` holds everything (drawings, style, numbers) and loads nothing; the drawings also lie in `plots/` as SVG and PNG.
What the folder lacks, the page says; what is broken in it, the page names, and shows the rest. No JAX.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from neurograph.errors import ExperimentError
from neurograph.files import write_atomically
from neurograph.report_page import block, details, document, drawing, paragraph, table
from neurograph.results import Row, Transfer, label, load_transfer

__all__ = ["write_report"]

FILES = ("config.yaml", "environment.json", "metrics.jsonl", "genome.json", "transfer.json", "summary.json")

_MATRICES = ("forward_transform", "backward_transform", "pre_transform", "post_transform")
_SECOND = ("forward_pre_transform", "forward_post_transform")
_MOMENTS = ("forward_scale", "forward_shift", "backward_scale", "backward_shift")
_GATES = ("neuron_keep", "neuron_update", "synapse_keep", "synapse_update")


@dataclass
class _Run:
    """What was found in a run folder, and what was wrong with it."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    genome: dict[str, Any] = field(default_factory=dict)
    records: list[Row] = field(default_factory=list)
    validations: list[Row] = field(default_factory=list)
    transfer: Transfer | None = None
    faults: list[str] = field(default_factory=list)
    plots: list[str] = field(default_factory=list)

    @property
    def chosen(self) -> int | None:
        """The genome that was taken, if the summary says so."""
        chosen = self.summary.get("chosen")
        return chosen if isinstance(chosen, int) and not isinstance(chosen, bool) else None


def write_report(folder: Path | str) -> Path:
    """Draw and describe the run in `folder`; returns the path of its `report.html`, written beside what was read.

    Raises:
      ExperimentError: no such folder, nothing of a run in it, or it cannot be written to.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ExperimentError(f"{folder}: no such folder; expected the folder of a run")
    if not any((folder / name).is_file() for name in FILES):
        raise ExperimentError(f"{folder}: nothing to report; a run folder holds {', '.join(FILES)} (any of them will do)")
    run = _read(folder)
    parts = [section(run) for section in (_overview, _training, _transfer, _genome, _configuration, _environment, _rerun)]
    if run.faults:
        faults = "".join(f"<li>{escape(fault)}</li>" for fault in run.faults)
        parts.insert(1, block("What could not be read", f"<ul>{faults}</ul>"))
    title = str(run.summary.get("name") or run.config.get("name") or folder.resolve().name)
    path = folder / "report.html"
    try:
        write_atomically(path, document(title, "".join(parts)))
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be written ({error.strerror})") from error
    return path


# -- reading -------------------------------------------------------------------------------------------------------------------


def _read(folder: Path) -> _Run:
    run = _Run(folder)

    def load(name: str, parse: Callable[[str], Any]) -> Any:
        path = folder / name
        if not path.is_file():
            return None
        try:
            return parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            run.faults.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return None

    def mapping(name: str, parse: Callable[[str], Any]) -> dict[str, Any]:
        data = load(name, parse)
        if data is not None and not isinstance(data, dict):
            run.faults.append(f"{name}: expected an object, got {type(data).__name__}")
        return _mapping(data)

    run.config_text = load("config.yaml", str) or ""
    run.config = mapping("config.yaml", _yaml)
    run.environment = mapping("environment.json", json.loads)
    run.summary = mapping("summary.json", json.loads)
    run.genome = mapping("genome.json", json.loads)
    for number, line in enumerate((load("metrics.jsonl", str) or "").splitlines(), 1):
        _record(run, number, line)
    if (folder / "transfer.json").is_file():
        try:
            run.transfer = load_transfer(folder / "transfer.json")
        except ExperimentError as error:
            run.faults.append(str(error).replace(str(folder / "transfer.json"), "transfer.json"))
    return run


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _record(run: _Run, number: int, line: str) -> None:
    """One line of metrics.jsonl: of training, of validation, or a fault (a run that was cut off ends in half a line)."""
    if not line.strip():
        return
    try:
        data = json.loads(line)
        step = data["step"]
        validation = data.get("validation")
        scores = validation if validation is not None else data
        kept = {name: _floats(scores[name]) for name in ("loss", "accuracy") if name in scores}
        if isinstance(step, bool) or not isinstance(step, (int, float)) or not kept:
            raise ValueError("expected a step, and loss or accuracy")
        extra = {name: data[name] for name in ("seconds", "skipped") if name in data}
        (run.records if validation is None else run.validations).append({"step": step, **kept, **extra})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        run.faults.append(f"metrics.jsonl, line {number}: skipped ({type(error).__name__}: {error})")


def _floats(values: Any) -> list[float | None]:
    values = values if isinstance(values, list) else [values]
    if not values or any(isinstance(v, bool) or not isinstance(v, (int, float, type(None))) for v in values):
        raise ValueError("expected a list of numbers")
    return [None if v is None or not math.isfinite(v) else float(v) for v in values]


def _mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def _chance(run: _Run, task: str | None = None) -> float | None:
    chance = _mapping(run.transfer.notes.get("chance")) if run.transfer else {}
    found = [v for name, v in chance.items() if task in (None, name) and isinstance(v, (int, float))]
    return sum(found) / len(found) if found else None


# -- sections ------------------------------------------------------------------------------------------------------------------


def _number(value: Any, digits: int = 3) -> str:
    if isinstance(value, bool) or value is None:
        return "-" if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.{digits}f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.{digits}g}"
    return str(value)


def _draw(run: _Run, name: str, figure: Any, caption: str) -> str:
    """Save a figure as SVG and PNG under plots/, and give it back for the page."""
    run.plots.append(name)
    return drawing(run.folder / "plots", name, figure, caption)


def _overview(run: _Run) -> str:
    card = _mapping(run.genome.get("card"))
    summary, config = run.summary, run.config
    facts: list[tuple[str, Any]] = []
    tasks = summary.get("tasks") or card.get("tasks")
    if isinstance(tasks, list):
        facts.append(("learned on", ", ".join(dict.fromkeys(map(str, tasks)))))
    if isinstance(card.get("topologies"), list):
        facts.append(("topologies", ", ".join(map(str, card["topologies"]))))
    for name in ("meta_steps", "genomes"):
        if name in summary:
            facts.append((name.replace("_", "-"), _number(summary[name])))
    if isinstance(summary.get("seconds"), (int, float)):
        facts.append(("meta-training took", _duration(summary["seconds"])))
    validation = summary.get("validation")
    if isinstance(validation, dict):
        for name in ("accuracy", "loss"):
            values = validation.get(name)
            values = [v for v in (values if isinstance(values, list) else [values]) if isinstance(v, (int, float))]
            if values:
                facts.append((f"{name} on validation data", ", ".join(_number(float(v)) for v in values)))
    skipped = summary.get("skipped")
    total = sum(skipped) if isinstance(skipped, list) and all(isinstance(v, int) for v in skipped) else skipped
    if isinstance(total, int):
        facts.append(("skipped updates (not finite)", _number(total)))
    description = config.get("description") or card.get("description")
    text = paragraph(str(description)) if description else ""
    return block("", text + (table(["", ""], [list(map(str, fact)) for fact in facts], head_row=False) if facts else ""))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _training(run: _Run) -> str:
    if not run.records and not run.validations:
        return block("Meta-training", paragraph("No metrics.jsonl with meta-steps in this folder."))
    from neurograph.plots import training_figure

    figure = training_figure(run.records, run.validations, selected=run.chosen, chance=_chance(run))
    caption = (
        "Every line is one genome, judged on query batches after learning on support batches; points are accuracies on validation"
        " data, by which the genome was chosen."
    )
    return block("Meta-training", _draw(run, "training", figure, caption))


def _transfer(run: _Run) -> str:
    transfer = run.transfer
    if transfer is None or not transfer.rows:
        return block("Transfer", paragraph("No transfer test in this folder."))
    from neurograph.plots import difference_map, learning_figure

    notes, parts = transfer.notes, []
    comparison = transfer.comparison()
    seeds, batch = _number(notes.get("seeds")), _number(notes.get("batch_size"))
    text = f"Accuracy on test data, {seeds} seeds, batches of {batch}. All methods see the same batches on the same graphs;"
    parts.append(paragraph(f"{text} lines are medians, bands and brackets quartiles."))
    if transfer.chosen:
        tried = f"{_number(notes.get('configurations'))} pairs of setting and rate tried in {_number(notes.get('runs'))} runs"
        text = (
            "Baselines are ordinary networks trained by gradient descent. For each of them and each step count the learning rate"
            f" was chosen on validation data with {_number(notes.get('validation_seeds'))} other seeds ({tried}, of which"
            f" {_number(notes.get('baseline_failures'))} ended in a loss that was not finite); test data was touched once."
        )
        parts.append(paragraph(text))
    if comparison:
        caption = "Median test accuracy of the genome"
        caption += "; below it, its difference to the best baseline (chosen on validation data)." if transfer.chosen else "."
        parts.append(_draw(run, "transfer", difference_map(comparison), caption))
    pairs = list(dict.fromkeys((row["topology"], row["task"]) for row in transfer.rows))
    drawings = []
    for number, (topology, task) in enumerate(pairs):
        figure = learning_figure(transfer.rows, transfer.chosen, topology, task, chance=_chance(run, task))
        size = _mapping(_mapping(notes.get("topologies")).get(topology))
        words = f"{task} on {topology}" + (f": {_size(size)}" if size else "")
        drawings.append(_draw(run, f"learning-{number}", figure, words))
    parts.append(f'<div class="grid">{"".join(drawings)}</div>')
    if comparison:
        parts.append(_comparison_table(comparison))
    parts.append(details("All methods, all step counts", _full_table(transfer)))
    return block("Transfer", "".join(parts))


def _size(size: dict[str, Any]) -> str:
    text = f"{_number(size.get('neurons'))} neurons, {_number(size.get('synapses'))} synapses, depth {_number(size.get('depth'))}"
    return text if size.get("schedule") in (None, "levels") else f"{text}, {size['schedule']}, {_number(size.get('ticks'))} ticks"


def _spread(entry: Row | None) -> str:
    if entry is None:
        return "-"
    failed = f", {entry['failures']} failed" if entry["failures"] else ""
    return f"{entry['median']:.3f} ({entry['low']:.3f}–{entry['high']:.3f}{failed})"


def _comparison_table(comparison: list[Row]) -> str:
    rows = []
    several = len({row["task"] for row in comparison}) > 1
    for row in comparison:
        best = row["baseline"]
        which = f"{label(best)}, {best['learning_rate']:.3g}" if best else "-"
        difference = "-" if row["difference"] is None else f"{row['difference']:+.3f}"
        place = [row["topology"], *([row["task"]] if several else []), str(row["step"])]
        rows.append([*place, _spread(row["genome"]), _spread(best), difference, which])
    place = ["topology", *(["task"] if several else []), "steps"]
    return table([*place, "genome", "best baseline", "difference", "which, learning rate"], rows)


def _full_table(transfer: Transfer) -> str:
    rows = []
    for entry in transfer.aggregate():
        what = [entry["topology"], entry["task"], label(entry), _number(entry["learning_rate"]), str(entry["step"])]
        rows.append([*what, _spread(entry), f"{entry['minimum']:.3f}", _number(entry["loss"]), str(entry["seeds"])])
    edges = sum(bool(one.get("at_edge")) for one in transfer.chosen)
    head = ["topology", "task", "method", "learning rate", "steps", "accuracy", "worst", "loss", "seeds"]
    note = f"{edges} of {len(transfer.chosen)} chosen rates lie at the edge of the rates tried." if transfer.chosen else ""
    return (paragraph(note) if note else "") + table(head, rows)


def _genome(run: _Run) -> str:
    arrays = run.genome.get("arrays")
    if not isinstance(arrays, dict):
        return block("Genome", paragraph("No genome.json in this folder."))
    from neurograph.plots import genome_figure

    rule = _mapping(run.genome.get("rule"))
    wanted = [*_MATRICES, *(_SECOND if rule.get("forward_synapse_update") else ())]
    try:
        matrices = {name: [[float(v) for v in row] for row in arrays[name]] for name in wanted if name in arrays}
        if not matrices:
            raise ValueError("no matrices")
        figure = genome_figure(matrices)
    except (TypeError, ValueError) as error:
        return block("Genome", paragraph(f"genome.json: its matrices cannot be drawn ({error})."))
    caption = "The matrices of the genome; one colour scale, white is zero."
    scalars = list(_GATES)
    scalars += [f"forward_{name}" for name in _GATES[2:]] if rule.get("forward_synapse_update") else []
    scalars += _MOMENTS if rule.get("normalization") == "batch" else []
    for option, name in (("oja", "oja_multiplier"), ("saturation", "saturation")):
        scalars += [name] if rule.get(option, "none") != "none" else []
    scalars += ["rescale"] if rule.get("rescale") else []
    scalars += ["initial_deviation"] if rule.get("initial_deviation") == "genome" else []
    rows = []
    for name in scalars:
        value = arrays.get(name)
        values = value if isinstance(value, list) else [value]
        if value is not None and all(isinstance(v, (int, float)) for v in values):
            rows.append([name, "  ".join(f"{v:.4g}" for v in values)])
    options = [[name, str(value).lower() if isinstance(value, bool) else str(value)] for name, value in rule.items()]
    body = _draw(run, "genome", figure, caption) + table(["gates and moments", ""], rows)
    return block("Genome", body + (details("Options of its rule", table(["option", "value"], options)) if options else ""))


def _configuration(run: _Run) -> str:
    if not run.config_text.strip():
        return block("Configuration", paragraph("No config.yaml in this folder."))
    return block("Configuration", details("config.yaml, with every default", f"<pre>{escape(run.config_text)}</pre>"))


def _environment(run: _Run) -> str:
    if not run.environment:
        return block("Environment", paragraph("No environment.json in this folder."))
    rows = []
    for name, value in run.environment.items():
        if isinstance(value, dict):
            rows += [[str(key), "not installed" if v is None else str(v)] for key, v in value.items()]
        else:
            rows.append([str(name), ", ".join(map(str, value)) if isinstance(value, list) else str(value)])
    return block("Environment", table(["", ""], rows, head_row=False))


def _rerun(run: _Run) -> str:
    if not run.config:
        return ""
    folder = run.folder.name if run.folder.is_absolute() else str(run.folder)
    lines = [f"neurograph meta-train {folder}/config.yaml --out {folder}-again", f"neurograph report {folder}-again"]
    text = "From where the run was started; the same versions on the same device give the same numbers."
    return block("How to rerun", paragraph(text) + f"<pre>{escape(chr(10).join(lines))}</pre>")
