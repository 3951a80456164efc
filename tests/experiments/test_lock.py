"""One writer per folder: who comes second is told who was first; what the dead leave is taken over and cleared away."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from meta_runs import write_experiments

import neurograph as ng
from neurograph.cli import run
from neurograph.experiments.folder import lock
from neurograph.experiments.folder.lock import check_lock, locked
from neurograph.experiments.spec import load_experiment
from neurograph.experiments.train import meta_train
from neurograph.files import remove_leftovers

HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from neurograph.experiments.folder.lock import locked
with locked(Path(sys.argv[1])):
    if "children" in sys.argv:
        subprocess.Popen(["sleep", "60"])
        if not os.fork():
            time.sleep(60)
            os._exit(0)
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path: Path):
    """Starts processes that hold the lock of a folder until they read a line."""
    started: list[subprocess.Popen] = []

    def start(*words: str, folder: Path = tmp_path) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(folder), *words]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(command, **pipes, text=True, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def held(process: subprocess.Popen) -> subprocess.Popen:
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def claim(folder: Path, silent_for: float = 0, **changes) -> None:
    """A lock file without a lock behind it."""
    holder = {"host": "elsewhere", "pid": 4711, "since": "2026-01-02 03:04:05+00:00", "boot": "b", "started": "1"}
    (folder / lock.FILE).write_text(json.dumps(holder | changes))
    then = time.time() - silent_for
    os.utime(folder / lock.FILE, (then, then))


def mine() -> dict:
    return {"host": lock._myself().host, "boot": lock._myself().boot}


def test_the_second_process_is_told_who_holds_the_folder(tmp_path: Path, other, caplog):
    first = held(other())
    with pytest.raises(ng.ExperimentError) as caught, locked(tmp_path):
        pass
    text = str(caught.value)
    me = lock._myself()
    assert text.startswith(f"{tmp_path}: in use by process {first.pid} on {me.host}, since {me.since[:10]}")
    assert text.endswith("; wait for it, end it, or choose another folder (--out)")
    assert "\n" not in text
    first.communicate("\n")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        assert lock._holder(tmp_path / lock.FILE).pid == os.getpid()
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""


def test_what_kill_minus_nine_leaves_is_taken_over_at_once(tmp_path: Path, other, caplog):
    first = held(other())
    first.kill()
    first.wait()
    leftover = tmp_path / ".checkpoint.ab12cd_9.neurograph"
    leftover.write_text("half")
    with locked(tmp_path):
        assert not leftover.exists()
    assert f"{tmp_path}: taken over from process {first.pid} on {lock._myself().host}, since" in caplog.text
    assert "which has ended" in caplog.text


def test_of_many_that_come_at_once_one_gets_it(tmp_path: Path, other):
    processes = [other() for _ in range(4)]
    while sum(process.poll() is None for process in processes) > 1:
        time.sleep(0.05)
    winner = next(process for process in processes if process.poll() is None)
    held(winner)
    assert all("in use by process" in process.stderr.read() for process in processes if process is not winner)


def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path, other, caplog):
    first = held(other("children"))
    first.kill()
    first.wait()
    for patience in range(200):  # a child lets go as soon as it runs
        try:
            with locked(tmp_path):
                break
        except ng.ExperimentError:
            assert patience < 199
            time.sleep(0.1)
    assert "has ended" in caplog.text


def test_the_thread_that_holds_it_may_take_it_again_and_no_other(tmp_path: Path):
    told = []

    def again():
        try:
            with locked(tmp_path):
                told.append("held")
        except ng.ExperimentError as error:
            told.append(str(error))

    with locked(tmp_path):
        with locked(tmp_path / ".." / tmp_path.name):
            pass
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
        assert (tmp_path / lock.FILE).exists()
    assert f"in use by process {os.getpid()} on" in told[0]


@pytest.mark.parametrize("kernel", [True, False])
def test_a_holder_elsewhere_counts_as_alive_until_it_is_silent(tmp_path: Path, kernel: bool, monkeypatch, caplog):
    monkeypatch.setattr(lock, "_flock", lambda handle: kernel)
    claim(tmp_path, silent_for=lock.SILENCE - 60)
    with pytest.raises(ng.ExperimentError, match="in use by process 4711 on elsewhere, since 2026") as caught, locked(tmp_path):
        pass
    assert "5 minutes after its last sign of life it is taken over" in str(caught.value)
    claim(tmp_path, silent_for=lock.SILENCE + 61)
    with locked(tmp_path):
        assert "taken over from process 4711 on elsewhere" in caplog.text
        assert "has given no sign of life for 6 minutes" in caplog.text


def test_a_holder_elsewhere_is_waited_for_if_asked_and_one_on_this_machine_is_not(tmp_path: Path, monkeypatch, caplog):
    claim(tmp_path)
    monkeypatch.setattr(time, "sleep", lambda seconds: claim(tmp_path, silent_for=lock.SILENCE + 61))  # it falls silent
    with locked(tmp_path, patience=1000):
        assert "taken over from process 4711 on elsewhere" in caplog.text
    monkeypatch.setattr(lock, "_flock", lambda handle: False)
    claim(tmp_path, **mine(), pid=os.getpid(), started=lock._started(os.getpid()))
    with pytest.raises(ng.ExperimentError, match="in use"), locked(tmp_path, patience=1000):
        pass


def test_a_process_id_that_is_used_again_is_not_the_holder(tmp_path: Path, monkeypatch, caplog):
    """With locks of the kernel the id is not asked; without, when the process began."""
    claim(tmp_path, **mine(), pid=os.getpid(), started=lock._started(os.getpid()))
    with locked(tmp_path):
        assert "has ended" in caplog.text
    monkeypatch.setattr(lock, "_flock", lambda handle: False)
    claim(tmp_path, **mine(), pid=os.getpid(), started=lock._started(os.getpid()))
    with pytest.raises(ng.ExperimentError, match="in use"), locked(tmp_path):
        pass
    claim(tmp_path, **mine(), pid=os.getpid(), started="1")
    with locked(tmp_path):
        pass
    ended = subprocess.Popen(["true"])
    ended.wait()
    claim(tmp_path, **mine(), pid=ended.pid, started="")
    with locked(tmp_path):
        pass


def test_containers_of_one_machine_know_each_other(tmp_path: Path, caplog):
    claim(tmp_path, **mine() | {"host": "c0ffee"})
    with locked(tmp_path):
        assert "taken over from process 4711 on c0ffee" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"host": 1, "pid": 2, "since": ""}', "9" * 5000])
def test_a_lock_file_without_a_holder_is_nobody_s(tmp_path: Path, content: str, caplog):
    (tmp_path / lock.FILE).write_text(content)
    with locked(tmp_path):
        pass
    assert caplog.text == ""


def test_a_holder_that_was_taken_for_dead_writes_no_more(tmp_path: Path):
    with locked(tmp_path):
        check_lock(tmp_path)
        (tmp_path / lock.FILE).unlink()
        check_lock(tmp_path)
        claim(tmp_path)
        with pytest.raises(ng.ExperimentError, match=r"taken over by process 4711 on elsewhere.*writes no more"):
            check_lock(tmp_path)
    assert (tmp_path / lock.FILE).exists()  # it is not ours


def test_the_heartbeat_is_a_sign_of_life(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT", 0.02)
    with locked(tmp_path):
        os.utime(tmp_path / lock.FILE, (0, 0))
        for _ in range(500):
            if (tmp_path / lock.FILE).stat().st_mtime:
                break
            time.sleep(0.02)
        assert (tmp_path / lock.FILE).stat().st_mtime > 0
    assert not [thread for thread in threading.enumerate() if "_beat" in thread.name]


def test_folders_that_were_made_for_nothing_go_again(tmp_path: Path):
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]
    with pytest.raises(ng.ExperimentError, match="kept: not a folder"), locked(tmp_path / "a" / "kept"):
        pass


def test_only_temporary_files_of_ours_are_removed(tmp_path: Path):
    ours = [
        ".checkpoint.ab12cd_9",
        ".metrics.jsonl.zzzzzzzz",
        ".a b.yaml.12345678.neurograph",
        "plots/.x.svg.12345678.neurograph",
    ]
    others = [
        ".checkpoint",
        ".checkpoint.mine",
        ".vscode.settings",
        "checkpoint.ab12cd_9",
        ".x.12345678.neurograph.bak",
        ".lock2",
    ]
    others += ["deep/.x.12345678.neurograph", ".report.html.ABCDEFGH"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with locked(tmp_path):
        pass
    assert not [name for name in ours if (tmp_path / name).exists()]
    assert [name for name in others if (tmp_path / name).exists()] == others


def test_young_ones_are_left_where_others_may_write(tmp_path: Path):
    old, young = (tmp_path / f".cell.json.{name}.neurograph" for name in ("aaaaaaaa", "bbbbbbbb"))
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path, older_than=60)
    assert list(tmp_path.iterdir()) == [young]
    remove_leftovers(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "command",
    [
        ["meta-train", "functions", "--resume", "--out", "{folder}"],
        ["evolve", "mnist-cma", "--resume", "--out", "{folder}"],
        ["transfer", "functions", "-t", "mlp_2d_classes", "-k", "xor", "--out", "{folder}"],
        ["reproduce", "states", "--scale", "smoke", "--out", "{folder}/../.."],
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_writes_a_folder_is_refused_in_one_line(command, tmp_path, other, capsys, monkeypatch):
    folder = tmp_path / "smoke" / "states"
    folder.mkdir(parents=True)
    first = held(other(folder=folder))
    monkeypatch.delenv("NEUROGRAPH_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stopped:
        run([word.format(folder=folder) for word in command])
    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (2, "")
    assert err.count("\n") == 1
    assert re.match(rf"error: \S*smoke/states: in use by process {first.pid} on \S+, since .*; wait for it, end it, or", err), err
    assert [path.name for path in folder.iterdir()] == [lock.FILE]


def test_python_is_refused_as_well(tmp_path, other):
    held(other())
    write_experiments(tmp_path)
    with pytest.raises(ng.ExperimentError, match="in use by process"):
        meta_train(load_experiment(tmp_path / "cma.yaml"), tmp_path, base=tmp_path, resume=True)
