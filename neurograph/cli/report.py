"""`neurograph report`: the page about a run."""

from __future__ import annotations

import click

from neurograph.cli.options import json_option, print_json


@click.command()
@click.argument("folder")
@json_option
def report(folder: str, as_json: bool) -> None:
    """Write FOLDER/report.html anew from the files of the run in FOLDER. Nothing is run again.

    \b
    neurograph report runs/digits
    """
    from neurograph.report import write_report

    path = write_report(folder)
    if as_json:
        print_json({"report": str(path)})
    else:
        click.echo(f"report: {path}")
