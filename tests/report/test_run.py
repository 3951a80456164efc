"""The page of a run, and of two: complete folders, folders with holes, broken files; in a browser; the tables behind it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pages import CHROMIUM, NO_BROWSER, PHONE, Checker, browse, check_self_contained, text_of

import neurograph as ng
from neurograph.experiments.folder.reading import flatten, read_run
from neurograph.experiments.transfer.results import Transfer, aggregate, comparison, five_numbers, interval, load_transfer, spread
from neurograph.report.compare import write_comparison
from neurograph.report.run import write_report
from neurograph.report.words import rerun_commands

STEPS = (0, 1, 10)
HUGE = "9" * 400  # no float holds it


def row_with(**values: str) -> str:
    """A transfer.json of one row, with these values as they would be written."""
    row = {"topology": '"a"', "task": '"b"', "method": '"genome"', "activation": "null", "batch_norm": "null", "step": "1"}
    row |= {"seed": "0", "accuracy": "0.5", "loss": "1.0", "failed": "false"} | values
    return f'{{"rows": [{{{", ".join(f"{json.dumps(name)}: {value}" for name, value in row.items())}}}]}}'


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


def test_the_page_is_well_formed_and_refers_to_nothing_outside(page):
    check_self_contained(page)


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
    assert "mlp &lt;a&gt; &amp; b (tested on); not drawn: mlp &lt;a&gt; &amp; b: no such file" in page
    assert "ring (tested on): 5 neurons, 6 synapses, depth 2, synchronous, - ticks; the file has changed since" in words


def test_the_pages_of_a_regression_say_r2_and_how_they_are_made_again(tmp_path, monkeypatch):
    folders = [write_run(tmp_path / name) for name in ("one", "two")]
    for folder in folders:
        (folder / "transfer.json").unlink()
        (folder / "tasks.json").write_text(json.dumps({"tasks": ["digits"], "numbers": ["digits"]}))
        (folder / "environment.json").write_text(json.dumps({"TFDS_DATA_DIR": "/data sets"}))
    words = text_of(write_report(folders[0]).read_text(encoding="utf-8"))
    assert "R^2 on validation data 0.750; no test on test data yet." in words
    both = text_of(write_comparison(*folders).read_text(encoding="utf-8"))
    assert "Query loss and R^2; strong lines" in both
    assert "accuracy" not in (words + both).lower()
    again = f"neurograph meta-train {folders[0]}/config.yaml --out {folders[0]}-again --data-dir '/data sets'"
    assert again in unescape(words)
    monkeypatch.chdir(tmp_path)
    assert rerun_commands(read_run("one"))[1] == "neurograph report one one-again"


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
        ("metrics.jsonl", f'{{"step": 1, "seconds": {HUGE}, "loss": [{HUGE}, 1e999], "accuracy": [0.5, 0.6]}}\n', ""),
        ("metrics.jsonl", f'{{"step": {HUGE}, "loss": [1.0]}}\n', "metrics.jsonl, line 1: skipped"),
        ("transfer.json", row_with(accuracy=HUGE), "transfer.json at rows[0]: accuracy is a number from 0 to 1; got inf"),
        ("transfer.json", row_with(step=HUGE), "transfer.json at rows[0]: step and loss are numbers; got inf and 1.0"),
        ("transfer.json", row_with(learning_rate=HUGE), "transfer.json at rows[0]: learning_rate is a number; got inf"),
        ("transfer.json", row_with(topology="1"), "transfer.json at rows[0]: topology is text; got 1"),
        ("transfer.json", row_with(loss=HUGE), ""),
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


def test_numbers_that_no_float_holds_are_not_shown(tmp_path):
    (tmp_path / "summary.json").write_text(f'{{"seconds": {HUGE}, "validation": {{"accuracy": [{HUGE}, 0.5]}}}}')
    words = text_of(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "accuracy on validation data  0.500 " in words
    assert "meta-training took" not in words


def test_folders_that_hold_no_run_are_refused(tmp_path):
    with pytest.raises(ng.ExperimentError, match="no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(ng.ExperimentError, match=r"nothing to report; a run folder holds config\.yaml"):
        write_report(tmp_path)


def test_only_a_genome_needs_jax(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "genome.json").unlink()
    code = f"import sys; from neurograph import write_report; write_report({str(folder)!r}); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_evolution_shows_its_generations(tmp_path):
    folder = write_run(tmp_path / "run")
    for path in folder.iterdir():
        if path.name not in ("config.yaml", "summary.json"):
            path.unlink()
    lines = [
        {"step": s, "loss": [9.0 / s], "accuracy": [0.1 * s], "best_loss": [1.0 / s], "best_accuracy": [0.2 * s], "failed": [1.0]}
        for s in range(1, 5)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = {"name": "evolved", "method": "cma", "chosen": 0, "skipped": [4]}
    (folder / "summary.json").write_text(json.dumps(summary))
    run = read_run(folder)
    assert [record["best_accuracy"] for record in run.records] == [[0.2], [0.4], [pytest.approx(0.6)], [0.8]]
    words = text_of(write_report(folder).read_text(encoding="utf-8"))
    for expected in ("median of the generation", "fittest", "genomes that diverged", "neurograph evolve"):
        assert expected in words
    assert "genome 0" not in words


def test_topologies_are_found_beside_the_experiment(tmp_path):
    (tmp_path / "files").mkdir()
    text = "populations: {input: 2, output: 2}\ninputs: input\noutputs: output\n"
    text += "connections: [{kind: dense, from: input, to: output}]\n"
    (tmp_path / "files" / "my.yaml").write_text(text)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("problems: [{task: xor, topology: my.yaml}]")
    lost = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "my.yaml (learned on); not drawn" in lost
    found = write_report(tmp_path / "run", base=tmp_path / "files").read_text(encoding="utf-8")
    assert "not drawn" not in found
    assert found.count("<svg") == lost.count("<svg") + 1
    check_self_contained(found)


# -- two runs --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs that differ in a setting, a package, the genome and the accuracies (10 points higher but for one seed)."""
    folder = tmp_path_factory.mktemp("two")
    first, second = write_run(folder / "one"), write_run(folder / "other <i>")
    (second / "config.yaml").write_text("name: little run\ntraining: {meta_steps: 30, genomes: 2}\n")
    (second / "environment.json").write_text(json.dumps({"python": "3.12", "packages": {"jax": "0.7", "none": None}}))
    genome = ng.load_genome_file(first / "genome.json")
    swapped = {name: np.array(value) for name, value in genome.genome.to_dict().items()}
    swapped["forward_transform"] = swapped["forward_transform"] + np.eye(3)
    ng.save_genome(second / "genome.json", ng.Genome.from_arrays(**swapped), genome.rule)
    transfer = load_transfer(second / "transfer.json")
    rows = [r | {"accuracy": r["accuracy"] + (0 if r["seed"] == 2 else 0.1) * (r["method"] == "genome")} for r in transfer.rows]
    Transfer(tuple(rows), transfer.chosen, transfer.notes).save(second / "transfer.json")
    return first, second


