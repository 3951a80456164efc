"""Parts of a drawing of a graph: one set of colours, one legend, and several parts on one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from neurograph.report.figures.style import Picture
from neurograph.topology.graph import Topology

__all__ = [
    "CYCLE",
    "DASHES",
    "FILL",
    "INK",
    "KINDS",
    "Panel",
    "compose",
    "kind_of_synapses",
    "legend",
    "neurons_on_cycles",
    "open_axes",
]

# Okabe and Ito's colours: colour-blind readers distinguish them
FILL = {"input": "#56B4E9", "hidden": "#D9D9D9", "output": "#E69F00"}
INK = "#333333"
CYCLE = "#CC3311"
KINDS = {"own": INK, "fixed": "#009E73", "shared": "#0072B2", "cycle": CYCLE}  # a synapse on a cycle has no other colour
DASHES: dict[bool, Any] = {False: "-", True: (0, (4, 2))}  # of fixed synapses, on a cycle too

MARGIN = 0.15  # inches round every panel
NARROWEST = 3.3  # inches


@dataclass
class Panel:
    """A part of a drawing, in inches: its size, and its axes with their place (left, bottom, width, height) in it.

    `dense` are the artists that may become an image in a vector file, where there are too many of them.
    """

    width: float
    height: float
    axes: list[tuple[Any, tuple[float, float, float, float]]]
    dense: list[Any] = field(default_factory=list)


def neurons_on_cycles(t: Topology) -> Bool[np.ndarray, " neurons"]:
    """Returns which neurons a path leads from back to themselves."""
    on = np.bincount(t.components)[t.components] > 1
    on[t.senders[t.senders == t.receivers]] = True
    return on


def kind_of_synapses(t: Topology) -> Int[np.ndarray, " synapses"]:
    """Returns the number in `KINDS` of every synapse."""
    kind = np.where(t.fixed, 1, np.where(t.group >= 0, 2, 0))
    return np.where(t.components[t.senders] == t.components[t.receivers], 3, kind)


def open_axes(figure: Picture, low: np.ndarray, high: np.ndarray, inches: float, most: float = 24.0) -> Panel:
    """Returns a panel whose axes have no frame and show data from `low` to `high` [2] at so many inches per unit.

    Args:
      most: how wide and how high the panel is at most, in inches: what is larger becomes smaller.
    """
    wide, tall = np.maximum(high - low, 1e-3)
    scale = min(inches, most / wide, most / tall)
    width = max(float(wide * scale), NARROWEST)  # smaller drawings stand in the middle
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    middle = (low[0] + high[0]) / 2
    axes.set_xlim(middle - width / scale / 2, middle + width / scale / 2)
    axes.set_ylim(low[1], high[1])
    height = float(tall * scale)
    return Panel(width, height, [(axes, (0, 0, width, height))])


def legend(t: Topology) -> list[Any]:
    """Returns the handles of a legend: a mark for every role of neurons and kind of synapses that the graph has."""
    from matplotlib.lines import Line2D

    role = np.zeros(t.num_neurons, int)
    role[t.inputs], role[t.outputs] = 1, 2
    neurons = [("input", FILL["input"], True), ("hidden", FILL["hidden"], bool((role == 0).any()))]
    neurons += [("output", FILL["output"], True), ("dead", "white", bool(t.dead.any()))]
    handles: list[Any] = [
        Line2D([], [], marker="o", ls="", mfc=color, mec="#999999" if label == "dead" else INK, ms=7, label=label)
        for label, color, present in neurons
        if present
    ]
    lines = [("fixed", KINDS["fixed"], bool(t.fixed.any())), ("shared", KINDS["shared"], bool((t.group >= 0).any()))]
    lines += [("on a cycle", CYCLE, not t.is_acyclic)]
    handles += [
        Line2D([], [], ls=DASHES[label == "fixed"], color=color, lw=1.4, label=label)
        for label, color, present in lines
        if present
    ]
    return handles


def compose(figure: Picture, rows: Sequence[Sequence[Panel]], title: str, facts: str, handles: Sequence[Any]) -> None:
    """Gives the figure its size and every panel its place: rows below each other, a title on top, a legend at the bottom."""
    widths = [sum(panel.width + MARGIN for panel in row) + MARGIN for row in rows]
    tall = [max(panel.height for panel in row) + MARGIN for row in rows]
    lengths = [0.42 + 0.075 * len(handle.get_label()) for handle in handles]
    width = max(*widths, 3.6, 0.053 * len(facts))
    columns = max(1, min(len(handles), int((width - 0.2) / max(lengths))))
    foot = 0.2 * -(-len(handles) // columns) + 0.1
    head = 0.62 if title else 0.32
    height = head + sum(tall) + foot
    figure.set_size_inches(width, height)
    top = height - head
    for row, wide, high in zip(rows, widths, tall):
        left = (width - wide) / 2 + MARGIN
        for panel in row:
            bottom = top - (high + panel.height) / 2
            for axes, (x, y, w, h) in panel.axes:
                axes.set_position(((left + x) / width, (bottom + y) / height, w / width, h / height))
            left += panel.width + MARGIN
        top -= high
    if title:
        size = min(12.0, 0.95 * width * 72 / (0.6 * len(title)))
        figure.text(0.5, 1 - 0.22 / height, title, ha="center", va="center", fontsize=size, color=INK)
    size = min(8.0, 0.95 * width * 72 / (0.55 * len(facts)))
    figure.text(0.5, 1 - (head - 0.18) / height, facts, ha="center", va="center", fontsize=size, color="#595959")
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.0),
        ncols=columns,
        frameon=False,
        fontsize=7,
        handletextpad=0.3,
        columnspacing=1.0,
    )
