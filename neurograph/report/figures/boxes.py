"""A graph as boxes and arrows: a box for a population, an arrow for all synapses from one to another."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurograph.report.figures.layout import Box, Link, population_layout
from neurograph.report.figures.panel import DASHES, FILL, INK, KINDS, Panel, open_axes
from neurograph.report.figures.style import Picture, short
from neurograph.topology.graph import Topology

__all__ = ["boxes_panel"]


def boxes_panel(figure: Picture, t: Topology) -> Panel:
    """Draws the populations of a graph, or its levels where it has none; many columns are wrapped."""
    from matplotlib.patches import FancyBboxPatch

    boxes, links = population_layout(t)
    corners = [(b.x - b.width / 2, b.y - b.height / 2) for b in boxes] + [(b.x + b.width / 2, b.y + b.height / 2) for b in boxes]
    loops = {link.source for link in links if link.source == link.target}
    arrows = [_arrow(boxes, link, loops) for link in links]
    for _, points, label in arrows:
        corners += [*points, (label[0] - 0.5, label[1] - 0.15), (label[0] + 0.5, label[1] + 0.15)]
    panel = open_axes(figure, np.min(corners, axis=0) - 0.2, np.max(corners, axis=0) + 0.2, 0.72)
    axes = panel.axes[0][0]
    for box in boxes:
        dead = box.dead == box.size
        axes.add_patch(
            FancyBboxPatch(
                (box.x - box.width / 2, box.y - box.height / 2),
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=0.12",
                fc="white" if dead else FILL[box.role],
                ec=INK,
                lw=1.0,
                linestyle=(0, (3, 2)) if dead else "-",
                zorder=2,
            )
        )
        axes.text(box.x, box.y + 0.13, short(box.name, 18), ha="center", va="center", fontsize=9, color=INK, zorder=3)
        under = box.label + (f", {box.dead} dead" if box.dead else "")
        axes.text(box.x, box.y - 0.17, under, ha="center", va="center", fontsize=7, color=INK, zorder=3)
    for link, (curve, points, label) in zip(links, arrows):
        _put(axes, link, curve, points, label)
    return panel


def _arrow(boxes: list[Box], link: Link, loops: set[int]) -> tuple[bool, list[tuple[float, float]], tuple[float, float]]:
    """Returns whether an arrow is one cubic curve (else straight lines), its points, and the place of its label."""
    a, b = boxes[link.source], boxes[link.target]
    if link.corners:
        points = list(link.corners)
        return False, points, ((points[2][0] + points[3][0]) / 2, link.height)
    if link.source == link.target:
        top = a.y + a.height / 2
        return True, [(a.x + 0.35, top), (a.x + 0.55, top + 0.75), (a.x - 0.55, top + 0.75), (a.x - 0.35, top)], (a.x, top + 0.72)
    if link.lane == 0:
        start, stop = (a.x + a.width / 2, a.y), (b.x - b.width / 2, b.y)
        middle = (start[0] + stop[0]) / 2
        return True, [start, (middle, start[1]), (middle, stop[1]), stop], (middle, (start[1] + stop[1]) / 2 + 0.17)
    side = 1 if link.lane > 0 else -1  # over or under the boxes between
    height = link.height
    out, back = (0.7 if side > 0 and end in loops else 0.2 for end in (link.source, link.target))  # beside a loop
    start = (a.x + out * np.sign(b.x - a.x), a.y + side * a.height / 2)
    stop = (b.x - back * np.sign(b.x - a.x), b.y + side * b.height / 2)
    points = [start, (start[0], height * 4 / 3 - start[1] / 3), (stop[0], height * 4 / 3 - stop[1] / 3), stop]
    return True, points, ((start[0] + stop[0]) / 2, height)


def _put(axes: Any, link: Link, curve: bool, points: list[tuple[float, float]], label: tuple[float, float]) -> None:
    """Draws an arrow with its head and its label."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    color = KINDS["cycle"] if link.cyclic else KINDS.get(link.style, INK)
    codes = [Curve.MOVETO, *[Curve.CURVE4 if curve else Curve.LINETO] * (len(points) - 1)]
    path, dashes = Curve(points, codes), DASHES[link.style == "fixed"]
    axes.add_patch(PathPatch(path, fill=False, ec=color, lw=1.1, linestyle=dashes, joinstyle="round", zorder=1))
    end, before = np.array(points[-1]), np.array(points[-2])
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
