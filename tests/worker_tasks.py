"""Tasks of the tests of workers, and a cluster of processes on loopback: a scheduler, and workers without nannies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    time.sleep(0.05)
    return square(number)


def scaled(numbers: list[int], factor: int) -> list[int]:
    return [factor * number for number in numbers]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    from neurograph.errors import TaskError

    raise TaskError("no data here")


def process() -> int:
    time.sleep(0.2)  # the next task finds this worker busy
    return os.getpid()


def cores() -> list[int]:
    time.sleep(0.2)
    return sorted(os.sched_getaffinity(0))


def wait_until_cancelled(started: str, ended: str) -> None:
    from neurograph.experiments.workers.worker import cancelled

    Path(started).touch()
    while not cancelled():
        time.sleep(0.05)
    Path(ended).touch()


def sleep(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(1000)


def exists(*places: Path | str) -> None:
    """Waits until files are there; a test that hangs is a test that fails."""
    while not all(Path(place).exists() for place in places):
        time.sleep(0.05)


class Reversed:
    """An executor in this process, whose answers come in the order of the last first."""

    workers = 1

    def __init__(self) -> None:
        from neurograph.experiments.workers import Here

        self._here = Here()

    def submit(self, function, *arguments, shared=None):
        return self._here.submit(function, *arguments, shared=shared)

    def as_completed(self, tasks):
        yield from reversed(tasks)

    def cancel(self) -> None:
        pass


@contextmanager
def loopback(folder: Path, workers: int) -> Iterator[tuple[str, subprocess.Popen, list[subprocess.Popen]]]:
    """Gives the address of a scheduler, its process and those of its workers, none of which is a child of Dask's."""
    file = folder / "scheduler.json"
    started = []

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:], "--scheduler-file", str(file)]
        paths = os.pathsep.join(path for path in sys.path if path)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, cwd=folder, **quiet))
        return started[-1]

    try:
        scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        exists(file)
        members = [start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(workers)]
        yield str(file), scheduler, members
    finally:
        for process in started:
            process.kill()
            process.wait()
