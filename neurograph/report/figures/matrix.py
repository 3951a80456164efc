"""A graph as its adjacency matrix, and as histograms of its degrees and levels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from neurograph.network.plan import compile_plan
from neurograph.report.figures.panel import CYCLE, FILL, INK, KINDS, Panel, kind_of_synapses, neurons_on_cycles
from neurograph.report.figures.style import GREY, Picture, short
from neurograph.topology.graph import Topology

__all__ = ["histograms_panel", "matrix_panel"]

SIDE = 4.2  # inches of the matrix
CELLS = 300  # cells of a side: more neurons share cells
PIXELS = 900  # of a side, at least: a cell is several pixels, so that nothing smooths it
BARS = 60  # of a histogram, at most: more values share bars


def matrix_panel(figure: Picture, t: Topology) -> Panel:
    """Draws the adjacency matrix: row from, column to, both in the order in which a plan computes the neurons.

    A cell is one pair of neurons, or some neighbours of many where the graph has more than 300; then it is paler the fewer of
    its pairs are connected.
    """
    order = compile_plan(t).order
    image = _image(t, order)
    names = _runs(t, order)
    left = 0.16 + 0.06 * max((len(name) for name, _, _ in names), default=0)
    upright = any((stop - start) / t.num_neurons * SIDE < 0.07 * len(name) for name, start, stop in names)
    below = left if upright else 0.22
    strip = 0.07
    axes = figure.add_axes((0, 0, 1, 1), label="matrix")
    n = t.num_neurons
    axes.imshow(image, extent=(0, n, n, 0), interpolation="none", aspect="auto")
    axes.grid(False)
    axes.spines[:].set(visible=True, color="#bdbdbd", linewidth=0.6)
    for _, start, _ in _runs(t, order, least=0.02):
        if start:
            axes.axhline(start, color="#bdbdbd", lw=0.4)
            axes.axvline(start, color="#bdbdbd", lw=0.4)
    places = [(start + stop) / 2 for _, start, stop in names]
    axes.set_yticks(places, [name for name, _, _ in names], fontsize=7)
    axes.set_xticks(places, [name for name, _, _ in names], fontsize=7, rotation=90 if upright else 0)
    axes.tick_params(length=0, colors=INK)
    axes.set_ylabel("from", fontsize=8, color=GREY)
    axes.set_xlabel("to", fontsize=8, color=GREY)
    roles = np.array([_rgb(FILL[name]) for name in ("hidden", "input", "output")])[_roles(t)[order]]
    roles[t.dead[order]] = 1.0
    x, y = 0.25 + left, 0.25 + below
    bands = []
    for number, place in enumerate(((x - strip, y, strip, SIDE), (x, y + SIDE, SIDE, strip))):
        band = figure.add_axes((0, 0, 1, 1), label=f"roles {number}")
        band.imshow(roles[:, None] if number == 0 else roles[None], aspect="auto", interpolation="none")
        band.set_axis_off()
        bands.append((band, place))
    axes.tick_params(axis="y", pad=8)
    share = "" if n <= CELLS else f"; a cell is {-(-n // CELLS)} x {-(-n // CELLS)} pairs, darker where more are connected"
    axes.set_title(f"synapses{share}", fontsize=8, color=INK, pad=9)
    return Panel(x + SIDE + 0.1, y + SIDE + strip + 0.3, [(axes, (x, y, SIDE, SIDE)), *bands])


def _roles(t: Topology) -> np.ndarray:
    role = np.zeros(t.num_neurons, int)
    role[t.inputs], role[t.outputs] = 1, 2
    return role


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def _image(t: Topology, order: np.ndarray) -> Float[np.ndarray, "rows columns 3"]:
    """Returns the matrix as colours; equal cells, each of several pixels."""
    n = t.num_neurons
    wide = -(-n // CELLS)
    cells = -(-n // wide)
    rank = np.empty(n, int)
    rank[order] = np.arange(n) // wide
    cell = rank[t.senders] * cells + rank[t.receivers]
    kinds = kind_of_synapses(t)
    counts = np.stack([np.bincount(cell[kinds == kind], minlength=cells * cells) for kind in range(len(KINDS))])
    size = np.bincount(rank, minlength=cells)
    share = np.minimum(counts.sum(axis=0) / np.outer(size, size).ravel(), 1.0)
    inked = np.where(share > 0, 1.0 if wide == 1 else 0.2 + 0.8 * np.sqrt(share), 0.0)[:, None]
    colour = np.array([_rgb(colour) for colour in KINDS.values()])[counts.argmax(axis=0)]
    image = (1 - inked * (1 - colour)).reshape(cells, cells, 3)
    times = -(-PIXELS // cells)
    return np.repeat(np.repeat(image, times, axis=0), times, axis=1)


def _runs(t: Topology, order: np.ndarray, least: float = 0.045) -> list[tuple[str, int, int]]:
    """Returns names of neighbours in the order: populations, or roles; (name, start, stop), those of at least such a share."""
    named = t.population_names and t.population.max() >= 0
    roles = np.array(["hidden", "inputs", "outputs"])
    label = np.where(t.population >= 0, t.population, -1 - _roles(t)) if named else -1 - _roles(t)
    label = label[order]
    cuts = [0, *(np.flatnonzero(np.diff(label)) + 1).tolist(), len(label)]
    found = []
    for start, stop in pairwise(cuts):
        if stop - start >= least * len(label):
            value = int(label[start])
            found.append((short(t.population_names[value] if value >= 0 else str(roles[-1 - value]), 14), start, stop))
    return found


def histograms_panel(figure: Picture, t: Topology) -> Panel:
    """Draws how many neurons have a fan-in, a fan-out and a level, by role; those on a cycle apart."""
    role = _roles(t)
    part = np.where((role == 0) & neurons_on_cycles(t), 3, role)
    into, outof = (np.bincount(ends, minlength=t.num_neurons) for ends in (t.receivers, t.senders))
    clamped, last = role == 1, (role == 2) & (outof == 0)  # have no fan-in, have no fan-out
    wanted = [
        ("fan-in", "synapses into a neuron", into, ~clamped),
        ("fan-out", "synapses out of a neuron", outof, ~last),
        ("levels", "level", t.levels, np.ones(t.num_neurons, bool)),
    ]
    width, height, placed = 2.5, 1.45, []
    for number, (title, label, values, counted) in enumerate(wanted):
        axes = figure.add_axes((0, 0, 1, 1), label=title)
        _bars(axes, values[counted], part[counted])
        axes.set_title(title, fontsize=8, color=INK)
        axes.set_xlabel(label, fontsize=7, color=GREY)
        axes.tick_params(labelsize=7, length=2, colors=INK)
        axes.grid(axis="x", visible=False)
        axes.set_axisbelow(True)
        if number == 0:
            axes.set_ylabel("neurons", fontsize=7, color=GREY)
        placed.append((axes, (0.5 + number * (width + 0.4), 0.42, width, height)))
    return Panel(0.5 + 3 * width + 0.8 + 0.1, height + 0.7, placed)


def _bars(axes: Any, values: np.ndarray, part: np.ndarray) -> None:
    """Draws a stacked histogram of integers: a bar per value, or per some neighbours where they reach far."""
    from matplotlib.ticker import MaxNLocator

    high = int(values.max(initial=0))
    step = -(-(high + 1) // BARS)
    bins = high // step + 1
    below = np.zeros(bins, int)
    middle = np.arange(bins) * step + (step - 1) / 2
    for number, colour in ((1, FILL["input"]), (0, FILL["hidden"]), (3, CYCLE), (2, FILL["output"])):
        count = np.bincount(values[part == number] // step, minlength=bins)
        if count.any():
            axes.bar(middle, count, 0.9 * step, bottom=below, color=colour, edgecolor=INK, linewidth=0.3)
        below = below + count
    axes.set_xlim(-0.5 - 0.05 * step, bins * step - 0.5 + 0.05 * step)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
