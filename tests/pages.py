"""What every page of a report has to keep."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path


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


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars --disable-background-networking --disable-sync"
FLAGS += (
    " --disable-component-update --allow-file-access-from-files --enable-logging=stderr --virtual-time-budget=3000 --dump-dom"
)


def browse(page: str, folder: Path) -> tuple[int, int, list[str], list[str]]:
    """What a browser makes of a page 390 points wide: (width it takes, drawings, lines of its console, addresses asked for)."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    probe = (  # the page runs no scripts itself: one beside it measures the frame
        "<body style='margin:0'><iframe id=f src=page.html style='width:390px;height:800px;border:0'></iframe><script>"
        "onload = () => { const d = document.getElementById('f').contentDocument.documentElement;"
        " document.title = d.scrollWidth + ' ' + d.querySelectorAll('svg').length; }</script>"
    )
    (folder / "probe.html").write_text(probe)
    log = folder / "net.json"
    options = [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    options.append("--host-resolver-rules=MAP * ~NOTFOUND")  # whatever is asked for, nothing is reached
    command = [str(CHROMIUM), *options, (folder / "probe.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert title
    requests = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # a browser asks its maker for this and that; what a page asks for has an origin
    asked = [r["url"] for r in requests if "url" in r and r.get("initiator", "not an origin") != "not an origin"]
    return int(title[1]), int(title[2]), [line for line in done.stderr.splitlines() if "CONSOLE" in line], asked
