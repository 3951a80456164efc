"""Properties of graphs as numbers, and their relation to how genomes learn on graphs that they never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from neurograph.experiments.transfer.results import Row
from neurograph.report.figures.style import COLOURS, GREY, Picture, picture, styled
from neurograph.topology import Topology

__all__ = ["PROPERTIES", "predictors", "properties", "relate", "relation_figure", "walk_lengths"]

PROPERTIES = {
    "depth": "path length",
    "path_spread": "spread of path lengths",
    "fan_in": "fan-in",
    "fan_in_spread": "spread of fan-in",
    "neurons": "number of neurons",
    "skips": "synapses that skip levels",
    "cyclic": "cycles",
}
"""Properties of one graph: key and words."""


def walk_lengths(topology: Topology) -> np.ndarray:
    """Returns [L + 1] float64, the share of the walks from inputs to outputs that have length 0, 1, ... L.

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


def properties(topology: Topology) -> dict[str, float]:
    """The numbers of `PROPERTIES` for a graph.

    "depth", "path_spread": mean and standard deviation of the number of synapses on a walk from an input to an output, over all
    such walks (see `walk_lengths`). "fan_in": binary logarithm of the mean number of synapses that arrive at a neuron that has
    any; "fan_in_spread": their deviation over their mean. "neurons": binary logarithm of their number. "skips": share of the
    synapses between different levels that pass over at least one. "cyclic": 1 or 0.
    """
    share = walk_lengths(topology)
    length = np.arange(len(share))
    fan_in = np.bincount(topology.receivers, minlength=topology.num_neurons)[np.unique(topology.receivers)]
    climbs = topology.levels[topology.receivers] - topology.levels[topology.senders]
    found = {
        "depth": share @ length,
        "path_spread": np.sqrt(max(share @ length**2 - (share @ length) ** 2, 0.0)),
        "fan_in": np.log2(fan_in.mean()),
        "fan_in_spread": fan_in.std() / fan_in.mean(),
        "neurons": np.log2(topology.num_neurons),
        "skips": (climbs > 1).sum() / max((climbs != 0).sum(), 1),
        "cyclic": not topology.is_acyclic,
    }
    return {key: float(value) for key, value in found.items()}


