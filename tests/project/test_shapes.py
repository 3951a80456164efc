"""Array types say what is true, and the tests check them as they run."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from shapes import misfits

import neurograph as ng
from neurograph.testing.graphs import batch, random_topology, small


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("reset", [True, False])
def test_fields_of_pytrees_and_plans_have_their_types(kernel, symmetric: bool, reset: bool):
    rule = ng.Rule(states=3, symmetric=symmetric, reset_states=reset)
    topology = random_topology(3, cyclic=True, schedule="mixed", ticks=2, shared=True)
    genome = ng.Genome.random(jax.random.key(0), rule, scale=0.3)
    network = ng.Network(topology, rule, kernel=kernel)
    trace = network.trace(genome, network.init(genome, key=jax.random.key(1)), *batch(topology))
    population = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), genome)
    for made in (genome, population, trace, trace.synapses, trace.synapses.forward, network.plan):
        assert misfits(made) == []


def test_a_field_of_another_shape_is_found():
    genome = ng.Genome.from_arrays()
    object.__setattr__(genome, "forward_scale", jnp.zeros(5))
    assert misfits(genome) == ["forward_scale"]


def test_the_primitives_are_checked_in_the_tests():
    """The hook is there: a signal without the axis of states is refused, of both primitives of every kernel."""
    for name in ("blocks", "reference"):
        network = ng.Network(small(), ng.Rule(), kernel=name)
        weights = network.pack(np.ones((8, 2))).forward
        flat = [jnp.zeros((stage.size, 4)) for stage in network.plan.stages]
        last = len(flat) - 1
        with pytest.raises(jaxtyping.TypeCheckError, match="signals"):
            network.kernel.aggregate("forward", last, weights, flat)
        with pytest.raises(jaxtyping.TypeCheckError, match="at_senders"):
            network.kernel.correlate(flat, flat)
