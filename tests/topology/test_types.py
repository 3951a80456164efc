"""The annotations of arrays hold at run time."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import misfits

from neurograph.topology import Topology, load_topology
from neurograph.topology.language.builders import Edges


@pytest.mark.parametrize("name", ["tiny", "irregular_2d", "conv_shared", "small_world"])
def test_the_arrays_of_a_topology(name):
    graph = load_topology(name)
    assert misfits(graph) == []
    for attribute in ("components", "levels", "unreachable", "dead_end", "dead"):
        assert getattr(graph, attribute).shape == (graph.num_neurons,)
    unequal = Topology.__new__(Topology)
    unequal.__setstate__({**graph.__getstate__(), "weight": graph.weight[1:].copy()})
    assert misfits(unequal) == ["weight"]


def test_the_edges_of_a_builder():
    ends = np.arange(3)
    assert misfits(Edges(ends, ends, np.ones(3), True, np.zeros(3, np.int64))) == []
    assert misfits(Edges(ends, ends, np.ones(2))) == ["weight"]
    assert misfits(Edges(np.arange(3.0), ends)) == ["senders"]
