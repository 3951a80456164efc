"""What the graphs that a genome was trained on have in common, as numbers, and how far that goes with how it transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from neurograph.plots import COLOURS, MARKERS
from neurograph.reproduce.figures import panels
from neurograph.results import Row
from neurograph.topology import Topology

__all__ = ["PROPERTIES", "properties", "property_figure", "relate", "walk_lengths"]

PROPERTIES = {
    "graphs": "number of graphs",
    "deepest": "longest path",
    "path_spread": "spread of path lengths",
    "fan_in_spread": "spread of fan-in",
    "skips": "share of synapses over several levels",
    "cyclic": "share of cyclic graphs",
}
"""Key: in words."""


def walk_lengths(topology: Topology) -> np.ndarray:
    """[L + 1] float64: share of the walks from inputs to outputs that have length 0, 1, ... L.

    L is as many synapses as a signal can pass in one forward pass: levels, ticks, or both.
    """
    ticked = {"levels": topology.depth, "synchronous": topology.ticks, "mixed": topology.depth + topology.ticks - 1}
    longest = ticked[topology.schedule]
    here, found = np.zeros(topology.num_neurons), np.zeros(longest + 1)
    here[topology.inputs] = 1
    for length in range(longest + 1):
        found[length] = here[topology.outputs].sum()
        here = np.bincount(topology.receivers, here[topology.senders], topology.num_neurons)
    return found / found.sum()


def properties(topologies: Sequence[Topology]) -> dict[str, float]:
    """The numbers of `PROPERTIES` for graphs that were trained on together; each graph has the same weight.

    "deepest": most synapses that a walk from input to output passes (see `walk_lengths`). "path_spread": standard deviation of
    their number over all such walks of all graphs. "fan_in_spread": deviation over mean of the number of synapses that arrive at
    a neuron, all graphs together. "skips": share of synapses between different levels that pass over at least one.
    """
    walks = [walk_lengths(one) for one in topologies]
    length = np.arange(max(map(len, walks)))
    share = np.mean([np.pad(one, (0, len(length) - len(one))) for one in walks], axis=0)
    mean = share @ length
    incoming = [np.bincount(one.receivers, minlength=one.num_neurons)[_receivers(one)] for one in topologies]
    fan_in = np.mean([x.mean() for x in incoming])
    second = np.mean([(x.astype(float) ** 2).mean() for x in incoming])
    climbs = [one.levels[one.receivers] - one.levels[one.senders] for one in topologies]
    found = {
        "graphs": len({one.digest for one in topologies}),
        "deepest": np.flatnonzero(share)[-1],
        "path_spread": np.sqrt(max(share @ length**2 - mean**2, 0.0)),
        "fan_in_spread": np.sqrt(max(second - fan_in**2, 0.0)) / fan_in,
        "skips": np.mean([(x > 1).sum() / max((x != 0).sum(), 1) for x in climbs]),
        "cyclic": np.mean([not one.is_acyclic for one in topologies]),
    }
    return {key: float(value) for key, value in found.items()}


def property_figure(outcome: Mapping[str, Sequence[float]], of: Mapping[str, Mapping[str, float]]) -> Figure:
    """The outcome of every genome over each property of its training graphs; arguments as of `relate`."""
    figure, axes = panels(len(PROPERTIES), columns=3, width=3.2, height=2.6, sharey=True)
    for axis, (key, words) in zip(axes, PROPERTIES.items(), strict=True):
        for number, (name, values) in enumerate(outcome.items()):
            look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[(number + number // 8) % len(MARKERS)]}
            axis.plot([of[name][key]] * len(values), values, linestyle="", ms=5, alpha=0.8, label=name, **look)
        axis.set_xlabel(words)
        axis.margins(x=0.12)
    for axis in axes[::3]:
        axis.set_ylabel("held-out accuracy")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def _receivers(topology: Topology) -> np.ndarray:
    return np.unique(topology.receivers)


def relate(
    outcome: Mapping[str, Sequence[float]], of: Mapping[str, Mapping[str, float]], *, shuffles: int = 5000, seed: int = 0
) -> list[Row]:
    """How each property of training sets goes with the mean outcome of the genomes trained on them; the set is the unit.

    Args:
      outcome: per training set, a number per genome.
      of: per training set its `properties`.

    Returns:
      A row per property that is not the same for all sets, strongest first: "property"; "rho", Spearman's; "lowest", "highest":
      rho with one set left out; "p": share of random orders of the sets with |rho| as large, times the number of properties
      looked at (Bonferroni), at most 1; "predicted": 1 - (squared error of a line through the OTHER sets, at the set left out) /
      (the same of their mean): above 0 the property predicts sets that were not looked at; "sets"; "with_first": the property's
      own rank correlation with the strongest one (near 1: the two cannot be told apart by these sets).
    """
    names = [name for name in of if len(outcome.get(name, ()))]
    y = np.array([np.mean(outcome[name]) for name in names])
    random = np.random.default_rng(seed)
    shuffled = random.permuted(np.tile(_ranks(y), (shuffles, 1)), axis=1)
    keys = [key for key in PROPERTIES if len({of[name][key] for name in names}) > 1]
    if len(names) < 4 or not keys:
        return []
    rows = []
    for key in keys:
        x = np.array([of[name][key] for name in names])
        rho = _rho(x, y)
        chance = np.mean(np.abs(shuffled @ _ranks(x)) >= abs(rho) - 1e-12)
        left_out, error, plain = [], 0.0, 0.0
        for number in range(len(names)):
            others = np.arange(len(names)) != number
            left_out.append(_rho(x[others], y[others]))
            slope = np.polyfit(x[others], y[others], 1)[0] if np.ptp(x[others]) else 0.0
            guess = y[others].mean() + slope * (x[number] - x[others].mean())
            error, plain = error + (guess - y[number]) ** 2, plain + (y[others].mean() - y[number]) ** 2
        row: Row = {"property": key, "words": PROPERTIES[key], "rho": rho, "lowest": min(left_out), "highest": max(left_out)}
        row |= {"p": min(1.0, float(chance) * len(keys)), "predicted": 1 - error / plain if plain else 0.0, "sets": len(names)}
        rows.append({name: float(value) if isinstance(value, np.floating) else value for name, value in row.items()})
    rows.sort(key=lambda row: -abs(row["rho"]))
    first = [of[name][rows[0]["property"]] for name in names]
    return [row | {"with_first": _rho(np.array([of[name][row["property"]] for name in names]), np.array(first))} for row in rows]


def _ranks(x: np.ndarray) -> np.ndarray:
    """Centred and of length 1, so that a product is a rank correlation; zeros where all are equal."""
    ranks = stats.rankdata(x) - (len(x) + 1) / 2
    return ranks / (np.linalg.norm(ranks) or 1.0)


def _rho(x: np.ndarray, y: np.ndarray) -> float:
    return float(_ranks(x) @ _ranks(y))
