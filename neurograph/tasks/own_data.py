"""Tasks from your own data: arrays, files of arrays, folders of images; every fault is found before anything is trained."""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from neurograph.documents import suggestion
from neurograph.errors import TaskError
from neurograph.tasks.arrays import ArrayTask
from neurograph.tasks.build import Classes, Parts, array_task, carve, regression_task
from neurograph.tasks.image_folder import image_files, read_folder
from neurograph.tasks.images import pair
from neurograph.tasks.rows import check_labels, check_rows, check_targets, complete_rows

__all__ = ["existing_file", "from_arrays", "from_image_folder", "from_npz", "located", "some_text"]


TARGETS = ("class", "number")
MISSING = ("drop", "mean")


def from_arrays(
    x: Any,
    labels: Any,
    *,
    name: str = "arrays",
    x_test: Any = None,
    labels_test: Any = None,
    target: str = "class",
    missing: str | None = None,
    classes: Classes = None,
    ways: int | None = None,
    normalize: str | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    split_seed: int = 0,
    names: Sequence[str] | None = None,
) -> ArrayTask:
    """A task from NumPy arrays.

    Args:
      x: [N, ...] numbers; a row is flattened. Images [N, H, W] or [N, H, W, C] remember their shape; uint8 stays uint8.
      labels: [N] integers or text, at least two different ones; with `target="number"` [N] or [N, outputs] numbers.
      name: for messages.
      x_test, labels_test: test rows of your own; without them the share `test` of every class is cut off.
      target: what labels are: "class", or "number" for regression, whose targets are standardised by the training rows (see
        `ArrayTask.target_mean`). Numbers are never taken for regression without it.
      missing: what happens where a value is missing (NaN, None, masked): "drop" leaves the row out, also where its label is
        missing; "mean" fills in the input's mean over the training rows. Without a choice missing values are an error.
      classes: only these, by number (in sorted order of the labels) or name.
      ways: N-way episodes.
      normalize: "standard", "per_input", "symmetric", "unit" or "none"; default "standard" for images, else "per_input".
      validation: share of the remaining rows for validation.
      test: share for test.
      split_seed: chooses the rows of both.
      names: of the classes, if `labels` are integers 0..len(names)-1.

    Raises:
      TaskError: shapes that do not fit, values that are missing, masked, infinite or beyond float32, labels that are missing or
        could be two, fewer than two classes, or an option of the wrong kind.

    Examples:
      >>> import numpy as np
      >>> import neurograph as ng
      >>> x = np.random.default_rng(0).normal(size=(60, 3))
      >>> ng.from_arrays(x, np.where(x[:, 0] > 0, "up", "down"))
      <ArrayTask arrays: 3 inputs, 2 outputs, 2 classes>
      >>> ng.from_arrays(x, 3 * x[:, 0] + 1, target="number")
      <ArrayTask arrays: 3 inputs, 1 outputs, regression>
    """
    _chosen("target", target, TARGETS)
    if missing is not None:
        _chosen("missing", missing, MISSING)
    if (x_test is None) != (labels_test is None):
        given = ("x_test", "labels_test") if labels_test is None else ("labels_test", "x_test")
        raise TaskError(f"{given[0]} is given without {given[1]}.")
    if missing == "drop":
        x, labels = complete_rows(x, labels, "x")
        if x_test is not None:
            x_test, labels_test = complete_rows(x_test, labels_test, "x_test")
    numeric = target == "number"
    read = check_targets if numeric else check_labels
    targets = read(labels, lambda row: f"labels[{row}]", "labels")
    rows = check_rows(x, "x", gaps=missing == "mean")
    if len(rows) != len(targets):
        raise TaskError(f"x has {len(rows)} rows and labels has {len(targets)}; they must agree.")
    if not isinstance(name, str) or not name:
        raise TaskError(f"name: got {name!r}; expected text.")
    known: list[Any] = []
    if numeric:
        for option, value in (("classes", classes), ("ways", ways), ("names", names)):
            if value is not None:
                raise TaskError(f"{option}: got {value!r:.60}; there are no classes where the target is a number.")
    else:
        known = _classes(targets, names)
        index = {label: number for number, label in enumerate(known)}
        targets = np.array([index[label] for label in targets.tolist()], np.int64)
    strata = np.zeros(len(targets), np.int64) if numeric else targets
    seed = 0 if split_seed is None else split_seed
    if x_test is not None:
        held_rows = check_rows(x_test, "x_test", gaps=missing == "mean")
        held = read(labels_test, lambda row: f"labels_test[{row}]", "labels_test")
        _check_alike(held_rows, held, rows, targets)
        held = held if numeric else _numbered(held, index)
        if held_rows.dtype != rows.dtype:
            rows, held_rows = rows.astype(np.float32), held_rows.astype(np.float32)
        parts = {"test": (held_rows, held)}
    else:
        keep, cut = carve(strata, 0.2 if test is None else test, seed, "test")
        parts = {"test": (rows[cut], targets[cut])}
        rows, targets, strata = np.asarray(rows[keep]), np.asarray(targets[keep]), strata[keep]
    keep, cut = carve(strata, 0.2 if validation is None else validation, seed, "validation")
    parts |= {"train": (rows[keep], targets[keep]), "validation": (rows[cut], targets[cut])}
    shape = rows.shape[1:] if rows.ndim in (3, 4) else None
    flat = {split: (data.reshape(len(data), math.prod(rows.shape[1:])), labels) for split, (data, labels) in parts.items()}
    if missing == "mean":
        flat = _filled(flat)
    look: dict[str, Any] = {"image_shape": shape, "normalize": normalize or ("standard" if shape else "per_input")}
    if numeric:
        return regression_task(name, flat, **look)
    return array_task(
        name, flat, [str(label) for label in (known if names is None else names)], classes=classes, ways=ways, **look
    )


