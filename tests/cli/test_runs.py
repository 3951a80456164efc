"""`neurograph runs`: what lies in folders, as a table that fits the terminal and as JSON; the best; a page of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from meta_runs import write_run
from pages import check_self_contained, text_of

import neurograph as ng
from neurograph.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two learning rates with two seeds each, of which one is not finished."""
    folder = tmp_path_factory.mktemp("runs")
    for rate, seed, score in ((0.01, 0, 0.5), (0.01, 1, 0.7), (0.02, 0, 0.65), (0.02, 1, None)):
        place = folder / f"learning_rate={rate},seed={seed}"
        write_run(place, f"training.learning_rate={rate}", f"seed={seed}", done=20 if score else 10, score=score)
    return folder


def call(*words: object, columns: int = 100) -> Result:
    return CliRunner().invoke(main, ["runs", *map(str, words)], env={"COLUMNS": str(columns)})


def json_of(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_table_has_the_settings_that_differ_and_what_was_reached(folder):
    shown = call("list", folder, "--sort", "validation")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == f"4 runs in {folder}; experiment functions; method gradient"
    assert lines[1].split() == ["run", "learning_rate", "seed", "steps", "state", "validation", "time"]
    assert lines[2].split() == ["learning_rate=0.02,seed=1", "0.02", "1", "10/20", "stopped", "0.750", "5", "s"]
    assert lines[3].split() == ["learning_rate=0.01,seed=1", "0.01", "1", "20/20", "finished", "0.700", "12", "s"]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_the_terminal(folder, tmp_path, columns):
    write_run(tmp_path / "another/run", experiment="paper_evolution", score=0.9)
    shown = call("list", folder, tmp_path / "another", columns=columns).stdout.splitlines()
    assert max(map(len, shown[1:])) <= columns
    words = "".join("".join(shown).split())
    assert all(word in words for word in ("paper_evolution", "cma", "20/20", "stopped", "0.650"))


def test_json_has_all_settings_and_the_keys_that_differ(folder):
    data = json_of(call("list", folder, "--where", "state=finished", "--sort", "seed", "--reverse", "--json"))
    assert data["differing"] == ["training.learning_rate"]
    assert [run["seed"] for run in data["runs"]] == [1, 0, 0]
    assert data["runs"][0]["settings"]["unroll.batch_size"] == 64


def test_a_damaged_run_is_a_line_and_is_explained(folder, tmp_path):
    write_run(tmp_path / "bad", score=0.5)
    (tmp_path / "bad/config.yaml").write_text("a: [")
    shown = call("list", folder, tmp_path)
    assert shown.exit_code == 0
    assert shown.stdout.startswith("5 runs in")
    assert f"{tmp_path / 'bad'}: config.yaml: " in shown.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "{}", "--where", "seed=77"], "--where seed=77: none of the 4 runs in"),
        (["list", "{}", "--where", "sed=1"], "--where sed: no run has such a setting; did you mean 'seed'?"),
        (["list", "{}", "--sort", "sed"], "--sort sed: no run has such a setting; did you mean 'seed'?"),
        (["list", "{}/nowhere"], "nowhere: no such folder"),
        (["show", "{}"], "holds 4 runs; expected one of them: "),
        (["show", "{}/nowhere"], "nowhere: no such folder"),
        (["best", "{}", "--where", "state=stopped"], "1 run, none of them finished with a genome"),
        (["compare", "{}", "--where", "state=stopped"], "expected at least two runs to compare"),
    ],
)
def test_wrong_use_is_told(folder, words, message):
    result = call(*(word.format(folder) for word in words))
    assert isinstance(result.exception, ng.NeurographError)
    assert message in str(result.exception)


def test_one_run_on_a_screen(folder):
    place = folder / "learning_rate=0.02,seed=1"
    lines = [" ".join(line.split()) for line in call("show", place).stdout.splitlines()]
    for line in (
        "state stopped",
        "progress 10 of 20 meta-steps in 5 s",
        "validation accuracy 0.750 (best so far)",
        f"goes on by neurograph meta-train {place / 'config.yaml'} --out {place} --resume",
        "settings that are not those of the shipped experiment 'functions':",
        "training.meta_steps 20 (300)",
        "training.learning_rate 0.02 (0.015)",
    ):
        assert line in lines
    data = json_of(call("show", place, "--json"))
    assert data["changed"] == {"training.meta_steps": [20, 300], "training.learning_rate": [0.02, 0.015]}


