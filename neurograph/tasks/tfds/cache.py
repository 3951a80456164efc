"""Decoded arrays on disk: .npy files, checked and memory-mapped, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.files import cache_dir

__all__ = ["cache_dir", "cached"]

_INDEX = "index.json"


def cached(label: str, facts: Mapping[str, Any], make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that `make` returns, made once per `label` and `facts`.

    Args:
      label: readable part of the folder's name.
      facts: all that the arrays depend on (JSON values); any difference is another entry.
      make: called if there is no entry, or a damaged one (then with a warning).

    Returns:
      name -> read-only array, memory-mapped from the cache; what `make` returned if it cannot be written (with a warning).
    """
    text = json.dumps(facts, sort_keys=True)
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in label)
    place = cache_dir() / f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    try:
        return _load(place)
    except (FileNotFoundError, NotADirectoryError):
        damaged = place.is_dir()
    except (OSError, ValueError, KeyError, TypeError):
        damaged = True
    if damaged:
        warnings.warn(f"cache entry {place} is damaged; it is made again.", RuntimeWarning, stacklevel=2)
    arrays = make()
    try:
        _store(place, text, arrays)
        return _load(place)
    except (OSError, ValueError, KeyError) as error:
        warnings.warn(
            f"cannot keep decoded data in {place.parent} ({error}); the next start decodes it again. "
            "NEUROGRAPH_CACHE names another folder.",
            RuntimeWarning,
            stacklevel=2,
        )
        return arrays


def _load(place: Path) -> dict[str, np.ndarray]:
    index = json.loads((place / _INDEX).read_text())
    arrays = {}
    for name, digest in index["files"].items():
        array = np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if _digest(array) != digest:
            raise ValueError(f"checksum of {name}.npy")
        arrays[name] = array
    return arrays


def _digest(array: np.ndarray) -> str:
    head = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    head.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return head.hexdigest()


def _store(place: Path, facts: str, arrays: Mapping[str, np.ndarray]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    _sweep(place.parent)
    work = Path(tempfile.mkdtemp(prefix=".partial-", dir=place.parent))
    try:
        for name, array in arrays.items():
            np.save(work / f"{name}.npy", array, allow_pickle=False)
        files = {name: _digest(array) for name, array in arrays.items()}
        (work / _INDEX).write_text(json.dumps({"files": files, "facts": json.loads(facts)}, indent=1))
        work.chmod(0o755)  # mkdtemp makes it private; the cache may be shared
        if place.exists():  # Damaged: a complete one would have been loaded.
            shutil.rmtree(place, ignore_errors=True)
        try:
            work.rename(place)
        except OSError:
            _load(place)  # Another process was quicker, and its entry is whole.
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind more than a day ago."""
    for stale in root.glob(".partial-*"):
        try:
            if time.time() - stale.stat().st_mtime > 86_400:
                shutil.rmtree(stale, ignore_errors=True)
        except OSError:
            continue