def _chosen(option: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise TaskError(f"{option}: got {value!r:.60}{suggestion(str(value), allowed)}")


def _filled(parts: Parts) -> Parts:
    """The parts with means of the training rows where values are missing."""
    train = parts["train"][0]
    if not any(np.isnan(rows).any() for rows, _ in parts.values()):
        return parts
    if empty := np.flatnonzero(np.isnan(train).all(axis=0)).tolist():
        raise TaskError(f"missing: input {empty[0]} has no value in any training row, so there is no mean; leave it out.")
    from sklearn.impute import SimpleImputer

    imputer: Any = SimpleImputer(strategy="mean").fit(train.astype(np.float64))
    return {split: (_imputed(imputer, rows), labels) for split, (rows, labels) in parts.items()}


def _imputed(imputer: Any, rows: np.ndarray) -> np.ndarray:
    return imputer.transform(rows.astype(np.float64)).astype(np.float32) if len(rows) else rows


def _classes(targets: np.ndarray, names: Any) -> list[Any]:
    """The different labels, sorted, numbers before text; with `names`, 0 to their number."""
    if names is None:
        known = sorted(set(targets.tolist()), key=lambda label: (isinstance(label, str), label))
    else:
        if isinstance(names, (str, bytes, Mapping, Set)) or not isinstance(names, Iterable):
            raise TaskError(f"names: got {type(names).__name__}; expected a list of names.")
        listed = [str(name) for name in names]
        if len(set(listed)) < len(listed):
            raise TaskError(f"names: two classes have one name: {', '.join(listed)[:200]}.")
        if not np.issubdtype(targets.dtype, np.integer) or targets.min() < 0 or targets.max() >= len(listed):
            raise TaskError(f"names: with {len(listed)} names the labels must be integers from 0 to {len(listed) - 1}.")
        known = list(range(len(listed)))
        absent = sorted(set(known) - set(targets.tolist()))
        if absent:
            raise TaskError(
                f"names: no row is of class {absent[0]}, {listed[absent[0]]!r}; expected a name for each class there is."
            )
    if len(known) < 2:
        raise TaskError(f"labels: all rows are of one class, {known[0]!r}; a classification task needs at least 2.")
    return known


def _check_alike(held: np.ndarray, held_targets: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> None:
    """Raises TaskError if the caller's own test rows are not like the training rows."""
    if held.shape[1:] != rows.shape[1:] or len(held) != len(held_targets):
        raise TaskError(
            f"x_test is {held.shape} with {len(held_targets)} labels; expected rows of {rows.shape[1:]}, one label each."
        )
    if targets.ndim == 2 and held_targets.shape[1] != targets.shape[1]:
        raise TaskError(f"labels_test has {held_targets.shape[1]} targets a row; labels has {targets.shape[1]}.")


def _numbered(labels: np.ndarray, index: Mapping[Any, int]) -> np.ndarray:
    """The numbers of the classes of test rows."""
    strange = sorted({label for label in labels.tolist() if label not in index}, key=str)
    if strange:
        raise TaskError(f"labels_test: {strange[:5]} do not occur in labels.")
    return np.array([index[label] for label in labels.tolist()], np.int64)


_X = ("x", "X", "x_train", "X_train")
_Y = ("labels", "y", "Y", "label", "labels_train", "y_train", "Y_train")


def from_npz(
    path: str | os.PathLike[str], x: str | None = None, y: str | None = None, label: str | None = None, **options: Any
) -> ArrayTask:
    """A task from two arrays of an .npz file, and two more of test rows where there are any.

    Args:
      path: of the file.
      x: name of the rows; default "x", "X", "x_train" or "X_train", whichever is there.
      y: name of the labels; default "labels", "y", "label", "y_train", ..., whichever is there. Arrays of test rows are called
        like these, with "_test" behind the name or in place of "_train".
      label: the same as y.
      options: of `from_arrays`.

    Raises:
      TaskError: no such file or array, several arrays that could be meant, or any fault that `from_arrays` finds.

    Examples:
      >>> import numpy as np
      >>> import neurograph as ng
      >>> np.savez("flowers.npz", widths=np.random.default_rng(0).normal(size=(30, 2)), kinds=["iris", "rose"] * 15)
      >>> ng.get_task("npz:flowers.npz x=widths y=kinds")
      <ArrayTask npz:flowers.npz: 2 inputs, 2 outputs, 2 classes>
    """
    file = existing_file(path)
    if y is not None and label is not None:
        raise TaskError(f"label: got {label!r}, and y: {y!r}; expected one of them, which mean the same.")
    y = label if y is None else y
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            names = _arrays(file, stored.files, x, y)
            arrays = {argument: stored[name] for argument, name in names.items()}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, TaskError):
            raise
        raise TaskError(f"{file}: no readable .npz file ({error}).") from error
    rows, labels = arrays.pop("x"), arrays.pop("labels")
    return located(file, lambda: from_arrays(rows, labels, **{"name": file.stem, **arrays, **options}))


def _arrays(file: Path, there: Sequence[str], x: Any, y: Any) -> dict[str, str]:
    """The names of the arrays, by the arguments of `from_arrays`."""
    found: dict[str, str] = {}
    for option, argument, given, usual in (("x", "x", x, _X), ("y", "labels", y, _Y)):
        if given is not None:
            names = [some_text(option, given)]
        else:
            names = [name for name in usual if name in there] or [usual[0]]
        if len(names) > 1:
            raise TaskError(f"{file}: {' and '.join(map(repr, names))} could be {option}; say which: {option}={names[0]}.")
        if names[0] not in there:
            hint = suggestion(names[0], there) if given is not None else f"; it has: {', '.join(there) or 'none'}."
            raise TaskError(f"{file}: it has no array {names[0]!r} (option {option}){hint}")
        found[argument] = names[0]
        for held in (f"{names[0]}_test", re.sub("_?train$", lambda end: end[0].replace("train", "test"), names[0])):
            if held in there and held != names[0]:
                found[f"{argument}_test"] = held
    return found


def from_image_folder(
    path: str | os.PathLike[str], size: Any = 28, gray: bool = True, test_folder: str = "test", **options: Any
) -> ArrayTask:
    """A task from a folder of images, one subfolder per class; or with subfolders `train` and `test` that hold those.

    Args:
      path: the folder.
      size: every image is resized to this, an integer or [height, width], antialiased.
      gray: one channel; False: three.
      test_folder: name of the test subfolder.
      options: of `from_arrays`.

    Raises:
      TaskError: no images, fewer than two classes, a class without images, images outside of the classes, a file that is no
        readable image of 8 bits without transparency (by name).
      MissingExtraError: pillow is not installed.

    Examples:
      >>> from pathlib import Path
      >>> from PIL import Image
      >>> import neurograph as ng
      >>> for name, shade in [("dark", 10), ("light", 200)]:
      ...     Path("shades", name).mkdir(parents=True)
      ...     for number in range(4):
      ...         Image.new("L", (6, 6), shade + number).save(Path("shades", name, f"{number}.png"))
      >>> ng.from_image_folder("shades", size=4)
      <ArrayTask shades: 16 inputs, 2 outputs, 2 classes>
    """
    root = _as_path(path)
    if not root.is_dir():
        raise TaskError(f"{root}: there is no such folder.")
    target = pair("size", size)
    if target is None:
        raise TaskError("size: a folder of images needs a size, an integer or [height, width].")
    if not isinstance(gray, (bool, np.bool_)):
        raise TaskError(f"gray: got {gray!r}; expected True or False.")
    train, test = root / "train", root / some_text("test_folder", test_folder)
    given: dict[str, Any] = {"name": root.name, **options}
    if train.is_dir():
        others = [folder for folder in root.iterdir() if folder.is_dir() and folder not in (train, test) and image_files(folder)]
        if others:
            raise TaskError(f"{min(others)}: would not be read: beside train, images are expected in {test_folder} alone.")
        if test.is_dir():
            given["x_test"], given["labels_test"] = read_folder(test, target, gray)
        elif test_folder != "test":
            raise TaskError(f"{test}: there is no such folder (option test_folder).")
    elif test.is_dir() and any(folder.is_dir() for folder in test.iterdir()):
        raise TaskError(f"{test}: a test folder with classes, but there is no folder train beside it.")
    images, labels = read_folder(train if train.is_dir() else root, target, gray)
    return located(root, lambda: from_arrays(images, labels, **given))


def some_text(argument: str, value: Any) -> str:
    """An argument that is text, not empty."""
    if not isinstance(value, str) or not value:
        raise TaskError(f"{argument}: got {value!r}; expected text.")
    return value


def _as_path(path: Any) -> Path:
    try:
        return Path(path).expanduser()
    except TypeError:
        raise TaskError(f"path: got {type(path).__name__}; expected a path.") from None


def existing_file(path: Any) -> Path:
    """The path of a file that exists."""
    file = _as_path(path)
    if not file.is_file():
        raise TaskError(f"{file}: there is no such file.")
    return file


def located(where: Path, make: Callable[[], ArrayTask]) -> ArrayTask:
    """Makes a task; its errors name the file."""
    try:
        return make()
    except TypeError as error:
        raise TaskError(f"{where}: {error} (options: those of from_arrays).") from error
    except TaskError as error:
        if f"{where}:" in str(error):
            raise
        raise TaskError(f"{where}: {error}") from error
