"""Second derivatives by the genome: reverse mode of reverse mode on every kernel; forward mode is refused by name."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from harness import rest_is_thorough
from jax.flatten_util import ravel_pytree

import neurograph as ng
from neurograph.network.kernels import native
from neurograph.network.kernels.choice import KERNELS
from neurograph.tasks import Batch
from neurograph.testing.graphs import batch, small

RULE = ng.Rule(forward_activation="tanh", backward_activation="tanh")
# Two levels that are scanned where a kernel scans, and a synapse past them.
GRAPH = ng.Topology(tuple("abcdefg"), [0, 1, 0, 2, 3, 1, 4, 5, 0], [2, 2, 3, 4, 4, 5, 6, 6, 6], [0, 1], [6])
X, Y = np.linspace(-1, 1, 6).reshape(3, 2), np.array([[1.0], [-1.0], [1.0]])
EVERY = [k for k in KERNELS if k != "native" or native.available()]


@functools.cache
def genome():
    """A genome as a vector, what makes a genome of a vector, and a direction."""
    flat, unravel = ravel_pytree(ng.Genome.near_backprop(jax.random.key(0), RULE).astype(jnp.float64))
    return flat, unravel, jnp.asarray(np.random.default_rng(0).normal(size=flat.size))


def loss_of(kernel: str):
    """The mean square of predictions after a learning step, as a function of the genome's vector."""
    random = np.random.default_rng(1)
    arrays = {"forward": random.normal(size=(GRAPH.num_synapses, 2)), "bias": random.normal(size=(GRAPH.num_neurons, 2))}
    lead = (lambda a: a[None]) if kernel == "batch" else lambda a: a
    network = ng.NetworkBatch([GRAPH], RULE) if kernel == "batch" else ng.Network(GRAPH, RULE, kernel)
    synapses = network.pack([arrays]) if isinstance(network, ng.NetworkBatch) else network.pack(**arrays)

    def loss(flat: jax.Array) -> jax.Array:
        made = genome()[1](flat)
        learned = network.step(made, synapses, lead(X), lead(Y))[0]  # pyright: ignore[reportArgumentType]
        return jnp.mean(network.predict(made, learned, lead(X)) ** 2)  # pyright: ignore[reportArgumentType]

    return loss


@functools.cache
def expected() -> np.ndarray:
    """Curvature along the direction, by differences of gradients."""
    flat, _, direction = genome()
    gradient = jax.jit(jax.grad(loss_of("auto")))
    return np.asarray(gradient(flat + 1e-5 * direction) - gradient(flat - 1e-5 * direction)) / 2e-5


@pytest.mark.parametrize(
    "kernel",
    rest_is_thorough([*(k for k in EVERY if k not in ("auto", "blocks")), "batch"], "native", slow=("levels", "reference")),
)
def test_gradients_can_be_differentiated_again(kernel: str, x64):
    flat, _, direction = genome()
    loss = loss_of(kernel)
    found = jax.jit(jax.grad(lambda flat: jnp.vdot(jax.grad(loss)(flat), direction)))(flat)
    np.testing.assert_allclose(found, expected(), rtol=1e-6, atol=1e-8 * np.abs(expected()).max())


@pytest.mark.parametrize("kernel", [*(k for k in EVERY if k != "reference"), "batch"])
def test_forward_mode_is_refused_by_name(kernel: str, x64):
    flat, _, direction = genome()
    loss = loss_of(kernel)
    for call in (jax.hessian(loss), jax.jit(jax.hessian(loss)), lambda flat: jax.jvp(loss, (flat,), (direction,))):
        with pytest.raises(ng.PlanError, match=r'jax\.jacrev\(jax\.grad\(loss\)\).*kernel="reference"'):
            call(flat)


@pytest.mark.thorough
@pytest.mark.skipif(not native.available(), reason="no native code")
def test_gradients_of_learning_that_ends_at_a_mapped_step(x64):
    """The condition of a step becomes a selection, also among index tables that the derivative keeps: with zeros in their place
    where a branch was not taken."""
    network = ng.Network(small(), ng.Rule(), "native")
    own = ng.Genome.near_backprop(jax.random.key(0), network.rule, synapse_update=0.2)
    own = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), own)
    x, y = batch(small())
    episode = ng.Episode(Batch(jnp.stack([x] * 3), jnp.stack([y] * 3)), Batch(jnp.asarray(x), jnp.asarray(y)))

    def loss(genome, steps):
        return ng.meta_loss(network, genome, episode, key=jax.random.key(1), steps=steps)[0]

    steps = jnp.array([1, 3])
    mapped = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))(own, steps)
    one = jax.jit(jax.grad(loss))
    for number, count in enumerate(steps):
        expected = ravel_pytree(one(own, count))[0]
        np.testing.assert_allclose(ravel_pytree(jax.tree.map(lambda leaf: leaf[number], mapped))[0], expected, rtol=1e-9)  # noqa: B023
