"""What runs in a worker. The scheduler imports this file as well: it loads nothing heavy."""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from neurograph.errors import ExperimentError

__all__ = ["DATA_DIR", "TFDS", "Asking", "WorkerMismatch", "asking", "cancelled", "kept", "perform", "worker_name"]

SHARES = "NEUROGRAPH_WORKERS"  # of a process that `make_executor(N)` starts: N
DATA_DIR = "NEUROGRAPH_DATA_DIR"  # of a process that asks: what --data-dir says, which workers on other hosts take over
TFDS = "TFDS_DATA_DIR"
KEPT = 8  # shared values per worker
SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl", "jax_threefry_partitionable")

_kept: OrderedDict[Any, Any] = OrderedDict()
_threads: list[int] = []  # of XLA, once it has been decided
_own_data: list[str | None] = []  # where this process finds data sets by itself, while it reads them elsewhere


class WorkerMismatch(ExperimentError):
    """A worker would compute other numbers than the process that asks it."""


@dataclass(frozen=True)
class Asking:
    """What decides the numbers in the process that asks.

    Attributes:
      environment: versions, device, kernels, source.
      settings: of JAX, which a worker takes over.
      threads: of XLA. Large sums are cut by their number, so that a worker has as many.
      data_dir: where a worker finds data sets too; "" for where it does by itself.
    """

    environment: tuple[tuple[str, str | None], ...]
    settings: tuple[tuple[str, Any], ...]
    threads: int
    data_dir: str = ""


def asking() -> Asking:
    """Returns what decides the numbers of this process."""
    import jax

    settings = tuple((name, getattr(jax.config, name)) for name in SETTINGS)
    given = os.environ.get(DATA_DIR, "")
    return Asking(_environment(), settings, xla_threads(), given and os.path.abspath(os.path.expanduser(given)))


def _environment() -> tuple[tuple[str, str | None], ...]:
    from neurograph.experiments.environment import deciding

    return tuple((deciding() | {"neurograph's source": _source()}).items())


def xla_threads() -> int:
    """Returns the number of threads that XLA takes on a CPU: `NPROC`, or one per core that this process may use."""
    given = os.environ.get("NPROC", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache
def _source() -> str:
    """Returns a digest of neurograph's source: what is under development has one version number for many."""
    root = Path(__file__).parents[2]
    content = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".cpp", ".h") and path.is_file():
            content.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()[:12]


def perform(asked: Asking, call: bytes, digest: str = "", shared: bytes = b"") -> Any:
    """Computes a task: a pickled `(function, arguments)`, in whose arguments the shared value, where there is one, comes first.

    Raises:
      WorkerMismatch: this process would compute other numbers; both sides are named.
    """
    import cloudpickle

    _prepare(asked)
    function, arguments = cloudpickle.loads(call)
    if digest:
        arguments = (kept(("shared", digest), lambda: cloudpickle.loads(shared)), *arguments)
    return function(*arguments)


def kept(key: Any, make: Callable[[], Any]) -> Any:
    """Returns what was made under a key before, in this process, or makes it: compiled programs belong to objects that stay."""
    if key not in _kept:
        _kept[key] = make()
    _kept.move_to_end(key)
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    return _kept[key]


def _prepare(asked: Asking) -> None:
    """Makes this process like the one that asks, and makes sure that it is."""
    if not _threads:
        os.environ["NPROC"] = str(asked.threads)  # read when JAX starts
        _threads.append(asked.threads)
    _read_data_in(asked.data_dir)
    import jax

    for name, value in asked.settings:
        if getattr(jax.config, name) != value:
            jax.config.update(name, value)
    kept(asked, lambda: _compare(asked))


def _read_data_in(folder: str) -> None:
    """Makes this process find data sets in a folder; "": where it does by itself."""
    if folder:
        _own_data[:] = _own_data or [os.environ.get(TFDS)]
        os.environ[TFDS] = folder
    elif _own_data:
        before = _own_data.pop()
        os.environ.pop(TFDS)
        if before is not None:
            os.environ[TFDS] = before


def _compare(asked: Asking) -> None:
    ours, theirs = dict(_environment()), dict(asked.environment)
    ours["threads of XLA"], theirs["threads of XLA"] = str(_threads[0]), str(asked.threads)
    if wrong := [f"{name}: the worker has {ours.get(name)}, this process {theirs.get(name)}"
                 for name in dict.fromkeys([*theirs, *ours]) if ours.get(name) != theirs.get(name)]:  # fmt: skip
        raise WorkerMismatch(f"{worker_name()} would compute other numbers: {'; '.join(wrong)}")


def worker_name() -> str:
    """Returns the words for this process in a message."""
    if "distributed" not in sys.modules:
        return "this process"
    try:
        from distributed import get_worker

        return f"worker {get_worker().address} on {platform.node()}"
    except (ImportError, ValueError):
        return "this process"


def cancelled() -> bool:
    """Whether nobody waits any more for the task that calls this: it was cancelled, or who asked, or the scheduler, ended."""
    if "distributed" not in sys.modules:
        return False
    try:
        from distributed import Status, get_worker

        worker = get_worker()
    except (ImportError, ValueError):
        return False
    task = worker.state.tasks.get(worker.get_current_task())
    return worker.status is not Status.running or task is None or task.state == "cancelled"


def dask_setup(worker: Any) -> None:
    """Is called by Dask in each process that `make_executor(N)` starts.

    Ctrl-C is the affair of the process that asks. Each of N workers has its share of the cores: its threads, as many as those of
    the process that asks since their number decides the bits, do not wait for those of the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cores := share_of_cores(int(worker.name), int(os.environ[SHARES])):
        os.sched_setaffinity(0, cores)


def share_of_cores(number: int, count: int) -> list[int]:
    """Returns the cores of one worker of several; none if there are fewer cores than workers, or they cannot be chosen.

    Examples:
      >>> from neurograph.experiments.workers.worker import share_of_cores
      >>> share_of_cores(0, 10**6)
      []
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return cores[len(cores) * number // count : len(cores) * (number + 1) // count] if len(cores) >= count else []
