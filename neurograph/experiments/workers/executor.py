"""What an executor is, and the one that needs no other process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from neurograph.errors import ExperimentError

__all__ = ["Executor", "Here", "Task", "TaskLost"]


class TaskLost(ExperimentError):
    """A task that cannot be computed: every worker that tried it died."""


class Task(Protocol):
    """A call that is asked for."""

    def result(self) -> Any:
        """Returns what the call returned, or raises what it raised.

        Raises:
          TaskLost: its workers died, one after another.
          ExperimentError: the scheduler is gone, or the worker is not like this process.
        """
        ...


class Executor(Protocol):
    """Computes calls in any order, each as if it were alone.

    A function is named by its module; its arguments and its result can be pickled and hold no JAX arrays.
    """

    @property
    def workers(self) -> int:
        """Calls at the same time; 1 in this process."""
        ...

    def submit(self, function: Callable[..., Any], *arguments: Any, shared: Any = None) -> Task:
        """Asks for `function(*arguments)`; with `shared`, which is sent to a worker once, for `function(shared, *arguments)`."""
        ...

    def as_completed(self, tasks: Sequence[Any]) -> Iterator[Task]:
        """Yields tasks as they end; those that failed as well."""
        ...

    def cancel(self) -> None:
        """Gives up all that has not ended."""
        ...


class _Call:
    def __init__(self, call: Callable[[], Any]):
        self._call: Callable[[], Any] | None = call
        self._value, self._error = None, None

    def result(self) -> Any:
        if self._call is not None:
            call, self._call = self._call, None
            try:
                self._value = call()
            except Exception as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._value


class Here:
    """This process: tasks are computed one after another, in the order asked for, when their results are.

    Examples:
      >>> from neurograph.experiments.workers import Here
      >>> executor = Here()
      >>> tasks = [executor.submit(max, 1, number) for number in range(3)]
      >>> [task.result() for task in executor.as_completed(tasks)]
      [1, 1, 2]
    """

    workers = 1

    def submit(self, function: Callable[..., Any], *arguments: Any, shared: Any = None) -> Task:
        given = arguments if shared is None else (shared, *arguments)
        return _Call(lambda: function(*given))

    def as_completed(self, tasks: Sequence[Any]) -> Iterator[Task]:
        yield from tasks

    def cancel(self) -> None:
        """Does nothing: what nobody asks for is not computed."""
