"""The `neurograph` command: one module per group of subcommands, imported when it is called. Conventions: options.py."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import click

from neurograph.cli.stopping import Stopped, signals_stop
from neurograph.errors import NeurographError

# subcommand -> (module, attribute, help line). The help line stands here so that `neurograph --help` imports nothing.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "quickstart": (
        "neurograph.cli.train",
        "quickstart",
        "One genome on five kinds of graphs, beside tuned descent, in minutes.",
    ),
    "new": ("neurograph.cli.new", "new", "Write a commented experiment, topology or task file that runs as it is."),
    "topology": ("neurograph.cli.topology", "topology", "Check, show, draw and convert graphs."),
    "plan": (
        "neurograph.cli.plan",
        "plan",
        "Show how a topology is executed: products, native code, gathers, scans; costs and reasons.",
    ),
    "task": ("neurograph.cli.task", "task", "List tasks, look at samples, prepare data."),
    "genome": ("neurograph.cli.genome", "genome", "List, show, draw, compare, extend, average, convert genomes."),
    "train": ("neurograph.cli.learn", "train", "Learn one task by a genome: accuracy over learning steps."),
    "meta-train": ("neurograph.cli.train", "meta_train", "Meta-learn a genome as an experiment file says."),
    "evolve": ("neurograph.cli.train", "evolve", "Meta-learn without gradients: an experiment of method cma, es or pes."),
    "sweep": ("neurograph.cli.sweep", "sweep", "Meta-learn over a grid of an experiment's values and seeds; a table."),
    "runs": ("neurograph.cli.runs", "runs", "List, show, rank and compare the runs in folders."),
    "transfer": ("neurograph.cli.transfer", "transfer", "Test genomes on topologies and tasks, beside gradient descent."),
    "reproduce": ("neurograph.cli.reproduce", "reproduce", "Run the paper's experiments: data, figures, verdicts."),
    "analyze": ("neurograph.cli.analyze", "analyze", "Analyze whether the rule of a genome is gradient descent."),
    "report": ("neurograph.cli.report", "report", "Write the page about a run, or a transfer test, again."),
    "bench": ("neurograph.cli.bench", "bench", "Measure time and memory of a topology on this machine."),
    "completion": ("neurograph.cli.completion", "completion", "Print the completion script of a shell."),
}

OK, FAULTS, USE, BUG, SIGNAL, PIPE = 0, 1, 2, 3, 128, 141
"""Exit codes: done; a checked file has faults; wrong use or input; an error of neurograph; stopped, plus the number of the signal
(Ctrl-C 130, SIGTERM 143, SIGHUP 129); nobody reads our output."""


class LazyGroup(click.Group):
    """A group that imports a subcommand's module when it is called: start-up stays short."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        return getattr(importlib.import_module(module), attribute)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-"):
            from neurograph.documents import suggestion

            raise click.UsageError(f"No such command {name[:60]!r}{suggestion(name, COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Stopped(error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


def _debug(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        os.environ["NEUROGRAPH_DEBUG"] = "1"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="neurograph")
@click.option("--debug", is_flag=True, expose_value=False, callback=_debug, help="Show where an error came from (a traceback).")
def main() -> None:
    """Networks that are arbitrary directed graphs and learn by a small, shared, learned rule.

    \b
    neurograph quickstart                       one genome on five graphs, nothing is downloaded
    neurograph topology show topologies/mlp.yaml
    neurograph train digits --topology residual
    neurograph --debug train my.csv             NEUROGRAPH_DEBUG=1 does the same

    Exit codes: 0 done; 1 a checked file has faults; 2 wrong use or input; 3 an error of neurograph itself; 130 stopped
    by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
    """


def _debugging() -> bool:
    return os.environ.get("NEUROGRAPH_DEBUG", "") not in ("", "0")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def run(arguments: list[str] | None = None) -> None:
    """Runs the command: an error is one paragraph on standard error and an exit code; a traceback only with --debug."""
    code: Any = OK
    log = logging.getLogger("neurograph")
    if not log.handlers:
        log.addHandler(logging.StreamHandler())  # standard error
    log.setLevel(logging.INFO)
    try:
        with signals_stop():
            words = list(sys.argv[1:] if arguments is None else arguments)
            main(arguments, prog_name="neurograph", standalone_mode=False, obj=words)
            sys.stdout.flush()  # a reader that has left is noticed here, not when Python ends
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = USE if isinstance(error, click.UsageError) else error.exit_code
    except SystemExit as error:  # of a command; click leaves so as well when nobody reads what is printed
        code = PIPE if type(sys.stdout).__name__.endswith("PacifyFlushWrapper") else error.code
    except (click.Abort, KeyboardInterrupt, Stopped) as error:
        stopped = error if isinstance(error, Stopped) else Stopped(KeyboardInterrupt())
        with suppress(OSError):  # the terminal may be gone
            if stopped.number == signal.SIGINT and sys.stderr.isatty():
                _say("")  # after ^C
            _say(f"stopped {stopped.words}" if stopped.words else "stopped.")
        code = SIGNAL + stopped.number
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes at its end
        code = PIPE
    except NeurographError as error:
        if _debugging():
            raise
        _say(f"error: {error}")
        code = USE
    except MemoryError:
        if _debugging():
            raise
        _say("error: out of memory; a smaller --batch, topology or population needs less.")
        code = USE
    except OSError as error:  # a full disk, a folder that may not be written to
        if _debugging():
            raise
        what = f"{error.filename}: " if error.filename else ""
        _say(f"error: {what}{error.strerror or error}")
        code = USE
    except Exception as error:
        if _debugging():
            raise
        text = " ".join(str(error).split())[:300]
        command = " ".join(["neurograph", *(sys.argv[1:] if arguments is None else arguments)])
        _say(
            f"error: neurograph failed in a way that it should not: {type(error).__name__}: {text}\nThis is a fault of"
            " neurograph, not of yours. Please report it, with this command and what it prints with NEUROGRAPH_DEBUG=1 set:\n"
            f"  {command}"
        )
        code = BUG
    sys.exit(code)
