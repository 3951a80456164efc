"""Does a genome carry over? The zoo's genome on a graph it never saw, beside gradient descent on the same batches."""

import sys

import neurograph as ng
from neurograph.experiments.transfer import transfer
from neurograph.learning import SETTINGS

seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
file = ng.load_genome_file("digits")
result = transfer(
    file.genome,
    file.rule,
    {name: ng.load_topology(name) for name in ("mlp", "bottleneck")},
    [ng.get_task("digits")],
    at=(0, 1, 10),
    seeds=seeds,
    query_size=360,
    settings=SETTINGS[:1],
    learning_rates=(0.03, 0.3),
    validation_seeds=1,
    extensions=0,
)
print(result.text())
