"""The memory of a run in bytes: predicted from the plan before it is compiled, read from the compiled program after.

The budget of a device is its free memory less a reserve.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from neurograph.errors import PlanError
from neurograph.network.network import Network

__all__ = ["compiled_bytes", "device_budget", "measured_bytes", "predicted_bytes", "readable_bytes"]

# Share of what is free that a run may take: the rest is for the program itself, fragmentation and other processes.
DEVICE_SHARE, HOST_SHARE = 0.9, 0.5
# Copies of all neurons' states that are alive at once (measured): states, signals and mixed states of a pass and of the synapse
# update; a gradient also holds those of the pass that it goes back through. A scan over levels keeps more of its neurons.
STATE_COPIES, GRADIENT_STATE_COPIES = 2.5, 11.0
SCANNED_COPIES, GRADIENT_SCANNED_COPIES = 2.5, 14.0
# Copies of the stored synapses: the change and the learned ones; a gradient also has their derivatives.
SYNAPSE_COPIES, GRADIENT_SYNAPSE_COPIES = 2.0, 5.0


def readable_bytes(count: float) -> str:
    """Returns a text such as "1.5 GB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size:
            return f"{count / size:.3g} {unit}"
    return f"{int(count)} bytes"


def device_budget(device: Any = None) -> int:
    """Bytes that a run on this device may take: 0.9 of an accelerator's free memory, half of the host's (of its control group).

    Args:
      device: a `jax.Device`; default: JAX's first.
    """
    device = jax.local_devices()[0] if device is None else device
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(DEVICE_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    return int(HOST_SHARE * _free_host_bytes())


def _free_host_bytes() -> int:
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    info = Path("/proc/meminfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
        if "MemAvailable" in lines:
            free = 1024 * int(lines["MemAvailable"].split()[0])
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, max(int(text) - int(used.read_text()), 0))
    return free


def predicted_bytes(network: Network, batch_size: int, steps: int = 1, *, gradient: bool = False, itemsize: int = 4) -> int:
    """Temporary memory and results of one genome's run, from the plan alone: nothing is compiled.

    Args:
      network: topology, rule and kernel.
      batch_size: B, rows of a step.
      steps: U; a run without a gradient holds one step at a time, a gradient keeps every step's synapses and one step's states
        (checkpoints).
      gradient: a meta-gradient with respect to the genome, rather than the steps alone.
      itemsize: bytes per number: 2 for 16-bit states, 8 for float64.

    Raises:
      PlanError: sizes below 1.

    Examples:
      >>> import neurograph as ng
      >>> network = ng.Network(ng.load_topology("mlp"), ng.load_genome_file("digits").rule)
      >>> step = ng.predicted_bytes(network, batch_size=128)
      >>> step < ng.predicted_bytes(network, batch_size=128, steps=10, gradient=True)
      True
    """
    if batch_size < 1 or steps < 1:
        raise PlanError(f"batch_size: {batch_size}, steps: {steps}; expected integers > 0")
    states, synapses, messages = _parts(network, batch_size, itemsize)
    plan = network.plan
    scanned = sum(plan.stages[stage].size for phase in plan.phases if phase.scanned for stage in phase.stages)
    share = scanned / network.topology.num_neurons
    if not gradient:
        return int((STATE_COPIES + SCANNED_COPIES * share) * states + SYNAPSE_COPIES * synapses + messages)
    copies = GRADIENT_STATE_COPIES + GRADIENT_SCANNED_COPIES * share
    return int(copies * states + (GRADIENT_SYNAPSE_COPIES + steps) * synapses + 2 * messages)


def _parts(network: Network, batch_size: int, itemsize: int) -> tuple[int, int, int]:
    """Bytes of one copy of the states, of the stored synapses, and of the messages that a kernel writes out."""
    topology, rule = network.topology, network.rule
    states = topology.num_neurons * rule.states * batch_size * itemsize
    numbers = sum(block.edges.size for block in network.plan.blocks) + topology.num_neurons
    synapses = numbers * rule.synapse_channels * (1 if rule.symmetric else 2) * itemsize
    messages = 0
    if network.kernel_name == "reference":
        messages = 3 * topology.num_synapses * rule.states * batch_size * itemsize
    return states, synapses, messages


def compiled_bytes(compiled: Any) -> int:
    """Temporary memory and results of a compiled program (`jax.jit(f).lower(...).compile()`)."""
    analysis = compiled.memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes)


def measured_bytes(function: Callable[..., Any], *examples: Any) -> int:
    """Returns the bytes that `function(*examples)` takes: it is compiled for their shapes, not run. Works while tracing, too."""
    leaves, tree = jax.tree.flatten(examples)
    closed = jax.make_jaxpr(lambda *flat: function(*jax.tree.unflatten(tree, flat)))(*leaves)
    shapes = [jax.ShapeDtypeStruct(np.shape(value), value.dtype) for value in (*closed.consts, *leaves)]
    number = len(closed.consts)
    run = jax.jit(lambda *flat: jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, flat[:number]))(*flat[number:]))
    return compiled_bytes(run.lower(*shapes).compile())
