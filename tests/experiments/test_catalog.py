"""Runs found in folders: what each is, whole or damaged; which settings differ; seeds as groups. Folders are written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from meta_runs import write_run as write

import neurograph as ng
from neurograph.experiments import find_runs, group_seeds
from neurograph.experiments.folder.catalog import (
    differing_settings,
    group_labels,
    own_settings,
    rank_groups,
    select_runs,
    settings_beside,
    short_names,
    sort_runs,
    summarize_run,
    validated_unlike,
)
from neurograph.experiments.folder.lock import FILE, locked
from neurograph.experiments.folder.reading import validation_score
from neurograph.learning.lost import WORST_R2


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two learning rates with two seeds and one; the last not finished."""
    for rate, seed, score in ((0.01, 0, 0.5), (0.01, 1, 0.7), (0.02, 10, 0.65), (0.02, 9, None)):
        folder = tmp_path / f"sweep/learning_rate={rate},seed={seed}"
        write(folder, f"training.learning_rate={rate}", f"seed={seed}", done=20 if score else 10, score=score)
    return tmp_path


def test_a_run_in_a_few_values(runs):
    found = {run.folder.name: run for run in find_runs(runs)}
    assert [*found] == [f"learning_rate=0.0{rate},seed={seed}" for rate, seed in ((1, 0), (1, 1), (2, 9), (2, 10))]
    first, stopped = found["learning_rate=0.01,seed=0"], found["learning_rate=0.02,seed=9"]
    assert (first.name, first.method, first.state, first.seed) == ("functions", "gradient", "finished", 0)
    assert (first.step, first.steps, first.validation, first.test, first.seconds) == (20, 20, pytest.approx(0.5), None, 12.5)
    assert first.genome == first.folder / "genome.json"
    assert first.missing == stopped.missing == ()
    assert (stopped.state, stopped.step, stopped.validation, stopped.seconds) == ("stopped", 10, 0.75, 5.0)
    assert json.loads(json.dumps(first.to_dict()))["settings"]["training.learning_rate"] == 0.01


def test_where_runs_are_sought(runs):
    deep = write(runs / "a/b/c/d/run")
    assert deep not in [run.folder for run in find_runs(runs)]
    assert deep in [run.folder for run in find_runs(runs, depth=5)]
    (runs / ".hidden").mkdir()
    (runs / ".hidden/summary.json").write_text("{}")
    (runs / "sweep/learning_rate=0.01,seed=0/plots").mkdir()
    (runs / "sweep/learning_rate=0.01,seed=0/plots/summary.json").write_text("{}")
    assert len(find_runs(runs, runs / "sweep", runs / "sweep/../sweep")) == 4
    assert len(find_runs(runs / "sweep/learning_rate=0.01,seed=0", depth=0)) == 1
    with pytest.raises(ng.ExperimentError, match="nowhere: no such folder"):
        find_runs(runs / "nowhere")
    with pytest.raises(
        ng.ExperimentError, match="b: no run in it, nor in its folders down to depth 1; a run folder holds config"
    ):
        find_runs(runs / "a/b", depth=1)


@pytest.mark.parametrize(
    ("name", "content", "state", "missing"),
    [
        ("config.yaml", "a: [1", "finished", "config.yaml: "),
        ("config.yaml", None, "finished", "no config.yaml"),
        ("config.yaml", "training: {meta_steps: many}\nseed: one\n", "finished", None),
        ("summary.json", "{", "stopped", "summary.json: "),
        ("summary.json", '{"meta_steps": [], "validation": {"accuracy": "high"}, "seconds": "long"}', "finished", None),
        ("summary.json", '{"meta_steps": 10}', "stopped", None),  # prolonged to 20, and stopped
        ("metrics.jsonl", '{"step": 10, "lo', "finished", "metrics.jsonl, line 1: skipped"),
        ("metrics.jsonl", None, "finished", "no metrics.jsonl"),
        ("genome.json", None, "finished", "no genome.json"),
        ("transfer.json", "[]", "finished", "transfer.json: expected an object"),
        ("lost.json", '"every genome diverged"', "lost", "every genome diverged"),
        ("lost.json", "{", "lost", "lost.json cannot be read"),
    ],
)
def test_what_is_damaged_or_missing_is_told_and_the_run_listed(tmp_path, name, content, state, missing):
    folder = write(tmp_path / "run", score=0.5)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    (run,) = find_runs(tmp_path)
    assert run.state == state
    assert [text for text in run.missing if text.startswith(missing or "")] == list(run.missing)
    assert bool(run.missing) == (missing is not None)


