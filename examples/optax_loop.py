"""A meta-learning loop of your own: optax changes a genome so that networks which learn by it do well."""

import sys

import jax
import optax

import neurograph as ng

meta_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
file = ng.load_genome_file("functions")
network = ng.Network(ng.load_topology("topologies/mlp_2d_classes.yaml"), file.rule)
task = ng.get_task("xor")
genome = ng.Genome.near_backprop(jax.random.key(0), file.rule, synapse_update=0.3)
optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-2))
state = optimizer.init(genome)


@jax.jit
def meta_step(genome, state, key):
    data_key, init_key = jax.random.split(key)
    episode = task.episode(data_key, steps=10, batch_size=64, query_size=128)
    (loss, scores), gradient = jax.value_and_grad(
        lambda genome: ng.meta_loss(network, genome, episode, key=init_key), has_aux=True
    )(genome)
    change, state = optimizer.update(gradient, state)
    return optax.apply_updates(genome, change), state, loss, scores["accuracy"]


for number in range(meta_steps):
    genome, state, loss, accuracy = meta_step(genome, state, jax.random.key(number + 1))
    if number % max(meta_steps // 4, 1) == 0 or number == meta_steps - 1:
        print(f"meta-step {number}: loss {loss:.3f}, accuracy after ten learning steps {accuracy:.2f}")
