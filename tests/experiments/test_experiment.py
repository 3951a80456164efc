"""Experiments: files, runs, resume. Small on purpose: what is tested is that nothing is lost and nothing changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from meta_runs import TWO, numbers, write_experiments

import neurograph as ng
from neurograph.experiments.spec import dump_experiment, experiment_names, load_experiment
from neurograph.experiments.train import meta_train
from neurograph.topology import load_topology

TINY = """
name: tiny
seed: 3
rule: {states: 2, normalization: batch, batch_reduction: mean, initial_deviation: fan_in}
start: {arrays: {synapse_update: 0.3}}
problems:
  - {task: xor, topology: two.yaml}
  - {task: and, topology: two.yaml}
unroll: {steps: 3, batch_size: 8, query_size: 16, grow_by: 1, grow_every: 4, max_steps: 5}
training: {meta_steps: 8, genomes: 2, screen: 4, interval: 2, validate_every: 4, validation_episodes: 2, replace: 1}
"""
FUNCTIONS = ("and", "or", "xor", "nxor", "moons", "circle", "square", "qand")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "two.yaml").write_text(TWO)
    return tmp_path


def genome_of(run: Path) -> str:
    return json.dumps(json.loads((run / "genome.json").read_text())["arrays"])


@pytest.mark.thorough
def test_a_stopped_run_resumes_to_the_same_result_bit_for_bit(folder: Path):
    spec = load_experiment(folder / "tiny.yaml")
    whole, parts = folder / "whole", folder / "parts"
    meta_train(spec, whole, base=folder)

    class Stop(Exception):
        pass

    def stop_at(step: int):
        def progress(record):
            if record["step"] == step and "loss" in record:
                raise Stop

        return progress

    for step in (2, 6, 8):  # the last is stopped after its record and before its checkpoint
        with pytest.raises(Stop):
            meta_train(spec, parts, base=folder, resume=True, progress=stop_at(step))
    meta_train(spec, parts, base=folder, resume=True)
    assert numbers(parts) == numbers(whole)
    assert genome_of(parts) == genome_of(whole)
    assert [r["unroll"] for r in numbers(whole) if "unroll" in r] == [3, 3, 4, 4]


@pytest.mark.thorough  # a process of its own
def test_random_graphs_go_on_to_the_same_result_after_kill_9(folder: Path):
    write_experiments(folder)
    file, killed = folder / "random-es.yaml", folder / "killed"
    spec = load_experiment(file)
    program = f"""
import os, signal
from pathlib import Path
from neurograph.experiments.spec import load_experiment
from neurograph.experiments.train import meta_train
def progress(record):
    if record["step"] == 4 and "loss" in record:
        os.kill(os.getpid(), signal.SIGKILL)
meta_train(load_experiment({str(file)!r}), Path({str(killed)!r}), base=Path({str(folder)!r}), progress=progress)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    assert not (killed / "genome.json").exists()
    meta_train(spec, killed, base=folder, resume=True)
    meta_train(spec, folder / "whole", base=folder)
    assert numbers(killed) == numbers(folder / "whole")
    assert genome_of(killed) == genome_of(folder / "whole")


BEST = ("training.keep=best", "training.validate_every=2", "training.learning_rate=0.3", "training.meta_steps=24")


@pytest.mark.thorough
def test_the_best_genome_is_kept_when_training_turns_bad(folder: Path):
    """With a rate that ruins genomes: the result is that of the best validation at the last unroll length, stopped or not."""
    spec = load_experiment(folder / "tiny.yaml", (*BEST, "training.replace=0", "training.genomes=1"))
    whole, parts = folder / "whole", folder / "parts"
    genome, _ = meta_train(spec, whole, base=folder)
    found = {r["step"]: r["validation"]["accuracy"][0] for r in numbers(whole) if "validation" in r}
    at_length = {step: accuracy for step, accuracy in found.items() if spec.unroll.length(step - 1) == 5}
    summary = json.loads((whole / "summary.json").read_text())
    best = max(at_length, key=lambda step: at_length[step])
    assert at_length[best] > at_length[24], "the rate is meant to ruin the genome"
    assert summary["chosen_at"] == best
    assert np.mean(summary["validation"]["accuracy"]) == pytest.approx(at_length[best], abs=1e-4)

    class Stop(Exception):
        pass

    for step in (6, 14, 24):

        def stop(record, step=step):
            if record["step"] == step and "validation" in record:
                raise Stop

        with pytest.raises(Stop):
            meta_train(spec, parts, base=folder, resume=True, progress=stop)
    meta_train(spec, parts, base=folder, resume=True)
    assert genome_of(parts) == genome_of(whole)
    assert numbers(parts) == numbers(whole)
    np.testing.assert_array_equal(genome.forward_transform, ng.load_genome_file(parts / "genome.json").genome.forward_transform)


