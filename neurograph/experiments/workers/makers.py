"""The three makers of executors: this process, processes on this machine, a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

from neurograph.errors import ExperimentError, MissingExtraError
from neurograph.experiments.workers.executor import Executor, Here, Task
from neurograph.experiments.workers.worker import SHARES

__all__ = ["make_executor"]

CONNECT, FIRST_WORKER = 30, 120  # seconds

LOCAL = {
    "distributed.scheduler.allowed-failures": 2,  # the third worker that dies of a task is the last
    "distributed.scheduler.worker-saturation": 1.0,  # a worker has one task: no other waits for it
    "distributed.scheduler.work-stealing": False,  # nothing waits at a worker
    "distributed.worker.preload": ["neurograph.experiments.workers.worker"],
    "distributed.comm.timeouts.connect": "60s",  # of workers that start on a busy machine
    "distributed.comm.timeouts.tcp": "1h",  # a silent process of this machine is busy: one that died closes its socket
    "distributed.deploy.lost-worker-timeout": "1h",  # there, a worker that starts again may need more than the usual 15 s
    "distributed.scheduler.no-workers-timeout": "15m",  # none comes back: an error rather than a wait without end
    "distributed.admin.log-format": "%(name)s: %(message)s",
}


@contextmanager
def make_executor(workers: int | str | Any | None = None, say: Callable[[str], None] = lambda text: None) -> Iterator[Executor]:
    """Gives an executor to the body, and ends what it has started.

    Args:
      workers: None: this process. A number: so many processes on this machine, which share its cores. Text: the address of a Dask
        scheduler (`tcp://host:8786`), or the path of its scheduler file. A `distributed.Client`, which stays open.
      say: called with a line when workers come late or go.

    Raises:
      MissingExtraError: anything but None needs the extra `cluster`.
      ExperimentError: at the first task: no scheduler answers, or it has no workers.

    Examples:
      >>> from neurograph.experiments.workers import make_executor
      >>> with make_executor() as executor:
      ...     executor.submit(max, 1, 2).result()
      2
    """
    if workers is None:
        yield Here()
        return
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError("distributed", "cluster", "more than this process (workers)") from error
    from dask import config

    from neurograph.experiments.workers.cluster import Cluster

    with ExitStack() as stack:

        def open_cluster() -> Executor:
            if isinstance(workers, distributed.Client):
                opened: Any = nullcontext((workers, f"the scheduler {workers.scheduler.address if workers.scheduler else ''}"))
            else:
                opened = _local(workers) if isinstance(workers, int) else _remote(str(workers))
            client, name = stack.enter_context(opened)
            stack.enter_context(config.set({"distributed.admin.large-graph-warning-threshold": "10GB"}))
            made = Cluster(client, name, say)
            stack.callback(made.cancel)
            return made

        yield _Later(open_cluster)


class _Later:
    """An executor that starts with its first task: what is finished already needs none."""

    def __init__(self, make: Callable[[], Executor]):
        self._make, self._made = make, None

    def _executor(self) -> Executor:
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def workers(self) -> int:
        return self._executor().workers

    def submit(self, function: Callable[..., Any], *arguments: Any, shared: Any = None) -> Task:
        return self._executor().submit(function, *arguments, shared=shared)

    def as_completed(self, tasks: Sequence[Any]) -> Iterator[Task]:
        return self._executor().as_completed(tasks)

    def cancel(self) -> None:
        if self._made is not None:
            self._made.cancel()


GUARD = (
    "workers: a process of this machine ended while it started; in a script, what asks for workers has to stand under"
    ' `if __name__ == "__main__":`, because each process imports the script'
)


@contextmanager
def _local(count: int) -> Iterator[tuple[Any, str]]:
    """Starts processes on this machine: Dask's, whose nannies start another one when one dies."""
    import logging
    from multiprocessing import process

    from dask import config
    from distributed import Client, LocalCluster, Security

    if getattr(process.current_process(), "_inheriting", False):  # one of these processes, which imports the script
        raise ExperimentError(GUARD)
    if count < 1:
        raise ExperimentError(f"workers: got {count}; expected a number > 0, or the address of a scheduler")
    with config.set(LOCAL):  # some of it is read when a worker dies
        cluster = _started(
            LocalCluster,
            n_workers=count,
            protocol="tls://",  # tasks are pickles: no other user of this machine can send one
            security=_certificates(Security),
            env={SHARES: str(count)},
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,  # pyright: ignore[reportArgumentType]  # none
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # any free port: Dask's own may be taken
            memory_limit=0,  # as this process, which has none
            silence_logs=logging.CRITICAL,
        )
        try:
            with Client(cluster, set_as_default=False) as client:
                yield client, "the scheduler of this machine's workers"
        finally:
            cluster.close()


def _started(kind: Any, **options: Any) -> Any:
    try:
        return kind(**options)
    except RuntimeError as error:
        raise ExperimentError(GUARD) from error


def _certificates(security: Any) -> Any:
    """Returns certificates that live as long as this process.

    Raises:
      MissingExtraError: they need the package cryptography.
    """
    try:
        return security.temporary()
    except ImportError as error:
        raise MissingExtraError("cryptography", "cluster", "more than this process (workers)") from error


@contextmanager
def _remote(address: str) -> Iterator[tuple[Any, str]]:
    from distributed import Client

    where: dict[str, Any] = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = Client(**where, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ExperimentError(
            f"workers: no Dask scheduler answers at {address} within {CONNECT} s ({' '.join(str(error).split())[:200]}); expected"
            " a number of processes, or an address such as tcp://host:8786 where `dask scheduler` runs"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER)
        except TimeoutError as error:
            raise ExperimentError(
                f"workers: the scheduler {address} had none within {FIRST_WORKER} s; start some:"
                f" dask worker {address} --nthreads 1"
            ) from error
        yield client, f"the scheduler {address}"
