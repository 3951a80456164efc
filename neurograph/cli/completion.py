"""`neurograph completion SHELL`: click's own completion, printed."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that makes SHELL complete the commands and options of neurograph.

    \b
    neurograph completion bash >> ~/.bashrc
    neurograph completion zsh >> ~/.zshrc
    neurograph completion fish > ~/.config/fish/completions/neurograph.fish
    """
    from click.shell_completion import get_completion_class

    from neurograph.cli import main

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "neurograph", "_NEUROGRAPH_COMPLETE").source())
