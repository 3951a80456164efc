"""A genome from the zoo learns on a graph of your own, beside the graph it was trained on."""

import sys

import jax
import networkx as nx

import neurograph as ng

steps = (0, 1, 5, 10) if len(sys.argv) < 2 else tuple(range(int(sys.argv[1]) + 1))

# A small world of 60 hidden neurons, oriented so that it has no cycles; every input reaches 8 of them, every output hears 30.
core = nx.connected_watts_strogatz_graph(60, 8, 0.2, seed=1)
graph = nx.DiGraph((f"h{min(edge)}", f"h{max(edge)}") for edge in core.edges)
inputs, outputs = [f"x{i}" for i in range(64)], [f"y{i}" for i in range(10)]
graph.add_edges_from((x, f"h{(7 * i + 5 * j) % 60}") for i, x in enumerate(inputs) for j in range(8))
graph.add_edges_from((f"h{(11 * i + 2 * j) % 60}", y) for i, y in enumerate(outputs) for j in range(30))

file = ng.load_genome_file("digits")
for title, topology in (
    ("the graph it was trained on", ng.load_topology("topologies/mlp.yaml")),
    ("a small world it never saw", ng.from_networkx(graph, inputs=inputs, outputs=outputs)),
):
    problem = ng.Problem(ng.Network(topology, file.rule), ng.get_task("digits"))
    curve = ng.learning_curve(problem, file.genome, key=jax.random.key(0), at=steps, batch_size=128, query_size=360)
    print(f"{title}: " + ", ".join(f"{a:.2f} at {s}" for s, a in zip(steps, curve["accuracy"].tolist(), strict=True)))
