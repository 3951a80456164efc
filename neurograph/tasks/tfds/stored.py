"""Data sets as tensorflow-datasets keeps them on disk: found, described and decoded without TensorFlow.

What is in a folder is read from its JSON; tensorflow-datasets itself is imported only to read records that no cache has yet.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.errors import MissingExtraError, TaskError

__all__ = ["LARGEST", "NotStored", "Stored", "decode", "find", "search_path"]

LARGEST = 1 << 30
"""Bytes of one split that are decoded at full size; above, the option `size` is needed and applied while decoding."""

_READ = 2048


class NotStored(TaskError):
    """The data set is not on this machine."""


@dataclass(frozen=True)
class Stored:
    """One data set on disk.

    Attributes:
      name: as tensorflow-datasets calls it, with configuration.
      folder: with dataset_info.json.
      splits: name -> number of rows.
      image, label: keys of the supervised features.
      shape: of an image; (None, None, channels) where it varies.
      class_names: of the labels.
      scalars: keys of all integer features.
      fingerprint: changes with the description and the sizes of the record files.
    """

    name: str
    folder: Path
    splits: dict[str, int]
    image: str
    label: str
    shape: tuple[int | None, ...]
    class_names: tuple[str, ...]
    scalars: tuple[str, ...]
    fingerprint: str


def search_path(data_dir: str | os.PathLike[str] | None) -> Path:
    """`data_dir`, else $TFDS_DATA_DIR, else ~/tensorflow_datasets, as tensorflow-datasets has it."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find(name: str, data_dir: str | os.PathLike[str] | None = None) -> Stored:
    """The stored data set of a name such as "mnist" or "emnist/byclass", in its newest version.

    Raises:
      TaskError: it is not there (the text says how to get it), or cannot be used: no image classification, records in another
        format, files missing.
    """
    if not re.fullmatch(r"\w+(/[\w.+-]+)*", name):
        raise TaskError(f"{name!r} is no name of a data set; expected a name as in the catalogue of tensorflow-datasets.")
    root = search_path(data_dir)
    folder = _newest(root / name) or _newest(_default_config(root / name))
    if folder is None:
        raise NotStored(missing(name, root))
    try:
        info = json.loads((folder / "dataset_info.json").read_text())
        features = json.loads((folder / "features.json").read_text())["featuresDict"]["features"]
        splits = {split["name"]: [int(rows) for rows in split["shardLengths"]] for split in info["splits"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TaskError(f"data set {name!r} in {folder} cannot be read: {type(error).__name__}: {error}.") from error
    digest = hashlib.sha256((folder / "dataset_info.json").read_bytes() + (folder / "features.json").read_bytes())
    _check_records(name, folder, info, splits, digest)
    keys = [item.get("featureKey", "") for item in info.get("supervisedKeys", {}).get("tuple", {}).get("items", [])]
    if len(keys) != 2 or "image" not in features.get(keys[0], {}) or "classLabel" not in features.get(keys[1], {}):
        raise TaskError(f"data set {name!r} is no image classification: its supervised features are {keys or 'none'}.")
    dimensions = features[keys[0]]["image"].get("shape", {}).get("dimensions", [])
    shape = tuple(int(size) if int(size) > 0 else None for size in dimensions) or (None, None, 3)
    scalars = [
        key
        for key, feature in features.items()
        if "classLabel" in feature
        or ("tensor" in feature and not feature["tensor"].get("shape") and "int" in feature["tensor"].get("dtype", ""))
    ]
    number = int(features[keys[1]]["classLabel"]["numClasses"])
    listing = folder / f"{keys[1]}.labels.txt"
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = tuple(lines) if len(lines) == number else tuple(str(index) for index in range(number))
    rows = {split: sum(lengths) for split, lengths in splits.items()}
    return Stored(name, folder, rows, keys[0], keys[1], shape, names, tuple(scalars), digest.hexdigest())


def missing(name: str, root: Path) -> str:
    """The message about a data set that is not there."""
    found = ""
    if (root / name).is_dir():
        inside = sorted({p.parent.parent.relative_to(root).as_posix() for p in (root / name).glob("*/*/dataset_info.json")})
        found = f" (there are: {', '.join(inside)})" if inside else ""
    return (
        f"data set {name!r} is not on this machine.\n"
        f"  looked for: {root / name}/<version>/dataset_info.json{found}\n"
        "  elsewhere? option data_dir (--data-dir) or TFDS_DATA_DIR says where tensorflow-datasets keeps its data\n"
        f"  to get it:  neurograph task prepare {name}   (online, once; needs pip install 'neurograph[prepare]')\n"
        "  without it: task 'digits' is embedded and needs no data (8x8 handwritten digits, 10 classes)"
    )


def _newest(folder: Path | None) -> Path | None:
    if folder is None or not folder.is_dir():
        return None
    if (folder / "dataset_info.json").exists():
        return folder
    versions = [p for p in folder.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", p.name) and (p / "dataset_info.json").exists()]
    return max(versions, key=lambda p: tuple(map(int, p.name.split("."))), default=None)


def _default_config(folder: Path) -> Path | None:
    try:
        return folder / json.loads((folder / ".config" / "metadata.json").read_text())["default_config_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_records(name: str, folder: Path, info: dict[str, Any], splits: dict[str, list[int]], digest: Any) -> None:
    form = info.get("fileFormat", "tfrecord")
    if form != "array_record":
        raise TaskError(
            f"data set {name!r} in {folder} is stored as {form}, which only TensorFlow reads; `neurograph task prepare {name} "
            "--data-dir ANOTHER_FOLDER` writes it as array_record."
        )
    for split, lengths in splits.items():
        pattern = re.compile(rf"-{re.escape(split)}\.array_record-\d+-of-0*{len(lengths)}")
        shards = sorted(p for p in folder.iterdir() if pattern.search(p.name))
        if len(shards) != len(lengths):
            raise TaskError(
                f"data set {name!r} in {folder}: {len(shards)} of the {len(lengths)} record files of split {split!r} are there; "
                f"remove the folder and run `neurograph task prepare {name}`."
            )
        for shard in shards:
            digest.update(f"{shard.name}:{shard.stat().st_size}".encode())


def decode(
    stored: Stored,
    split: str,
    *,
    gray: bool,
    size: tuple[int, int] | None,
    extra: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """All rows of one split: "image" [N, H, W] (one channel) or [N, H, W, C] uint8, "label" and each of `extra` [N] int32.

    Args:
      stored: where from.
      split: name of the set's own.
      gray: convert to one channel.
      size: (height, width) to resize each image to while decoding; None keeps the stored size.
      extra: further integer features.
      progress: called with (rows done, rows in all).

    Raises:
      MissingExtraError: tensorflow-datasets, array_record or pillow is not installed.
      TaskError: records that cannot be read, images of different sizes without `size`.
    """
    source, open_image = _source(stored, split)
    count = stored.splits[split]
    channels = 1 if gray else (stored.shape[2] or 3)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels)
    if mode is None:
        raise TaskError(f"data set {stored.name!r} has images of {channels} channels; 1, 3 and 4 can be read.")
    height, width = size or (stored.shape[0] or 0, stored.shape[1] or 0)
    images = np.empty((count, height, width, channels), np.uint8)
    numbers = {key: np.empty(count, np.int32) for key in dict.fromkeys((stored.label, *extra))}
    row = 0
    try:
        for first in range(0, count, _READ):
            for record in source.__getitems__(list(range(first, min(first + _READ, count)))):
                with open_image(io.BytesIO(record[stored.image])) as picture:
                    if picture.mode != mode:
                        picture = picture.convert(mode)
                    if size is not None and picture.size != (width, height):
                        picture = picture.resize((width, height), resample=2)  # bilinear, antialiased
                    images[row] = np.asarray(picture, np.uint8).reshape(height, width, channels)
                for key, column in numbers.items():
                    column[row] = record[key]
                row += 1
            if progress:
                progress(row, count)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise TaskError(f"data set {stored.name!r}, split {split!r}, row {row} cannot be read: {error}.") from error
    label = numbers.pop(stored.label)
    return {"image": images[..., 0] if channels == 1 else images, "label": label, **numbers}


def _source(stored: Stored, split: str) -> tuple[Any, Any]:
    purpose = f"reading data set {stored.name!r}"
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pillow", "data", purpose) from error
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise MissingExtraError("tensorflow-datasets", "data", purpose) from error
    try:
        builder: Any = tfds.builder_from_directory(str(stored.folder))
        # Images stay encoded: decoding them one by one through tensorflow-datasets takes three times as long.
        source = builder.as_data_source(split, decoders={stored.image: tfds.decode.SkipDecoding()})
    except ImportError as error:
        raise MissingExtraError(getattr(error, "name", None) or "array_record", "data", purpose) from error
    except Exception as error:  # tensorflow-datasets raises many kinds; whatever it was, the data is unusable.
        raise TaskError(f"data set {stored.name!r} in {stored.folder} cannot be opened: {error}.") from error
    return source, Image.open
