"""The topologies that come with neurograph, by name."""

from __future__ import annotations

import os
from pathlib import Path

from neurograph.documents import named_file
from neurograph.errors import TopologyError

__all__ = ["shipped_files", "shipped_folder", "shipped_names", "topology_file"]

_PLACES = (Path(__file__).parent.parent / "topologies", Path(__file__).parent.parent.parent / "topologies")
_ENDINGS = (".yaml", ".yml", ".graphml", ".gml", ".gexf", ".json", ".csv")


def shipped_folder() -> Path:
    """Where the shipped topologies are: in the package, or beside it in a clone."""
    return next((folder for folder in _PLACES if folder.is_dir()), _PLACES[0])


def shipped_files() -> dict[str, Path]:
    """Files of the shipped topologies, by name."""
    folder = shipped_folder()
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in _ENDINGS} if folder.is_dir() else {}


def shipped_names() -> list[str]:
    """Names of the shipped topologies, sorted."""
    return sorted(shipped_files())


def topology_file(name: str | os.PathLike[str], beside: Path | None = None) -> Path:
    """The file of a topology: a path (also relative to the folder `beside`), or a shipped one's name, such as "mlp".

    Raises:
      TopologyError: no such file and no such name.
    """
    return named_file(name, shipped_files(), "topology", TopologyError, beside)
