"""A task of your own in a few lines, learned by a genome that never saw it."""

import jax
import jax.numpy as jnp

import neurograph as ng
from neurograph.tasks import function_task


@ng.register_task("stripes", summary="parallel stripes")
def stripes(frequency: float = 3.0):
    def points(key, count):
        x = jax.random.uniform(key, (count, 2), minval=-1.0, maxval=1.0)
        return x, (jnp.sin(frequency * (x[:, 0] + x[:, 1])) > 0).astype(int)

    return function_task(points)


file = ng.load_genome_file("functions")
network = ng.Network(ng.load_topology("topologies/mlp_2d_classes.yaml"), file.rule)
for frequency in (1.0, 2.0, 4.0):
    problem = ng.Problem(network, ng.get_task("stripes", frequency=frequency))
    curve = ng.learning_curve(problem, file.genome, key=jax.random.key(1), at=(0, 10, 20), batch_size=64)
    print(
        f"frequency {frequency}: accuracy " + ", ".join(f"{a:.2f}" for a in curve["accuracy"].tolist()) + " after 0, 10, 20 steps"
    )
