"""Small experiments for tests of runs, and a program that runs them: python meta_runs.py FOLDER DEVICES NAME..."""

from __future__ import annotations

import json
import sys
from pathlib import Path

COMMON = """
seed: 3
rule: {states: 2, normalization: batch, batch_reduction: mean, initial_deviation: fan_in}
start: {arrays: {synapse_update: 0.3}}
problems:
  - {task: xor, topology: two.yaml}
"""
TWO = """
populations: {input: 2, hidden: 6, output: 2}
inputs: input
outputs: output
connections:
  - {kind: dense, from: input, to: hidden}
  - {kind: dense, from: hidden, to: output}
"""
METHODS = {
    "gradient": """
unroll: {steps: 2, batch_size: 8, query_size: 16, grow_by: 1, grow_every: 4, max_steps: 4}
training: {meta_steps: 12, genomes: 3, interval: 2, validate_every: 4, validation_episodes: 2, replace: 2}
""",
    "truncated": """
unroll: {steps: 4, truncation: 2, batch_size: 8, query_size: 16, replicas: 2}
training: {meta_steps: 12, genomes: 2, interval: 2, validate_every: 4, validation_episodes: 2, replace: 1}
""",
    "pes": """
unroll: {steps: 4, truncation: 2, batch_size: 8, query_size: 16}
training: {method: pes, population: 6, meta_steps: 12, interval: 2, validate_every: 4, validation_episodes: 2}
""",
    "cma": """
unroll: {steps: 2, batch_size: 8, query_size: 16, query_batches: 2}
training: {method: cma, population: 7, meta_steps: 12, interval: 2, validate_every: 4, validation_episodes: 2}
""",
}

RANDOM = """
seed: 3
rule: {states: 2, normalization: batch, batch_reduction: mean, initial_deviation: fan_in}
start: {arrays: {synapse_update: 0.3}}
problems:
  - task: xor
    topology: {random: {families: [{family: layered, depth: [1, 2], width: [2, 6]}], graphs: 2, validation_graphs: 2}}
"""
RANDOM_METHODS = {
    "random-gradient": """
  - {task: and, topology: two.yaml}
unroll: {steps: 3, batch_size: 8, query_size: 16, grow_by: 1, grow_every: 4, max_steps: 5, least_steps: 2, judged_at: [1, 2, 4]}
training: {meta_steps: 12, genomes: 2, interval: 2, validate_every: 6, validation_episodes: 2, replace: 1}
""",
    "random-truncated": """
unroll: {steps: 4, truncation: 2, batch_size: 8, query_size: 16, replicas: 2}
training: {meta_steps: 12, genomes: 2, interval: 2, validate_every: 6, validation_episodes: 2, replace: 1}
""",
    "random-pes": """
unroll: {steps: 4, truncation: 2, batch_size: 8, query_size: 16, loss: final}
training: {method: pes, population: 4, meta_steps: 12, interval: 2, validate_every: 6, validation_episodes: 2}
""",
    "random-cma": """
unroll: {steps: 3, least_steps: 1, batch_size: 8, query_size: 16, replicas: 2}
training: {method: cma, population: 4, meta_steps: 12, interval: 2, validate_every: 6, validation_episodes: 2}
""",
    "random-es": """
unroll: {steps: 3, least_steps: 1, batch_size: 8, query_size: 16, replicas: 2}
training: {method: es, population: 4, meta_steps: 12, interval: 2, validate_every: 6, validation_episodes: 2}
""",
}


def write_experiments(folder: Path) -> None:
    """NAME.yaml of every method, and their topology."""
    (folder / "two.yaml").write_text(TWO)
    for name, text in METHODS.items():
        (folder / f"{name}.yaml").write_text(f"name: {name}{COMMON}{text}")
    for name, text in RANDOM_METHODS.items():
        (folder / f"{name}.yaml").write_text(f"name: {name}{RANDOM.rstrip()}{text}")


def write_run(
    folder: Path,
    *overrides: str,
    experiment: str = "functions",
    done: int = 20,
    score: float | None = None,
    regression: bool = False,
) -> Path:
    """Writes the folder of a run that has done so many meta-steps, as if it had run; finished with this score on validation data,
    if given."""
    from neurograph.experiments.spec import dump_experiment, load_experiment

    folder.mkdir(parents=True)
    spec = load_experiment(experiment, ("training.meta_steps=20", *overrides))
    (folder / "config.yaml").write_text(dump_experiment(spec))
    lines: list[dict] = [
        {"step": step, "seconds": step / 2, "loss": [1 / step], "accuracy": [0.1]} for step in range(10, done + 1, 10)
    ]
    lines.append({"step": done, "validation": {"loss": [0.5, 0.4], "accuracy": [0.25, 0.75]}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines if done))
    (folder / "checkpoint").write_text("")
    if regression:
        (folder / "tasks.json").write_text(json.dumps({"tasks": ["prices", "prices"], "numbers": ["prices"]}))
    if score is not None:
        (folder / "genome.json").write_text("{}")  # nothing here reads it
        scores = {"accuracy": [score - 0.1, score + 0.1], "loss": [0.5, 0.5]}
        summary = {"name": spec.name, "method": spec.training.method, "meta_steps": 20, "seconds": 12.5, "validation": scores}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def numbers(run: Path) -> list[dict]:
    """Metrics without the clock."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def genome_of(run: Path) -> dict:
    return json.loads((run / "genome.json").read_text())["arrays"]


def main(folder: Path, devices: int, names: list[str]) -> None:
    from neurograph.experiments.spec import load_experiment
    from neurograph.experiments.train import meta_train

    for name in names:
        overrides = (f"devices={devices}",) if devices else ()
        spec = load_experiment(folder / f"{name}.yaml", overrides)
        meta_train(spec, folder / f"{name}-run", base=folder, resume=True, progress=lambda record: print("record", flush=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
