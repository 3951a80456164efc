"""Runs from Python objects: the same numbers as from files, resumable, with callbacks, frames and figures."""

from __future__ import annotations

import json
import re

import jax
import networkx as nx
import numpy as np
import pytest
from meta_runs import numbers

import neurograph as ng
from neurograph.cli.progress import RunProgress
from neurograph.experiments.folder.reading import read_run
from neurograph.experiments.spec import load_experiment, make_experiment
from neurograph.experiments.train import meta_train as train
from neurograph.workflows.meta_training import run_experiment

TRAINING = {"meta_steps": 4, "interval": 2, "validate_every": 2, "genomes": 2, "validation_episodes": 1}
SMALL = {"unroll": {"steps": 2, "batch_size": 8, "query_size": 16}, "training": TRAINING}


def rows(shift: float = 0.0):
    x = np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32) + np.float32(shift)
    return x, (x[:, 0] > shift).astype(int)


def document(shift: float = 0.0, **more):
    return {"problems": [{"task": rows(shift), "topology": ng.load_topology("2-3-2")}], "rule": {"states": 2}} | SMALL | more


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run from arrays and a topology, and what its callback was given."""
    seen = []
    return ng.meta_train(document(), tmp_path_factory.mktemp("runs") / "whole", callbacks=[seen.append]), seen


def test_a_callback_has_step_metrics_and_genomes(run):
    found, seen = run
    assert [interval.step for interval in seen] == [2, 4]
    assert [interval.metrics["loss"] for interval in seen] == [record["loss"] for record in found.run.records]
    assert [interval.metrics["validation"]["accuracy"] for interval in seen] == [v["accuracy"] for v in found.run.validations]
    chosen = found.summary["chosen"]
    assert same(seen[-1].genome(chosen), found.genome)
    assert not same(seen[0].genome(chosen), found.genome)
    assert seen[0].rule == found.rule


def test_frames_and_figures(run):
    found, _ = run
    frame = found.metrics()
    assert frame["step"].tolist() == [2, 2, 4, 4]
    assert frame["genome"].tolist() == [0, 1, 0, 1]
    assert frame["loss"].tolist() == [loss for record in found.run.records for loss in record["loss"]]
    assert found.validations()["accuracy"].tolist() == [one for v in found.run.validations for one in v["accuracy"]]
    assert found.validation == np.mean(found.summary["validation"]["accuracy"])
    assert len(found.plot().axes) == 2
    words = r"<MetaTraining experiment: 4 meta-steps \(gradient\), validation accuracy 0\.\d{3}, genome of 2 states in .*whole>"
    assert re.fullmatch(words, repr(found))


@pytest.mark.thorough
def test_of_a_regression_all_that_is_shown_says_r2(tmp_path, capsys):
    spec = make_experiment({"problems": [{"task": "sine", "topology": "1-3-1"}], "rule": {"states": 2}} | SMALL)
    done = run_experiment(spec, tmp_path / "run", test=False, report=False, watch=RunProgress(spec, tmp_path / "run"))
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"step 2 after .* s: loss [\d.]+, R\^2 -?[\d.]+", lines[1])
    assert re.fullmatch(r"step 2: best R\^2 on validation data -?[\d.]+", lines[2])
    assert re.match(r"step 4 after .* s: loss [\d.]+, R\^2 -?[\d.]+, best on validation -?[\d.]+, ", lines[3])
    found = ng.MetaTraining(done.genome, done.rule, spec, None, read_run(tmp_path / "run"))
    assert re.search(r", validation R\^2 -?\d+\.\d{3}, genome", repr(found))
    axis = found.plot().axes[1]
    assert axis.get_ylabel() == "query R^2"
    assert json.loads((tmp_path / "run/tasks.json").read_text()) == {"tasks": ["sine"], "numbers": ["sine"]}
    assert found.run.card["validation_r2"] == found.summary["validation"]["accuracy"]


def test_a_folder_has_all_that_a_run_of_the_command_has(run, tmp_path):
    found, _ = run
    names = {path.name for path in found.folder.iterdir()}
    assert {"config.yaml", "tasks.json", "metrics.jsonl", "genome.json", "summary.json", "report.html", "topologies"} <= names
    again = ng.load_genome_file(found.save(tmp_path / "genome.json"))
    assert same(again.genome, found.genome)
    assert again.rule == found.rule


def test_a_run_that_a_callback_ends_goes_on_bit_for_bit(run, tmp_path):
    class Enough(Exception):
        pass

    def stop(interval):
        raise Enough

    with pytest.raises(Enough):
        ng.meta_train(document(), tmp_path / "run", callbacks=[stop])
    assert not (tmp_path / "run" / "genome.json").exists()
    other = r"written under another configuration: problems: was .*object:arrays-.* now .*object:arrays-"
    with pytest.raises(ng.ExperimentError, match=other):  # the data decide the name
        ng.meta_train(document(shift=1.0), tmp_path / "run", resume=True)
    found = ng.meta_train(document(), tmp_path / "run", resume=True)
    assert same(found.genome, run[0].genome)
    assert numbers(found.folder) == numbers(run[0].folder)
    # The command finds the graph in the folder, and no data.
    with pytest.raises(ng.ExperimentError, match=r"problems\[0\]\.task: got 'object:arrays-\w{12}', an object of Python that"):
        train(load_experiment(found.folder / "config.yaml"), tmp_path / "again", base=found.folder)


@pytest.mark.thorough
def test_files_names_and_mappings_give_the_same_run(tmp_path):
    (tmp_path / "small.yaml").write_text(
        "problems: [{task: xor, topology: 2-3-2}]\nunroll: {steps: 2, batch_size: 8, query_size: 16}\n"
        "training: {meta_steps: 4, interval: 2, validate_every: 2, genomes: 1, validation_episodes: 1}\n"
    )
    graph = nx.DiGraph(ng.load_topology("2-3-2").to_networkx())
    changes = {"training.genomes": 1, "seed": 3}
    objects = ng.meta_train(SMALL | {"problems": [{"task": ng.get_task("xor"), "topology": graph}]}, changes=changes)
    names = ng.meta_train(SMALL | {"problems": [{"task": "xor", "topology": "2-3-2"}]}, changes=changes)
    file = ng.meta_train(tmp_path / "small.yaml", changes={"seed": 3})
    assert same(objects.genome, names.genome)
    assert same(file.genome, names.genome)
    assert names.spec.seed == file.spec.seed == 3
    assert names.rule == ng.load_genome_file("digits").rule  # of a document that says neither rule nor start
    assert names.folder is None


@pytest.mark.thorough
def test_evolution_with_workers_from_a_start_that_is_an_object():
    start = ng.load_genome_file("functions")
    training = {"population": 4, "meta_steps": 1, "sigma": 1e-6, "validation_episodes": 1}
    asked = document(start={"genome": start}, training=training)
    found = ng.evolve(asked, workers=1)
    assert found.summary["method"] == "cma"
    np.testing.assert_allclose(found.genome.forward_transform, start.genome.forward_transform, atol=1e-4)
    assert same(found.genome, ng.evolve(asked).genome)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (3, "experiment: got int; expected a file, a shipped name, a mapping, or an ExperimentSpec"),
        (
            {"problems": [{"task": 3, "topology": "2-3-2"}]},
            "task: got int; expected a name with its options, a mapping of these",
        ),
        ({"problems": [{"task": "xor", "topology": 3.0}]}, "topology: got float; expected a shipped name, a file, layer widths"),
        ({"problems": [{"task": "xor", "topolgy": "2-3-2"}]}, r"experiment at problems\[0\]\.topolgy: unknown key.*'topology'"),
        ({"problems": [{"task": "xor", "topology": "2-3-2"}], "start": {"genome": ng.Genome}}, "genome: got type; expected"),
        ("digitz", "did you mean 'digits'"),
        ({}, "missing key `problems`"),
    ],
)
def test_what_is_no_experiment_is_named(asked, message):
    with pytest.raises(ng.NeurographError, match=f"(?s){message}"):
        ng.meta_train(asked)


def test_a_change_that_fits_nothing_is_named():
    with pytest.raises(ng.ExperimentError, match=r"changes\['problems\.7\.task'\]: nothing at '7'"):
        ng.meta_train(document(), changes={"problems.7.task": "xor"})
    with pytest.raises(ng.ExperimentError, match=r"method: got 'gradient'; evolve runs cma, es, pes \(see meta_train\)"):
        ng.evolve("functions")
