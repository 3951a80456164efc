"""A genome as text: matrices side by side, gates by name, the rule and the card."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from neurograph.genome.activations import WithDerivative
from neurograph.genome.files import GenomeFile
from neurograph.genome.layers import AnyGenome, LayeredGenome
from neurograph.genome.model import (
    GATING_MATRICES,
    MATRICES,
    SCALARS,
    SECOND_MATRICES,
    VECTORS,
    Genome,
    effective_fields,
)
from neurograph.genome.rule import Rule

__all__ = ["SYMBOLS", "format_genome", "format_rule"]

SYMBOLS = {
    "forward_transform": "ν",
    "backward_transform": "μ",
    "pre_transform": "ν~",
    "post_transform": "μ~",
    "forward_pre_transform": "second ν~",
    "forward_post_transform": "second μ~",
    "neuron_keep": "f",
    "neuron_update": "η",
    "synapse_keep": "f~",
    "synapse_update": "η~",
    "keep_gating": "F",
    "update_gating": "H",
}
LEGEND = "rows are written, columns read: state c from state d (ν~: sender's state e, a row, into channel c, a column)"
GAP = 4


def format_genome(
    genome: AnyGenome | GenomeFile, rule: Rule | None = None, *, digits: int = 3, width: int = 110, everything: bool = False
) -> str:
    """A text table of a genome.

    Args:
      genome: shared or per layer, or a file's content (its rule and card are then shown too).
      rule: what has no effect under it is left out, unless `everything`; without a rule all is shown.
      digits: after the point.
      width: columns of text; matrices stand side by side where they fit.

    Examples:
      >>> import neurograph as ng
      >>> print(ng.format_genome(ng.load_genome_file("backprop")))
      states 2
      rule ...
    """
    card: dict[str, Any] = {}
    if isinstance(genome, GenomeFile):
        genome, rule, card = genome.genome, rule or genome.rule, genome.card
    lines = [f"states {genome.states}"]
    if isinstance(genome, LayeredGenome):
        lines[0] += f"; {len(genome.names)} genomes, one per layer by {genome.by}: {', '.join(genome.names)}"
    if rule is not None:
        lines.append(f"rule   {format_rule(rule)}")
    for name in ("description", "retrain"):
        if card.get(name):
            lines.append(f"card   {card[name]}" if name == "description" else f"       again by: {card[name]}")
    shown = [f.name for f in dataclasses.fields(Genome)]
    if rule is not None and not everything:
        shown = [name for name in shown if name in effective_fields(rule)]
    for name, one in genome.layers.items() if isinstance(genome, LayeredGenome) else [("", genome)]:
        if name:
            lines += ["", f"== {name} " + "=" * max(0, 40 - len(name))]
        lines += _body(one, shown, digits, width)
    lines += ["", LEGEND]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def format_rule(rule: Rule) -> str:
    """The options that are not at their default: "symmetric: false, normalization: batch, ..."."""
    parts = []
    for field in dataclasses.fields(Rule):
        value: Any = getattr(rule, field.name)
        if value != field.default and field.name != "states":
            pair = isinstance(value, WithDerivative)
            function = value.activation if pair else value
            text = str(value).lower() if isinstance(value, bool) else str(getattr(function, "__name__", function))
            text = f"with_derivative({text})" if pair else text
            parts.append(f"{field.name}: {text}")
    return ", ".join(parts) or "all options at their default"


def _body(genome: Genome, shown: list[str], digits: int, width: int) -> list[str]:
    blocks = []
    for name in (*MATRICES, *SECOND_MATRICES, *GATING_MATRICES):
        if name in shown:
            rows = _table(np.asarray(getattr(genome, name), float), digits)
            blocks.append([f"{SYMBOLS[name]}  {name}", *rows])
    lines = [""]
    for row in _rows_of_blocks(blocks, width):
        sizes = [max(map(len, block)) for block in row]
        for i in range(max(map(len, row))):
            cells = [block[i] if i < len(block) else "" for block in row]
            lines.append((" " * GAP).join(cell.ljust(size) for cell, size in zip(cells, sizes)))
        lines.append("")
    gates = [name for name in shown if name in SCALARS]
    lines += _wrapped("gates   ", [f"{_symbol(name)} = {float(getattr(genome, name)):.{digits + 1}g}" for name in gates], width)
    vectors = [name for name in shown if name in VECTORS]
    if vectors:
        table = _table(np.stack([np.asarray(getattr(genome, name), float) for name in vectors]), digits)
        size = max(map(len, vectors)) + 2
        lines += [f"{'moments' if i == 0 else '':8}{name:{size}}{row}" for i, (name, row) in enumerate(zip(vectors, table))]
    return lines


def _symbol(name: str) -> str:
    return f"{SYMBOLS[name]} {name}" if name in SYMBOLS else name


def _table(array: np.ndarray, digits: int) -> list[str]:
    cells = [[f"{value:.{digits}f}" for value in row] for row in array]
    size = max(len(cell) for row in cells for cell in row)
    return ["  ".join(cell.rjust(size) for cell in row) for row in cells]


def _rows_of_blocks(blocks: list[list[str]], width: int) -> list[list[list[str]]]:
    """As many side by side as fit, all equally wide."""
    size = max((len(line) for block in blocks for line in block), default=0)
    count = max(1, (width + GAP) // (size + GAP))
    count = 2 if count == 3 and len(blocks) == 4 else count
    blocks = [[line.ljust(size) for line in block] for block in blocks]
    return [blocks[i : i + count] for i in range(0, len(blocks), count)]


def _wrapped(title: str, texts: list[str], width: int) -> list[str]:
    lines, current = [], title
    for text in texts:
        if len(current) + len(text) > width and current.strip() != title.strip():
            lines.append(current)
            current = " " * len(title)
        current += text + "   "
    return [*lines, current] if texts else []
