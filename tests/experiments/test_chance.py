"""Runs that learn nothing say so, once, with what to try; runs that learn say nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from meta_runs import write_run
from pages import text_of

from neurograph.experiments.chance import advice, at_chance, chance_level
from neurograph.experiments.experiment import Experiment
from neurograph.experiments.spec import ExperimentSpec, load_experiment
from neurograph.experiments.train import meta_train
from neurograph.report.run import write_report

PLAIN = """
rule: {}
problems: [{task: TASK, topology: 2-4-2}]
unroll: {steps: 1, batch_size: 8, query_size: 16}
training: {method: es, population: 4, meta_steps: 6, interval: 2, validate_every: 2, validation_episodes: 4}
"""


def spec(folder: Path, task: str = "random_labels", *overrides: str) -> ExperimentSpec:
    path = folder / "plain.yaml"
    path.write_text(PLAIN.replace("TASK", task))
    return load_experiment(path, overrides)


def test_a_run_that_learns_nothing_says_so_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "neurograph.experiments.train"):
        meta_train(spec(tmp_path), tmp_path / "run")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "neurograph.experiments.train"]
    assert line.startswith("experiment is at chance after 2 of 6 meta-steps: accuracy 0.")
    assert "guessing 0.500; to try: start.arrays={synapse_update: 0.3}" in line
    told = json.loads((tmp_path / "run/summary.json").read_text())["at_chance"]
    assert line.endswith(told)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "neurograph.experiments.train"):  # a run that goes on has said it
        meta_train(spec(tmp_path, "random_labels", "training.meta_steps=8"), tmp_path / "run", resume=True)
    assert not [record for record in caplog.records if "at chance" in record.getMessage()]


def test_the_report_says_it(tmp_path):
    folder = write_run(tmp_path / "run")
    assert "at chance" not in text_of(write_report(folder).read_text(encoding="utf-8"))
    (folder / "summary.json").write_text(json.dumps({"at_chance": "to try: more steps"}))
    words = text_of(write_report(folder).read_text(encoding="utf-8"))
    assert "This run is at chance: its genome is no better than guessing on validation data; to try: more steps." in words


def test_chance_is_the_accuracy_of_guessing_and_three_standard_errors_are_above_it(tmp_path):
    experiment = Experiment(spec(tmp_path))
    assert chance_level(experiment) == 0.5
    error = (0.25 / (4 * 16)) ** 0.5
    assert at_chance(experiment, 0.5 + 2.9 * error)
    assert not at_chance(experiment, 0.5 + 3.1 * error)
    assert at_chance(experiment, 0.1)
    assert at_chance(experiment, float("nan"))


def test_a_regression_has_no_chance(tmp_path):
    given = spec(tmp_path, "sine", "problems=[{task: sine, topology: 1-4-1}]")
    experiment = Experiment(given)
    assert chance_level(experiment) is None
    assert not at_chance(experiment, 0.0)


@pytest.mark.parametrize("name", ["digits", "functions"])
def test_advice_names_nothing_that_is_so_already(name):
    words = advice(Experiment(load_experiment(name)))
    assert "synapse_update" not in words
    assert "rule." not in words
    assert "unroll.steps above 10, another training.learning_rate than 0.0" in words
