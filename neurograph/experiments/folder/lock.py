"""One writer per folder: FOLDER/.lock, which says who holds it.

The lock is `flock` on that file. The kernel keeps it as long as the process lives and gives it back at once when it ends, by
kill -9 too: nothing has to be cleaned up, and a process id that is used again means nothing. (Packages such as filelock use it,
too, but do not say who holds a lock.) The file names the holder, for messages and for file systems whose locks other machines do
not see, or that have none. There a heartbeat counts: the file's time, set anew every `HEARTBEAT` seconds.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError
from neurograph.files import remove_leftovers

try:
    import fcntl
except ImportError:  # Windows: the heartbeat alone
    fcntl = None

__all__ = ["FILE", "Holder", "check_lock", "holder_of", "locked"]

FILE = ".lock"
HEARTBEAT, SILENCE = 30.0, 300.0  # seconds between two signs of life, and without one until a holder elsewhere is taken for dead

# Parts of a run folder, and files whose temporary files had no ending of their own before.
PARTS = ("topologies", "plots")
BEFORE = ("checkpoint", "metrics.jsonl", "config.yaml", "environment.json", "best.json", "genome.json", "summary.json")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock; `boot` and `started` (of the machine and of the process) are "" where they are not known."""

    host: str
    pid: int
    since: str
    boot: str = ""
    started: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@dataclass
class _Lock:
    handle: int
    thread: int
    ended: threading.Event
    beat: threading.Thread | None = None


_held: dict[Path, _Lock] = {}  # by the file, of this process


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Makes a folder if it is missing, holds its lock in the body, and removes what killed writers left in it.

    The thread that holds the lock may take it again. A lock whose holder is dead is taken over, and a line says so.

    Args:
      patience: seconds to wait for a holder on another machine, who may be dead.

    Raises:
      ExperimentError: another process, or thread, holds it; the text says which. Or this is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ExperimentError(f"{folder}: not a folder")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / FILE
    if path in _held and _held[path].thread == threading.get_ident():
        yield
        return
    try:
        lock = _held[path] = _take_in_time(folder, path, time.monotonic() + patience)
        try:
            for place in (folder, *(folder / part for part in PARTS)):
                remove_leftovers(place, BEFORE)
            lock.beat = threading.Thread(target=_beat, args=(path, lock), daemon=True)
            lock.beat.start()
            yield
        finally:
            _release(path, lock)
    finally:
        with suppress(OSError):  # a folder in which something lies now
            for place in made:
                place.rmdir()


def check_lock(folder: Path) -> None:
    """Makes sure that nobody took over the lock of this process, who had not heard of it for long.

    Raises:
      ExperimentError: somebody did.
    """
    path = folder.resolve() / FILE
    if path in _held and path.exists() and not _names(path, _held[path].handle):
        raise ExperimentError(f"{folder}: taken over by {_holder(path) or 'another process'}; this process writes no more")


def holder_of(folder: Path) -> Holder | None:
    """Returns the process that holds the lock of a folder, as far as can be known; None if none does, or it is dead.

    It writes nothing, so that it can be asked about folders of others.
    """
    path = folder / FILE
    holder = _holder(path)
    if holder is None:
        return None
    if not _here(holder, _myself()):
        with suppress(OSError):
            return holder if time.time() - path.stat().st_mtime <= SILENCE else None
        return None
    if _lives(holder):
        return holder
    return holder if _kernel_refuses(path) else None  # a container knows its process by another number


def _kernel_refuses(path: Path) -> bool:
    """Whether another process has the `flock` of a file. It is taken for an instant, shared: only for holders who seem dead."""
    with suppress(OSError), path.open("rb") as stream:
        if fcntl is None:
            return False
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _take_in_time(folder: Path, path: Path, until: float) -> _Lock:
    while True:
        try:
            return _take(folder, path)
        except ExperimentError:
            holder = _holder(path)
            if time.monotonic() >= until or (holder and _here(holder, _myself())):
                raise
            time.sleep(1)


