"""Synapses of a rule with fewer states, widened to a rule with more."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from neurograph.errors import GenomeError
from neurograph.genome.layers import AnyGenome
from neurograph.network.network import Network
from neurograph.network.state import SCALARS, Synapses

__all__ = ["extend_synapses"]


def extend_synapses(narrow: Network, wide: Network, synapses: Synapses, genome: AnyGenome, *, key: PRNGKeyArray) -> Synapses:
    """Synapses of a network for the same network under an extended genome: old channels as they are, new ones drawn.

    Args:
      narrow, wide: networks of one topology, under the old rule and the one that `extend_genome` gave.
      synapses: packed, of `narrow`; carried states (`reset_states: false`) come along, new ones at rest, and so do traces
        (`synapse_trace: true`), those of new channels empty, and averages (`synapse_average: true`).
      genome: the extended one: its deviation is what new channels are drawn with.
      key: for the new channels (single-state synapses have none).

    Returns:
      Packed synapses of `wide`.

    Raises:
      GenomeError: the networks differ in more than the number of states.

    Examples:
      >>> import jax
      >>> import neurograph as ng
      >>> file, topology = ng.load_genome_file("functions"), ng.load_topology("mlp_2d_classes")
      >>> narrow = ng.Network(topology, file.rule)
      >>> synapses = narrow.init(file.genome, key=jax.random.key(0))
      >>> genome, rule = ng.extend_genome(file, states=3)
      >>> wide = ng.Network(topology, rule)
      >>> wider = ng.extend_synapses(narrow, wide, synapses, genome, key=jax.random.key(1))
      >>> wide.unpack(wider)["forward"].shape == (topology.num_synapses, 3)
      True
    """
    k, states = narrow.rule.states, wide.rule.states
    if narrow.topology.digest != wide.topology.digest:
        raise GenomeError("narrow and wide: their topologies differ; expected the same")
    if states <= k or narrow.rule.replace(states=states) != wide.rule:
        raise GenomeError("narrow and wide: their rules differ in more than states, or wide has not more states")
    old, fresh = narrow.unpack(synapses), wide.unpack(wide.init(genome, key=key))
    arrays: dict[str, Any] = {
        name: jnp.concatenate([jnp.asarray(old[name]), jnp.asarray(value)[:, k:].astype(jnp.asarray(old[name]).dtype)], axis=1)
        for name, value in fresh.items()
        if not name.startswith("average_")
    }
    traces = {name: arrays.pop(f"{name}_trace") for name in list(arrays) if f"{name}_trace" in arrays}
    if wide.rule.symmetric:
        arrays["backward"] = None
    if traces:
        arrays["traces"] = traces
    if "average_steps" in old:
        averages = {name: arrays.pop(f"{name}_average") for name in ("forward", "bias")}
        arrays["averages"] = averages | {name: old[f"average_{name}"] for name in SCALARS}
    if synapses.neurons is not None:
        carried = narrow.outside(synapses.neurons)
        arrays["neurons"] = jnp.pad(carried, ((0, 0), (0, 0), (0, states - k)))
    return wide.pack(**arrays)
