"""The topology language: what is read, every message, hostile input, and fuzzing of all readers."""

from __future__ import annotations

import os
import re
import time
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed import CASES, GOOD, message_of

from neurograph.documents import parse_yaml, scalar
from neurograph.errors import NeurographError, SpecError, TopologyError
from neurograph.topology import BUILDERS, FORMATS, Limits, build_topology, load_topology, save_topology

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for path in (ROOT / "topologies").iterdir() if path.suffix in FORMATS)


def load(tmp_path: Path, text: str, **options):
    path = tmp_path / "graph.yaml"
    path.write_text(text, encoding="utf-8")
    return load_topology(path, **options)


# ---- what is read


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_shipped_topologies(path, tmp_path):
    """Every shipped file loads, tells its story, stays small, and goes through two other formats unchanged."""
    t = load_topology(path)
    assert t.title
    assert len(t.description) > 20
    assert path.stat().st_size < 300_000
    if t.num_synapses < 20_000:
        for ending in (".graphml", ".yaml"):
            save_topology(t, tmp_path / f"graph{ending}")
            assert load_topology(tmp_path / f"graph{ending}") == t


def test_there_are_enough_topologies_for_the_digits():
    assert len(FILES) >= 20
    fitting = [path for path in FILES if (len((t := load_topology(path)).inputs), len(t.outputs)) == (64, 10)]
    assert len(fitting) >= 20


def test_made_files_are_as_their_script_makes_them(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "topologies"))
    import make_graph_files as make

    for name, made in (("connectome.graphml", make.connectome), ("growing.json", make.growing), ("stages.csv", make.tangle)):
        assert made() == load_topology(ROOT / "topologies" / name)


def test_numbers_and_words_follow_yaml_1_2():
    assert [scalar(text) for text in ("1e-3", "-2", "+5", ".5", "0", "1.", "true", "null", "~", "")] == [
        0.001,
        -2,
        5,
        0.5,
        0,
        1.0,
        True,
        None,
        None,
        None,
    ]
    for text in ("no", "yes", "on", "010", "1:30", "2020-01-01", "0x10", "1_000", "1e", "--1", "nan"):
        assert scalar(text) == text
    assert scalar(".inf") == float("inf")


PRINTABLE = st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp"), blacklist_characters="\ufeff\ufffe\uffff")


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(PRINTABLE, max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc 1:#", max_size=4), inner, max_size=4),
        max_leaves=20,
    )
)
def test_yaml_trees_hold_what_pyyaml_writes(data):
    assert parse_yaml(yaml.safe_dump(data, allow_unicode=True), "x").plain() == data


def test_options_override_the_file(tmp_path):
    t = load(tmp_path, GOOD, schedule="synchronous", ticks=4)
    assert (t.schedule, t.ticks) == ("synchronous", 4)
    assert load(tmp_path, GOOD + "schedule: mixed\nticks: 3\n", schedule="levels").schedule == "levels"
    assert load(tmp_path, GOOD).population_shapes == ((4,), (3,), (2,))
    with pytest.raises(TopologyError, match="states its own inputs and outputs"):
        load(tmp_path, GOOD, inputs="sources")
    with pytest.raises(SpecError, match="the limit is 8"):
        load(tmp_path, GOOD, limits=Limits(neurons=8))


def test_names_may_be_numbers_and_inputs_lists(tmp_path):
    t = load(tmp_path, "neurons: [3, 1, 2]\ninputs: [1, 3]\noutputs: 2\nsynapses: [[1, 2], [3, 2, 0.25]]\n")
    assert t.names == ("3", "1", "2")
    assert t.inputs.tolist() == [1, 0]
    assert t.weight.tolist()[1] == 0.25
    t = load(
        tmp_path,
        "populations: {a: 2, b: 1}\nneurons: [c]\ninputs: [c, a.1, a.0]\noutputs: b\n"
        "connections: [{kind: dense, from: c, to: b}]\n",
    )
    assert [t.names[i] for i in t.inputs] == ["c", "a.1", "a.0"]