def test_the_best_by_the_median_over_seeds(folder):
    data = json_of(call("best", folder, "--json"))
    assert data["genome"] == data["run"]["genome"] == str(folder / "learning_rate=0.02,seed=0/genome.json")
    assert [group["seeds"] for group in data["groups"]] == [[0, 1], [0, 1]]
    assert data["groups"][1]["validation"] == pytest.approx({"median": 0.6, "lowest": 0.5, "highest": 0.7})
    shown = call("best", folder)
    assert "0.600 (0.500-0.700)" in shown.stdout
    assert "1 stopped" in shown.stdout
    assert shown.stdout.endswith(f"best: {data['genome']} (seed 0, accuracy 0.650 on validation data)\n")
    assert shown.stderr == ""


def test_the_score_of_a_regression_is_r2_and_a_lost_run_is_behind(tmp_path):
    for rate, seed, score in ((0.01, 0, -0.5), (0.01, 1, -0.3), (0.02, 0, 0.2), (0.02, 1, None)):
        place = tmp_path / f"learning_rate={rate},seed={seed}"
        write_run(place, f"training.learning_rate={rate}", f"seed={seed}", done=20 if score else 0, score=score, regression=True)
    (tmp_path / "learning_rate=0.02,seed=1/lost.json").write_text('"every genome diverged"')
    listed = call("list", tmp_path, "--sort", "validation").stdout
    assert listed.splitlines()[2].split() == ["run", "learning_rate", "seed", "steps", "state", "R^2", "time"]
    rows = [line.split() for line in listed.splitlines()[3:]]
    assert [row[5] for row in rows] == ["0.200", "-0.300", "-0.500", "-1e+05"]
    best = call("best", tmp_path)
    assert best.stdout.endswith("learning_rate=0.01,seed=1/genome.json (seed 1, R^2 -0.300 on validation data)\n")
    assert "-0.400 (-0.500 to -0.300)" in best.stdout
    assert "(-1e+05 to 0.200)" in best.stdout
    assert "validation  R^2 0.200" in call("show", tmp_path / "learning_rate=0.02,seed=0").stdout
    page = tmp_path / "page.html"
    assert call("compare", tmp_path, "--out", page).exit_code == 0
    words = " ".join(text_of(page.read_text(encoding="utf-8")).split())
    assert "validation R^2" in words
    assert "counts with R^2 -1e+05" in words
    assert "Best on validation data: learning_rate 0.01, R^2 -0.400" in words
    assert "accuracy" not in words


def test_validations_that_measure_different_things_are_told(folder, tmp_path):
    write_run(tmp_path / "short", "unroll.steps=5", score=0.9)
    shown = call("best", folder, tmp_path)
    assert "validation does not measure the same in all of them (unroll.steps differ)" in shown.stderr


def test_a_page_compares_seeds_as_bands(folder, tmp_path):
    path = tmp_path / "page.html"
    assert json_of(call("compare", folder, "--out", path, "--json"))["report"] == str(path)
    text = path.read_text(encoding="utf-8")
    check_self_contained(text)
    words = " ".join(text_of(text).split())
    assert text.count("<svg") == 1
    for expected in (
        "4 runs, 2 settings",
        "learning_rate 0.01",
        "0.600 (0.500-0.700)",
        "1 stopped",
        "Not all seeds of learning_rate 0.02 got as far",
        "No run has a transfer test.",
        "training.learning_rate 0.02 0.01",
        "have no environment.json",
        "neurograph genome compare",
    ):
        assert expected in words


def test_the_page_of_two_runs_compares_their_genomes_and_stands_in_the_folder(folder):
    shown = call("compare", folder, "--where", "learning_rate=0.01")
    assert shown.stdout == f"report: {folder / 'compare.html'}\n"
    text = (folder / "compare.html").read_text(encoding="utf-8")
    (folder / "compare.html").unlink()
    assert "learning_rate=0.01,seed=1, validation" in text
    assert "What could not be read" in text  # these genomes are empty files
