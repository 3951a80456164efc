"""The examples in the docstrings of public names are true."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import neurograph as ng

# A dictionary has no docstring of its own: its module shows it.
SHOWN_BY = {"ACTIVATIONS": "neurograph.genome.activations"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(name: str) -> list[doctest.Example]:
    shown = importlib.import_module(SHOWN_BY[name]) if name in SHOWN_BY else getattr(ng, name)
    return doctest.DocTestParser().get_examples(inspect.getdoc(shown) or "")


@pytest.mark.parametrize("name", [name for name in ng.__all__ if examples(name)])
def test_the_example_of_a_public_name_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    found = examples(name)
    test = doctest.DocTest(found, {"ng": ng, name: getattr(ng, name)}, name, None, 0, None)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not report, "".join(report)
