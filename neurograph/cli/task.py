"""`neurograph task`: list, show, prepare."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurograph.cli.options import data_dir_option, json_option, out_file_option, print_json, renamed, seed_option, set_option
from neurograph.errors import TaskError

if TYPE_CHECKING:
    from neurograph.tasks.registry import TaskEntry

_set = set_option("An option of the task, such as size=10, classes=0-4 or radius=0.5 (YAML values)")


@click.group()
def task() -> None:
    """List tasks, look at samples, prepare data.

    A task is named by a word (`neurograph task list`) or by tfds:NAME, csv:FILE, parquet:FILE, npz:FILE, folder:FOLDER, with
    its options behind the name, in quotes.

    \b
    neurograph task list --kind images
    neurograph task show xor --out xor.png
    neurograph task show "csv:flowers.csv label=species"
    neurograph task prepare mnist
    """


@task.command("list")
@click.option("--kind", help="Only tasks of this kind (a part of the heading).")
@json_option
def list_tasks(kind: str | None, as_json: bool) -> None:
    """List the names of all tasks."""
    from neurograph.tasks.registry import schemes, task_entry, task_names

    entries = [task_entry(name) for name in task_names()] + list(schemes())
    headings = list(dict.fromkeys(entry.kind for entry in entries))
    if kind is not None:
        headings = [heading for heading in headings if kind.lower() in heading]
        if not headings:
            kinds = ", ".join(dict.fromkeys(entry.kind for entry in entries))
            raise TaskError(f"--kind: nothing is called {kind!r}; there are: {kinds}.")
    if as_json:
        print_json([{"name": e.name, "kind": e.kind, "about": e.summary} for e in entries if e.kind in headings])
        return
    width = max(len(entry.name) for entry in entries)
    for heading in headings:
        click.echo(f"{heading}:")
        for entry in entries:
            if entry.kind == heading:
                click.echo(f"  {entry.name:<{width}}  {entry.summary}")


@task.command(context_settings=renamed(option="set", picture="out"))
@click.argument("name")
@_set
@data_dir_option
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="train", show_default=True)
@seed_option
@out_file_option("Draw samples into this file: .png, .pdf or .svg.")
@json_option
def show(
    name: str, overrides: tuple[str, ...], data_dir: str | None, split: str, seed: int, out: Path | None, as_json: bool
) -> None:
    """Show sizes, splits, options and samples of the task NAME."""
    if out is not None and re.match(r"[A-Za-z_]\w*=", str(out)):
        raise click.UsageError(f"--out (-o) names a file; did you mean --set {str(out)[:200]}?")
    picture = None if out is None else str(out)
    import jax

    from neurograph.cli.words import task_words
    from neurograph.tasks import get_task
    from neurograph.tasks.registry import task_entry

    name, given = task_words(name, overrides, data_dir)
    entry = task_entry(name)
    started = time.perf_counter()
    made: Any = get_task(name, **given)
    seconds = time.perf_counter() - started
    if as_json:
        if picture:
            from neurograph.report.figures.tasks import draw_samples

            draw_samples(made, picture, jax.random.key(seed), split)
        sizes = (
            None if made.kind == "function" else {n: rows for n, (_, rows) in zip(("train", "validation", "test"), made.extents)}
        )
        about = {"name": name, "about": entry.summary, "inputs": made.num_inputs, "outputs": made.num_outputs}
        about |= {"classes": made.num_classes, "class_names": list(made.class_names), "image_shape": made.image_shape}
        print_json(about | {"rows": sizes, "options": _in_effect(entry, given), "seconds": seconds, "picture": picture})
        return
    classes = f"{made.num_classes} classes" if made.num_classes else "regression"
    click.echo(f"{name}: {entry.summary}")
    click.echo(f"  network     {made.num_inputs} inputs, {made.num_outputs} outputs ({classes})")
    if made.image_shape:
        click.echo(f"  images      {'x'.join(map(str, made.image_shape))}")
    if made.kind == "function":
        drawn = "drawn per episode" if made.is_family else "fixed"
        click.echo(f"  function    its parameters are {drawn}; every split is fresh samples")
    else:
        pools = getattr(made, "pools", ((0, 0),) * 3)
        for title, (_, rows), (_, number) in zip(("train", "validation", "test"), made.extents, pools):
            extra = f", {number} classes to draw {made.num_classes} from" if number else ""
            click.echo(f"  {title:<11} {rows:,} rows{extra}")
        click.echo(f"  loaded      in {seconds:.2f} s, {made.data.nbytes / 1e6:.1f} MB resident")
    if made.class_names:
        names = ", ".join(made.class_names[:20]) + (f", ... ({len(made.class_names)})" if len(made.class_names) > 20 else "")
        click.echo(f"  classes     {names}")
    shown = lambda text: repr(text) if re.search(r"[,=\s]|^$", text) else text  # noqa: E731
    effective = ", ".join(f"{key}={shown(value)}" for key, value in _in_effect(entry, given).items())
    click.echo(click.wrap_text(f"  options     {effective}", 110, subsequent_indent="              "))
    key = jax.random.key(seed)
    if picture:
        from neurograph.report.figures.tasks import draw_samples

        draw_samples(made, picture, key, split)
        click.echo(f"  picture     {picture}")
    else:
        from neurograph.report.figures.sketch import sketch

        text = sketch(made, key, split)
        if text:
            click.echo(f"\n{text}")


def _no_short_form(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        raise click.UsageError(f"there is no -o here; did you mean --set {value[0][:200]}?")


@task.command(context_settings=renamed(option="set"))
@click.argument("names", nargs=-1, required=True)
@_set
@click.option("-o", "earlier", multiple=True, hidden=True, expose_value=False, callback=_no_short_form, help="See --set.")
@data_dir_option
def prepare(names: tuple[str, ...], overrides: tuple[str, ...], data_dir: str | None) -> None:
    """Download the data of NAMES if it is not there, decode it, and keep it in the cache."""
    from neurograph.cli.words import task_words
    from neurograph.tasks import cache_dir, get_task, task_names
    from neurograph.tasks.registry import task_entry
    from neurograph.tasks.tfds.prepare import prepare as download

    for text in names:
        word = text.split(" ")[0]
        known = word in task_names() or ":" in word
        name, given = task_words(text if known else f"tfds:{text}", overrides, data_dir)
        entry = task_entry(name)
        if entry.kind != "tensorflow-datasets":
            raise TaskError(f"task {name!r} needs no preparation ({entry.kind}).")
        dataset = entry.preset.get("dataset", "omniglot")
        folder = download(dataset, given.get("data_dir"))
        click.echo(f"{text}: stored in {folder}")
        started = time.perf_counter()
        made = get_task(entry.name, **given, progress=_progress)
        click.echo(f"{text}: {made!r}, ready in {time.perf_counter() - started:.1f} s; cache {cache_dir()}")


def _progress(split: str, done: int, rows: int) -> None:
    click.echo(f"\r  decoding {split}: {done:,} of {rows:,}", nl=done == rows, err=True)


def _in_effect(entry: TaskEntry, given: dict[str, Any]) -> dict[str, str]:
    """Returns the options of a task with the values that it has, given or its own, as text."""
    import inspect

    own = {key: parameter.default for key, parameter in entry.options().items() if key != "progress"}
    values = own | {"outputs": None, "varied": None} | entry.given(given)
    return {key: "..." if value is inspect.Parameter.empty else str(value) for key, value in values.items()}
