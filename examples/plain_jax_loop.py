"""A network inside a training loop as flax users write it: a state, a jitted step, the loop in Python."""

import sys
from typing import NamedTuple

import jax

import neurograph as ng


class TrainState(NamedTuple):
    step: int
    synapses: ng.Synapses


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20
file, task = ng.load_genome_file("digits"), ng.get_task("digits")
network = ng.Network(ng.load_topology("topologies/residual.yaml"), file.rule)


@jax.jit
def train_step(state: TrainState, key) -> TrainState:
    x, y = task.sample(key, 128)
    synapses, _ = network.step(file.genome, state.synapses, x, y, index=state.step)  # no loss, no gradient
    return TrainState(state.step + 1, synapses)


x, labels = task.arrays("validation")
state = TrainState(0, network.init(file.genome, key=jax.random.key(0)))
for number in range(steps + 1):
    if number in (0, 1, 2, 5, 10, 20, steps):
        guess = network.predict(file.genome, state.synapses, x).argmax(axis=1)
        print(f"after {number} steps: accuracy on validation data {(guess == labels).mean():.3f}")
    state = train_step(state, jax.random.key(number + 1))
