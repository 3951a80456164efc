"""Ctrl-C, SIGTERM, SIGHUP: one line that says where a command stopped and how to go on, once, and an exit code of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from harness import rest_is_thorough
from meta_runs import genome_of, numbers, write_experiments

from neurograph import cli
from neurograph.cli import run
from neurograph.cli.progress import RunProgress
from neurograph.cli.stopping import on_stop, signals_stop
from neurograph.experiments.transfer import units

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def _as_from_a_terminal():
    """What runs in the background, or under `nohup`, ignores some signals, and so do its children."""
    usual = {number: signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL for number in CODES}
    kept = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs the entry point in this process: (exit code, standard output, standard error)."""
    monkeypatch.delenv("NEUROGRAPH_DEBUG", raising=False)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            run(list(arguments))
        return int(stopped.value.code or 0), *capsys.readouterr()

    return invoke


def send(number: int, *words, **options):
    os.kill(os.getpid(), number)
    time.sleep(5)  # the signal comes first
    raise AssertionError("no signal")


@pytest.mark.parametrize("number", CODES)
def test_a_signal_is_one_line_and_an_exit_code(call, monkeypatch, number):
    @click.command()
    def command() -> None:
        with on_stop(lambda: "outside"), on_stop(lambda: "inside; go on so"):
            send(number)

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: command)
    before = [signal.getsignal(one) for one in CODES]
    assert call("plan") == (CODES[number], "", "stopped inside; go on so\n")
    assert [signal.getsignal(one) for one in CODES] == before


@pytest.mark.parametrize("before", [signal.SIG_IGN, print])
def test_a_signal_that_is_ignored_or_handled_stays_so(before):
    """`nohup` ignores SIGHUP."""
    kept = signal.signal(signal.SIGHUP, before)
    try:
        with signals_stop():
            assert signal.getsignal(signal.SIGHUP) is before
        assert signal.getsignal(signal.SIGHUP) is before
    finally:
        signal.signal(signal.SIGHUP, kept)


@pytest.mark.parametrize("number", rest_is_thorough(CODES, signal.SIGTERM))
def test_meta_training_says_where_it_stopped_and_goes_on_to_the_same_result(call, tmp_path, monkeypatch, number):
    write_experiments(tmp_path)
    words = ["evolve", str(tmp_path / "cma.yaml"), "--no-transfer", "--set", "training.meta_steps=6"]
    record = RunProgress.record

    def stopping(self, data):
        record(self, data)
        if data["step"] == 4 and "loss" in data:
            send(number)

    with monkeypatch.context() as patch:
        patch.setattr(RunProgress, "record", stopping)
        code, _, err = call(*words, "--out", str(tmp_path / "run"))
    assert code == CODES[number]
    expected = f"stopped after 4 of 6 generations; --out {tmp_path / 'run'} --resume goes on from the checkpoint after 2"
    assert err.splitlines()[-1] == expected
    assert err.count("stopped") == 1
    assert not [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    assert call(*words, "--out", str(tmp_path / "run"), "--resume")[0] == 0
    assert call(*words, "--out", str(tmp_path / "whole"))[0] == 0
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")
    assert genome_of(tmp_path / "run") == genome_of(tmp_path / "whole")


def test_before_the_first_checkpoint(call, tmp_path, monkeypatch):
    write_experiments(tmp_path)
    monkeypatch.setattr(RunProgress, "record", lambda self, data: send(signal.SIGTERM))
    code, _, err = call("evolve", str(tmp_path / "cma.yaml"), "--out", str(tmp_path / "run"))
    assert (code, err.count("stopped")) == (143, 1)
    assert err.endswith(f"stopped before the first checkpoint; --out {tmp_path / 'run'} --resume begins again\n")


def test_in_the_final_test(call, tmp_path, monkeypatch):
    write_experiments(tmp_path)
    monkeypatch.setattr("neurograph.workflows.meta_training.final_test", lambda *words, **options: send(signal.SIGTERM))
    words = ["evolve", str(tmp_path / "cma.yaml"), "--set", "training.meta_steps=2", "--set", "transfer.topologies=[two.yaml]"]
    code, _, err = call(*words, "--out", str(tmp_path / "run"))
    assert (code, err.count("stopped")) == (143, 1)
    expected = f"stopped in the final test, after all meta-steps; the genome is in {tmp_path / 'run' / 'genome.json'}, and --out"
    assert err.splitlines()[-1].startswith(expected)


def test_a_transfer_test(call, tmp_path, monkeypatch):
    monkeypatch.setattr(units, "_judged", lambda *words: send(signal.SIGTERM))
    words = ["transfer", "functions", "-t", "mlp_2d_classes", "-k", "xor", "--out", str(tmp_path / "out")]
    code, out, err = call(*words)
    place = "[1/2] xor on mlp_2d_classes: functions"
    expected = f"stopped at {place}; finished cells are in {tmp_path / 'out' / 'cells'}, and the same command goes on from there"
    assert (code, out, err.splitlines()) == (143, "", [place, expected])


def test_train(call, monkeypatch):
    monkeypatch.setattr("neurograph.experiments.transfer.curves.genome_curves", lambda *words, **options: send(signal.SIGHUP))
    code, out, err = call("train", "xor", "--genome", "functions")
    assert (code, out, err) == (129, "", "stopped before the end; train keeps nothing, the same command begins again\n")


def test_a_reproduction(call, tmp_path, monkeypatch):
    monkeypatch.setattr("neurograph.reproduce.run.Workbench", lambda *words, **options: send(signal.SIGTERM))
    code, out, err = call("reproduce", "states", "--scale", "smoke", "--out", str(tmp_path))
    place = tmp_path / "smoke"
    assert (code, out) == (143, "")
    assert err == f"stopped in states; what is finished is kept in {place}, and the same command goes on from there\n"


CHILDREN = """
import sys
import worker_tasks
from neurograph.cli.stopping import signals_stop
from neurograph.experiments.workers import make_executor

if __name__ == "__main__":
    with signals_stop(), make_executor(2) as executor:
        for task in executor.as_completed([executor.submit(worker_tasks.sleep, sys.argv[1]) for name in "ab"]):
            task.result()
"""


@pytest.mark.thorough
@pytest.mark.parametrize("number", rest_is_thorough([signal.SIGTERM, signal.SIGKILL], signal.SIGKILL))
def test_workers_end_with_their_parent(tmp_path: Path, number):
    (tmp_path / "program.py").write_text(CHILDREN)
    (tmp_path / "pids").mkdir()
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "pids")]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *(path for path in sys.path if path)])
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}) as parent:
        try:
            while len(children := [int(path.name) for path in (tmp_path / "pids").iterdir() if path.name.isdigit()]) < 2:
                assert parent.poll() is None
                time.sleep(0.1)
        finally:
            parent.send_signal(number)
        _, err = parent.communicate()
    assert number == signal.SIGKILL or re.search(r"\bStop\b", err)
    while alive := [pid for pid in children if Path(f"/proc/{pid}").exists() and "Z" not in status(pid)]:
        time.sleep(0.1)  # a test that hangs is a test that fails
    assert not alive


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
