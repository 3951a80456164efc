"""Every public name has an example in its docstring, and the examples are true."""

from __future__ import annotations

import doctest
import importlib
import inspect
from operator import attrgetter
from pathlib import Path

import pytest

import neurograph as ng
import neurograph.testing
from neurograph.topology import BUILDERS

# A dictionary has no docstring of its own: its module shows it.
SHOWN_BY = {"ACTIVATIONS": "neurograph.genome.activations", "CLASSICS": "neurograph.genome.classics"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


METHODS = ("Topology.draw", "Genome.draw", "LayeredGenome.draw")  # with examples of their own


TESTING = [f"testing.{name}" for name in neurograph.testing.__all__]


@pytest.mark.parametrize("name", [*ng.__all__, *METHODS, *TESTING])
def test_the_example_of_a_public_name_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In a fresh folder, with nothing imported but the name itself and `ng`."""
    monkeypatch.chdir(tmp_path)
    shown = importlib.import_module(SHOWN_BY[name]) if name in SHOWN_BY else attrgetter(name)(ng)
    found = doctest.DocTestParser().get_examples(inspect.getdoc(shown) or "")
    assert found, f"ng.{name}: its docstring has no example (>>>)"
    test = doctest.DocTest(found, {"ng": ng, name: attrgetter(name)(ng)}, name, None, 0, None)
    report: list[str] = []
    kinds = dict(BUILDERS)
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    for kind in BUILDERS.keys() - kinds:  # other tests compare the kinds with a table
        del BUILDERS[kind]
    assert not report, "".join(report)
