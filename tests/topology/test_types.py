"""The annotations of arrays hold at run time."""

from __future__ import annotations

import typing

import jaxtyping
import numpy as np
import pytest
from beartype import beartype

from neurograph.topology import Topology, load_topology
from neurograph.topology.language.builders import Edges


def checked(function):
    """The function, its arguments and what it returns checked against their annotations."""
    return jaxtyping.jaxtyped(function, typechecker=beartype)


def fields_hold(value, cls: type) -> bool:
    """Whether the annotated fields of a value have their types, their dimensions one size each."""
    hints = typing.get_type_hints(cls)
    with jaxtyping.jaxtyped("context"):
        return all(isinstance(getattr(value, name), hint) for name, hint in hints.items() if "jaxtyping" in str(hint))


@pytest.mark.parametrize("name", ["tiny", "irregular_2d", "conv_shared", "small_world"])
def test_the_arrays_of_a_topology(name):
    graph = load_topology(name)
    assert fields_hold(graph, Topology)
    for attribute in ("components", "levels", "unreachable", "dead_end", "dead"):
        described = getattr(Topology, attribute)
        function = described.fget if isinstance(described, property) else described.func
        assert checked(function)(graph).shape == (graph.num_neurons,)
    unequal = Topology.__new__(Topology)
    unequal.__setstate__({**graph.__getstate__(), "weight": graph.weight[1:].copy()})
    assert not fields_hold(unequal, Topology)


def test_the_edges_of_a_builder():
    checked(Edges)(np.arange(3), np.arange(3), np.ones(3), True, np.zeros(3, np.int64))
    with pytest.raises(jaxtyping.TypeCheckError):
        checked(Edges)(np.arange(3), np.arange(3), np.ones(2))
    with pytest.raises(jaxtyping.TypeCheckError):
        checked(Edges)(np.arange(3.0), np.arange(3))
