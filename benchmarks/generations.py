"""Meta-training on given graphs: `python -m benchmarks.generations` prints JSON. A program that holds all graphs, as those of an
experiment file with topologies run, against the graphs as data: seconds of compiling, of a generation and of a meta-gradient, and
the meta-step at which the first has caught up."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.measure import interleave, machine
from benchmarks.transfer import graphs as fitting

POPULATION, STEPS, BATCH, QUERY = 14, 20, 128, 256
COUNTS = (3, 6, 12)


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Returns a function's program, and the CPU seconds that tracing and compiling it took."""
    import jax

    begin = time.process_time()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.process_time() - begin


def measure(names: list[str], seconds: float) -> dict[str, Any]:
    """Both ways, on some graphs."""
    import jax
    import jax.numpy as jnp

    import neurograph as ng

    file, task = ng.load_genome_file("digits"), ng.get_task("digits")
    topologies = [ng.load_topology(name) for name in names]
    networks = [ng.Network(topology, file.rule) for topology in topologies]
    batch = ng.NetworkBatch(topologies, file.rule)
    keys = jax.random.split(jax.random.key(0), len(names))
    each = [*keys]

    def judged(network: Any, genome: Any, key: Any) -> Any:
        data, start = jax.random.split(key)
        episode = task.episode(data, STEPS, BATCH, QUERY, "train")
        return ng.meta_loss(network, genome, episode, key=start)

    def apart(genome: Any) -> Any:
        return sum(judged(network, genome, key)[0] for network, key in zip(networks, each, strict=True)) / len(names)

    def as_data(genome: Any) -> Any:
        counts = [len(tables["count"]) for tables in batch.tables]
        ends = [sum(counts[:number]) for number in range(len(counts) + 1)]
        parts = [keys[begin:end] for begin, end in itertools.pairwise(ends)]
        return sum(losses.sum() for losses, _ in batch.losses(judged, genome, parts)) / len(names)

    ways: dict[str, Callable[[Any], Any]] = {"in the program": apart, "as data": as_data}
    population = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], POPULATION, axis=0), file.genome)
    out: dict[str, Any] = {"graphs": names, "size classes": len(batch.classes)}
    for kind in ("generation", "meta-gradient"):
        runs, rows = {}, {}
        for name, way in ways.items():
            if kind == "generation":
                program, cost = compiled(lambda genomes, way=way: ng.population_map(way, genomes), population)
                runs[name] = lambda program=program: jax.block_until_ready(program(population))
            else:
                program, cost = compiled(jax.value_and_grad(way), file.genome)
                runs[name] = lambda program=program: jax.block_until_ready(program(file.genome))
            rows[name] = {"compile cpu s": cost}
        for name, times in interleave(runs, seconds=seconds, most=20).items():
            rows[name]["cpu s"] = times["cpu ms"] / 1e3
        first, second = rows["in the program"], rows["as data"]
        saved, lost = first["compile cpu s"] - second["compile cpu s"], second["cpu s"] - first["cpu s"]
        rows["even after"] = saved / lost if lost > 0 else None
        out[kind] = rows
        print(f"  {len(names)} graphs, {kind}: {rows}", file=sys.stderr)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    names = fitting(given.quick)
    counts = (2,) if given.quick else COUNTS
    chosen = [[names[number * len(names) // count] for number in range(count)] for count in counts]
    out = {"machine": machine(), "population": POPULATION, "steps": STEPS, "batch": BATCH}
    print(json.dumps(out | {"measured": [measure(own, given.seconds) for own in chosen]}))


if __name__ == "__main__":
    main()
