"""Pictures of the figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.tables import LABELS

__all__ = ["draw"]

COLORS = {
    "ours": "#0b5394",
    "einsum": "#6fa8dc",
    "torch": "#e69138",
    "torch csr": "#f6b26b",
    "PyG": "#cc0000",
    "scipy": "#6aa84f",
    "numba": "#b6d7a8",
    "segment sums": "#999999",
    "jraph [B,E,k]": "#444444",
}
LINES = ("#0b5394", "#e69138", "#6aa84f", "#cc0000")


def draw(results: dict[str, Any], folder: Path) -> Iterator[Path]:
    """Write what can be drawn from the results; gives every path."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams |= {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
    figures = []
    for section, title in (("steps", "One learning step"), ("gradients", "Meta-gradient of ten steps")):
        if results.get(section):
            figures.append((f"performance-{section}.png", _bars(plt, results[section], title)))
    if results.get("scaling"):
        figures.append(("performance-scaling.png", _scaling(plt, results["scaling"], results.get("populations"))))
    for name, figure in figures:
        figure.savefig(folder / name, dpi=110, bbox_inches="tight")
        plt.close(figure)
        yield folder / name


def _bars(plt: Any, rows: dict[str, Any], title: str) -> Any:
    """Every peer's time as a multiple of ours, one panel per workload, logarithmic."""
    columns = 3 if len(rows) > 2 else len(rows)
    lines = -(-len(rows) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4.6 * columns, 2.5 * lines), squeeze=False, layout="constrained")
    for axis in axes.flat[len(rows) :]:
        axis.set_visible(False)
    for axis, (name, row) in zip(axes.flat, rows.items(), strict=False):
        peers = sorted(row["peers"], key=lambda peer: -row["peers"][peer]["cpu ms"])
        ms = [row["peers"][peer]["cpu ms"] for peer in peers]
        axis.barh(peers, ms, color=[COLORS[peer] for peer in peers])
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(plt.NullFormatter())  # labels of minor ticks run into one another
        axis.set_xlim(min(ms) / 2, max(ms) * 4)
        mine = row["peers"].get("ours", {}).get("cpu ms")
        for place, value in enumerate(ms):
            times = f"  {value:,.3g} ms" if mine is None or peers[place] == "ours" else f"  {value / mine:,.3g} x"
            axis.text(value, place, times, va="center", fontsize=8.5)
        for label in axis.get_yticklabels():
            label.set_fontweight("bold" if label.get_text() == "ours" else "normal")
        axis.set_title(LABELS[name], fontsize=10)
        axis.tick_params(axis="x", labelsize=8)
        axis.grid(axis="x", color="#dddddd")
    figure.suptitle(f"{title}: CPU milliseconds, and multiples of ours", fontsize=12)
    return figure


def _scaling(plt: Any, found: dict[str, Any], populations: dict[str, Any] | None) -> Any:
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.2), layout="constrained")
    panels = iter(axes.flat)
    names = {"synapses": "synapses", "depth": "levels", "batch": "batch", "states": "states per neuron"}
    for axis_name, curves in found.items():
        axis = next(panels)
        for (name, points), color in zip(curves.items(), LINES, strict=False):
            x, y = [p["at"] for p in points], [p["peers"]["ours"]["cpu ms"] for p in points]
            axis.loglog(x, y, "o-", color=color, label=LABELS.get(name, name), markersize=4)
            if axis_name in ("synapses", "batch"):  # what is linear in x runs along this line
                axis.loglog(x, [y[-1] * v / x[-1] for v in x], ":", color=color, linewidth=1)
        if axis_name == "depth":  # all of one size: what is to be seen is how little it changes
            axis.set_yscale("linear")
            axis.set_ylim(bottom=0)
        if axis_name in ("depth", "states"):
            _ticks(axis, sorted({p["at"] for points in curves.values() for p in points}))
        _finish(axis, names[axis_name], "CPU ms per step", axis_name in ("synapses", "batch"))
    axis = next(panels)
    for (name, points), color in zip(found["depth"].items(), LINES, strict=False):
        axis.semilogx([p["at"] for p in points], [p["peers"]["ours"]["compile s"] for p in points], "o-", color=color, label=name)
    axis.set_ylim(bottom=0)
    _ticks(axis, [p["at"] for p in next(iter(found["depth"].values()))])
    _finish(axis, "levels", "seconds to compile a step", False)
    axis = next(panels)
    if populations is None:
        axis.set_visible(False)
        return figure
    for (name, row), color in zip(populations["curve"].items(), LINES, strict=False):
        for where, style in (("one device", "o-"), ("all cores", "s--")):
            points = [(int(key.split(",")[0]), v["wall ms"]) for key, v in row.items() if key.endswith(where)]
            if points:
                points = [(1, row["one"]["wall ms"]), *points] if where == "one device" else points
                x, y = [p[0] for p in points], [p[1] / p[0] for p in points]
                axis.plot(x, y, style, color=color, label=f"{LABELS[name]}, {where}", markersize=4)
    axis.set_xscale("log", base=2)
    axis.set_ylim(bottom=0)
    _finish(axis, "genomes at once", "wall ms per genome and step", False)
    return figure


def _ticks(axis: Any, places: list[int]) -> None:
    """Along x where something was measured, as plain numbers."""
    axis.set_xticks(places, [f"{place:,}" for place in places])
    axis.set_xticks([], minor=True)
    axis.yaxis.set_minor_formatter("")
    axis.yaxis.set_major_formatter("{x:g}")


def _finish(axis: Any, x: str, y: str, dotted: bool) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(color="#dddddd", which="major")
    axis.legend(fontsize=8, frameon=False, title="dotted: linear" if dotted else None, title_fontsize=8)
