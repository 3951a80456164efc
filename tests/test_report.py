"""The page of a run: complete folders, folders with holes, broken files; and the tables behind it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import neurograph as ng
from neurograph.report import write_report
from neurograph.results import Transfer, aggregate, comparison, load_transfer

STEPS = (0, 1, 10)


def make_rows() -> tuple[list[dict], list[dict]]:
    """A genome and two baselines on two graphs, three seeds; adam is best on validation data."""
    rng = np.random.default_rng(0)
    rows, chosen = [], []
    for topology in ("mlp <a> & b", "ring"):
        for method, activation, rate in (("genome", None, None), ("sgd", "relu", 0.5), ("adam", "tanh", 0.01)):
            norm = None if method == "genome" else False
            place = {"topology": topology, "task": "digits", "method": method, "activation": activation, "batch_norm": norm}
            for step in STEPS:
                for seed in range(3):
                    hit = float(0.1 + 0.08 * step + 0.01 * rng.random())
                    failed = method == "sgd" and seed == 2 and step == 10
                    numbers = {"learning_rate": rate, "step": step, "seed": seed, "accuracy": hit}
                    rows.append(place | numbers | {"loss": None if failed else 1.0, "failed": failed})
                if method != "genome":
                    scores = {"accuracy": 0.5, "loss": 1.0, "failures": 0, "seeds": 3, "at_edge": False, "best": method == "adam"}
                    chosen.append(place | {"step": step, "learning_rate": rate} | scores)
    return rows, chosen


def write_run(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text("name: little run\ndescription: <b>bold</b> & plain\ntraining: {meta_steps: 20}\n")
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "packages": {"jax": "0.7", "none": None}}))
    lines = [
        {"step": s, "seconds": s / 10, "loss": [2.3 / s, 2.0 / s, None], "accuracy": [0.1, 0.04 * s, 0.1], "skipped": [0, 0, 1]}
        for s in range(1, 21)
    ]
    lines.append({"step": 20, "validation": {"accuracy": [0.1, 0.75, 0.1], "loss": [2.3, 0.6, None]}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rule = ng.Rule(states=3, normalization="batch")
    matrix = np.arange(9.0).reshape(3, 3) / 4 - 1.25
    ng.save_genome(folder / "genome.json", ng.Genome.from_arrays(forward_transform=matrix), rule, {"tasks": ["digits"]})
    rows, chosen = make_rows()
    notes = {"seeds": 3, "batch_size": 16, "chance": {"digits": 0.11}, "configurations": 18, "runs": 54, "baseline_failures": 1}
    notes |= {"validation_seeds": 3, "topologies": {"ring": {"neurons": 5, "synapses": 6, "depth": 2, "schedule": "synchronous"}}}
    Transfer(tuple(rows), tuple(chosen), notes).save(folder / "transfer.json")
    summary = {
        "name": "little run",
        "seconds": 90.4,
        "chosen": 1,
        "genomes": 3,
        "validation": {"accuracy": [0.75], "loss": [0.6]},
    }
    (folder / "summary.json").write_text(json.dumps(summary | {"tasks": ["digits"], "skipped": [0, 0, 1]}))
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(write_run(tmp_path_factory.mktemp("runs") / "little")).read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Open and close tags match; collects ids and whatever refers to something."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.references += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def text_of(page: str) -> str:
    return re.sub(r"<[^>]*>", " ", re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL))


def test_the_page_is_well_formed_and_refers_to_nothing_outside(page):
    found = Checker(page)
    assert len(found.ids) == len(set(found.ids))
    outside = [reference for reference in found.references if not reference.startswith("data:image/png;base64,")]  # a colour bar
    assert all(reference.startswith("#") for reference in outside)
    assert {reference[1:] for reference in outside} <= set(found.ids)
    assert not found.tags & {"script", "link", "iframe", "img"}
    assert not re.search(r"@import|url\((?!#)", page)
    assert 'name="viewport"' in page


def test_the_page_says_what_the_folder_says(page):
    words = text_of(page)
    for expected in ("little run", "0.750", "90 s", "54 runs", "18 pairs", "adam, tanh, 0.01", "not installed", "synchronous"):
        assert expected in words
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; plain" in page
    assert "<b>" not in page
    assert "mlp &lt;a&gt; &amp; b" in page
    assert "1 failed" in words  # of the sgd runs
    assert "What could not be read" not in words
    assert page.count("<svg") == 6  # meta-training, heat map, two graphs, genome, the topology that is shipped
    assert "mlp &lt;a&gt; &amp; b (tested on); not drawn: topology" in page
    assert "ring (tested on): 5 neurons, 6 synapses, depth 2, synchronous, - ticks; the file has changed since" in words


def test_drawings_lie_beside_the_page_and_repeat_byte_for_byte(tmp_path):
    folder = write_run(tmp_path / "run")
    path = write_report(folder)
    first = {p.name: p.read_bytes() for p in [path, *(folder / "plots").iterdir()]}
    assert {"training.svg", "training.png", "transfer.svg", "learning-0.svg", "learning-1.png", "genome.svg"} <= set(first)
    for name, data in first.items():
        if name.endswith(".svg"):
            ElementTree.fromstring(data)
        elif name.endswith(".png"):
            assert data.startswith(b"\x89PNG")
            assert len(data) < 200_000
    write_report(folder)
    assert first == {p.name: p.read_bytes() for p in [path, *(folder / "plots").iterdir()]}


@pytest.mark.parametrize(
    "name", ["config.yaml", "environment.json", "metrics.jsonl", "genome.json", "transfer.json", "summary.json"]
)
def test_any_single_part_makes_a_page(tmp_path, name):
    folder = write_run(tmp_path / "run")
    for path in folder.iterdir():
        if path.name != name:
            path.unlink()
    text = write_report(folder).read_text(encoding="utf-8")
    Checker(text)
    assert "What could not be read" not in text
    missing = {"metrics.jsonl", "genome.json", "config.yaml", "environment.json"} - {name}
    assert all(f"No {part}" in text for part in missing)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("config.yaml", "a: [1\nb: {", "config.yaml: "),
        ("config.yaml", "- 1", "config.yaml: expected an object, got list"),
        ("summary.json", "{", "summary.json: "),
        ("environment.json", "[1]", "environment.json: expected an object, got list"),
        ("genome.json", "\x00", "genome.json: "),
        ("genome.json", '{"arrays": {"forward_transform": "x"}}', 'genome.json: not a genome file; expected "format"'),
        ("transfer.json", '{"rows": [{"topology": "a"}]}', "transfer.json at rows[0]: lacks task, method"),
        ("transfer.json", "[]", "transfer.json: expected an object with a list of rows"),
        ("metrics.jsonl", '{"step": 1, "loss": [1.0]}\n{"step": 2, "lo', "metrics.jsonl, line 2: skipped"),
        ("metrics.jsonl", '{"step": 1, "loss": "high"}\n', "metrics.jsonl, line 1: skipped"),
        ("metrics.jsonl", '{"step": 1, "loss": [NaN], "accuracy": [0.5]}\n', ""),
    ],
)
def test_broken_parts_are_named_and_the_rest_is_shown(tmp_path, name, content, fault):
    folder = write_run(tmp_path / "run")
    for path in folder.iterdir():  # what takes long to draw
        if path.name != "summary.json" and not (name == "config.yaml" and path.name == "genome.json"):
            path.unlink()
    (folder / name).write_text(content, encoding="utf-8")
    text = write_report(folder).read_text(encoding="utf-8")
    Checker(text)
    assert fault in unescape(text_of(text))
    assert ("What could not be read" in text) == bool(fault)
    assert ("forward_transform" in text) == (name == "config.yaml")


def test_folders_that_hold_no_run_are_refused(tmp_path):
    with pytest.raises(ng.ExperimentError, match="no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(ng.ExperimentError, match=r"nothing to report; a run folder holds config\.yaml"):
        write_report(tmp_path)


def test_only_a_genome_needs_jax(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "genome.json").unlink()
    code = (
        f"import sys; from neurograph.report import write_report; write_report({str(folder)!r}); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- the tables ------------------------------------------------------------------------------------------------------------------


def test_aggregates_are_medians_and_quartiles_over_seeds():
    rows = [
        {"topology": "t", "task": "k", "method": "genome", "activation": None, "batch_norm": None, "step": 1, "seed": s}
        | {"accuracy": a, "loss": l, "failed": l is None}
        for s, (a, l) in enumerate([(0.1, 3.0), (0.5, None), (0.3, 1.0), (0.2, 2.0), (0.4, 5.0)])
    ]
    (entry,) = aggregate(rows)
    assert entry["median"] == pytest.approx(0.3)
    assert (entry["low"], entry["high"]) == pytest.approx((0.2, 0.4))
    assert (entry["minimum"], entry["maximum"], entry["loss"]) == pytest.approx((0.1, 0.5, 2.5))
    assert (entry["seeds"], entry["failures"]) == (5, 1)


def test_the_baseline_compared_to_is_the_one_chosen_on_validation_data():
    rows, chosen = make_rows()
    for row in rows:  # better on test data, but not chosen
        if row["method"] == "sgd":
            row["accuracy"] = 1.0
    table = comparison(rows, chosen)
    assert len(table) == 2 * 2  # graphs times steps above 0
    assert {row["baseline"]["method"] for row in table} == {"adam"}
    for row in table:
        assert row["difference"] == pytest.approx(row["genome"]["median"] - row["baseline"]["median"])
    assert len(comparison(rows, chosen, steps=(0,))) == 2
    assert all(row["difference"] is None for row in comparison([r for r in rows if r["method"] == "genome"], []))


def test_transfer_files_round_trip(tmp_path):
    rows, chosen = make_rows()
    transfer = Transfer(tuple(rows), tuple(chosen), {"seeds": 3})
    again = load_transfer(transfer.save(tmp_path / "transfer.json"))
    assert again == transfer
    text = again.text(width=140)
    assert "adam, tanh, 0.01" in text
    assert "ring" in text