@pytest.fixture(scope="module")
def both(two: tuple[Path, Path]) -> str:
    path = write_comparison(*two)
    assert path == two[0] / "compare-other <i>.html"
    assert not (two[0] / "plots").exists()
    return path.read_text(encoding="utf-8")


def test_two_runs_are_on_one_self_contained_page(both):
    check_self_contained(both)
    assert "<i>" not in both
    assert both.count("<svg") == 2 + 1 + 2 + 3  # training by steps and time, map, two graphs, genomes and their difference
    for run in ("one, validation", "other &lt;i&gt;, validation", "one, baseline"):
        assert run in both


def test_the_comparison_tells_what_differs_and_only_that(both, two):
    folder = two[1]
    words = unescape(text_of(both))
    cells = [[unescape(c) for c in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)] for row in re.findall(r"<tr>(.*?)</tr>", both)]
    assert ["training.meta_steps", "20", "30"] in cells
    assert ["training.genomes", "-", "2"] in cells
    assert ["python", "3.11", "3.12"] in cells
    assert not [row for row in cells if row[0] in ("name", "jax")]
    assert "1 of 4 entries of config.yaml are the same in both" in words
    ten = next(row for row in cells if row[:2] == ["ring", "10"])
    assert float(ten[4]) == pytest.approx(0.1, abs=0.012)
    assert ten[5] == "2 of 3"
    # forward_transform of a canonical form: the update gate times the matrix, here 1 times; its difference is the identity
    assert ["forward_transform", "1.732"] in [row[:2] for row in cells]
    assert ["backward_transform", "0"] in [row[:2] for row in cells]
    assert "Distance 1.732" in words
    assert f"neurograph meta-train '{folder}/config.yaml' --out '{folder}-again'" in words


