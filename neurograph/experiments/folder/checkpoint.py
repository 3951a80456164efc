"""Pytrees on disk: written whole or not at all, checked when read, exact to the bit.

A checkpoint is one file: a line of JSON (format, configuration, what else decides the numbers, checksum of the whole file), then
the arrays in NumPy's npz form. The checksum of version 1 was that of the arrays alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError
from neurograph.experiments.environment import deciding
from neurograph.files import write_atomically

__all__ = ["checkpoint_config", "checkpoint_step", "load_checkpoint", "save_checkpoint"]

FORMAT = "neurograph-checkpoint"
VERSION, UNCHECKED_HEADER = 2, 1
FIELDS: dict[str, type] = {"config": dict, "extra": dict, "sha256": str}


def save_checkpoint(path: Path, state: Any, *, config: dict[str, Any], extra: dict[str, Any] | None = None) -> None:
    """Writes a pytree of arrays (PRNG keys included) with its configuration and free JSON data."""
    arrays = {}
    for place, leaf in _leaves(state).items():
        key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        arrays[place] = np.asarray(jax.random.key_data(leaf) if key else leaf)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = buffer.getvalue()
    header = {"format": FORMAT, "version": VERSION, "config": config, "environment": deciding(), "extra": extra or {}}
    write_atomically(path, _with_checksum(header, body) + body)


def _with_checksum(header: dict[str, Any], body: bytes) -> bytes:
    """Returns the first line of a file with this header, whose last field is the checksum of the others and of the body."""
    digest = hashlib.sha256(json.dumps(header).encode() + b"\n" + body).hexdigest()
    return json.dumps(header | {"sha256": digest}).encode() + b"\n"


def load_checkpoint(
    path: Path,
    like: Any,
    *,
    config: dict[str, Any],
    upgrade: Callable[[dict[str, Any]], dict[str, Any]] = lambda then: then,
    added: Mapping[str, str | None] | None = None,
    allow_changes: bool = False,
) -> tuple[Any, dict[str, Any]]:
    """Reads a file of `save_checkpoint`.

    Args:
      like: a pytree of the same structure, whose leaves are replaced; NumPy leaves stay NumPy arrays.
      config: must equal the configuration that the checkpoint was written under.
      upgrade: completes the configuration of an older version before the two are compared.
      added: fields that an older version did not have: the field beside it that each takes its value from, or None where it
        stays as it is in `like`.
      allow_changes: whether what `deciding` returns may differ from what it was; the differences are then added to
        `extra["changes"]`, and numbers of another precision are rounded.

    Returns:
      `(state, extra)`.

    Raises:
      ExperimentError: the file cannot be read, is damaged, or has another format, configuration or, without `allow_changes`,
        precision, version, device or kernels (the differences are named).
    """
    header, body = _read(path)
    if differences := list(_differences(upgrade(header["config"]), json.loads(json.dumps(config)))):
        raise ExperimentError(f"{path}: written under another configuration: {'; '.join(differences)}")
    leaves, stored = _leaves(like), _arrays(path, body)
    for place in set(leaves) - set(stored):
        owner, _, field = place.rpartition(".")
        if added and field in added:
            source = f"{owner}.{added[field]}"
            stored[place] = stored[source] if source in stored else np.asarray(leaves[place])
    if wrong := sorted(set(leaves) ^ set(stored)):
        raise ExperimentError(f"{path}: holds other arrays than this version of neurograph writes; they differ in {wrong[0]}")
    extra = header["extra"]
    if changes := _changes(path, header.get("environment"), leaves, stored):
        if not allow_changes:
            raise ExperimentError(
                f"{path}: {'; '.join(changes)}; the run would not go on to the result of one without a stop, bit for bit"
                " (--allow-changes resumes it all the same)"
            )
        extra = extra | {"changes": [*extra.get("changes", []), *changes]}
        logging.getLogger(__name__).warning("%s: resumed under other conditions: %s", path, "; ".join(changes))
    restored = [_like(leaf, stored[place]) for place, leaf in leaves.items()]
    return jax.tree.unflatten(jax.tree.structure(like), restored), extra


def checkpoint_step(path: Path) -> int | None:
    """Returns the meta-steps after which a checkpoint was written; None if there is none that can be read."""
    try:
        step = _read(path)[0]["extra"].get("step")
    except ExperimentError:
        return None
    return step if isinstance(step, int) else None


def checkpoint_config(path: Path) -> dict[str, Any]:
    """Returns the configuration that a checkpoint was written under; {} if there is none that can be read."""
    try:
        return _read(path)[0]["config"]
    except ExperimentError:
        return {}


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Returns the header and the body, both checked as far as the version of the file allows."""
    try:
        line, _, body = path.read_bytes().partition(b"\n")
        header = parse_json(line)
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ExperimentError(f"{path}: not a checkpoint, or damaged; delete it to start again") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") not in (VERSION, UNCHECKED_HEADER):
        raise ExperimentError(f"{path}: not a checkpoint of version {UNCHECKED_HEADER} or {VERSION}, or damaged")
    if lacking := [name for name, kind in FIELDS.items() if not isinstance(header.get(name), kind)]:
        raise ExperimentError(f"{path}: damaged (lacks {', '.join(lacking)}); delete it to start again")
    digest = header.pop("sha256")
    if header["version"] == UNCHECKED_HEADER:
        fits = digest == hashlib.sha256(body).hexdigest()
    else:
        fits = line + b"\n" == _with_checksum(header, body)
    if not fits:
        raise ExperimentError(f"{path}: damaged (the checksum does not fit); delete it to start again")
    return header, body


