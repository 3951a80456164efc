"""Options that commands share. Conventions:

- The subject of a command stands first and is required: `topology show FILE`, `train TASK`, `report FOLDER`. All else are
  options.
- One name for one thing: `--genome`, `--topology`, `--task`, `--steps` (learning steps), `--batch`, `--states`, `--runs`
  (repetitions with other seeds), `--query` (rows judged on), `--seed`, `--set KEY=VALUE` (of an experiment), `--out` (for
  results), `--json`, `--resume`.
- Results go to standard output, progress and messages to standard error. With `--json` standard output is one JSON value.
- A file given by `--out` is written whole or not at all.
- Help ends with examples. Heavy packages are imported inside the function, after the options are checked.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

__all__ = ["allow_changes_option", "batch_option", "json_option", "out_file_option", "print_json", "seed_option", "to_json"]

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON value on standard output.")
seed_option = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all randomness.")
allow_changes_option = click.option(
    "--allow-changes",
    is_flag=True,
    help="Go on with a stopped run although precision, versions, device or kernels are not those of its checkpoint: the result is"
    " then not, bit for bit, that of a run without a stop.",
)
batch_option = click.option("--batch", type=click.IntRange(1), default=128, show_default=True, help="Rows per learning step.")


def out_file_option(help: str) -> Any:
    """Returns the option `--out FILE`."""
    return click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help=help)


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
