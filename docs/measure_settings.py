"""Optimisers with ONE setting for all graphs beside one genome: chosen on made graphs by validation, judged on test data.

`python docs/measure_settings.py FOLDER...`: folders of `neurograph transfer GENOME -t ... -k digits` hold the genome's runs (of a
graph in several folders the last counts); the optimisers run on the same batches and seeds. Of every optimiser activation, batch
norm and rate are those with the best mean accuracy over twelve made graphs, none of them shipped, and the step counts judged.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

import neurograph as ng
from neurograph.learning import Setting, baseline_curves, ordinary_network
from neurograph.learning.trial import Trial
from neurograph.topology.language.families import RandomTopologies

RATES = {"sgd": (0.03, 0.1, 0.3, 1.0, 3.0), "momentum": (0.01, 0.03, 0.1, 0.3, 1.0), "adam": (0.001, 0.003, 0.01, 0.03, 0.1)}


def made() -> list[ng.Topology]:
    """Three layered graphs, and nine of random families."""
    drawn = RandomTopologies(inputs=64, outputs=10)
    return [
        ng.mlp(64, 64, 64, 10),
        ng.mlp(64, 200, 200, 10),
        ng.mlp(64, *[40] * 8, 10),
        *(drawn.draw(1, number) for number in range(9)),
    ]


def curves(topology: ng.Topology, setting: Setting, rates: Any, trial: Trial, judged_on: str) -> np.ndarray:
    """Accuracy [rates, seeds, len(at)]; a failed run counts as 0."""
    problem = ng.Problem(ordinary_network(topology), ng.get_task("digits"))
    test_keys, choice_key = trial.keys()
    keys = test_keys if judged_on == "test" else jax.random.split(choice_key, trial.validation_seeds)
    found = baseline_curves(problem, setting, rates, keys=keys, judged_on=judged_on, **trial.sizes)
    return np.where(found.failed, 0.0, found.accuracy)


def choose(trial: Trial) -> dict[str, tuple[Setting, float]]:
    """The setting and rate of every optimiser."""
    settings = [Setting(o, a, b) for b, o, a in itertools.product((True, False), RATES, ("relu", "tanh"))]
    scores = {setting: np.zeros(len(RATES[setting.optimizer])) for setting in settings}
    for topology in (graphs := made()):
        for setting in settings:
            found = curves(topology, setting, RATES[setting.optimizer], trial, "validation")
            scores[setting] += found[..., np.array(trial.at) > 0].mean(axis=(1, 2)) / len(graphs)
        print(f"tried on {topology!r}", file=sys.stderr, flush=True)
        jax.clear_caches()
    chosen = {}
    for optimizer, rates in RATES.items():
        setting = max((s for s in settings if s.optimizer == optimizer), key=lambda s: scores[s].max())
        chosen[optimizer] = (setting, rates[int(scores[setting].argmax())])
        print(f"{setting}, {chosen[optimizer][1]:g}: {scores[setting].max():.4f} on made graphs")
    print(f"{sum(map(len, scores.values()))} configurations tried on each of {len(graphs)} graphs")
    return chosen


def main(folders: list[Path]) -> None:
    runs: dict[str, dict[int, list[float]]] = {}
    for folder in folders:
        matrix = json.loads((folder / "matrix.json").read_text())
        mine: dict[str, dict[int, list[float]]] = {}
        for row in matrix["rows"]:
            if row["method"] == "genome":
                mine.setdefault(row["topology"], {}).setdefault(row["step"], []).append(0 if row["failed"] else row["accuracy"])
        runs |= mine
        notes = matrix["notes"]
    trial = Trial(**{name: notes[name] for name in ("at", "batch_size", "query_size", "seeds", "seed", "validation_seeds")})
    chosen = choose(trial)
    judged = [step for step in trial.at if step]
    genome = {name: [median(of[step]) for step in judged] for name, of in runs.items()}
    print(f"{len(runs)} graphs, {trial.seeds} seeds; steps {judged}; genome: {np.mean(list(genome.values()), axis=0).round(3)}")
    others: dict[str, dict[str, np.ndarray]] = {}
    for name in runs:
        topology = ng.load_topology(name)
        for setting, rate in chosen.values():
            found = curves(topology, setting, [rate], trial, "test")[0]
            others.setdefault(f"{setting}, {rate:g}", {})[name] = np.median(found, axis=0)[np.array(trial.at) > 0]
        print(f"judged on {name}", file=sys.stderr, flush=True)
        jax.clear_caches()
    for label, found in others.items():
        gaps = np.array([np.array(genome[name]) - found[name] for name in runs])
        ahead, level = (gaps > 5e-4).sum(axis=0), (np.abs(gaps) <= 5e-4).sum(axis=0)
        mean = gaps.mean(axis=1)
        print(
            f"{label}: {np.mean(list(found.values()), axis=0).round(3)}; the genome is ahead on {ahead.tolist()}, level on"
            f" {level.tolist()}, by the mean over step counts ahead on {int((mean > 0).sum())}; behind by at most"
            f" {(-gaps.min(axis=0)).round(3).tolist()}"
        )


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
