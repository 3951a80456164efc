"""`neurograph plan`: how a topology would be executed, and why."""

from __future__ import annotations

import dataclasses

import click

from neurograph.cli.options import batch_option, json_option, print_json, states_option

WIDE = 100  # columns of a terminal in which the table has room between its columns


@click.command()
@click.argument("file", metavar="TOPOLOGY")
@states_option
@batch_option
@click.option(
    "--device",
    type=click.Choice(["cpu", "gpu"]),
    help="Of which device: gpu shows what a rule would take on one [default: this one].",
)
@click.option("--rows", default=30, show_default=True, type=click.IntRange(min=1), help="Show at most this many blocks.")
@json_option
def plan(file: str, states: int, batch: int, device: str | None, rows: int, as_json: bool) -> None:
    """Show how TOPOLOGY is executed: which synapses run as products, gathers or scans, at what cost, and why.

    TOPOLOGY is a shipped one's name, layer widths such as 2-20-2, or a file.

    \b
    neurograph plan residual
    neurograph plan my.graphml --states 4 --batch 32 --json
    neurograph plan small_world --device gpu
    """
    import jax
    from rich.console import Console
    from rich.table import Table

    from neurograph.cli.loading import stages
    from neurograph.learning.load import genome_load
    from neurograph.learning.trial import Trial
    from neurograph.network.batch.route import TRAINING, explain, padded_on_gpu
    from neurograph.network.kernels import native
    from neurograph.network.plan import compile_plan
    from neurograph.network.plan.describe import block_costs
    from neurograph.network.plan.gpu import FLOPS, LAUNCH, RATE, choose, plan_of
    from neurograph.topology import load_topology

    gpu = (device or jax.default_backend()) == "gpu"
    taken, compared = "", {}
    with stages(file) as begin:
        topology = load_topology(file, progress=begin)
        begin(f"planning {topology.num_neurons:,} neurons")
        if gpu:
            taken, compared = choose(topology, states, batch)
            made = plan_of(topology, taken)
            compared = {**compared, "padded": padded_on_gpu(topology, states, batch)}
        else:
            made = compile_plan(topology, native=native.available())
        begin("finding how it runs in a transfer")
        beside = explain(topology, genome_load(states, Trial(batch_size=batch)))
    costs = block_costs(made, states)
    if as_json:
        blocks = [dataclasses.asdict(cost) for cost in costs]
        sizes = {"neurons": topology.num_neurons, "synapses": topology.num_synapses}
        sizes |= {"stages": len(made.stages), "phases": len(made.phases), "dense_share": made.dense_share}
        sizes |= {
            "transfer": beside,
            "training": TRAINING,
            "states": states,
            "batch": batch,
            "state_bytes": 4 * topology.num_neurons * states * batch,
            "device": "gpu" if gpu else "cpu",
        }
        if gpu:
            told = {name: dataclasses.asdict(c) | {"seconds": c.seconds} for name, c in compared.items()}
            sizes |= {"kernel": taken, "compared": told}
        print_json({"file": file, **sizes, "blocks": blocks})
        return
    console = Console()
    irregular = "gathers, segment sums" if gpu else native.description()
    console.print(
        f"{topology.num_neurons:,} neurons, {topology.num_synapses:,} synapses in {len(made.stages)} stages, "
        f"{len(made.phases)} phases; {made.dense_share:.0%} of the synapses in products; irregular ones: {irregular}",
        highlight=False,
    )
    reasons = {why: number for number, why in enumerate(dict.fromkeys(c.why for c in costs[:rows]), 1)}
    table = Table(box=None, pad_edge=False, padding=(0, 1), collapse_padding=console.width < WIDE)
    for name in ("level", "runs as", "from", "to"):
        table.add_column(name)
    for name in ("synapses", "Mflop", "MB", "why"):
        table.add_column(name, justify="right", no_wrap=True)
    for c in costs[:rows]:
        cost = f"{c.synapses:,}", f"{2e-6 * c.operations * batch:,.1f}", f"{c.bytes / 1e6:,.2f}"
        table.add_row(c.level, c.kind, c.source, c.target, *cost, f"({reasons[c.why]})")
    console.print(table)
    for why, number in reasons.items():
        console.print(f"({number}) {why}", highlight=False)
    if len(costs) > rows:
        console.print(f"... and {len(costs) - rows} more blocks (--rows {len(costs)} shows all)", highlight=False)
    neurons = 4 * topology.num_neurons * states * batch
    console.print(
        f"in all {2e-6 * batch * sum(c.operations for c in costs):,.1f} Mflop per step at batch {batch}; "
        f"synapses and tables {sum(c.bytes for c in costs) / 1e6:,.1f} MB, one copy of the states {neurons / 1e6:,.1f} MB",
        highlight=False,
    )
    if gpu:
        rates = f"{1e6 * LAUNCH:g} us a launch, {RATE / 1e12:g} TB/s, {FLOPS / 1e12:g} Tflop/s in products"
        console.print(f"on a GPU auto takes {taken}, by a rule that is not measured on one ({rates}):", highlight=False)
        for name, c in compared.items():
            moved = f"{c.bytes / 1e6:,.1f} MB, {2e-6 * c.operations:,.1f} Mflop"
            console.print(f"  {name}: {c.launches:,} launches, {moved}: {1e6 * c.seconds:,.0f} us a step", highlight=False)
        console.print("  padded: a graph of a NetworkBatch, whose graphs share the launches", highlight=False)
    console.print(f"in a transfer: {beside}", highlight=False)
    console.print(f"in meta-training: {TRAINING}", highlight=False)
