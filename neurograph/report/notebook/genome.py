"""Genomes and their files in a notebook."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from neurograph.genome.files import GenomeFile
from neurograph.genome.layers import AnyGenome
from neurograph.genome.model import GATING_MATRICES, MATRICES, SCALARS, SECOND_MATRICES, VECTORS, Genome, effective_fields
from neurograph.genome.rule import Rule
from neurograph.genome.text import SYMBOLS, format_rule
from neurograph.report.html import Markup, details, joined
from neurograph.report.notebook.pieces import MOST_ROWS, coloured, cut, line, more, side_by_side, table

__all__ = ["genome_file_html", "genome_html", "sizes"]

MOST_LAYERS = 12
MOST_STATES = 16  # of a matrix that is shown


def genome_html(genome: AnyGenome, rule: Rule | None = None) -> Markup:
    """Returns, per layer, the matrices as coloured tables and the gates as a table.

    What has no effect under a rule is left out. Of tracers, shapes and populations there are sizes alone.
    """
    head = line(repr(genome))
    if not readable(genome) or genome.states > MOST_STATES:
        return joined([head, sizes(genome)])
    if isinstance(genome, Genome):
        return joined([head, _tables(genome, rule) if genome.forward_transform.ndim == 2 else sizes(genome)])
    if genome.genomes.forward_transform.ndim != 3:
        return joined([head, sizes(genome)])
    layers = list(genome.layers.items())
    body = [details(cut(name), _tables(one, rule)) for name, one in layers[:MOST_LAYERS]]
    return joined([head, *body, more(len(layers) - MOST_LAYERS, "layers")])


def genome_file_html(file: GenomeFile) -> Markup:
    """Returns the rule, the card's description, and the genome under its rule."""
    facts = [("rule", format_rule(file.rule) if file.rule else "none")]
    facts += [(name, str(file.card[name])) for name in ("description", "retrain") if file.card.get(name)]
    rows = [(name, (text, "text-align:left")) for name, text in facts]
    return joined([table((), rows), genome_html(file.genome, file.rule)])


def readable(tree: Any) -> bool:
    """Returns whether the numbers are at hand: no tracers, no shapes alone, no arrays that were given away or lie elsewhere."""
    return all(
        isinstance(leaf, np.ndarray)
        or (isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer) and not leaf.is_deleted() and leaf.is_fully_addressable)
        for leaf in jax.tree.leaves(tree)
    )


def sizes(tree: Any) -> Markup:
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
    return joined([table(("array", "shape", "type"), rows), more(len(leaves) - MOST_ROWS, "arrays")])


def _tables(genome: Genome, rule: Rule | None) -> Markup:
    """Returns the tables of one genome, side by side where there is room."""
    shown = effective_fields(rule) if rule else (*MATRICES, *VECTORS, *(name for name in SYMBOLS if name in SCALARS))
    square = [name for name in (*MATRICES, *SECOND_MATRICES, *GATING_MATRICES) if name in shown]
    matrices = {name: np.asarray(getattr(genome, name), float) for name in square}
    vectors = {name: np.asarray(getattr(genome, name), float) for name in VECTORS if name in shown}
    finite = [np.abs(value[np.isfinite(value)]) for value in (*matrices.values(), *vectors.values())]
    limit = max(1e-6, *(float(value.max(initial=0)) for value in finite))
    tables = []
    for name, values in matrices.items():
        rows = [[coloured(f"{v:.2f}", v, limit) for v in row] for row in values.tolist()]
        tables.append(table((), rows, caption=f"{SYMBOLS[name]} {name}"))
    if vectors:
        rows = [[name, *(coloured(f"{v:.2f}", v, limit) for v in values.tolist())] for name, values in vectors.items()]
        tables.append(table((), rows, caption="moments", named=True))
    gates = [name for name in shown if name in SCALARS]
    values = [(name, SYMBOLS.get(name, ""), f"{float(getattr(genome, name)):.4g}") for name in gates]
    tables.append(table(("gate", "symbol", "value"), values))
    return side_by_side(tables)
