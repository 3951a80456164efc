"""The memory of a run in bytes: predicted from the plan before it is compiled, read from the compiled program after.

The budget of a device is its free memory less a reserve.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from neurograph.errors import PlanError
from neurograph.network.network import Network
from neurograph.network.plan import OWN

__all__ = ["compiled_bytes", "device_budget", "measured_bytes", "predicted_bytes", "readable_bytes"]

# Share of what is free that a run may take: the rest is for the program itself, fragmentation and other processes.
DEVICE_SHARE, HOST_SHARE = 0.9, 0.5


class Copies(NamedTuple):
    """How many copies of what are alive at once, measured (docs/performance.md): of the states of neurons that are updated once
    a pass, of those that a scan or native call updates, of those on cycles, of these again for every tick, of the inputs' one
    state, and of the synapses that a pass reads."""

    plain: float
    scanned: float
    cyclic: float
    ticks: float
    inputs: float
    synapses: float


RUN = Copies(plain=2.4, scanned=3.0, cyclic=3.6, ticks=0.1, inputs=0.0, synapses=1.9)
# A gradient through checkpoints: of one step, computed again, and its derivative; with more than two states, one more for each.
# Under batch normalization, levels that are scanned keep more, and so does every tick.
GRADIENT = Copies(plain=10.5, scanned=16.0, cyclic=4.0, ticks=11.0, inputs=3.0, synapses=4.0)
MORE_STATES, MORE_SCANNED, MORE_TICKS = 1.0, 5.0, 3.5
# Without checkpoints: of the last step, and of every step.
LAST = Copies(plain=9.0, scanned=13.0, cyclic=2.0, ticks=15.5, inputs=0.0, synapses=6.0)
EVERY = Copies(plain=9.4, scanned=8.4, cyclic=0.0, ticks=10.5, inputs=1.0, synapses=3.0)
# The same under batch normalization, and with thresholds behind it.
LAST_NORMALIZED = LAST._replace(ticks=20.0)
EVERY_NORMALIZED = EVERY._replace(plain=12.9, ticks=14.0)
LAST_THRESHOLDS = LAST._replace(scanned=20.0, ticks=23.0)
EVERY_THRESHOLDS = EVERY._replace(plain=15.5, scanned=10.0, ticks=15.5)


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


def predicted_bytes(
    network: Network, batch_size: int, steps: int = 1, *, gradient: bool = False, checkpoint: bool = True, itemsize: int = 4
) -> int:
    """Temporary memory and results of one genome's run, from the plan alone: nothing is compiled.

    What native code needs beside is not in it: at most the states of its neurons at 64 samples for every thread, and two copies
    of the synapses.

    Args:
      network: topology, rule and kernel.
      batch_size: B, rows of a step.
      steps: U; a run without a gradient holds one step at a time, a gradient keeps every step's synapses and one step's states
        (checkpoints).
      gradient: a meta-gradient with respect to the genome, rather than the steps alone.
      checkpoint: as in `Network.unroll`; without, a gradient keeps every step's states.
      itemsize: bytes per number: 2 for 16-bit states, 8 for float64.

    Raises:
      PlanError: sizes below 1.

    Examples:
      >>> import neurograph as ng
      >>> network = ng.Network(ng.load_topology("mlp"), ng.load_genome_file("digits").rule)
      >>> step = ng.predicted_bytes(network, batch_size=128)
      >>> gradient = ng.predicted_bytes(network, batch_size=128, steps=10, gradient=True)
      >>> step < gradient < ng.predicted_bytes(network, batch_size=128, steps=10, gradient=True, checkpoint=False)
      True
    """
    if batch_size < 1 or steps < 1:
        raise PlanError(f"batch_size: {batch_size}, steps: {steps}; expected integers > 0")
    sizes = _sizes(network, batch_size, itemsize)
    total = lambda copies: sum(map(operator.mul, copies, sizes))  # noqa: E731
    messages = 0
    if network.kernel_name == "reference":
        messages = 3 * network.topology.num_synapses * network.rule.states * batch_size * itemsize
    if not gradient:
        return int(total(RUN) + messages)
    normalized = network.rule.normalization == "batch"
    more = MORE_STATES * (network.rule.states - 2)
    if not checkpoint:
        last, every = (LAST_NORMALIZED, EVERY_NORMALIZED) if normalized else (LAST, EVERY)
        if normalized and network.rule.bias_after_normalization:
            last, every = LAST_THRESHOLDS, EVERY_THRESHOLDS
        every = every._replace(plain=every.plain + more)
        return int(total(last) + steps * total(every) + (1 + steps) * messages)
    copies = GRADIENT._replace(plain=GRADIENT.plain + more, scanned=GRADIENT.scanned + more)
    if normalized:
        copies = copies._replace(scanned=copies.scanned + MORE_SCANNED, ticks=copies.ticks + MORE_TICKS)
    return int(total(copies) + steps * _stored(network) * itemsize + 2 * messages)


def _sizes(network: Network, batch_size: int, itemsize: int) -> Copies:
    """The bytes of one copy of everything that `Copies` counts."""
    plan, rule = network.plan, network.rule
    row = batch_size * itemsize
    plain = scanned = cyclic = ticks = 0
    for phase in plan.phases:
        size = rule.states * row * sum(plan.stages[s].size for s in phase.stages if plan.stages[s].kind != "input")
        if phase.cyclic:
            cyclic, ticks = cyclic + size, ticks + phase.ticks * size
        elif phase.scanned:
            scanned += size
        else:
            plain += size
    numbers = sum(block.edges.size for block in plan.blocks)
    synapses = numbers * rule.synapse_channels * (1 if rule.symmetric else 2) * itemsize
    return Copies(plain, scanned, cyclic, ticks, len(network.topology.inputs) * row, synapses)


def _stored(network: Network) -> int:
    """Numbers that learning carries from step to step: of own synapses and of groups, both ways where they differ, and biases."""
    plan, rule = network.plan, network.rule
    own = sum(b.counts[0] if b.kind in ("gather", "levels") else b.edges.size * (b.sort == OWN) for b in plan.blocks)
    groups = int(plan.group.max(initial=-1)) + 1
    forward = own + groups + int(network.topology.bias.sum())
    both = forward if rule.symmetric else forward + own + groups
    return rule.synapse_channels * (both * (2 if rule.synapse_trace else 1) + forward * rule.synapse_average)


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
