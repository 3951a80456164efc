"""An executor over a Dask client: what it adds is what a user has to be told."""

from __future__ import annotations

import hashlib
import queue
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import cloudpickle
from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError
from distributed.scheduler import NoWorkerError

from neurograph.errors import ExperimentError
from neurograph.experiments.workers.executor import Task, TaskLost
from neurograph.experiments.workers.worker import asking, perform

__all__ = ["Cluster"]

LOST = (OSError, RuntimeError, TimeoutError, ClosedClientError)  # of a scheduler that has gone; CommClosedError is an OSError
LOOK = 5.0  # seconds between two looks at the workers while none answers


def _same(value: bytes) -> bytes:
    """Returns its argument: a shared value is the result of a task, which Dask moves between workers, and computes again."""
    return value


class _Remote:
    """A task of a client: the words of `Client.submit`, and what it is called in messages."""

    def __init__(self, cluster: Cluster, name: str, *call: Any):
        self._cluster, self._name, self._call = cluster, name, call
        self.alone = False
        self.future = cluster.start(name, *call)

    @property
    def killed(self) -> bool:
        return self.future.status == "error" and isinstance(self.future.exception(), KilledWorker)

    def again(self) -> None:
        """Begins again, when no other task of this executor is under way."""
        self.alone, self.future = True, self._cluster.start(self._name, *self._call)

    def result(self) -> Any:
        try:
            return self.future.result()
        except KilledWorker as error:
            raise TaskLost(
                f"{self._name}: {error.allowed_failures + 1} workers died of it, the last at {error.last_worker.address};"
                " out of memory, most likely"
            ) from None
        except (CancelledError, CommClosedError, NoWorkerError) as error:
            raise self._cluster.gone(error) from error
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in ("neurograph", "jax"):
                raise ExperimentError(
                    f"{self._cluster.name}: a worker has no {error.name}; it needs the packages of this process"
                ) from error
            raise


class Cluster:
    """An executor whose tasks are those of a Dask client.

    Args:
      client: connected.
      name: of the scheduler, in messages.
      say: called with a line when workers go or come.
    """

    def __init__(self, client: Client, name: str, say: Callable[[str], None] = lambda text: None):
        self.client, self.name, self._say = client, name, say
        self._asking = asking()
        self._shared: dict[str, Future] = {}
        self._digests: dict[int, tuple[Any, str]] = {}  # by the id of a value, which is held so that no other takes it
        self._open: set[Future] = set()
        self._seen: set[str] = set(self._addresses() or ())

    @property
    def workers(self) -> int:
        """Threads of all workers, at the moment; 1 if there are none.

        Raises:
          ExperimentError: the scheduler is gone.
        """
        threads: Any = self._asked(self.client.nthreads)
        return max(sum(threads.values()), 1)

    def submit(self, function: Callable[..., Any], *arguments: Any, shared: Any = None) -> Task:
        call = cloudpickle.dumps((function, arguments))
        name = getattr(function, "__name__", "task").strip("_")
        extra = () if shared is None else self._share(shared)
        return _Remote(self, name, perform, self._asking, call, *extra)

    def start(self, name: str, *call: Any) -> Future:
        """Sends a task to the scheduler.

        Raises:
          ExperimentError: it is gone.
        """
        key = f"neurograph-{name}-{uuid.uuid4()}"
        future = self._asked(lambda: self.client.submit(*call, key=key, pure=False))
        self._open.add(future)
        return future

    def _asked(self, call: Callable[[], Any]) -> Any:
        """Returns what the scheduler answers: it may have gone at any moment, and the client notices by and by."""
        if self.client.status != "running":
            raise self.gone()
        try:
            return call()
        except LOST as error:
            raise self.gone(error) from error

    def _share(self, value: Any) -> tuple[str, Future]:
        if id(value) in self._digests:
            digest = self._digests[id(value)][1]
            return digest, self._shared[digest]
        content = cloudpickle.dumps(value)
        digest = hashlib.sha256(content).hexdigest()
        self._digests[id(value)] = value, digest
        if digest not in self._shared:
            self._shared[digest] = self.start("shared", _same, content)
        return digest, self._shared[digest]

    def gone(self, error: Exception | None = None) -> ExperimentError:
        """Returns the error that ends a run whose scheduler does not answer any more."""
        why = f" ({' '.join(str(error).split())[:200]})" if error else ""
        return ExperimentError(f"{self.name} is gone, and the answers that had not arrived{why}")

    def as_completed(self, tasks: Sequence[Any]) -> Iterator[Task]:
        """Yields tasks as they end.

        When a worker dies, Dask suspects all tasks that it had. Those given up are tried once more, one at a time, after the
        others: only what kills its workers then is to blame.
        """
        suspects: list[_Remote] = []
        for task in self._ended(tasks):
            if task.killed and not task.alone:
                suspects.append(task)
                continue
            yield task
            self._forget(task)
        for task in suspects:
            self._forget(task)
            task.again()
            yield from self._ended([task])
            self._forget(task)

    def _ended(self, tasks: Sequence[_Remote]) -> Iterator[_Remote]:
        ended: queue.SimpleQueue[_Remote] = queue.SimpleQueue()
        for task in tasks:
            task.future.add_done_callback(lambda future, task=task: ended.put(task))
        left = len(tasks)
        while left:
            try:
                task = ended.get(timeout=LOOK)
            except queue.Empty:
                self._look()
                continue
            left -= 1
            yield task

    def _forget(self, task: _Remote) -> None:
        self._open.discard(task.future)
        task.future.release()

    def _look(self) -> None:
        """Says which workers have gone since the last look, and whether none is left."""
        if (now := self._addresses()) is None:
            return
        if lost := sorted(self._seen - now):
            who = f"{', '.join(lost[:3])}{' and others' if len(lost) > 3 else ''}"
            self._say(f"gone: {who}; what they had begins again elsewhere; workers now: {len(now) or 'none, waiting for one'}")
        elif now != self._seen:
            self._say(f"workers now: {len(now)}")
        self._seen = now

    def _addresses(self) -> set[str] | None:
        """Returns the addresses of all workers; None if the scheduler does not answer."""
        try:
            return {*self.client.scheduler_info()["workers"]}
        except LOST:
            return None

    def cancel(self) -> None:
        futures, self._open, self._shared, self._digests = [*self._open], set(), {}, {}
        if futures and self.client.status == "running":
            with suppress(*LOST):  # a scheduler that has gone has forgotten them
                self.client.cancel(futures, force=True)
