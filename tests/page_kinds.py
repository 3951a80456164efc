"""A page of every kind, whose fields have the names that a test gives them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import neurograph as ng
from neurograph.analysis.loops import Circulation
from neurograph.analysis.tools import Analysis
from neurograph.report import analysis, compare, run, transfer

NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "</td></tr></table><h1>out</h1>",
    "</svg><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "]]><script>alert(1)</script><![CDATA[",
    "--><script>alert(1)</script><!--",
    "</style><style>body{display:none}",
    "&lt;b&gt;&amp;&#x3c;script&#x3e;",
    "javascript:alert(1)",
    r"$\frac{1}{$ \textbf{x",
    "{{7*7}} ${7*7} %s %(x)s {0}",
    "\x00\x07\x1b[31mred\x9f",
    "\u202etxt.exe\u2066",
    'x" id="training" onload="alert(1)" href="#a" url(#b)',
    "w" * 400,
)


class Names:
    """A name for each field: plain ones, or hostile ones, of which every field has another in every turn."""

    def __init__(self, turn: int | None):
        self.turn, self.fields = turn, 0

    def __call__(self) -> str:
        number = self.fields % len(NAMES)
        self.fields += 1
        return f"plain-{number:02}-name" if self.turn is None else NAMES[(number + self.turn) % len(NAMES)]


def rows_of(name: Names, genome: str | None) -> tuple[list[dict], list[dict], dict]:
    place = {"topology": name(), "task": name()}
    words = {"method": name(), "activation": name(), "batch_norm": True}
    one = place | {"step": 1, "seed": 0, "accuracy": 0.5, "loss": 1.0, "failed": False}
    rows = [one | {"method": "genome", "activation": None, "batch_norm": None, "learning_rate": None, "genome": genome}]
    rows.append(one | words | {"learning_rate": 0.1, "genome": None})
    return rows, [place | words | {"step": 1, "learning_rate": 0.1, "accuracy": 0.5, "loss": 1.0, "best": True}], place


def write_run(folder: Path, name: Names) -> Path:
    folder.mkdir(parents=True)
    rows, chosen, place = rows_of(name, None)
    size = {"neurons": 5, "synapses": 4, "depth": 1, "schedule": name(), "ticks": 3}
    notes = {"seeds": 1, "batch_size": 16, "chance": {place["task"]: 0.1}, "topologies": {place["topology"]: size}}
    notes |= {"validation_seeds": 1, "configurations": 1, "runs": 1, "baseline_failures": 0}
    problem = {"task": name(), "topology": name()}
    config = {"name": name(), "description": name(), name(): {name(): [name()]}, "problems": [problem]}
    files = {
        "config.yaml": config,
        "environment.json": {name(): name(), "devices": [name()], "packages": {name(): name(), name(): None}},
        "summary.json": {"name": name(), "method": name(), "tasks": [name()], "seconds": 1.0},
        "transfer.json": {"rows": rows, "chosen": chosen, "notes": notes},
    }
    for file, content in files.items():
        (folder / file).write_text(json.dumps(content), encoding="utf-8")
    lines = [{"step": 1, "seconds": 1.0, "loss": [1.0], "accuracy": [0.5]}, {"step": name(), name(): name()}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    ng.save_genome(folder / "genome.json", *ng.backprop_genome(), {"tasks": [name()], "description": name()})
    return folder


def write_matrix(folder: Path, name: Names) -> Path:
    folder.mkdir(parents=True)
    genome = name()
    rows, chosen, place = rows_of(name, genome)
    notes = {"genomes": [genome], "topologies": {place["topology"]: {"neurons": 5, "schedule": name(), "digest": "0f" * 32}}}
    notes |= {"tasks": [place["task"]], "at": [1], "baselines": [name()], "seeds": 1, "seed": 0, "batch_size": 16}
    notes |= {"query_size": 16, "chance": {}, "configurations": 1, "runs": 1, "baseline_failures": 0, "command": name()}
    notes |= {"environment": {name(): name()}}
    problem = {"genome": name(), "method": name(), "topology": name(), "task": name(), "reason": name()}
    data = {"rows": rows, "chosen": chosen, "problems": [problem], "notes": notes}
    (folder / "matrix.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def found_of(name: Names) -> Analysis:
    ones = np.ones(1)
    circulation = {name(): Circulation(ones, ones, ones, 8, 0.1)}
    return Analysis(name(), {name(): name()}, {"circulation": circulation}, {"oja": name(), "metric": name()})


def run_page(folder: Path, name: Names) -> Path:
    return run.write_report(write_run(folder / "run", name))


def comparison_page(folder: Path, name: Names) -> Path:
    return compare.write_comparison(write_run(folder / "one", name), write_run(folder / "two", name))


def matrix_page(folder: Path, name: Names) -> Path:
    return transfer.write_transfer_report(write_matrix(folder / "matrix", name))


def analysis_page(folder: Path, name: Names) -> Path:
    return analysis.write_page(found_of(name), folder / "analysis")


PAGES = [run_page, comparison_page, matrix_page, analysis_page]
