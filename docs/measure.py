"""Trains the shipped experiments over several seeds and tests every genome once on test data; what docs/results.md reports.

Usage: python docs/measure.py RUNS functions=10 mnist=5 mnist-depth=3 ...

Every run is `neurograph meta-train NAME --set seed=S` in a process of its own, timed from its start to its genome, compilation
included. Runs that RUNS has already are neither trained nor tested again. Figures go to RUNS/NAME.json and to the screen.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import jax
import numpy as np

import neurograph as ng
from neurograph.experiments.transfer import genome_curves
from neurograph.topology import mlp

ROOT = Path(__file__).parent.parent
HELD_OUT = ("or", "nxor", "random_xor", "rotated_moons", "slice")
MNIST = {"mnist_10x10": "mnist/10x10", "mnist_28x28": "mnist"}
# Per experiment: what a genome is tested on, (topology, task) with the task's options, and after how many steps.
TESTS = {
    "functions": [("mlp_2d_classes", task) for task in ("and", "xor", "moons", "circle", "square", "qand", *HELD_OUT)],
    "mnist": list(MNIST.items()),
    "mnist-long": list(MNIST.items()),
    "mnist-cma": [("mnist_14x14", {"name": "mnist", "size": 14})],
    "mnist-wide-cma": [("mnist_10x10_wide", "mnist/10x10"), ("mnist_mlp", "mnist")],
    "mnist-depth": [(f"depth {depth}", "mnist/10x10") for depth in range(1, 11)],
    "digits": [("mlp", "digits")],
}
AT = (1, 10, 15, 20, 50, 100, 200)
SEEDS = 5  # initial synapses and batches per genome


def plain(depth: int) -> ng.Topology:
    """100-64-...-64-10 with so many hidden layers."""
    return mlp(100, *[64] * depth, 10)


def train(name: str, seed: int, runs: Path) -> tuple[Path, float]:
    """A run folder and the seconds that it took."""
    folder = runs / f"{name}-{seed}"
    clock = folder / "wall_seconds.json"
    if not clock.exists():
        start = time.perf_counter()
        command = [sys.executable, "-c", "from neurograph.cli import run; run()", "meta-train", name, "--out", str(folder)]
        command += ["--set", f"seed={seed}", "--no-transfer"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)})
        clock.write_text(json.dumps(round(time.perf_counter() - start, 1)))
    return folder, json.loads(clock.read_text())


def test(name: str, folder: Path) -> dict[str, dict[str, float]]:
    """Mean test accuracy over SEEDS runs, {"task on topology": {step: accuracy}}; kept in the run folder."""
    kept = folder / "test.json"
    if kept.exists():
        return json.loads(kept.read_text())
    file = ng.load_genome_file(folder / "genome.json")
    found = {}
    for place, item in TESTS[name]:
        task = ng.get_task(**item) if isinstance(item, dict) else ng.get_task(item)
        topology = plain(int(place.split()[1])) if place.startswith("depth ") else ng.load_topology(place)
        network = ng.Network(topology, file.rule)
        keys = jax.random.split(jax.random.key(2026), 4 * SEEDS if name == "functions" else SEEDS)
        batch = 64 if name == "functions" else 128
        _, hits = genome_curves(ng.Problem(network, task), file.genome, keys=keys, at=AT, batch_size=batch, query_size=2000)
        label = item if isinstance(item, str) else f"{item['name']} {item['size']}"
        found[f"{label} on {place}"] = {str(step): round(float(hits[:, i].mean()), 4) for i, step in enumerate(AT)}
    kept.write_text(json.dumps(found, indent=1))
    return found


def main(runs: Path, wanted: dict[str, int]) -> None:
    runs.mkdir(parents=True, exist_ok=True)
    for name, seeds in wanted.items():
        table = []
        for seed in range(seeds):
            folder, seconds = train(name, seed, runs)
            summary = json.loads((folder / "summary.json").read_text())
            tested = test(name, folder)
            row = {"seed": seed, "seconds": seconds, "validation": float(np.mean(summary["validation"]["accuracy"]))}
            if name == "functions":
                groups = {"held out": HELD_OUT, "trained": [t for _, t in TESTS[name] if t not in HELD_OUT]}
                row |= {k: float(np.mean([v["10"] for t, v in tested.items() if t.split()[0] in g])) for k, g in groups.items()}
                row["worst held out"] = min(v["10"] for t, v in tested.items() if t.split()[0] in HELD_OUT)
            else:
                row |= {f"{place}, {step}": v for place, curve in tested.items() for step, v in curve.items() if step != "1"}
            table.append(row)
            print(name, {k: round(v, 4) for k, v in row.items()}, flush=True)
        (runs / f"{name}.json").write_text(json.dumps(table, indent=1))
        print(f"{name}: median (lowest, highest) of {seeds} seeds")
        for column in list(table[0])[1:]:
            values = [row[column] for row in table]
            print(f"  {column}: {median(values):.4f} ({min(values):.4f}, {max(values):.4f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), {name: int(count) for name, count in (item.split("=") for item in sys.argv[2:])})
