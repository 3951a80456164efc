"""Processes of one run meet in its folder: who is there goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from meta_runs import genome_of, numbers, write_experiments
from worker_tasks import exists

import neurograph as ng
from neurograph.cli.hosts import Meeting, supervised
from neurograph.experiments.folder.checkpoint import checkpoint_step


def meet(meeting: Meeting, expected: set[int], patience: float, found: dict) -> threading.Thread:
    def run() -> None:
        found[meeting.number] = meeting.meet(expected, patience)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_all_that_are_expected_form_a_group_whoever_comes_first(tmp_path: Path):
    found: dict = {}
    with Meeting(tmp_path, 2, 3, "c") as c, Meeting(tmp_path, 0, 3, "a") as a, Meeting(tmp_path, 1, 3, "b") as b:
        for thread in [meet(one, {0, 1, 2}, 1000, found) for one in (c, a, b)]:
            thread.join()
        assert found[0].members == (0, 1, 2)
        assert found[0] == found[1] == found[2]
        assert found[0].address.startswith("a:")
        again: dict = {}  # process 0 has gone: no token of before counts
        a.__exit__()
        for thread in [meet(one, {1, 2}, 1000, again) for one in (b, c)]:
            thread.join()
        assert again[1].members == again[2].members == (1, 2)
        assert again[1].address.startswith("b:")
    assert not (tmp_path / ".hosts").exists()


def test_who_never_comes_is_waited_for_no_longer_than_said(tmp_path: Path):
    with Meeting(tmp_path, 1, 2, "b") as meeting:
        group = meeting.meet({0, 1}, 0.5)
    assert group.members == (1,)


def test_who_has_died_is_not_waited_for(tmp_path: Path):
    """Its file is there, and old. In the beginning that is nothing: it may be of a run before."""
    with Meeting(tmp_path, 0, 2, "a") as meeting:
        assert meeting.meet({0}, 1000).members == (0,)
        dead = tmp_path / ".hosts" / "1.json"
        dead.write_text(json.dumps({"host": "b", "port": 1, "token": ""}))
        os.utime(dead, (0, 0))
        assert meeting.meet({0, 1}, 1000).members == (0,)


def test_a_single_process_and_a_child_compute_themselves(tmp_path: Path, monkeypatch):
    assert supervised(tmp_path, ["meta-train"]) is None
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    monkeypatch.setenv("NEUROGRAPH_HOSTS_TIMEOUT", "soon")
    with pytest.raises(ng.ExperimentError, match="NEUROGRAPH_HOSTS_TIMEOUT: got 'soon'; expected seconds"):
        supervised(tmp_path, ["meta-train"])
    monkeypatch.setenv("NEUROGRAPH_HOST", "0")
    assert supervised(tmp_path, ["meta-train"]) is None
    assert not (tmp_path / ".hosts").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_process_that_is_killed_is_one_line_and_the_other_goes_on_to_the_same_result(tmp_path: Path, victim):
    """Process 0 holds the lock, the checkpoint and the coordinator; process 1 nothing."""
    write_experiments(tmp_path)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    words = ["evolve", str(tmp_path / "cma.yaml"), "--no-transfer", "--set", "training.meta_steps=400"]
    run, processes = tmp_path / "run", []
    paths = os.pathsep.join(path for path in sys.path if path)
    for number in range(2):
        environment = {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)}
        command = [sys.executable, "-m", "neurograph", *words, "--out", str(run)]
        options = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        processes.append(subprocess.Popen(command, env=os.environ | environment | {"PYTHONPATH": paths}, **options))
    try:
        exists(run / "checkpoint")
        os.killpg(processes[victim].pid, signal.SIGKILL)  # parent and child, as when a machine is gone
        _, said = processes[1 - victim].communicate()
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
            process.wait()
            process.stderr.close()
    assert processes[1 - victim].returncode == 0, said
    assert f"process {victim} of 2: gone; going on from the checkpoint with those that are left: {1 - victim}" in said
    assert "Check failure" not in said
    assert "Traceback" not in said
    assert checkpoint_step(run / "checkpoint") == 400
    alone = [sys.executable, "-m", "neurograph", *words, "--out", str(tmp_path / "alone")]
    subprocess.run(alone, env=os.environ | {"PYTHONPATH": paths}, check=True, capture_output=True)
    assert numbers(run) == numbers(tmp_path / "alone")
    assert genome_of(run) == genome_of(tmp_path / "alone")
