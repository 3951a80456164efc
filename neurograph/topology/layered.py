"""Nets of complete layers, the graphs most often wanted beside a given one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurograph.topology.graph import Topology

__all__ = ["layered_document", "mlp"]


def layered_document(*sizes: int | Sequence[int]) -> dict[str, Any]:
    """Returns the content of a topology file with complete layers: `input`, `hidden1`, ..., `output`.

    Args:
      sizes: neurons of every layer, the inputs first; a shape, such as (8, 8), where they are laid out.
    """
    names = ["input", *(f"hidden{number}" for number in range(1, len(sizes) - 1)), "output"]
    populations = {name: list(size) if isinstance(size, Sequence) else size for name, size in zip(names, sizes, strict=True)}
    connections = [{"kind": "dense", "from": a, "to": b} for a, b in itertools.pairwise(names)]
    title = "-".join("x".join(map(str, size)) if isinstance(size, list) else str(size) for size in populations.values())
    return {"title": title, "populations": populations, "inputs": "input", "outputs": "output", "connections": connections}


def mlp(*sizes: int | Sequence[int]) -> Topology:
    """A net of complete layers: `mlp(2, 20, 2)`.

    Args:
      sizes: as in `layered_document`.

    Raises:
      SpecError: a width below 1.

    Examples:
      >>> import neurograph as ng
      >>> ng.mlp(2, 20, 2) == ng.load_topology("2-20-2")
      True
    """
    from neurograph.topology.language.build import build_topology

    return build_topology(layered_document(*sizes))
