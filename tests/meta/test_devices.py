"""A population over two devices, and over two processes, is the population of one device."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import rest_is_thorough
from meta_runs import genome_of, numbers, write_experiments
from worker_tasks import Reversed

import neurograph as ng
from neurograph.experiments.spec import load_experiment
from neurograph.experiments.train import meta_train
from neurograph.meta import connect_hosts, device_mesh

PROGRAM = Path(__file__).parents[1] / "meta_runs.py"


def start(folder: Path, devices: int, names: tuple[str, ...], **environment: str) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    write_experiments(folder)
    command = [sys.executable, str(PROGRAM), str(folder), str(devices), *names]
    return subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> None:
    text = process.communicate()[0]
    assert process.returncode == 0, text


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Runs of one device, each when it is asked for: the folder that they are in, by their names."""
    folder = tmp_path_factory.mktemp("alone")
    write_experiments(folder)

    def run(*names: str) -> Path:
        for name in names:
            meta_train(load_experiment(folder / f"{name}.yaml"), folder / f"{name}-run", base=folder, resume=True)
        return folder

    return run


def compare(folder: Path, alone: Path, names: tuple[str, ...]) -> None:
    for name in names:
        ours, theirs = folder / f"{name}-run", alone / f"{name}-run"
        if name == "pes":  # the sum over pairs is compiled into another loop: equal to rounding
            for one, other in zip(numbers(ours), numbers(theirs), strict=True):
                if "loss" in one:
                    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-4)
            for array, value in genome_of(ours).items():
                np.testing.assert_allclose(value, genome_of(theirs)[array], rtol=1e-3, atol=1e-4)
        else:
            assert numbers(ours) == numbers(theirs)
            assert genome_of(ours) == genome_of(theirs)


@pytest.mark.thorough
@pytest.mark.parametrize("name", rest_is_thorough(["gradient", "pes", "cma"], "cma", slow=["pes"]))
def test_two_devices_are_one(name: str, alone, tmp_path: Path):
    """Three genomes and seven individuals do not divide by two: the rest is filled up."""
    finish(start(tmp_path, 2, (name,), XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"))
    compare(tmp_path, alone(name), (name,))


@pytest.mark.thorough
def test_two_processes_are_one(alone, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    names = ("gradient", "cma")
    common = {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2"}
    processes = [start(tmp_path, 0, names, JAX_PROCESS_ID=str(number), **common) for number in range(2)]
    try:
        for process in processes:
            finish(process)
    finally:
        for process in processes:
            process.kill()
    compare(tmp_path, alone(*names), names)


@pytest.mark.parametrize("name", rest_is_thorough(["pes", "cma"], slow=["pes"]))
def test_parts_whose_answers_come_in_any_order_are_the_whole(name: str, alone, tmp_path: Path):
    """Particles and individuals in parts of two, as workers compute them; to the bit, those of pes as well."""
    write_experiments(tmp_path)
    meta_train(load_experiment(tmp_path / f"{name}.yaml"), tmp_path / name, base=tmp_path, executor=Reversed())
    run = alone(name) / f"{name}-run"
    assert numbers(tmp_path / name) == numbers(run)
    assert genome_of(tmp_path / name) == genome_of(run)


def test_what_the_environment_says_of_other_processes_is_checked():
    assert not connect_hosts({})
    assert not connect_hosts({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"})  # an allocation, not a step of it
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "a", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert not connect_hosts(step | {"SLURM_NTASKS": "1"})
    with pytest.raises(ng.ExperimentError, match=r"JAX_NUM_PROCESSES set, but not JAX_COORDINATOR_ADDRESS, JAX_PROCESS_ID"):
        connect_hosts({"JAX_NUM_PROCESSES": "2"})
    three = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
    with pytest.raises(ng.ExperimentError, match="JAX_PROCESS_ID: got 2; expected 0 to 1"):
        connect_hosts(three | {"JAX_PROCESS_ID": "2"})
    with pytest.raises(ng.ExperimentError, match="expected integers"):
        connect_hosts(three | {"JAX_NUM_PROCESSES": "two"})
    with pytest.raises(ng.ExperimentError, match="got 'a'; expected host:port"):
        connect_hosts(three | {"JAX_COORDINATOR_ADDRESS": "a"})


def test_more_devices_than_there_are():
    assert device_mesh() is None
    with pytest.raises(ng.ExperimentError, match=r"devices: got 64; there .* start a new process"):
        device_mesh(64)
