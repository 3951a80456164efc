"""Ticks that settle, damping, and the expected length of a walk back: topologies and their files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurograph.errors import SpecError, TopologyError
from neurograph.testing.graphs import random_topology
from neurograph.topology import Topology, load_topology, save_topology

LOOP = Topology(tuple("abcde"), [0, 1, 2, 3, 2], [2, 3, 3, 2, 4], [0, 1], [4], schedule="mixed", ticks=3)  # type: ignore[arg-type]


# ---- what the content is


def test_graphs_without_damping_and_tolerance_keep_their_digests():
    """Files of older versions hold them: this one was computed by a version without either."""
    assert LOOP.digest == "a04fc10efcb146e4fef0d807ad89edc6bfbbb33a2a45b22bf0b988d0b48297db"
    others = [LOOP.replace(damping=0.5), LOOP.replace(tolerance=0.5), LOOP.replace(damping=0.5, tolerance=0.5)]
    assert len({LOOP.digest, *(t.digest for t in others)}) == 4


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"damping": 1.0}, "damping: got 1.0"),
        ({"damping": -0.1}, "damping: got -0.1"),
        ({"damping": "half"}, "damping: got 'half'; expected a number."),
        ({"tolerance": -1.0}, "tolerance: got -1.0"),
        ({"tolerance": True}, "tolerance: got True; expected a number."),
    ],
)
def test_numbers_that_are_refused(changes, expected):
    with pytest.raises(TopologyError) as error:
        LOOP.replace(**changes)
    assert expected in str(error.value)


# ---- ticks: settle


def settles(t: Topology, tolerance: float = 1e-4, damping: float = 0.0) -> bool:
    return (t.schedule, t.ticks, t.tolerance, t.damping) == ("mixed", 100, tolerance, damping)


def test_a_schedule_of_ticks_that_settle():
    assert settles(LOOP.with_schedule("mixed", "settle"))
    assert settles(LOOP.with_schedule("mixed", "settle", tolerance=0.01, damping=0.5), 0.01, 0.5)
    assert "mixed x up to 100)" in repr(LOOP.with_schedule("mixed", "settle"))
    with pytest.raises(TopologyError, match="ticks: got 'rest'; expected an integer, or settle"):
        LOOP.with_schedule("mixed", "rest")  # type: ignore[arg-type]


YAML = """
schedule: mixed
ticks: settle
populations: {x: 2, h: 3, y: 1}
inputs: x
outputs: y
connections:
  - {kind: dense, from: x, to: h}
  - {kind: dense, from: h, to: h}
  - {kind: dense, from: h, to: y}
"""


def test_ticks_that_settle_in_yaml(tmp_path):
    def load(text: str, **options) -> Topology:
        (tmp_path / "t.yaml").write_text(text)
        return load_topology(tmp_path / "t.yaml", **options)

    assert settles(load(YAML))
    assert settles(load(YAML + "tolerance: 0.01\ndamping: 0.5\n"), 0.01, 0.5)
    numbered = YAML.replace("settle", "3")
    assert load(numbered).ticks == 3
    assert settles(load(numbered + "damping: 0.5\n", ticks="settle"), damping=0.5)
    with pytest.raises(SpecError, match="at ticks: got 'rest'; expected an integer from 1 to 1,000,000, or settle"):
        load(YAML.replace("settle", "rest"))
    flat = "schedule: levels\n" + YAML.replace("schedule: mixed\nticks: settle\n", "").replace("from: h, to: h", "from: x, to: y")
    for line in ("damping: 0.5", "tolerance: 0.1"):
        with pytest.raises(SpecError, match="schedule levels has no ticks that could settle; allowed with synchronous, mixed"):
            load(flat + line)


@pytest.mark.parametrize("ending", [".graphml", ".gml", ".json", ".csv", ".yaml"])
def test_damping_and_tolerance_in_files(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    for t in (LOOP, LOOP.with_schedule("mixed", "settle", damping=0.25)):
        save_topology(t, path)
        again = load_topology(path)
        assert (again, again.damping, again.tolerance) == (t, t.damping, t.tolerance)
    save_topology(LOOP, path)
    assert settles(load_topology(path, ticks="settle"))


@pytest.mark.parametrize("ending", [".graphml", ".json"])
def test_the_word_settle_in_graph_files(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    save_topology(LOOP, path)
    text = path.read_text()
    if ending == ".json":
        changed = text.replace('"ticks": 3', '"ticks": "settle"')
    else:
        key = next(line for line in text.splitlines() if 'attr.name="ticks"' in line)
        name = key.split('id="')[1].split('"')[0]
        changed = text.replace(key, key.replace("int", "string")).replace(f'<data key="{name}">3<', f'<data key="{name}">settle<')
    assert changed != text
    path.write_text(changed)
    assert settles(load_topology(path))


# ---- D


def expected_walk(t: Topology) -> float:
    """By linear algebra: l = 1 + P l where neurons may move, 0 at inputs."""
    n, inputs = t.num_neurons, set(t.inputs.tolist())
    free = [j for j in range(n) if j not in inputs and not t.unreachable[j]]
    place = {j: number for number, j in enumerate(free)}
    system = np.eye(len(free))
    for j in free:
        senders = [i for i, r in zip(t.senders.tolist(), t.receivers.tolist()) if r == j and not t.unreachable[i]]
        for i in senders:
            if i in place:
                system[place[j], place[i]] -= 1 / len(senders)
    lengths = np.linalg.solve(system, np.ones(len(free)))
    return float(np.mean([lengths[place[j]] for j in t.outputs.tolist()]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), cyclic=st.booleans())
def test_the_length_of_a_walk_solves_its_equations(seed, cyclic):
    kind = {"cyclic": True, "schedule": "mixed", "ticks": 2, "projecting": True} if cyclic else {}
    t = random_topology(seed, **kind)
    assert t.walk_length == pytest.approx(expected_walk(t), rel=1e-6)


def test_the_length_of_a_walk_is_that_of_walks():
    t = random_topology(11, cyclic=True, schedule="mixed", ticks=2)
    assert not t.is_acyclic
    rng, steps = np.random.default_rng(0), []
    reached, inputs = ~t.unreachable, set(t.inputs.tolist())
    sources = {j: t.senders[(t.receivers == j) & reached[t.senders]] for j in range(t.num_neurons)}
    for _ in range(4000):
        at, taken = int(rng.choice(t.outputs)), 0
        while at not in inputs:
            at, taken = int(rng.choice(sources[at])), taken + 1
        steps.append(taken)
    error = np.std(steps) / len(steps) ** 0.5
    assert abs(np.mean(steps) - t.walk_length) < 4 * error


def test_the_lengths_of_walks_in_plain_networks():
    assert load_topology("mlp").walk_length == pytest.approx(3)
    assert load_topology("deep_mlp").walk_length == pytest.approx(9)
