"""`write_transfer_report`: one page about a transfer matrix, made from the `matrix.json` of its folder alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from neurograph.errors import ExperimentError
from neurograph.experiments.folder.reading import FILES, mapping
from neurograph.experiments.transfer.matrix_results import TransferMatrix, load_transfer_matrix
from neurograph.experiments.transfer.results import GENOME, Row, aggregate, label, score_name, score_text, spread
from neurograph.report.html import Markup, commands, details, drawing, grid, joined, paragraph, table, titled
from neurograph.report.verdict import verdict
from neurograph.report.words import environment_rows, finish, number

__all__ = ["holds_matrix", "write_transfer_report"]

MATRIX = "matrix.json"
MAX_CURVES = 48  # places whose curves a page draws; it gives only the numbers of the others


def holds_matrix(folder: Path | str) -> bool:
    """Returns whether this is the folder of a transfer matrix and of no run."""
    folder = Path(folder)
    return (folder / MATRIX).is_file() and not any((folder / name).is_file() for name in FILES)


def write_transfer_report(folder: Path | str) -> Path:
    """Writes a self-contained page about the matrix in `folder`, `report.html` in it, and returns its path.

    Raises:
      ExperimentError: no `matrix.json` in it, one with another content, or the page cannot be written.
    """
    folder = Path(folder)
    matrix = load_transfer_matrix(folder / MATRIX)
    try:
        sections = {
            "Heat maps": _heat_maps(matrix),
            "Learning curves": _curves(matrix),
            "Tables": _tables(matrix),
            "What did not run": _problems(matrix),
            "Facts": _facts(matrix),
            "All methods": _methods(matrix),
            "Topologies": _topologies(matrix),
            "Environment": _environment(matrix),
            "How to rerun": _rerun(matrix),
        }
        tests = {name: matrix.of(name) for name in matrix.genomes}
        found = verdict(tests, matrix.shown_steps()[0], matrix.trained_steps)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExperimentError(
            f"{folder / MATRIX}: not the results of a transfer matrix ({type(error).__name__}: {error})"
        ) from error
    return finish(folder / "report.html", f"Transfer: {folder.resolve().name}", found, sections)


def _facts(matrix: TransferMatrix) -> Markup:
    notes = matrix.notes
    found = [
        ("genomes", ", ".join(matrix.genomes)),
        ("topologies", ", ".join(notes["topologies"])),
        ("tasks", ", ".join(notes["tasks"])),
        ("baselines", ", ".join(notes["baselines"]) or "none"),
        ("learning steps", ", ".join(map(str, matrix.steps))),
        ("runs per cell", number(notes["seeds"])),
        ("seed", number(notes["seed"])),
        ("rows per learning step", number(notes["batch_size"])),
        ("rows judged on", number(notes["query_size"])),
    ]
    return joined([paragraph(matrix.summary()), table([], found)])


def _heat_maps(matrix: TransferMatrix) -> Markup:
    from neurograph.report.figures.transfer import difference_limit, heat_map

    if not any(row["genome"] is not None for row in matrix.rows):
        return Markup()
    limit = difference_limit(cell for step in matrix.shown_steps() for cell in matrix.cells(step))
    parts = []
    for step in matrix.shown_steps():
        words = f"Median test {_score(matrix)} after {number(step)} step{'s' * (step != 1)}"
        words += "; below it and in colour: minus the best baseline's." if matrix.notes["baselines"] else "."
        words += " Hatched: the widths do not fit, or the cell could not run." if matrix.problems else ""
        parts.append(drawing(None, f"heat-{step}", heat_map(matrix, step, limit=limit), words, natural=True))
    return joined(parts)


def _score(matrix: TransferMatrix) -> str:
    return score_name(matrix.notes["tasks"], matrix.notes)


def _tables(matrix: TransferMatrix) -> Markup:
    """Returns a table per task: topologies and step counts by genomes, beside the best baseline."""
    cells = {step: matrix.cells(step) for step in matrix.steps}
    compared = bool(matrix.notes["baselines"])
    head = ["topology", "steps", *matrix.genomes]
    if compared:
        head += ["best baseline", "which, learning rate", *(f"{name} - baseline" for name in matrix.genomes)]

    def rows(task: str, steps: list[int]) -> list[list[str]]:
        found = []
        for topology in matrix.notes["topologies"]:
            for step in steps:
                mine = [cell for cell in cells[step] if (cell["task"], cell["topology"]) == (task, topology)]
                if any(cell["median"] is not None or cell["baseline"] for cell in mine):
                    found.append([topology, str(step), *map(spread, mine), *(_beside(mine) if compared else [])])
        return found

    parts = []
    for task in matrix.notes["tasks"]:
        shown, every = rows(task, matrix.shown_steps()), rows(task, matrix.steps)
        if shown:
            more = details("All step counts", table(head, every)) if len(every) > len(shown) else ""
            parts.append(titled(task, joined([table(head, shown), more])))
    text = f"Median test {_score(matrix)} (quartiles) over the runs of a cell."
    text += " Which baseline is the best, and its learning rate, was chosen on validation data." if compared else ""
    return joined([paragraph(text), *parts]) if parts else paragraph("No cell ran.")


def _beside(cells: list[Row]) -> list[str]:
    """Returns the best baseline of a place, its name, and how far each genome is ahead of it."""
    first = cells[0]
    known = (
        [score_text(first["baseline_median"]), f"{first['baseline']}, {first['learning_rate']:.3g}"]
        if first["baseline"]
        else ["-"] * 2
    )
    return known + ["-" if cell["difference"] is None else f"{cell['difference']:+.3f}" for cell in cells]


def _curves(matrix: TransferMatrix) -> Markup:
    from neurograph.report.figures.transfer import curves_figure

    notes = matrix.notes
    places = [(task, topology) for task in notes["tasks"] for topology in notes["topologies"]]
    places = [place for place in places if any((row["task"], row["topology"]) == place for row in matrix.rows)]
    drawings = []
    for index, (task, topology) in enumerate(places[:MAX_CURVES]):
        rows = tuple(row for row in matrix.rows if (row["task"], row["topology"]) == (task, topology))
        only = {"tasks": [task], "topologies": {topology: notes["topologies"][topology]}}
        figure = curves_figure(replace(matrix, rows=rows, notes=notes | only))
        drawings.append(drawing(None, f"curves-{index}", figure, f"{task} on {topology}"))
    text = f"Test {_score(matrix)} over learning steps: medians, bands are quartiles over the runs."
    text += (
        " The dashed line joins the baselines that were best on validation data at each step count." if notes["baselines"] else ""
    )
    text += f" Of {len(places)} places the first {MAX_CURVES} are drawn." if len(places) > MAX_CURVES else ""
    return joined([paragraph(text), grid(drawings)]) if drawings else Markup()


def _problems(matrix: TransferMatrix) -> Markup:
    rows = [
        [one["task"], one["topology"], one["genome"] or one["method"] or "all", str(one["reason"]).splitlines()[0]]
        for one in matrix.problems
    ]
    return table(["task", "topology", "what", "why"], rows, wrap=True) if rows else Markup()


def _methods(matrix: TransferMatrix) -> Markup:
    """Returns a table of every genome and every baseline with its chosen rate, at every step count."""
    rows = []
    for name in (*matrix.genomes, None):
        for entry in aggregate(row for row in matrix.rows if row["genome"] == name):
            who = name if entry["method"] == GENOME else label(entry)
            place = [entry["task"], entry["topology"], str(who), number(entry["learning_rate"]), str(entry["step"])]
            rows.append([*place, spread(entry), score_text(entry["minimum"]), number(entry["loss"]), str(entry["seeds"])])
    edges = sum(bool(one.get("at_edge")) for one in matrix.chosen)
    note = f"{edges} of {len(matrix.chosen)} chosen rates lie at the edge of the rates tried."
    head = ["task", "topology", "method", "learning rate", "steps", _score(matrix), "worst", "loss", "runs"]
    body = joined([paragraph(note) if matrix.chosen else "", table(head, rows)])
    return details(f"{len(rows):,} lines", body) if rows else Markup()


def _topologies(matrix: TransferMatrix) -> Markup:
    columns = ("neurons", "synapses", "depth", "schedule")
    rows = [
        [name, *(number(size.get(column)) for column in columns), str(size.get("digest", "-"))[:16]]
        for name, size in matrix.notes["topologies"].items()
    ]
    return table(["topology", *columns, "digest"], rows)


def _environment(matrix: TransferMatrix) -> Markup:
    notes = matrix.notes
    known = mapping(notes.get("environment")) or {name: notes[name] for name in ("neurograph", "jax", "device") if name in notes}
    rows = environment_rows(known)
    cells = mapping(notes.get("cells"))
    if cells:
        rows.append(("cells", f"{number(cells['all'])}, {number(cells['found'])} of them known before"))
        rows.append(("took", f"{number(cells['seconds'])} s"))
    return table([], rows)


def _rerun(matrix: TransferMatrix) -> Markup:
    text = "Finished cells are kept beside this page, in cells/. The same command computes nothing"
    text += " again; a larger one computes only new cells."
    command = matrix.notes.get("command")
    if isinstance(command, str):
        return joined([paragraph(f"From where it was started. {text}"), commands([command])])
    return paragraph(f"By transfer_matrix, with the numbers above. {text}")
