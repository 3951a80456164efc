"""The kinds of connections that a topology file may use. `register_builder` adds one."""

from __future__ import annotations

from neurograph.topology.language.builders.base import (
    BUILDERS,
    Builder,
    Canvas,
    Edges,
    Group,
    Projection,
    Within,
    register_builder,
)
from neurograph.topology.language.builders.images import AveragePool, Convolution
from neurograph.topology.language.builders.networks import BarabasiAlbert, ErdosRenyi, Grid, Ring, StochasticBlock, WattsStrogatz
from neurograph.topology.language.builders.projections import Dense, Highway, Local, OneToOne, Random, Residual

__all__ = [
    "BUILDERS",
    "AveragePool",
    "BarabasiAlbert",
    "Builder",
    "Canvas",
    "Convolution",
    "Dense",
    "Edges",
    "ErdosRenyi",
    "Grid",
    "Group",
    "Highway",
    "Local",
    "OneToOne",
    "Projection",
    "Random",
    "Residual",
    "Ring",
    "StochasticBlock",
    "WattsStrogatz",
    "Within",
    "register_builder",
]
