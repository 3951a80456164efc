"""Pictures of topologies: neurons and synapses of small graphs, populations of large ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neurograph.errors import TopologyError
from neurograph.report.figures.layout import Box, Link, neuron_positions, population_layout
from neurograph.report.figures.style import Picture, picture, short, styled
from neurograph.topology.graph import Topology

__all__ = ["draw_topology"]

MAX_NEURONS, MAX_SYNAPSES = 60, 300  # above that, dots and lines say less than boxes

# Okabe and Ito's colours: colour-blind readers distinguish them
_FILL = {"input": "#56B4E9", "hidden": "#D9D9D9", "output": "#E69F00"}
_INK = "#333333"
_FIXED, _SHARED, _BACK = "#009E73", "#0072B2", "#CC3311"


@styled()
def draw_topology(
    topology: Topology, path: str | os.PathLike[str] | None = None, *, detail: Literal["auto", "neurons", "populations"] = "auto"
) -> Picture:
    """Draws a topology, and saves the picture if a path is given.

    Args:
      path: ends in .svg, .png or .pdf.
      detail: neurons and synapses, or boxes for populations; auto takes boxes above 60 neurons or 300 synapses.

    Returns:
      A matplotlib figure that belongs to no window.

    Raises:
      TopologyError: the ending is not known, the file cannot be written, or the graph is too large to draw every neuron.
    """
    small = topology.num_neurons <= MAX_NEURONS and topology.num_synapses <= MAX_SYNAPSES
    if detail not in ("auto", "neurons", "populations"):
        raise TopologyError(f"detail: got {detail!r}; allowed: auto, neurons, populations.")
    if path is not None and Path(path).suffix.lower() not in (".svg", ".png", ".pdf"):
        raise TopologyError(f"{path}: the ending {Path(path).suffix!r} is not known; allowed: .svg, .png, .pdf.")
    if detail == "neurons" and (topology.num_neurons > 1000 or topology.num_synapses > 5000):
        raise TopologyError(
            f"the graph has {topology.num_neurons:,} neurons and {topology.num_synapses:,} synapses; every one can be drawn "
            "up to 1,000 and 5,000. Draw populations instead."
        )
    figure = picture(1, 1, fitted=False)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_aspect("equal")
    if detail == "neurons" or (detail == "auto" and small):
        _neurons(axes, figure, topology)
    else:
        _populations(axes, figure, topology)
    if path is not None:
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise TopologyError(f"{path}: cannot be written ({error.strerror}).") from error
    return figure


def _frame(axes: Any, figure: Any, title: str, low: np.ndarray, high: np.ndarray, inches: float) -> None:
    """Sets the limits, a size of the figure in proportion to them, and the title on top."""
    wide, tall = np.maximum(high - low, 1e-3)
    scale = min(inches, 26 / wide, 26 / tall)
    room = 0.45 / scale if title else 0.0
    wide = max(wide, 3.6 / scale)
    middle = (low[0] + high[0]) / 2
    axes.set_xlim(middle - wide / 2, middle + wide / 2)
    axes.set_ylim(low[1], high[1] + room)
    figure.set_size_inches(wide * scale, (tall + room) * scale)
    if title:
        size = min(12.0, 0.95 * wide * scale * 72 / (0.6 * len(title)))
        axes.text(middle, high[1] + room / 2, title, ha="center", va="center", fontsize=size, color=_INK)


# ---- neurons


def _neurons(axes: Any, figure: Any, t: Topology) -> None:
    from matplotlib.patches import Circle, FancyArrowPatch

    spot, circles = neuron_positions(t)
    role = np.full(t.num_neurons, "hidden", object)
    role[t.inputs], role[t.outputs] = "input", "output"
    radius = 0.26
    existing = set(zip(t.senders.tolist(), t.receivers.tolist()))
    thin = 1.1 if t.num_synapses <= 60 else 0.8 if t.num_synapses <= 150 else 0.5
    names_inside = max(map(len, t.names)) <= 4 and t.num_neurons <= 40
    corners = [spot]
    for e, (i, j) in enumerate(zip(t.senders.tolist(), t.receivers.tolist())):
        color = _FIXED if t.fixed[e] else _SHARED if t.group[e] >= 0 else _INK
        alpha = 0.9 if t.num_synapses <= 60 else 0.55
        if i == j:
            outward = spot[i] - circles.get(int(t.components[i]), spot[i] + np.array([0, -1.0]))
            outward = outward / max(float(np.linalg.norm(outward)), 1e-9)
            axes.add_patch(Circle(tuple(spot[i] + outward * radius * 1.15), radius * 0.75, fill=False, ec=_BACK, lw=thin))
            continue
        bend = 0.18 if (j, i) in existing else _bend(spot, i, j, 1.35 * radius)
        corners.append(_arc(spot[i], spot[j], bend, np.array([0.3, 0.5, 0.7])[:, None]))
        if t.components[i] == t.components[j]:
            color = color if color != _INK else _BACK
        arrow = FancyArrowPatch(
            tuple(spot[i]),
            tuple(spot[j]),
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=7 if t.num_synapses <= 120 else 4,
            shrinkA=0,
            shrinkB=radius * 72 * 0.62,
            lw=thin,
            color=color,
            alpha=alpha,
            linestyle=(0, (4, 2)) if t.fixed[e] else "-",
            zorder=1,
        )
        axes.add_patch(arrow)
    for i in range(t.num_neurons):
        dead = bool(t.dead[i])
        axes.add_patch(
            Circle(
                tuple(spot[i]),
                radius,
                fc="white" if dead else _FILL[role[i]],
                ec="#999999" if dead else _INK,
                lw=0.9,
                linestyle=(0, (2, 2)) if dead else "-",
                zorder=2,
            )
        )
        if names_inside:
            axes.text(*spot[i], short(t.names[i], 4), ha="center", va="center", fontsize=7, color=_INK, zorder=3)
        elif t.num_neurons <= 40:
            middle = circles.get(int(t.components[i]))
            where, side = spot[i] - np.array([0, radius + 0.06]), "center"
            if middle is not None:  # on a circle, names stand outside of it
                outward = (spot[i] - middle) / max(float(np.linalg.norm(spot[i] - middle)), 1e-9)
                where = spot[i] + (radius + 0.08) * outward + np.array([0, 0.07])
                side = "center" if abs(outward[0]) < 0.3 else "left" if outward[0] > 0 else "right"
            axes.text(*where, short(t.names[i], 14), ha=side, va="top", fontsize=5.5, color=_INK, zorder=3)
    extent = np.concatenate(corners)
    low, high = np.minimum(extent.min(axis=0) - 0.2, spot.min(axis=0) - 0.75), extent.max(axis=0) + 0.2
    high = np.maximum(high, spot.max(axis=0) + 0.75)
    low[1] -= 0.45
    marks: list[tuple[str, str, str]] = [
        ("o", _FILL["input"], "input"),
        ("o", _FILL["hidden"], "hidden"),
        ("o", _FILL["output"], "output"),
    ]
    if t.dead.any():
        marks.append(("o", "white", "dead"))
    if t.fixed.any():
        marks.append(("--", _FIXED, "fixed"))
    if (t.group >= 0).any():
        marks.append(("-", _SHARED, "shared"))
    if not t.is_acyclic:
        marks.append(("-", _BACK, "on a cycle"))
    _legend(axes, marks, (low[0] + high[0]) / 2, low[1] + 0.15)
    _frame(axes, figure, short(t.title, 100), low, high, 0.62)


def _arc(start: np.ndarray, stop: np.ndarray, bend: float, step: np.ndarray) -> np.ndarray:
    """Returns points [len(step), 2] of the curve that matplotlib's arc3 draws; `step` is [len, 1] from 0 to 1."""
    knot = (start + stop) / 2 + bend * np.array([stop[1] - start[1], start[0] - stop[0]])
    return (1 - step) ** 2 * start + 2 * step * (1 - step) * knot + step**2 * stop


