"""The README's picture and tables from a folder of `neurograph transfer` and one of `neurograph meta-train functions`.

Usage: python docs/make_figures.py TRANSFER FUNCTIONS; the former with what `neurograph quickstart --help` says, and Adam.
"""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
# What a user would pick instead, as families: the activation is chosen on validation data at every step count.
FAMILIES = {
    "SGD": ("sgd", False, "#d55e00"),
    "momentum": ("momentum", False, "#009e73"),
    "SGD, batch norm": ("sgd", True, "#cc79a7"),
    "momentum, batch norm": ("momentum", True, "#7f7f7f"),
    "Adam": ("adam", False, "#e69f00"),
    "Adam, batch norm": ("adam", True, "#56b4e9"),
}


def curves(results: dict, topology: str, task: str) -> dict[str, dict[int, float]]:
    """Median test accuracy per step count: of the genome, and of each family's setting that was best on validation data."""
    rows = [r for r in results["rows"] if (r["topology"], r["task"]) == (topology, task)]

    def at(step: int, method: str, activation: str | None, batch_norm: bool | None) -> float:
        key = (step, method, activation, batch_norm)
        return median(r["accuracy"] for r in rows if (r["step"], r["method"], r["activation"], r["batch_norm"]) == key)

    steps = sorted({r["step"] for r in rows if r["step"] > 0})
    out = {"genome": {s: at(s, "genome", None, None) for s in steps}}
    for name, (method, batch_norm, _) in FAMILIES.items():
        if method not in {r["method"] for r in rows}:
            continue
        out[name] = {}
        for step in steps:
            options = [
                c
                for c in results["chosen"]
                if (c["topology"], c["task"], c["step"], c["method"], c["batch_norm"])
                == (topology, task, step, method, batch_norm)
            ]
            best = max(options, key=lambda c: c["accuracy"])
            out[name][step] = at(step, method, best["activation"], batch_norm)
    return out


def table(results: dict, wanted: tuple[int, ...], places: list[tuple[str, str]], label: str) -> str:
    """Medians in a Markdown table; the best of a row, to the digits shown, in bold."""
    names = list(curves(results, *places[0]))
    lines = [f"| {label} | steps | " + " | ".join(names) + " |", "|" + "---|" * (2 + len(names))]
    for topology, task in places:
        found = curves(results, topology, task)
        for step in wanted:
            values = [found[name][step] for name in names]
            best = max(round(v, 3) for v in values)
            cells = [f"**{v:.3f}**" if round(v, 3) == best else f"{v:.3f}" for v in values]
            lines.append(f"| {task if label == 'function' else topology} | {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(results: dict, path: Path) -> None:
    places = list(dict.fromkeys((r["topology"], r["task"]) for r in results["rows"]))
    figure, axes = plt.subplots(1, len(places), figsize=(2.6 * len(places), 2.9), sharey=True, layout="constrained")
    for axis, (topology, task) in zip(axes, places, strict=True):
        found = curves(results, topology, task)
        for name, values in found.items():
            colour, width = ("#0072b2", 2.6) if name == "genome" else (FAMILIES[name][2], 1.3)
            positions = range(len(values))
            axis.plot(positions, list(values.values()), color=colour, linewidth=width, marker="o", markersize=3, label=name)
        axis.set_xticks(range(len(values)), [str(s) for s in values])
        axis.set_title(topology, fontsize=9)
        axis.set_ylim(0.75, 1)
        axis.set_xlabel("learning steps of 128", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("test accuracy", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=8, frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main(transfer: Path, trained: Path) -> None:
    digits = json.loads((transfer / "matrix.json").read_text())
    functions = json.loads((trained / "transfer.json").read_text())
    picture(digits, HERE / "images" / "universal.png")
    order = list(dict.fromkeys((r["topology"], r["task"]) for r in digits["rows"]))
    print(table(digits, (10, 50, 200), order, "graph"), "\n")
    print(table(functions, (10,), list(dict.fromkeys((r["topology"], r["task"]) for r in functions["rows"])), "function"), "\n")
    for name, results in (("universal", digits), ("functions", functions)):
        notes = results["notes"]
        kept = ("seeds", "configurations", "runs", "baseline_failures", "validation_seeds")
        print(name, {k: notes[k] for k in kept if k in notes})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
