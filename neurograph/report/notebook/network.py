"""Networks, their batches and their synapses in a notebook."""

from __future__ import annotations

from neurograph.genome.text import format_rule
from neurograph.network.batch.batch import NetworkBatch
from neurograph.network.network import Network
from neurograph.network.plan.describe import block_costs
from neurograph.network.state import Synapses, Weights
from neurograph.report.html import Markup, joined
from neurograph.report.notebook.genome import sizes
from neurograph.report.notebook.pieces import MOST_ROWS, line, more, table
from neurograph.topology.summary import headline

__all__ = ["batch_html", "network_html", "synapses_html"]


def network_html(network: Network) -> Markup:
    """Returns the plan of a network: which synapses run as products, which as gathers, at what cost."""
    costs = block_costs(network.plan, network.rule.states)
    head = ("level", "runs as", "from", "to", "synapses", "multiply-adds", "MB", "why")
    rows = [
        (str(c.level), c.kind, c.source, c.target, f"{c.synapses:,}", f"{c.operations:,}", f"{c.bytes / 1e6:,.2f}", c.why)
        for c in costs[:MOST_ROWS]
    ]
    facts = f"{headline(network.topology)}; rule: {format_rule(network.rule)}"
    return joined([line(repr(network)), line(facts), table(head, rows), more(len(costs) - MOST_ROWS, "blocks")])


def synapses_html(synapses: Synapses | Weights) -> Markup:
    """Returns the name, shape and type of every array."""
    return joined([line(repr(synapses)), sizes(synapses)])


def batch_html(batch: NetworkBatch) -> Markup:
    """Returns the size classes of a batch and how many graphs each has."""
    counts = [len(tables["count"]) for tables in batch.tables]
    rows = [(str(size), f"{size.synapses:,}", f"{count:,}") for size, count in zip(batch.classes[:MOST_ROWS], counts)]
    classes = table(("size class", "synapses", "graphs"), rows)
    return joined([line(repr(batch)), classes, more(len(counts) - MOST_ROWS, "classes")])
