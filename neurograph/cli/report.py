"""`neurograph report`: the page about a run, about two beside each other, or about a transfer test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from neurograph.cli.options import json_option, out_file_option, print_json


@click.command()
@click.argument("folder")
@click.argument("second", required=False)
@out_file_option("Of two runs: the page [default: FOLDER/compare-SECOND.html].")
@click.option(
    "--base",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="Of one run: where its topology files are looked up too, such as the folder of its experiment file.",
)
@json_option
def report(folder: str, second: str | None, out: Path | None, base: Path | None, as_json: bool) -> None:
    """Write FOLDER/report.html again from the files of the run, or of the transfer test, in FOLDER. With SECOND, write one page
    that compares two runs: differences of their configurations, curves on the same axes, results side by side, genomes. Nothing
    is computed again.

    \b
    neurograph report runs/digits
    neurograph report runs/transfer
    neurograph report runs/a runs/b
    neurograph report runs/a runs/b --out a-and-b.html
    """
    if second is None and out is not None:
        raise click.UsageError("--out: only with two runs; the page of one is its report.html")
    if second is not None and base is not None:
        raise click.UsageError("--base: only with one run; a comparison draws no topologies")
    from neurograph.report.transfer import holds_matrix

    matrix = second is None and holds_matrix(folder)
    if matrix and base is not None:
        raise click.UsageError("--base: only for a run; the page about a transfer test draws no topologies")
    if "jax" not in sys.modules:  # pictures need no accelerator, and a run that goes on may have all of its memory
        os.environ["JAX_PLATFORMS"] = "cpu"
    if matrix:
        from neurograph.report.transfer import write_transfer_report

        path = write_transfer_report(folder)
    elif second is None:
        from neurograph.report.run import write_report

        path = write_report(folder, base=base)
    else:
        from neurograph.report.compare import write_comparison

        path = write_comparison(folder, second, out)
    if as_json:
        print_json({"report": str(path)})
    else:
        click.echo(f"report: {path}")
