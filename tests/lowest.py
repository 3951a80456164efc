"""Prints the lower bounds of pyproject.toml as pins: `python tests/lowest.py > low.txt; pip install -c low.txt -e ".[test]"`.

A bound that cannot be installed beside the others stops pip, so that what pyproject promises is what is tested.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<version>[\w.]+)(,!=[\w.]+)*")


def pins(project: dict) -> list[str]:
    """NAME==VERSION of every requirement of the project and of its extras.

    Raises:
      ValueError: a requirement without a lower bound, or one that is more than that and versions left out.
    """
    found = set()
    for text in [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]:
        if text.startswith(f"{project['name']}["):
            continue  # an extra of its own
        match = REQUIREMENT.fullmatch(text)
        if match is None:
            raise ValueError(f"pyproject.toml: got {text!r}; expected NAME>=VERSION, and ,!=VERSION if need be")
        found.add(f"{match['name']}=={match['version']}")
    return sorted(found)


if __name__ == "__main__":
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    print(*pins(tomllib.loads(text)["project"]), sep="\n")
