"""What an experiment file means: methods, the curriculum, validation data."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import neurograph as ng
from neurograph.cli import COMMANDS
from neurograph.experiments.experiment import Experiment
from neurograph.experiments.folder.reading import Run
from neurograph.experiments.spec import METHODS, ExperimentSpec, UnrollSpec

PROBLEM = {"task": "xor", "topology": "mlp_2d_classes"}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_builds_its_optimizer_and_knows_its_command(method: str):
    spec = ExperimentSpec.model_validate({"problems": [PROBLEM], "training": {"method": method}})
    optimizer = spec.training.optimizer(ng.Rule(), spec.seed)
    assert all(callable(getattr(optimizer, name)) for name in ("init", "advance", "genomes"))
    run = Run(Path("run"), config=spec.model_dump(mode="json"))
    assert run.evolved is spec.training.evolved is (method in ("cma", "es"))
    assert run.command == ("meta-train" if method == "gradient" else "evolve")
    assert run.command in COMMANDS


def test_fields_and_scales_of_a_search_reach_its_optimizer():
    training = {"fields": ["synapse_update"], "scales": {"synapse_update": 0.5}, "population": 6, "sigma": 0.2}
    for method in ("pes", "cma", "es"):
        spec = ExperimentSpec.model_validate({"problems": [PROBLEM], "training": {"method": method, **training}})
        optimizer = spec.training.optimizer(ng.Rule(), 7)
        assert (optimizer.fields, optimizer.scales) == (("synapse_update",), (("synapse_update", 0.5),))
        assert (optimizer.population, optimizer.sigma) == (6, 0.2)


def test_a_curriculum_grows_at_the_meta_steps_that_it_says():
    unroll = UnrollSpec(steps=3, grow_by=2, grow_every=4, max_steps=8)
    assert [unroll.length(step) for step in range(14)] == [3] * 4 + [5] * 4 + [7] * 4 + [8] * 2
    assert [UnrollSpec(steps=3).length(step) for step in (0, 1, 1000)] == [3, 3, 3]


def test_validation_is_judged_on_validation_rows_after_learning_from_training_rows():
    problem = {"task": "digits", "topology": "mlp"}
    unroll = {"steps": 2, "batch_size": 16, "query_size": 64}
    experiment = Experiment(ExperimentSpec.model_validate({"problems": [problem], "unroll": unroll}))
    task = experiment.validation.problems[0].task
    rows = {split: {row.tobytes() for row in np.asarray(task.arrays(split)[0])} for split in ("train", "validation")}
    assert not rows["train"] & rows["validation"]
    for objective, judged_on in ((experiment.objective, "train"), (experiment.validation, "validation")):
        episode, _ = objective._episode(0, 0, jax.random.key(0))
        assert {row.tobytes() for row in np.asarray(episode.query.x)} <= rows[judged_on]
        assert {row.tobytes() for batch in np.asarray(episode.support.x) for row in batch} <= rows["train"]
