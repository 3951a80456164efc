"""`neurograph new`: every template runs as it is, and nothing is overwritten unasked."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import neurograph as ng
from neurograph.cli import main
from neurograph.experiments import load_experiment

SMALL = ("training.meta_steps=2", "training.validate_every=2", "training.validation_episodes=1", "unroll.steps=2")


@pytest.fixture(autouse=True)
def _in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.thorough
def test_an_experiment_runs():
    assert call("new", "experiment", "mine").stdout == "written: mine.yaml\nnext: neurograph meta-train mine.yaml\n"
    assert load_experiment("mine.yaml").name == "mine"
    small = [word for one in SMALL for word in ("--set", one)]
    done = call("meta-train", "mine.yaml", *small, "--no-transfer", "--json")
    assert done.exit_code == 0, done.output
    run = json.loads(done.stdout)
    assert (run["name"], run["folder"], run["state"], run["step"], run["report"]) == ("mine", "runs/mine", "finished", 2, None)
    assert "run folder runs/mine" in done.stderr


@pytest.mark.thorough
def test_an_experiment_learns():
    call("new", "experiment", "mine")
    run = json.loads(call("meta-train", "mine.yaml", "--json").stdout)
    assert min(run["validation"], run["test"]) > 0.7  # chance is 0.1
    assert Path(run["report"]).exists()


@pytest.mark.thorough
@pytest.mark.thorough
def test_a_topology_is_a_graph_for_digits():
    assert call("new", "topology", "graph").exit_code == 0
    assert call("topology", "check", "graph.yaml").stdout.startswith("graph.yaml: ok")
    topology = ng.load_topology("graph.yaml")
    assert (topology.title, len(topology.inputs), len(topology.outputs)) == ("graph", 64, 10)
    learned = json.loads(call("train", "digits", "--topology", "graph.yaml", "--steps", "5", "--runs", "1", "--json").stdout)
    assert learned["curve"][-1]["accuracy"][0] > 0.7


def test_a_task_is_a_program_that_learns_and_a_file_for_commands(capsys):
    assert call("new", "task", "spirals").exit_code == 0
    runpy.run_path("spirals.py", run_name="__main__")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(" 100 learning steps: accuracy ")
    assert float(last.split()[4]) > 0.85
    assert ng.get_task("npz:spirals.npz").num_inputs == 2


@pytest.mark.parametrize("kind", ["experiment", "topology", "task"])
def test_nothing_is_overwritten_unasked(kind):
    suffix = ".py" if kind == "task" else ".yaml"
    path = Path(f"mine{suffix}")
    path.write_text("kept")
    for words in (["mine"], [path.name], ["other", "--out", str(path)]):
        refused = call("new", kind, *words)
        assert isinstance(refused.exception, ng.NeurographError)
        assert str(refused.exception) == f"{path}: exists; --force overwrites it"
    assert path.read_text() == "kept"
    assert call("new", kind, "mine", "--force").exit_code == 0
    assert "mine" in path.read_text()
    assert "$" not in path.read_text()


def test_names_and_places_that_cannot_be():
    for words, message in (
        (["a/b"], "'a/b': expected a name of letters, digits"),
        (["a", "--out", "nowhere/a.yaml"], "nowhere/a.yaml: there is no folder 'nowhere' to write to"),
    ):
        refused = call("new", "experiment", *words)
        assert isinstance(refused.exception, ng.NeurographError)
        assert str(refused.exception).startswith(message)


def test_a_name_that_yaml_takes_for_a_number_stays_a_name():
    call("new", "experiment", "7")
    call("new", "topology", "7", "--out", "my graph.yaml")
    assert load_experiment("7.yaml").name == "7"
    assert ng.load_topology("my graph.yaml").title == "7"
    assert "neurograph topology show 'my graph.yaml'" in Path("my graph.yaml").read_text()