def test_a_description_in_python_may_use_tuples_and_models():
    from neurograph.topology.language.builders import Convolution, Dense
    from neurograph.topology.language.spec import TopologySpec

    spec = {
        "populations": {"x": (4, 4), "c": (4, 4, 2), "y": 2},
        "inputs": ("x",),
        "outputs": "y",
        "connections": [Convolution(from_="x", to="c", kernel=(3, 3)), Dense(from_="c", to="y")],
    }
    t = build_topology(spec)
    assert t == build_topology(TopologySpec.model_validate(spec))
    assert t.population_shapes[1] == (4, 4, 2)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            "populations: {a: {members: [x, q]}}",
            r"populations.a.members\[1\]: 'q' is not one of the file's `neurons`; allowed: x, y",
        ),
        ("populations: {a: {members: [y, x]}}", "members must stand in the order of `neurons`"),
        ("populations: {a: {members: [x, y], shape: [3]}}", r"the shape \(3,\) has 3 places for 2 members"),
        ("populations: {a: {members: [x], size: 1}}", "takes no size and no bias"),
        ("populations: {a: {size: 2, shape: [2]}}", "give either size or shape"),
        ("populations: {a: {}}", "give either size or shape"),
        ("cells: [{name: c, repeat: 2, from: zz, populations: {a: 1}, connections: [{kind: x}], output: a}]", "unknown kind 'x'"),
        ("cells: [{name: c, repeat: 0, from: x, populations: {a: 1}, connections: [{}], output: b}]", "missing key `kind`"),
        ("cells: [{name: c, repeat: 1, from: x, populations: {a: 1}, connections: [], output: a}]", "at least 1 value"),
        (
            "cells: [{name: c, repeat: 100000, from: x, populations: {a: 1000}, connections: [5], output: a}]",
            "got 5; expected a mapping",
        ),
        ("cells: 5", "cells: got 5; expected a list"),
        ("connections: {a: b}", "connections: got a mapping; expected a list"),
        ("title: [a]", "title: got a list; expected text"),
        ("schedule: mixed", "schedule mixed needs ticks"),
        ("seed: -1", "seed: got -1; expected an integer >= 0"),
        ("seed: 1.5", "seed: got 1.5; expected an integer"),
        ("connections: [{kind: ring, within: x, reach: true}]", "reach: got true; expected an integer"),
        ("connections: [{kind: dense, from: x, to: y, weight: .inf}]", "weight: got inf; expected a finite number"),
        (
            "connections: [{kind: dense, from: x, to: y, fixed: yes, weight: 1}]",
            r"got 'yes'; expected true or false \(yes, no, on and off",
        ),
        ("connections: [{kind: dense, from: x, to: [y]}]", "to: got a list; expected text"),
        ("connections: [{kind: [dense]}]", "unknown kind a list"),
    ],
)
def test_more_messages(tmp_path, extra, message):
    with pytest.raises(SpecError, match=message):
        load(tmp_path, f"neurons: [x, y]\ninputs: x\noutputs: y\nsynapses: [[x, y]]\n{extra}\n")


def test_a_cell_that_fails_is_told_once(tmp_path):
    text = (
        GOOD
        + "cells: [{name: c, repeat: 50, from: input, populations: {a: 2}, "
        + "connections: [{kind: dense, from: b, to: a}], output: a}]\n"
    )
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text)
    assert len(caught.value.faults) == 1
    assert "there is no population or neuron 'b'" in str(caught.value)


# ---- what is refused


@pytest.mark.parametrize(("what", "name", "content"), CASES, ids=[what for what, _, _ in CASES])
def test_malformed_files(tmp_path, what, name, content):
    """One message without a traceback, in a second and a few megabytes; it names the line where the file has lines."""
    tracemalloc.start()
    start = time.process_time()
    message = message_of(tmp_path, name, content)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message.startswith(name)
    assert seconds < 5
    assert peak < 150e6
    assert len(message) < 1000


