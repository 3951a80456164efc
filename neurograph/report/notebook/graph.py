"""A topology in a notebook. No JAX."""

from __future__ import annotations

from neurograph.errors import TopologyError
from neurograph.report.html import Markup, inline, joined, part
from neurograph.report.notebook.pieces import line
from neurograph.topology.graph import Topology
from neurograph.topology.summary import headline

__all__ = ["topology_html"]

MOST_SYNAPSES = 500_000  # of a graph that is drawn without being asked for: about a second


def topology_html(topology: Topology) -> Markup:
    """Returns a line of facts, and below it boxes and the adjacency matrix; of huge graphs the line alone."""
    from neurograph.report.figures.topology import overview, svg_of

    if topology.num_synapses > MOST_SYNAPSES or topology.num_neurons > MOST_SYNAPSES:
        return joined([line(repr(topology)), line("too large to be drawn here: topology.draw() draws it")])
    try:
        svg = svg_of(overview(topology)).decode()
    except TopologyError as error:
        return line(f"{topology!r}; {error}")
    # two drawings in one notebook must not share ids, unless they are the same
    drawn = inline(svg, f"topology-{topology.digest[:12]}", headline(topology))
    return part("scrolled", drawn, file="notebook.html")
