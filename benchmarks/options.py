"""What options of the rule cost: `python -m benchmarks.options` prints a table, and JSON with --json.

Every row is a workload, every column a rule; all rules of a workload run in turn in one process, so ratios of medians of CPU time
stand for what an option costs. Descent's genome, two states, batch 128, float32. `--gradients`: the meta-gradient of ten steps.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.measure import interleave, machine, warn_if_unpinned
from benchmarks.workloads import WORKLOADS, Workload

BATCH, STEPS = 128, 10
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("none", {}),
    "plain, known size": ("none", {"update_normalization": "neuron"}),
    "batch": ("batch", {"backward_normalization": "none"}),
    "derivative": ("batch", {}),
    "derivative, known size": ("batch", {"update_normalization": "neuron"}),
    "derivative, known size, trace": ("batch", {"update_normalization": "neuron", "synapse_trace": True}),
    "all, average": ("batch", {"update_normalization": "neuron", "synapse_trace": True, "synapse_average": True}),
}
"""By name: the normalization of neurons, and further options."""
RATIOS = {
    "known size": ("plain, known size", "plain"),
    "derivative": ("derivative", "batch"),
    "known size, under the derivative": ("derivative, known size", "derivative"),
    "trace": ("derivative, known size, trace", "derivative, known size"),
    "average": ("all, average", "derivative, known size, trace"),
}
"""By what they tell: the dearer rule, and the one without."""


def _runs(workload: Workload, gradients: bool) -> dict[str, Callable[[], Any]]:
    """A compiled step, or meta-gradient, per rule."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import neurograph as ng

    topology, random = workload.topology(), np.random.default_rng(0)
    lead = (STEPS, BATCH) if gradients else (BATCH,)
    x = jnp.asarray(random.standard_normal((*lead, len(topology.inputs)), np.float32))
    labels = random.integers(0, len(topology.outputs), lead)
    y = jnp.asarray(2 * np.eye(len(topology.outputs), dtype=np.float32)[labels] - 1)
    runs = {}
    for name, (normalization, options) in RULES.items():
        genome, rule = ng.backprop_genome(0.01, activation="tanh", normalization=normalization)
        network = ng.Network(topology, rule.replace(batch_reduction="mean", initial_deviation="fan_in", **options))
        synapses = network.init(genome, key=jax.random.key(0))

        def step(network: Any, genome: Any, synapses: Any) -> Any:
            return network.step(genome, synapses, x, y)

        def loss(genome: Any, network: Any, synapses: Any) -> Any:
            learned, _ = network.unroll(genome, synapses, x, y)
            return jnp.mean(network.predict(genome, learned, x[-1]) ** 2)  # which takes averages, where there are any

        run = jax.jit(jax.grad(loss)) if gradients else jax.jit(step)
        given = (genome, network, synapses) if gradients else (network, genome, synapses)
        runs[name] = lambda run=run, given=given: jax.block_until_ready(run(*given))
        runs[name]()  # compiles
    return runs


def measure(names: list[str], seconds: float, gradients: bool) -> dict[str, Any]:
    """Returns per workload the medians of every rule and the ratios of `RATIOS`."""
    import jax

    found = {}
    for name in names:
        print(f"{'meta-gradient' if gradients else 'step'}: {name}", file=sys.stderr, flush=True)
        times = interleave(_runs(WORKLOADS[name], gradients), seconds=seconds, most=50)
        cpu = {rule: row["cpu ms"] for rule, row in times.items()}
        found[name] = {"rules": times, "ratios": {what: cpu[dear] / cpu[cheap] for what, (dear, cheap) in RATIOS.items()}}
        jax.clear_caches()
        gc.collect()
    return found


def table(found: Mapping[str, Any]) -> str:
    """Returns the ratios in Markdown."""
    lines = [f"| | plain, ms | {' | '.join(RATIOS)} |", f"|---|---|{'---|' * len(RATIOS)}"]
    for name, row in found.items():
        ratios = " | ".join(f"{row['ratios'][what]:.2f}" for what in RATIOS)
        lines.append(f"| {name} | {row['rules']['plain']['cpu ms']:.3g} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", metavar="NAME,...", default=",".join(WORKLOADS), help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="per rule and workload (2)")
    parser.add_argument("--gradients", action="store_true", help="meta-gradients of ten steps in place of steps")
    parser.add_argument("--json", action="store_true", help="print medians and quartiles as JSON")
    given = parser.parse_args()
    names = [name.strip() for name in given.workloads.split(",")]
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"--workloads: {unknown[0]!r} is unknown; allowed: {', '.join(WORKLOADS)}")
    warn_if_unpinned()
    found = measure(names, given.seconds, given.gradients)
    print(json.dumps({"machine": machine(), "workloads": found}, indent=1) if given.json else table(found))


if __name__ == "__main__":
    main()
