"""Labels permuted on the same synapses (C.6): `python docs/measure_permuted.py TOPOLOGY TASK [GENOME]`, such as mlp digits.

A genome learns a task for 200 steps, then the task with its classes in another order, three times; each permutation beside fresh
synapses on the same batches. Test data, five seeds: median accuracy (lowest, highest).
"""

from __future__ import annotations

import sys

import jax
import numpy as np

import neurograph as ng

STEPS, AT, SEEDS = 200, (0, 10, 50, 100, 200), 5


def main(topology: str, name: str, genome: str = "universal") -> None:
    file, task = ng.load_genome_file(genome), ng.get_task(name)
    assert file.rule is not None
    learner = ng.GenomeLearner(ng.Network(ng.load_topology(topology), file.rule), file.genome)
    tasks = [task, *(ng.permuted(task, seed=seed) for seed in (1, 2, 3))]
    phases, keys = [ng.Phase(one, STEPS) for one in tasks], jax.random.split(jax.random.key(0), SEEDS)
    how = {"keys": keys, "at": AT}
    found = {words: ng.learn_sequence(learner, phases, keep=words == "kept", **how) for words in ("kept", "fresh")}
    for words, sequence in found.items():
        print(f"{words}: {int((~np.isfinite(sequence.loss)).any(axis=(1, 2)).sum())} of {SEEDS} runs failed")
        for number in range(len(tasks)):
            points = [index for index, (phase, _) in enumerate(sequence.points) if phase == number]
            hits = sequence.accuracy[:, points, number]
            cells = [
                f"{step}: {median:.3f} ({low:.3f}, {high:.3f})"
                for step, median, low, high in zip(AT, np.median(hits, axis=0), hits.min(axis=0), hits.max(axis=0), strict=True)
            ]
            print(f"  {sequence.tasks[number]}: {'; '.join(cells)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