def _bend(spot: np.ndarray, i: int, j: int, room: float) -> float:
    """Returns the least bend of an arc from i to j that keeps clear of all other neurons, or the clearest one."""
    others = np.delete(spot, [i, j], axis=0)
    if not len(others):
        return 0.0
    step = np.linspace(0.05, 0.95, 19)[:, None]
    best, widest = 0.0, -1.0
    for bend in (0.0, -0.15, 0.15, -0.3, 0.3, -0.4, 0.4):
        curve = _arc(spot[i], spot[j], bend, step)
        distance = float(np.sqrt(((curve[:, None] - others[None]) ** 2).sum(axis=2)).min())
        if distance > room:
            return bend
        if distance > widest + 0.05:
            best, widest = bend, distance
    return best


def _legend(axes: Any, marks: list[tuple[str, str, str]], middle: float, height: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", ls="", mfc=color, mec="#999999" if label == "dead" else _INK, ms=7, label=label)
        if shape == "o"
        else Line2D([], [], ls=shape, color=color, lw=1.4, label=label)
        for shape, color, label in marks
    ]
    axes.legend(
        handles=handles,
        loc="center",
        bbox_to_anchor=(middle, height),
        bbox_transform=axes.transData,
        ncols=len(handles),
        frameon=False,
        fontsize=7,
        handletextpad=0.3,
        columnspacing=1.0,
    )


