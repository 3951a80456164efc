"""`neurograph topology ...` and drawing, as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from neurograph.cli.topology import topology as command
from neurograph.errors import SpecError, TopologyError
from neurograph.report.figures.layout import neuron_positions, population_layout
from neurograph.report.figures.topology import draw_topology
from neurograph.testing import topologies
from neurograph.topology import FORMATS, build_topology, load_topology

ROOT = Path(__file__).resolve().parents[2]
TINY, ELMAN = str(ROOT / "topologies" / "tiny.yaml"), str(ROOT / "topologies" / "elman.yaml")
FILES = sorted(str(path) for path in (ROOT / "topologies").iterdir() if path.suffix in FORMATS)


def call(*arguments: str, code: int = 0):
    result = CliRunner().invoke(command, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_check_tells_good_from_bad(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("populations: {a: -1}\ninputs: a\noutputs: b\nseeds: 1\n")
    result = call("check", TINY, str(bad), code=1)
    assert f"{TINY}: ok (8 neurons, 9 synapses, 2 in, 1 out, 2 dead)" in result.output
    assert f"{bad}:1:18 at populations.a: got -1; expected an integer >= 1." in result.output
    assert f"{bad}:4:1 at seeds: unknown key; did you mean 'seed'?" in result.output
    assert "1 of 2 files have faults." in result.output
    found = json.loads(call("check", "--json", TINY, str(bad), code=1).stdout)
    assert [entry["ok"] for entry in found] == [True, False]
    assert [(fault["line"], fault["column"]) for fault in found[1]["faults"]] == [(1, 18), (4, 1)]
    assert found[0]["digest"] == load_topology(TINY).digest


def test_all_shipped_files_are_sound():
    assert call("check", *FILES).output.count(": ok (") == len(FILES)


def test_show():
    text = call("show", ELMAN, "--states", "3", "--batch", "10").output
    for line in (
        "neurons     146 (64 inputs, 72 hidden, 10 outputs)",
        "schedule    mixed, 12 ticks, damping 0.5; 1 cyclic component, the largest of 40 neurons and 40 self-loops",
        "dense       100 % of the synapses lie in complete blocks",
        "parameters  17,526 with 3 states",  # 3 * (5760 synapses + 82 biases)
        "states 17.5 kB at batch 10",
    ):
        assert line in text
    text = call("show", TINY).output
    assert "dead        2 neurons (1 out of reach of the inputs, 2 without a way to an output): lost, mute" in text
    assert "shared      2 synapses stored as 1 number\n" in text
    facts = json.loads(call("show", TINY, "--json").stdout)
    assert facts["dead_names"] == ["lost", "mute"]
    assert facts["cost"]["parameters"] == 22


def test_options_reach_the_reader(tmp_path):
    path = tmp_path / "graph.csv"
    path.write_text("source,target,weight\na,b,0.5\nb,a,1\nx,a,2\nb,y,3\n")
    with pytest.raises(TopologyError, match="--inputs"):
        call("show", str(path))
    with pytest.raises(TopologyError, match="'a' -> 'b' -> 'a'"):
        call("show", str(path), "--inputs", "sources", "--outputs", "sinks")
    rules = ("--inputs", "sources", "--outputs", "y", "--schedule", "mixed", "--ticks", "3")
    assert "1 cyclic component, the largest of 2 neurons" in call("show", str(path), *rules).output
    assert "weights     4 learned synapses with a given start" in call("show", str(path), *rules).output
    assert "weights" not in call("show", str(path), *rules, "--weight", "").output
    with pytest.raises(TopologyError, match="4 synapses; the limit is 3"):
        call("show", str(path), *rules, "--max-synapses", "3")


def test_convert_there_and_back(tmp_path):
    before = TINY
    for number, ending in enumerate(FORMATS):
        after = str(tmp_path / f"{number}{ending}")
        assert load_topology(TINY).digest[:16] in call("convert", before, after).output
        before = after
    with pytest.raises(TopologyError, match="exists; --force overwrites it"):
        call("convert", TINY, before)
    call("convert", TINY, before, "--force")
    with pytest.raises(TopologyError, match=r"the ending '.dot' is not known"):
        call("convert", TINY, str(tmp_path / "graph.dot"))


def test_list(tmp_path):
    text = call("list", str(ROOT / "topologies")).output
    assert all(Path(path).name in text for path in FILES)
    assert "A small convolutional network" in text
    text = call("list", "--builders").output
    assert "convolution: A kernel moved over a grid" in text
    assert "kernel        size of the kernel; one number means a square (required)" in text
    kinds = json.loads(call("list", "--builders", "--json").stdout)
    assert len(kinds) >= 14
    (tmp_path / "bad.yaml").write_text("5")
    assert json.loads(call("list", str(tmp_path), "--json").stdout)[0]["fault"].endswith("inputs, outputs.")
    with pytest.raises(TopologyError, match="there is no such folder"):
        call("list", str(tmp_path / "nowhere"))


def test_the_command_imports_no_jax_and_shows_no_traceback(tmp_path):
    code = "import sys; from neurograph.cli import run\n"
    code += "try:\n    run()\nfinally:\n    print('jax' in sys.modules, 'matplotlib' in sys.modules)"
    good = subprocess.run(
        [sys.executable, "-c", code, "topology", "check", TINY], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert good.returncode == 0, good.stderr
    assert good.stdout.endswith("False False\n")
    bad = subprocess.run(
        [sys.executable, "-c", code, "topology", "show", str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
    assert bad.stderr.startswith("error: ")


# ---- drawing


def test_pictures_are_written(tmp_path):
    for name in ("a.svg", "a.png", "a.pdf"):
        call("draw", TINY, "-o", str(tmp_path / name))
        assert (tmp_path / name).stat().st_size > 1000
    tree = ElementTree.parse(tmp_path / "a.svg")
    assert tree.getroot().tag.endswith("svg")
    call("show", TINY, "--out", str(tmp_path / "b.svg"))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()  # the same graph, the same picture
    with pytest.raises(TopologyError, match=r"the ending '.gif' is not known"):
        call("draw", TINY, "-o", str(tmp_path / "a.gif"))
    with pytest.raises(TopologyError, match="cannot be written"):
        call("draw", TINY, "-o", str(tmp_path / "no" / "a.svg"))
    with pytest.raises(TopologyError, match="Draw populations instead"):
        draw_topology(load_topology(ROOT / "topologies" / "mnist_mlp.yaml"), detail="neurons")


def test_views_are_drawn_and_what_is_left_out_is_said(tmp_path):
    result = call("draw", TINY, "--view", "matrix", "-o", str(tmp_path / "a.svg"))
    assert result.stdout == f"{tmp_path / 'a.svg'}\n"
    assert "<image" in (tmp_path / "a.svg").read_text()
    result = call("draw", "irregular_dag", "--view", "all", "-o", str(tmp_path / "b.svg"))
    assert result.stderr == f"{tmp_path / 'b.svg'}: no nodes: they are drawn up to 160 neurons and 2,500 synapses\n"
    assert (tmp_path / "b.svg").stat().st_size < 1_000_000
    assert "'circle' is not one of" in call("draw", TINY, "--view", "circle", "-o", str(tmp_path / "c.svg"), code=2).output


def test_large_graphs_are_boxes():
    texts = [text.get_text() for text in draw_topology(load_topology(ROOT / "topologies" / "mnist_mlp.yaml")).axes[0].texts]
    assert {"input", "28 x 28", "hidden", "512", "output", "10", "401,408 dense", "5,120 dense"} <= set(texts)
    boxes, links = population_layout(load_topology(ROOT / "topologies" / "residual.yaml"))
    assert len(boxes) == 9
    assert [link.label for link in links if link.style == "fixed"] == ["48 fixed"] * 3
    assert all(link.lane for link in links if link.style == "fixed")  # over the boxes, not through them
    columns = [box.x for box in boxes]
    assert len(set(zip(columns, (box.y for box in boxes)))) == len(boxes)


def test_graphs_without_populations_are_grouped_by_level():
    boxes, _ = population_layout(load_topology(ROOT / "topologies" / "growing.json"))
    assert [box.name for box in boxes][:2] == ["inputs", "outputs"]
    assert sum(box.size for box in boxes) == 184
    n = 300
    chain = build_topology(
        {
            "neurons": [f"n{i}" for i in range(n)],
            "inputs": "n0",
            "outputs": f"n{n - 1}",
            "synapses": [[f"n{i}", f"n{i + 1}"] for i in range(n - 1)],
        }
    )
    assert len(population_layout(chain)[0]) <= 24


@settings(max_examples=40, deadline=None)
@given(topology=st.booleans().flatmap(lambda cyclic: topologies(cyclic=cyclic, attributes=True)))
def test_neurons_do_not_lie_on_each_other(topology):
    spot, _ = neuron_positions(topology)
    apart = np.linalg.norm(spot[:, None] - spot[None], axis=2)[~np.eye(len(spot), dtype=bool)]
    assert len(spot) == 1 or apart.min() > 0.55  # circles have a radius of 0.26
    level = topology.levels
    for i, j in zip(topology.senders, topology.receivers):
        assert level[i] == level[j] or spot[i][0] < spot[j][0]  # synapses lead to the right, but for cycles


@settings(max_examples=10, deadline=None)
@given(topology=topologies(cyclic=True, attributes=True, wild_names=True), detail=st.sampled_from(["neurons", "populations"]))
def test_anything_small_can_be_drawn(topology, detail):
    import io
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that the font lacks
        draw_topology(topology, detail=detail).savefig(io.BytesIO(), format="svg")


def test_sample_draws_lists_and_saves(tmp_path):
    """Graphs of a seed are the same whether listed or saved, and a file of families has its faults by line."""
    rows = json.loads(call("sample", "layered", "small_world", "--count", "3", "--seed", "4", "--json").stdout)
    call("sample", "layered", "small_world", "--count", "3", "--seed", "4", "-o", str(tmp_path / "out"), "--draw")
    for row in rows:
        assert load_topology(tmp_path / "out" / f"{row['graph']}.graphml").digest == row["digest"]
        assert (tmp_path / "out" / f"{row['graph']}.svg").exists()
    assert {row["family"] for row in rows} <= {"layered", "small_world"}
    assert "small_world: A ring whose neighbours talk both ways" in call("sample", "--list").output
    spec = tmp_path / "families.yaml"
    spec.write_text("- {family: layered, depth: 2, width: 5}\n")
    few = json.loads(
        call("sample", "--spec", str(spec), "--num-inputs", "3", "--num-outputs", "2", "--count", "1", "--json").stdout
    )
    assert few[0]["neurons"] == 15
    spec.write_text("- layered\n- {family: layered, widht: 5}\n")
    with pytest.raises(
        SpecError, match=r"families.yaml:2:\d+ at \[1\].widht: unknown key 'widht' of family layered; did you mean"
    ):
        call("sample", "--spec", str(spec))
    assert "give one of them" in call("sample", "layered", "--spec", str(spec), code=2).output
    assert "--draw needs --out FOLDER" in call("sample", "--draw", code=2).output
