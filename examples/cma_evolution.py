"""Evolution instead of gradients: CMA-ES asks for genomes, the query loss of whole learning runs is all that it sees."""

import sys

import cma
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import neurograph as ng

generations = int(sys.argv[1]) if len(sys.argv) > 1 else 10
rule = ng.load_genome_file("functions").rule.replace(states=2)
network = ng.Network(ng.load_topology("topologies/mlp_2d_classes.yaml"), rule)
task = ng.get_task("xor")
start = ng.Genome.near_backprop(jax.random.key(0), rule, synapse_update=0.3)
vector, to_genome = ravel_pytree(start)


@jax.jit
def losses(vectors, key):
    episode_key, init_key = jax.random.split(key)
    episode = task.episode(episode_key, steps=10, batch_size=64, query_size=256)
    return jax.lax.map(lambda vector: ng.meta_loss(network, to_genome(vector), episode, key=init_key)[0], vectors)


numbers = np.random.default_rng(0)
options = {"popsize": 12, "seed": np.nan, "randn": lambda *shape: numbers.standard_normal(shape), "verbose": -9, "verb_log": 0}
strategy = cma.CMAEvolutionStrategy(np.asarray(vector, float), 0.1, options)
for generation in range(generations):
    asked = strategy.ask()
    values = np.asarray(losses(jnp.asarray(np.stack(asked), jnp.float32), jax.random.key(generation)), float)
    values = np.where(np.isfinite(values), values, 1e6)  # CMA-ES would take NaN for a good value
    strategy.tell(asked, values)
    print(f"generation {generation + 1}: best query loss {values.min():.3f}, median {np.median(values):.3f}")