# ---- populations


def _populations(axes: Any, figure: Any, t: Topology) -> None:
    from matplotlib.patches import FancyBboxPatch

    boxes, links = population_layout(t)
    for box in boxes:
        axes.add_patch(
            FancyBboxPatch(
                (box.x - box.width / 2, box.y - box.height / 2),
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=0.12",
                fc="white" if box.dead == box.size else _FILL[box.role],
                ec=_INK,
                lw=1.0,
                linestyle=(0, (3, 2)) if box.dead == box.size else "-",
                zorder=2,
            )
        )
        axes.text(box.x, box.y + 0.13, short(box.name, 18), ha="center", va="center", fontsize=9, color=_INK, zorder=3)
        under = box.label + (f", {box.dead} dead" if box.dead else "")
        axes.text(box.x, box.y - 0.17, under, ha="center", va="center", fontsize=7, color=_INK, zorder=3)
    corners = [(b.x - b.width / 2, b.y - b.height / 2) for b in boxes] + [(b.x + b.width / 2, b.y + b.height / 2) for b in boxes]
    loops = {link.source for link in links if link.source == link.target}
    for link in links:
        corners += _arrow(axes, boxes, link, loops)
    low, high = np.min(corners, axis=0) - 0.35, np.max(corners, axis=0) + 0.35
    _frame(axes, figure, short(t.title, 100), low, high, 0.72)


def _arrow(axes: Any, boxes: list[Box], link: Link, loops: set[int]) -> list[tuple[float, float]]:
    """Draws an arrow with its label and returns the corners of the room that it takes."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    a, b = boxes[link.source], boxes[link.target]
    color = {"fixed": _FIXED, "shared": _SHARED}.get(link.style, _INK)
    if link.source == link.target:
        top = a.y + a.height / 2
        points = [(a.x + 0.35, top), (a.x + 0.55, top + 0.75), (a.x - 0.55, top + 0.75), (a.x - 0.35, top)]
        label = (a.x, top + 0.72)
        color = _BACK if link.cyclic else color
    elif link.lane == 0:
        start, stop = (a.x + a.width / 2, a.y), (b.x - b.width / 2, b.y)
        middle = (start[0] + stop[0]) / 2
        points = [start, (middle, start[1]), (middle, stop[1]), stop]
        label = (middle, (start[1] + stop[1]) / 2 + 0.17)
    else:  # over or under the boxes between
        side = 1 if link.lane > 0 else -1
        height = link.height
        out, back = (0.7 if side > 0 and end in loops else 0.2 for end in (link.source, link.target))  # beside a loop
        start = (a.x + out * np.sign(b.x - a.x), a.y + side * a.height / 2)
        stop = (b.x - back * np.sign(b.x - a.x), b.y + side * b.height / 2)
        points = [start, (start[0], height * 4 / 3 - start[1] / 3), (stop[0], height * 4 / 3 - stop[1] / 3), stop]
        label = ((start[0] + stop[0]) / 2, height)
        color = _BACK if link.cyclic else color
    path = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    dashes: Any = (0, (4, 2)) if link.style == "fixed" else "-"
    axes.add_patch(PathPatch(path, fill=False, ec=color, lw=1.1, linestyle=dashes, zorder=1))
    end, before = np.array(points[3]), np.array(points[2])
    way = (end - before) / max(float(np.linalg.norm(end - before)), 1e-9)
    across = np.array([-way[1], way[0]])
    axes.fill(*zip(end, end - 0.16 * way + 0.07 * across, end - 0.16 * way - 0.07 * across), color=color, lw=0, zorder=2)
    axes.text(
        *label,
        link.label,
        ha="center",
        va="center",
        fontsize=6.5,
        color=color,
        zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
    )
    return [(label[0] - 0.5, label[1] - 0.15), (label[0] + 0.5, label[1] + 0.15)]
