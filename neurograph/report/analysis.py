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
from neurograph.analysis.tools import TOOLS, Analysis
from neurograph.files import write_atomically
from neurograph.report.html import Markup, details, document, drawing, joined, paragraph, table, visible

__all__ = ["write_page"]

WIDEST = 6.0  # inches of a figure that a phone may shrink; wider ones scroll
JACOBIAN = {  # by whether it is symmetric
    True: "may be the gradient of a loss: its Jacobian is symmetric to rounding",
    False: "is no gradient of any loss: its Jacobian is asymmetric",
}
METRIC = {  # by whether a positive definite metric exists
    "yes": "is a gradient in a constant metric at the states looked at",
    "no": "is a gradient in no constant metric",
    "undecided": "may be a gradient in a constant metric: the search did not decide it",
}


def write_page(found: Analysis, folder: Path) -> Path:
    """Writes one page with everything (`report.html`, self-contained), its figures (`plots/`), `results.json` and `arrays.npz`.

    Raises:
      AnalysisError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sections = {TOOLS[tool].question: _section(found, tool, folder / "plots") for tool in _done(found)}
        sections["What was analysed"] = table([], list(found.facts.items()))
        write_atomically(folder / "report.html", document(f"What kind of rule is {found.title}?", _verdict(found), sections))
        write_atomically(folder / "results.json", json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
        stream = io.BytesIO()
        np.savez_compressed(stream, **_arrays(found))
        write_atomically(folder / "arrays.npz", stream.getvalue())
    except OSError as error:
        raise AnalysisError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    return folder / "report.html"


def _done(found: Analysis) -> list[str]:
    """Returns the tools that ran or refused, in the order of the page."""
    return [tool for tool in TOOLS if tool in found.results or tool in found.refused]


def _verdict(found: Analysis) -> Markup:
    """Returns whether the genome in question may be gradient descent, and what each tool found about it."""
    rows, summaries, parts = [], found.summaries(), []
    if one := found.results.get("asymmetry", {}).get(found.title):
        parts.append(JACOBIAN[one.symmetric])
    if one := found.results.get("metric", {}).get(found.title):
        parts.append(METRIC[one.positive_definite])
    verdict = [paragraph(f"The update of {found.title} {'. It '.join(parts)}.")] if parts else []
    for tool in _done(found):
        sentences = summaries.get(tool, {})
        told = sentences.get(found.title) or next(iter(sentences.values()), f"not done: {found.refused.get(tool)}")
        rows.append([TOOLS[tool].question, told])
    return joined([*verdict, table(["question", "answer"], rows, wrap=True)])


def _section(found: Analysis, tool: str, plots: Path) -> Markup:
    if tool in found.refused:
        return paragraph(f"Not done: {found.refused[tool]}")
    sentences, results = found.summaries()[tool], found.results[tool]
    parts = [paragraph(f"{name}: {text}." if len(sentences) > 1 else f"{text}.") for name, text in sentences.items()]
    figure = _figure(tool, results)
    natural = figure.get_size_inches()[0] > WIDEST
    parts.append(drawing(plots, f"analysis_{tool}", figure, TOOLS[tool].question, natural=natural))
    if tool == "metric":
        tables = [one.table() for one in results.values()]
        rows = [[same[0][0], *(row[1] for row in same), same[0][2]] for same in zip(*tables)]
        parts.append(table(["", *results, "the paper"], rows))
    limits = TOOLS[tool].limits
    return joined([*parts, details("What this can and cannot show", paragraph(limits)) if limits else ""])


def _arrays(found: Analysis) -> dict[str, Any]:
    """Returns the arrays of all results as TOOL.RULE.FIELD."""
    arrays = {}
    for tool, result in found.results.items():
        for name, one in (result if isinstance(result, dict) else {"genome": result}).items():
            name = visible(name)  # an archive ends a name at a zero
            for f in dataclasses.fields(one):
                if isinstance(value := getattr(one, f.name), np.ndarray):
                    arrays[f"{tool}.{name}.{f.name}"] = value
            if tool == "asymmetry":
                arrays[f"{tool}.{name}.places"] = np.array([f"{p.direction} {p.name} {p.channel}" for p in one.places])
    return arrays


def _figure(tool: str, result: Any) -> Any:
    from neurograph.report.figures import analysis as figures

    draw: dict[str, Callable[[Any], Any]] = {
        "asymmetry": figures.asymmetry_figure,
        "metric": figures.metric_figure,
        "circulation": figures.circulation_figure,
        "closed": figures.closed_figure,
        "decompose": figures.decomposition_figure,
        "alignment": figures.alignment_figure,
        "longrun": figures.long_run_figure,
        "sensitivity": figures.sensitivity_figure,
        "oja": figures.oja_figure,
    }
    return draw[tool](result)
