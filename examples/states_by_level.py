"""What happens inside: the size of activity, of feedback and of the change of synapses, level by level."""

import jax
import numpy as np

import neurograph as ng

file, task = ng.load_genome_file("digits"), ng.get_task("digits")
topology = ng.load_topology("topologies/deep_mlp.yaml")
network = ng.Network(topology, file.rule)
synapses = network.init(file.genome, key=jax.random.key(0))
x, y = task.sample(jax.random.key(1), 128)
trace = network.trace(file.genome, synapses, x, y)
before, after = network.unpack(synapses)["forward"], network.unpack(trace.synapses)["forward"]
change = np.linalg.norm(after - before, axis=1)
arriving = topology.levels[topology.receivers]
print("level  neurons  forward state 0  backward state 1  change of a synapse into it")
for level in range(topology.depth + 1):
    members = topology.levels == level
    sizes = [np.sqrt(np.mean(np.square(states[:, members]))) for states in (trace.forward[..., 0], trace.backward[..., 1])]
    moved = f"{change[arriving == level].mean():.4f}" if level else "-"
    print(f"{level:5}  {members.sum():7}  {sizes[0]:15.3f}  {sizes[1]:16.3f}  {moved:>27}")
