"""Copies of topology files in FOLDER/topologies, found by the names that the configuration of the run gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neurograph.documents import parse_json
from neurograph.files import write_atomically
from neurograph.topology.shipped import layer_widths, shipped_files

__all__ = ["keep_topology", "kept_topology"]

PLACE, INDEX, FORMAT = "topologies", "index.json", "neurograph-kept-topologies"
MAX_BYTES = 100_000_000  # larger files stay where they are


def kept_topology(folder: Path | None, name: str | Path) -> Path | None:
    """Returns the copy of the topology `name` in the folder of a run, or None."""
    if folder is None:
        return None
    file = _index(folder).get(str(name))
    if not isinstance(file, str) or Path(file).name != file:  # a folder may come from anywhere: nothing outside of it
        return None
    path = folder / PLACE / file
    return path if path.is_file() else None


def keep_topology(folder: Path, name: str | Path, path: Path) -> None:
    """Copies the file `path` of the topology `name` over an older copy; shipped topologies by name are not copied, and layer
    widths have no file.

    Raises:
      OSError: the file cannot be read, or the folder cannot be written to.
    """
    known = kept_topology(folder, name)
    if path == shipped_files().get(str(name)) or layer_widths(name) or path.stat().st_size > MAX_BYTES:
        return
    if known and known.samefile(path):
        return
    index = _index(folder)
    file, number = known.name if known else path.name, 2
    while not known and (file in index.values() or file == INDEX):
        file, number = f"{path.stem}-{number}{path.suffix}", number + 1
    (folder / PLACE).mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PLACE / file, path.read_bytes())
    text = json.dumps({"format": FORMAT, "files": index | {str(name): file}}, indent=1, ensure_ascii=False)
    write_atomically(folder / PLACE / INDEX, text + "\n")


def _index(folder: Path) -> dict[str, Any]:
    """Returns names and their files; {} if there are none, or the index is damaged or not ours."""
    try:
        data = parse_json((folder / PLACE / INDEX).read_text(encoding="utf-8"))
        return dict(data["files"]) if data["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
