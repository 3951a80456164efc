"""The topologies that come with neurograph, by name."""

from __future__ import annotations

import os
from pathlib import Path

from neurograph.errors import TopologyError

__all__ = ["shipped_folder", "shipped_names", "topology_file"]

_PLACES = (Path(__file__).parent.parent / "topologies", Path(__file__).parent.parent.parent / "topologies")
_ENDINGS = (".yaml", ".yml", ".graphml", ".gml", ".gexf", ".json", ".csv")


def shipped_folder() -> Path:
    """Where the shipped topologies are: in the package, or beside it in a clone."""
    return next((folder for folder in _PLACES if folder.is_dir()), _PLACES[0])


def shipped_names() -> list[str]:
    """Names of the shipped topologies, sorted."""
    folder = shipped_folder()
    return sorted({path.stem for path in folder.iterdir() if path.suffix in _ENDINGS}) if folder.is_dir() else []


def topology_file(name: str | os.PathLike[str], beside: Path | None = None) -> Path:
    """The file of a topology: a path (also relative to the folder `beside`), or a shipped one's name, such as "mlp".

    Raises:
      TopologyError: no such file and no such name.
    """
    path = Path(name)
    for candidate in (path, *([beside / path] if beside else [])):
        if candidate.is_file():
            return candidate
    folder = shipped_folder()
    for candidate in (folder / path.name, *(folder / f"{path.name}{ending}" for ending in _ENDINGS)):
        if candidate.is_file():
            return candidate
    raise TopologyError(
        f"topology {str(name)!r}: no such file, and no shipped topology of that name; there are: {', '.join(shipped_names())}"
    )
