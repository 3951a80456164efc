"""Arrays of one graph in its topology's order, checked and padded for `NetworkBatch.pack`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import ShapeError
from neurograph.genome.rule import Rule
from neurograph.network.batch.sizes import SizeClass
from neurograph.network.network import numbers, one_number
from neurograph.network.state import SCALARS
from neurograph.topology.graph import Topology

__all__ = ["checked", "padded_rows"]


def checked(where: str, arrays: Mapping[str, Any], topology: Topology, rule: Rule) -> dict[str, Any]:
    """One graph's arrays for `pack`, all there that the rule asks for, single-state synapses as one channel."""
    n, edges, k = topology.num_neurons, topology.num_synapses, rule.states
    shapes = {"forward": (edges, k), "backward": (edges, k), "bias": (n, k)}
    given = {name: value for name, value in arrays.items() if value is not None}
    allowed = (*shapes, "neurons", "traces", "averages")
    if unknown := [name for name in given if name not in allowed]:
        raise ShapeError(f"{where}: {unknown[0]!r} is no array of synapses; allowed: {', '.join(allowed)}")
    for name, option, refused in (
        ("backward", "symmetric: true, so backward synapses are the forward ones", rule.symmetric),
        ("neurons", "reset_states: true, so no states are carried over", rule.reset_states),
        ("traces", "synapse_trace: false, so synapses keep no traces", not rule.synapse_trace),
        ("averages", "synapse_average: false, so synapses keep no averages", not rule.synapse_average),
    ):
        if refused and name in given:
            raise ShapeError(f"{where}: {name}: the rule has {option}; expected None")
    if missing := [name for name in ("forward", *([] if rule.symmetric else ["backward"])) if name not in given]:
        raise ShapeError(f"{where}: {missing[0]}: expected an array of shape [{edges}, {k}]")

    def edge_arrays(prefix: str, given: Mapping[str, Any], dtype: Any) -> dict[str, jax.Array]:
        found = {}
        for name, shape in shapes.items():
            if name == "backward" and rule.symmetric:
                continue
            value = numbers(prefix + name, given.get(name, np.zeros(shape)), str(list(shape)))
            if value.shape != shape and not (rule.single_state_synapses and value.shape == (shape[0], 1)):
                raise ShapeError(f"{where}: {prefix}{name}: got shape {list(value.shape)}; expected {list(shape)}")
            dtype = jnp.result_type(value.dtype, jnp.float32) if dtype is None else dtype
            found[name] = value.astype(dtype)[:, : rule.synapse_channels]
        return found

    found: dict[str, Any] = edge_arrays("", given, None)
    dtype = found["forward"].dtype
    if rule.synapse_trace:
        found["traces"] = edge_arrays("traces: ", given.get("traces", {}), dtype)
    if rule.synapse_average:
        own = given.get("averages", {"forward": found["forward"], "bias": found["bias"], "steps": 0, "error": 0})
        if missing := sorted(name for name in ("forward", "bias", *SCALARS) if own.get(name) is None):
            raise ShapeError(f"{where}: averages: {missing[0]!r} is missing; expected forward, bias, steps and error, or None")
        both = edge_arrays("averages: ", {name: own[name] for name in ("forward", "bias")}, dtype)
        scalars = {name: one_number(f"{where}: averages: {name}", own[name]).astype(dtype) for name in SCALARS}
        found["averages"] = {"forward": both["forward"], "bias": both["bias"], **scalars}
    if "neurons" in given:
        value = numbers("neurons", given["neurons"], f"[batch, {n}, {k}]").astype(dtype)
        if value.ndim != 3 or value.shape[1:] != (n, k):
            raise ShapeError(f"{where}: neurons: got shape {list(value.shape)}; expected [batch, {n}, {k}]")
        found["neurons"] = value
    return found


def padded_rows(arrays: dict[str, Any], size: SizeClass) -> dict[str, Any]:
    """`checked` arrays with as many synapses and neurons as the class has."""
    found: dict[str, Any] = {}
    for name, value in arrays.items():
        if name in ("traces", "averages"):
            found[name] = padded_rows(value, size)
        elif name in SCALARS:
            found[name] = value
        elif name == "neurons":
            found[name] = jnp.pad(value, ((0, 0), (0, size.neurons - value.shape[1]), (0, 0)))
        else:
            found[name] = jnp.pad(value, ((0, (size.neurons if name == "bias" else size.synapses) - len(value)), (0, 0)))
    return found
