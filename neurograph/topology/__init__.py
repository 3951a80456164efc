"""Graphs: what a network is made of, before any learning. NumPy, SciPy and networkx only."""

from __future__ import annotations

from neurograph.topology.convert import from_networkx
from neurograph.topology.files import FORMATS, load_topology, save_topology
from neurograph.topology.graph import Topology
from neurograph.topology.language.build import build_topology
from neurograph.topology.language.builders import BUILDERS, Builder, Canvas, Edges, Group, Projection, Within, register_builder
from neurograph.topology.layered import mlp
from neurograph.topology.validate import Limits

__all__ = [
    "BUILDERS",
    "FORMATS",
    "Builder",
    "Canvas",
    "Edges",
    "Group",
    "Limits",
    "Projection",
    "Topology",
    "Within",
    "build_topology",
    "from_networkx",
    "load_topology",
    "mlp",
    "register_builder",
    "save_topology",
]
