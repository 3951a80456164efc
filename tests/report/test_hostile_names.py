"""Names that try to leave their place, in every field of every page: none runs, none changes what stands around it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from page_kinds import NAMES, PAGES, Names
from pages import CHROMIUM, browse, check_self_contained

import neurograph as ng
from neurograph.report import analysis, compare, run, transfer
from neurograph.report.figures.topology import draw_topology
from neurograph.report.html import Markup, document, drawing, part, visible

ALLOWED = {"aria-label", "class", "content", "charset", "href", "http-equiv", "id", "lang", "name", "role", "style", "tabindex"}


class Events(HTMLParser):
    """A page as a list of tags with their attributes, and of texts."""

    def __init__(self, text: str):
        super().__init__()
        self.events: list[tuple] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.events.append((tag, *attrs))

    def handle_endtag(self, tag):
        self.events.append(("/", tag))

    def handle_data(self, data):
        if self.events and self.events[-1][0] == "#text":
            data = self.events.pop()[1] + data
        self.events.append(("#text", re.sub("(; not drawn: ).*", r"\1...", data)))  # a message that quotes names in its own way

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


def hostile(part, turn, written=str):
    """What a part of an event (a text, or an attribute with its value) must be with the hostile names as `written` has them."""
    if isinstance(part, tuple):
        return tuple(hostile(one, turn, written) for one in part)
    return part and re.sub(r"plain-(\d\d)-name", lambda match: visible(written(NAMES[(int(match[1]) + turn) % len(NAMES)])), part)


WRITTEN = (str, lambda name: json.dumps(name)[1:-1], lambda name: json.dumps(name, ensure_ascii=False)[1:-1])


def check(page: str) -> None:
    check_self_contained(page)
    for event in Events(page).events:
        if event[0] not in ("#text", "/") and event[0] not in SVG:
            assert {name for name, _ in event[1:]} <= ALLOWED, event
        assert event[0] in ("#text", "/") or not any(str(part[0]).startswith("on") for part in event[1:]), event


SVG = {"svg", "g", "path", "use", "defs", "rect", "clippath", "image", "text", "tspan", "style", "pattern", "lineargradient"}


@pytest.mark.thorough
@pytest.mark.parametrize("make", PAGES)
def test_every_name_stays_in_its_place_in_every_field(make, tmp_path, monkeypatch):
    def caption_only(folder, name, figure, caption, *, natural=False):
        return part("figure", Markup(), caption, 100 if natural else None)

    for module in (run, compare, transfer, analysis):
        monkeypatch.setattr(module, "drawing", caption_only)
    plain = Events(make(tmp_path / "plain", Names(None)).read_text(encoding="utf-8")).events
    for turn in range(len(NAMES)):
        page = make(tmp_path / str(turn), Names(turn)).read_text(encoding="utf-8")
        check(page)
        found = Events(page).events
        assert len(plain) == len(found)
        for expected, event in zip(plain, found):
            assert event in [hostile(expected, turn, written) for written in WRITTEN]


@pytest.mark.parametrize("make", PAGES)
def test_every_drawing_keeps_names_in_their_place(make, tmp_path):
    page = make(tmp_path, Names(0)).read_text(encoding="utf-8")
    check(page)
    if CHROMIUM:
        seen = browse(page, tmp_path)
        assert (seen.width, seen.drawings, seen.console, seen.asked) == (360, page.count("<svg"), [], [])


@pytest.mark.parametrize("view", ["boxes", "matrix", "all"])
def test_every_view_of_a_topology_keeps_names_in_their_place(view):
    names = tuple(visible(name)[:80] for name in NAMES)
    count = len(names)
    chain = ng.Topology(
        names,
        senders=range(count - 1),
        receivers=range(1, count),
        inputs=[0],
        outputs=[count - 1],
        population=range(count),
        population_names=names,
        title=NAMES[0],
    )
    for detail in ("neurons", "populations") if view == "boxes" else ("auto",):
        page = drawing(None, "picture", draw_topology(chain, view=view, detail=detail), NAMES[0])
        check(document(NAMES[1], "", {NAMES[2]: page}))
