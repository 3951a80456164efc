"""What a number of rows can teach: ordinary networks that go over the same rows again and again.

`python docs/measure_rows.py TASK WIDTH DEPTH...`, such as mnist/10x10 64 2 8 10: DEPTH hidden layers of WIDTH, trained by Adam
and momentum through batch norm on 1,280, 12,800 and 25,600 rows (10, 100 and 200 batches of 128), for up to a hundred passes.
Optimiser, activation, rate and the number of passes are the best on validation rows (two draws of rows, synapses and batches);
test rows are looked at once, with five other draws. Median (lowest, highest).
"""

from __future__ import annotations

import dataclasses
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np

import neurograph as ng
from neurograph.learning import Setting, baseline_curves, ordinary_network
from neurograph.topology.layered import mlp

BATCH, DRAWS, QUERY = 128, 5, 2048
PASSES = {1_280: (1, 2, 5, 10, 20, 50, 100), 12_800: (1, 2, 5, 10, 20), 25_600: (1, 2, 5, 10)}
RATES = {"momentum": (0.003, 0.01, 0.03, 0.1, 0.3), "adam": (0.0003, 0.001, 0.003, 0.01, 0.03)}


def part(task: ng.ArrayTask, rows: int, draw: int) -> ng.ArrayTask:
    """The task with so many of its training rows."""
    (start, count), *others = task.extents
    chosen = jnp.asarray(start + np.random.default_rng(draw).permutation(count)[:rows])
    data, labels = (jnp.concatenate([array[chosen], array]) for array in (task.data, task.labels))
    extents = ((0, rows), *((first + rows, number) for first, number in others))
    return dataclasses.replace(task, data=data, labels=labels, extents=extents)


def accuracies(network: ng.Network, task: ng.ArrayTask, setting: Setting, rates, rows: int, draws, judged_on: str) -> np.ndarray:
    """[draws, rates, passes], 0 where a run failed."""
    at = tuple(passes * rows // BATCH for passes in PASSES[rows])
    found = []
    for draw in draws:
        problem = ng.Problem(network, part(task, rows, draw))
        how = {"keys": jax.random.split(jax.random.key(draw), 1), "at": at, "batch_size": BATCH, "query_size": QUERY}
        curves = baseline_curves(problem, setting, rates, judged_on=judged_on, **how)
        found.append(np.where(curves.failed, 0.0, curves.accuracy)[:, 0])
    return np.array(found)


def main(name: str, width: int, depths: list[int]) -> None:
    task = ng.get_task(name)
    for depth, rows in itertools.product(depths, PASSES):
        network = ordinary_network(mlp(task.num_inputs, *[width] * depth, task.num_outputs))
        tried = {}
        for optimizer, activation in itertools.product(RATES, ("relu", "tanh")):
            setting = Setting(optimizer, activation, batch_norm=True)
            hits = accuracies(network, task, setting, RATES[optimizer], rows, (100, 101), "validation").mean(axis=0)
            tried |= {(setting, RATES[optimizer][i], j): hits[i, j] for i, j in np.ndindex(hits.shape)}
        setting, rate, index = max(tried, key=tried.__getitem__)
        tests = accuracies(network, task, setting, [rate], rows, range(DRAWS), "test")[:, 0, index]
        told = f"{np.median(tests):.3f} ({tests.min():.3f}, {tests.max():.3f})"
        how = f"{setting}, {rate:g}, {PASSES[rows][index]} passes; the best of {len(tried)}"
        print(f"{depth} layers, {rows:,} rows: {told} ({how})", flush=True)
        jax.clear_caches()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(depth) for depth in sys.argv[3:]])
