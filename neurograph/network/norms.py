"""Normalization of synapses: the lengths of the synapses that arrive at each neuron (appendix C.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from neurograph.genome import AnyGenome
from neurograph.network.kernels import BACKWARD, FORWARD, Kernel
from neurograph.network.state import Synapses, Weights
from neurograph.network.wiring import Wiring, gate, genomes_at_stages

__all__ = ["NORM_EPSILON", "arriving_sums", "at_synapses", "column_norms", "frozen_norms", "square_sum"]


NORM_EPSILON = 1e-9  # under the root of a synapse norm (the authors')


def column_norms(wiring: Wiring, genome: AnyGenome, weights: Weights, direction: str) -> list[Any]:
    """Per stage [channels, neurons, 1]: what arriving synapses are divided by in a pass; None where nothing arrives."""
    kernel, norms, local = wiring.kernel, [], genomes_at_stages(wiring, genome)
    for stage, info in enumerate(wiring.plan.stages):
        total = square_sum(kernel, weights, stage, info, direction)
        if total is None:
            norms.append(None)
            continue
        norm = jnp.sqrt(total + NORM_EPSILON)
        norms.append(norm / gate(local[stage].rescale).astype(norm.dtype) if wiring.rule.rescale else norm)
    return norms


def square_sum(kernel: Kernel, weights: Weights, stage: int, info: Any, direction: str) -> jax.Array | None:
    """sum of squares of the synapses arriving at each neuron of a stage, [channels, neurons, 1]; the bias counts forward."""
    some = jax.tree.leaves(weights)[0]
    ones = [jnp.ones((some.shape[0], s.size, 1), some.dtype) for s in kernel.plan.stages]
    total = kernel.aggregate(direction, stage, weights, ones, square=True)
    if direction == FORWARD and info.kind != "input":
        bias = kernel.bias_values(weights, stage)
        if bias is not None:
            total = (bias * bias)[:, :, None] + (0 if total is None else total)
    return total


def at_synapses(wiring: Wiring, rows: list[jax.Array], twin: str) -> Weights:
    """Rows [channels, neurons, 1] per stage at the stored numbers whose synapses arrive there; members of a group are summed."""
    kernel, plan = wiring.kernel, wiring.plan
    ones = [jnp.ones_like(row) for row in rows]
    if twin == BACKWARD:
        return kernel.correlate(rows, ones)
    found = kernel.correlate(ones, rows)
    bias = [row[:, :, 0] if info.bias.any() else None for info, row in zip(plan.stages, rows, strict=True)]
    return Weights(found.blocks, found.sparse, found.shared, *kernel.bias_store(bias, reduce=True))


def arriving_sums(wiring: Wiring, stored: Weights, twin: str) -> list[jax.Array]:
    """Per stage [channels, neurons, 1]: the sum of stored numbers over the synapses, fixed ones aside, that arrive at a neuron.

    The transpose of `at_synapses`; the bias counts forward.
    """
    some = jax.tree.leaves(stored)[0]
    rows = [jnp.zeros((some.shape[0], info.size, 1), some.dtype) for info in wiring.plan.stages]
    return jax.vjp(lambda rows: at_synapses(wiring, rows, twin), rows)[1](stored)[0]


def frozen_norms(wiring: Wiring, genome: AnyGenome, synapses: Synapses) -> Synapses:
    """synapse_normalization: stored: divide every stored number that learns by the norm at its receiving neuron."""

    def scaled(weights: Weights, twin: str) -> Weights:
        some = jax.tree.leaves(weights)[0]
        norms = column_norms(wiring, genome, weights, twin)
        inverse = [
            jnp.ones((some.shape[0], info.size, 1), some.dtype) if norm is None else 1 / norm
            for norm, info in zip(norms, wiring.plan.stages, strict=True)
        ]
        factor = at_synapses(wiring, inverse, twin)
        return jax.tree.map(jnp.multiply, weights, factor)

    backward = synapses.backward
    if backward is not None and wiring.rule.backward_synapses != "fixed":
        backward = scaled(backward, BACKWARD)
    return replace(synapses, forward=scaled(synapses.forward, FORWARD), backward=backward)
