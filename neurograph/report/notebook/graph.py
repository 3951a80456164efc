"""A topology in a notebook. No JAX."""

from __future__ import annotations

from neurograph.errors import TopologyError
from neurograph.report.html import inline
from neurograph.report.notebook.pieces import line
from neurograph.topology.graph import Topology
from neurograph.topology.summary import headline

__all__ = ["topology_html"]

MOST_SYNAPSES = 500_000  # of a graph that is drawn without being asked for: about a second


def topology_html(topology: Topology) -> str:
    """Returns a line of facts, and below it boxes and the adjacency matrix; of huge graphs the line alone."""
    from neurograph.report.figures.topology import overview, svg_of

    if topology.num_synapses > MOST_SYNAPSES or topology.num_neurons > MOST_SYNAPSES:
        return line(repr(topology)) + line("too large to be drawn here: topology.draw() draws it")
    try:
        svg = svg_of(overview(topology)).decode()
    except TopologyError as error:
        return line(f"{topology!r}; {error}")
    # two drawings in one notebook must not share ids, unless they are the same
    drawn = inline(svg, f"topology-{topology.digest[:12]}", headline(topology))
    return f'<div style="max-width:100%;overflow-x:auto">{drawn}</div>'
