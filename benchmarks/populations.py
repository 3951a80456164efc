"""Populations on all cores: `python -m benchmarks.populations` prints JSON. A process of its own, because it shows JAX every core
as a device before JAX starts; the rest of the benchmarks is pinned to one core."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from benchmarks.measure import interleave, machine
from benchmarks.peers import make_case
from benchmarks.peers.case import STEPS
from benchmarks.workloads import WORKLOADS

NAMES = ("mlp-100-64-64-10", "mlp-784-512-10", "dag-2k")
COUNT = 16


def measure(name: str, counts: tuple[int, ...], seconds: float, gradient: bool) -> dict[str, Any]:
    """One genome, and so many at once, of which every one learns on synapses of its own."""
    import jax
    import jax.numpy as jnp

    import neurograph as ng
    from benchmarks.peers.jax_peers import our_network

    case = make_case(WORKLOADS[name])
    network, genome, synapses = our_network(case)
    x, y = jnp.asarray(case.x), jnp.asarray(case.y)

    def loss(genome: Any, synapses: Any) -> jax.Array:
        synapses, _ = network.unroll(genome, synapses, x[:STEPS], y[:STEPS])
        return jnp.mean((network.predict(genome, synapses, x[STEPS]) - y[STEPS]) ** 2)

    def member(pair: Any) -> Any:
        genome, synapses = pair
        return jax.grad(loss)(genome, synapses) if gradient else network.step(genome, synapses, x[0], y[0])

    one = jax.jit(member)
    runs = {"one": lambda: jax.block_until_ready(one((genome, synapses)))}
    devices = jax.devices()
    where = jax.sharding.NamedSharding(jax.sharding.Mesh(devices, ("members",)), jax.sharding.PartitionSpec("members"))
    for count in counts:
        stacked = jax.tree.map(lambda leaf, count=count: jnp.repeat(leaf[None], count, axis=0), (genome, synapses))
        runs[f"{count}, one device"] = lambda stacked=stacked: jax.block_until_ready(ng.population_map(member, stacked))
        if len(devices) > 1 and count % len(devices) == 0:
            spread = jax.device_put(stacked, where)
            runs[f"{count}, all cores"] = lambda spread=spread: jax.block_until_ready(
                ng.population_map(member, spread, devices=devices)
            )
    for run in runs.values():
        run()  # compiles
    return interleave(runs, seconds=seconds, most=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # whoever started this may be pinned to one core
    import jax

    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    out: dict[str, Any] = {"machine": machine(), "step": {}, "meta-gradient": {}, "curve": {}}
    for name in NAMES[:1] if given.quick else NAMES:
        print(f"  {name}", file=sys.stderr)
        out["step"][name] = measure(name, (COUNT,), given.seconds, False)
        out["meta-gradient"][name] = measure(name, (COUNT,), given.seconds, True)
        jax.clear_caches()
    counts = (2, 4) if given.quick else (2, 4, 8, 16, 32, 64)
    out["curve"][NAMES[0]] = measure(NAMES[0], counts, given.seconds / 2, False)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
