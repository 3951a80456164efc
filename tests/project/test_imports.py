"""Imports: quick and lazy. That they point one way is a contract of import-linter (pyproject.toml), which CI runs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import neurograph as ng

PACKAGE = Path(ng.__file__).parent
HOME = {name: f"neurograph.{room}" for room, names in ng._NAMES.items() for name in names}
HEAVY = ("jax", "jaxlib", "jraph", "optax", "matplotlib", "sklearn", "cma", "tensorflow", "tensorflow_datasets")


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import neurograph", "import neurograph.errors", "import neurograph.topology", "import neurograph as n; n.load_topology"],
)
def test_graphs_need_no_jax(statement):
    assert not loaded_by(statement) & set(HEAVY)


def test_a_graph_is_shown_without_jax_and_matplotlib_is_loaded_then():
    loaded = loaded_by("import neurograph as n; t = n.load_topology('tiny'); repr(t)")
    assert not loaded & set(HEAVY)
    loaded = loaded_by("import neurograph as n; assert '<svg' in n.load_topology('tiny')._repr_html_()")
    assert loaded & set(HEAVY) == {"matplotlib"}


def test_importing_the_package_loads_nothing_at_all():
    assert not loaded_by("import neurograph") & {"numpy", "scipy", "networkx", "pydantic", "yaml", "click"}


@pytest.mark.parametrize("name", ng.__all__)
def test_every_public_name_resolves(name):
    value = getattr(ng, name)
    assert value is getattr(importlib.import_module(HOME[name]), name)
    assert name in dir(ng)


@pytest.mark.parametrize("module", sorted(ng._NAMES))
def test_what_is_lifted_to_the_top_is_public_where_it_lives(module):
    public = importlib.import_module(f"neurograph.{module}").__all__
    assert not [name for name in ng._NAMES[module] if name not in public]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'neurograph' has no attribute 'Netwrok'"):
        ng.Netwrok  # noqa: B018


def test_all_public_errors_share_one_root():
    from neurograph import errors

    for name in errors.__all__:
        value = getattr(errors, name)
        assert name == "Fault" or issubclass(value, (ng.NeurographError, Warning))


def test_only_the_reference_kernel_imports_jraph():
    users = [path.name for path in PACKAGE.rglob("*.py") if "import jraph" in path.read_text()]
    assert users == ["reference.py"]
