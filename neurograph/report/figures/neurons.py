"""A graph as a circle per neuron and a line per synapse."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import numpy as np

from neurograph.errors import TopologyError
from neurograph.report.figures.layout import neuron_positions
from neurograph.report.figures.panel import CYCLE, DASHES, FILL, INK, KINDS, Panel, kind_of_synapses, neurons_on_cycles, open_axes
from neurograph.report.figures.style import Picture, short
from neurograph.topology.graph import Topology
from neurograph.topology.summary import in_complete_blocks

__all__ = ["MAX_NODES", "MAX_NODE_SYNAPSES", "neurons_panel", "nodes_panel"]

MAX_NODES, MAX_NODE_SYNAPSES = 160, 2500  # of `nodes_panel`
MAX_DOT_SYNAPSES = 300  # beyond, dot takes minutes
RADIUS = 0.26
APART = 0.62  # least distance between the middles of two circles


def neurons_panel(figure: Picture, t: Topology) -> Panel:
    """Draws every neuron: levels from left to right, cyclic components as circles."""
    spot, circles = neuron_positions(t)
    return _panel(figure, t, spot, circles)


def nodes_panel(figure: Picture, t: Topology) -> Panel:
    """Draws a node-link diagram: by graphviz's dot if that is installed and the graph is sparse, else by networkx.

    networkx lays out every cyclic component by itself (Kamada and Kawai's springs); components and single neurons stand from
    left to right by level.

    Raises:
      TopologyError: the graph has more than 160 neurons or 2,500 synapses.
    """
    if t.num_neurons > MAX_NODES or t.num_synapses > MAX_NODE_SYNAPSES:
        raise TopologyError(
            f"view: the graph has {t.num_neurons:,} neurons and {t.num_synapses:,} synapses; nodes are drawn up to {MAX_NODES:,}"
            f" and {MAX_NODE_SYNAPSES:,}; allowed for this graph: boxes, matrix, histograms, all."
        )
    program = shutil.which("dot") if t.num_synapses <= MAX_DOT_SYNAPSES else None
    return _panel(figure, t, *((program and _by_dot(program, t)) or _by_networkx(t)))


def _by_dot(program: str, t: Topology) -> tuple[np.ndarray, dict[int, np.ndarray]] | None:
    """Returns positions [n, 2]: columns, and the order in each, are dot's, distances ours, since its own leave wide gaps.

    dot is given numbers only, no names. None where it fails.
    """
    ends = "".join(
        f"{{rank={rank}; {' '.join(map(str, ends.tolist()))}}} " for rank, ends in (("min", t.inputs), ("max", t.outputs))
    )
    nodes = " ".join(map(str, range(t.num_neurons)))
    edges = " ".join(f"{i}->{j};" for i, j in zip(t.senders.tolist(), t.receivers.tolist()))
    text = f"digraph {{rankdir=LR; {nodes}; {ends}{edges}}}"
    try:
        done = subprocess.run([program, "-Tplain"], input=text, capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    columns: dict[float, list[tuple[float, int]]] = {}
    for row in (line.split() for line in done.stdout.splitlines() if line.startswith("node ")):
        columns.setdefault(float(row[2]), []).append((-float(row[3]), int(row[1])))
    spot = np.zeros((t.num_neurons, 2))
    for column, place in enumerate(sorted(columns)):
        here = sorted(columns[place])
        for k, (_, neuron) in enumerate(here):
            spot[neuron] = 1.6 * column, 0.85 * ((len(here) - 1) / 2 - k)
    return spot, {}


def _by_networkx(t: Topology) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Returns positions [n, 2] of the neurons and the middles of the cyclic components."""
    import networkx as nx

    shapes = {}
    sizes = np.bincount(t.components)
    for component in np.flatnonzero(sizes > 2).tolist():
        members = np.flatnonzero(t.components == component)
        inside = (t.components[t.senders] == component) & (t.components[t.receivers] == component)
        graph = nx.Graph()
        graph.add_nodes_from(members.tolist())
        graph.add_edges_from(zip(t.senders[inside].tolist(), t.receivers[inside].tolist()))
        found = nx.kamada_kawai_layout(graph)
        spot = np.array([found[i] for i in members.tolist()])
        shapes[component] = _apart(spot - spot.mean(axis=0))
    return neuron_positions(t, shapes=shapes, tallest=16)


def _apart(spot: np.ndarray) -> np.ndarray:
    """Returns the positions [m, 2], scaled, and pushed from each other where circles would overlap."""
    angle = np.arange(len(spot))
    spot = spot + 1e-4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # no two in one place
    for step in range(100):
        way = spot[:, None] - spot[None]
        distance = np.linalg.norm(way, axis=2) + np.diag(np.full(len(spot), np.inf))
        if step == 0:
            times = min(0.85 / np.quantile(distance.min(axis=1), 0.25), 0.75 * len(spot) ** 0.5 / np.abs(spot).max() + 1.5)
            spot, way, distance = times * spot, times * way, times * distance
        near = np.maximum(APART + 0.05 - distance, 0) / 2
        if distance.min() >= APART:
            break
        spot = spot + (way * (near / distance)[..., None]).sum(axis=1)
    return np.round(spot, 3)


def _panel(figure: Picture, t: Topology, spot: np.ndarray, circles: dict[int, np.ndarray]) -> Panel:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle

    curves = _curves(t, spot, circles)
    reach = np.concatenate([spot - 0.55, spot + 0.55, *curves])
    inches = 0.62 if t.num_neurons <= 60 else 0.4
    panel = open_axes(figure, reach.min(axis=0) - 0.2, reach.max(axis=0) + 0.2, inches, 24 if t.num_neurons <= 300 else 14)
    axes = panel.axes[0][0]
    panel.dense += _lines(axes, t, curves)
    role = np.full(t.num_neurons, "hidden", object)
    role[t.inputs], role[t.outputs] = "input", "output"
    dead, cyclic = t.dead, neurons_on_cycles(t)
    axes.add_collection(
        PatchCollection(
            [Circle((x, y), RADIUS) for x, y in spot.tolist()],
            facecolors=["white" if dead[i] else FILL[role[i]] for i in range(t.num_neurons)],
            edgecolors=["#999999" if dead[i] else CYCLE if cyclic[i] else INK for i in range(t.num_neurons)],
            linestyles=[(0, (2, 2)) if dead[i] else "-" for i in range(t.num_neurons)],
            linewidths=0.9 if t.num_neurons <= 60 else 0.6,
            zorder=2,
        )
    )
    panel.dense.append(axes.collections[-1])
    if t.num_neurons <= 40:
        _names(axes, t, spot, circles)
    return panel


def _names(axes: Any, t: Topology, spot: np.ndarray, circles: dict[int, np.ndarray]) -> None:
    inside = max(map(len, t.names)) <= 4
    for i in range(t.num_neurons):
        if inside:
            axes.text(*spot[i], short(t.names[i], 4), ha="center", va="center", fontsize=7, color=INK, zorder=3)
            continue
        middle = circles.get(int(t.components[i]))
        where, side = spot[i] - np.array([0, RADIUS + 0.06]), "center"
        if middle is not None:  # on a circle, names stand outside of it
            outward = (spot[i] - middle) / max(float(np.linalg.norm(spot[i] - middle)), 1e-9)
            where = spot[i] + (RADIUS + 0.08) * outward + np.array([0, 0.07])
            side = "center" if abs(outward[0]) < 0.3 else "left" if outward[0] > 0 else "right"
        axes.text(*where, short(t.names[i], 14), ha=side, va="top", fontsize=5.5, color=INK, zorder=3)


def _curves(t: Topology, spot: np.ndarray, circles: dict[int, np.ndarray]) -> list[np.ndarray]:
    """Returns the way of every synapse as points, two if it is straight; of few synapses it is bent round other neurons."""
    existing = set(zip(t.senders.tolist(), t.receivers.tolist()))
    few, step = t.num_synapses <= 300, np.linspace(0, 1, 20)[:, None]
    curves = []
    for i, j in zip(t.senders.tolist(), t.receivers.tolist()):
        if i == j:
            outward = spot[i] - circles.get(int(t.components[i]), spot[i] + np.array([0, -1.0]))
            outward = outward / max(float(np.linalg.norm(outward)), 1e-9)
            angle = np.arctan2(outward[1], outward[0]) + np.pi + 2 * np.pi * step
            loop = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
            curves.append(spot[i] + outward * RADIUS * 1.15 + RADIUS * 0.75 * loop)
            continue
        bend = 0.18 if (j, i) in existing else _bend(spot, i, j, 1.35 * RADIUS) if few else 0.0
        curves.append(_arc(spot[i], spot[j], bend, step) if bend else spot[[i, j]])
    return curves


def _arc(start: np.ndarray, stop: np.ndarray, bend: float, step: np.ndarray) -> np.ndarray:
    """Returns points [len(step), 2] of a quadratic curve; `step` is [len, 1] from 0 to 1."""
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


def _lines(axes: Any, t: Topology, curves: list[np.ndarray]) -> list[Any]:
    """Draws the synapses with their heads; those of complete blocks, which hide others, pale. Returns the artists."""
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.colors import to_rgba

    if not curves:
        return []
    kind, many = kind_of_synapses(t), t.num_synapses
    alpha = np.full(many, 0.9 if many <= 60 else 0.55)
    if many > 300:
        alpha = np.where(kind == 3, 0.5, np.where(in_complete_blocks(t), 0.06, 0.25))
    width = np.full(many, 1.1 if many <= 60 else 0.8 if many <= 150 else 0.5)
    width[(kind == 3) & (many > 300)] = 0.8
    size = 0.16 if many <= 120 else 0.1
    colours = [to_rgba(colour) for colour in KINDS.values()]
    paint = [(*colours[k][:3], a) for k, a in zip(kind.tolist(), alpha.tolist())]
    order = np.argsort(alpha, kind="stable")  # pale ones below
    lines = LineCollection(
        [curves[e] for e in order],
        colors=[paint[e] for e in order],
        linewidths=width[order],
        linestyles=[DASHES[bool(t.fixed[e])] for e in order],
        zorder=1,
    )
    heads = []
    for e in order:
        curve, end = curves[e], curves[e][-1]
        if t.senders[e] == t.receivers[e] or (many > 300 and kind[e] != 3):
            continue  # a loop, or one of many that lead from left to right: their heads would be black spots
        way = (end - curve[-2]) / max(float(np.linalg.norm(end - curve[-2])), 1e-9)
        tip, across = end - RADIUS * way, np.array([-way[1], way[0]])
        heads.append(([tip, tip - size * way + 0.45 * size * across, tip - size * way - 0.45 * size * across], paint[e]))
    axes.add_collection(lines)
    if not heads:
        return [lines]
    tips = PolyCollection([shape for shape, _ in heads], facecolors=[colour for _, colour in heads], linewidths=0, zorder=1.5)
    axes.add_collection(tips)
    return [lines, tips]
