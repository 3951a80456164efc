"""The page of an analysis."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.analysis.field import AnalysisError
from neurograph.analysis.symmetry import CAN
from neurograph.analysis.tools import LIMITS, TOOLS, Analysis
from neurograph.files import write_atomically

__all__ = ["write_page"]


def write_page(found: Analysis, folder: Path) -> Path:
    """One page with everything (`report.html`, self-contained), the figures (`plots/`), `results.json` and `arrays.npz`.

    Raises:
      AnalysisError: the folder cannot be written to.
    """
    from neurograph.report.html import block, details, document, drawing, paragraph, table

    try:
        folder.mkdir(parents=True, exist_ok=True)
        body = table((), list(found.facts.items()), head_row=False)
        sentences = found.summaries()
        figures = _figures(found)
        for tool, question in TOOLS.items():
            if tool in found.refused:
                body += block(question, paragraph(f"Not done: {found.refused[tool]}"))
            if tool not in found.results:
                continue
            inner = "".join(
                paragraph(f"{name}: {text}." if len(sentences[tool]) > 1 else f"{text}.")
                for name, text in sentences[tool].items()
            )
            inner += drawing(folder / "plots", f"analysis_{tool}", figures[tool], question)
            if tool == "metric":
                results = found.results[tool]
                rows = [one.table() for one in results.values()]
                cells = [[r[0][0], *(r_[1] for r_ in r), r[0][2]] for r in zip(*rows)]
                inner += table(["", *results, "the paper"], cells)
            limits = CAN if tool == "asymmetry" else LIMITS.get(tool)
            inner += details("What this can and cannot show", paragraph(limits)) if limits else ""
            body += block(question, inner)
        write_atomically(folder / "report.html", document(f"What kind of rule is {found.title}?", body))
        write_atomically(folder / "results.json", json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
        stream = io.BytesIO()
        np.savez_compressed(stream, **_arrays(found))
        write_atomically(folder / "arrays.npz", stream.getvalue())
    except OSError as error:
        raise AnalysisError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder / "report.html"


def _arrays(found: Analysis) -> dict[str, Any]:
    arrays = {}
    for tool, result in found.results.items():
        for name, one in (result if isinstance(result, dict) else {"genome": result}).items():
            for f in dataclasses.fields(one):
                if isinstance(value := getattr(one, f.name), np.ndarray):
                    arrays[f"{tool}.{name}.{f.name}"] = value
            if tool == "asymmetry":
                arrays[f"{tool}.{name}.places"] = np.array([f"{p.direction} {p.name} {p.channel}" for p in one.places])
    return arrays


def _figures(found: Analysis) -> dict[str, Any]:
    from neurograph.report.figures import analysis as plots

    draw: dict[str, Callable[[Any], Any]] = {
        "asymmetry": plots.asymmetry_figure,
        "metric": plots.metric_figure,
        "circulation": plots.circulation_figure,
        "closed": plots.closed_figure,
        "decompose": plots.decomposition_figure,
        "alignment": plots.alignment_figure,
        "longrun": plots.long_run_figure,
        "sensitivity": plots.sensitivity_figure,
        "oja": plots.oja_figure,
    }
    return {tool: draw[tool](result) for tool, result in found.results.items()}
