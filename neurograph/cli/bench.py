"""`neurograph bench`: what one topology costs on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click

from neurograph.cli.options import batch_option, genome_option, json_option, kernel_option, print_json, seed_option


@click.command()
@click.argument("topology")
@genome_option("digits")
@batch_option
@click.option("--steps", type=click.IntRange(1), default=10, show_default=True, help="Learning steps under the gradient.")
@click.option("--repeat", type=click.IntRange(1), default=7, show_default=True, help="Measurements, whose median is printed.")
@kernel_option
@click.option("--no-gradient", is_flag=True, help="Leave out the meta-gradient, which takes longest to compile.")
@seed_option
@json_option
def bench(
    topology: str, genome: str, batch: int, steps: int, repeat: int, kernel: str, no_gradient: bool, seed: int, as_json: bool
) -> None:
    """Measure TOPOLOGY on this machine: time of a learning step and of a meta-gradient, memory predicted and used.

    TOPOLOGY is a shipped one's name, layer widths such as 2-20-2, or a file. Inputs and labels are random: times do
    not depend on them. The numbers are rough; close other programs for better ones.

    \b
    neurograph bench mlp
    neurograph bench my.graphml --batch 32 --no-gradient --json
    """
    import jax
    import jax.numpy as jnp

    from neurograph.cli.loading import stages
    from neurograph.errors import ExperimentError
    from neurograph.genome import load_genome_file
    from neurograph.learning.inner_loop import meta_loss
    from neurograph.network.network import Network
    from neurograph.network.plan.describe import block_costs
    from neurograph.network.step import learning_step
    from neurograph.tasks import Batch, Episode
    from neurograph.topology import load_topology

    with stages(topology) as begin:
        file, graph = load_genome_file(genome), load_topology(topology, progress=begin)
    if file.rule is None:
        raise ExperimentError(f"genome {genome!r}: its file holds no rule, so nothing says how it is used")
    started = time.perf_counter()
    network = Network(graph, file.rule, kernel)
    planned = time.perf_counter() - started
    keys = jax.random.split(jax.random.key(seed), 4)
    n_in, n_out = len(graph.inputs), len(graph.outputs)
    x = jax.random.normal(keys[0], (steps + 1, batch, n_in))
    y = jnp.where(jax.random.bernoulli(keys[1], 0.5, (steps + 1, batch, n_out)), 1.0, -1.0)
    synapses = network.init(file.genome, key=keys[2])
    if not file.rule.reset_states:  # the carried states are there from the second step on
        synapses = network.step(file.genome, synapses, x[0], y[0], key=keys[3])[0]

    def step(genome: Any, synapses: Any, x: Any, y: Any) -> Any:
        return learning_step(network, genome, synapses, x, y, 0, keys[3], False)

    def loss(genome: Any, x: Any, y: Any) -> Any:
        episode = Episode(Batch(x[:-1], y[:-1]), Batch(x[-1], y[-1]))
        return meta_loss(network, genome, episode, key=keys[3])[0]

    measured = {"learning step": _measure(step, (file.genome, synapses, x[0], y[0]), repeat)}
    if not no_gradient:
        measured["meta-gradient"] = _measure(jax.value_and_grad(loss), (file.genome, x, y), repeat)
    costs = block_costs(network.plan, file.rule.states)
    foretold = sum(cost.bytes for cost in costs) + 4 * graph.num_neurons * file.rule.states * batch
    device = jax.devices()[0]
    result = {
        "topology": graph.title or topology,
        "neurons": graph.num_neurons,
        "synapses": graph.num_synapses,
        "genome": genome,
        "kernel": kernel,
        "batch": batch,
        "steps": steps,
        "repeat": repeat,
        "device": f"{device.platform}: {device.device_kind}",
        "plan_seconds": planned,
        "foretold_bytes": foretold,
        "measured": measured,
    }
    if as_json:
        print_json(result)
        return
    click.echo(
        f"{result['topology']}: {graph.num_neurons:,} neurons, {graph.num_synapses:,} synapses, batch {batch}, genome {genome},"
        f" on {result['device']}; planned in {planned:.2f} s"
    )
    click.echo(f"{'':16}{'median':>10}{'fastest':>10}{'slowest':>10}{'compiling':>11}{'memory':>11}")
    for name, one in measured.items():
        title = name if name == "learning step" else f"{name} ({steps})"
        memory = "not known" if one["bytes"] is None else f"{one['bytes'] / 1e6:,.1f} MB"
        times = "".join(f"{_time(one[key]):>10}" for key in ("median", "fastest", "slowest"))
        click.echo(f"{title:<18}"[:18].ljust(16) + f"{times}{_time(one['compiling']):>11}{memory:>11}")
    click.echo(f"memory predicted by the plan for a step: {foretold / 1e6:,.1f} MB (synapses, tables, one copy of the states)")


def _time(seconds: float) -> str:
    return f"{1e3 * seconds:,.2f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def _measure(function: Callable[..., Any], arguments: tuple[Any, ...], repeat: int) -> dict[str, Any]:
    """Returns seconds of compiling and running, and the peak of bytes that the compiled program states."""
    import statistics

    import jax

    started = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    compiling = time.perf_counter() - started
    seconds = []
    jax.block_until_ready(program(*arguments))
    for _ in range(repeat):
        started = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        seconds.append(time.perf_counter() - started)
    try:
        memory: Any = program.memory_analysis()
        size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    except (AttributeError, NotImplementedError, jax.errors.JaxRuntimeError):  # not every back end states it
        size = None
    return {
        "median": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "compiling": compiling,
        "bytes": size,
    }
