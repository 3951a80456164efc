"""The `neurograph` command: one module per group of subcommands, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys

import click

from neurograph.errors import NeurographError

# subcommand -> (module, attribute, help line). The help line stands here so that `neurograph --help` imports nothing.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "analyze": ("neurograph.cli.analyze", "analyze", "What kind of rule a genome is: gradient descent or not."),
    "genome": ("neurograph.cli.genome", "genome", "List, show, draw, compare, extend, average, convert genomes."),
    "plan": ("neurograph.cli.plan", "plan", "How a topology is executed: products, gathers and scans, with costs."),
    "quickstart": ("neurograph.cli.train", "quickstart", "Meta-learn, transfer, compare, report: the whole in minutes."),
    "topology": ("neurograph.cli.topology", "topology", "Check, show, draw and convert graphs."),
    "meta-train": ("neurograph.cli.train", "meta_train", "Meta-learn a genome as an experiment file says."),
    "transfer": ("neurograph.cli.transfer", "transfer", "Test genomes on topologies and tasks, beside gradient descent."),
    "evolve": ("neurograph.cli.train", "evolve", "The same without gradients: an experiment of method cma, es or pes."),
    "task": ("neurograph.cli.task", "task", "List tasks, look at samples, prepare data."),
}


class LazyGroup(click.Group):
    """Imports a subcommand's module when it is called, not before: start-up stays short."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="neurograph")
def main() -> None:
    """Networks that are arbitrary directed graphs and learn by a small, shared, learned rule.

    Set NEUROGRAPH_TRACEBACK=1 to see where an error came from.
    """


def run() -> None:
    """Entry point: errors of use are one paragraph on standard error and exit code 2, never a traceback."""
    try:
        main(standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("stopped.", file=sys.stderr)
        sys.exit(130)
    except NeurographError as error:
        if os.environ.get("NEUROGRAPH_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
