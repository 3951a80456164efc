"""Families of random graphs: within their ranges, the same from run to run, and told apart by what they are."""

from __future__ import annotations

import numpy as np
import pytest

from neurograph.errors import SpecError
from neurograph.topology import load_topology, save_topology
from neurograph.topology.language.families import FAMILIES, RandomTopologies

COUNT = 12


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_sound_graphs(name, tmp_path):
    """Ends as asked for, every input of use somewhere, cycles only where ticks are, files that read back."""
    drawn = RandomTopologies([name], inputs=16, outputs=3)
    graphs = [drawn.draw(5, number) for number in range(COUNT)]
    assert len({graph.digest for graph in graphs}) == COUNT
    for graph in graphs:
        assert (len(graph.inputs), len(graph.outputs), graph.title) == (16, 3, name)
        assert np.mean(graph.dead) < 0.35
        assert not graph.unreachable[graph.outputs].any()
    cyclic = np.mean([not graph.is_acyclic for graph in graphs])
    assert cyclic > 0.8 if name in ("recurrent", "small_world") else cyclic == 0
    save_topology(graphs[0], tmp_path / "graph.graphml")
    assert load_topology(tmp_path / "graph.graphml") == graphs[0]


def test_a_graph_does_not_depend_on_how_many_are_drawn():
    drawn = RandomTopologies(inputs=9, outputs=2)
    assert [drawn.draw(1, number) for number in (3, 7)] == [drawn.draw(1, number) for number in range(8)][3::4]
    assert drawn.draw(2, 3) != drawn.draw(1, 3)


def test_weights_and_ranges():
    families = [{"family": "layered", "weight": 3, "depth": 2, "width": [5, 7]}, {"family": "acyclic", "hidden": 20}]
    graphs = [RandomTopologies(families, inputs=4, outputs=2).draw(0, number) for number in range(200)]
    layered = [graph for graph in graphs if graph.title == "layered"]
    assert 120 < len(layered) < 180
    assert {graph.depth for graph in layered} == {3}
    widths = {int(size) for graph in layered for size in np.bincount(graph.population)[1:-1]}
    assert widths == {5, 6, 7}
    assert {graph.num_neurons for graph in graphs if graph.title == "acyclic"} == {26}
    degrees = [np.bincount(graph.receivers, minlength=26)[4:24] for graph in graphs if graph.title == "acyclic"]
    assert 3 <= np.min(degrees) <= 4
    assert np.max(degrees) > 15


def test_reach_is_how_far_synapses_go_back():
    far, near = (
        RandomTopologies([{"family": "acyclic", "hidden": 60, "reach": reach}], inputs=4, outputs=2).draw(0, 0)
        for reach in (1, 0.1)
    )
    assert near.depth > far.depth
    hidden = near.receivers < 64
    back = (near.receivers - near.senders)[hidden & (near.receivers >= 4 + 7)]
    assert back.max() <= 6


def test_faults_are_told_at_once():
    with pytest.raises(SpecError) as error:
        RandomTopologies([{"family": "layred"}, {"family": "layered", "widht": 3, "depth": [4, 2]}, 3], inputs=4, outputs=2)
    text = str(error.value)
    assert "unknown family 'layred'; did you mean 'layered'?" in text
    assert "unknown key 'widht' of family layered; did you mean 'width'?" in text
    assert "4 is more than 2" in text
    assert "got 3; expected a family" in text
    with pytest.raises(SpecError, match="family local, seed 0, graph 4: 10 inputs are no square grid"):
        RandomTopologies(["local"], inputs=10, outputs=2).draw(0, 4)
    assert "local" not in [family.name for family in RandomTopologies(inputs=10, outputs=2).families]
