"""Meta-training as rows: what the metrics of a run folder say, lost genomes and lost runs among it."""

from __future__ import annotations

import json

import pytest

from neurograph.experiments.transfer.results import five_numbers
from neurograph.reproduce.progress import at_or_lost, speeds, trained, validated
from neurograph.reproduce.summaries import ranged
from neurograph.reproduce.workbench import Trained

LINES = (
    {"step": 10, "seconds": 1.0, "loss": [2.0, None], "accuracy": [0.2, 0.9]},
    {"step": 10, "validation": {"loss": [1.9, None], "accuracy": [0.3, 0.9]}},
    {"step": 20, "seconds": 3.0, "loss": [1.0, 1.5], "accuracy": [0.6, 0.4]},
    {"step": 20, "validation": {"loss": [None, None], "accuracy": [0.1, 0.1]}},
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return Trained("one", 4, tmp_path, genome="found")  # type: ignore[arg-type]


def test_rows_are_of_the_best_genome_that_did_not_diverge(run):
    assert [(row["step"], row["seconds"], row["accuracy"], row["failed"]) for row in trained(run)] == [
        (10, 1.0, 0.2, False),
        (20, 3.0, 0.6, False),
    ]
    assert [(row["step"], row["seconds"], row["accuracy"], row["failed"]) for row in validated(run)] == [
        (10, 1.0, 0.3, False),
        (20, 3.0, 0.0, True),
    ]
    assert all(row["label"] == "one" and row["genome_seed"] == 4 for row in trained(run) + validated(run))


def test_a_lost_run_has_no_speed(run, tmp_path):
    assert speeds([run, Trained("one", 5, tmp_path / "nothing")]) == [pytest.approx(0.4), 0.0]
    assert trained(Trained("one", 5, tmp_path / "nothing")) == []


def test_ranges_are_told():
    assert ranged(five_numbers([0.5, 0.7, 0.6])) == "0.600 (0.500 to 0.700)"
    table = [{"label": "one", "step": 2} | five_numbers([0.5])]
    assert ranged(at_or_lost(table, label="one", step=2)) == "0.500 (0.500 to 0.500)"
    assert ranged(at_or_lost(table, label="two", step=2)) == "lost"
