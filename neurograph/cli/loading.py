"""What is being done with a large graph, in a terminal: a line for every stage, with the time that it has taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["LARGE", "stages"]

LARGE = 1 << 20  # bytes of a file from which on stages are shown


@contextmanager
def stages(file: str) -> Iterator[Callable[[str], None]]:
    """Gives a function that is told every stage as it begins; it shows them on standard error, in a terminal, of a large file.

    The lines are erased at the end.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    console, path = Console(stderr=True), Path(file)
    if not console.is_terminal or not path.is_file() or path.stat().st_size < LARGE:
        yield lambda text: None
        return
    columns = SpinnerColumn("line"), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        begun: list[TaskID] = []

        def begin(text: str) -> None:
            for task in begun:
                bar.update(task, total=1, completed=1)
            begun.append(bar.add_task(text, total=None))

        yield begin
