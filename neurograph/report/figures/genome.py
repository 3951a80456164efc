"""A picture of a genome: annotated heat maps of its matrices, moments and gates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.errors import GenomeError
from neurograph.genome.files import GenomeFile
from neurograph.genome.layers import AnyGenome, LayeredGenome
from neurograph.genome.model import GATING_MATRICES, MATRICES, SCALARS, SECOND_MATRICES, VECTORS, effective_fields
from neurograph.genome.rule import Rule
from neurograph.report.figures.heat_map import annotated_cells
from neurograph.report.figures.style import Picture, picture, short, styled

__all__ = ["colour_limit", "draw_genome", "drawn_genome", "genome_picture"]

ENDINGS = (".png", ".pdf", ".svg")
TITLES = {
    "forward_transform": ("ν  forward_transform", "from state d", "into state c"),
    "backward_transform": ("μ  backward_transform", "from state d", "into state c"),
    "pre_transform": ("ν~  pre_transform", "into channel c", "state e of the sender"),
    "post_transform": ("μ~  post_transform", "state d of the receiver", "into channel c"),
    "forward_pre_transform": ("second ν~", "into channel c", "state e of the sender"),
    "forward_post_transform": ("second μ~", "state d of the receiver", "into channel c"),
    "keep_gating": ("F  keep_gating", "by state d", "gate of state c"),
    "update_gating": ("H  update_gating", "by state d", "gate of state c"),
}
SYMBOLS = {"neuron_keep": "f", "neuron_update": "η", "synapse_keep": "f~", "synapse_update": "η~"}


def draw_genome(genome: AnyGenome | GenomeFile, path: str | Path, rule: Rule | None = None, *, title: str = "") -> Path:
    """Writes the picture of `genome_picture` in the format that the ending says, and returns the path.

    Raises:
      GenomeError: an ending that is not .png, .pdf or .svg, or the file cannot be written.
    """
    drawn_genome(genome, path, rule, title)
    return Path(path)


def drawn_genome(
    genome: AnyGenome | GenomeFile, path: str | os.PathLike[str] | None = None, rule: Rule | None = None, title: str = ""
) -> Picture:
    """Returns the picture of `genome_picture`, and saves it if a path is given.

    Raises:
      GenomeError: an ending that is not .png, .pdf or .svg, or the file cannot be written.
    """
    if path is not None and Path(path).suffix.lower() not in ENDINGS:
        raise GenomeError(f"{path}: the ending {Path(path).suffix!r} is not known; allowed: {', '.join(ENDINGS)}")
    figure = genome_picture(genome, rule, title=title)
    if path is not None:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=160)
        except OSError as error:
            raise GenomeError(f"{path}: cannot be written ({error.strerror})") from error
    return figure


def colour_limit(genome: AnyGenome, rule: Rule | None) -> float:
    """Returns the largest absolute value in the matrices and moments that are shown: the end of their colour scale."""
    matrices, vectors, _ = _shown(rule)
    layers = genome.layers.values() if isinstance(genome, LayeredGenome) else [genome]
    return max(1e-6, *(float(np.abs(getattr(one, name)).max()) for one in layers for name in (*matrices, *vectors)))


@styled({"axes.grid": False})
def genome_picture(
    genome: AnyGenome | GenomeFile, rule: Rule | None = None, *, title: str = "", narrow: bool = False, limit: float | None = None
) -> Picture:
    """Returns a figure with a row of heat maps per layer, all on one colour scale (orange negative, purple positive).

    Args:
      genome: shared or per layer, or a file's content.
      rule: what has no effect under it is left out; entries of a Hebbian channel without effect are drawn pale.
      narrow: at most two heat maps side by side, with larger figures: for pages that phones show.
      limit: end of the colour scale; default the largest entry that is shown.
    """
    if isinstance(genome, GenomeFile):
        genome, rule = genome.genome, rule or genome.rule
    matrices, vectors, gates = _shown(rule)
    layers = genome.layers if isinstance(genome, LayeredGenome) else {"": genome}
    k, maps = genome.states, len(matrices) + bool(vectors)
    columns = maps if not narrow else min(maps, 2 if k <= 6 else 1)
    rows = -(-maps // columns)
    limit = limit or colour_limit(genome, rule)
    cell, size = (0.42 if narrow else 0.5) if k <= 6 else 0.36, (8.5 if narrow else 7.5) if k <= 6 else 5.5
    width, height = max(2.3, k * cell + 1.0), max(2.0, k * cell + 1.2)
    figure = picture(width * columns, height * rows * len(layers) + 0.35 * bool(title))
    parts: Any = figure.subfigures(len(layers), 1, squeeze=False)[:, 0]
    for part, (layer, one) in zip(parts, layers.items()):
        axes = part.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes[maps:]:
            axis.set_visible(False)
        for axis, name in zip(axes, matrices):
            _cells(axis, getattr(one, name), limit, size, _pale(name, k, rule))
            axis.set_title(TITLES[name][0], fontsize=9)
            axis.set_xlabel(TITLES[name][1], fontsize=8)
            axis.set_ylabel(TITLES[name][2], fontsize=8)
        if vectors:
            axis = axes[len(matrices)]
            _cells(axis, np.stack([getattr(one, name) for name in vectors]), limit, size if k > 3 else size - 1.5)
            axis.set_yticks(range(len(vectors)), [name.replace("_", "\n") for name in vectors], fontsize=7)
            axis.set_title("moments of normalization", fontsize=9)
            axis.set_xlabel("state", fontsize=8)
        texts = [f"{SYMBOLS.get(n, n)} = {float(getattr(one, n)):.4g}" for n in gates]
        per_line = 4 if narrow else max(1, len(texts))
        text = "\n".join("   ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line))
        part.suptitle(f"{short(layer) + ':  ' if layer else ''}{text}", fontsize=9, x=0.01, ha="left")
    if title:
        figure.suptitle(short(title, int(11.5 * width * columns)), fontsize=11, x=0.01, ha="left")
    return figure


def _shown(rule: Rule | None) -> tuple[list[str], list[str], list[str]]:
    """Returns the names of the matrices, moments and gates that have an effect under the rule."""
    shown = effective_fields(rule) if rule else (*MATRICES, *VECTORS, *SYMBOLS)
    matrices = [name for name in (*MATRICES, *SECOND_MATRICES, *GATING_MATRICES) if name in shown]
    vectors = [name for name in VECTORS if name in shown]
    return matrices, vectors, [name for name in shown if name in SCALARS]


def _pale(name: str, k: int, rule: Rule | None) -> np.ndarray | None:
    """Returns which entries [k, k] have no effect under the rule; None for none."""
    if rule is None:
        return None
    unused = np.arange(k) >= rule.synapse_channels
    if name.endswith("pre_transform"):
        return np.broadcast_to(unused, (k, k))
    if name.endswith("post_transform"):
        return np.broadcast_to(unused[:, None], (k, k))
    if name == "backward_transform" and rule.backward_update == "multiplicative_second_state":
        return np.broadcast_to((np.arange(k) == 0)[:, None], (k, k))
    return None


def _cells(axis: Any, array: Any, limit: float, size: float, pale: np.ndarray | None = None) -> None:
    values = np.asarray(array, float)
    texts = [[f"{value:.2f}" for value in row] for row in values]
    annotated_cells(axis, values, texts, limit=limit, size=size, pale=pale)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=8)
