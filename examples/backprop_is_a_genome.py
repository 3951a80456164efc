"""Gradient descent is one point of the family: one step of the backprop genome is one step of SGD, on any acyclic graph."""

import jax
import jax.numpy as jnp
import networkx as nx

import neurograph as ng

# An irregular graph: 4 inputs, 12 hidden neurons in a random order, 2 outputs.
random_graph = nx.gnp_random_graph(18, 0.35, seed=4)
graph = nx.DiGraph((f"n{i}", f"n{j}") for i, j in random_graph.edges if i < j and j > 3 and i < 16)
inputs, outputs = [f"n{i}" for i in range(4)], ["n16", "n17"]
topology = ng.from_networkx(graph, inputs=inputs, outputs=outputs)

genome, rule = ng.backprop_genome(learning_rate=0.1, activation="tanh", output_activation="identity", loss="mse")
network = ng.Network(topology, rule)
synapses = network.init(genome, key=jax.random.key(0))
x = jax.random.normal(jax.random.key(1), (32, 4))
y = jnp.sign(jax.random.normal(jax.random.key(2), (32, 2)))


def loss(arrays):
    """The same network written as anyone would, neuron by neuron."""
    value = {name: x[:, column] for column, name in enumerate(inputs)}
    for name in nx.topological_sort(graph):
        if name not in value:
            j = topology.names.index(name)
            z = arrays["bias"][j, 0] + sum(
                arrays["forward"][e, 0] * value[topology.names[topology.senders[e]]]
                for e in range(topology.num_synapses)
                if topology.receivers[e] == j
            )
            value[name] = z if name in outputs else jnp.tanh(z)
    return sum(jnp.sum((value[name] - y[:, column]) ** 2) / 2 for column, name in enumerate(outputs))


before = network.unpack(synapses)
gradient = jax.grad(loss)(before)
after = network.unpack(network.step(genome, synapses, x, y)[0])
difference = jnp.abs(after["forward"][:, 0] - (before["forward"][:, 0] - 0.1 * gradient["forward"][:, 0])).max()
print(f"{topology.num_neurons} neurons, {topology.num_synapses} synapses; largest difference to SGD: {difference:.1e}")
assert difference < 1e-5
