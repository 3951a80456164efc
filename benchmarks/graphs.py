"""Many small graphs: `python -m benchmarks.graphs` prints JSON. Fresh graphs with compilation, against a `Network` for each;
steps in steady state; memory; layouts of synapses. A process of its own, so that nothing is compiled before."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import interleave, machine, resident_bytes
from benchmarks.workloads import random_dag

STEPS, BATCH, INPUTS, OUTPUTS = 10, 128, 64, 10
SAMPLE = 20  # graphs that have a Network of their own; the rest is extrapolated
SMALL = 300  # neurons of the shipped graphs that are measured in steady state


def graphs(count: int, seed: int = 0) -> list[Any]:
    """Random acyclic graphs of at most 200 neurons, of two to ten synapses per neuron."""
    random = np.random.default_rng(seed)
    sizes = random.integers(INPUTS + OUTPUTS + 20, 201, count)
    drawn = []
    for number, n in enumerate(sizes.tolist()):
        synapses = int(n * random.uniform(2, 10))
        drawn.append(random_dag(n, synapses, inputs=INPUTS, outputs=OUTPUTS, seed=seed + number))
    return drawn


def _rule() -> Any:
    import neurograph as ng

    return ng.backprop_genome(1e-3, normalization="batch")


def _arrays(count: int, dtype: Any = np.float32) -> tuple[Any, Any]:
    random = np.random.default_rng(1)
    x = random.standard_normal((count, STEPS, BATCH, INPUTS), dtype)
    return x, random.choice(np.array([-1, 1], dtype), (count, STEPS, BATCH, OUTPUTS))


def fresh(count: int, chunk: int) -> dict[str, Any]:
    """Seconds of `count` graphs that nobody has seen, ten steps each, compilation included, and of a `Network` for each."""
    import jax

    import neurograph as ng

    genome, rule = _rule()
    drawn = graphs(count)
    sizes = [t.num_neurons for t in drawn]
    out: dict[str, Any] = {"graphs": count, "neurons": [min(sizes), max(sizes)], "chunk": chunk}
    common = ng.SizeClass.of(drawn)
    x, y = _arrays(chunk)

    def run() -> Any:
        for start in range(0, count, chunk):
            batch = ng.NetworkBatch(drawn[start : start + chunk], rule, sizes=common)
            synapses = batch.init(genome, key=jax.random.key(start))
            jax.block_until_ready(batch.unroll(genome, synapses, x, y))

    begin = time.perf_counter()
    grown = resident_bytes(run)
    out["batch s"] = time.perf_counter() - begin
    out["batch peak MB"] = None if grown is None else grown / 1e6
    begin = time.perf_counter()
    run()
    out["batch again, compiled s"] = time.perf_counter() - begin
    begin = time.perf_counter()
    for graph in drawn[:SAMPLE]:
        network = ng.Network(graph, rule)
        synapses = network.init(genome, key=jax.random.key(0))
        jax.block_until_ready(network.unroll(genome, synapses, x[0], y[0]))
    out["networks s"] = (time.perf_counter() - begin) * count / SAMPLE
    out["networks measured"] = SAMPLE
    out["times quicker"] = out["networks s"] / out["batch s"]
    return out


def steady(seconds: float, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """A step in steady state on every shipped graph of at most 300 neurons, alone in its batch, beside `Network`'s auto."""
    import jax
    import jax.numpy as jnp

    import neurograph as ng

    genome, rule = _rule()
    found = {}
    for path in sorted((Path(__file__).parents[1] / "topologies").iterdir()):
        if path.suffix not in {".yaml", ".json", ".csv", ".graphml"} or (names and path.stem not in names):
            continue
        topology = ng.load_topology(path)
        if topology.num_neurons > SMALL or len(topology.outputs) < 2:
            continue
        try:
            batch = ng.NetworkBatch([topology], rule)
        except ng.PlanError:
            continue
        network = ng.Network(topology, rule)
        random = np.random.default_rng(0)
        x = jnp.asarray(random.standard_normal((1, STEPS, BATCH, len(topology.inputs)), np.float32))
        y = jnp.asarray(random.choice(np.float32([-1, 1]), (1, STEPS, BATCH, len(topology.outputs))))
        one, many = network.init(genome, key=jax.random.key(0)), batch.init(genome, key=jax.random.key(0))
        runs = {
            "auto": lambda: jax.block_until_ready(network.unroll(genome, one, x[0], y[0])),  # noqa: B023
            "batch": lambda: jax.block_until_ready(batch.unroll(genome, many, x, y)),  # noqa: B023
        }
        for run in runs.values():
            run()  # compiles
        times = interleave(runs, seconds=seconds, most=50)
        row = {name: times[name]["cpu ms"] / STEPS for name in runs}
        found[path.name] = row | {"ratio": row["batch"] / row["auto"], "padding": float(batch.padding[0])}
        print(f"  {path.name}: {found[path.name]}", file=sys.stderr)
        jax.clear_caches()
    return found


def layouts(seconds: float, sizes: tuple[int, ...] = (100, 200, 400, 800, 1600, 3200)) -> dict[str, Any]:
    """Milliseconds of one product and one update of all synapses: as a padded matrix, and by rows of each neuron's senders."""
    import jax
    import jax.numpy as jnp

    columns, found = 2 * BATCH, {}

    def matrix(w: Any, x: Any, y: Any) -> Any:
        return w @ x, y @ x.T

    def rows(w: Any, senders: Any, x: Any, y: Any) -> Any:
        sent = x[senders]
        return jnp.einsum("nd,ndb->nb", w, sent), jnp.einsum("nb,ndb->nd", y, sent)

    def in_turn(w: Any, senders: Any, x: Any, y: Any) -> Any:
        def one(total: Any, place: Any) -> Any:
            sent = x[senders[:, place]]
            return total + w[:, place, None] * sent, (y * sent).sum(axis=1)

        return jax.lax.scan(one, jnp.zeros_like(x), jnp.arange(w.shape[1]))

    for count in sizes:
        for degree in (8, 32):
            random = np.random.default_rng(0)
            senders = jnp.asarray(np.sort(random.integers(0, count, (count, degree)), axis=1), jnp.int32)
            w, x, y = (jnp.asarray(random.standard_normal((count, n), np.float32)) for n in (degree, columns, columns))
            whole = jnp.zeros((count, count)).at[jnp.arange(count)[:, None], senders].add(w)
            programs: dict[str, tuple[Any, tuple[Any, ...]]] = {
                "matrix": (jax.jit(matrix), (whole, x, y)),
                "rows": (jax.jit(rows), (w, senders, x, y)),
                "rows in turn": (jax.jit(in_turn), (w, senders, x, y)),
            }
            runs = {
                name: lambda run=run, given=given: jax.block_until_ready(run(*given)) for name, (run, given) in programs.items()
            }
            for run in runs.values():
                run()  # compiles
            times = interleave(runs, seconds=seconds, most=200)
            found[f"{count} x {degree}"] = {name: own["cpu ms"] for name, own in times.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--chunk", type=int, default=100, help="graphs in one call")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["fresh", "steady", "layouts"])
    given = parser.parse_args()
    out: dict[str, Any] = {"machine": machine()}
    if given.only in (None, "fresh"):
        out["fresh"] = fresh(40 if given.quick else given.count, 20 if given.quick else given.chunk)
    if given.only in (None, "steady"):
        out["steady"] = steady(0.2 if given.quick else given.seconds)
    if given.only in (None, "layouts"):
        out["layouts"] = layouts(0.1, (50,)) if given.quick else layouts(given.seconds)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