def test_run_folder(folder: Path):
    spec = load_experiment(folder / "tiny.yaml", ("training.meta_steps=2", "training.genomes=1", "training.screen=0"))
    run = folder / "run"
    genome, rule = meta_train(spec, run, base=folder)
    saved = ng.load_genome_file(run / "genome.json")
    assert saved.rule == rule
    for ours, theirs in zip(saved.genome.to_dict().values(), genome.to_dict().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["meta_steps"] == 2
    assert len(summary["validation"]["accuracy"]) == 2
    assert load_experiment(run / "config.yaml") == spec
    assert json.loads((run / "environment.json").read_text())["packages"]["jax"]
    with pytest.raises(ng.ExperimentError, match="not empty; continue it with --resume"):
        meta_train(spec, run, base=folder)


def test_a_checkpoint_of_another_configuration_is_refused_with_the_difference(folder: Path):
    run = folder / "run"
    short = ("training.meta_steps=2", "training.genomes=1", "training.screen=0")
    meta_train(load_experiment(folder / "tiny.yaml", short), run, base=folder)
    other = load_experiment(folder / "tiny.yaml", (*short, "training.learning_rate=0.5"))
    with pytest.raises(ng.ExperimentError, match=r"training\.learning_rate: was 0\.01, now 0\.5"):
        meta_train(other, run, base=folder, resume=True)
    raw = (run / "checkpoint").read_bytes()
    (run / "checkpoint").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(ng.ExperimentError, match="damaged"):
        meta_train(load_experiment(folder / "tiny.yaml", short), run, base=folder, resume=True)


def test_faults_of_a_file_are_told_at_once_with_their_lines(folder: Path):
    path = folder / "bad.yaml"
    path.write_text(
        TINY.replace("seed: 3", "seed: -3").replace("batch_size: 8", "batchsize: 8").replace("interval: 2", "interval: two")
    )
    with pytest.raises(ng.SpecError) as caught:
        load_experiment(path)
    text = str(caught.value)
    assert f"{path}:3:7 at seed: got -3; expected an integer >= 0." in text
    assert ":9:20 at unroll.batchsize: unknown key; did you mean 'batch_size'?" in text
    assert "got 'two'; expected an integer" in text
    assert len(caught.value.faults) == 3


def test_faults_of_a_method_are_told_with_what_the_method_allows(folder: Path):
    path = folder / "bad.yaml"
    training = TINY[TINY.index("training:") :]
    path.write_text(TINY.replace(training, "training: {method: cma, popuation: 8, learning_rate: 1, sigma: -1}"))
    with pytest.raises(ng.SpecError) as caught:
        load_experiment(path)
    text = str(caught.value)
    assert f"{path}:10:25 at training.popuation: unknown key for method 'cma'; did you mean 'population'?" in text
    assert "10:39 at training.learning_rate: unknown key for method 'cma'; allowed: " in text
    assert "at training.sigma: got -1; expected a number > 0" in text
    path.write_text(TINY.replace(training, "training: {method: cmaes}"))
    with pytest.raises(ng.SpecError, match=r":10:20 at training\.method: got 'cmaes'; did you mean 'cma'\?"):
        load_experiment(path)
    path.write_text(TINY.replace(training, "training: [1]"))
    with pytest.raises(ng.SpecError, match=r"at training: got a list; expected a mapping"):
        load_experiment(path)
    path.write_text(TINY.replace(training, "training: {method: es, population: 5}"))
    with pytest.raises(ng.SpecError, match="population: 5 is odd; method es needs mirrored pairs"):
        load_experiment(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rule.states=1", "rule: states: 1 leaves no state 1"),
        ("rule.symetric=true", "symetric: unknown option of a rule; did you mean 'symmetric'"),
        ("problems.0.task=xorr", r"problems\[0\].task: .*xorr"),
        ("problems.1.topology=nowhere", r"problems\[1\].topology: .*no shipped topology of that name"),
        ("problems.0.task=digits", "has 64 inputs and 10 outputs; the topology .* has 2 and 2"),
        ("start.arrays.synapse_updat=1", "synapse_updat: unknown array; did you mean 'synapse_update'"),
        ("start.genome=nothing", "start.genome: nothing: no such file"),
    ],
)
def test_what_does_not_exist_or_fit_is_named(folder: Path, override: str, message: str):
    with pytest.raises(ng.ExperimentError, match=message):
        meta_train(load_experiment(folder / "tiny.yaml", (override,)), folder / "run", base=folder)


def test_overrides_that_make_no_sense():
    with pytest.raises(ng.ExperimentError, match="expected key=value"):
        load_experiment("digits", ("training",))
    with pytest.raises(ng.ExperimentError, match="did you mean 'digits'"):
        load_experiment("digitz")


@pytest.mark.parametrize("name", experiment_names())
def test_shipped_experiments_are_whole(name: str):
    spec = load_experiment(name)
    assert spec.name == name
    ng.Rule.from_dict(spec.rule)
    for item in spec.problems:
        topology = load_topology(item.topology)
        try:
            task = ng.get_task(item.task, **item.options)
        except (ng.TaskError, ng.MissingExtraError):
            assert item.task not in ("digits", *FUNCTIONS)  # only data that is not embedded may be missing
            continue
        assert (len(topology.inputs), len(topology.outputs)) == (task.num_inputs, task.num_outputs)
    for topology in spec.transfer.topologies:
        load_topology(topology)
    assert "\n" in dump_experiment(spec)
