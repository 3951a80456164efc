"""`neurograph new experiment | topology | task NAME`: a commented file that runs as it is, to be changed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from string import Template

import click

from neurograph.cli.options import force_option, out_file_option

__all__ = ["new"]

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,79}")

name_argument = click.argument("name")
template_out_option = out_file_option("The file [default: NAME with its ending, in this folder].")


@click.group()
def new() -> None:
    """Write a commented file to begin with, which runs and learns as it is.

    \b
    neurograph new experiment mine && neurograph meta-train mine.yaml
    neurograph new topology graph && neurograph train digits --topology graph.yaml
    neurograph new task spirals && python spirals.py
    """


@new.command()
@name_argument
@template_out_option
@force_option
def experiment(name: str, out: Path | None, force: bool) -> None:
    """Write an experiment file, which `neurograph meta-train` runs.

    \b
    neurograph new experiment mine
    neurograph new experiment mine --out experiments/mine.yaml
    """
    path = _write("experiment.yaml", name, out, force)
    _say(path, "neurograph meta-train")


@new.command()
@name_argument
@template_out_option
@force_option
def topology(name: str, out: Path | None, force: bool) -> None:
    """Write a topology file, which every command takes as a graph.

    \b
    neurograph new topology graph
    neurograph topology show graph.yaml
    """
    path = _write("topology.yaml", name, out, force)
    _say(path, "neurograph topology show")


@new.command()
@name_argument
@template_out_option
@force_option
def task(name: str, out: Path | None, force: bool) -> None:
    """Write a Python file that makes data a task, learns it, and keeps it for other commands.

    \b
    neurograph new task spirals
    python spirals.py
    """
    path = _write("task.py", name, out, force)
    _say(path, "python")


def _say(path: Path, command: str) -> None:
    click.echo(f"written: {path}\nnext: {command} {shlex.quote(str(path))}")


def _write(template: str, name: str, out: Path | None, force: bool) -> Path:
    """Writes a template with its name and file filled in, and returns where.

    Raises:
      NeurographError: the name is no name, the folder is not there, or the file is, without `force`.
    """
    from neurograph.errors import NeurographError
    from neurograph.files import write_atomically

    source = TEMPLATES / template
    if not NAME.fullmatch(name):
        raise NeurographError(f"{name!r}: expected a name of letters, digits, '_', '-' and '.'; --out says where the file goes")
    path = out or Path(name if name.endswith(source.suffix) else f"{name}{source.suffix}")
    if not path.parent.is_dir():
        raise NeurographError(f"{path}: there is no folder {str(path.parent)!r} to write to")
    if path.exists() and not force:
        raise NeurographError(f"{path}: exists; --force overwrites it")
    text = Template(source.read_text(encoding="utf-8"))
    write_atomically(path, text.substitute(name=name.removesuffix(source.suffix), file=shlex.quote(path.as_posix())))
    return path
