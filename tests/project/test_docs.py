"""The documentation is true: Python blocks run, so do shell blocks marked `<!-- run -->`, and all commands exist.

A Python block that cannot run says why: `<!-- not run: REASON -->` before it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
HOWTO = (
    "topology",
    "task",
    "rule",
    "kernel",
    "testing",
    "graphs_as_data",
    "python",
    "continual",
    "scikit_learn",
    "hosts",
    "cluster",
)
OWN = ("tutorial", *(f"howto/{name}" for name in HOWTO))
PAGES = [*OWN, "mathematics", "command_line", "meta_learning", "topologies", "tasks", "genomes", "analysis"]

RUNNER = """
import contextlib, io, json, sys, traceback
pages = json.load(sys.stdin)
for name, pieces in pages.items():
    space = {"__name__": "__main__"}
    for kind, text in pieces:
        with contextlib.redirect_stdout(io.StringIO()):
            if kind == "python":
                exec(compile(text, name, "exec"), space)
            else:
                from neurograph.cli import main
                for line in text.strip().splitlines():
                    words = line.split()
                    assert words[0] == "neurograph", line
                    code = 0
                    try:
                        code = main(words[1:], standalone_mode=False)
                    except SystemExit as stopped:
                        code = stopped.code
                    assert not code, (name, line, code)
    print("ran", name)
"""


def pieces(page: str) -> list[tuple[str, str]]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"(?:<!-- ((?:not )?run)\b[^>]*? -->\n)?```(python|sh)\n(.*?)```", text, flags=re.DOTALL)
    return [(kind, code) for mark, kind, code in found if mark == "run" or (kind == "python" and mark != "not run")]


def test_every_page_with_python_is_run():
    pages = [str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")]
    assert {page for page in pages if any(kind == "python" for kind, _ in pieces(page))} <= set(PAGES)
    marks = "".join((DOCS / f"{page}.md").read_text(encoding="utf-8") for page in pages).split("<!-- not run")[1:]
    assert all(re.match(r": \w.* -->\n```python\n", mark) for mark in marks)


@pytest.mark.thorough
def test_blocks_of_the_pages_run(tmp_path: Path):
    import json

    (tmp_path / "topologies").symlink_to(ROOT / "topologies")
    given = {page: pieces(page) for page in PAGES}
    assert all(given.values())
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(given),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [word for page in PAGES for word in ("ran", page)]


@pytest.mark.parametrize("path", sorted([*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"]), ids=lambda path: path.stem)
def test_commands_named_exist(path: Path):
    from neurograph.cli import COMMANDS

    blocks = "\n".join(re.findall(r"```(?:sh)?\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL))
    named = set(re.findall(r"^(?:[A-Z_]+=\S+ )?neurograph ([a-z][a-z-]+)", blocks, flags=re.MULTILINE))
    assert named <= set(COMMANDS), named - set(COMMANDS)


def pages_of(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(entry)]


def test_the_site_has_every_page_once():
    listed = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_links_between_pages_lead_somewhere():
    for path in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), (path, target)


def test_names_of_the_reference_exist():
    import importlib

    for name in re.findall(r"^::: (\S+)", (DOCS / "api" / "index.md").read_text(), flags=re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        found = importlib.import_module(module)
        value = getattr(found, attribute, None) or importlib.import_module(name)
        assert value.__doc__, name


ROOMS = ("errors", "topology", "tasks", "genome", "network", "learning", "meta", "analysis", "experiments", "report")
FACES = (*ROOMS, "experiments.transfer", "testing", "workflows")
USERS = sorted([ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "examples").glob("*.py")])


def test_pages_and_examples_name_only_rooms_and_their_public_names():
    """Paths below rooms may change: whoever reads the documentation needs none of them."""
    import importlib

    import neurograph

    faces = {"neurograph": neurograph} | {f"neurograph.{room}": importlib.import_module(f"neurograph.{room}") for room in FACES}
    for path in USERS:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"(?<![\w./])neurograph(?:\.[a-z_]\w*)+(?![\w/])", text):
            room, _, attribute = name.rpartition(".")
            known = name in faces or attribute in getattr(faces.get(room), "__all__", ())
            assert known, f"{path.name}: {name} is below a room"
        for room, names in re.findall(r"^ *from (neurograph[\w.]*) import ([\w, ]+)", text, flags=re.MULTILINE):
            assert room in faces, f"{path.name}: {room} is below a room"
            unknown = {name.strip() for name in names.split(",")} - set(faces[room].__all__)
            assert not unknown, f"{path.name}: {unknown} of {room}"


def test_the_reference_has_every_public_name_in_its_room():
    import neurograph
    import neurograph.testing

    listed = re.findall(r"^::: (\S+)", (DOCS / "api" / "index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    public = [f"neurograph.{room}.{name}" for room, names in neurograph._NAMES.items() for name in names]
    public += [f"neurograph.testing.{name}" for name in neurograph.testing.__all__]
    assert sorted(listed) == sorted(public)


@pytest.mark.slow
def test_the_site_builds_without_warnings(tmp_path: Path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "NeurographClassifier" in (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