def test_runs_that_cannot_be_compared_in_part_say_so(tmp_path, two):
    (tmp_path / "thin").mkdir()
    (tmp_path / "thin" / "summary.json").write_text('{"method": "es", "seconds": 3}')
    words = text_of(write_comparison(two[0], tmp_path / "thin", tmp_path / "page.html").read_text(encoding="utf-8"))
    for expected in ("No transfer test in thin", "No genome that can be shown in thin", "thin has no config.yaml"):
        assert expected in words
    other = tmp_path / "other"
    other.mkdir()
    ng.save_genome(other / "genome.json", *ng.backprop_genome())
    words = text_of(write_comparison(two[0], other, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "They cannot be compared array by array: genomes: got states 3 and 2" in words
    assert "They learn under different rules" in words
    with pytest.raises(ng.ExperimentError, match="the same folder; expected two runs"):
        write_comparison(two[0], two[0] / ".." / "one")
    with pytest.raises(ng.ExperimentError, match="no such folder"):
        write_comparison(two[0], tmp_path / "nowhere")
    with pytest.raises(ng.ExperimentError, match="cannot be written"):
        write_comparison(*two, tmp_path / "nowhere" / "page.html")


def test_configurations_are_flattened_to_dotted_keys():
    config = {"a": {"b": 1, "c": {}}, "problems": [{"task": "x"}, {"task": "y"}], "at": [0, 1], "none": None}
    expected = {"a.b": 1, "a.c": {}, "problems[0].task": "x", "problems[1].task": "y", "at": [0, 1], "none": None}
    assert dict(flatten(config)) == expected


def test_the_command_takes_one_folder_or_two(tmp_path, two):
    from click.testing import CliRunner

    from neurograph.cli import main

    def call(*words: object):
        return CliRunner().invoke(main, ["report", *map(str, words)])

    out = tmp_path / "both.html"
    done = call(*two, "--out", out, "--json")
    assert json.loads(done.stdout) == {"report": str(out)}
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("{}")
    assert call(tmp_path / "run").stdout == f"report: {tmp_path / 'run' / 'report.html'}\n"
    assert "--out: only with two runs" in call(two[0], "--out", out).stderr
    assert "--base: only with one run" in call(*two, "--base", tmp_path).stderr
    assert call(two[0], "--out", out).exit_code == call(*two, "--base", tmp_path).exit_code == 2


# -- in a browser ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)
def test_a_browser_shows_the_pages_without_complaint_or_request(tmp_path, page, both):
    for number, text in enumerate((page, both)):
        (tmp_path / str(number)).mkdir()
        seen = browse(text, tmp_path / str(number))
        assert (seen.width, seen.drawings, seen.console, seen.asked) == (PHONE, text.count("<svg"), [], [])


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


def test_one_form_of_median_and_range():
    entry = five_numbers([0.5, 0.7, 0.6, 0.9, 0.1])
    assert entry == pytest.approx({"median": 0.6, "low": 0.5, "high": 0.7, "minimum": 0.1, "maximum": 0.9})
    assert interval(entry) == "0.600 (0.500-0.700)"
    assert interval(entry, ("minimum", "maximum"), to=" to ", digits=1) == "0.6 (0.1 to 0.9)"
    assert spread(entry | {"failures": 2}) == "0.600 (0.500-0.700) 2 failed"
    assert spread(entry | {"failures": 0}) == interval(entry)
    assert spread(None) == spread(dict.fromkeys(entry) | {"failures": None}) == "-"
    assert np.isnan(list(five_numbers([]).values())).all()
