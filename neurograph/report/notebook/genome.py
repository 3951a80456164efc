"""Genomes and their files in a notebook."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from neurograph.genome.files import GenomeFile
from neurograph.genome.layers import AnyGenome
from neurograph.genome.model import MATRICES, SECOND_MATRICES, VECTORS, Genome, effective_fields
from neurograph.genome.rule import Rule
from neurograph.genome.text import SYMBOLS, format_rule
from neurograph.report.html import details, escape
from neurograph.report.notebook.pieces import MOST_ROWS, coloured, cut, line, more, table

__all__ = ["genome_file_html", "genome_html", "sizes"]

MOST_LAYERS = 12
MOST_STATES = 16  # of a matrix that is shown


def genome_html(genome: AnyGenome, rule: Rule | None = None) -> str:
    """Returns, per layer, the matrices as coloured tables and the gates as a table.

    What has no effect under a rule is left out. Of tracers, shapes and populations there are sizes alone.
    """
    head = line(repr(genome))
    if not readable(genome) or genome.states > MOST_STATES:
        return head + sizes(genome)
    if isinstance(genome, Genome):
        return head + (_tables(genome, rule) if genome.forward_transform.ndim == 2 else sizes(genome))
    if genome.genomes.forward_transform.ndim != 3:
        return head + sizes(genome)
    layers = list(genome.layers.items())
    body = "".join(details(cut(name), _tables(one, rule)) for name, one in layers[:MOST_LAYERS])
    return head + body + more(len(layers) - MOST_LAYERS, "layers")


def genome_file_html(file: GenomeFile) -> str:
    """Returns the rule, the card's description, and the genome under its rule."""
    facts = [("rule", format_rule(file.rule) if file.rule else "none")]
    facts += [(name, str(file.card[name])) for name in ("description", "retrain") if file.card.get(name)]
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td style='text-align:left'>{escape(cut(text))}</td></tr>" for name, text in facts
    )
    return f"<table>{rows}</table>" + genome_html(file.genome, file.rule)


def readable(tree: Any) -> bool:
    """Returns whether the numbers are at hand: no tracers, no shapes alone, no arrays that were given away or lie elsewhere."""
    return all(
        isinstance(leaf, np.ndarray)
        or (isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and not leaf.is_deleted() and leaf.is_fully_addressable)
        for leaf in jax.tree.leaves(tree)
    )


def sizes(tree: Any) -> str:
    """Returns the names, shapes and types of the leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    rows = [
        (
            jax.tree_util.keystr(path).lstrip("."),
            str(getattr(leaf, "shape", "-")),
            str(getattr(leaf, "dtype", type(leaf).__name__)),
        )
        for path, leaf in leaves[:MOST_ROWS]
    ]
    return table(("array", "shape", "type"), rows) + more(len(leaves) - MOST_ROWS, "arrays")


def _tables(genome: Genome, rule: Rule | None) -> str:
    """Returns the tables of one genome, side by side where there is room."""
    shown = effective_fields(rule) if rule else (*MATRICES, *VECTORS, *(name for name in SYMBOLS if "transform" not in name))
    matrices = {name: np.asarray(getattr(genome, name), float) for name in (*MATRICES, *SECOND_MATRICES) if name in shown}
    vectors = {name: np.asarray(getattr(genome, name), float) for name in VECTORS if name in shown}
    finite = [np.abs(value[np.isfinite(value)]) for value in (*matrices.values(), *vectors.values())]
    limit = max(1e-6, *(float(value.max(initial=0)) for value in finite))
    tables = []
    for name, values in matrices.items():
        rows = "".join(f"<tr>{''.join(coloured(f'{v:.2f}', v, limit) for v in row)}</tr>" for row in values.tolist())
        tables.append(f"<table><caption>{escape(f'{SYMBOLS[name]} {name}')}</caption>{rows}</table>")
    if vectors:
        rows = "".join(
            f"<tr><th>{escape(name)}</th>{''.join(coloured(f'{v:.2f}', v, limit) for v in values.tolist())}</tr>"
            for name, values in vectors.items()
        )
        tables.append(f"<table><caption>moments</caption>{rows}</table>")
    gates = [name for name in shown if name not in VECTORS and "transform" not in name]
    values = [(name, SYMBOLS.get(name, ""), f"{float(getattr(genome, name)):.4g}") for name in gates]
    tables.append(table(("gate", "symbol", "value"), values))
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{"".join(tables)}</div>'
