"""The learning step (Eqs. 5-8) on one page: clamp, forward pass, feedback, backward pass, synapse update.

The passes are in passes.py, the synapse update in hebbian.py; all are written once in terms of the kernel's two primitives.

A network's state is one array [states, neurons, batch] per stage of the plan; of clamped neurons it may lack the last states,
which are zero then. Functions here take the network as their first argument and read its rule, plan and kernel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.genome import AnyGenome
from neurograph.genome.activations import derivative, resolve_activation, value_activation
from neurograph.network.hebbian import average_synapses, learning_ends, update_synapses
from neurograph.network.kernels import BACKWARD, FORWARD
from neurograph.network.norms import frozen_norms
from neurograph.network.passes import carried_states, clamped, output_values, places, sweep, through_normalization, with_states
from neurograph.network.state import Synapses, Trace
from neurograph.network.walk import Pass
from neurograph.network.wiring import States, Wiring

__all__ = ["forward_pass", "learning_step", "learning_steps"]

ERROR_FLOOR = 1e-30  # under the root of the mean squared error


def _feedback(wiring: Wiring, passed: Pass, y: jax.Array) -> tuple[States, jax.Array, dict[int, jax.Array]]:
    """States with the outputs' feedback, its size, and those states before the derivative of batch normalization, of outputs.

    Each output keeps state 0, state 1 becomes the label (or dL/dh h'), the others 0. The size e is the root mean square of the
    error over batch and outputs: of the feedback, or where labels are the feedback of state 0 against the label.
    """
    rule, plan, states = wiring.rule, wiring.plan, list(passed.states)
    stages = [s for s, info in enumerate(plan.stages) if info.kind == "output"]
    y = y.astype(states[stages[0]].dtype).T
    own = wiring.output_places
    if len(stages) > 1 and own is None:  # one stage has them in the topology's order
        y = y[places(wiring.topology.outputs, np.concatenate([plan.stages[s].neurons for s in stages]))]

    def joined(each: list[jax.Array]) -> jax.Array:
        every = jnp.concatenate(each, axis=0)
        return every if own is None else every[own]

    h = joined([states[s][0] for s in stages])
    error = h - y
    if rule.feedback != "labels":
        before = joined([passed.outer[s][0] for s in stages])
        slope = derivative(value_activation(resolve_activation(rule.output_activation)), before)
        error = y = (error if rule.feedback == "mse" else jax.nn.softmax(h, axis=0) - (y + 1) / 2) * slope
    if own is not None:  # further rows are of no output
        y = jnp.zeros((sum(states[s].shape[1] for s in stages), y.shape[1]), y.dtype).at[own].set(y)
    start, tilts = 0, {}
    for s in stages:
        a = states[s]
        fed = y[None, start : start + a.shape[1]]
        if s in passed.units:
            unit, inverse = passed.units[s]
            tilts[s] = jnp.concatenate([a[:1], fed], axis=0)
            fed = through_normalization(fed, unit[1:2], inverse[1:2])
        states[s] = jnp.concatenate([a[:1], fed], axis=0)
        start += a.shape[1]
    error = error.astype(jnp.promote_types(error.dtype, jnp.float32))
    return states, jnp.sqrt(jnp.maximum(jnp.mean(error * error), ERROR_FLOOR)), tilts


def learning_step(
    wiring: Wiring, genome: AnyGenome, synapses: Synapses, x, y, index, key, record: bool, watch: bool = False
) -> Any:
    """One learning step: clamp, forward pass (Eq. 5), feedback, backward pass (Eq. 6), synapse update (Eqs. 7 and 8).

    Args:
      x: [batch, inputs]; y: [batch, outputs].
      index: number of the step, for `supervise_every`; `key`: of noise, or None.
      record: give everything that was computed.
      watch: find out how the forward ticks of cyclic phases settle.

    Returns:
      `(synapses, outputs)`, with `watch` followed by the forward pass's `Pass.settling`; with `record` a `Trace`.
    """
    rule = wiring.rule
    states = clamped(wiring, synapses, x)
    if rule.synapse_normalization == "stored":
        synapses = frozen_norms(wiring, genome, synapses)
    passed = sweep(wiring, genome, synapses.forward, states, FORWARD, key=key, watch=record or watch)
    outputs = output_values(wiring, passed.states)
    if rule.forward_synapse_update:
        synapses = update_synapses(wiring, genome, synapses, passed.states, passed.states, second=True)

    def supervised(synapses: Synapses) -> tuple[Any, ...]:
        fed, error, tilts = _feedback(wiring, passed, y)
        twin = synapses.forward if synapses.backward is None else synapses.backward
        if rule.backward_synapses == "sign":
            twin = jax.tree.map(jnp.sign, twin)
        ends = None
        if not rule.synapse_derivative:
            ends = learning_ends(wiring, genome, passed.states if rule.hebbian_pre == "forward" else None)
        returned = sweep(wiring, genome, twin, fed, BACKWARD, key=key, units=passed.units, ends=ends, watch=record)
        back = returned.states
        before = passed.states if rule.hebbian_pre == "forward" else back
        tilts = tilts | returned.tilts if rule.bias_after_normalization else {}
        found: dict[str, Any] = {"changes": returned.changes, "error": error, "tilts": tilts}
        learned = update_synapses(wiring, genome, synapses, before, back, second=False, **found)
        learned = average_synapses(wiring, genome, learned, error)
        fed, back = carried_states(wiring, fed), carried_states(wiring, back)
        return (learned, fed, back, returned.settling) if record else (learned, back)

    def unsupervised(synapses: Synapses) -> tuple[Any, ...]:
        rest = carried_states(wiring, passed.states)
        if not record:
            return synapses, rest
        still = jax.eval_shape(supervised, synapses)[3]  # no backward tick ran
        return synapses, rest, rest, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), still)

    if rule.supervise_every == 1:
        result = supervised(synapses)
    else:
        result = jax.lax.cond(jnp.asarray(index) % rule.supervise_every == 0, supervised, unsupervised, synapses)
    learned, last = result[0], result[2 if record else 1]
    if not rule.reset_states:
        learned = replace(learned, neurons=last)
    if record:
        forward, feedback, backward = (wiring.outside(s) for s in (carried_states(wiring, passed.states), result[1], last))
        settling = {"forward": passed.settling, "backward": result[3]}
        return Trace(forward, feedback, backward, learned, outputs, settling)
    return (learned, outputs, passed.settling) if watch else (learned, outputs)


def learning_steps(
    wiring: Wiring, genome: AnyGenome, synapses: Synapses, xs, ys, index, key, checkpoint: bool, watch: bool = False
) -> Any:
    """Steps on xs [U, batch, inputs], ys [U, batch, outputs] in turn, numbered from `index`.

    Args:
      checkpoint: recompute each step when differentiating instead of keeping its states.
      watch: as in `learning_step`, of the last step.

    Returns:
      `(synapses, outputs)`: after the last step, and every step's prediction; with `watch` followed by `Pass.settling`.
    """

    def body(synapses: Synapses, inputs: Any) -> Any:
        index, x, y = inputs
        step_key = None if key is None else jax.random.fold_in(key, index)
        learned, *rest = learning_step(wiring, genome, synapses, x, y, index, step_key, False, watch)
        return learned, rest

    body = jax.checkpoint(body) if checkpoint else body
    inputs = (index + jnp.arange(xs.shape[0]), xs, ys)
    learned, (outputs, *settling) = jax.lax.scan(body, with_states(wiring, synapses, xs[0]), inputs)
    return learned, outputs, *jax.tree.map(lambda leaf: leaf[-1], settling)


def forward_pass(wiring: Wiring, genome: AnyGenome, synapses: Synapses, x, *, statistics: Any = None) -> Pass:
    """The forward pass of a prediction, through averages where synapses have them, without noise.

    Args:
      statistics: frozen moments to normalise by, or None for this batch's.
    """
    if synapses.averages is not None:
        synapses = replace(synapses, forward=synapses.averages["forward"])
    if wiring.rule.synapse_normalization == "stored":
        synapses = frozen_norms(wiring, genome, synapses)
    return sweep(wiring, genome, synapses.forward, clamped(wiring, synapses, x), FORWARD, frozen=statistics)
