"""Sweeps: every point of a grid is a run like any other; a table says what came of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import worker_tasks
from click.testing import CliRunner
from meta_runs import genome_of, numbers, write_experiments

import neurograph as ng
from neurograph.cli.sweep import sweep
from neurograph.cli.train import evolve
from neurograph.experiments import runs
from neurograph.experiments.runs import train_all
from neurograph.experiments.spec import load_experiment
from neurograph.experiments.sweep import parse_axis, plan_sweep, sweep_rows, sweep_table
from neurograph.experiments.train import meta_train
from neurograph.experiments.workers import Here, TaskLost

SHORT = ("training.meta_steps=2",)


@pytest.fixture
def source(tmp_path: Path) -> str:
    write_experiments(tmp_path)
    return str(tmp_path / "cma.yaml")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=0:3", (0, 1, 2)),
        ("seed=4:-1:-2", (4, 2, 0)),
        ("training.learning_rate=0.01,0.02", (0.01, 0.02)),
        ("rule.normalization=batch,none", ("batch", "none")),
        ("training.fields=[neuron_update],[neuron_update, neuron_keep]", (["neuron_update"], ["neuron_update", "neuron_keep"])),
    ],
)
def test_axes(text, values):
    assert parse_axis(text).values == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "--grid seed: expected KEY=VALUE,VALUE,... or KEY=FIRST:END, such as seed=0:5"),
        ("seed=", "--grid seed=: no value"),
        ("seed=3:3", "--grid seed=3:3: no value"),
        ("seed=0:5:0", "expected a step other than 0"),
        ("seed=1,2,1", "--grid seed=1,2,1: 1 more than once"),
        ("seed=[", "--grid seed=.*: not valid YAML"),
    ],
)
def test_axes_that_say_something_wrong(text, message):
    with pytest.raises(ng.ExperimentError, match=message.replace("[", r"\[")):
        parse_axis(text)


def test_a_plan_is_checked_before_anything_runs(source, tmp_path):
    points = plan_sweep(source, [parse_axis("training.sigma=0.1,0.3"), parse_axis("seed=0:2")], tmp_path / "out")
    assert [point.run.name for point in points] == [
        "sigma 0.1, seed 0",
        "sigma 0.1, seed 1",
        "sigma 0.3, seed 0",
        "sigma 0.3, seed 1",
    ]
    assert points[2].run.folder == tmp_path / "out" / "sigma=0.3,seed=0"
    assert points[2].run.spec == load_experiment(source, ("training.sigma=0.3", "seed=0"))
    assert not (tmp_path / "out").exists()
    for axes, message in (
        ([parse_axis("training.sigma=0.1,-1")], "training.sigma"),
        ([parse_axis("seed=0:2"), parse_axis("seed=3:4")], "--grid: seed given more than once"),
        ([parse_axis("name=a b,a_b")], "share a folder"),
        ([parse_axis("seed=0:100000"), parse_axis("unroll.steps=1,2")], "200,000 points"),
    ):
        with pytest.raises(ng.NeurographError, match=message):
            plan_sweep(source, axes, tmp_path / "out")


def test_a_sweep_is_runs_and_a_table_and_goes_on(source, tmp_path):
    words = [source, "--grid", "training.sigma=0.1,0.3", "--grid", "seed=0:2", "--set", SHORT[0], "--out", str(tmp_path / "out")]
    words += ["--data-dir", f"{tmp_path}/data sets"]
    first = CliRunner().invoke(sweep, words)
    assert first.exit_code == 0, first.output
    assert "4 runs in" in first.stderr
    assert first.stderr.count("meta-trained") == 4
    with (tmp_path / "out" / "sweep.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["training.sigma"], row["seed"], row["state"]) for row in rows] == [
        (sigma, seed, "done") for sigma in ("0.1", "0.3") for seed in ("0", "1")
    ]
    meta_train(load_experiment(source, (*SHORT, "training.sigma=0.3", "seed=1")), tmp_path / "alone", base=tmp_path)
    kept = tmp_path / "out" / "sigma=0.3,seed=1"
    assert genome_of(kept) == genome_of(tmp_path / "alone")
    assert numbers(kept) == numbers(tmp_path / "alone")
    command = (kept / "command.txt").read_text()
    assert command.startswith(f"neurograph evolve {source} --set training.meta_steps=2 --set")
    assert command.endswith(f"--out {kept} --no-transfer --resume --data-dir '{tmp_path}/data sets'\n")
    again = CliRunner().invoke(sweep, [*words, "--json"])
    assert "0 of them to do" in again.stderr
    assert [row["accuracy"] for row in json.loads(again.stdout)["rows"]] == [float(row["accuracy"]) for row in rows]


def test_seeds_of_one_experiment(source, tmp_path):
    words = [source, "--runs", "2", "--no-transfer", "--set", SHORT[0], "--set", "seed=5", "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(evolve, words)
    assert found.exit_code == 0, found.output
    assert [path.name for path in sorted((tmp_path / "out").iterdir()) if path.is_dir()] == ["seed=5", "seed=6"]
    assert "accuracy, median (quartiles)" in found.stdout
    again = CliRunner().invoke(evolve, words)
    assert isinstance(again.exception, ng.ExperimentError)
    assert "not empty; continue with --resume" in str(again.exception)
    shown = CliRunner().invoke(evolve, [*words, "--resume", "--json"])
    assert shown.exit_code == 0
    told = json.loads(shown.stdout)["runs"]
    assert [(run["seed"], run["state"], run["step"], run["report"]) for run in told] == [
        (5, "finished", 2, None),
        (6, "finished", 2, None),
    ]
    assert told[0]["genome"] == str(tmp_path / "out/seed=5/genome.json")


def test_a_run_that_kills_its_workers_is_a_line_of_the_table(source, tmp_path, monkeypatch):
    points = plan_sweep(source, [parse_axis("seed=0:2")], tmp_path / "out", overrides=SHORT)

    class Deadly(worker_tasks.Reversed):
        def submit(self, function, run, shared=None):
            def killed(run):
                raise TaskLost("train: 3 workers died of it")

            return super().submit(killed if run.spec.seed == 1 else function, run)

    said = []
    failed = train_all([point.run for point in points], Deadly(), said.append)
    assert failed == {"seed 1": "train: 3 workers died of it"}
    assert said[0].startswith("[1/2] meta-trained seed 1: not done: train: 3 workers died of it")
    rows = sweep_rows(points, failed)
    assert [row["state"] for row in rows] == ["done", "train: 3 workers died of it"]
    assert rows[1]["accuracy"] is None
    cells = [list(column.cells) for column in sweep_table(rows, ["seed"]).columns]
    assert cells[-2:] == [["2"], ["1"]]
    assert train_all([point.run for point in points], Here()) == {}  # asked for again, it is done
    assert all(point.run.finished for point in points)


def test_a_run_in_which_all_genomes_diverge_is_a_result(source, tmp_path, monkeypatch):
    def diverges(*words, **options):
        raise ng.GenomeError("every genome diverged")

    monkeypatch.setattr(runs, "meta_train", diverges)
    points = plan_sweep(source, [parse_axis("seed=0:1")], tmp_path / "out")
    assert train_all([points[0].run], Here()) == {}
    assert sweep_rows(points, {})[0]["state"] == "lost: every genome diverged"
    assert points[0].run.finished
    for regression, cell in ((False, "0.000"), (True, "-1e+05")):
        if regression:
            (points[0].run.folder / "config.yaml").write_text("{}")
            (points[0].run.folder / "tasks.json").write_text('{"tasks": ["prices"], "numbers": ["prices"]}')
        (row,) = sweep_rows(points, {})
        fine = row | {"training.sigma": 0.2, "accuracy": -0.5, "loss": 0.5, "state": "done"}
        table = sweep_table([row | {"training.sigma": 0.1}, fine], ["training.sigma"])
        assert [column.header for column in table.columns][1] == ("R^2" if regression else "accuracy")
        cells = [[*column.cells] for column in table.columns]
        assert cells[0] == (["0.2", "0.1"] if regression else ["0.1", "0.2"])
        assert cells[1][cells[0].index("0.1")] == cell
        assert sorted(cells[3]) == ["", "1"]


def test_a_worker_that_does_not_see_the_folder(source, tmp_path):
    points = plan_sweep(source, [parse_axis("seed=0:1")], tmp_path / "out")
    with pytest.raises(ng.ExperimentError, match=r"this process does not see .*: runs need a folder that all workers see"):
        runs._train(points[0].run)
