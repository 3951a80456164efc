"""The recipe as printed: what is read from its runs."""

from __future__ import annotations

import json

import pytest

from neurograph.reproduce.claims import recipe
from neurograph.reproduce.workbench import Trained


@pytest.fixture
def run(tmp_path):
    """A run of two genomes, the second of which stays on a plateau."""
    records = [
        {"step": step, "seconds": 1.0, "loss": [2.0, 2.3], "accuracy": [0.3, 0.1], "gradient_norm": [norm, 1e-6]}
        for step, norm in ((50, 1e-3), (100, 4.0), (150, 5.0))
    ]
    records += [{"step": 100, "validation": {"loss": [2.0, 2.3], "accuracy": [0.4, 0.1]}}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return Trained(recipe.PRINTED, 0, tmp_path)


def test_flat_meta_gradients_are_counted(run):
    rows = recipe._gradients(run)
    assert [(row["step"], row["genome"]) for row in rows[:3]] == [(50, 0), (50, 1), (100, 0)]
    assert recipe._flat(rows, recipe.PRINTED, 100) == 3 / 4
    assert recipe._flat(rows, recipe.PRINTED, 150) == 4 / 6


def test_a_change_is_told_by_the_last_validation_within_its_meta_steps(run):
    told = recipe._decides({recipe.PRINTED: [run]}, recipe._gradients(run), [], 120, 10)
    assert told.holds is None
    assert told.seen.startswith(
        "the largest gain: none; as printed: validation accuracy 0.400 (0.400 to 0.400) after 100, flat 75%"
    )


def test_the_cost_of_the_whole_is_extrapolated_from_what_was_run(run, monkeypatch):
    monkeypatch.setattr(Trained, "summary", {"seconds": 80.0})
    object.__setattr__(run, "genome", object())
    variant = recipe.Variant("paper_gradient", ("training.meta_steps=1000", "training.genomes=4", "training.replace=0"))
    # 80 s for 1,000 meta-steps of 10 steps of 4 genomes; the whole has 10,000 each of 10, 15, ..., 50 steps of 8
    hours = 80 / 40_000 * 10_000 * sum(range(10, 51, 5)) * 8 / 3600
    assert f"took 2.0 ms here (on cores that others used, too); all of the recipe would take {hours:.2g} hours" in recipe._cost(
        [run], variant
    )