def predictors(sets: Mapping[str, Sequence[str]], of: Mapping[str, Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Returns possible predictors of how well a genome of a set of graphs does on a graph: {in words: [sets, graphs] float64}.

    "more: P" is the mean of property P over the training graphs, the same for every graph. "near in P" is minus the distance of
    the graph's P to that of the training graph nearest in P, in standard deviations of P over all graphs. "near in all" is minus
    the Euclidean distance to the nearest training graph over all properties so scaled. "number of graphs" is that of the set.

    Args:
      sets: names of the training graphs by set.
      of: by graph its `properties`; training graphs among them.
    """
    names = list(of)
    table = np.array([[of[name][key] for key in PROPERTIES] for name in names])  # [graphs, properties]
    scale = table.std(axis=0)
    scaled = table / np.where(scale > 0, scale, 1)
    own = [[names.index(name) for name in members] for members in sets.values()]
    found = {"number of graphs": np.array([[float(len(members))] * len(names) for members in own])}
    for column, words in enumerate(PROPERTIES.values()):
        found[f"more: {words}"] = np.array([[table[members, column].mean()] * len(names) for members in own])
        value = scaled[:, column]
        found[f"near in {words}"] = -np.array([np.abs(value[:, None] - value[members]).min(axis=1) for members in own])
    away = [np.linalg.norm(scaled[:, None] - scaled[members], axis=-1).min(axis=1) for members in own]
    return found | {"near in all": -np.array(away)}


def relate(outcome: np.ndarray, by: Mapping[str, np.ndarray], *, shuffles: int = 5000, seed: int = 0) -> list[Row]:
    """Relates each predictor to the outcome; the training set is the unit.

    Args:
      outcome: [sets, graphs] float; NaN where a graph was trained on.
      by: predictors, [sets, graphs], by name.

    Returns:
      A row per predictor that differs between sets, strongest first: "predictor"; "rho", Spearman's rank correlation over sets
      on one graph, mean over graphs; "lowest", "highest": rho with one set left out; "p": share with |rho| as large, of the sets'
      predictors as they are and `shuffles` random exchanges; "corrected": p times the number of predictors, at most 1
      (Bonferroni); "predicted": 1 - squared error of a line through the OTHER sets, at the set left out, over that of their mean
      on the same graph (above 0: it says something of sets that were not looked at); "band": 95% of the random |rho| are below;
      "sets".
    """
    sets = len(outcome)
    if sets < 4:
        return []
    random = np.random.default_rng(seed)
    orders = np.array([random.permutation(sets) for _ in range(shuffles)])
    rows: list[Row] = []
    for name, x in by.items():
        rho = float(_rho(x[None], outcome)[0])
        if not np.isfinite(rho):
            continue
        chance = np.abs(_rho(x[orders], outcome))
        others = [np.arange(sets) != number for number in range(sets)]
        left_out = [float(_rho(x[None, keep], outcome[keep])[0]) for keep in others]
        error, plain = np.sum([_errors(x, outcome, keep) for keep in others], axis=0)
        row: Row = {"predictor": name, "rho": rho, "lowest": min(left_out), "highest": max(left_out)}
        row |= {"p": float(1 + np.sum(chance >= abs(rho) - 1e-12)) / (1 + shuffles), "band": float(np.quantile(chance, 0.95))}
        rows.append(row | {"predicted": float(1 - error / plain) if plain else 0.0, "sets": sets})
    rows.sort(key=lambda row: -abs(row["rho"]))
    return [row | {"corrected": min(1.0, row["p"] * len(rows))} for row in rows]


def _rho(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns [many], Spearman's correlation over sets: the mean over the graphs where neither is the same for all sets.

    `x` is [many, sets, graphs], `y` [sets, graphs] with NaN.
    """
    total, count = np.zeros(len(x)), np.zeros(len(x))
    for graph in range(y.shape[1]):
        seen = np.isfinite(y[:, graph])
        mine, theirs = _ranks(x[:, seen, graph]), _ranks(y[None, seen, graph])
        found = (mine * theirs).sum(axis=1)
        differs = mine.any(axis=1) & theirs.any()
        total, count = total + np.where(differs, found, 0), count + differs
    return np.divide(total, count, out=np.full(len(x), np.nan), where=count > 0)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Returns the rows [many, n], centred and of length 1, so that a product is a rank correlation; zeros where all are equal."""
    ranks = stats.rankdata(x, axis=1) - (x.shape[1] + 1) / 2
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    return ranks / np.where(length > 0, length, 1)


def _errors(x: np.ndarray, y: np.ndarray, keep: np.ndarray) -> tuple[float, float]:
    """Returns squared errors at the set that is not kept: of the line through the others, and of their means."""
    differs = np.isfinite(y[~keep][0]) & np.isfinite(y[keep]).any(axis=0)
    means = np.nanmean(y[keep][:, differs], axis=0)
    known = np.isfinite(y[keep][:, differs])
    centre = np.where(known, x[keep][:, differs], 0).sum(axis=0) / known.sum(axis=0)
    right = np.where(known, x[keep][:, differs] - centre, 0)
    slope = np.nansum(right * (y[keep][:, differs] - means)) / ((right**2).sum() or 1.0)
    off = y[~keep][0, differs] - means
    return float(((off - slope * (x[~keep][0, differs] - centre)) ** 2).sum()), float((off**2).sum())


@styled()
def relation_figure(relations: Mapping[str, Sequence[Row]], limit: int = 12) -> Picture:
    """A bar per predictor, a colour per place: its rho, and as a grey mark what 95% of random exchanges stay below.

    Args:
      relations: rows of `relate` by task or graphs; the first one's order, and its first `limit`, are shown. What another lacks
        is left out.
    """
    shown = [row["predictor"] for row in next(iter(relations.values()))][:limit]
    figure = picture(6.4, 0.13 * len(shown) * (1 + len(relations)) + 1.2)
    axis = figure.subplots()
    height = 0.8 / len(relations)
    for number, (where, rows) in enumerate(relations.items()):
        found = {row["predictor"]: row for row in rows}
        places = {name: i + (number - (len(relations) - 1) / 2) * height for i, name in enumerate(shown) if name in found}
        sizes = [found[name]["rho"] for name in places]
        axis.barh(list(places.values()), sizes, height * 0.9, color=COLOURS[number], label=where)
        for name, place in places.items():
            for side in (-1, 1):
                axis.plot([side * found[name]["band"]] * 2, [place - height / 2, place + height / 2], color=GREY, lw=1.2)
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(range(len(shown)), shown)
    axis.set_ylim(len(shown) - 0.5, -0.5)
    axis.set_xlabel("rank correlation over training sets (grey: 95% of chance)", fontsize=9)
    axis.tick_params(labelsize=9)
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure
