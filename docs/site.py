"""Hook of the site: links to shipped topologies lead to files of the site, and names of the reference to their documentation."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TOPOLOGIES = Path(__file__).parents[1] / "topologies"


def on_files(files: Files, config: Any) -> Files:
    """Returns the files of the site with `topologies/NAME` for every shipped topology: they lie beside `docs`."""
    for path in sorted(TOPOLOGIES.iterdir()):
        if path.suffix in (".yaml", ".graphml", ".json", ".csv"):
            files.append(File.generated(config, f"topologies/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns a page whose links to topologies stay inside the site, and whose `::: ROOM.NAME` say where the name is defined.

    Rooms import their names when they are used, which mkdocstrings cannot follow: it reads the sources.
    """
    up = "../" * page.file.src_uri.count("/")
    markdown = re.sub(r"\]\((?:\.\./)+topologies/", f"]({up}topologies/", markdown)
    return re.sub(r"^::: (\S+)\.(\w+)$", _defined, markdown, flags=re.MULTILINE)


def _defined(found: re.Match[str]) -> str:
    room, name = found.groups()
    module = getattr(getattr(importlib.import_module(room), name), "__module__", room)
    return f"::: {module}.{name}\n    options:\n      heading: {name}\n      toc_label: {name}"
