"""Drawings of topologies: boxes and arrows, the adjacency matrix, histograms, neurons and synapses one by one."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Literal

from neurograph.errors import TopologyError
from neurograph.files import write_atomically
from neurograph.report.figures.boxes import boxes_panel
from neurograph.report.figures.matrix import histograms_panel, matrix_panel
from neurograph.report.figures.neurons import MAX_NODE_SYNAPSES, MAX_NODES, neurons_panel, nodes_panel
from neurograph.report.figures.panel import Panel, compose, legend
from neurograph.report.figures.style import Picture, picture, short, styled
from neurograph.topology.graph import Topology
from neurograph.topology.summary import headline

__all__ = ["Detail", "View", "draw_topology", "overview", "svg_of"]

View = Literal["boxes", "matrix", "histograms", "nodes", "all"]
VIEWS = ("boxes", "matrix", "histograms", "nodes", "all")
Detail = Literal["auto", "neurons", "populations"]
DETAILS = ("auto", "neurons", "populations")
ENDINGS = (".svg", ".png", ".pdf")

MAX_NEURONS, MAX_SYNAPSES = 60, 300  # above that, dots and lines say less than boxes
MAX_SVG = 1_000_000  # bytes: browsers show more slowly, or not at all


@styled()
def draw_topology(
    topology: Topology, path: str | os.PathLike[str] | None = None, *, detail: Detail = "auto", view: View = "boxes"
) -> Picture:
    """Draws a topology, and saves the picture if a path is given.

    Whatever lies on a cycle is red in every view. An SVG has at most 1 MB: where lines would make it larger, they become an
    image inside of it, which `Picture.notes` says.

    Args:
      path: ends in .svg, .png or .pdf.
      detail: of the view boxes: neurons and synapses, or boxes for populations; auto takes boxes above 60 neurons or 300
        synapses.
      view: "boxes"; "matrix", the adjacency matrix in plan order; "histograms" of fan-in, fan-out and level; "nodes", a
        node-link diagram laid out by graphviz or networkx, up to 160 neurons and 2,500 synapses; "all" of them that can be drawn.

    Returns:
      A matplotlib figure that belongs to no window.

    Raises:
      TopologyError: the ending, the view or the detail is not known, the file cannot be written, or the graph is too large to
        draw every neuron.
    """
    for name, value, allowed in (("detail", detail, DETAILS), ("view", view, VIEWS)):
        if value not in allowed:
            raise TopologyError(f"{name}: got {value!r}; allowed: {', '.join(allowed)}.")
    if detail != "auto" and view not in ("boxes", "all"):
        raise TopologyError(f"detail: got {detail!r} with the view {view}; expected auto: only the view boxes has details.")
    if path is not None and Path(path).suffix.lower() not in ENDINGS:
        raise TopologyError(f"{path}: the ending {Path(path).suffix!r} is not known; allowed: {', '.join(ENDINGS)}.")
    figure = picture(1, 1, fitted=False)
    _finish(figure, topology, _panels(figure, topology, detail, view))
    if path is not None:
        _save(figure, Path(path))
    return figure


@styled()
def overview(topology: Topology) -> Picture:
    """Returns boxes beside the adjacency matrix, or above it where they are wide: what tells most graphs apart."""
    figure = picture(1, 1, fitted=False)
    ((boxes,),) = _panels(figure, topology, "auto", "boxes")
    matrix = matrix_panel(figure, topology)
    _finish(figure, topology, [[boxes, matrix]] if boxes.width + matrix.width < 13 else [[boxes], [matrix]])
    return figure


def _finish(figure: Picture, t: Topology, rows: list[list[Panel]]) -> None:
    figure.dense = [artist for row in rows for panel in row for artist in panel.dense]
    compose(figure, rows, short(t.title, 100), headline(t), legend(t))


def _panels(figure: Picture, t: Topology, detail: Detail, view: View) -> list[list[Panel]]:
    """Returns the parts of a view, row by row."""
    small = t.num_neurons <= MAX_NEURONS and t.num_synapses <= MAX_SYNAPSES
    every = detail == "neurons" or (detail == "auto" and small)
    if every and view in ("boxes", "all") and (t.num_neurons > 1000 or t.num_synapses > 5000):
        raise TopologyError(
            f"the graph has {t.num_neurons:,} neurons and {t.num_synapses:,} synapses; every one can be drawn "
            "up to 1,000 and 5,000. Draw populations instead."
        )
    if view == "matrix":
        return [[matrix_panel(figure, t)]]
    if view == "histograms":
        return [[histograms_panel(figure, t)]]
    if view == "nodes":
        return [[nodes_panel(figure, t)]]
    boxes = neurons_panel(figure, t) if every else boxes_panel(figure, t)
    if view == "boxes":
        return [[boxes]]
    middle = [matrix_panel(figure, t)]
    if t.num_neurons <= MAX_NODES and t.num_synapses <= MAX_NODE_SYNAPSES:
        middle = middle if every else [nodes_panel(figure, t), *middle]
    else:
        figure.notes += (f"no nodes: they are drawn up to {MAX_NODES:,} neurons and {MAX_NODE_SYNAPSES:,} synapses",)
    return [[boxes], middle, [histograms_panel(figure, t)]]


def svg_of(figure: Picture) -> bytes:
    """Returns a drawing as SVG of at most 1 MB; lines and circles become an image where they would take more.

    Raises:
      TopologyError: even so it has more.
    """
    size = 0
    for dots in (None, 150, 100, 70, 45):  # per inch
        for artist in figure.dense:
            artist.set_rasterized(dots is not None)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", dpi=dots or 150)
        size = stream.tell()
        if size <= MAX_SVG:
            if dots is not None:
                figure.notes += (f"synapses are an image of {dots} dots per inch, so that the SVG stays below 1 MB",)
            return stream.getvalue()
    raise TopologyError(f"the drawing as SVG has {size / 1e6:.1f} MB; at most 1 MB is written. Draw a .png, or populations.")


def _save(figure: Picture, path: Path) -> None:
    kind = path.suffix.lower()[1:]
    if kind == "svg":
        data = svg_of(figure)
    else:
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, dpi=150)
        data = stream.getvalue()
    try:
        write_atomically(path, data)
    except OSError as error:
        raise TopologyError(f"{path}: cannot be written ({error.strerror}).") from error
