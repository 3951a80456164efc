"""Meta-learning without the command line: two functions of two variables, a few meta-steps, the best genome saved."""

import sys

import jax

import neurograph as ng
from neurograph.meta import GradientOptimizer, Objective, best_member, evaluate, member, start_genomes

meta_steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100

rule = ng.Rule(
    states=4,
    single_state_synapses=True,
    normalization="batch",
    output_activation="identity",
    batch_reduction="mean",
    initial_deviation="fan_in",
)
network = ng.Network(ng.load_topology("topologies/mlp_2d_classes.yaml"), rule)
problems = tuple(ng.Problem(network, ng.get_task(name)) for name in ("xor", "circle"))
objective = Objective(problems, steps=10, batch_size=64)
optimizer = GradientOptimizer(learning_rate=1e-2)
genomes = start_genomes("near_backprop", 2, rule, key=jax.random.key(0), synapse_update=0.3)
state = optimizer.init(genomes, key=jax.random.key(1))
for _ in range(max(meta_steps // 20, 1)):
    state, record = optimizer.advance(objective, state, min(20, meta_steps))
    print(f"meta-step {int(state.step)}: accuracy of each genome {record['accuracy'][-1].round(3).tolist()}")
scores = evaluate(objective, state.genomes, jax.random.key(2), episodes=8)
best = best_member(scores)
path = ng.save_genome("runs/example.json", member(state.genomes, best), rule)
print(f"saved {path}: accuracy on xor and circle {scores['accuracy'][best].round(3).tolist()}")
