"""`neurograph genome list | show | draw | compare | extend | average | convert`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurograph.cli.options import force_option, json_option, out_file_option, seed_option
from neurograph.errors import GenomeError

if TYPE_CHECKING:
    from neurograph.genome import AnyGenome, GenomeFile
    from neurograph.genome.rule import Rule

__all__ = ["genome"]


@click.group()
def genome() -> None:
    """Look at genomes, compare them, make new ones from them.

    GENOME is a file (.json, or .npz with arrays by name) or the name of a genome of the zoo (`neurograph genome list`).
    """


@genome.command("list")
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@json_option
def list_(folder: Path | None, as_json: bool) -> None:
    """List the genomes of the zoo, or all genome files in FOLDER and below.

    \b
    neurograph genome list
    neurograph genome list runs
    """
    from neurograph.genome import load_genome_file, zoo_names

    names: list[str | Path] = [*zoo_names()] if folder is None else sorted(folder.rglob("*.json"))
    rows = []
    for name in names:
        try:
            file = load_genome_file(name)
        except GenomeError:
            if folder is None:
                raise
            continue  # some other JSON file
        card = file.card
        about = str(card.get("description") or card.get("experiment") or "")
        layers = len(getattr(file.genome, "names", "1"))
        rows.append({"genome": str(name), "states": file.genome.states, "layers": layers, "description": about})
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        print(f"{folder}: no genome files")
        return
    width = max(len(row["genome"]) for row in rows) + 2
    print(f"{'genome':{width}}{'states':>6}  description")
    for row in rows:
        layers = f"({row['layers']} layers) " if row["layers"] > 1 else ""
        print(f"{row['genome']:{width}}{row['states']:>6}  {layers}{row['description']}")


@genome.command()
@click.argument("source", metavar="GENOME")
@click.option("--digits", type=click.IntRange(0, 17), default=3, show_default=True, help="Digits after the point.")
@click.option("--width", type=click.IntRange(20), help="Columns of text [default: the terminal's].")
@click.option("--all", "everything", is_flag=True, help="Also arrays that have no effect under the rule.")
@json_option
def show(source: str, digits: int, width: int | None, everything: bool, as_json: bool) -> None:
    """Print GENOME: rule, matrices, gates, card.

    \b
    neurograph genome show digits
    neurograph genome show runs/a/genome.json --digits 5
    """
    import shutil

    from neurograph.genome import format_genome

    file = _load(source)
    if as_json:
        arrays = file.genome.to_dict()
        by = getattr(file.genome, "by", None)
        data = {"genome": source, "states": file.genome.states, "layers_by": by, "card": file.card}
        print(json.dumps(data | {"rule": _rule_data(file.rule), "arrays": arrays}, indent=2, ensure_ascii=False))
        return
    columns = width or min(140, max(40, shutil.get_terminal_size((110, 20)).columns))
    print(format_genome(file, digits=digits, width=columns, everything=everything), end="")


@genome.command()
@click.argument("source", metavar="GENOME")
@out_file_option("Picture to write: .png, .pdf or .svg.", required=True)
@click.option("--title", help="Text above the picture [default: GENOME].")
def draw(source: str, out: Path, title: str | None) -> None:
    """Draw GENOME as annotated heat maps: .png, .pdf or .svg. Entries without effect under the rule are pale.

    \b
    neurograph genome draw digits --out digits.png
    """
    from neurograph.report.figures.genome import draw_genome

    print(draw_genome(_load(source), out, title=source if title is None else title))


@genome.command()
@click.argument("first")
@click.argument("second")
@click.option("--align/--no-align", default=True, show_default=True, help="Rename states and undo free scales before comparing.")
@click.option("--tolerance", type=float, help="Exit with 1 if the relative distance is larger.")
@json_option
def compare(first: str, second: str, align: bool, tolerance: float | None, as_json: bool) -> None:
    """Compare two genomes array by array, up to differences without effect: names of states, free scales and signs.

    \b
    neurograph genome compare runs/a/genome.json runs/b/genome.json
    neurograph genome compare old.json new.json --tolerance 1e-6
    """
    from neurograph.genome import compare_genomes

    a, b = _load(first), _load(second)
    differing = _differing(a.rule, b.rule)
    rule = a.rule if align and not differing else None
    found = compare_genomes(a.genome, b.genome, rule, align_states=align)
    code = int(tolerance is not None and not found.relative <= tolerance)
    if as_json:
        print(json.dumps(found.to_dict() | {"aligned_under_rule": rule is not None, "rules_differ_in": differing}, indent=2))
        sys.exit(code)
    if differing:
        print(f"the rules differ ({'; '.join(differing)}): arrays are compared as they stand, but for the names of states")
    width = max(map(len, found.arrays)) + 2
    print(f"{'array':{width}}{'distance':>10}{'relative':>10}{'largest':>10}")
    for name, row in found.arrays.items():
        print(f"{name:{width}}{row['distance']:>10.4g}{row['relative']:>10.4g}{row['largest']:>10.4g}")
    print(f"{'all':{width}}{found.distance:>10.4g}{found.relative:>10.4g}    ({found.unaligned:.4g} before alignment)")
    if list(found.permutation) != sorted(found.permutation):
        note = "" if found.exhaustive else " (the best found, not all were tried)"
        print(f"states 0, 1, 2, ... of {first} are states {', '.join(map(str, found.permutation))} of {second}{note}")
    sys.exit(code)


@genome.command()
@click.argument("source", metavar="GENOME")
@out_file_option("File to write.", required=True)
@click.option("--states", type=click.IntRange(3), help="States of the result [default: one more].")
@click.option("--noise", type=click.FloatRange(0), default=0.1, show_default=True, help="Spread of what new states read.")
@click.option("--outgoing-noise", type=click.FloatRange(0), default=0.0, show_default=True, help="Of what old ones read of new.")
@seed_option
@force_option
def extend(source: str, out: Path, states: int | None, noise: float, outgoing_noise: float, seed: int, force: bool) -> None:
    """Add states to GENOME so that it first behaves as before: no old state reads a new one (unless --outgoing-noise).

    \b
    neurograph genome extend digits --out digits5.json
    neurograph meta-train digits --set start.genome=digits5.json --set rule.states=5
    """
    _free(out, force)
    import jax

    from neurograph.genome import extend_genome, save_genome

    file = _load(source)
    wider, rule = extend_genome(file, states=states, noise=noise, outgoing_noise=outgoing_noise, key=jax.random.key(seed))
    history = {"of": source, "states": file.genome.states, "noise": noise, "outgoing_noise": outgoing_noise, "seed": seed}
    save_genome(out, wider, rule, file.card | {"extended": history})
    print(f"{out}: {wider.states} states, from the {file.genome.states} of {source}")


@genome.command()
@click.argument("sources", metavar="GENOME...", nargs=-1, required=True)
@out_file_option("File to write.", required=True)
@click.option("--weights", help="One per genome, with commas between [default: equal].")
@click.option("--align/--no-align", default=True, show_default=True, help="First bring each to the form nearest to the first.")
@force_option
def average(sources: tuple[str, ...], out: Path, weights: str | None, align: bool, force: bool) -> None:
    """Average genomes of one rule, array by array.

    \b
    neurograph genome average runs/*/genome.json --out mean.json
    """
    _free(out, force)
    from neurograph.genome import average_genomes, save_genome

    files = [_load(source) for source in sources]
    for source, file in zip(sources, files):
        if differing := _differing(files[0].rule, file.rule):
            raise GenomeError(f"{source}: its rule is not that of {sources[0]}: {'; '.join(differing)}")
    try:
        shares = None if weights is None else [float(part) for part in weights.split(",")]
    except ValueError as error:
        raise GenomeError(f"--weights: got {weights!r}; expected numbers with commas between, such as 1,1,2") from error
    rule = files[0].rule
    genomes: Any = [file.genome for file in files]
    mean = average_genomes(genomes, rule if align else None, weights=shares)
    save_genome(
        out, mean, rule, {"description": f"Mean of {len(files)} genomes.", "average_of": list(sources), "weights": shares}
    )
    print(f"{out}: mean of {len(files)} genomes{', aligned' if align and rule else ''}")


@genome.command()
@click.argument("source", metavar="GENOME")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--layers", metavar="KIND[:NAMES]", help="One genome per layer: role, depth:NUMBER or population:NAME,NAME,...")
@click.option("--layer", metavar="NAME", help="Take the genome of one layer out of a per-layer genome.")
@force_option
def convert(source: str, target: Path, layers: str | None, layer: str | None, force: bool) -> None:
    """Write GENOME as TARGET: .json (with rule and card) or .npz (arrays by name), shared or per layer.

    \b
    neurograph genome convert digits digits.npz
    neurograph genome convert digits layers.json --layers depth:5
    neurograph genome convert digits named.json --layers 'population:conv1,conv2,*'
    neurograph genome convert layers.json second.json --layer 1
    """
    _free(target, force)
    from neurograph.genome import LayeredGenome, save_genome

    file = _load(source)
    made: AnyGenome = file.genome
    if layer is not None:
        if not isinstance(made, LayeredGenome):
            raise GenomeError(f"--layer {layer}: {source} holds one genome for all layers")
        if layer not in made.names:
            raise GenomeError(f"--layer {layer}: no such layer; there are: {', '.join(made.names)}")
        made = made.layers[layer]
    if layers is not None:
        if isinstance(made, LayeredGenome):
            raise GenomeError(f"--layers {layers}: {source} has layers already, by {made.by}: {', '.join(made.names)}")
        kind, _, text = layers.partition(":")
        if kind == "depth" and not (text.isdigit() and int(text) > 0):
            raise GenomeError(f"--layers {layers}: by depth needs a number of layers (the topology's levels), such as depth:5")
        names = int(text) if kind == "depth" else [part.strip() for part in text.split(",")] if text else None
        made = LayeredGenome.repeat(made, kind, names)
    if target.suffix == ".json":
        save_genome(target, made, file.rule, file.card)
    elif target.suffix == ".npz":
        _save_npz(target, made)
    else:
        raise GenomeError(f"{target}: the ending {target.suffix!r} is not known; allowed: .json, .npz")
    print(target)


# -- helpers -------------------------------------------------------------------------------------------------------------------


def _load(source: str) -> GenomeFile:
    from neurograph.genome import Genome, GenomeFile, load_genome_file

    if not source.endswith(".npz"):
        return load_genome_file(source)
    import zipfile

    import numpy as np

    try:
        with open(source, "rb") as stream, np.load(stream, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except OSError as error:
        raise GenomeError(f"{source}: cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise GenomeError(f"{source}: not a file of arrays ({error})") from error
    try:
        return GenomeFile(Genome.from_arrays(**arrays), None, {})
    except GenomeError as error:
        raise GenomeError(f"{source}: {error}") from error


def _save_npz(path: Path, made: Any) -> None:
    import io

    import numpy as np

    from neurograph.files import write_atomically
    from neurograph.genome import Genome

    if not isinstance(made, Genome):
        raise GenomeError(f"{path}: .npz holds one genome; write a per-layer genome as .json, or take one layer with --layer")
    stream = io.BytesIO()
    arrays: Any = {name: np.asarray(value) for name, value in made.to_dict().items()}
    np.savez(stream, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, stream.getvalue())


def _free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise GenomeError(f"{path}: exists; --force overwrites it")


def _rule_data(rule: Rule | None) -> dict[str, Any] | None:
    return rule.to_dict() if rule else None


def _differing(first: Rule | None, second: Rule | None) -> list[str]:
    """Returns the options in which two rules differ, as text."""
    if first is None or second is None:
        return [] if first is second else ["only one of the files has a rule"]
    a, b = first.to_dict(), second.to_dict()
    return [f"{name}: {a[name]} and {b[name]}" for name in a if a[name] != b[name] and name != "states"]