def test_a_run_that_is_only_planned(tmp_path):
    (tmp_path / "seed=0").mkdir()
    (tmp_path / "seed=0/command.txt").write_text("neurograph meta-train\n")
    (run,) = find_runs(tmp_path)
    assert (run.state, run.step, run.steps, run.validation, run.missing) == ("not begun", 0, None, None, ())


def test_a_folder_that_a_process_holds_is_running(tmp_path):
    folder = write(tmp_path / "run", done=10)
    with locked(folder):
        run = summarize_run(folder)
        assert (run.state, run.holder.startswith("process ")) == ("running", True)
    assert summarize_run(folder).state == "stopped"


@pytest.mark.parametrize(("age", "state"), [(0, "running"), (3600, "stopped")])
def test_a_holder_on_another_machine_lives_while_it_gives_signs(tmp_path, age, state):
    import os
    import time

    folder = write(tmp_path / "run", done=10)
    (folder / FILE).write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "today"}))
    os.utime(folder / FILE, (time.time() - age,) * 2)
    assert summarize_run(folder).state == state


def test_a_holder_that_was_killed_holds_nothing(tmp_path):
    import platform

    folder = write(tmp_path / "run", done=10)
    (folder / FILE).write_text(json.dumps({"host": platform.node(), "pid": 2**22 + 1, "since": "today"}))
    assert summarize_run(folder).state == "stopped"
    assert (folder / FILE).exists()  # who looks changes nothing


def test_the_accuracy_on_test_data_is_that_after_the_most_steps(tmp_path):
    folder = write(tmp_path / "run", score=0.5)
    place = {"task": "xor", "activation": None, "batch_norm": None, "loss": 1.0, "failed": False}
    rows = [
        place | {"topology": topology, "method": method, "step": step, "seed": seed, "accuracy": accuracy}
        for topology, method, step, seed, accuracy in (
            ("a", "genome", 5, 0, 0.9),
            ("a", "genome", 10, 0, 0.2),
            ("a", "genome", 10, 1, 0.4),
            ("b", "genome", 10, 0, 0.7),
            ("a", "sgd", 10, 0, 1.0),
        )
    ]
    (folder / "transfer.json").write_text(json.dumps({"rows": rows}))
    assert summarize_run(folder).test == pytest.approx((0.3 + 0.7) / 2)


def test_settings_that_differ(runs):
    found = find_runs(runs)
    assert differing_settings(found) == ["training.learning_rate"]
    assert validated_unlike(found) == []
    other = write(runs / "other", "unroll.steps=5", "transfer.seeds=2", "name=mine", "description=x", "seed=7", score=0.9)
    found = find_runs(runs)
    assert {*differing_settings(found)} == {"training.learning_rate", "unroll.steps"}
    assert validated_unlike(found) == ["unroll.steps"]
    assert own_settings(found) == [[] if run.folder == other else ["training.learning_rate"] for run in found]


def test_a_configuration_of_an_older_version_has_the_defaults_of_later_keys(runs):
    old = runs / "old"
    old.mkdir()
    lines = (runs / "sweep/learning_rate=0.01,seed=0/config.yaml").read_text().splitlines()
    (old / "config.yaml").write_text("\n".join(line for line in lines if "judged_at" not in line and "least_steps" not in line))
    assert differing_settings(find_runs(runs)) == ["training.learning_rate"]


@pytest.mark.parametrize(
    ("condition", "seeds"),
    [
        ("training.learning_rate=0.01", [0, 1]),
        ("learning_rate!=0.01", [9, 10]),
        ("validation>0.6", [1, 9, 10]),
        ("seed<=1", [0, 1]),
        ("state=finished", [0, 1, 10]),
        ("problems.0.task=and", [0, 1, 9, 10]),
        ("problems[0].task=xor", []),
        ("seed<b", []),
        ("max_steps=", [0, 1, 9, 10]),
    ],
)
def test_conditions(runs, condition, seeds):
    assert [run.seed for run in select_runs(find_runs(runs), [condition])] == seeds


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("seed", "--where seed: expected KEY=VALUE"),
        ("learning_rat=1", "--where learning_rat: no run has such a setting; did you mean 'learning_rate'?"),
        ("task=xor", r"--where task: could be problems\[0\].task, .*; expected one of them"),
        ("seed=[", "--where seed=.*: not valid YAML"),
    ],
)
def test_conditions_that_say_something_wrong(runs, condition, message):
    with pytest.raises(ng.ExperimentError, match=message):
        select_runs(find_runs(runs), [condition])


