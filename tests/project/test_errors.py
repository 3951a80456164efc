"""Messages fit on a screen, whatever the input, and errors survive a pickle."""

from __future__ import annotations

import pickle

import networkx as nx
import numpy as np
import pytest

import neurograph as ng
from neurograph.errors import LONGEST_LINE, MOST_CHARACTERS, MOST_LINES, Fault, screenful
from neurograph.topology.validate import Flaw, InvalidGraph

LONG = "x" * 200_000


def test_short_messages_stay_as_they_are():
    for text in ("", "a fault.", "one\ntwo\n", "y" * LONGEST_LINE, "line\n" * (MOST_LINES - 1)):
        assert screenful(text) == text == str(ng.NeurographError(text))


def test_long_lines_lose_their_middle_and_many_lines_their_end():
    text = screenful(f"path: got {LONG}; expected a number.")
    assert text.startswith("path: got xxx")
    assert text.endswith("xxx; expected a number.")
    assert len(text) <= LONGEST_LINE
    lines = screenful("\n".join(f"line {number}" for number in range(1, 1001))).split("\n")
    assert lines[-2:] == [f"line {MOST_LINES - 1}", f"... and {1001 - MOST_LINES} more lines."]
    assert len(screenful("\n".join([LONG] * 1000))) <= MOST_CHARACTERS + 100


@pytest.mark.parametrize(
    "make",
    [
        lambda: ng.get_task(LONG),
        lambda: ng.get_task("xor", **{LONG: 1}),
        lambda: ng.get_task("digits", classes=["a" * 9] * 100_000),
        lambda: ng.get_task("moons", noise=LONG),
        lambda: ng.from_arrays(np.zeros((4, 2)), [LONG, "b"] * 2, validation=LONG),
        lambda: ng.from_arrays(np.zeros((4, 2)), np.arange(4) % 2, names=[LONG, LONG]),
        lambda: ng.load_topology(LONG),
        lambda: ng.Topology((LONG,) * 500, [0], [1], [0], [1]),
        lambda: ng.Topology(("a", "b"), [0], [1], [0], [1], schedule=LONG),  # type: ignore[arg-type]
        lambda: ng.from_networkx(nx.DiGraph([(0, 1)]), inputs=list(range(100_000)), outputs=LONG),
        lambda: ng.from_networkx(nx.DiGraph([(0, 1)]), inputs={LONG: LONG}, outputs=[1]),
        lambda: ng.build_topology({LONG: 1, "populations": LONG}),
        lambda: ng.build_topology({str(number): LONG for number in range(1000)}),
        lambda: ng.load_genome_file(LONG),
        lambda: ng.Rule(forward_activation=LONG),  # type: ignore[arg-type]
    ],
)
def test_no_message_repeats_a_long_input(make):
    with pytest.raises(ng.NeurographError) as caught:
        make()
    assert 0 < len(str(caught.value)) <= MOST_CHARACTERS + 500
    assert str(caught.value).count("\n") <= MOST_LINES


def test_a_file_of_long_lines_is_refused_on_a_screen(tmp_path):
    for name, text in (
        ("graph.yaml", f"{LONG}: 1\n"),
        ("graph.json", '{"nodes": [{"id": "a", "role": "' + LONG + '"}], "links": []}'),
        ("graph.gml", f"graph [ directed {LONG} ]"),
        ("graph.csv", f"{LONG},b\n"),
        ("graph.csv", f"source,target,weight\na,b,{LONG}\n"),
        ("graph.graphml", f'<graphml><graph edgedefault="{LONG}"></graph></graphml>'),
        ("graph.gexf", f'<gexf><graph><edge type="{LONG}"/></graph></gexf>'),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ng.TopologyError) as caught:
            ng.load_topology(tmp_path / name)
        assert 0 < len(str(caught.value)) <= MOST_CHARACTERS + 500


@pytest.mark.parametrize(
    "error",
    [
        ng.SpecError([Fault("wrong.", "graph.yaml", 3), Fault("also wrong.")]),
        ng.MissingExtraError("pillow", "data", "reading images"),
        InvalidGraph([Flaw("a fault.", "neuron", 2)]),
        ng.TaskError("x: got 5."),
    ],
)
def test_errors_survive_a_pickle(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.__dict__) == (str(error), error.__dict__)
