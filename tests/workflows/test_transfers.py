"""Transfer tests and analyses from Python objects."""

from __future__ import annotations

import numpy as np
import pytest

import neurograph as ng
from neurograph.experiments.transfer import transfer_matrix
from neurograph.workflows.objects import as_genome, as_task, as_topology

FEW = {"steps": (0, 2), "runs": 1, "baselines": (), "batch_size": 8, "query_size": 32}


@pytest.mark.thorough
def test_objects_and_names_are_the_cells_of_transfer_matrix(tmp_path):
    file, graph, task = ng.load_genome_file("functions"), ng.load_topology("2-3-2"), ng.get_task("xor")
    matrix = ng.transfer(["functions", file, (file.genome, file.rule)], ["2-3-2", graph.to_networkx()], task, tmp_path, **FEW)
    assert matrix.genomes == ["functions", "functions (2)", "genome"]
    assert list(matrix.notes["topologies"]) == ["2-3-2", "2-3-2 (2)"]
    direct = transfer_matrix(
        {"a": (file.genome, file.rule)}, {"b": graph}, {"c": task}, at=(0, 2), seeds=1, optimizers=(), batch_size=8, query_size=32
    )
    assert {cell["median"] for cell in matrix.cells(2)} == {cell["median"] for cell in direct.cells(2)}
    assert {"cells", "matrix.json", "report.html", "heat_map.png"} <= {path.name for path in tmp_path.iterdir()}


def test_mappings_are_names():
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    tasks = {"mine": (x, x[:, 0] > 0), "other": {"name": "xor"}}
    matrix = ng.transfer({"g": "functions"}, {"t": "2-3-2"}, tasks, **FEW)
    cells = matrix.cells(2)
    assert [(cell["genome"], cell["topology"], cell["task"]) for cell in cells] == [("g", "t", "mine"), ("g", "t", "other")]
    assert all(cell["reason"] is None for cell in cells)


def test_analysis_of_names_and_objects(tmp_path):
    file = ng.load_genome_file("functions")
    found = ng.analyze("functions", "2-3-2", "xor", tmp_path, only=["asymmetry"], batch_size=8)
    same = ng.analyze(file, ng.load_topology("2-3-2"), ng.get_task("xor"), only=["asymmetry"], batch_size=8, title="functions")
    assert found.summaries() == same.summaries()
    assert found.title == "functions"
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (as_genome, ng.backprop_genome(0.1)[0], "genome: got one without a rule"),
        (as_genome, 3, "genome: got int; expected a name of the zoo"),
        (as_topology, [1], "topology: got list; expected a shipped name"),
        (as_task, [1], "task: got list; expected a name with its options, a mapping"),
    ],
)
def test_what_is_of_another_kind_is_named(function, given, message):
    with pytest.raises(ng.ExperimentError, match=message):
        function(given)
