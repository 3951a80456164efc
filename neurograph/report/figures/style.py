"""Settings, colours and markers of every figure, and the figure itself."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import allow_rasterization
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

from neurograph.report.html import visible

__all__ = ["COLOURS", "GREY", "MARKERS", "WIDTH", "Picture", "legend_below", "picture", "rows_of_axes", "short", "styled"]

# Okabe and Ito's, which colour-blind readers distinguish; markers differ as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#595959"
WIDTH = 5.4  # inches: legible when a phone scales it to 360 points

STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollars
}
# Settings that choose windows and ids, not how a figure looks; they stay as they are.
_OUTSIDE = ("backend", "date.epoch", "docstring", "interactive", "svg.hashsalt", "tk.", "toolbar", "webagg")
# Nothing that changes from one run to the next goes into a file.
_METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


@cache
def _settings() -> dict[str, Any]:
    defaults = {name: value for name, value in dict.items(matplotlib.rcParamsDefault) if not name.startswith(_OUTSIDE)}
    return defaults | STYLE


@contextmanager
def styled(changes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Applies matplotlib's defaults, the style and `changes` instead of the user's settings; also a decorator."""
    settings: Any = _settings() | dict(changes or {})
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names in scripts that the font lacks
        yield


class _Layout(ConstrainedLayoutEngine):
    """Constrained layout that enlarges a figure whose labels leave no room for its axes, and whose places are rounded: those of
    the solver differ in their last digits from one figure to its twin, and with them the names of clips in SVG."""

    def execute(self, fig: Figure) -> None:
        self._solve(fig)
        parts: list[Any] = [*fig.subfigs]
        for part in parts:
            parts += part.subfigs
            part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), 8))
        for axis in fig.axes:
            place = Bbox(np.round(axis.get_position(original=True).get_points(), 8))
            axis._set_position(place, which="original")  # pyright: ignore[reportAttributeAccessIssue]

    def _solve(self, fig: Figure) -> None:
        for _ in range(10):
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "constrained_layout not applied")
                try:
                    return super().execute(fig)
                except UserWarning:
                    width, height = fig.get_size_inches()
                    fig.set_size_inches(1.3 * width, 1.3 * height)


class Picture(Figure):
    """A matplotlib figure that belongs to no window and looks the same under any settings of the user.

    matplotlib reads its settings when a figure is made, when it is drawn and when it is saved. Make axes and artists inside
    `styled`; drawing and saving apply it themselves.

    Attributes:
      dense: artists that may become an image in a vector file, where there are too many of them.
      notes: what was left out or became an image, one line each.
    """

    dense: Sequence[Any] = ()
    notes: tuple[str, ...] = ()

    @allow_rasterization
    def draw(self, renderer: Any) -> None:
        with styled():
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        """Shows the figure in a notebook that has not asked for matplotlib's own way."""
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=96)
        return stream.getvalue()

    def savefig(self, fname: Any, **options: Any) -> None:  # type: ignore[override]
        """Saves the figure; the same figure gives the same bytes."""
        kind = str(options.get("format") or Path(str(fname)).suffix[1:] or "png").lower()
        options.setdefault("metadata", _METADATA.get(kind))
        salt = matplotlib.rcParams["svg.hashsalt"] or "neurograph"
        with styled({"svg.hashsalt": salt}):
            super().savefig(fname, **options)


def picture(width: float, height: float, *, fitted: bool = True) -> Picture:
    """Returns an empty figure, in inches; `fitted` lays its axes out so that all labels have room."""
    with styled():
        return Picture(figsize=(width, height), layout=_Layout() if fitted else None)


def rows_of_axes(height: float, rows: int = 1, width: float = WIDTH, **options: Any) -> tuple[Picture, Any]:
    """Returns a figure and its axes [rows], one below the other; `options` go to `Figure.subplots`."""
    figure = picture(width, height)
    return figure, figure.subplots(rows, 1, squeeze=False, **options)[:, 0]


def short(name: str, most: int = 36) -> str:
    """Returns a name as one line of at most `most` characters, the middle left out: labels must leave room for the axes."""
    name = " ".join(visible(name).split())
    if len(name) <= most:
        return name
    return f"{name[: most // 2]}…{name[len(name) - (most - 1) // 2 :]}"


def legend_below(figure: Picture, handles: Sequence[Any], labels: Sequence[str], columns: int = 2) -> None:
    """Puts a legend under the axes, in at most so many columns and in fewer where the labels are long."""
    if not labels:
        return

    def points(count: int) -> float:
        """Returns about how wide the legend is in so many columns."""
        return sum(40 + 5.2 * max(map(len, some)) for some in np.array_split(labels, count) if len(some))

    room = 72 * figure.get_size_inches()[0]
    columns = next((count for count in range(columns, 1, -1) if points(count) <= room), 1)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
