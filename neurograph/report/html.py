"""The HTML of a report: small pieces, escaped, one self-contained page that a phone can show.

The page loads nothing from outside: its content security policy allows only its own styles and `data:` pictures.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape as _escape
from pathlib import Path
from typing import Any

from neurograph.errors import ExperimentError
from neurograph.files import write_atomically

__all__ = ["block", "commands", "contents", "details", "document", "drawing", "escape", "inline", "paragraph", "table", "visible"]

# Characters that no page and no SVG may hold (controls, halves of a pair), and those that turn the text after them round.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; color: #1a1a1a; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .3rem 0 .8rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p { margin: .5rem 0; max-width: 44rem; overflow-wrap: anywhere; }
li, summary { overflow-wrap: anywhere; }
figure { margin: 1rem 0; max-width: 34rem; }
figure svg { display: block; width: 100%; height: auto; }
svg text { white-space: pre; }
figcaption { font-size: .85rem; color: #444; overflow-wrap: anywhere; }
figure.natural { max-width: none; }
.grid { display: grid; gap: .5rem 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(21rem, 100%), 1fr)); }
.scroll { overflow-x: auto; margin: .6rem 0; }
.scroll:focus-visible { outline: 2px solid #0072b2; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e8e8e8; vertical-align: top; }
th, td { white-space: nowrap; }
th { font-weight: 600; }
.wrap th, .wrap td { white-space: normal; overflow-wrap: anywhere; min-width: 4rem; }
.facts td:first-child { color: #555; }
.facts td:last-child { white-space: normal; overflow-wrap: break-word; }
pre { overflow-x: auto; background: #f5f5f5; padding: .8rem; font-size: .8rem; line-height: 1.4; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .3rem 0; }
pre.commands { white-space: pre-wrap; overflow-wrap: anywhere; }
nav { font-size: .9rem; line-height: 1.9; }
nav a { margin-right: 1rem; white-space: nowrap; }
a { color: #005a93; }
"""


def visible(text: str) -> str:
    """Returns the text with a replacement character for each control character, and for each that changes the direction."""
    return _UNSEEN.sub("\ufffd", text)


def escape(text: str) -> str:
    """Returns the text for an element or attribute of a page."""
    return _escape(visible(text))


def document(title: str, body: str) -> str:
    """Returns the whole page; nothing in it refers to anything outside."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}</body></html>\n"
    )


def block(heading: str, body: str) -> str:
    """Returns a section, without a heading if that is empty."""
    if not heading:
        return f"<section>{body}</section>\n"
    return f'<section id="{_anchor(heading)}"><h2>{escape(heading)}</h2>{body}</section>\n'


def contents(headings: Sequence[str]) -> str:
    """Returns links to the sections with these headings."""
    links = "".join(f'<a href="#{_anchor(heading)}">{escape(heading)}</a> ' for heading in headings)
    return f"<nav>{links}</nav>"


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def paragraph(text: str) -> str:
    """Returns a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def details(summary: str, body: str) -> str:
    """Returns a part that is folded until a reader opens it."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def commands(lines: Sequence[str]) -> str:
    """Returns lines to copy into a terminal."""
    return f'<pre class="commands">{escape(chr(10).join(lines))}</pre>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, head_row: bool = True, wrap: bool = False) -> str:
    """Returns a table that scrolls by itself where the page is narrow; without a head row, pairs of a name and a value.

    `wrap` breaks long cells instead: for free text and long names.
    """
    top = f"<thead><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr></thead>" if head_row else ""
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    kind = ' class="wrap"' if wrap else "" if head_row else ' class="facts"'
    return f'<div class="scroll" tabindex="0"><table{kind}>{top}<tbody>{lines}</tbody></table></div>'


def drawing(folder: Path | None, name: str, figure: Any, caption: str, *, natural: bool = False) -> str:
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
    svg = inline(svg, name, caption)
    words = f"<figcaption>{escape(caption)}</figcaption>"
    if not natural:
        return f"<figure>{svg}{words}</figure>"
    width = figure.get_size_inches()[0] * 96
    svg = svg.replace("<svg", f'<svg style="width:{width:.0f}px"', 1)
    return f'<figure class="natural"><div class="scroll" tabindex="0">{svg}</div>{words}</figure>'


def inline(svg: str, name: str, caption: str) -> str:
    """Returns an SVG file as an element of a page: no prologue, no metadata, ids of its own, a name for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # In tags only: a label may say `id="a"`.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", tag[0]), svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1)
