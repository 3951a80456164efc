"""Runs that are killed, resumed, watched: nothing is lost, nothing changes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
import pytest
from harness import rest_is_thorough
from meta_runs import METHODS, RANDOM_METHODS, genome_of, numbers, write_experiments

import neurograph as ng
from neurograph.experiments.spec import load_experiment
from neurograph.experiments.train import meta_train
from neurograph.experiments.transfer.cells import FIRST_OPTIONS, genome_key
from neurograph.meta import gradient

PROGRAM = Path(__file__).parents[1] / "meta_runs.py"


class Stop(Exception):
    pass


def opened(checkpoint: Path) -> tuple[dict, bytes]:
    """The header and the arrays of a checkpoint."""
    header, _, body = checkpoint.read_bytes().partition(b"\n")
    return json.loads(header), body


def write_first_version(checkpoint: Path, header: dict, body: bytes) -> None:
    """A checkpoint as version 1 of the format was: no environment, and a checksum of the arrays alone."""
    header = {name: value for name, value in header.items() if name != "environment"}
    header |= {"version": 1, "sha256": hashlib.sha256(body).hexdigest()}
    checkpoint.write_bytes(json.dumps(header).encode() + b"\n" + body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_experiments(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", rest_is_thorough([*METHODS, *RANDOM_METHODS], "gradient", slow=RANDOM_METHODS))
def test_a_stopped_run_resumes_bit_for_bit(name: str, folder: Path):
    """In one process, so that it is quick: stopped between a record and its checkpoint, where most could go wrong."""
    spec = load_experiment(folder / f"{name}.yaml")
    meta_train(spec, folder / "whole", base=folder)
    for step in (2, 8, 10):

        def stop(record, step=step):
            if record["step"] == step:
                raise Stop

        with pytest.raises(Stop):
            meta_train(spec, folder / "parts", base=folder, resume=True, progress=stop)
    meta_train(spec, folder / "parts", base=folder, resume=True)
    assert numbers(folder / "parts") == numbers(folder / "whole")
    assert genome_of(folder / "parts") == genome_of(folder / "whole")


@pytest.mark.thorough
@pytest.mark.parametrize("name", rest_is_thorough(["gradient", "pes", "cma"], "cma", slow=["pes"]))
def test_kill_minus_nine_at_any_moment_loses_at_most_an_interval(name: str, folder: Path, tmp_path_factory):
    moments, lines = random.Random(name), 0
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "programs")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0"}
    run = folder / f"{name}-run"
    for _ in range(3):
        command = [sys.executable, str(PROGRAM), str(folder), "0", name]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(moments.randint(1, 3)):
            process.stdout.readline()
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.communicate()
        before = lines
        if (run / "checkpoint").exists():
            with (run / "checkpoint").open("rb") as stream:
                lines = json.loads(stream.readline())["extra"]["lines"]
            told = (run / "metrics.jsonl").read_text().count("\n")
            assert told - 2 <= lines <= told  # an interval is a record, with a validation at its end two
        assert lines >= before
    spec = load_experiment(folder / f"{name}.yaml")
    meta_train(spec, run, base=folder, resume=True)
    meta_train(spec, folder / "whole", base=folder)
    assert numbers(run) == numbers(folder / "whole")
    assert genome_of(run) == genome_of(folder / "whole")


@pytest.mark.thorough
def test_a_curriculum_compiles_once_and_goes_on_from_the_best(folder: Path):
    gradient._advance.clear_cache()
    spec = load_experiment(folder / "gradient.yaml")
    meta_train(spec, folder / "run", base=folder)
    records = numbers(folder / "run")
    assert [r["unroll"] for r in records if "unroll" in r] == [2, 2, 3, 3, 4, 4]
    assert gradient._advance._cache_size() == 1
    for record in records:
        if "parents" in record:
            assert len(set(record["parents"])) == 1
            scores = record["validation"]
            assert record["parents"][0] == int(np.lexsort((scores["loss"], -np.array(scores["accuracy"])))[0])


@pytest.mark.thorough
def test_an_older_checkpoint_without_a_key_that_has_a_default_is_continued(folder: Path):
    spec = load_experiment(folder / "gradient.yaml", ("training.meta_steps=2",))
    meta_train(spec, folder / "run", base=folder)
    header, body = opened(folder / "run/checkpoint")
    del header["config"]["training"]["method"], header["config"]["unroll"]["truncation"]
    write_first_version(folder / "run/checkpoint", header, body)
    meta_train(spec, folder / "run", base=folder, resume=True)
    other = load_experiment(folder / "gradient.yaml", ("training.meta_steps=2", "unroll.loss=steps"))
    with pytest.raises(ng.ExperimentError, match=r"unroll\.loss: was null, now \"steps\""):
        meta_train(other, folder / "run", base=folder, resume=True)


@pytest.mark.parametrize("name", rest_is_thorough(["gradient", "pes", "cma"], "cma", slow=["pes"]))
def test_a_finished_run_can_be_prolonged_as_if_it_had_been_that_long_at_once(name: str, folder: Path):
    """Unless its meta-steps depend on how many there will be: a rate that falls to the end, selection."""
    common = ("training.validate_every=4", *(("training.replace=0",) if name != "cma" else ()))
    long, short = (load_experiment(folder / f"{name}.yaml", (*common, f"training.meta_steps={n}")) for n in (8, 4))
    meta_train(long, folder / "whole", base=folder)
    for spec in (short, long):
        meta_train(spec, folder / "parts", base=folder, resume=True)
    assert numbers(folder / "parts") == numbers(folder / "whole")
    assert genome_of(folder / "parts") == genome_of(folder / "whole")
    with pytest.raises(ng.ExperimentError, match=r"training\.meta_steps: was 8, now 4"):
        meta_train(short, folder / "parts", base=folder, resume=True)


@pytest.mark.thorough
def test_a_run_whose_rate_falls_to_its_end_is_not_prolonged(folder: Path):
    falling = ("training.final_learning_rate=0.001", "training.replace=0")
    short, long = (load_experiment(folder / "gradient.yaml", (*falling, f"training.meta_steps={n}")) for n in (2, 4))
    meta_train(short, folder / "run", base=folder)
    with pytest.raises(ng.ExperimentError, match=r"training\.meta_steps: was 2, now 4"):
        meta_train(long, folder / "run", base=folder, resume=True)


def test_event_files_say_what_the_metrics_say(folder: Path):
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    spec = load_experiment(folder / "cma.yaml", ("tensorboard=true", "training.meta_steps=4"))

    def stop(record):
        raise Stop

    with pytest.raises(Stop):
        meta_train(spec, folder / "run", base=folder, progress=stop)
    time.sleep(1.1)  # the names of event files count seconds
    meta_train(spec, folder / "run", base=folder, resume=True)
    events = accumulator.EventAccumulator(str(folder / "run/tensorboard"))
    events.Reload()
    records = [r for r in numbers(folder / "run") if "loss" in r]
    found = {event.step: event.value for event in events.Scalars("training/loss/genome_0")}
    assert list(found) == [r["step"] for r in records]
    np.testing.assert_allclose(list(found.values()), [r["loss"][0] for r in records], rtol=1e-6)
    assert [event.step for event in events.Scalars("validation/accuracy/genome_0")] == [4]


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("cma", "unroll.truncation=2", "unroll.truncation: has no meaning for training.method: cma"),
        ("pes", "unroll.truncation=3", "truncation: 3 does not divide steps: 4"),
        ("gradient", "unroll.max_steps=1", "max_steps: 1 is less than steps: 2"),
        ("pes", "training.population=5", "even population"),
        ("pes", "training.fields=[keep]", "keep: no array of a genome"),
        ("cma", "training.scales={keep: 1}", "keep: no array of a genome"),
    ],
)
def test_options_that_do_not_fit_are_named(name: str, override: str, message: str, folder: Path):
    with pytest.raises(ng.NeurographError, match=message):
        meta_train(load_experiment(folder / f"{name}.yaml", (override,)), folder / "run", base=folder)


def _forget(checkpoint: Path, names: set[str]) -> None:
    """Rewrites a checkpoint as a version without these arrays of a genome wrote it."""
    header, body = opened(checkpoint)
    with np.load(io.BytesIO(body)) as arrays:
        kept = {place: arrays[place] for place in arrays.files if place.rpartition(".")[2] not in names}
        assert len(kept) < len(arrays.files)
    buffer = io.BytesIO()
    np.savez(buffer, **kept)
    write_first_version(checkpoint, header, buffer.getvalue())


@pytest.mark.parametrize("name", rest_is_thorough(["gradient", "cma"], "cma"))
def test_a_run_begun_before_an_array_without_effect_came_goes_on_to_the_same_result(tmp_path: Path, name: str):
    write_experiments(tmp_path)
    spec = load_experiment(tmp_path / f"{name}.yaml", ("training.meta_steps=6", "training.validate_every=4"))

    def stop(record):
        if record["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meta_train(spec, tmp_path / "run", base=tmp_path, progress=stop)
    shutil.copytree(tmp_path / "run", tmp_path / "old")
    _forget(tmp_path / "old/checkpoint", {"damping", "trace_keep"})
    for folder in ("run", "old"):
        meta_train(spec, tmp_path / folder, base=tmp_path, resume=True)
    assert genome_of(tmp_path / "old") == genome_of(tmp_path / "run")
    assert numbers(tmp_path / "old") == numbers(tmp_path / "run")
    _forget(tmp_path / "old/checkpoint", {"synapse_keep"})
    with pytest.raises(ng.ExperimentError, match=r"holds other arrays.*synapse_keep"):
        meta_train(spec, tmp_path / "old", base=tmp_path, resume=True)


def test_options_that_came_later_are_in_the_key_of_a_cell_where_they_have_an_effect():
    rule = ng.Rule()
    genome = ng.Genome.near_backprop(jax.random.key(0), rule)
    key = genome_key(genome, rule)
    assert key is not None
    assert {*key["rule"]} == FIRST_OPTIONS
    assert genome_key(genome.replace(damping=0.5), rule) == key
    damped = rule.replace(learned_damping=True)
    assert genome_key(genome, damped) != key
    assert genome_key(genome.replace(damping=0.5), damped) != genome_key(genome, damped)


@pytest.mark.thorough
def test_a_run_begun_in_another_precision_is_refused_or_told(folder: Path):
    spec = load_experiment(folder / "cma.yaml", ("training.meta_steps=4", "training.validate_every=4"))

    def stop(record):
        if record["step"] == 4:
            raise Stop

    with jax.enable_x64(True), pytest.raises(Stop):
        meta_train(spec, folder / "run", base=folder, progress=stop)
    with pytest.raises(ng.ExperimentError, match=r'checkpoint: precision: was "float64", now "float32"'):
        meta_train(spec, folder / "run", base=folder, resume=True)
    meta_train(spec, folder / "run", base=folder, resume=True, allow_changes=True)
    assert json.loads((folder / "run/summary.json").read_text())["changes"] == ['precision: was "float64", now "float32"']


def test_metrics_that_are_lost_are_told_and_the_genome_is_the_same(folder: Path, caplog):
    spec = load_experiment(folder / "cma.yaml", ("training.validate_every=12",))
    meta_train(spec, folder / "whole", base=folder)
    assert "lost_metrics" not in json.loads((folder / "whole/summary.json").read_text())

    def stop(record):
        if record["step"] == 8:
            raise Stop

    with pytest.raises(Stop):
        meta_train(spec, folder / "run", base=folder, progress=stop)
    records = (folder / "run/metrics.jsonl").read_bytes()
    (folder / "run/metrics.jsonl").write_bytes(records[: records.index(b"\n") + 9])  # a line and a torn one, of three
    for options in ({"progress": stop}, {}):  # stopped again after a record that no checkpoint has seen
        caplog.clear()
        with pytest.raises(Stop) if options else nullcontext():
            meta_train(spec, folder / "run", base=folder, resume=True, **options)
        assert "run/metrics.jsonl: 2 of the 3 lines before the checkpoint are missing" in caplog.text
    assert genome_of(folder / "run") == genome_of(folder / "whole")
    assert numbers(folder / "run") == [numbers(folder / "whole")[0], *numbers(folder / "whole")[3:]]
    assert json.loads((folder / "run/summary.json").read_text())["lost_metrics"] == 2


def test_a_file_that_is_not_the_best_genome_of_a_run_is_refused(folder: Path):
    spec = load_experiment(folder / "cma.yaml", ("training.meta_steps=2", "training.validate_every=2", "training.keep=best"))
    meta_train(spec, folder / "run", base=folder)
    file = ng.load_genome_file(folder / "run/best.json")
    ng.save_genome(folder / "run/best.json", file.genome, file.rule, {"step": 2})
    with pytest.raises(ng.ExperimentError, match=r"best\.json at card: lacks accuracy, chosen, length, loss"):
        meta_train(spec, folder / "run", base=folder, resume=True)
