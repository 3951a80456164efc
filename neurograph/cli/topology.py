"""`neurograph topology check | show | draw | convert | sample | list`."""

from __future__ import annotations

import functools
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from neurograph.cli.loading import stages
from neurograph.cli.options import (
    batch_option,
    force_option,
    json_option,
    out_file_option,
    out_folder_option,
    renamed,
    seed_option,
    states_option,
)
from neurograph.documents import Source, parse_yaml
from neurograph.errors import NeurographError, SpecError, TopologyError
from neurograph.topology import BUILDERS, FORMATS, Limits, Topology, load_topology, save_topology
from neurograph.topology.formats.options import SIGNS
from neurograph.topology.language.families import FAMILIES, RandomTopologies
from neurograph.topology.shipped import shipped_folder
from neurograph.topology.summary import summarize

__all__ = ["topology"]


@click.group()
def topology() -> None:
    """Check, show, draw and convert graphs.

    TOPOLOGY is the name of a shipped one, layer widths such as 2-20-2, or a file: .yaml, .graphml, .gml, .gexf, .json
    (node-link), .csv (edge list or adjacency matrix), .dot, .edgelist, .mtx or .npz. A graph file that does not say which
    neurons are inputs and outputs needs --inputs and --outputs: sources, sinks, ATTRIBUTE=VALUE or names with commas between.

    \b
    neurograph topology show mlp
    neurograph topology check my.yaml other.graphml --inputs sources --outputs sinks
    neurograph topology draw residual --out residual.svg
    neurograph topology convert my.gexf my.csv
    """


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `load_topology` to a command, which receives a function `load(path)`."""

    @click.option("--inputs", metavar="RULE", help="Neurons that are inputs: sources, ATTRIBUTE=VALUE or NAME,NAME,...")
    @click.option("--outputs", metavar="RULE", help="Neurons that are outputs: sinks, ATTRIBUTE=VALUE or NAME,NAME,...")
    @click.option("--schedule", type=click.Choice(["levels", "synchronous", "mixed"]), help="Instead of the file's schedule.")
    @click.option("--ticks", type=click.IntRange(1), help="Ticks of a synchronous or mixed schedule.")
    @click.option("--outputs-may-project", is_flag=True, default=None, help="Allow synapses out of outputs.")
    @click.option(
        "--weight", metavar="KEY", default="weight", show_default=True, help="Edge attribute with values; '' ignores all."
    )
    @click.option(
        "--signs",
        type=click.Choice(SIGNS),
        default="kept",
        show_default=True,
        help="Of the given values; dropped leaves their magnitudes.",
    )
    @click.option("--max-neurons", type=click.IntRange(1), default=Limits().neurons, show_default=True)
    @click.option("--max-synapses", type=click.IntRange(1), default=Limits().synapses, show_default=True)
    @functools.wraps(command)
    def wrapped(
        inputs: str | None,
        outputs: str | None,
        schedule: str | None,
        ticks: int | None,
        outputs_may_project: bool | None,
        weight: str,
        signs: Any,
        max_neurons: int,
        max_synapses: int,
        **others: Any,
    ) -> Any:
        def load(path: str) -> Topology:
            with stages(path) as begin:
                return load_topology(
                    path,
                    inputs=_rule(inputs),
                    outputs=_rule(outputs),
                    weight=weight or None,
                    signs=signs,
                    schedule=schedule,
                    ticks=ticks,
                    outputs_may_project=outputs_may_project or None,
                    limits=Limits(max_neurons, max_synapses),
                    progress=begin,
                )

        return command(load=load, **others)

    return wrapped


def _rule(text: str | None) -> Any:
    if text is None or text in ("sources", "sinks") or "=" in text:
        return text
    return [name.strip() for name in text.split(",")]


@topology.command()
@click.argument("files", metavar="TOPOLOGY...", nargs=-1, required=True)
@json_option
@reading
def check(files: tuple[str, ...], as_json: bool, load: Callable[[str], Topology]) -> None:
    """Read every TOPOLOGY and print all faults. Exit code 1 if there is any."""
    results = []
    for path in files:
        try:
            t = load(path)
            results.append({"file": path, "ok": True, "neurons": t.num_neurons, "synapses": t.num_synapses, "digest": t.digest})
            line = f"{t.num_neurons:,} neurons, {t.num_synapses:,} synapses, {len(t.inputs)} in, {len(t.outputs)} out"
            dead = int(t.dead.sum())
            line += f", {dead} dead" if dead else ""
        except NeurographError as error:
            faults = [_fault(fault) for fault in error.faults] if isinstance(error, SpecError) else [{"message": str(error)}]
            results.append({"file": path, "ok": False, "faults": faults})
            line = ""
            if not as_json:
                print(error, file=sys.stderr)
        if line and not as_json:
            print(f"{path}: ok ({line})")
    if as_json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    bad = sum(not result["ok"] for result in results)
    if bad and len(files) > 1 and not as_json:
        print(f"{bad} of {len(files)} files have faults.", file=sys.stderr)
    sys.exit(1 if bad else 0)


def _fault(fault: Any) -> dict[str, Any]:
    return {"message": fault.message, "line": fault.line, "column": fault.column, "where": fault.where}


@topology.command(context_settings=renamed(draw="out"))
@click.argument("file", metavar="TOPOLOGY")
@states_option
@batch_option
@out_file_option("Draw it into this file: .svg, .png or .pdf.")
@json_option
@reading
def show(file: str, states: int, batch: int, out: Path | None, as_json: bool, load: Callable[[str], Topology]) -> None:
    """Print the properties of TOPOLOGY: sizes, levels, cycles, dead neurons, sharing, memory. Draw it with --out."""
    t = load(file)
    facts = summarize(t, states=states, batch=batch)
    if out:
        from neurograph.report.figures.topology import draw_topology

        draw_topology(t, out)
    if as_json:
        print(json.dumps({"file": file, **facts}, indent=2, ensure_ascii=False))
        return
    print("\n".join(describe(facts)))
    print(f"{'picture':12}{out}" if out else f"{'picture':12}neurograph topology draw {file} --view all --out NAME.svg")


def _ticks(facts: dict[str, Any]) -> str:
    """Ticks of a schedule in words."""
    text = f"{facts['ticks']} ticks"
    if facts["tolerance"]:
        text = f"up to {text}, until no state moves by more than {facts['tolerance']:g}"
    return f"{text}, damping {facts['damping']:g}" if facts["damping"] else text


def describe(facts: dict[str, Any]) -> list[str]:
    """Returns the facts of `summarize` as lines of text."""
    lines = [facts["title"]] if facts["title"] else []
    lines += textwrap.wrap(" ".join(facts["description"].split()), 100, initial_indent="  ", subsequent_indent="  ")

    def row(name: str, text: str) -> None:
        lines.append(f"{name:12}{text}")

    def some(count: int, noun: str) -> str:
        return f"{count:,} {noun}{'s' * (count != 1)}"

    hidden = facts["neurons"] - facts["inputs"] - facts["outputs"]
    row(
        "neurons",
        f"{facts['neurons']:,} ({some(facts['inputs'], 'input')}, {hidden:,} hidden, {some(facts['outputs'], 'output')})",
    )
    low, mean, high = facts["in_degree"]
    row(
        "synapses",
        f"{facts['synapses']:,} and {facts['biases']:,} biases; {low:,} to {high:,} synapses into a neuron, {mean:,} on average",
    )
    if facts["groups"] or facts["bias_groups"]:
        parts = [f"{some(facts['grouped_synapses'], 'synapse')} stored as {some(facts['groups'], 'number')}"] * bool(
            facts["groups"]
        )
        parts += [f"biases in {some(facts['bias_groups'], 'group')}"] * bool(facts["bias_groups"])
        row("shared", ", ".join(parts))
    if facts["fixed"]:
        row("fixed", f"{some(facts['fixed'], 'synapse')} with a weight that never changes")
    if facts["given_weights"] > facts["fixed"]:
        negative = f"; negative: {facts['negative_weights']:,}" if facts["negative_weights"] else ""
        row("weights", f"{some(facts['given_weights'] - facts['fixed'], 'learned synapse')} with a given start{negative}")
    row("levels", f"{facts['levels']:,}, the widest of {facts['widest_level']:,} neurons")
    ticks = "" if facts["schedule"] == "levels" else f", {_ticks(facts)}"
    if facts["acyclic"]:
        row("schedule", f"{facts['schedule']}{ticks}; acyclic")
    else:
        parts = facts["cyclic_components"]
        cycles = (
            f"{parts:,} cyclic component{'s' * (parts != 1)}, the largest of {facts['largest_component']:,} neurons"
            if parts
            else ""
        )
        loops = f"{facts['self_loops']:,} self-loop{'s' * (facts['self_loops'] != 1)}" if facts["self_loops"] else ""
        row("schedule", f"{facts['schedule']}{ticks}; {' and '.join(filter(None, [cycles, loops]))}")
    row("dense", f"{100 * facts['dense_share']:.3g} % of the synapses lie in complete blocks")
    if facts["dead"]:
        names = ", ".join(facts["dead_names"]) + (", ..." if facts["dead"] > len(facts["dead_names"]) else "")
        parts = f"{facts['unreachable']:,} out of reach of the inputs, {facts['dead_ends']:,} without a way to an output"
        row("dead", f"{some(facts['dead'], 'neuron')} ({parts}): {names}")
    else:
        row("dead", "none")
    shown = [f"{p['name']} {' x '.join(map(str, p['shape']))}" for p in facts["populations"][:12]]
    if shown:
        more = f", ... ({len(facts['populations']):,} in all)" if len(facts["populations"]) > 12 else ""
        row("populations", ", ".join(shown) + more)
    cost = facts["cost"]
    row("parameters", f"{cost['parameters']:,} with {cost['states']} states, each neuron and synapse alike")
    memory = f"synapses {_size(cost['synapse_bytes'])}, states {_size(cost['state_bytes'])} at batch {cost['batch']} (float32)"
    row("memory", memory)
    for note in facts["notes"]:
        lines += textwrap.wrap(note, 100, initial_indent=f"{'note':12}", subsequent_indent=" " * 12)
    row("digest", facts["digest"][:16])
    return lines


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError


@topology.command(context_settings=renamed(output="out"))
@click.argument("file", metavar="TOPOLOGY")
@out_file_option("Picture to write: .svg, .png or .pdf.", required=True)
@click.option(
    "--view",
    type=click.Choice(["boxes", "matrix", "histograms", "nodes", "all"]),
    default="boxes",
    show_default=True,
    help="Boxes and arrows; the adjacency matrix; degrees and levels; every neuron (up to 160); or all that can be drawn.",
)
@click.option(
    "--detail",
    type=click.Choice(["auto", "neurons", "populations"]),
    default="auto",
    show_default=True,
    help="Of boxes: every neuron, or boxes for populations.",
)
@reading
def draw(file: str, out: Path, view: Any, detail: Any, load: Callable[[str], Topology]) -> None:
    """Draw TOPOLOGY: every neuron of a small graph, boxes for the populations of a large one, or another --view.

    Cycles are red in every view. An SVG has at most 1 MB.

    \b
    neurograph topology draw residual --out residual.svg
    neurograph topology draw small_world --view all --out small_world.png
    """
    from neurograph.report.figures.topology import draw_topology

    for note in draw_topology(load(file), out, detail=detail, view=view).notes:
        print(f"{out}: {note}", file=sys.stderr)
    print(out)


@topology.command()
@click.argument("file", metavar="TOPOLOGY")
@click.argument("target")
@force_option
@reading
def convert(file: str, target: str, force: bool, load: Callable[[str], Topology]) -> None:
    """Write TOPOLOGY as the file TARGET, whose ending names the format. Nothing is lost: TARGET is read again and compared."""
    if Path(target).suffix.lower() not in FORMATS:
        raise TopologyError(f"{target}: the ending {Path(target).suffix!r} is not known; allowed: {', '.join(FORMATS)}.")
    if Path(target).exists() and not force:
        raise TopologyError(f"{target}: exists; --force overwrites it.")
    t = load(file)
    save_topology(t, target)
    again = load_topology(target, limits=Limits(max(t.num_neurons, 1), max(t.num_synapses, 1)))
    if again != t:
        raise TopologyError(f"{target}: does not read back as it was written; please report this.")
    print(f"{target}: {t.num_neurons:,} neurons, {t.num_synapses:,} synapses, digest {t.digest[:16]}")


@topology.command(context_settings=renamed(output="out", inputs="num-inputs", outputs="num-outputs"))
@click.argument("families", nargs=-1)
@click.option("--spec", metavar="FILE", help="A YAML list of families with ranges of their own, instead of names.")
@click.option("--num-inputs", "inputs", type=click.IntRange(1), default=64, show_default=True, help="Inputs of every graph.")
@click.option("--num-outputs", "outputs", type=click.IntRange(1), default=10, show_default=True, help="Outputs of every graph.")
@click.option("--count", type=click.IntRange(1), default=8, show_default=True, help="How many graphs.")
@seed_option
@out_folder_option("Save them here.")
@click.option(
    "--format",
    "ending",
    type=click.Choice([name.lstrip(".") for name in FORMATS]),
    default="graphml",
    show_default=True,
    help="Format of the files.",
)
@click.option("--draw", "pictures", is_flag=True, help="Also draw them, as .svg beside the files.")
@click.option("--list", "listing", is_flag=True, help="The families and their ranges, instead of graphs.")
@json_option
def sample(
    families: tuple[str, ...],
    spec: str | None,
    inputs: int,
    outputs: int,
    count: int,
    seed: int,
    out: Path | None,
    ending: str,
    pictures: bool,
    listing: bool,
    as_json: bool,
) -> None:
    """Draw random graphs of FAMILIES (default: all), list them, and with --out save them. Graph i of a seed is always the same.

    \b
    neurograph topology sample layered small_world --count 4
    neurograph topology sample --spec families.yaml --seed 7 --out graphs --draw
    neurograph topology sample --list
    """
    if listing:
        _list_families(as_json)
        return
    if families and spec:
        raise click.UsageError("FAMILIES and --spec: give one of them.")
    if pictures and out is None:
        raise click.UsageError("--draw needs --out FOLDER.")
    source, chosen = Source(), list(families) or None
    if spec:
        if not Path(spec).is_file():
            raise TopologyError(f"{spec}: there is no such file.")
        node = parse_yaml(Path(spec).read_text(encoding="utf-8"), spec)
        source, chosen = Source(spec, node), node.plain()
    drawn = RandomTopologies(chosen, inputs=inputs, outputs=outputs, source=source)
    rows = []
    for number in range(count):
        t = drawn.draw(seed, number)
        name = f"{t.title}_{seed}_{number}"
        size = {"neurons": t.num_neurons, "synapses": t.num_synapses, "levels": t.depth + 1}
        rows.append({"graph": name, "family": t.title, **size, "schedule": t.schedule, "ticks": t.ticks, "digest": t.digest})
        if out is None:
            continue
        out.mkdir(parents=True, exist_ok=True)
        save_topology(t, out / f"{name}.{ending}")
        if pictures:
            from neurograph.report.figures.topology import draw_topology

            draw_topology(t, out / f"{name}.svg")
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'graph':24}{'neurons':>9}{'synapses':>10}{'levels':>8}  schedule")
    for row in rows:
        ticks = "" if row["schedule"] == "levels" else f" x {row['ticks']}"
        print(f"{row['graph']:24}{row['neurons']:>9,}{row['synapses']:>10,}{row['levels']:>8,}  {row['schedule']}{ticks}")


def _list_families(as_json: bool) -> None:
    families = []
    for name, family in FAMILIES.items():
        keys = {key: info for key, info in family.model_fields.items() if key != "family"}
        about = {key: {"default": info.default, "about": info.description or ""} for key, info in keys.items()}
        families.append({"family": name, "about": (family.__doc__ or "").strip().splitlines()[0], "keys": about})
    if as_json:
        print(json.dumps(families, indent=2))
        return
    for family in families:
        print(f"{family['family']}: {family['about']}")
        for key, about in family["keys"].items():
            print(f"    {key:14}{about['about']} (default {json.dumps(about['default'])})")


@topology.command("list")
@click.argument("folder", required=False)
@click.option("--builders", is_flag=True, help="The kinds of connections and their keys, instead of files.")
@json_option
def list_(folder: str | None, builders: bool, as_json: bool) -> None:
    """List the topologies in FOLDER (default: those shipped), or with --builders the kinds of connections."""
    if builders:
        kinds = [
            {
                "kind": kind,
                "about": (builder.__doc__ or "").strip().splitlines()[0],
                "keys": {
                    str(info.alias or name): {
                        "required": info.is_required(),
                        "default": info.default,
                        "about": info.description or "",
                    }
                    if not info.is_required()
                    else {"required": True, "about": info.description or ""}
                    for name, info in builder.model_fields.items()
                    if name != "kind"
                },
            }
            for kind, builder in BUILDERS.items()
        ]
        if as_json:
            print(json.dumps(kinds, indent=2, ensure_ascii=False))
            return
        for kind in kinds:
            print(f"{kind['kind']}: {kind['about']}")
            for key, about in kind["keys"].items():
                default = "required" if about["required"] else f"default {json.dumps(about['default'])}"
                print(f"    {key:14}{about['about']} ({default})" if about["about"] else f"    {key:14}({default})")
        return
    shipped = folder is None
    folder = str(shipped_folder()) if folder is None else folder
    if not Path(folder).is_dir():
        raise TopologyError(f"{folder}: there is no such folder.")
    rows = []
    for path in sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in FORMATS):
        try:
            t = load_topology(path)
            size = {"neurons": t.num_neurons, "synapses": t.num_synapses, "levels": t.depth + 1}
            rows.append({"file": path.stem if shipped else str(path), "title": t.title, **size})
        except NeurographError as error:
            rows.append({"file": str(path), "fault": str(error).splitlines()[0]})
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max((len(row["file"]) for row in rows), default=0) + 2
    print(f"{'file':{width}}{'neurons':>9}{'synapses':>10}{'levels':>8}  title")
    for row in rows:
        if "fault" in row:
            print(f"{row['file']:{width}}{row['fault']}")
        else:
            print(f"{row['file']:{width}}{row['neurons']:>9,}{row['synapses']:>10,}{row['levels']:>8,}  {row['title']}")
