"""Networks, their batches and their synapses in a notebook."""

from __future__ import annotations

from neurograph.genome.text import format_rule
from neurograph.network.batch.batch import NetworkBatch
from neurograph.network.network import Network
from neurograph.network.plan.describe import block_costs
from neurograph.network.state import Synapses, Weights
from neurograph.report.notebook.genome import sizes
from neurograph.report.notebook.pieces import MOST_ROWS, line, more, table
from neurograph.topology.summary import headline

__all__ = ["batch_html", "network_html", "synapses_html"]


def network_html(network: Network) -> str:
    """Returns the plan of a network: which synapses run as products, which as gathers, at what cost."""
    costs = block_costs(network.plan, network.rule.states)
    head = ("level", "runs as", "from", "to", "synapses", "multiply-adds", "MB", "why")
    rows = [
        (c.level, c.kind, c.source, c.target, f"{c.synapses:,}", f"{c.operations:,}", f"{c.bytes / 1e6:,.2f}", c.why)
        for c in costs[:MOST_ROWS]
    ]
    facts = f"{headline(network.topology)}; rule: {format_rule(network.rule)}"
    return line(repr(network)) + line(facts) + table(head, rows) + more(len(costs) - MOST_ROWS, "blocks")


def synapses_html(synapses: Synapses | Weights) -> str:
    """Returns the name, shape and type of every array."""
    return line(repr(synapses)) + sizes(synapses)


def batch_html(batch: NetworkBatch) -> str:
    """Returns the size classes of a batch and how many graphs each has."""
    counts = [len(tables["count"]) for tables in batch.tables]
    rows = [(str(size), f"{size.synapses:,}", f"{count:,}") for size, count in zip(batch.classes[:MOST_ROWS], counts)]
    return line(repr(batch)) + table(("size class", "synapses", "graphs"), rows) + more(len(counts) - MOST_ROWS, "classes")
