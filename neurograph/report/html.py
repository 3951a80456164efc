"""The HTML of pages and notebooks, from the templates beside this file: escaped parts, and a self-contained page of them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from neurograph.errors import ExperimentError
from neurograph.files import write_atomically

__all__ = [
    "Markup",
    "commands",
    "details",
    "document",
    "drawing",
    "grid",
    "inline",
    "items",
    "joined",
    "paragraph",
    "part",
    "preformatted",
    "remark",
    "table",
    "titled",
    "visible",
]

# Characters that no page and no SVG may hold (controls, halves of a pair), and those that turn the text after them round.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    """Returns the text with a replacement character for each control character, and for each that changes the direction."""
    return _UNSEEN.sub("\ufffd", text)


@cache
def _environment() -> Any:
    import jinja2  # what draws figures without a page does not need it

    def shown(value: Any) -> Any:
        return value if isinstance(value, Markup) else visible(str(value))

    return jinja2.Environment(
        loader=jinja2.PackageLoader("neurograph.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def part(name: str, *arguments: Any, file: str = "parts.html") -> Markup:
    """Returns what a macro of a template makes of the arguments; texts among them are escaped, `Markup` is taken as it is."""
    return getattr(_environment().get_template(file).module, name)(*arguments)


def joined(parts: Iterable[str]) -> Markup:
    """Returns the parts one after another; those that are no `Markup` are escaped."""
    return Markup("").join(parts)


def document(title: str, verdict: str, sections: Mapping[str, str]) -> str:
    """Returns the whole page: its title and verdict, links to the sections, the sections by their headings.

    Nothing in it refers to anything outside.
    """
    from neurograph import __version__

    listed = [{"heading": heading, "anchor": _anchor(heading), "body": body} for heading, body in sections.items()]
    return _environment().get_template("page.html").render(title=title, verdict=verdict, sections=listed, version=__version__)


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def paragraph(text: str) -> Markup:
    """Returns a paragraph of plain text."""
    return part("paragraph", text)


def remark(text: str) -> Markup:
    """Returns a paragraph of plain text in small print."""
    return part("remark", text)


def items(texts: Sequence[str]) -> Markup:
    """Returns a list of plain texts."""
    return part("items", texts)


def titled(heading: str, body: str) -> Markup:
    """Returns a part of a section under a heading of its own."""
    return part("titled", heading, body)


def details(summary: str, body: str) -> Markup:
    """Returns a part that is folded until a reader opens it."""
    return part("details", summary, body)


def preformatted(content: str) -> Markup:
    """Returns the lines of a file."""
    return part("preformatted", content)


def commands(lines: Sequence[str]) -> Markup:
    """Returns lines to copy into a terminal."""
    return part("commands", lines)


def grid(bodies: Sequence[str]) -> Markup:
    """Returns parts side by side where there is room."""
    return part("grid", bodies)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, wrap: bool = False) -> Markup:
    """Returns a table that scrolls by itself where the page is narrow; without a head, pairs of a name and a value.

    `wrap` breaks long cells instead: for free text and long names.
    """
    return part("table", head, rows, "wrap" if wrap else "" if head else "facts")


def drawing(folder: Path | None, name: str, figure: Any, caption: str, *, natural: bool = False) -> Markup:
    """Returns a matplotlib figure with its caption, inline, and saves it as `name`.svg and `name`.png if a folder is given.

    Figures shrink to the width of the page. `natural` ones keep their size, and scroll: for drawings with small labels.

    Raises:
      ExperimentError: the folder cannot be written to.
    """
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # ids of its own, the same in every run
        figure.savefig(stream, format="svg")
    svg = visible(stream.getvalue())
    if folder is not None:
        try:
            folder.mkdir(exist_ok=True)
            write_atomically(folder / f"{name}.svg", svg)
            pixels = io.BytesIO()
            figure.savefig(pixels, format="png", dpi=110)
            write_atomically(folder / f"{name}.png", pixels.getvalue())
        except OSError as error:
            raise ExperimentError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    width = round(figure.get_size_inches()[0] * 96) if natural else None
    return part("figure", inline(svg, name, caption), caption, width)


def inline(svg: str, name: str, caption: str) -> Markup:
    """Returns an SVG file as an element of a page: no prologue, no metadata, ids of its own, a name for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # In tags only: a label may say `id="a"`.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", tag[0]), svg)
    opening = Markup('<svg role="img" aria-label="{}"').format(visible(caption))
    return Markup(svg.replace("<svg", opening, 1))
