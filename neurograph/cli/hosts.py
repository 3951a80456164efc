"""One run over several processes that may die: each is a parent that lives on, and a child that computes (`jax.distributed`).

When a process of `jax.distributed` dies, all others end, and those that wait for one that never comes abort. So the children come
and go, and their parents meet in the folder of the run, FOLDER/.hosts: who is there goes on, from the checkpoint.

A parent says that it lives by the time of its file there, N.json, set anew every `BEAT` seconds; and that it waits by a token in
it. The first of those that wait writes group.json, with the tokens of its members: it holds for nobody else. Who comes after that
finds the folder's lock taken.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError
from neurograph.experiments.folder.checkpoint import checkpoint_step
from neurograph.experiments.folder.run_folder import HOSTS as PLACE
from neurograph.files import append_line, write_atomically

__all__ = ["CHILD", "LOST", "Group", "Meeting", "as_child", "supervised"]

CHILD = "NEUROGRAPH_HOST"  # of a child: its number, as its parent was given it
LOG = "NEUROGRAPH_HOST_LOG"  # of a child: where what C++ says goes
PATIENCE = "NEUROGRAPH_HOSTS_TIMEOUT"  # seconds to wait for the others
BEAT, SILENCE = 2.0, 20.0  # seconds between signs of life; without one until a parent is taken for dead
LOST = 75  # exit code of a child whose peers are gone
TRIES = 3  # without a new checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """Processes that compute together: their numbers, the first of which is the coordinator at `address`."""

    members: tuple[int, ...]
    address: str


class Meeting:
    """A process among those of a run.

    Args:
      folder: of the run.
      number, count: of this process, of all.
      host: the name by which others reach this one.
      silence: seconds without a sign of life until another one is taken for dead.
    """

    def __init__(self, folder: Path, number: int, count: int, host: str, *, silence: float = SILENCE):
        self.place, self.number, self.count, self.host, self.silence = folder / PLACE, number, count, host, silence
        self._ended = threading.Event()
        self._beat: threading.Thread | None = None
        self._met = False

    def __enter__(self) -> Meeting:
        self.place.mkdir(parents=True, exist_ok=True)
        self._say("")
        self._beat = threading.Thread(target=self._live, daemon=True)
        self._beat.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.set()
        if self._beat:
            self._beat.join()
        with suppress(OSError):
            self._file(self.number).unlink()
            if not any(self._file(number).exists() for number in range(self.count)):
                (self.place / "group.json").unlink(missing_ok=True)
                self.place.rmdir()

    def meet(self, expected: set[int], patience: float) -> Group:
        """Waits until all expected ones (from the second time on: that live) are there, no longer than `patience` seconds."""
        token, until = uuid.uuid4().hex, time.monotonic() + patience
        self._say(token)
        while True:
            group = self._group()
            if group.get("tokens", {}).get(str(self.number)) == token:
                self._say("")
                self._met = True
                return Group(tuple(group["members"]), group["address"])
            waiting = {number: said for number, said in self._living().items() if said["token"] and number in expected}
            late = time.monotonic() >= until
            if waiting and min(waiting) == self.number and (late or not self._missing(expected, waiting)):
                self._found(waiting)
            time.sleep(min(0.2, self.silence / 10))

    def _missing(self, expected: set[int], waiting: dict[int, Any]) -> set[int]:
        """Returns those of the expected ones that may still come."""
        coming = expected & {*self._living()} if self._met else expected
        return coming - {*waiting}

    def _found(self, waiting: dict[int, Any]) -> None:
        first = waiting[min(waiting)]
        tokens = {str(number): said["token"] for number, said in waiting.items()}
        address = f"{first['host']}:{first['port']}"
        text = json.dumps({"members": sorted(waiting), "tokens": tokens, "address": address})
        write_atomically(self.place / "group.json", text)

    def _group(self) -> dict[str, Any]:
        return _read(self.place / "group.json") or {}

    def _living(self) -> dict[int, dict[str, Any]]:
        """Returns what those say that live, by the clock of the folder's file system."""
        found, now = {}, self._now()
        for number in range(self.count):
            with suppress(OSError):
                fresh = now - self._file(number).stat().st_mtime < self.silence
                if (said := _read(self._file(number))) and fresh:
                    found[number] = said
        return found

    def _now(self) -> float:
        with tempfile.TemporaryFile(dir=self.place) as now:
            return os.fstat(now.fileno()).st_mtime

    def _file(self, number: int) -> Path:
        return self.place / f"{number}.json"

    def _say(self, token: str) -> None:
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        write_atomically(self._file(self.number), json.dumps({"host": self.host, "port": port, "token": token}))

    def _live(self) -> None:
        while not self._ended.wait(min(BEAT, self.silence / 4)):
            with suppress(OSError):
                os.utime(self._file(self.number))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def supervised(folder: Path, words: list[str]) -> int | None:
    """Runs the command in a child as often as needed, if it is one of several processes.

    Args:
      folder: of the run, on a file system that all processes see.
      words: of the command.

    Returns:
      The exit code; None if this process shall compute itself: it is the only one, or a child.

    Raises:
      ExperimentError: the variables of the processes say something wrong; see `several_hosts`.
    """
    from neurograph.meta.devices import several_hosts

    if CHILD in os.environ or (several := several_hosts()) is None:
        return None
    address, number, count = several
    patience = _patience()
    host = "localhost" if address.startswith(("localhost:", "127.")) else socket.getfqdn()
    expected, tries, resumed = {*range(count)}, 0, False
    with Meeting(folder, number, count, host) as meeting:
        log.info("process %d of %d: waiting for the others, at most %.0f s", number, count, patience)
        while True:
            group = meeting.meet(expected, patience)
            if gone := sorted(expected - {*group.members}):
                they = f"process{'es' if len(gone) > 1 else ''} {', '.join(map(str, gone))}"
                what = "gone; going on from the checkpoint" if resumed else f"not there after {patience:.0f} s; beginning"
                log.warning("%s of %d: %s with those that are left: %s", they, count, what, ", ".join(map(str, group.members)))
            expected, before = {*group.members}, checkpoint_step(folder / "checkpoint")
            code = _child(folder, words if not resumed or "--resume" in words else [*words, "--resume"], number, group)
            if code not in (LOST, -signal.SIGABRT, -signal.SIGKILL):
                if code == 0:
                    (folder / PLACE / f"{number}.log").unlink(missing_ok=True)
                return code if code >= 0 else 128 - code
            resumed, tries = True, 0 if checkpoint_step(folder / "checkpoint") != before else tries + 1
            if tries >= TRIES:
                raise ExperimentError(f"{folder}: {TRIES} times no process got to the next checkpoint; see {folder / PLACE}")
            if expected == {number} and code == -signal.SIGKILL:
                raise ExperimentError(f"process {number}: killed, and no other is left; --resume goes on from the checkpoint")
            log.warning(
                "process %d: one of this run has ended; waiting for those that are left, at most %.0f s", number, patience
            )


