"""`neurograph reproduce`: the paper's experiments."""

from __future__ import annotations

import json
from pathlib import Path

import click

from neurograph.cli.options import (
    allow_changes_option,
    data_sets_option,
    json_option,
    out_folder_option,
    own_workers,
    print_json,
    renamed,
    runs_option,
    workers_option,
)
from neurograph.cli.stopping import on_stop
from neurograph.errors import ExperimentError
from neurograph.reproduce import RECIPES, REPRODUCTIONS, SCALES

__all__ = ["reproduce"]

MOST = 8  # processes, unless asked for


@click.command(context_settings=renamed(seeds="runs", jobs="workers"))
@click.argument("names", metavar="[NAME...|all]", nargs=-1)
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    default="laptop",
    show_default=True,
    help="smoke: seconds, embedded data; laptop: minutes on two cores; paper: the paper's sizes.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="shipped",
    show_default=True,
    help="What genomes for images are meta-trained by. printed: the paper's random starts, feedback and rates (experiment"
    " paper_gradient), which take many more meta-steps; results are in OUT/printed.",
)
@out_folder_option(
    "Folder of all runs, data, figures, verdicts. What is there is not computed again.",
    default=Path("runs/reproduce"),
    show_default=True,
)
@runs_option(None, "Meta-training runs per variant, with other seeds [default: the reproduction's own].")
@click.option("--plan", "planned", is_flag=True, help="Say what would be meta-trained and how long it takes, and do nothing.")
@allow_changes_option
@workers_option
@data_sets_option
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the page of all results here, in Markdown.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the page's figures go [default: `reproduction` beside it].",
)
@click.option(
    "--update", is_flag=True, help="Of a page that is there replace only what OUT has results of; the rest stays as it is."
)
@json_option
def reproduce(
    names: tuple[str, ...],
    scale: str,
    recipe: str,
    out: Path,
    runs: int | None,
    planned: bool,
    allow_changes: bool,
    workers: int | str | None,
    page: Path | None,
    figures: Path | None,
    update: bool,
    as_json: bool,
) -> None:
    """Run the paper's experiments NAME... (or all of them); without a name, list them.

    Each writes data (CSV), a figure in the paper's form and a verdict to OUT/SCALE/NAME. Meta-training goes through
    experiment files and run folders (OUT/SCALE/runs, shared), tests through transfer matrices; all of it is kept: a run that
    was stopped goes on with the same command.

    \b
    neurograph reproduce
    neurograph reproduce states --scale smoke
    neurograph reproduce updates --scale paper --recipe printed --plan
    neurograph reproduce oja --scale paper --recipe printed
    neurograph reproduce all --scale laptop --page REPRODUCTION.md
    """
    if wrong := [name for name in names if name not in (*REPRODUCTIONS, "all")]:
        raise ExperimentError(f"{wrong[0]}: no such reproduction; there are: {', '.join(REPRODUCTIONS)}, all")
    if not names and page is None:
        if as_json:
            click.echo(json.dumps({name: {"figure": e.figure, "title": e.title} for name, e in REPRODUCTIONS.items()}, indent=2))
            return
        width = max(map(len, REPRODUCTIONS))
        for name, entry in REPRODUCTIONS.items():
            click.echo(f"{name:<{width}}  {entry.figure:<16}  {entry.title}")
        click.echo("\nneurograph reproduce NAME --scale smoke|laptop|paper runs one, `all` runs all.", err=True)
        return
    chosen = tuple(REPRODUCTIONS if "all" in names else dict.fromkeys(names))
    if planned:
        _say_plans(chosen, scale, recipe, runs, as_json)
        return
    from neurograph.experiments.workers import make_executor
    from neurograph.reproduce.page import write_page
    from neurograph.reproduce.run import folder_of
    from neurograph.reproduce.run import reproduce as run

    results, place = [], folder_of(out, recipe)
    with make_executor(workers or own_workers(MOST), lambda text: click.echo(text, err=True)) as executor:
        for name in chosen:
            say = lambda text, name=name: click.echo(f"{name}: {text}", err=True)  # noqa: E731
            where = f"in {name}; what is finished is kept in {place / scale}, and the same command goes on from there"
            options = {"executor": executor, "seeds": runs, "allow_changes": allow_changes, "recipe": recipe, "say": say}
            with on_stop(lambda where=where: where):
                result = run(name, scale, out, **options)
            results.append(result.to_dict() | {"paragraph": result.paragraph})
            if not as_json:
                click.echo(click.wrap_text(result.paragraph, 110))
                click.echo(f"\nwritten: {', '.join(result.files)} in {place / scale / name}\n")
    if page is not None:
        path = write_page(place, scale, page, figures or page.parent / "reproduction", update=update)
        click.echo(f"page: {path}", err=as_json)
    if as_json:
        click.echo(json.dumps(results, indent=2))


def _say_plans(names: tuple[str, ...], scale: str, recipe: str, runs: int | None, as_json: bool) -> None:
    from neurograph.reproduce.plan import plan

    plans = {name: plan(name, scale, recipe, runs) for name in names}
    if as_json:
        print_json({name: {"runs": len(one.specs), "variants": one.labels, "hours": one.hours} for name, one in plans.items()})
        return
    for name, one in plans.items():
        click.echo(f"{name}: {one.words}")
        for label in one.labels:
            click.echo(f"  {label}")
