"""The learning step (Eqs. 5-8): the genome's mathematics, written once in terms of the kernel's two primitives. Both passes are
here, the synapse update in hebbian.py.

A network's state is one array [states, neurons, batch] per stage of the plan; of clamped neurons it may lack the last states,
which are zero then. Functions here take the network as their first argument and read its rule, plan and kernel.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.genome import AnyGenome
from neurograph.genome.activations import derivative, resolve_activation, value_activation
from neurograph.network.hebbian import learning_ends, update_synapses
from neurograph.network.kernels import BACKWARD, FORWARD
from neurograph.network.norms import frozen_norms
from neurograph.network.passes import carried_states, clamped, output_values, places, sweep
from neurograph.network.state import Synapses, Trace
from neurograph.network.wiring import States, Wiring

__all__ = [
    "frozen_norms",
    "learning_step",
]


def _feedback(wiring: Wiring, states: States, outer: dict[int, jax.Array], y: jax.Array) -> States:
    """Each output keeps state 0, state 1 becomes the label (or dL/dh h'), the others 0."""
    rule, plan = wiring.rule, wiring.plan
    stages = [s for s, info in enumerate(plan.stages) if info.kind == "output"]
    order = np.concatenate([plan.stages[s].neurons for s in stages])
    columns = places(wiring.topology.outputs, order)
    y = y.astype(states[stages[0]].dtype).T[columns]
    if rule.feedback != "labels":
        h = jnp.concatenate([states[s][0] for s in stages], axis=0)
        slope = derivative(
            value_activation(resolve_activation(rule.output_activation)), jnp.concatenate([outer[s][0] for s in stages], axis=0)
        )
        y = (h - y if rule.feedback == "mse" else jax.nn.softmax(h, axis=0) - (y + 1) / 2) * slope
    states, start = list(states), 0
    for s in stages:
        a = states[s]
        states[s] = jnp.concatenate([a[:1], y[None, start : start + a.shape[1]]], axis=0)
        start += a.shape[1]
    return states


def learning_step(wiring: Wiring, genome: AnyGenome, synapses: Synapses, x, y, index, key, record: bool):
    rule = wiring.rule
    states = clamped(wiring, synapses, x)
    if rule.synapse_normalization == "stored":
        synapses = frozen_norms(wiring, genome, synapses)
    passed = sweep(wiring, genome, synapses.forward, states, FORWARD, key=key)
    outputs = output_values(wiring, passed.states)
    if rule.forward_synapse_update:
        synapses = update_synapses(wiring, genome, synapses, passed.states, passed.states, second=True)

    def supervised(synapses: Synapses):
        fed = _feedback(wiring, passed.states, passed.outer, y)
        twin = synapses.forward if synapses.backward is None else synapses.backward
        ends = learning_ends(wiring, genome, passed.states if rule.hebbian_pre == "forward" else None)
        returned = sweep(wiring, genome, twin, fed, BACKWARD, key=key, ends=ends)
        back = returned.states
        before = passed.states if rule.hebbian_pre == "forward" else back
        learned = update_synapses(wiring, genome, synapses, before, back, second=False, changes=returned.changes)
        fed, back = carried_states(wiring, fed), carried_states(wiring, back)
        return (learned, fed, back) if record else (learned, back)

    def unsupervised(synapses: Synapses):
        return (synapses, *((carried_states(wiring, passed.states),) * (2 if record else 1)))

    if rule.supervise_every == 1:
        result = supervised(synapses)
    else:
        result = jax.lax.cond(jnp.asarray(index) % rule.supervise_every == 0, supervised, unsupervised, synapses)
    learned, last = result[0], result[-1]
    if not rule.reset_states:
        learned = Synapses(learned.forward, learned.backward, last)
    if record:
        fed = result[1]
        forward, feedback, backward = (wiring.outside(s) for s in (carried_states(wiring, passed.states), fed, last))
        return Trace(forward, feedback, backward, learned, outputs)
    return learned, outputs
