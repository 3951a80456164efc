"""Names that try to leave their place, in every field of every page: none runs, none changes what stands around it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pages import CHROMIUM, browse, check_self_contained

import neurograph as ng
from neurograph.analysis.loops import Circulation
from neurograph.analysis.tools import Analysis
from neurograph.report import analysis, compare, run, transfer
from neurograph.report.figures.topology import draw_topology
from neurograph.report.html import Markup, document, drawing, part, visible

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
ALLOWED = {"aria-label", "class", "content", "charset", "href", "http-equiv", "id", "lang", "name", "role", "style", "tabindex"}


class Events(HTMLParser):
    """A page as a list of tags with their attributes, and of texts."""

    def __init__(self, text: str):
        super().__init__()
        self.events: list[tuple] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.events.append((tag, *attrs))

    def handle_endtag(self, tag):
        self.events.append(("/", tag))

    def handle_data(self, data):
        if self.events and self.events[-1][0] == "#text":
            data = self.events.pop()[1] + data
        self.events.append(("#text", re.sub("(; not drawn: ).*", r"\1...", data)))  # a message that quotes names in its own way

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


class Names:
    """A name for each field: plain ones, or hostile ones, of which every field has another in every turn."""

    def __init__(self, turn: int | None):
        self.turn, self.fields = turn, 0

    def __call__(self) -> str:
        number = self.fields % len(NAMES)
        self.fields += 1
        return f"plain-{number:02}-name" if self.turn is None else NAMES[(number + self.turn) % len(NAMES)]


def hostile(part, turn, written=str):
    """What a part of an event (a text, or an attribute with its value) must be with the hostile names as `written` has them."""
    if isinstance(part, tuple):
        return tuple(hostile(one, turn, written) for one in part)
    return part and re.sub(r"plain-(\d\d)-name", lambda match: visible(written(NAMES[(int(match[1]) + turn) % len(NAMES)])), part)


WRITTEN = (str, lambda name: json.dumps(name)[1:-1], lambda name: json.dumps(name, ensure_ascii=False)[1:-1])


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


def check(page: str) -> None:
    check_self_contained(page)
    for event in Events(page).events:
        if event[0] not in ("#text", "/") and event[0] not in SVG:
            assert {name for name, _ in event[1:]} <= ALLOWED, event
        assert event[0] in ("#text", "/") or not any(str(part[0]).startswith("on") for part in event[1:]), event


SVG = {"svg", "g", "path", "use", "defs", "rect", "clippath", "image", "text", "tspan", "style", "pattern", "lineargradient"}


@pytest.mark.thorough
@pytest.mark.parametrize("make", PAGES)
def test_every_name_stays_in_its_place_in_every_field(make, tmp_path, monkeypatch):
    def caption_only(folder, name, figure, caption, *, natural=False):
        return part("figure", Markup(), caption, 100 if natural else None)

    for module in (run, compare, transfer, analysis):
        monkeypatch.setattr(module, "drawing", caption_only)
    plain = Events(make(tmp_path / "plain", Names(None)).read_text(encoding="utf-8")).events
    for turn in range(len(NAMES)):
        page = make(tmp_path / str(turn), Names(turn)).read_text(encoding="utf-8")
        check(page)
        found = Events(page).events
        assert len(plain) == len(found)
        for expected, event in zip(plain, found):
            assert event in [hostile(expected, turn, written) for written in WRITTEN]


@pytest.mark.parametrize("make", PAGES)
def test_every_drawing_keeps_names_in_their_place(make, tmp_path):
    page = make(tmp_path, Names(0)).read_text(encoding="utf-8")
    check(page)
    if CHROMIUM:
        assert browse(page, tmp_path) == (390, page.count("<svg"), [], [])


@pytest.mark.parametrize("view", ["boxes", "matrix", "all"])
def test_every_view_of_a_topology_keeps_names_in_their_place(view):
    names = tuple(visible(name)[:80] for name in NAMES)
    count = len(names)
    chain = ng.Topology(
        names,
        senders=range(count - 1),
        receivers=range(1, count),
        inputs=[0],
        outputs=[count - 1],
        population=range(count),
        population_names=names,
        title=NAMES[0],
    )
    for detail in ("neurons", "populations") if view == "boxes" else ("auto",):
        page = drawing(None, "picture", draw_topology(chain, view=view, detail=detail), NAMES[0])
        check(document(NAMES[1], "", {NAMES[2]: page}))
