"""Layer widths as a topology's name, "2-20-2", wherever one is asked for."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import neurograph as ng
from neurograph.cli import main
from neurograph.cli.words import sort_words
from neurograph.topology import Limits, mlp
from neurograph.topology.shipped import layer_widths, shipped_names


def test_widths_are_complete_layers_with_biases(monkeypatch, tmp_path):
    made = ng.load_topology("2-20-2")
    assert made == mlp(2, 20, 2)
    assert made.title == "2-20-2"
    assert made.num_synapses == 2 * 20 + 20 * 2
    assert int(made.bias.sum()) == 22
    assert ng.load_topology("4-3").num_synapses == 12
    assert ng.load_topology("2-3-2", schedule="synchronous", ticks=4).ticks == 4
    assert not [name for name in shipped_names() if layer_widths(name)]
    assert [layer_widths(name) for name in ("mlp", "a-2", "x/2-2", "2-2.csv", "20", "-2-2")] == [None] * 6
    (tmp_path / "2-2").mkdir()  # a folder, such as that of a run, is no topology
    monkeypatch.chdir(tmp_path)
    assert ng.load_topology("2-2") == mlp(2, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "2--2",
            "2--2: no such file, no shipped topology of that name, and no layer widths: got ''; expected whole numbers above 0",
        ),
        ("2-x-2", "got 'x'; expected whole numbers above 0 with - between, such as 2-20-2"),
        ("0-2", "got '0'; expected"),
        ("2-00-2", "got '00'; expected"),
        ("2-20-", "got ''; expected"),
        ("2-1e3-2", "got '1e3'; expected"),
        ("2-²-2", "got '²'; expected"),
        ("2-" + "9" * 5000, "got '9999999999"),
        (
            "2-100000-100000",
            "2-100000-100000 at connections[1]: the graph would have 10,000,200,000 synapses; the limit is 50,000,000",
        ),
        ("99999999-2", "the graph would have 100,000,001 neurons; the limit is 5,000,000"),
    ],
)
def test_widths_that_cannot_be_are_refused_before_anything_is_made(name, words):
    with pytest.raises(ng.TopologyError) as fault:
        ng.load_topology(name)
    assert words in str(fault.value)
    assert len(str(fault.value)) < 500


def test_widths_take_no_roles_and_obey_limits():
    with pytest.raises(
        ng.TopologyError, match="2-2: a topology of layer widths states its own inputs and outputs; give no others"
    ):
        ng.load_topology("2-2", inputs="sources")
    with pytest.raises(ng.TopologyError, match="2-2: a topology of layer widths states its own weights"):
        ng.load_topology("2-2", weight="strength")
    with pytest.raises(ng.TopologyError, match="would have 4 neurons; the limit is 3"):
        ng.load_topology("2-2", limits=Limits(neurons=3))


def test_a_file_of_that_name_is_never_shadowed_silently(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2-2").write_text("source,target\na,b\n")
    with pytest.raises(ng.TopologyError, match="2-2: is a file without an ending, or layer widths; give the file another name"):
        ng.load_topology("2-2")
    (tmp_path / "2-2.csv").write_text("source,target\na,b\n")
    assert ng.load_topology("2-2.csv", inputs=["a"], outputs=["b"]).num_synapses == 1


def call(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code or isinstance(result.exception, ng.NeurographError), result.output
    return result.output or str(result.exception)


def test_commands_take_widths(tmp_path):
    assert json.loads(call("topology", "show", "2-3-2", "--json"))["neurons"] == 7
    assert "7 neurons, 12 synapses" in call("plan", "2-3-2")
    assert "2-3-2: ok (7 neurons" in call("topology", "check", "2-3-2")
    call("topology", "convert", "2-3-2", str(tmp_path / "made.graphml"))
    assert ng.load_topology(tmp_path / "made.graphml") == mlp(2, 3, 2)
    words = ["digits", "2-3-2", "mlp", "xor"]
    assert sort_words(words, {}) == {"genome": ["digits"], "topology": ["2-3-2", "mlp"], "task": ["xor"]}
    with pytest.raises(ng.TopologyError, match="got 'x'; expected whole numbers"):
        sort_words(["digits", "2-x-2", "xor"], {})
    for words in (
        ("train", "xor", "--topology", "2-x-2"),
        ("bench", "2-x-2"),
        ("analyze", "functions", "--topology", "2-x-2", "--task", "xor"),
        ("transfer", "functions", "-t", "mlp,2-x-2", "-k", "xor"),
    ):
        assert "2-x-2: no such file, no shipped topology of that name, and no layer widths: got 'x'" in call(*words, code=2)


@pytest.mark.thorough
def test_a_run_on_widths_goes_on_and_is_drawn_and_tested(tmp_path):
    from neurograph.experiments.final import final_test
    from neurograph.experiments.spec import load_experiment
    from neurograph.experiments.train import meta_train
    from neurograph.report.run import write_report

    (tmp_path / "e.yaml").write_text(
        "name: e\nrule: {states: 2}\nproblems: [{task: xor, topology: 2-3-2}]\n"
        "unroll: {steps: 1, batch_size: 4, query_size: 4}\n"
        "training: {meta_steps: 1, genomes: 1, interval: 1, validate_every: 1, validation_episodes: 1}\n"
        "transfer: {topologies: [2-4-2], at: [0], seeds: 1, baselines: [], batch_size: 4, query_size: 4}\n"
    )
    spec, folder = load_experiment(tmp_path / "e.yaml", ()), tmp_path / "run"
    genome, rule = meta_train(spec, folder, base=tmp_path)
    assert {row["topology"] for row in final_test(spec, folder, genome, rule, base=tmp_path).rows} == {"2-4-2"}
    assert not (folder / "topologies").exists()  # widths are no file, there is nothing to keep
    page = write_report(folder).read_text(encoding="utf-8")
    assert "2-3-2" in page
    assert "2-4-2" in page
    assert "not drawn" not in page
