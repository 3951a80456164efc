"""$name: data of your own as a task. As it stands it makes points on two spirals, and learns to tell them apart.

python $file                                        learns by a genome of the zoo, and writes $name.npz
neurograph train npz:$name.npz                      the same data as a task of every command, and of experiments:
neurograph meta-train digits --set 'problems=[{task: npz:$name.npz, topology: 2-32-2}]'
"""

from __future__ import annotations

import jax
import numpy as np

import neurograph as ng


def data(rows: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Your data: x [rows, inputs] of numbers, or images [rows, height, width]; labels [rows], integers or text."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    radius = random.uniform(0.2, 1.0, rows)
    angle = 4 * radius + np.pi * labels
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + random.normal(scale=0.03, size=(rows, 2))
    return x, np.where(labels == 1, "right", "left")


def main() -> None:
    x, labels = data()
    # Validation and test rows are cut off here, the same in every process: choose on validation, report test once.
    task = ng.from_arrays(x, labels, name="$name")
    np.savez("$name.npz", x=x, labels=labels)

    file = ng.load_genome_file("universal")
    topology = ng.load_topology(f"{task.num_inputs}-32-{task.num_outputs}")
    assert file.rule is not None
    problem = ng.Problem(ng.Network(topology, file.rule), task)
    steps = [0, 10, 50, 100]
    curve = ng.learning_curve(
        problem, file.genome, key=jax.random.key(0), at=steps, batch_size=64, query_split="validation", query_size=256
    )
    for step, accuracy in zip(steps, curve["accuracy"].tolist()):
        print(f"{step:>4} learning steps: accuracy {accuracy:.3f} on validation data")


if __name__ == "__main__":
    main()
