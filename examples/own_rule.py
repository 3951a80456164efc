"""A variant of the rule: an activation of your own, decay of synapses, and what both do to one genome."""

import jax
import jax.numpy as jnp

import neurograph as ng

file, task = ng.load_genome_file("digits"), ng.get_task("digits")
variants = {
    "as learned": file.rule,
    "another activation": file.rule.replace(forward_activation=lambda u: jax.nn.relu(u) / (1 + jnp.abs(u))),
    "Oja's decay": file.rule.replace(oja="weights", oja_scale=0.01),
    "noise in every neuron": file.rule.replace(noise=0.5),
    "synapses kept within (-1, 1)": file.rule.replace(saturation="tanh"),
}
for title, rule in variants.items():
    problem = ng.Problem(ng.Network(ng.load_topology("topologies/mlp.yaml"), rule), task)
    curve = ng.learning_curve(
        problem, file.genome, key=jax.random.key(0), at=(1, 10), batch_size=128, query_split="validation", query_size=256
    )
    first, tenth = curve["accuracy"].tolist()
    print(f"{title:30} {first:.2f} after one step, {tenth:.2f} after ten")
