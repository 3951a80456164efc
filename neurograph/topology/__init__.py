"""Graphs: what a network is made of, before any learning. NumPy, SciPy and networkx only."""

from __future__ import annotations

from neurograph.topology.graph import Topology
from neurograph.topology.validate import Limits

__all__ = ["Limits", "Topology"]