def _arrays(path: Path, body: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of an npz file.

    NumPy's own reader would take objects for pickles, and allocate what a header asks for before it looks for the numbers.
    """
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{member.filename} is compressed")
                raw = archive.read(member)
                stream = io.BytesIO(raw)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, columns_first, dtype = read[np.lib.format.read_magic(stream)](stream)
                if dtype.hasobject:
                    raise ValueError(f"{member.filename} holds pickled objects")
                order = "F" if columns_first else "C"
                found[member.filename.removesuffix(".npy")] = np.ndarray(shape, dtype, raw, stream.tell(), order=order).copy()
    except Exception as error:  # the checksum fits, so whoever wrote this may have written anything
        raise ExperimentError(f"{path}: damaged (its arrays cannot be read: {error}); delete it to start again") from error
    return found


def _changes(path: Path, then: Any, leaves: dict[str, Any], stored: dict[str, np.ndarray]) -> list[str]:
    """Returns what decides the numbers and is not as it was; of an older checkpoint only the precision is known."""
    if isinstance(then, dict):
        now = deciding()
        return list(_differences(then, {name: now.get(name) for name in then}))
    logging.getLogger(__name__).warning(
        "%s: written by an older version, which did not keep versions, device and kernels: whether they are the same is unknown",
        path,
    )
    numbers = [(stored[place].dtype, leaf.dtype) for place, leaf in leaves.items() if isinstance(leaf, jax.Array)]
    numbers = [(was, now) for was, now in numbers if was != now and not jnp.issubdtype(now, jax.dtypes.prng_key)]
    return [f"precision: was {was}, now {now}" for was, now in numbers[:1]]


def _like(leaf: Any, stored: np.ndarray) -> Any:
    """Returns the stored array as a PRNG key, a JAX array or a NumPy array (which keeps its float64), like the leaf."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(stored))
    return stored if isinstance(leaf, np.ndarray) else jnp.asarray(stored, leaf.dtype)


def _leaves(state: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]}


def _differences(then: Any, now: Any, place: str = ""):
    """Yields `key: was 1, now 2` for every leaf that differs."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            yield from _differences(then.get(key), now.get(key), f"{place}.{key}" if place else str(key))
    elif then != now:
        yield f"{place}: was {json.dumps(then)}, now {json.dumps(now)}"