def _patience() -> float:
    text = os.environ.get(PATIENCE, "60")
    try:
        seconds = float(text)
    except ValueError as error:
        raise ExperimentError(f"{PATIENCE}: got {text!r}; expected seconds") from error
    if not 0 < seconds < 1e6:
        raise ExperimentError(f"{PATIENCE}: got {text!r}; expected seconds > 0")
    return seconds


def _child(folder: Path, words: list[str], number: int, group: Group) -> int:
    """Runs the command as a member of a group; returns its exit code, negative for a signal."""
    environment = os.environ | {CHILD: str(number), "JAX_COORDINATOR_ADDRESS": group.address}
    environment |= {"JAX_NUM_PROCESSES": str(len(group.members)), "JAX_PROCESS_ID": str(group.members.index(number))}
    environment |= {LOG: str(folder / PLACE / f"{number}.log"), "JAX_ENABLE_RECOVERABILITY": "1"}
    with subprocess.Popen([sys.executable, "-m", "neurograph", *words], env=environment, stdin=subprocess.PIPE) as child:
        try:
            return child.wait()
        except KeyboardInterrupt as error:  # a signal: the child says where it stopped
            child.send_signal(getattr(error, "number", signal.SIGINT))
            with suppress(subprocess.TimeoutExpired):
                return child.wait(60)
            return -signal.SIGTERM
        finally:
            child.kill()


@contextmanager
def as_child() -> Iterator[None]:
    """In a child: ends with its parent, keeps what C++ says of peers that are gone for a file, and exits with `LOST` for them."""
    if CHILD not in os.environ:
        yield
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    ours = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.environ[LOG], "ab") as kept:
        os.dup2(kept.fileno(), 2)
    sys.stderr = ours
    for handler in logging.getLogger("neurograph").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(ours)
    try:
        yield
    except Exception as error:
        if not _of_a_peer(error):
            raise
        with suppress(OSError):
            append_line(Path(os.environ[LOG]), str(error))
        os._exit(LOST)  # threads of JAX wait for the peer


def _of_a_peer(error: BaseException) -> bool:
    """Whether an error tells of a collective, or a connection, that failed."""
    words = ("Gloo", "NCCL", "coordination service", "the other processes of this run were not reached")
    return any(word in str(error) for word in words)


def _end_with_parent() -> None:
    while os.read(0, 1):  # ends when the parent does; `sys.stdin` would be locked when Python ends, and Python abort
        pass
    os._exit(LOST)
