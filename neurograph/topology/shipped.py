"""The topologies that need no file of one's own: those that come with neurograph, and layer widths."""

from __future__ import annotations

import os
import re
from pathlib import Path

from neurograph.documents import named_file
from neurograph.errors import TopologyError

__all__ = ["layer_widths", "shipped_files", "shipped_folder", "shipped_names", "topology_file"]

_PLACES = (Path(__file__).parent.parent / "topologies", Path(__file__).parent.parent.parent / "topologies")
_ENDINGS = (".yaml", ".yml", ".graphml", ".gml", ".gexf", ".json", ".csv")
_WIDTHS = re.compile(r"[0-9]+(?:-[0-9]+)+")
_MEANT = re.compile(r"[0-9][^./\\]*-[^./\\]*")  # neither a folder nor an ending


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


def layer_widths(name: str | os.PathLike[str]) -> list[int] | None:
    """The neurons of every layer where a name is layer widths, [2, 20, 2] of "2-20-2"; None where it is no such name.

    Raises:
      TopologyError: the name begins as widths do and cannot be: "2--2", "2-x-2", "0-2".
    """
    text = os.fspath(name)
    if not isinstance(text, str) or not _MEANT.fullmatch(text) or text in shipped_files():
        return None
    parts = text.split("-") if _WIDTHS.fullmatch(text) else []
    if not parts or any(len(part) > 18 or int(part) < 1 for part in parts):
        wrong = next((part for part in text.split("-") if not re.fullmatch("0*[1-9][0-9]{,17}", part)), "")
        raise TopologyError(
            f"{text[:200]}: no such file, no shipped topology of that name, and no layer widths: got {wrong[:40]!r}; expected"
            " whole numbers above 0 with - between, such as 2-20-2."
        )
    return [int(part) for part in parts]


def topology_file(name: str | os.PathLike[str], beside: Path | None = None) -> Path:
    """The file of a topology: a path (also relative to the folder `beside`), or a shipped one's name, such as "mlp".

    Layer widths, such as "2-20-2", have no file: they are returned as they are, and `load_topology` reads them.

    Raises:
      TopologyError: no such file and no such name, or a file whose name could be layer widths.
    """
    path = Path(name)
    if _MEANT.fullmatch(str(path)):
        for place in (path, *([beside / path] if beside else [])):
            if _is_file(place):
                raise TopologyError(
                    f"{str(place)[:200]}: is a file without an ending, or layer widths; give the file another name."
                )
        if layer_widths(path):
            return path
    return named_file(name, shipped_files(), "topology", TopologyError, beside)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a file name may be
        return False
