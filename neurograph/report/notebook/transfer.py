"""Results of transfer in a notebook."""

from __future__ import annotations

from typing import Any

from neurograph.errors import ExperimentError
from neurograph.experiments.transfer.matrix_results import TransferMatrix
from neurograph.experiments.transfer.results import Transfer, baseline_text, label, score_name, spread
from neurograph.report.html import Markup, joined
from neurograph.report.notebook.pieces import MOST_ROWS, coloured, line, more, table

__all__ = ["matrix_html", "transfer_html"]

MOST_GENOMES = 12


def matrix_html(matrix: TransferMatrix) -> Markup:
    """Returns a table per task: topologies and steps by genomes, coloured by the difference to the best baseline."""
    try:
        cells = [cell for step in matrix.shown_steps() for cell in matrix.cells(step)]
    except (ExperimentError, IndexError, KeyError):  # notes of another version, or no results
        return line(repr(matrix))
    rows: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for cell in cells:
        rows.setdefault((cell["task"], cell["topology"], cell["step"]), []).append(cell)
    places = list(dict.fromkeys((task, topology) for task, topology, _ in rows))
    ordered = sorted(rows.items(), key=lambda item: (places.index(item[0][:2]), item[0][2]))
    limit = max([0.05, *(abs(cell["difference"]) for cell in cells if cell["difference"] is not None)])
    lines = []
    for (task, topology, step), mine in ordered[:MOST_ROWS]:
        texts = [spread(cell) if cell["median"] is not None else str(cell["reason"]) for cell in mine[:MOST_GENOMES]]
        shown = [coloured(text, cell["difference"], limit) for text, cell in zip(texts, mine)]
        lines.append((task, topology, str(step), *shown, baseline_text(mine[0])))
    found = table(("task", "topology", "steps", *matrix.genomes[:MOST_GENOMES], "best baseline"), lines)
    rest = [more(len(rows) - MOST_ROWS, "rows"), more(len(matrix.genomes) - MOST_GENOMES, "genomes")]
    words = f"test {score_name((task for task, _ in places), matrix.notes)}, median (quartiles)"
    words += "; purple: ahead of the best baseline, orange: behind"
    return joined([line(repr(matrix)), line(words), found, *rest])


def transfer_html(transfer: Transfer) -> Markup:
    """Returns one genome beside the best baseline, a row per task, topology and step count."""
    entries = transfer.comparison()
    rows = [
        (row["task"], row["topology"], str(row["step"]), spread(row["genome"]), spread(row["baseline"]))
        + ((label(row["baseline"]), f"{row['difference']:+.3f}") if row["baseline"] else ("-", "-"))
        for row in entries[:MOST_ROWS]
    ]
    head = ("task", "topology", "steps", "genome", "best baseline", "which", "difference")
    return joined([line(repr(transfer)), table(head, rows), more(len(entries) - MOST_ROWS, "rows")])
