"""Facts about a topology, which `neurograph topology show` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool

from neurograph.topology import structure
from neurograph.topology.graph import Topology

__all__ = ["dense_share", "estimate", "headline", "in_complete_blocks", "summarize"]


def estimate(topology: Topology, states: int, batch: int) -> dict[str, Any]:
    """Stored numbers and memory of a network on this topology, float32, symmetric multi-state synapses; from sizes alone.

    Returns:
      `parameters`: stored numbers per state times states (a group counts once, fixed synapses do not count);
      `synapse_bytes`: one number per synapse and bias and state; `state_bytes`: all neuron states of one batch.
    """
    learned = ~topology.fixed
    free = int((learned & (topology.group < 0)).sum()) + len(np.unique(topology.group[learned & (topology.group >= 0)]))
    biases = topology.bias
    free += int((biases & (topology.bias_group < 0)).sum()) + len(
        np.unique(topology.bias_group[biases & (topology.bias_group >= 0)])
    )
    return {
        "states": states,
        "batch": batch,
        "parameters": free * states,
        "synapse_bytes": 4 * states * (topology.num_synapses + int(biases.sum())),
        "state_bytes": 4 * states * batch * topology.num_neurons,
    }


def dense_share(topology: Topology) -> float:
    """Share of the synapses that lie in complete blocks: all of one population and level to all of another."""
    return float(in_complete_blocks(topology).mean()) if topology.num_synapses else 0.0


def in_complete_blocks(topology: Topology) -> Bool[np.ndarray, " synapses"]:
    """Returns which synapses lie in complete blocks."""
    _, block = np.unique(np.stack([topology.levels, topology.population]), axis=1, return_inverse=True)
    block = block.ravel()
    size = np.bincount(block).astype(np.int64)
    pair = block[topology.senders].astype(np.int64) * len(size) + block[topology.receivers]
    pairs, inverse, count = np.unique(pair, return_inverse=True, return_counts=True)
    return (count == size[pairs // len(size)] * size[pairs % len(size)])[inverse.ravel()]


def headline(topology: Topology) -> str:
    """Returns one line: sizes, levels, cycles and dead neurons."""
    t = topology
    some = lambda count, noun: f"{count:,} {noun}{'s' * (count != 1)}"  # noqa: E731
    parts = [some(t.num_neurons, "neuron"), some(t.num_synapses, "synapse")]
    parts += [f"{len(t.inputs):,} in", f"{len(t.outputs):,} out", some(t.depth + 1, "level")]
    if t.is_acyclic:
        parts.append("acyclic")
    elif (sizes := np.bincount(t.components)).max() > 1:
        parts.append(f"{some(int((sizes > 1).sum()), 'cyclic component')} (largest {sizes.max():,})")
    else:
        parts.append(some(int((t.senders == t.receivers).sum()), "self-loop"))
    if t.dead.any():
        parts.append(f"{int(t.dead.sum()):,} dead")
    return ", ".join(parts)


def summarize(
    topology: Topology, *, states: int = 2, batch: int = 128, cost: Callable[[Topology, int, int], dict[str, Any]] = estimate
) -> dict[str, Any]:
    """Returns everything that `show` prints, as plain data.

    Args:
      states, batch: for the estimate of memory.
      cost: what makes the estimate; the place to plug a compiled plan in.
    """
    t = topology
    sizes = np.bincount(t.components)
    cyclic = np.flatnonzero(sizes > 1)
    dead = np.flatnonzero(t.dead)
    into, outof = np.bincount(t.receivers, minlength=t.num_neurons), np.bincount(t.senders, minlength=t.num_neurons)
    return {
        "title": t.title,
        "description": t.description,
        "neurons": t.num_neurons,
        "inputs": len(t.inputs),
        "outputs": len(t.outputs),
        "synapses": t.num_synapses,
        "biases": int(t.bias.sum()),
        "fixed": int(t.fixed.sum()),
        "groups": int(t.group.max(initial=-1)) + 1,
        "grouped_synapses": int((t.group >= 0).sum()),
        "bias_groups": int(t.bias_group.max(initial=-1)) + 1,
        "given_weights": int((~np.isnan(t.weight)).sum()),
        "negative_weights": int((t.weight < 0).sum()),
        "levels": t.depth + 1,
        "widest_level": int(np.bincount(t.levels).max()),
        "in_degree": _spread(into[into > 0]),
        "out_degree": _spread(outof[outof > 0]),
        "acyclic": t.is_acyclic,
        "cyclic_components": len(cyclic),
        "largest_component": int(sizes.max()),
        "self_loops": int((t.senders == t.receivers).sum()),
        "schedule": t.schedule,
        "ticks": t.ticks,
        "tolerance": t.tolerance,
        "damping": t.damping,
        "dense_share": dense_share(t),
        "dead": len(dead),
        "dead_names": [t.names[i] for i in dead[:10]],
        "unreachable": int(t.unreachable.sum()),
        "dead_ends": int(t.dead_end.sum()),
        "isolated": int(((into == 0) & (outof == 0)).sum()),
        "populations": [
            {"name": name, "shape": list(shape), "neurons": int((t.population == i).sum())}
            for i, (name, shape) in enumerate(zip(t.population_names, t.population_shapes))
        ]
        if len(t.population_names) <= 1000
        else [],
        "cost": cost(t, states, batch),
        "notes": _notes(t),
        "digest": t.digest,
    }


def _notes(t: Topology) -> list[str]:
    """Sentences about a schedule that does not suit the graph."""
    far = structure.distances(t.num_neurons, t.senders, t.receivers, t.inputs)[t.outputs]
    notes = []
    if t.schedule == "synchronous" and t.ticks < int(far.max()):
        i = t.outputs[int(np.argmax(far))]
        notes.append(
            f"output {t.names[i]!r} is {int(far.max())} synapses from the nearest input, but there are {t.ticks} ticks: "
            "with states reset at every step it never sees the input."
        )
    if t.schedule == "synchronous" and t.is_acyclic and t.ticks < t.depth:
        notes.append(
            f"the graph is acyclic and {t.depth} deep; with {t.ticks} ticks it has not settled (schedule levels is exact)."
        )
    if t.schedule == "mixed" and t.is_acyclic:
        notes.append("the graph is acyclic: schedule mixed does what levels does.")
    return notes


def _spread(degrees: np.ndarray) -> list[float]:
    """Smallest, mean and largest."""
    return [int(degrees.min()), round(float(degrees.mean()), 2), int(degrees.max())] if len(degrees) else [0, 0, 0]
