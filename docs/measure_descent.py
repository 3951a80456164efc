"""Gradient descent's own genome, untrained, on every shipped graph of 64 inputs: one setting for all beside the best for each.

`python docs/measure_descent.py run FILE [--graphs NAME,NAME] [--variants NAME,NAME]` appends a line of JSON for every graph,
variant, rate and step count to FILE (what FILE holds already is not run again); `python docs/measure_descent.py table FILE`
prints the tables of docs/results.md. All is judged on validation rows of scikit-learn's digits.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import neurograph as ng
from neurograph.experiments.transfer import genome_curves
from neurograph.learning import Setting, baseline_curves, ordinary_network
from neurograph.topology import mlp
from neurograph.topology.shipped import shipped_names

AT = (10, 50, 200)
SEEDS = 2
RATES = (0.1, 0.3, 1.0)
DEEP = (0.4, 0.6, 0.9)
CHANCE = 0.15  # the commonest digit is 0.106 of the rows; below this nothing was learned

BASELINE_RATES = {"sgd": (0.03, 0.1, 0.3, 1.0), "momentum": (0.01, 0.03, 0.1, 0.3), "adam": (0.003, 0.01, 0.03)}
BASELINES = {"tuned, batch norm": True, "tuned, no batch norm": False}
PLAIN = {"normalization": "batch", "normalize_outputs": True, "batch_reduction": "mean", "initial_deviation": "fan_in"}
SIZED = PLAIN | {"update_normalization": "neuron"}
TRACED = SIZED | {"synapse_trace": True}
HALVES = {"trace_keep": 0.5, "depth_power": 0.5}
FADING = {"backward_transform": [[0.0, 0.0], [0.0, 0.6]]}
# name: options of the rule, arrays of the genome, rates
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[float, ...]]] = {
    "plain, no derivative": (PLAIN | {"backward_normalization": "none"}, {}, (0.03, *RATES)),
    "plain": (PLAIN, {}, (*RATES, 3.0)),
    "sized": (SIZED, {}, RATES),
    "sized, no derivative": (SIZED | {"backward_normalization": "none"}, {}, RATES),
    "sized, depth 0.5": (SIZED, {"depth_power": 0.5}, DEEP),
    "sized, depth 1": (SIZED, {"depth_power": 1.0}, (0.5, 0.9, 1.5)),
    "sized, trace 0.5": (SIZED | {"synapse_trace": True}, {"trace_keep": 0.5}, RATES),
    "sized, trace 0.9": (SIZED | {"synapse_trace": True}, {"trace_keep": 0.9}, RATES),
    "sized, trace 0.5, depth 0.5": (SIZED | {"synapse_trace": True}, {"trace_keep": 0.5, "depth_power": 0.5}, DEEP),
    "sized, error 1.5, depth 0.5": (SIZED, {"error_power": 1.5, "depth_power": 0.5}, (0.6, 0.9, 1.5, 2.5)),
    "sized, error 1.5, trace 0.5, depth 0.5": (
        SIZED | {"synapse_trace": True},
        {"error_power": 1.5, "trace_keep": 0.5, "depth_power": 0.5},
        (0.6, 0.9, 1.5, 2.5),
    ),
    "sized, swish": (SIZED | {"forward_activation": "swish"}, {}, RATES),
    "sized, swish, decay": (SIZED | {"forward_activation": "swish"}, {"synapse_keep": 0.99}, RATES),
    "sized, swish, weight normalization": (
        SIZED | {"forward_activation": "swish", "synapse_normalization": "in_pass", "synapse_derivative": True},
        {},
        RATES,
    ),
    "sized, swish, more damping": (SIZED | {"forward_activation": "swish", "ticks": 30, "damping": 0.8}, {}, RATES),
    "sized, relu, trace 0.5, depth 0.5": (TRACED | {"forward_activation": "relu"}, HALVES, DEEP),
    "sized, swish, trace 0.5, depth 0.5": (TRACED | {"forward_activation": "swish"}, HALVES, DEEP),
    # Feedback that fades by 0.6 at every synapse: along long ways, and around cycles.
    "sized, swish, trace 0.5, depth 0.5, fading": (TRACED | {"forward_activation": "swish"}, HALVES | FADING, DEEP),
    "sized, tanh, trace 0.5, depth 0.5, fading": (TRACED, HALVES | FADING, DEEP),
    "sized, swish, trace 0.3, depth 0.75, fading": (
        TRACED | {"forward_activation": "swish"},
        {"trace_keep": 0.3, "depth_power": 0.75} | FADING,
        (1.0, 1.5, 2.2),
    ),
    "sized, more damping": (SIZED | {"ticks": 30, "damping": 0.8}, {}, RATES),
}


def graphs() -> dict[str, ng.Topology]:
    """Every shipped topology of 64 inputs and 10 outputs."""
    found = {name: ng.load_topology(name) for name in shipped_names()}
    return {name: t for name, t in found.items() if (len(t.inputs), len(t.outputs)) == (64, 10)}


def rows(name: str, topology: ng.Topology, task: ng.Task, variant: str) -> list[dict[str, Any]]:
    options, arrays, rates = VARIANTS[variant]
    activation = options.get("forward_activation", "tanh")
    if "ticks" in options:
        topology = topology.with_schedule(topology.schedule, options["ticks"], damping=options["damping"])
    options = {key: value for key, value in options.items() if key not in ("forward_activation", "ticks", "damping")}
    genome, rule = ng.backprop_genome(1.0, loss="softmax_cross_entropy", activation=activation, normalization="batch")
    problem = ng.Problem(ng.Network(topology, rule.replace(**options)), task)
    keys = jax.random.split(jax.random.key(2027), SEEDS)
    found = []
    for rate in rates:
        tried = genome.replace(synapse_update=-rate, **arrays)
        loss, hits = genome_curves(problem, tried, keys=keys, at=AT, batch_size=128, judged_on="validation", query_size=360)
        for index, step in enumerate(AT):
            row = {"graph": name, "task": task.name, "variant": variant, "rate": rate, "step": step}
            finite = np.isfinite(loss[:, index])
            accuracy = float(np.where(finite, hits[:, index], 0).mean())
            found.append(row | {"accuracy": accuracy, "failed": int((~finite).sum()), "seeds": SEEDS})
    return found


def baseline_rows(name: str, topology: ng.Topology, task: ng.Task, variant: str) -> list[dict[str, Any]]:
    """SGD, momentum and Adam by exact gradients, tanh, on the batches of `rows`."""
    problem = ng.Problem(ordinary_network(topology), task)
    keys, found = jax.random.split(jax.random.key(2027), SEEDS), []
    for optimizer, rates in BASELINE_RATES.items():
        setting = Setting(optimizer, "tanh", BASELINES[variant])
        curves = baseline_curves(problem, setting, rates, keys=keys, at=AT, batch_size=128, query_size=360)
        for r, rate in enumerate(curves.rates):
            for index, step in enumerate(AT):
                finite = np.isfinite(curves.loss[r, :, index])
                row = {"graph": name, "task": task.name, "variant": variant, "setting": optimizer, "rate": rate, "step": step}
                accuracy = float(np.where(finite, curves.accuracy[r, :, index], 0).mean())
                found.append(row | {"accuracy": accuracy, "failed": int((~finite).sum()), "seeds": SEEDS})
    return found


def run(path: Path, names: list[str], variants: list[str]) -> None:
    known = set()
    if path.exists():
        known = {(r["graph"], r["variant"]) for r in map(json.loads, path.read_text().splitlines())}
    digits = ng.get_task("digits")
    places = {name: (topology, digits) for name, topology in graphs().items()}
    if any(name.startswith("mnist") for name in names):
        mnist = ng.get_task("mnist/10x10")
        places |= {f"mnist depth {d}": (mlp(100, *[64] * d, 10), mnist) for d in (1, 2, 4, 6, 8, 10)}
    chosen = [n for n in places if not names or n in names or ("mnist" in names and n.startswith("mnist"))]
    for variant in variants or [*VARIANTS, *BASELINES]:
        for name in chosen:
            if (name, variant) in known:
                continue
            begun = time.perf_counter()
            found = (baseline_rows if variant in BASELINES else rows)(name, *places[name], variant)
            with path.open("a") as stream:
                stream.writelines(json.dumps(row) + "\n" for row in found)
            best = {step: max(r["accuracy"] for r in found if r["step"] == step) for step in AT}
            print(f"{variant}: {name}: {best} in {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
            jax.clear_caches()


def table(path: Path) -> None:
    """For every variant: one setting for all graphs and step counts (the best on average), its worst graph, the best for each."""
    data = [json.loads(line) for line in path.read_text().splitlines()]
    for task in dict.fromkeys(row["task"] for row in data):
        print(f"\n{task}\n| setting | graphs |" + "".join(f" {s}: one | worst | best for each |" for s in AT) + " at chance |")
        print("|---" * (3 + 3 * len(AT)) + "|")
        mine = [row | {"setting": (row.get("setting", row["variant"]), row["rate"])} for row in data if row["task"] == task]
        for variant in dict.fromkeys(row["variant"] for row in mine):
            print(line(variant, [row for row in mine if row["variant"] == variant]))


def line(variant: str, group: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(row["graph"] for row in group))
    scores = {(r["graph"], r["setting"], r["step"]): r["accuracy"] for r in group}
    settings = list(dict.fromkeys(row["setting"] for row in group))
    chosen = max(settings, key=lambda s: np.mean([scores[n, s, step] for n in names for step in AT]))
    cells, lost = "", 0
    for step in AT:
        one = [scores[name, chosen, step] for name in names]
        best = np.mean([max(scores[name, s, step] for s in settings) for name in names])
        worst = int(np.argmin(one))
        lost += sum(a < CHANCE for a in one)
        cells += f" {np.mean(one):.3f} | {one[worst]:.3f} {names[worst]} | {best:.3f} |"
    return f"| {variant if chosen[0] == variant else f'{variant}: {chosen[0]}'}, {chosen[1]:g} | {len(names)} |{cells} {lost} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--graphs", default="")
    parser.add_argument("--variants", default="")
    given = parser.parse_args()
    if given.what == "table":
        table(given.file)
    else:
        run(given.file, *([v for v in text.split(";") if v] for text in (given.graphs, given.variants)))
