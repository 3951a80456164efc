"""Options that commands share. Conventions:

- The subject of a command stands first and is required: `topology show FILE`, `train TASK`, `report FOLDER`. All else are
  options.
- One name for one meaning, and one meaning for one name: the table in docs/command_line.md, which a test compares with all
  commands. Whatever is written goes to `--out` (`-o`), pictures too. Short forms are `-o`, `-t`, `-k` and no others.
- An option that gets another name keeps the old one, hidden, which says the new one (`renamed`).
- Results go to standard output, progress and messages to standard error. With `--json` standard output is one JSON value.
- A file given by `--out` is written whole or not at all.
- Help ends with examples. Heavy packages are imported inside the function, after the options are checked.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

__all__ = [
    "allow_changes_option",
    "batch_option",
    "data_dir_option",
    "data_sets_option",
    "force_option",
    "genome_option",
    "json_option",
    "kernel_option",
    "out_file_option",
    "out_folder_option",
    "own_workers",
    "print_json",
    "query_option",
    "renamed",
    "resume_option",
    "runs_option",
    "seed_option",
    "set_option",
    "states_option",
    "to_json",
    "topology_option",
    "workers_option",
]

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON value on standard output.")
seed_option = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all randomness.")
allow_changes_option = click.option(
    "--allow-changes",
    is_flag=True,
    help="Go on with a stopped run although precision, versions, device or kernels are not those of its checkpoint: the result is"
    " then not, bit for bit, that of a run without a stop.",
)
resume_option = click.option("--resume", is_flag=True, help="Continue where it was stopped.")
force_option = click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
batch_option = click.option("--batch", type=click.IntRange(1), default=128, show_default=True, help="Rows per learning step.")
query_option = click.option(
    "--query", type=click.IntRange(1), default=512, show_default=True, help="Rows that accuracy is judged on."
)
states_option = click.option(
    "--states", type=click.IntRange(1), default=2, show_default=True, help="Numbers per neuron and synapse."
)
kernel_option = click.option(
    "--kernel", default="auto", show_default=True, help="How the graph runs: auto, blocks, gather, reference, ..."
)
_DATA_DIR: Any = {"type": click.Path(), "help": "Where tensorflow-datasets keeps its data."}
data_dir_option = click.option("--data-dir", **_DATA_DIR)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _read_there(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and not ctx.resilient_parsing:
        from neurograph.experiments.workers.worker import DATA_DIR, TFDS

        for name in (TFDS, DATA_DIR):
            ctx.with_resource(_environment(name, value))


data_sets_option = click.option("--data-dir", expose_value=False, callback=_read_there, **_DATA_DIR)
"""The same for commands that read tasks of a file: processes that they start, and workers anywhere, read data there too."""


class _Workers(click.ParamType):
    """A number of processes, or where a Dask scheduler is."""

    name = "N|ADDRESS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value)
        if not text.lstrip("+-").isdigit():
            if "://" in text or text.endswith(".json"):
                return text
            self.fail(f"{text!r}: expected a number of processes, tcp://HOST:PORT, or a scheduler file (.json)", param, ctx)
        if int(text) < 1:
            self.fail(f"{text}: expected at least 1", param, ctx)
        return int(text)


workers_option = click.option(
    "--workers",
    type=_Workers(),
    help="Compute in N processes of this machine, or in those of a Dask cluster: tcp://HOST:8786, or its scheduler file."
    " The numbers are the same.",
)


def own_workers(most: int) -> int | None:
    """Returns the number of processes where none is given: one per core, at most so many; None where no engine is installed."""
    return min(os.cpu_count() or 1, most) if importlib.util.find_spec("distributed") else None


def out_file_option(help: str, **options: Any) -> Any:
    """Returns the option `--out FILE`."""
    return click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help=help, **options)


def out_folder_option(help: str, **options: Any) -> Any:
    """Returns the option `--out FOLDER`."""
    return click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help=help, **options)


def runs_option(default: int | None, help: str = "Repetitions: other synapses and batches.") -> Any:
    """Returns the option `--runs`."""
    return click.option("--runs", type=click.IntRange(1), default=default, show_default=default is not None, help=help)


def genome_option(default: str) -> Any:
    """Returns the option `--genome`."""
    return click.option("--genome", default=default, show_default=True, help="A genome of the zoo, or a file.")


def topology_option(more: str = "", name: str = "topology", **options: Any) -> Any:
    """Returns the option `--topology`."""
    words = f"A shipped topology's name, layer widths such as 2-20-2, or a file{more}."
    return click.option("-t", "--topology", name, metavar="TOPOLOGY", help=words, **options)


def set_option(help: str) -> Any:
    """Returns the option `--set KEY=VALUE`, which is repeatable."""
    return click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=f"{help}; repeatable.")


def renamed(**names: str) -> dict[str, Callable[[str], str]]:
    """Returns the settings of a command whose options had other names: `renamed(seeds="runs")` reads --seeds as --runs.

    The old names are in no help, and each says the new one on standard error.
    """

    def name_of(name: str) -> str:
        new = names.get(name.replace("-", "_"))
        context = click.get_current_context(silent=True)
        if new and context and not context.resilient_parsing:
            click.echo(f"--{name} is called --{new} now", err=True)
        return new or name

    return {"token_normalize_func": name_of}


def to_json(data: Any) -> str:
    """Returns readable JSON that every reader accepts: NaN and infinities become null."""
    return json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False)


def print_json(data: Any) -> None:
    click.echo(to_json(data))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
