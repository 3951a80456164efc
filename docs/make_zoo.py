"""Fills neurograph/genome/zoo from run folders of the shipped experiments, and with the genomes that are not learned.

Usage: python docs/make_zoo.py NAME=RUN [NAME=RUN ...]

A run folder has been tested by `neurograph meta-train` (transfer.json) or by docs/measure.py (test.json).
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import neurograph as ng

CYCLE_KEEP = 0.35
ZOO = Path(__file__).parent.parent / "neurograph" / "genome" / "zoo"


def figures(folder: Path) -> dict[str, Any]:
    """Test accuracy after 10 learning steps, by task and topology."""
    measured = folder / "test.json"
    if measured.exists():
        data = json.loads(measured.read_text())
        return {"test_accuracy_after_10_steps_mean": {where: curve["10"] for where, curve in data.items()}}
    results = json.loads((folder / "transfer.json").read_text())
    hits: dict[str, list[float]] = {}
    for row in results["rows"]:
        if row["method"] == "genome" and row["step"] == 10:
            hits.setdefault(f"{row['task']} on {row['topology']}", []).append(row["accuracy"])
    found = {where: round(median(values), 3) for where, values in hits.items()}
    return {"test_accuracy_after_10_steps_median": found, "test_seeds": results["notes"]["seeds"]}


def from_run(zoo_name: str, folder: Path) -> None:
    """The run's genome, its card completed with the test figures."""
    file = ng.load_genome_file(folder / "genome.json")
    name, seed = file.card["experiment"], file.card["seed"]
    card = file.card | figures(folder) | {"retrain": f"neurograph meta-train {name} --set seed={seed}"}
    card |= {"environment": json.loads((folder / "environment.json").read_text())["packages"]}
    ng.save_genome(ZOO / f"{zoo_name}.json", file.genome, file.rule, card)


def universal() -> None:
    """The genome for graphs of every kind: descent, thresholds, averages and eight other numbers (docs/results.md says why)."""
    genome, rule = ng.backprop_genome(2.6, loss="softmax_cross_entropy", activation="swish", normalization="batch")
    rule = rule.replace(
        normalize_outputs=True,
        bias_after_normalization=True,
        batch_reduction="mean",
        initial_deviation="fan_in",
        update_normalization="neuron",
        synapse_trace=True,
        synapse_average=True,
        cycle_fading=True,
    )
    fading = genome.backward_transform * 0.6
    genome = genome.replace(backward_transform=fading, trace_keep=0.3, depth_power=1.0, cycle_keep=CYCLE_KEEP, average_keep=0.95)
    card = {
        "description": "One genome for graphs of every kind: descent through batch normalization whose feedback fades, in steps"
        " of known size; neurons have thresholds, predictions take the average of every synapse over its last steps.",
        "made": "gradient descent's own genome (ng.backprop_genome, swish, cross-entropy, batch normalization), with biases"
        " behind the normalization, updates of known size, a trace of 0.3, divided by the depth, rate 2.6,"
        f" and feedback that fades by 0.6 at every synapse and by another {CYCLE_KEEP} inside cycles; every synapse"
        " keeps an average over its last steps (a fifth of all, twenty at most, back in the mean): numbers chosen by validation"
        " on made graphs, none of them shipped; biases behind the normalization because functions of two variables were lost"
        " without; no meta-training",
        "tasks": ["digits"],
        "held_out": "every shipped topology; connectomes, convolutional graphs, towers and bottlenecks; every data set but"
        " scikit-learn's digits",
        "retrain": None,
    }
    ng.save_genome(ZOO / "universal.json", genome, rule, card)


def main(folders: dict[str, Path]) -> None:
    genome, rule = ng.backprop_genome(learning_rate=0.01, activation="tanh", loss="softmax_cross_entropy")
    text = "Plain gradient descent on the summed cross-entropy, rate 0.01 (with cycles: at the fixed point); not learned."
    card = {"description": text, "retrain": None}
    ng.save_genome(ZOO / "backprop.json", genome, rule, card)
    for name, known in ng.CLASSICS.items():
        card = {"description": known.about, "paper": known.paper, "retrain": None}
        ng.save_genome(ZOO / f"{name}.json", *ng.classic(name), card)
    universal()
    for name, folder in folders.items():
        from_run(name, folder)
    print("zoo:", ", ".join(ng.zoo_names()))


if __name__ == "__main__":
    main({name: Path(folder) for name, _, folder in (argument.partition("=") for argument in sys.argv[1:])})
