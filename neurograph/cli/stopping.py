"""Ctrl-C, SIGTERM and SIGHUP end a command alike: with one line that says where it stopped and how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop", "Stopped", "on_stop", "signals_stop"]

NAMES = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Stop(KeyboardInterrupt):
    """Raised in the command by a signal; what handles Ctrl-C handles it."""

    number = signal.SIGINT


class Stopped(BaseException):
    """A command that was stopped: `words` for the user, and the number of the signal. (Click would print an empty line.)"""

    def __init__(self, cause: KeyboardInterrupt):
        super().__init__(*cause.args)
        self.words = str(cause.args[0]) if cause.args else ""
        self.number = int(getattr(cause, "number", signal.SIGINT))


@contextmanager
def signals_stop() -> Iterator[None]:
    """Makes the signals raise `Stop` in the body, but for those that the caller ignores (`nohup`) or handles."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    stop = Stop()
    stop.number = signal.Signals(number)
    raise stop


@contextmanager
def on_stop(words: Callable[[], str]) -> Iterator[None]:
    """Says where the body was stopped and how to go on, after the word "stopped"; the innermost of several speaks."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not error.args:
            error.args = (words(),)
        raise