def test_the_tables_of_the_documentation_are_true(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import make_topology_tables

    page = make_topology_tables.PAGE.read_text(encoding="utf-8")
    assert page == make_topology_tables.render(page), "run: python docs/make_topology_tables.py"


def test_the_examples_of_the_documentation_work(tmp_path):
    page = (ROOT / "docs" / "topologies.md").read_text(encoding="utf-8")
    whole = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if block.startswith("title:"))
    t = load(tmp_path, whole)
    assert (len(t.inputs), len(t.outputs)) == (64, 10)
    assert t.group.max() == 0
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class EveryOther" in block)
    try:
        exec(compile(code, "docs/topologies.md", "exec", dont_inherit=True), {"__name__": "docs"})
        assert "every_other" in BUILDERS
    finally:
        BUILDERS.pop("every_other", None)


def test_unreadable_files(tmp_path):
    with pytest.raises(TopologyError, match="cannot be read"):
        load_topology("a\0b.yaml")
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(TopologyError, match="is not a regular file"):
        load_topology(pipe)
    with pytest.raises(TopologyError, match=r"the ending '.xml' is not known; allowed: .yaml"):
        load_topology("graph.xml")
    with pytest.raises(TopologyError, match=r"mpl: no such file, and no shipped topology of that name; did you mean 'mlp'\?"):
        load_topology("mpl")
    assert load_topology("tiny").digest == load_topology(ROOT / "topologies" / "tiny.yaml").digest
    t = load_topology(ROOT / "topologies" / "tiny.yaml")
    with pytest.raises(TopologyError, match="cannot be written"):
        save_topology(t, tmp_path / "no" / "graph.yaml")
    for name in ("tiny", "new"):  # written to where it says, never in the place of a shipped one
        with pytest.raises(TopologyError, match=r"the ending '' is not known"):
            save_topology(t, name)
    with pytest.raises(TopologyError, match=r"the ending '.png' is not known"):
        save_topology(t, tmp_path / "graph.png")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.yaml"]


def test_hostile_sizes_cost_nothing(tmp_path):
    """Long names, long spaces and many unknown names neither hang nor flood the screen."""
    long = "a" * 2_000_000
    cases = {
        "long.yaml": f"neurons: [{long}]\ninputs: {long}\noutputs: b\n",
        "key.yaml": f"{long}: 1\n",
        "kind.yaml": GOOD.replace("kind: dense, from: input", f"kind: {'b' * 500_000}, from: input"),
        "name.csv": f"source,target\n{'a' * 100_000},b\n",
        "field.csv": f"source,target\n{long},b\n",
        "spaces.gml": "graph [" + " " * 2_000_000 + "}",
        "edges.gml": "graph [ directed 1 " + ("edge [ source 1 target 2" + " " * 50 + "x") * 20_000,
        "quotes.gml": 'graph [ label "' + "a " * 1_000_000,
        "name.graphml": f'<graphml><graph><node id="{long}"/></graph></graphml>',
        "deep.yaml": "[" * 100_000,
        "deep.graphml": "<graphml>" + "<a>" * 200_000,
        "attributes.gexf": "<gexf " + " ".join(f'a{i}="1"' for i in range(100_000)) + "/>",
        "unknown.json": '{"nodes": [], "links": [' + ",".join(['{"source": 1, "target": 2}'] * 50_000) + "]}",
        "digits.json": '{"nodes": [{"id": ' + "9" * 10_000 + '}], "links": []}',
        "digits.yaml": f"populations: {{a: {'9' * 10_000}}}\n",
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        start = time.process_time()
        with pytest.raises(NeurographError) as caught:
            load_topology(path)
        assert time.process_time() - start < 5, name
        assert len(str(caught.value)) < 1500, name