def test_orders(runs):
    (runs / "planned").mkdir()
    (runs / "planned/command.txt").write_text("")
    found = find_runs(runs)
    assert [run.seed for run in sort_runs(found, "validation")] == [9, 1, 10, 0, None]
    assert [run.seed for run in sort_runs(found, "validation", reverse=True)] == [0, 10, 1, 9, None]
    assert [run.seed for run in sort_runs(found, "seed")] == [0, 1, 9, 10, None]
    assert [run.seed for run in sort_runs(found, "learning_rate", reverse=True)] == [9, 10, 0, 1, None]
    assert [run.folder for run in sort_runs(found, "folder")] == [run.folder for run in found]
    with pytest.raises(ng.ExperimentError, match=r"--sort validaton: .*did you mean 'validation'"):
        sort_runs(found, "validaton")


def test_seeds_are_groups_and_the_best_is_by_their_median(runs):
    groups = rank_groups(group_seeds(find_runs(runs)))
    assert [[run.seed for run in group.runs] for group in groups] == [[9, 10], [0, 1]]
    first, second = (group.to_dict() for group in groups)
    assert first["validation"] == pytest.approx({"median": 0.65, "lowest": 0.65, "highest": 0.65})
    assert first["states"] == {"stopped": 1, "finished": 1}
    assert first["genome"] == str(runs / "sweep/learning_rate=0.02,seed=10/genome.json")
    assert second["validation"] == pytest.approx({"median": 0.6, "lowest": 0.5, "highest": 0.7})
    assert second["genome"] == str(runs / "sweep/learning_rate=0.01,seed=1/genome.json")
    assert group_labels(groups) == ["learning_rate 0.02", "learning_rate 0.01"]


def test_a_lost_run_counts_with_nothing_reached_and_a_repeated_one_not(runs):
    lost = write(runs / "lost", "training.learning_rate=0.02", "seed=3", done=0)
    (lost / "lost.json").write_text('"every genome diverged"')
    again = write(runs / "again", "training.learning_rate=0.01", "seed=0", done=10)
    groups = rank_groups(group_seeds(find_runs(runs)))
    assert groups[0].repeats == (summarize_run(again),)
    spreads = [group.to_dict()["validation"] for group in groups]
    assert spreads[0] == pytest.approx({"median": 0.6, "lowest": 0.5, "highest": 0.7})
    assert spreads[1] == pytest.approx({"median": 0.325, "lowest": 0.0, "highest": 0.65})
    assert groups[1].best
    assert groups[1].best.seed == 10


def test_what_is_lost_of_a_regression_is_worse_than_any_r2(tmp_path):
    for rate, score in ((0.01, -0.5), (0.02, -0.9)):
        write(tmp_path / f"{rate}", f"training.learning_rate={rate}", score=score, regression=True)
    lost = write(tmp_path / "lost", "training.learning_rate=0.03", done=0, regression=True)
    (lost / "lost.json").write_text('"every genome diverged"')
    write(tmp_path / "begun", "training.learning_rate=0.04", done=0, regression=True)
    groups = rank_groups(group_seeds(find_runs(tmp_path)))
    assert [group.runs[0].folder.name for group in groups] == ["0.01", "0.02", "lost", "begun"]
    assert {group.runs[0].score for group in groups} == {"R^2"}
    assert groups[2].to_dict()["validation"]["median"] == WORST_R2
    assert groups[1].best is not None
    summary = {"tasks": ["prices", "digits"], "validation": {"accuracy": [None, 0.5]}}
    assert validation_score(summary, ["prices"]) == (WORST_R2 + 0.5) / 2
    assert validation_score(summary) == 0.25


def test_runs_without_a_configuration_are_no_seeds_of_one_another(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text("{}")
    groups = group_seeds(find_runs(tmp_path))
    assert len(groups) == 2
    assert group_labels(groups) == ["a", "b"]


def test_settings_beside_those_of_a_shipped_experiment_or_the_defaults(tmp_path):
    shipped = summarize_run(write(tmp_path / "a", "unroll.steps=5"))
    assert settings_beside(shipped) == (
        "the shipped experiment 'functions'",
        {"unroll.steps": (5, 10), "training.meta_steps": (20, 300)},
    )
    words, changed = settings_beside(summarize_run(write(tmp_path / "b", "name=mine")))
    assert words == "the defaults"
    assert changed["unroll.batch_size"] == (64, 128)
    assert changed["start.arrays.synapse_update"] == (0.3, None)
    assert not [key for key in changed if key.startswith("problems")]


def test_short_names_are_last_words_where_these_say_enough():
    assert short_names(["a.steps", "b.steps", "c.rate", "seed"]) == ["a.steps", "b.steps", "rate", "seed"]


def test_looking_at_runs_needs_no_jax(runs):
    code = f"import sys; from neurograph.experiments import find_runs; find_runs({str(runs)!r}); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
