"""Tasks from tensorflow-datasets: MNIST and its kin, Omniglot, and any other image-classification set by name."""

from __future__ import annotations

import math
import os
import string
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from neurograph.errors import TaskError
from neurograph.tasks.arrays import ArrayTask
from neurograph.tasks.build import Classes, array_task, carve, stable_order
from neurograph.tasks.images import crop_center, pair, resize
from neurograph.tasks.tfds.cache import cached
from neurograph.tasks.tfds.stored import LARGEST, Stored, decode, find

__all__ = ["images", "load_split", "omniglot"]

_BYCLASS = tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase)
_BALANCED = (*string.digits, *string.ascii_uppercase, *"abdefghnqrt")
# tensorflow-datasets knows EMNIST's classes by number only. Letters count from 1.
_EMNIST_NAMES = {
    "emnist/byclass": _BYCLASS,
    "emnist/bymerge": _BALANCED,
    "emnist/balanced": _BALANCED,
    "emnist/letters": ("none", *string.ascii_uppercase),
    "emnist/digits": tuple(string.digits),
    "emnist/mnist": tuple(string.digits),
}

Progress = Callable[[str, int, int], None]


def images(
    dataset: str,
    size: Any = None,
    crop: Any = None,
    classes: Classes = None,
    ways: int | None = None,
    normalize: str = "standard",
    gray: bool = False,
    antialias: bool = True,
    validation: float = 0.2,
    split_seed: int = 0,
    splits: Mapping[str, str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ArrayTask:
    """An image-classification set of tensorflow-datasets, decoded once and kept in the cache.

    Args:
      dataset: its name in the catalogue, with configuration: "mnist", "emnist/byclass", "cifar10".
      size: resize to this, an integer or [height, width], after the crop.
      crop: first take the centre.
      classes: only these, by number or name; "0-4" for a range.
      ways: N-way episodes: this many classes, drawn for every episode.
      normalize: "standard" (default), "per_input", "symmetric", "unit" or "none".
      gray: one channel.
      antialias: of the resize; False is plain bilinear interpolation.
      validation: share of the training split, of every class alike, that is the validation split.
      split_seed: chooses which.
      splits: the set's own split names for "train", "test" and "validation"; default train and test. Without a test split a fifth
        of the training split becomes it; with "validation" nothing is cut for that.
      data_dir: where tensorflow-datasets keeps its data; default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      progress: called while decoding with (split, rows done, rows).

    Raises:
      TaskError: the set is not there or cannot be read, or an option is wrong.
      MissingExtraError: the first reading needs the extra `data`.

    The images of EMNIST are turned upright (tensorflow-datasets has them transposed).
    """
    _check_flags(gray=gray, antialias=antialias)
    stored = find(dataset, data_dir)
    chosen = _choose_splits(stored, splits)
    crop_size, target = pair("crop", crop), pair("size", size)
    parts = {}
    for split, own in chosen.items():
        arrays = load_split(stored, own, crop_size, target, gray, antialias, progress=progress)
        parts[split] = (arrays["image"], arrays["label"].astype(np.int64))
    for split, share in (("test", 0.2), ("validation", validation)):
        if split not in parts:
            rows, labels = parts["train"]
            keep, cut = carve(labels, share, split_seed, split)
            parts["train"], parts[split] = (rows[keep], labels[keep]), (rows[cut], labels[cut])
    names = _EMNIST_NAMES.get(stored.name, stored.class_names)
    names = (*names, *(str(index) for index in range(len(names), len(stored.class_names))))
    shape = parts["train"][0].shape[1:]
    flat = {split: (rows.reshape(len(rows), math.prod(shape)), labels) for split, (rows, labels) in parts.items()}
    return array_task(dataset, flat, names, classes=classes, ways=ways, image_shape=shape, normalize=normalize)


def omniglot(
    size: Any = 28,
    ways: int = 10,
    invert: bool = True,
    normalize: str = "standard",
    characters: int | None = None,
    validation: float = 0.2,
    split_seed: int = 0,
    splits: Mapping[str, str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ArrayTask:
    """Omniglot: every episode is a choice of `ways` characters, 20 drawings each (section 4.5: 10-way).

    Whole alphabets are held back: those of the test split (without any that the training split has as well), and for validation
    the share `validation` of the training alphabets. The paper trains on 1,200 characters without saying which: `characters=1200`
    draws them from all alphabets, and holds back the other characters instead.

    Args:
      size: the drawings of 105x105 are resized to this; None keeps them.
      ways: classes per episode.
      invert: ink is bright, as in MNIST.
      normalize: see `images`.
      characters: trains on so many, drawn from the alphabets of all splits; those left are validation and test characters.
      validation: share of the training alphabets (at least one if above 0); with `characters`, of those left.
      split_seed: chooses them.
      splits: default {"train": "train", "test": "test"}; the small background sets are "small1" and "small2".
      data_dir: see `images`.
      progress: see `images`.

    Raises:
      TaskError: as `images`.
    """
    _check_flags(invert=invert)
    stored = find("omniglot", data_dir)
    chosen = _choose_splits(stored, splits)
    target = pair("size", size)
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    alphabets: dict[str, np.ndarray] = {}
    for split, own in chosen.items():
        arrays = load_split(stored, own, None, target, True, True, ("alphabet",), progress)
        rows = arrays["image"].reshape(len(arrays["image"]), -1)
        parts[split] = (255 - rows if invert else np.asarray(rows), arrays["label"].astype(np.int64))
        alphabets[split] = np.asarray(arrays["alphabet"])
    if characters is not None:
        parts = _by_characters(parts, characters, validation, split_seed)
        alphabets = {split: labels for split, (_, labels) in parts.items()}
    if "validation" not in parts:
        _move(parts, alphabets, "validation", validation, split_seed)
    if "test" not in parts:
        _move(parts, alphabets, "test", 0.2, split_seed + 1)
    seen = alphabets["train"]
    for split in ("validation", "test"):
        fresh = ~np.isin(alphabets[split], seen)
        rows, labels = parts[split]
        parts[split] = (rows[fresh], labels[fresh])
        seen = np.concatenate([seen, alphabets[split]])
    shape = target or (105, 105)
    return array_task("omniglot", parts, stored.class_names, ways=ways, own_classes=True, image_shape=shape, normalize=normalize)


def _by_characters(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]], characters: Any, validation: float, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns training, validation and test splits of different characters, drawn from all that `parts` have."""
    rows, labels = (np.concatenate([part[place] for part in parts.values()]) for place in (0, 1))
    present = np.unique(labels)
    most = len(present) - 2  # of the others one at least is for validation, one for the test
    if isinstance(characters, bool) or not isinstance(characters, (int, np.integer)) or not 1 <= characters <= most:
        raise TaskError(
            f"characters: got {characters!r}; expected an integer of 1 to {most:,} (the splits in use have {len(present):,})."
        )
    carve(present, validation, seed, "validation")  # Checks the two options.
    if validation == 0:
        raise TaskError("validation: got 0; with characters, expected a share above 0 of those left.")
    order = present[stable_order(len(present), seed)]
    left = order[characters:]
    cut = min(max(round(len(left) * validation), 1), len(left) - 1)
    chosen = {"train": order[:characters], "validation": left[:cut], "test": left[cut:]}
    inside = {split: np.isin(labels, members) for split, members in chosen.items()}
    return {split: (rows[mask], labels[mask]) for split, mask in inside.items()}


def _check_flags(**flags: Any) -> None:
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise TaskError(f"{name}: got {value!r}; expected true or false.")


def _move(
    parts: dict[str, tuple[np.ndarray, np.ndarray]], groups: dict[str, np.ndarray], split: str, share: float, seed: int
) -> None:
    """Move a share of the training split's groups, whole, to another split."""
    rows, labels = parts["train"]
    present = np.unique(groups["train"])
    carve(present, share, seed, split)  # Checks the two options.
    number = min(max(round(len(present) * share), 1 if share > 0 else 0), len(present) - 1)
    moved = np.isin(groups["train"], present[stable_order(len(present), seed)[:number]])
    parts["train"], parts[split] = (rows[~moved], labels[~moved]), (rows[moved], labels[moved])
    groups["train"], groups[split] = groups["train"][~moved], groups["train"][moved]


def _choose_splits(stored: Stored, splits: Mapping[str, str] | None) -> dict[str, str]:
    if splits is not None and not isinstance(splits, Mapping):
        raise TaskError(f"splits: got {type(splits).__name__}; expected a mapping such as {{train: train, test: test}}.")
    given = {"train": "train", **({"test": "test"} if "test" in stored.splits else {})} if not splits else dict(splits)
    there = ", ".join(f"{name} ({rows:,})" for name, rows in stored.splits.items())
    for split, own in given.items():
        if split not in ("train", "validation", "test"):
            raise TaskError(f"splits: {split!r} is no split; allowed: train, validation, test.")
        if own not in stored.splits:
            raise TaskError(
                f"splits: data set {stored.name!r} in {stored.folder} has no split {own!r}; it has {there}. "
                "Name them by the option splits, such as splits={'train': ..., 'test': ...}."
            )
    if "train" not in given:
        raise TaskError("splits: the train split is missing.")
    if len(set(given.values())) < len(given):
        raise TaskError(f"splits: {dict(given)} uses a split twice; training and test data must differ.")
    return given


def load_split(
    stored: Stored,
    split: str,
    crop: tuple[int, int] | None,
    size: tuple[int, int] | None,
    gray: bool,
    antialias: bool = True,
    extra: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """One split, decoded, cropped and resized, from the cache where it has been before: "image", "label" and `extra`."""
    gray = gray or stored.shape[2:] == (1,)
    height, width = stored.shape[:2]
    bytes_needed = stored.splits[split] * (height or 0) * (width or 0) * (1 if gray else stored.shape[2] or 3)
    early = None
    if height is None or width is None or bytes_needed > LARGEST:
        why = "images of different sizes" if height is None or width is None else f"{bytes_needed / 1e9:.1f} GB of pixels"
        if size is None:
            raise TaskError(f"data set {stored.name!r} has {why}: the option size is needed.")
        if crop is not None:
            raise TaskError(f"data set {stored.name!r} has {why}: it is resized while it is read, and crop cannot be used.")
        if stored.splits[split] * size[0] * size[1] > 4 * LARGEST:
            raise TaskError(
                f"data set {stored.name!r}, split {split!r}: {stored.splits[split]:,} rows of {size[0]}x{size[1]} are too many."
            )
        early = size
    facts = {"set": stored.name, "records": stored.fingerprint, "split": split, "gray": gray, "extra": list(extra)}
    label = f"{stored.name}-{split}"

    def decoded() -> dict[str, np.ndarray]:
        report = partial(progress, split) if progress else None
        raw = decode(stored, split, gray=gray, size=early, extra=extra, progress=report)
        if stored.name.startswith("emnist"):
            raw["image"] = np.ascontiguousarray(raw["image"].swapaxes(1, 2))
        return {key if key != stored.label else "label": value for key, value in raw.items()}

    def full() -> dict[str, np.ndarray]:
        return cached(label, {**facts, "early": early}, decoded)

    if early is not None or (crop is None and size is None):
        return full()

    def small() -> dict[str, np.ndarray]:
        arrays = full()
        image = resize(crop_center(arrays["image"], crop), size, antialias=antialias)
        return {**arrays, "image": np.ascontiguousarray(image)}

    return cached(label, {**facts, "crop": crop, "size": size, "antialias": antialias}, small)
