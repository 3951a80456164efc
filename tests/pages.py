"""What every page of a report has to keep."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
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
NO_BROWSER = "no chromium, chromium-browser or google-chrome here"
PHONE = 360  # points
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars --disable-background-networking --disable-sync"
FLAGS += " --disable-component-update --allow-file-access-from-files --enable-logging=stderr --virtual-time-budget=3000"

# The pages run no scripts themselves: one beside them looks into the frame.
PROBE = """<body style='margin:0'><iframe id=f src=page.html style='width:WIDTHpx;height:800px;border:0'></iframe><script>
const parts = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const light = (text) => {
  const [r, g, b] = parts(text).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
onload = () => {
  const page = document.getElementById('f').contentDocument, view = page.defaultView;
  const style = (element) => view.getComputedStyle(element);
  const paper = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = style(one).backgroundColor;
      if (parts(found).length < 4 || parts(found)[3] > 0) return found;
    }
    return 'rgb(255, 255, 255)';
  };
  const faint = [];
  for (const element of page.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest('svg')) continue;
    const [a, b] = [light(style(element).color), light(paper(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(element.tagName);
  }
  const drawings = [...page.querySelectorAll('svg')];
  const found = {width: page.scrollingElement.scrollWidth, drawings: drawings.length, faint, paper: light(paper(page.body)),
    cards: [...new Set(drawings.map(paper))]};
  document.title = JSON.stringify(found);
};
</script>"""


@dataclass
class Seen:
    """What a browser makes of a page.

    Attributes:
      width: that the page takes.
      faint: tags of elements whose text has a contrast below 4.5 with what is behind it.
      paper: luminance of the page behind everything, from 0 (black) to 1 (white).
      cards: colours behind the drawings.
      console, asked: lines of the console, and addresses asked for.
    """

    width: int
    drawings: int
    faint: list[str]
    paper: float
    cards: list[str]
    console: list[str]
    asked: list[str]


def browse(page: str, folder: Path, *, dark: bool = False) -> Seen:
    """Shows a page in a browser as wide as a phone, of a user who likes it `dark` or not."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    (folder / "probe.html").write_text(PROBE.replace("WIDTH", str(PHONE)))
    log = folder / "net.json"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    done = _chromium(folder, "--dump-dom", scheme, f"--log-net-log={log}", (folder / "probe.html").as_uri())
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title
    requests = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # a browser asks its maker for this and that; what a page asks for has an origin
    asked = [r["url"] for r in requests if "url" in r and r.get("initiator", "not an origin") != "not an origin"]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(**json.loads(unescape(title[1])), console=console, asked=asked)


def printed(page: str, folder: Path) -> list[str]:
    """The text of each sheet when the page is printed."""
    from pypdf import PdfReader

    (folder / "page.html").write_text(page, encoding="utf-8")
    sheets = folder / "page.pdf"
    _chromium(folder, f"--print-to-pdf={sheets}", "--no-pdf-header-footer", (folder / "page.html").as_uri())
    return [sheet.extract_text() for sheet in PdfReader(sheets).pages]


def _chromium(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"]
    options.append("--host-resolver-rules=MAP * ~NOTFOUND")  # whatever is asked for, nothing is reached
    return subprocess.run([str(CHROMIUM), *options, *arguments], capture_output=True, text=True, timeout=120, check=True)
