"""Fills neurograph/zoo from the run folders of the shipped experiments, and the one genome that is not learned.

Usage: python docs/make_zoo.py runs/quickstart
"""

import json
import sys
from pathlib import Path

import neurograph as ng

ZOO = Path(__file__).parent.parent / "neurograph" / "zoo"


def from_run(folder: Path) -> None:
    """The run's genome, its card completed with the test figures of transfer.json."""
    file = ng.load_genome_file(folder / "genome.json")
    results = json.loads((folder / "transfer.json").read_text())
    rows = [row for row in results["rows"] if row["method"] == "genome" and row["step"] == 10]
    figures = {}
    for where in dict.fromkeys((row["task"], row["topology"]) for row in rows):
        values = sorted(row["accuracy"] for row in rows if (row["task"], row["topology"]) == where)
        middle = len(values) // 2
        median = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
        figures[f"{where[0]} on {where[1]}"] = round(median, 3)
    card = file.card | {"test_accuracy_after_10_steps_median": figures, "test_seeds": results["notes"]["seeds"]}
    card |= {"retrain": f"neurograph meta-train {folder.name}"}
    card |= {"environment": json.loads((folder / "environment.json").read_text())["packages"]}
    ng.save_genome(ZOO / f"{folder.name}.json", file.genome, file.rule, card)


def main(runs: Path) -> None:
    genome, rule = ng.backprop_genome(learning_rate=0.01, activation="tanh", loss="softmax_cross_entropy")
    card = {"description": "Plain gradient descent on the summed cross-entropy, rate 0.01; not learned.", "retrain": None}
    ng.save_genome(ZOO / "backprop.json", genome, rule, card)
    for folder in sorted(path for path in runs.iterdir() if (path / "transfer.json").exists()):
        from_run(folder)
    print("zoo:", ", ".join(ng.zoo_names()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
