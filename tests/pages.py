"""What every page of a report has to keep."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Checker(HTMLParser):
    """Open and close tags match; collects ids and whatever refers to something."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.references += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def text_of(page: str) -> str:
    return re.sub(r"<[^>]*>", " ", re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL))


def check_self_contained(page: str) -> None:
    """Well-formed; ids are unique; whatever refers to something refers into the page or is data; nothing could be fetched."""
    found = Checker(page)
    assert len(found.ids) == len(set(found.ids))
    inside = [reference for reference in found.references if not reference.startswith("data:image/png;base64,")]  # a colour bar
    assert all(reference.startswith("#") for reference in inside)
    assert {reference[1:] for reference in inside} <= set(found.ids)
    assert not found.tags & {"script", "link", "iframe", "img", "object", "embed", "base", "form", "video", "audio", "source"}
    assert not re.search(r"@import|url\((?!#)", page)
    # addresses are names of XML's, never of something to load
    assert set(re.findall(r"\w+://[^\"' <]+", page)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "default-src 'none'" in page
    assert 'name="viewport"' in page
