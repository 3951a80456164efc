"""Pytrees on disk: written whole or not at all, checked when read, exact to the bit.

A checkpoint is one file: a line of JSON (format, configuration, checksum), then the arrays in NumPy's npz form.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.errors import ExperimentError
from neurograph.files import write_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]

FORMAT = "neurograph-checkpoint"
VERSION = 1


def save_checkpoint(path: Path, state: Any, *, config: dict[str, Any], extra: dict[str, Any] | None = None) -> None:
    """Writes a pytree of arrays (PRNG keys included) with its configuration and free JSON data."""
    arrays = {}
    for place, leaf in _leaves(state).items():
        key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        arrays[place] = np.asarray(jax.random.key_data(leaf) if key else leaf)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = buffer.getvalue()
    header = {"format": FORMAT, "version": VERSION, "sha256": hashlib.sha256(body).hexdigest()}
    header |= {"config": config, "extra": extra or {}}
    write_atomically(path, json.dumps(header).encode() + b"\n" + body)


def load_checkpoint(
    path: Path,
    like: Any,
    *,
    config: dict[str, Any],
    upgrade: Callable[[dict[str, Any]], dict[str, Any]] = lambda then: then,
    added: Mapping[str, str | None] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Reads a file of `save_checkpoint`.

    Args:
      like: a pytree of the same structure, whose leaves are replaced; NumPy leaves stay NumPy arrays.
      config: must equal the configuration that the checkpoint was written under.
      upgrade: completes the configuration of an older version before the two are compared.
      added: fields that an older version did not have: the field beside it that each takes its value from, or None where it
        stays as it is in `like`.

    Returns:
      `(state, extra)`.

    Raises:
      ExperimentError: the file cannot be read, is damaged, or has another format or configuration (the differences are named).
    """
    try:
        header_line, _, body = path.read_bytes().partition(b"\n")
        header = json.loads(header_line)
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ExperimentError(f"{path}: not a checkpoint") from error
    if not isinstance(header, dict) or (header.get("format"), header.get("version")) != (FORMAT, VERSION):
        raise ExperimentError(f"{path}: not a checkpoint of version {VERSION}")
    if hashlib.sha256(body).hexdigest() != header["sha256"]:
        raise ExperimentError(f"{path}: damaged (the checksum does not fit); delete it to start again")
    if differences := list(_differences(upgrade(header["config"]), json.loads(json.dumps(config)))):
        raise ExperimentError(f"{path}: written under another configuration: {'; '.join(differences)}")
    with np.load(io.BytesIO(body)) as arrays:
        stored = {name: arrays[name] for name in arrays.files}
    leaves = _leaves(like)
    for place in set(leaves) - set(stored):
        owner, _, field = place.rpartition(".")
        if added and field in added:
            source = added[field]
            stored[place] = np.asarray(leaves[place]) if source is None else stored[f"{owner}.{source}"]
    if wrong := sorted(set(leaves) ^ set(stored)):
        raise ExperimentError(f"{path}: holds other arrays than this version of neurograph writes; they differ in {wrong[0]}")
    restored = [_like(leaf, stored[place]) for place, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(like), restored), header["extra"]


def _like(leaf: Any, stored: np.ndarray) -> Any:
    """Returns the stored array as a PRNG key, a JAX array or a NumPy array (which keeps its float64), like the leaf."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(stored))
    return stored if isinstance(leaf, np.ndarray) else jnp.asarray(stored)


def _leaves(state: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]}


def _differences(then: Any, now: Any, place: str = ""):
    """Yields `key: was 1, now 2` for every leaf that differs."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            yield from _differences(then.get(key), now.get(key), f"{place}.{key}" if place else str(key))
    elif then != now:
        yield f"{place}: was {json.dumps(then)}, now {json.dumps(now)}"
