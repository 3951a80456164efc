"""What docs/security.md says about files from strangers."""

from __future__ import annotations

import ast
import io
import pickle
from pathlib import Path

import numpy as np
import pytest

import neurograph as ng
from neurograph.experiments.spec import load_experiment
from neurograph.tasks import from_npz

PACKAGE = Path(ng.__file__).parent


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_in_the_package_opens_pickles_or_runs_text():
    """But for tasks between a process and its workers, see docs/security.md."""
    workers = PACKAGE / "experiments" / "workers"
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name.split(".")[0] for alias in node.names} | {getattr(node, "module", None) or ""}
                forbidden = {"pickle", "dill", "cloudpickle", "marshal", "shelve"}
                assert not names & forbidden or (workers in path.parents and names & forbidden == {"cloudpickle"}), path
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                assert name not in ("eval", "exec", "unsafe_load", "full_load"), path
                for keyword in node.keywords:  # NumPy's own default is False
                    if keyword.arg == "allow_pickle":
                        assert isinstance(keyword.value, ast.Constant), path
                        assert keyword.value.value is False, path


def test_a_pickle_inside_npz_is_refused(tmp_path):
    trap, path = tmp_path / "sprung", tmp_path / "data.npz"
    np.savez(path, x=np.zeros((4, 2)), labels=np.array([Trap(trap)] * 4, dtype=object))
    with pytest.raises(ng.TaskError, match=r"data\.npz"):
        from_npz(path)
    assert not trap.exists()
    pickle.load(io.BytesIO(pickle.dumps(Trap(trap)))).close()
    assert trap.exists(), "the trap does not work"


@pytest.mark.parametrize("reader", [ng.load_topology, load_experiment], ids=["topology", "experiment"])
def test_yaml_makes_no_objects(tmp_path, reader):
    trap, path = tmp_path / "sprung", tmp_path / "file.yaml"
    path.write_text(f"name: !!python/object/apply:os.mkdir [{trap}]\n")
    with pytest.raises(ng.NeurographError):
        reader(path)
    assert not trap.exists()


@pytest.mark.parametrize("ending", ["graphml", "gexf"])
def test_entities_are_refused_and_files_not_read(tmp_path, ending):
    secret, path = tmp_path / "secret", tmp_path / f"graph.{ending}"
    secret.write_text("hidden words")
    path.write_text(f'<?xml version="1.0"?><!DOCTYPE g [<!ENTITY e SYSTEM "file://{secret}">]><{ending}>&e;</{ending}>')
    with pytest.raises(ng.SpecError, match="entity declarations are not allowed") as caught:
        ng.load_topology(path)
    assert "hidden words" not in str(caught.value)


def test_a_genome_names_activations_and_nothing_else(tmp_path):
    path = tmp_path / "genome.json"
    text = (PACKAGE / "genome" / "zoo" / "digits.json").read_text()
    path.write_text(text.replace('"forward_activation": "relu_tanh"', '"forward_activation": "os.system"'))
    with pytest.raises(ng.GenomeError, match=r"os\.system"):
        ng.load_genome_file(path)


def test_limits_come_before_memory():
    with pytest.raises(ng.TopologyError, match="limit"):
        ng.build_topology({
            "populations": {"a": 100_000, "b": 100_000}, "inputs": "a", "outputs": "b",
            "connections": [{"kind": "dense", "from": "a", "to": "b"}],
        })  # fmt: skip


def test_a_report_escapes_and_loads_nothing(tmp_path):
    (tmp_path / "summary.json").write_text('{"name": "<script>alert(1)</script>"}')
    (tmp_path / "config.yaml").write_text("name: '<img src=x onerror=alert(1)>'\n")
    page = ng.write_report(tmp_path).read_text(encoding="utf-8")
    for bad in ("<script", "<img", 'src="http', 'href="http', "@import"):
        assert bad not in page