def _take(folder: Path, path: Path) -> _Lock:
    me = _myself()
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            kernel = _flock(handle)
            if not _names(path, handle):  # its holder has just removed it
                os.close(handle)
                continue
            if (holder := _holder(path)) is None:
                break
            why = _why_dead(holder, me, kernel, _silence(folder, handle))
        except BlockingIOError:
            os.close(handle)
            raise _in_use(folder, _holder(path)) from None
        except BaseException:
            os.close(handle)
            raise
        if not why:
            os.close(handle)
            raise _in_use(folder, holder)
        log.warning("%s: taken over from %s, which %s", folder, holder, why)
        path.unlink(missing_ok=True)  # a holder that lives after all sees that the file is not its own: `check_lock`
        os.close(handle)
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(asdict(me)).encode())
    return _Lock(handle, threading.get_ident(), threading.Event())


def _in_use(folder: Path, holder: Holder | None) -> ExperimentError:
    text = f"{folder}: in use by {holder or 'another process'}; wait for it, end it, or choose another folder (--out)"
    if holder and not _here(holder, _myself()):
        text += f"; {SILENCE / 60:.0f} minutes after its last sign of life it is taken over"
    return ExperimentError(text)


def _why_dead(holder: Holder, me: Holder, kernel: bool, silence: float) -> str:
    """Returns why a holder is taken for dead, whose lock the kernel did not refuse; "" if it may live.

    Args:
      kernel: whether the file system has locks.
      silence: seconds since the holder's last sign of life.
    """
    if _here(holder, me):
        return "has ended" if kernel or not _lives(holder) else ""
    return f"has given no sign of life for {silence / 60:.0f} minutes" if silence > SILENCE else ""


def _here(holder: Holder, me: Holder) -> bool:
    """Whether a holder is, or was, on this machine, which containers know by other names."""
    return holder.host == me.host or bool(holder.boot and holder.boot == me.boot)


def _release(path: Path, lock: _Lock) -> None:
    lock.ended.set()
    if lock.beat:
        lock.beat.join()
    with suppress(OSError):  # the folder may be gone, or read-only
        if _names(path, lock.handle):
            path.unlink()
    _held.pop(path, None)
    os.close(lock.handle)


def _beat(path: Path, lock: _Lock) -> None:
    while not lock.ended.wait(HEARTBEAT):
        with suppress(OSError):
            os.utime(lock.handle if os.utime in os.supports_fd else path)


def _flock(handle: int) -> bool:
    """Locks a file; returns whether its file system has locks.

    Raises:
      BlockingIOError: it is locked.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _names(path: Path, handle: int) -> bool:
    """Whether a path names the file that is open."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(handle))
    return False


def _holder(path: Path) -> Holder | None:
    """Returns what a lock file says; None if it is empty, or damaged."""
    try:
        found = Holder(**parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (found.host, found.since, found.boot, found.started)
    return found if all(isinstance(text, str) for text in texts) and 0 < _whole(found.pid) < 2**31 else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _silence(folder: Path, handle: int) -> float:
    """Returns the seconds since a file was touched, by the clock of its file system."""
    with tempfile.TemporaryFile(dir=folder) as now:
        return os.fstat(now.fileno()).st_mtime - os.fstat(handle).st_mtime


def _myself() -> Holder:
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    boot = Path("/proc/sys/kernel/random/boot_id")
    return Holder(platform.node(), os.getpid(), since, _text(boot).strip(), _started(os.getpid()))


def _lives(holder: Holder) -> bool:
    """Whether a process of this machine lives, as far as can be known; another one with its id is not it."""
    if fcntl is None:  # on Windows there is no question that does not end it
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return holder.started in ("", _started(holder.pid))


def _started(pid: int) -> str:
    """Returns when a process started, in ticks since the start of the machine; "" where that is not known."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _forget() -> None:
    """A forked child holds nothing: neither it nor its lock outlives the parent."""
    for lock in _held.values():
        os.close(lock.handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
