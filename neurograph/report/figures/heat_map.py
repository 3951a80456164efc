"""An annotated heat map: coloured cells with a text in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.patches
import numpy as np
from jaxtyping import Bool, Float

from neurograph.report.figures.style import Picture, short

__all__ = ["annotated_cells", "colour_bar", "name_cells"]


def annotated_cells(
    axis: Any,
    values: Float[np.ndarray, "rows columns"],
    texts: Sequence[Sequence[str | None]],
    *,
    limit: float | None = None,
    pale: Bool[np.ndarray, "rows columns"] | None = None,
    size: float = 8,
) -> Any:
    """Draws a cell per value, the first row on top, and returns what `Figure.colorbar` takes.

    Cells are shapes, not an image, so that they stay sharp. NaN has no colour.

    Args:
      texts: what stands in the cells; None hatches a cell.
      limit: of a diverging scale from -limit to limit; without it the scale runs from 0 to 1.
      pale: cells without colour and with a grey text.
      size: of the texts, in points.
    """
    rows, columns = values.shape
    pale = np.zeros(values.shape, bool) if pale is None else pale
    low, high, colours = (0.0, 1.0, "cividis") if limit is None else (-limit, limit, "PuOr")
    dark = values < 0.5 if limit is None else np.abs(values) > 0.65 * limit
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    shown = np.ma.masked_array(values, pale | ~np.isfinite(values))
    cells = axis.pcolormesh(*edges, shown, cmap=colours, vmin=low, vmax=high, edgecolors="white", linewidth=1)
    for i, j in np.ndindex(values.shape):
        text = texts[i][j]
        if text is None:
            square = matplotlib.patches.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, hatch="////", edgecolor="#d0d0d0", lw=0)
            axis.add_patch(square)
        else:
            colour = "#b5b5b5" if pale[i, j] else "white" if dark[i, j] else "black"
            axis.text(j, i, text, ha="center", va="center", fontsize=size, color=colour)
    axis.grid(False)
    axis.set_xlim(-0.5, columns - 0.5)
    axis.set_ylim(rows - 0.5, -0.5)
    axis.set_xticks(range(columns))
    axis.set_yticks(range(rows))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return cells


def name_cells(axis: Any, rows: Sequence[str], columns: Sequence[str], *, slanted: bool = False) -> None:
    """Writes the names of rows and columns beside the cells; `slanted` leaves room for long names of columns."""
    axis.set_yticks(range(len(rows)), ["\n".join(map(short, name.split("\n"))) for name in rows])
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axis.set_xticks(range(len(columns)), [short(name) for name in columns], **turned)


def colour_bar(figure: Picture, cells: Any, axes: Any, **options: Any) -> Any:
    """Adds the scale of the colours beside the axes; `options` go to `Figure.colorbar`."""
    bar = figure.colorbar(cells, ax=axes, pad=0.02, **options)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return bar
